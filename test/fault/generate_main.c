/* generate_main.c - tools/generate.c as a function */
#include "test/fault/programs.h"

#define main generate_main
#include "tools/generate.c"
