/* option_values.c - see option_values.h */
#include "train/option_values.h"

#include <stdlib.h>
#include <string.h>

static bool take_size(const char **at, size_t *out)
{
    static const char units[] = "KMGT";
    char *end;
    double value = strtod(*at, &end);
    const char *unit = *end ? strchr(units, *end) : NULL;
    if (end == *at || !(value > 0)) return false;
    if (unit) end++;
    for (; unit && unit >= units; unit--)
        value *= 1024;
    if (value < 1 || value > 1e18 || (*end && *end != ',')) return false;
    *out = (size_t)value;
    *at = end;
    return true;
}

error *option_sizes(const char *text, size_t sizes[MOST_SIZES], int *n)
{
    const char *at = text;
    *n = 0;
    sizes[0] = 0;
    if (!strcmp(text, "auto")) {
        *n = 1;
        return NULL;
    }
    do {
        if (*n == MOST_SIZES || !take_size(&at, &sizes[*n]))
            return user_error("--memory %s: must be a size like 8G or 600M, or auto; with --plan "
                              "up to %d sizes separated by commas",
                              text, MOST_SIZES);
        ++*n;
    } while (*at++ == ',');
    return NULL;
}

error *option_size(const char *name, const char *text, size_t *size)
{
    const char *at = text;
    if (take_size(&at, size) && !*at) return NULL;
    return user_error("--%s %s: must be a size like 64G or 600M", name, text);
}

static bool take_word(const char **at, const char *option, const char *const *names, int n,
                      unsigned *bits)
{
    size_t length = strlen(option);
    if (strncmp(*at, option, length)) return false;
    for (int i = 0; i < n; i++) {
        size_t all = length + strlen(names[i]);
        if (strncmp(*at + length, names[i], strlen(names[i])) || ((*at)[all] && (*at)[all] != ','))
            continue;
        *bits |= 1u << i;
        *at += all;
        return true;
    }
    return false;
}

error *option_forms(const char *text, unsigned *masters, unsigned *states)
{
    const char *at = text;
    *masters = *states = 0;
    do {
        if (!take_word(&at, "master=", master_names, MASTER_FORMS, masters) &&
            !take_word(&at, "state=", state_names, STATE_FORMS, states))
            return user_error("--allow %s: must be some of master=fp32, master=split16, "
                              "master=split8, master=none (of bf16 weights), state=bf16, "
                              "state=int8, separated by commas",
                              text);
    } while (*at++ == ',');
    return NULL;
}
