/* option_row.c - see option_row.h */
#include "train/option_row.h"

#include <math.h>
#include <stdio.h>

error *option_take_number(const option_row *row, double value, const char *text, options *o)
{
    bool integer = row->type == INTEGER;
    if (isnan(value) || (integer && value != floor(value)))
        return user_error("--%s %s: must be a %s", row->name, text,
                          integer ? "whole number" : "number");
    if (value < row->least || value > row->most)
        return user_error("--%s %s: must be between %.10g and %.10g", row->name, text, row->least,
                          row->most);
    if (integer)
        *(int64_t *)option_field(o, row) = (int64_t)value;
    else
        *(double *)option_field(o, row) = value;
    return NULL;
}

bool option_print(options *o, const option_row *row, char *out, size_t room)
{
    const char *text = row->type == TEXT ? *(const char **)option_field(o, row) : NULL;
    switch (row->type) {
    case INTEGER:
        snprintf(out, room, "%lld", (long long)*(int64_t *)option_field(o, row));
        return true;
    case REAL:
        snprintf(out, room, "%g", *(double *)option_field(o, row));
        return true;
    case TEXT:
        snprintf(out, room, "%s", text ? text : "");
        return true;
    default:
        return false;
    }
}

error *options_sizes_agree(const options *o, const loaded_size *sizes, size_t n, bool named)
{
    for (size_t i = 0; i < n; i++)
        if (sizes[i].asked && sizes[i].asked != sizes[i].has)
            return user_error("--%s %lld: the model of --load %s has %lld; leave --%s%s out",
                              sizes[i].name, (long long)sizes[i].asked, o->load,
                              (long long)sizes[i].has, sizes[i].name, named ? " or --model" : "");
    return NULL;
}
