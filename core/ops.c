/* ops.c - the front of the operation table: checks a call against its row of core/ops.def, once for
 * every device; then calls the device's function, if there is one (the null device has none).
 *
 *     op_linear(dev, stream, o)
 *         list                    of the row's operands: name, role, type, tensor
 *         types_hold              over the list: required operands are present, types match
 *         sentence_broken_linear  the row's shapes and sentences, in order
 *         dev->ops->linear
 *         watch                   over the list: reports what was written
 *
 * A failure names the operand and what it must be, or the sentence that does not hold, and all
 * operands.
 */
#include "core/ops_internal.h"
#include "core/stored_numbers.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void device_fail(device *dev, error *e)
{
    if (dev->failure)
        error_free(e);
    else
        dev->failure = e;
}

error *device_status(device *dev)
{
    error *e = dev->failure;
    dev->failure = NULL;
    return e;
}

device device_null(void)
{
    static const device_ops none = {
        .name = "null", .working_types = 1u << F32 | 1u << F64 | 1u << BF16};
    return (device){.ops = &none, .threads = 1};
}

/* ---- a call's operands ---- */

typedef struct {
    const char *name;
    int role, type; /* core/ops_internal.h */
    tensor t;
} operand;

static error *misuse(const char *op, const char *what, const operand *list, int n)
{
    char text[1000] = "", one[80];
    size_t used = 0;
    for (int i = 0; i < n && used < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s %s", i ? ", " : "",
                                 list[i].name, tensor_text(list[i].t, one, sizeof one));
    return internal_error("%s: must hold: %s [%s]", op, what, text);
}

/* ---- what follows from roles and types ---- */

/* The type of the first operand present with class a or b. */
static dtype type_among(const operand *list, int n, int a, int b)
{
    for (int i = 0; i < n; i++)
        if ((list[i].type == a || list[i].type == b) && present(list[i].t)) return list[i].t.type;
    return DT_NONE;
}

static bool type_holds(const device *dev, const operand *p, dtype work, dtype same)
{
    switch (p->type) {
    case EXACT:
    case WORK:
        return p->t.type == work && working(dev, p->t) && (p->type == WORK || work != BF16);
    case STAT:
        return work ? p->t.type == stat_type(work) : p->t.type == F32 || p->t.type == F64;
    case SAME:
        return p->t.type == same;
    default:
        return p->type == ANY || p->t.type == (dtype)p->type;
    }
}

static bool types_hold(device *dev, const char *op, const operand *list, int n)
{
    dtype work = type_among(list, n, WORK, EXACT), same = type_among(list, n, SAME, SAME);
    for (int i = 0; i < n; i++) {
        char what[80];
        const operand *p = &list[i];
        if (present(p->t) ? type_holds(dev, p, work, same) : p->role & OPT) continue;
        snprintf(what, sizeof what, "%s is %s", p->name, present(p->t) ? "of its type" : "there");
        device_fail(dev, misuse(op, what, list, n));
        return false;
    }
    return true;
}

/* ---- shapes and sentences ---- */

/* See the head of core/ops.def. */
static bool shape_holds(tensor t, const int64_t *want, size_t n, bool apart)
{
    if (!present(t)) return true;
    if (apart ? t.ld < tensor_cols(t) : !tensor_contiguous(t)) return false;
    if (n == 1) return tensor_count(t) == want[0];
    if (n == 2) return tensor_rows(t) == want[0] && tensor_cols(t) == want[1];
    return t.rank == (int)n && !memcmp(t.dim, want, n * sizeof *want);
}

static bool sumsq_items_fit(const device *dev, const sumsq_op *o)
{
    for (int64_t i = 0; i < o->n; i++) {
        tensor x = o->items[i].x, slot = o->items[i].slot;
        if (!working(dev, x) || !tensor_contiguous(x) || !present(slot) || !fits(slot, F64, 1))
            return false;
    }
    return true;
}

/* A state in a valid form: 8 bits with scales, others without. */
static bool state_fits(tensor s, tensor scale, int64_t n)
{
    if (s.type != I8 && s.type != U8)
        return !present(scale) && (fits(s, F32, n) || fits(s, BF16, n));
    return fits(s, s.type, n) && present(scale) &&
           fits(scale, F32, (n + STATE_BLOCK - 1) / STATE_BLOCK);
}

static bool master_fits(const optim_item *it, int64_t n)
{
    tensor m = it->master;
    return !present(m) ||
           (it->p.type == BF16 && (fits(m, F32, n) || fits(m, I16, n) || fits(m, I8, n)));
}

static bool all_f32(const optim_item *it)
{
    bool all = it->p.type == F32;
    for (int k = 0; k < MAX_STATES; k++)
        all = all && (!present(it->state[k]) || it->state[k].type == F32);
    return all;
}

/* What only the rule knows about its operands: every state, and the intermediate if the passes need
 * one. */
static bool optim_item_is_complete(const optim_item *it, const rule_info *rule, bool fused)
{
    bool all = !rule->needs_temp || (fused && rule->sees != BY_MATRIX) || present(it->temp);
    for (int k = 0; k < rule->n_states; k++)
        all = all && present(it->state[k]);
    return all;
}

static bool optim_item_fits(const optim_item *it, bool fused)
{
    int64_t n = tensor_count(it->p);
    bool fit = present(it->p) && (fits(it->p, F32, n) || fits(it->p, BF16, n)) && present(it->g) &&
               fits(it->g, it->p.type, n) && fits(it->temp, F32, n) && master_fits(it, n) &&
               (fused || all_f32(it)) && fits(it->slot, F64, 1);
    for (int k = 0; k < MAX_STATES; k++)
        fit = fit && state_fits(it->state[k], it->scale[k], n);
    return fit;
}

static bool optim_items_fit(const optim_op *o)
{
    for (int64_t i = 0; i < o->n; i++)
        if (!optim_item_fits(&o->items[i], o->fused) ||
            !optim_item_is_complete(&o->items[i], o->rule, o->fused))
            return false;
    return true;
}

/* clang-format off */

/* The first shape or sentence of a row that does not hold, or NULL. */
#define OPERATION(name)                                                                            \
    static const char *sentence_broken_##name(const device *dev, const name##_op *o)               \
    {                                                                                              \
        (void)dev;
#define WHERE(...) __attribute__((unused)) const int64_t __VA_ARGS__;
#define HOLDS(...)                                                                                 \
        if (!(__VA_ARGS__)) return #__VA_ARGS__;
#define apart_true  ", whose rows may be apart"
#define apart_false ", row after row"
#define LETTERS(...)                                                                               \
        (const int64_t[]){__VA_ARGS__}, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)
#define SHAPED(name, t, shape, apart)                                                              \
        if (!shape_holds(t, LETTERS shape, apart)) return name " is " #shape apart_##apart;
#define TENSOR(role, name, type, shape) SHAPED(#name, o->name, shape, false)
#define MATRIX(role, name, type, shape) SHAPED(#name, o->name, shape, true)
#define GRADIENT(name, type, shape)     SHAPED(#name, o->name.t, shape, false)
#define MATRIX_GRADIENT(name, type, shape) SHAPED(#name, o->name.t, shape, true)
#define COST(name, flops, bytes)                                                                   \
        return NULL;                                                                               \
    }
#include "core/ops.def"
/* clang-format on */

static bool sentences_hold(device *dev, const char *op, const char *broken, const operand *list,
                           int n)
{
    if (broken) device_fail(dev, misuse(op, broken, list, n));
    return !broken;
}

/* ---- the fronts ---- */

static const tensor none;

/* The null device computes nothing; any other must have the operation. */
static bool computes(device *dev, const char *op, bool has)
{
    if (!has && dev->ops->alloc)
        device_fail(dev, user_error("the %s device has no operation `%s` yet: use --device cpu",
                                    dev->ops->name, op));
    return has;
}

/* The operands that are present. */
static void watch(device *dev, const char *op, const operand *list, int n)
{
    for (int i = 0; i < n; i++)
        if (list[i].role & OUT && present(list[i].t))
            dev->watch(dev->watch_context, dev, op, list[i].t);
}

/* clang-format off */
#define OPERATION(name)                                                                            \
    void op_##name(device *dev, int stream, const name##_op *o)                                    \
    {                                                                                              \
        const operand list[] = {
#define TENSOR(role, name, type, shape) {#name, role, type, o->name},
#define GRADIENT(name, type, shape)     {#name, OPT_OUT, type, o->name.t},
#define ITEMS(type, name, written)      {#name, OPT_OUT, ANY, o->n > 0 ? o->name->written : none},
#define COST(name, flops, bytes)                                                                   \
        };                                                                                         \
        const int n = (int)(sizeof list / sizeof *list);                                           \
        if (dev->failure || !types_hold(dev, #name, list, n) ||                                    \
            !sentences_hold(dev, #name, sentence_broken_##name(dev, o), list, n) ||                \
            !computes(dev, #name, dev->ops->name))                                                 \
            return;                                                                                \
        dev->ops->name(dev, stream, o);                                                            \
        if (dev->watch) watch(dev, #name, list, n);                                                \
    }
#include "core/ops.def"
/* clang-format on */

void op_put(device *dev, int stream, tensor dst, const void *host)
{
    if (!dev->failure && dev->ops->put)
        dev->ops->put(dev, stream, dst.data, host, tensor_bytes(dst));
}

void op_get(device *dev, int stream, void *host, tensor src)
{
    if (!dev->failure && dev->ops->get)
        dev->ops->get(dev, stream, host, src.data, tensor_bytes(src));
}

void op_get_floats(device *dev, int stream, float *host, tensor src)
{
    int64_t n = tensor_count(src);
    bool half = src.type == BF16;
    uint16_t *upper = (uint16_t *)(void *)host + n; /* so that widening does not overwrite unread
                                                     * elements */
    op_get(dev, stream, half ? (void *)upper : host, src);
    op_sync(dev, stream);
    for (int64_t i = 0; i < n && half && !dev->failure && dev->ops->get; i++) {
        uint16_t x;
        memcpy(&x, upper + i, sizeof x);
        host[i] = float_of_bf16(x);
    }
}

void op_clear(device *dev, int stream, tensor x)
{
    if (!dev->failure && dev->ops->set) dev->ops->set(dev, stream, x.data, 0, tensor_bytes(x));
}

void op_sync(device *dev, int stream)
{
    if (!dev->failure && dev->ops->sync) dev->ops->sync(dev, stream);
}

void op_fork(device *dev, int from, int to)
{
    if (!dev->failure && dev->ops->fork) dev->ops->fork(dev, from, to);
}

void op_join(device *dev, int from, int to)
{
    if (!dev->failure && dev->ops->join) dev->ops->join(dev, from, to);
}

int64_t op_alike(device *dev, int64_t n)
{
    dev->alike = dev->ops->alloc ? 1 : n;
    return dev->alike;
}

/* Also after a failure: the lent memory may be about to be freed. */
void op_lend(device *dev, tensor room)
{
    if (dev->ops->lend) dev->ops->lend(dev, room);
}

void op_lend_narrow(device *dev, tensor room)
{
    if (dev->ops->lend_narrow) dev->ops->lend_narrow(dev, room);
}

/* ---- graphs: a graph that was begun must be ended even after a failure, to leave the device
 * usable ---- */

bool op_has_graphs(const device *dev)
{
    return dev->ops->graph_begin;
}

void op_graph_begin(device *dev, int stream)
{
    if (!dev->failure) dev->ops->graph_begin(dev, stream);
}

void *op_graph_end(device *dev, int stream)
{
    return dev->ops->graph_end(dev, stream);
}

void op_graph_launch(device *dev, int stream, void *graph)
{
    if (!dev->failure) dev->ops->graph_launch(dev, stream, graph);
}

void op_graph_free(device *dev, void *graph)
{
    if (graph) dev->ops->graph_free(dev, graph);
}

/* ---- the slopes of ALiBi; see core/ops.def ---- */

double alibi_slope(int64_t heads, int64_t h)
{
    int64_t n = 1;
    while (2 * n <= heads)
        n *= 2;
    return h < n ? exp2(-8.0 * (double)(h + 1) / (double)n)
                 : exp2(-4.0 * (double)(2 * (h - n) + 1) / (double)n);
}
