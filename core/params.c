/* params.c - see params.h */
#include "core/params.h"
#include "core/rng.h"
#include "core/storage.h"

#include <stdlib.h>
#include <string.h>

const char *grad_policy_name(grad_policy policy)
{
    static const char *const names[] = {"own", "overlay", "release", "fold", "auto"};
    return names[policy];
}

int params_add(params *p, param_spec spec)
{
    if (p->n == p->room) {
        int more = p->room ? 2 * p->room : 64;
        param *rows = realloc(p->row, (size_t)more * sizeof *rows);
        if (!rows) return -1;
        p->row = rows;
        p->room = more;
    }
    if (!spec.writers) spec.writers = 1;
    int64_t count = tensor_count(tensor_of(NULL, F32, spec.shape));
    p->row[p->n] = (param){.spec = spec, .trainable = true, .count = count};
    return p->n++;
}

void params_free(params *p)
{
    free(p->row);
    *p = (params){0};
}

int64_t params_count(const params *p)
{
    int64_t sum = 0;
    for (int i = 0; i < p->n; i++)
        sum += p->row[i].count;
    return sum;
}

const char *param_text(const param *row, char *buffer, size_t size)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(buffer, size, row->spec.name, row->spec.layer);
#pragma GCC diagnostic pop
    return buffer;
}

static block_name gradient_name(const param *row)
{
    return NAME(row->spec.name, row->spec.layer);
}

/* The type of the masters; DT_NONE without. */
static dtype master_type(const params *p)
{
    static const dtype types[] = {
        [MASTER_F32] = F32, [MASTER_SPLIT16] = I16, [MASTER_SPLIT8] = I8, [MASTER_NONE] = DT_NONE};
    return p->type == BF16 ? types[p->master] : DT_NONE;
}

void params_place(params *p, arena *a)
{
    dtype master = master_type(p);
    for (int i = 0; i < p->n; i++) {
        param *row = &p->row[i];
        row->value = arena_keep(a, KIND_PARAMETER, p->type, row->spec.shape,
                                NAME(row->spec.name, row->spec.layer));
    }
    for (int i = 0; i < p->n && master != DT_NONE; i++)
        if (p->row[i].trainable)
            p->row[i].master =
                arena_keep(a, KIND_MASTER, master, p->row[i].spec.shape, gradient_name(&p->row[i]));
    for (int i = 0; i < p->n && p->policy == GRADS_OWN; i++)
        if (p->row[i].trainable)
            p->row[i].gradient = arena_keep(a, KIND_GRADIENT, p->type, p->row[i].spec.shape,
                                            gradient_name(&p->row[i]));
}

/* ---- initial values ---- */

enum { CHUNK = 1 << 16 }; /* elements prepared on the host at a time */

/* Elements [first, first + n), first a multiple of four, as double or float. */
static void fill_chunk(const param *row, uint64_t seed, uint64_t id, int64_t first, int64_t n,
                       dtype type, void *out)
{
    uint64_t base = id << 40;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i += 4) {
        double four[4] = {1, 1, 1, 1};
        double scale = row->spec.init == INIT_ZERO     ? 0
                       : row->spec.init == INIT_NORMAL ? row->spec.std
                                                       : 1;
        if (row->spec.init == INIT_NORMAL)
            rng_normal4(seed, RNG_INIT, base + (uint64_t)(first + i) / 4, four);
        for (int64_t k = 0; k < 4 && i + k < n; k++) {
            if (type == F64)
                ((double *)out)[i + k] = scale * four[k];
            else
                ((float *)out)[i + k] = (float)(scale * four[k]);
        }
    }
}

/* n elements of t from `first`, from the host. */
static void put_part(device *dev, tensor t, int64_t first, int64_t n, const void *host)
{
    tensor part = tensor_of(t.data, t.type, SHAPE(n));
    part.data = (char *)part.data + (size_t)first * dtype_size(t.type);
    op_put(dev, STREAM_COMPUTE, part, host);
    op_sync(dev, STREAM_COMPUTE);
}

/* Floats to a bf16 parameter and its master, as the optimizer's update would leave them - without a
 * master, the nearest.  x is used up. */
static void put_split(device *dev, const param *row, int64_t first, int64_t n, float *x,
                      uint16_t *hi)
{
    dtype type = row->master.type;
    if (type == F32) put_part(dev, row->master, first, n, x);
    for (int64_t i = 0; i < n; i++) {
        split s = split_float(type == I8 ? with_24_bits(x[i]) : x[i]);
        hi[i] = s.hi;
        if (type == I16) ((int16_t *)(void *)x)[i] = s.lo; /* never ahead of what is read */
        if (type == I8) ((int8_t *)(void *)x)[i] = (int8_t)(s.lo / 256);
    }
    if (type == I16 || type == I8) put_part(dev, row->master, first, n, x);
    put_part(dev, row->value, first, n, hi);
}

error *params_initialize(params *p, device *dev, uint64_t seed)
{
    char *host = NULL;
    TRY(alloc_array(&host, CHUNK, sizeof(double)));
    for (int id = 0; id < p->n; id++) {
        const param *row = &p->row[id];
        for (int64_t first = 0; first < row->count; first += CHUNK) {
            int64_t n = row->count - first < CHUNK ? row->count - first : CHUNK;
            fill_chunk(row, seed, (uint64_t)id, first, n, p->type, host);
            if (p->type == BF16)
                put_split(dev, row, first, n, (float *)(void *)host,
                          (uint16_t *)(void *)(host + CHUNK * sizeof(float)));
            else
                put_part(dev, row->value, first, n, host);
        }
    }
    free(host);
    return device_status(dev);
}

static void adopt(device *dev, const param *row, float *host)
{
    if (row->master.type != F32) { /* a bf16 number is its own hi */
        op_clear(dev, STREAM_COMPUTE, row->master);
        return;
    }
    for (int64_t first = 0; first < row->count; first += CHUNK) {
        int64_t n = row->count - first < CHUNK ? row->count - first : CHUNK;
        tensor part = tensor_of((uint16_t *)row->value.data + first, BF16, SHAPE(n));
        op_get_floats(dev, STREAM_COMPUTE, host, part);
        put_part(dev, row->master, first, n, host);
    }
}

error *params_adopt(params *p, device *dev)
{
    float *host = NULL;
    TRY(alloc_array(&host, CHUNK, sizeof *host));
    for (int id = 0; id < p->n; id++)
        if (present(p->row[id].master)) adopt(dev, &p->row[id], host);
    free(host);
    return device_status(dev);
}

/* ---- a step ---- */

void params_begin_step(run *r, int micro_batches)
{
    params *p = r->params;
    p->training = true;
    p->micro_batches = micro_batches;
    if (p->policy == GRADS_RELEASE && micro_batches > 1)
        device_fail(r->dev, internal_error("release would update after each of %d micro-batches",
                                           micro_batches));
    for (int i = 0; i < p->n; i++) {
        p->row[i].has_gradient = p->row[i].updated = false;
        p->row[i].readers = 0;
    }
    params_begin_micro(r, 0);
}

/* Every gradient must have been written by all its writers in the micro-batch that ends here. */
static void check_writers(run *r)
{
    for (int i = 0; i < r->params->n; i++) {
        const param *row = &r->params->row[i];
        char name[80];
        if (!row->trainable || row->writes == row->spec.writers) continue;
        device_fail(r->dev, internal_error("the gradient of %s was written %d times, not %d",
                                           param_text(row, name, sizeof name), row->writes,
                                           row->spec.writers));
    }
}

void params_begin_micro(run *r, int micro)
{
    if (micro > 0) check_writers(r);
    r->params->micro = micro;
    for (int i = 0; i < r->params->n; i++)
        r->params->row[i].writes = 0;
}

void params_end_step(run *r)
{
    params *p = r->params;
    check_writers(r);
    p->training = false;
    for (int i = 0; i < p->n && p->policy == GRADS_OVERLAY; i++)
        arena_drop(r->arena, &p->row[i].gradient);
}

/* What the gradients of the micro-batch under way are of the step's. */
static fold_part part_of(const params *p)
{
    if (p->micro_batches == 1) return FOLD_WHOLE;
    if (p->micro == p->micro_batches - 1) return FOLD_LAST;
    return p->micro ? FOLD_LATER : FOLD_FIRST;
}

/* Release, fold: the gradient is whole and the weight is read no more. */
static void update_if_complete(run *r, param *row, int id)
{
    params *p = r->params;
    fold_part part = part_of(p);
    if ((p->policy != GRADS_RELEASE && p->policy != GRADS_FOLD) || !p->training || row->updated)
        return;
    if (!row->has_gradient || row->writes < row->spec.writers || row->readers) return;
    row->updated = part == FOLD_LAST || part == FOLD_WHOLE;
    row->has_gradient = row->updated; /* else the next micro-batch's comes anew */
    phase before = phase_enter(r->phases, PHASE_OPTIMIZER);
    p->complete(p->context, id, part);
    phase_enter(r->phases, before);
    arena_drop(r->arena, &row->gradient);
}

tensor param_use(run *r, int id)
{
    param *row = &r->params->row[id];
    if (r->params->training && row->updated) {
        char name[80];
        device_fail(r->dev, internal_error("%s is read after its update",
                                           param_text(row, name, sizeof name)));
    }
    row->readers++;
    return row->value;
}

void param_done(run *r, int id)
{
    param *row = &r->params->row[id];
    row->readers--;
    update_if_complete(r, row, id);
}

grad grad_begin(run *r, int id)
{
    params *p = r->params;
    param *row = &p->row[id];
    if (!row->trainable || !p->training) return (grad){0};
    phase_enter(r->phases, PHASE_BACKWARD);
    grad g = {.accumulate = row->has_gradient};
    if (!row->has_gradient && p->policy != GRADS_OWN)
        row->gradient =
            arena_take(r->arena, KIND_GRADIENT, p->type, row->spec.shape, gradient_name(row));
    row->has_gradient = true;
    g.t = row->gradient;
    return g;
}

void grad_done(run *r, int id)
{
    param *row = &r->params->row[id];
    if (!row->trainable || !r->params->training) return;
    row->writes++;
    update_if_complete(r, row, id);
}
