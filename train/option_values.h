/* option_values.h - parses the values of --memory and --allow. */
#ifndef REGRAD_OPTION_VALUES_H
#define REGRAD_OPTION_VALUES_H

#include "train/options.h"

/* --memory: "8G", "512M", "auto" (0), or several separated by commas; powers of 1024. */
error *option_sizes(const char *text, size_t sizes[MOST_SIZES], int *n) NODISCARD;
/* One size, "64G", of the option with that name. */
error *option_size(const char *name, const char *text, size_t *size) NODISCARD;

/* --allow: "master=split8,state=int8"; bits 1 << master_form, 1 << state_form. */
error *option_forms(const char *text, unsigned *masters, unsigned *states) NODISCARD;

#endif
