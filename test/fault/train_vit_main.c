/* train_vit_main.c - train.c as a function, for images */
#include "test/fault/programs.h"

#define main     train_vit_main
#define the_task the_image_task
#include "train.c"

const task *const the_image_task = &image_task;
