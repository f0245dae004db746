/* task_of_train_gpt.c - linked into train_gpt: its task. */
#include "train/task.h"

const task *const the_task = &text_task;
