/* params.c - see params.h */
#include "params/params.h"
#include "core/narrow.h"
#include "params/offload.h"
#include "base/rng.h"
#include "core/stored_numbers.h"

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
        int *queue = realloc(p->queue, 2 * (size_t)more * sizeof *queue);
        if (!queue) return -1;
        p->queue = queue;
        p->room = more;
    }
    char *name = strdup(spec.name);
    if (!name) return -1;
    spec.name = name;
    if (!spec.writers) spec.writers = 1;
    int64_t count = tensor_count(tensor_of(NULL, F32, spec.shape));
    p->adapted = p->adapted || spec.adapter_scale != 0;
    p->row[p->n] =
        (param){.spec = spec, .name = name, .trainable = !spec.state, .count = count, .own = count};
    return p->n++;
}

void params_free(params *p)
{
    for (int i = 0; i < p->n; i++)
        free(p->row[i].name);
    free(p->row);
    free(p->queue);
    *p = (params){0};
}

void params_freeze(params *p)
{
    for (int i = 0; i < p->n; i++)
        p->row[i].trainable = false;
}

int64_t params_count(const params *p)
{
    int64_t sum = 0;
    for (int i = 0; i < p->n; i++)
        if (!param_is_pool(p, i) && !p->row[i].spec.state) sum += p->row[i].count;
    return sum;
}

bool param_saved(const params *p, int id)
{
    return !p->adapted || p->row[id].spec.adapter_scale != 0;
}

const char *param_text(const param *row, char *buffer, size_t size)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(buffer, size, row->spec.name, row->spec.layer);
#pragma GCC diagnostic pop
    return buffer;
}

bool param_name_part(const char *name, int k, char *out, size_t size)
{
    const char *open = strchr(name, '{'), *close = open ? strchr(open, '}') : NULL;
    if (!close) {
        snprintf(out, size, "%s", name);
        return k == 0;
    }
    const char *from = open + 1, *to = from;
    for (int i = 0; to < close; from = to + 1, i++) {
        to = from + strcspn(from, ",}");
        if (i < k) continue;
        snprintf(out, size, "%.*s%.*s%s", (int)(open - name), name, (int)(to - from), from,
                 close + 1);
        return true;
    }
    return false;
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

/* Of a row's value. */
static dtype value_type(const params *p, const param *row)
{
    return row->spec.state ? stat_type(p->type) : p->type;
}

void params_back(params *p, const param_backing *backing)
{
    p->backing = backing;
}

/* ---- own ranges ---- */

bool param_is_pool(const params *p, int id)
{
    return p->backing && p->backing->pool && p->backing->pool == id;
}

bool param_narrow(const params *p, int id)
{
    const param_spec *spec = &p->row[id].spec;
    return spec->hidden && spec->shape.rank == 2 &&
           narrow_fits(spec->shape.dim[0], spec->shape.dim[1]);
}

bool param_in_pool(const params *p, int id)
{
    return p->backing && p->backing->pool && !p->row[id].own;
}

/* Does the backing keep this row?  States, which a pass writes, are each process's own. */
static bool stored(const params *p, int id)
{
    return p->backing && !p->row[id].coded && !p->row[id].spec.state &&
           (!p->backing->pool || param_in_pool(p, id));
}

static bool expands(const params *p, int id)
{
    const param *row = &p->row[id];
    return row->coded || is_far(row->far_value) || (stored(p, id) && p->backing->expand);
}

bool params_in_place(const params *p)
{
    return p->form == CODES_NONE && !p->values_far;
}

bool params_fill(const params *p)
{
    return !params_in_place(p) || (p->states_far && master_type(p) != DT_NONE);
}

static bool collects(const params *p, int id)
{
    return stored(p, id) && p->backing->collects;
}

bool params_divided(const params *p)
{
    return p->backing && !p->backing->pool && (p->backing->expand || p->backing->spread);
}

shape param_own_shape(const params *p, int id)
{
    const param *row = &p->row[id];
    return row->own == row->count ? row->spec.shape : SHAPE(row->own);
}

static tensor own_of(const params *p, int id, tensor full)
{
    const param *row = &p->row[id];
    if (!present(full) || !row->own) return (tensor){0};
    char *first = (char *)full.data + (size_t)row->own_first * dtype_size(full.type);
    return tensor_of(first, full.type, param_own_shape(p, id));
}

tensor param_own_value(const params *p, int id)
{
    const param *row = &p->row[id];
    bool apart = expands(p, id) && !is_far(row->far_value);
    return apart ? row->stored : own_of(p, id, row->value);
}

tensor param_own_gradient(const params *p, int id)
{
    const param *row = &p->row[id];
    return present(row->collected) ? row->collected : own_of(p, id, row->gradient);
}

static void place_scales(const params *p, arena *a, param *row, block_name name)
{
    int64_t n = code_blocks(row->count);
    if (!p->packs) {
        row->scales = arena_keep(a, KIND_PARAMETER, F32, SHAPE(n), name);
        return;
    }
    row->scale_codes = arena_keep(a, KIND_PARAMETER, U8, SHAPE(n), name);
    row->scale_groups = arena_keep(a, KIND_PARAMETER, F32, SHAPE(1 + scale_groups(n)), name);
}

static void place_value(params *p, arena *a, int id)
{
    param *row = &p->row[id];
    block_name name = NAME(row->spec.name, row->spec.layer);
    if (offload_takes_value(p, id)) {
        row->far_value = far_keep(p->far, KIND_PARAMETER, p->type, row->count);
        return;
    }
    if (row->coded) {
        row->codes =
            arena_keep(a, KIND_PARAMETER, U8, SHAPE(code_bytes(p->form, row->count)), name);
        place_scales(p, a, row, name);
    } else if (!expands(p, id))
        row->value = arena_keep(a, KIND_PARAMETER, value_type(p, row), row->spec.shape, name);
    else if (row->own)
        row->stored = arena_keep(a, KIND_PARAMETER, p->type, param_own_shape(p, id), name);
}

static void place_gradient(params *p, arena *a, int id)
{
    param *row = &p->row[id];
    if (!collects(p, id))
        row->gradient = arena_keep(a, KIND_GRADIENT, p->type, row->spec.shape, gradient_name(row));
    else if (row->own)
        row->collected =
            arena_keep(a, KIND_GRADIENT, p->type, param_own_shape(p, id), gradient_name(row));
}

void params_encode(params *p, code_form form, bool packs)
{
    p->form = form;
    p->packs = packs;
    for (int id = 0; id < p->n && form != CODES_NONE; id++) {
        param *row = &p->row[id];
        row->coded = row->spec.hidden && !row->trainable && row->spec.adapter_scale == 0;
    }
}

tensor param_fill_begin(runtime *r, int id)
{
    param *row = &r->params->row[id];
    if (row->coded || is_far(row->far_value))
        row->value = arena_take(r->arena, KIND_PARAMETER, r->params->type, row->spec.shape,
                                gradient_name(row));
    if (is_far(row->far_master))
        row->master = arena_take(r->arena, KIND_MASTER, row->far_master.type,
                                 param_own_shape(r->params, id), gradient_name(row));
    return row->value;
}

/* Packed scales are there as they are while codes are written or read. */
static void open_scales(runtime *r, param *row)
{
    if (r->params->packs)
        row->scales = arena_take(r->arena, KIND_PARAMETER, F32, SHAPE(code_blocks(row->count)),
                                 NAME(row->spec.name, row->spec.layer));
}

static void close_scales(runtime *r, param *row)
{
    if (r->params->packs) arena_drop(r->arena, &row->scales);
}

static void encode_row(runtime *r, param *row)
{
    open_scales(r, row);
    OP(quantize, r->dev, r->stream, .codes = row->codes, .scales = row->scales, .x = row->value,
       .form = (int)r->params->form);
    if (r->params->packs)
        OP(pack_scales, r->dev, r->stream, .codes = row->scale_codes, .groups = row->scale_groups,
           .scales = row->scales);
    close_scales(r, row);
}

static void decode_row(runtime *r, param *row)
{
    open_scales(r, row);
    if (r->params->packs)
        OP(unpack_scales, r->dev, r->stream, .scales = row->scales, .codes = row->scale_codes,
           .groups = row->scale_groups);
    OP(dequantize, r->dev, r->stream, .out = row->value, .codes = row->codes, .scales = row->scales,
       .form = (int)r->params->form);
    close_scales(r, row);
}

void param_fill_end(runtime *r, int id)
{
    param *row = &r->params->row[id];
    offload_filled(r, id);
    if (!row->coded) return;
    encode_row(r, row);
    arena_drop(r->arena, &row->value);
}

void params_place(params *p, arena *a)
{
    dtype master = master_type(p);
    for (p->first = 0; p->first < p->n && !p->row[p->first].trainable;)
        p->first++;
    for (int id = 0; id < p->n; id++)
        place_value(p, a, id);
    for (int id = 0; id < p->n && master != DT_NONE; id++)
        if (p->row[id].trainable && p->row[id].own && !offload_place_master(p, id, master))
            p->row[id].master = arena_keep(a, KIND_MASTER, master, param_own_shape(p, id),
                                           gradient_name(&p->row[id]));
    for (int id = 0; id < p->n && p->policy == GRADS_OWN; id++)
        if (p->row[id].trainable) place_gradient(p, a, id);
}

/* ---- initial values ---- */

enum { CHUNK = 1 << 16 }; /* elements prepared on the host at a time */

/* Four numbers between -1 and 1. */
static void uniform4(uint64_t seed, uint64_t index, double out[4])
{
    uint32_t bits[4];
    rng_bits(seed, RNG_INIT, index, bits);
    for (int k = 0; k < 4; k++)
        out[k] = ((double)bits[k] + 0.5) * 0x1p-31 - 1;
}

/* Elements [first, first + n), first a multiple of four, as doubles or floats. */
static void fill_chunk(const param *row, uint64_t seed, uint64_t id, int64_t first, int64_t n,
                       dtype type, void *out)
{
    uint64_t base = id << 40;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i += 4) {
        double four[4] = {1, 1, 1, 1};
        double scale = row->spec.init == INIT_ZERO     ? 0
                       : row->spec.init >= INIT_NORMAL ? row->spec.std
                                                       : 1;
        if (row->spec.init == INIT_NORMAL)
            rng_normal4(seed, RNG_INIT, base + (uint64_t)(first + i) / 4, four);
        if (row->spec.init == INIT_UNIFORM) uniform4(seed, base + (uint64_t)(first + i) / 4, four);
        for (int64_t k = 0; k < 4 && i + k < n; k++) {
            if (type == F64)
                ((double *)out)[i + k] = scale * four[k];
            else
                ((float *)out)[i + k] = (float)(scale * four[k]);
        }
    }
}

/* The part of elements [first, first + n) that is in t, whose first element is number `begin`;
 * *skipped: how many of them come before t. */
static tensor part_within(tensor t, int64_t begin, int64_t first, int64_t n, int64_t *skipped)
{
    int64_t end = begin + tensor_count(t);
    int64_t from = first > begin ? first : begin, to = first + n < end ? first + n : end;
    *skipped = from - first;
    if (!present(t) || from >= to) return (tensor){0};
    return tensor_part(t, from - begin, to - from);
}

tensor param_part(const param *row, int64_t first, int64_t n, int64_t *skipped)
{
    if (present(row->value)) return part_within(row->value, 0, first, n, skipped);
    return part_within(row->stored, row->own_first, first, n, skipped);
}

/* host: elements, of which the first `skipped` come before the part. */
static void put_part(device *dev, tensor part, int64_t skipped, const void *host)
{
    if (!present(part)) return;
    op_put(dev, STREAM_COMPUTE, part, (const char *)host + (size_t)skipped * dtype_size(part.type));
    op_sync(dev, STREAM_COMPUTE);
}

/* Stores floats in a bf16 parameter and its master, as the optimizer's update would leave them -
 * without a master, the nearest.  Destroys x. */
static void put_split(const params *p, device *dev, int id, int64_t first, int64_t n, float *x,
                      uint16_t *hi)
{
    const param *row = &p->row[id];
    int64_t skipped;
    tensor master = part_within(row->master, row->own_first, first, n, &skipped);
    if (master.type == F32) put_part(dev, master, skipped, x);
    for (int64_t i = 0; i < n; i++) {
        split s = split_float(row->master.type == I8 ? with_24_bits(x[i]) : x[i]);
        int8_t upper = (int8_t)(s.lo / 256);
        hi[i] = s.hi;
        /* never writes ahead of what is read */
        if (master.type == I16) memcpy((char *)x + 2 * i, &s.lo, sizeof s.lo);
        if (master.type == I8) memcpy((char *)x + i, &upper, sizeof upper);
    }
    if (master.type != F32) put_part(dev, master, skipped, x);
    tensor part = param_part(row, first, n, &skipped);
    put_part(dev, part, skipped, hi);
}

error *param_initialize(const params *p, device *dev, uint64_t seed, int id)
{
    const param *row = &p->row[id];
    dtype type = value_type(p, row);
    char *host = NULL;
    TRY(alloc_array(&host, CHUNK, sizeof(double)));
    for (int64_t first = 0; first < row->count; first += CHUNK) {
        int64_t n = row->count - first < CHUNK ? row->count - first : CHUNK;
        int64_t skipped;
        tensor part = param_part(row, first, n, &skipped);
        if (!present(part)) continue;
        fill_chunk(row, seed, (uint64_t)id, first, n, type, host);
        if (type == BF16)
            put_split(p, dev, id, first, n, (float *)(void *)host,
                      (uint16_t *)(void *)(host + CHUNK * sizeof(float)));
        else
            put_part(dev, part, skipped, host);
    }
    free(host);
    return device_status(dev);
}

error *params_initialize(params *p, device *dev, uint64_t seed)
{
    for (int id = 0; id < p->n; id++)
        TRY(param_initialize(p, dev, seed, id));
    return NULL;
}

static void adopt(const params *p, device *dev, int id, float *host)
{
    const param *row = &p->row[id];
    if (row->master.type != F32) { /* a bf16 number is its own hi */
        op_clear(dev, STREAM_COMPUTE, row->master);
        return;
    }
    tensor value = param_own_value(p, id);
    for (int64_t first = 0; first < row->own; first += CHUNK) {
        int64_t n = row->own - first < CHUNK ? row->own - first : CHUNK, skipped;
        op_get_floats(dev, STREAM_COMPUTE, host, part_within(value, 0, first, n, &skipped));
        put_part(dev, part_within(row->master, 0, first, n, &skipped), 0, host);
    }
}

error *param_adopt(const params *p, device *dev, int id)
{
    float *host = NULL;
    TRY(alloc_array(&host, CHUNK, sizeof *host));
    if (present(p->row[id].master)) adopt(p, dev, id, host);
    free(host);
    return device_status(dev);
}

error *params_adopt(params *p, device *dev)
{
    for (int id = 0; id < p->n; id++)
        TRY(param_adopt(p, dev, id));
    return NULL;
}

/* ---- a step ---- */

void params_begin_step(runtime *r, int micro_batches)
{
    params *p = r->params;
    p->training = true;
    p->micro_batches = micro_batches;
    if (p->policy == GRADS_RELEASE && micro_batches > 1)
        device_fail(r->dev, internal_error("release would update after each of %d micro-batches",
                                           micro_batches));
    for (int i = 0; i < p->n; i++) {
        p->row[i].has_gradient = p->row[i].updated = p->row[i].has_collected = false;
        p->row[i].readers = 0;
    }
    params_begin_micro(r, 0);
}

/* All writers of every gradient must have finished in the micro-batch that ends here. */
static void check_writers(runtime *r)
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

void params_begin_micro(runtime *r, int micro)
{
    if (micro > 0) check_writers(r);
    r->params->micro = micro;
    for (int i = 0; i < r->params->n; i++)
        r->params->row[i].writes = 0;
}

void params_end_step(runtime *r)
{
    params *p = r->params;
    check_writers(r);
    if (p->backing && p->backing->spread) p->backing->spread(p->backing->own, r);
    p->training = false;
    for (int i = 0; i < p->n && p->policy == GRADS_OVERLAY; i++)
        arena_drop(r->arena, collects(p, i) ? &p->row[i].collected : &p->row[i].gradient);
}

/* Which part of the step's gradients the current micro-batch contributes. */
static fold_part part_of(const params *p)
{
    if (p->micro_batches == 1) return FOLD_ALL;
    if (p->micro == p->micro_batches - 1) return FOLD_LAST;
    return p->micro ? FOLD_LATER : FOLD_FIRST;
}

/* ---- a complete gradient ---- */

bool params_at_once(const params *p)
{
    return p->policy == GRADS_RELEASE || p->policy == GRADS_FOLD;
}

/* Release, fold: the optimizer consumes the gradients, and their space is freed. */
static void update(runtime *r, const int *ids, int n)
{
    params *p = r->params;
    if (!n) return;
    phase before = phase_enter(r->phases, PHASE_OPTIMIZER);
    p->complete(p->context, ids, n, part_of(p));
    phase_enter(r->phases, before);
    for (int i = 0; i < n; i++)
        arena_drop(r->arena, &p->row[ids[i]].gradient);
}

/* Those that are queued. */
static void update_waiting(runtime *r)
{
    params *p = r->params;
    update(r, p->queue, p->waiting);
    p->waiting = 0;
}

/* A complete gradient of a row without backing.  If other rows have one, vectors are not queued:
 * the queue then holds gradients to be collected. */
static void update_soon(runtime *r, int id)
{
    params *p = r->params;
    bool waits =
        p->together && !p->backing && p->policy == GRADS_RELEASE && p->row[id].spec.shape.rank < 2;
    p->queue[p->waiting++] = id;
    if (!waits) update_waiting(r);
}

/* Adds the own range of the gradient to `collected`; frees its space. */
static void keep_collected(runtime *r, int id)
{
    params *p = r->params;
    param *row = &p->row[id];
    tensor part = own_of(p, id, row->gradient);
    if (present(part) && !row->has_collected) {
        if (p->policy == GRADS_OVERLAY)
            row->collected = arena_take(r->arena, KIND_GRADIENT, p->type, param_own_shape(p, id),
                                        gradient_name(row));
        OP(copy, r->dev, r->stream, .dst = row->collected, .src = part);
    } else if (present(part)) {
        OP(add, r->dev, r->stream, .x = row->collected, .y = part);
    }
    row->has_collected = true;
    arena_drop(r->arena, &row->gradient);
}

/* The collection under way has arrived. */
static void settle(runtime *r)
{
    params *p = r->params;
    if (!p->under_way) return;
    p->backing->settle(p->backing->own, r);
    for (int i = 0; i < p->under_way; i++) {
        int id = p->queue[p->n + i];
        if (params_at_once(p))
            update(r, &id, 1);
        else if (collects(p, id))
            keep_collected(r, id);
    }
    p->under_way = 0;
}

/* Starts collecting the queued gradients. */
static void send(runtime *r)
{
    params *p = r->params;
    settle(r);
    for (int i = 0; i < p->waiting; i++)
        p->queue[p->n + i] = p->queue[i];
    p->under_way = p->waiting;
    p->waiting = 0;
    p->waiting_bytes = 0;
    if (p->under_way) p->backing->collect(p->backing->own, r, p->queue + p->n, p->under_way);
    if (!p->backing->bucket) settle(r);
}

static void enqueue(runtime *r, int id)
{
    params *p = r->params;
    p->queue[p->waiting++] = id;
    p->waiting_bytes += (int64_t)tensor_bytes(p->row[id].gradient);
    if (p->waiting_bytes >= p->backing->bucket) send(r);
}

/* The gradient is complete and the weight will not be read again in this micro-batch. */
static void finish_if_complete(runtime *r, param *row, int id)
{
    params *p = r->params;
    bool last = p->micro == p->micro_batches - 1;
    if (!p->training || row->updated) return;
    if (!row->has_gradient || row->writes < row->spec.writers || row->readers) return;
    if (params_at_once(p)) {
        row->updated = last;
        row->has_gradient = last; /* otherwise the next micro-batch starts a new one */
    } else if (collects(p, id)) {
        row->has_gradient = false;
    } else if (stored(p, id) && last) {
        row->updated = true; /* for this pass: it will not be written again */
    }
    if (collects(p, id) || (stored(p, id) && p->policy != GRADS_FOLD && last))
        enqueue(r, id);
    else if (params_at_once(p))
        update_soon(r, id);
}

void params_end_micro(runtime *r)
{
    if (!r->params->backing) {
        update_waiting(r);
        return;
    }
    send(r);
    settle(r);
}

/* ---- the hooks ---- */

bool grad_wanted(const runtime *r, int id)
{
    return id >= 0 && r->params->row[id].trainable;
}

bool grads_below(const runtime *r, int id)
{
    return r->params->first < id;
}

/* Begins to fetch them, in memory taken for each. */
static void fetch_now(runtime *r, const int *ids, int n)
{
    params *p = r->params;
    if (!n) return;
    int64_t mark = p->backing->fetch(p->backing->own, r, ids, n);
    for (int i = 0; i < n; i++)
        p->row[ids[i]].coming = mark;
}

static void take_value(runtime *r, int id)
{
    param *row = &r->params->row[id];
    row->value = arena_take(r->arena, KIND_PARAMETER, r->params->type, row->spec.shape,
                            NAME(row->spec.name, row->spec.layer));
}

/* What the next layers use, where it is not here yet. */
static void fetch_ahead(runtime *r)
{
    enum { SOME = 32 };
    params *p = r->params;
    use_order *o = p->order;
    int ids[SOME], n = 0;
    for (int end = order_ahead(p, p->ahead); o->asked < end; o->asked++) {
        int id = o->id[o->asked];
        if (present(p->row[id].value)) continue;
        take_value(r, id);
        ids[n++] = id;
        if (n < SOME) continue;
        fetch_now(r, ids, n);
        n = 0;
    }
    fetch_now(r, ids, n);
}

/* A value is used that may be on its way. */
static void receive(runtime *r, int id)
{
    params *p = r->params;
    param *row = &p->row[id];
    if (!present(row->value)) {
        take_value(r, id);
        fetch_now(r, &id, 1);
    }
    p->backing->arrive(p->backing->own, r, row->coming);
    if (order_step(r, id)) fetch_ahead(r);
}

tensor param_use(runtime *r, int id)
{
    params *p = r->params;
    param *row = &p->row[id];
    if (p->training && row->updated) {
        char name[80];
        device_fail(r->dev, internal_error("%s is read after its update",
                                           param_text(row, name, sizeof name)));
    }
    if (is_far(row->far_value) && !row->readers) {
        offload_bring(r, id);
    } else if (expands(p, id) && !row->readers && !row->coded && p->backing->fetch) {
        receive(r, id);
    } else if (expands(p, id) && !row->readers) {
        take_value(r, id);
        if (row->coded)
            decode_row(r, row);
        else
            p->backing->expand(p->backing->own, r, id);
    }
    row->readers++;
    return row->value;
}

void param_done(runtime *r, int id)
{
    param *row = &r->params->row[id];
    if (--row->readers < 0) {
        char name[80];
        device_fail(r->dev, internal_error("%s is done with more often than it is used",
                                           param_text(row, name, sizeof name)));
    }
    if (!row->readers && expands(r->params, id) && !order_keeps(r->params, id))
        arena_drop(r->arena, &row->value);
    finish_if_complete(r, row, id);
}

grad grad_begin(runtime *r, int id)
{
    params *p = r->params;
    param *row = &p->row[id];
    if (!p->training) return (grad){0};
    phase_enter(r->phases, PHASE_BACKWARD);
    arena_mark(r->arena, "backward");
    if (!row->trainable) return (grad){0};
    grad g = {.accumulate = row->has_gradient};
    if (!row->has_gradient && (p->policy != GRADS_OWN || collects(p, id)))
        row->gradient =
            arena_take(r->arena, KIND_GRADIENT, p->type, row->spec.shape, gradient_name(row));
    row->has_gradient = true;
    g.t = row->gradient;
    return g;
}

void grad_done(runtime *r, int id)
{
    param *row = &r->params->row[id];
    if (!row->trainable || !r->params->training) return;
    row->writes++;
    finish_if_complete(r, row, id);
}
