/* task_of_train_vit.c - linked into train_vit: its task. */
#include "train/task.h"

const task *const the_task = &image_task;
