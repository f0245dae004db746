/* export_main.c - tools/export.c as a function */
#include "test/fault/programs.h"

#define main export_main
#include "tools/export.c"
