/* lora.c - see lora.h */
#include "model/lora.h"
#include "base/text_ends.h"
#include "model/block.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const endings[] = {".lora_A.weight", ".lora_B.weight"};

double lora_scale(const lora_plan *plan)
{
    double r = (double)plan->rank;
    return plan->alpha / (plan->rank_stabilized ? sqrt(r) : r);
}

bool lora_fits(const char *pattern, const char *layer)
{
    if (!fnmatch(pattern, layer, 0)) return true;
    for (const char *dot = strchr(layer, '.'); dot; dot = strchr(dot + 1, '.'))
        if (!fnmatch(pattern, dot + 1, 0)) return true;
    return false;
}

bool lora_layer(const char *name, char *out, size_t size)
{
    for (int i = 0; i < 2; i++) {
        if (!text_ends(name, endings[i])) continue;
        snprintf(out, size, "%.*s", (int)(strlen(name) - strlen(endings[i])), name);
        return true;
    }
    return false;
}

bool lora_is_a(const param *row)
{
    return row->spec.adapter_scale != 0 && text_ends(row->spec.name, endings[0]);
}

/* ---- the table ---- */

static bool is_on(const lora_plan *plan, const char *layer)
{
    for (int i = 0; i < plan->n_on; i++)
        if (lora_fits(plan->on[i], layer)) return true;
    return !plan->n_on;
}

/* For part `out` (rows) of a layer's matrix `of`.  A is initialized like torch's Linear, uniform up
 * to 1/sqrt(in), as peft does (kaiming_uniform_ with a = sqrt(5)). */
static error *declare_pair(const lora_plan *plan, params *p, const char *layer,
                           const param_spec *of, int64_t out, int *adapter)
{
    int b;
    int64_t in = of->shape.dim[1];
    param_spec spec = {.layer = of->layer,
                       .shape = SHAPE(plan->rank, in),
                       .decay = true,
                       .init = INIT_UNIFORM,
                       .std = 1 / sqrt((double)in),
                       .hidden = true,
                       .adapter_scale = lora_scale(plan)};
    TRY(declare_named(p, layer, endings[0], spec, adapter));
    spec.shape = SHAPE(plan->rank, out);
    spec.init = INIT_ZERO;
    spec.file_transposed = true;
    spec.file_groups = of->file_groups;
    if (of->file_groups) memcpy(spec.part_rows, of->part_rows, sizeof spec.part_rows);
    return declare_named(p, layer, endings[1], spec, &b);
}

/* Part k of "a.{q,k}.weight" without its ending: "a.k"; false if there is no such part. */
static bool layer_of(const char *weight, int k, char out[DECLARED_NAME])
{
    char part[DECLARED_NAME];
    if (!param_name_part(weight, k, part, sizeof part)) return false;
    snprintf(out, DECLARED_NAME, "%.*s", (int)(strlen(part) - strlen(".weight")), part);
    return true;
}

error *lora_declare(const lora_plan *plan, params *p, int weight, int adapter[LORA_PARTS])
{
    const param_spec w = p->row[weight].spec; /* a copy: the table may be reallocated */
    char layer[DECLARED_NAME], numbered[DECLARED_NAME];
    for (int k = 0; k < LORA_PARTS; k++)
        adapter[k] = 0;
    for (int k = 0; plan->rank && k < LORA_PARTS && layer_of(w.name, k, layer); k++) {
        param named = {.spec = {.name = layer, .layer = w.layer}};
        if (!is_on(plan, param_text(&named, numbered, sizeof numbered))) continue;
        int64_t out = strchr(w.name, '{') ? w.part_rows[k] : w.shape.dim[0];
        TRY(declare_pair(plan, p, layer, &w, out, &adapter[k]));
    }
    return NULL;
}

/* ---- merging ---- */

/* The matrix that the adapter belongs to, and the adapter's first row in it. */
static int matrix_of(const params *p, int a, int64_t *first)
{
    char layer[DECLARED_NAME], part[DECLARED_NAME];
    lora_layer(p->row[a].spec.name, layer, sizeof layer);
    for (int id = 0; id < p->n; id++) {
        const param_spec *w = &p->row[id].spec;
        *first = 0;
        if (w->layer != p->row[a].spec.layer || !w->hidden || w->adapter_scale != 0) continue;
        for (int k = 0; k < LORA_PARTS && layer_of(w->name, k, part); k++) {
            if (!strcmp(part, layer)) return id;
            *first += w->part_rows[k];
        }
    }
    return -1;
}

static error *merge_one(params *p, device *dev, int a)
{
    const param *low = &p->row[a], *high = low + 1;
    int64_t first, out = high->spec.shape.dim[1];
    int id = matrix_of(p, a, &first);
    if (id < 0) return internal_error("%s belongs to no matrix", low->spec.name);
    double wide = low->spec.adapter_scale;
    float narrow = (float)wide;
    dtype stat = stat_type(p->type);
    tensor scale = tensor_of(stat == F64 ? (void *)&wide : (void *)&narrow, stat, SHAPE(1)),
           b = tensor_of(high->value.data, p->type, SHAPE(1, low->spec.shape.dim[0], out)),
           w = tensor_slice(p->row[id].value, first, out);
    OP(scale_samples, dev, STREAM_COMPUTE, .out = b, .x = b, .scale = scale);
    OP(linear_dw, dev, STREAM_COMPUTE, .dw = {w, true}, .x = low->value, .dout = high->value);
    op_sync(dev, STREAM_COMPUTE);
    return device_status(dev);
}

error *lora_merge(params *p, device *dev)
{
    int n = 0;
    for (int i = 0; i < p->n; i++)
        if (lora_is_a(&p->row[i])) TRY(merge_one(p, dev, i));
    for (int i = 0; i < p->n; i++) {
        if (p->row[i].spec.adapter_scale != 0)
            free(p->row[i].name);
        else
            p->row[n++] = p->row[i];
    }
    p->n = n;
    p->adapted = false;
    return NULL;
}
