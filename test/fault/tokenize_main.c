/* tokenize_main.c - tools/tokenize.c as a function */
#include "test/fault/programs.h"

#define main tokenize_main
#include "tools/tokenize.c"
