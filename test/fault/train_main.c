/* train_main.c - train.c as a function */
#include "test/fault/programs.h"

#define main train_main
#include "train.c"
