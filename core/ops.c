/* ops.c - the front of the operation table: shapes and types are checked here, once for every
 * device; then the device's own function runs, if it has one (the null device has none).
 *
 * A check is written as the sentence that must hold; the message of a failure is that sentence with
 * the operands' shapes.
 */
#include "core/ops_internal.h"
#include "core/stored_numbers.h"

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
    static const device_ops none = {.name = "null",
                                    .working_types = 1u << F32 | 1u << F64 | 1u << BF16};
    return (device){.ops = &none, .threads = 1};
}

/* ---- checks ---- */

void op_misuse(device *dev, const char *op, const char *sentence, tensor a, tensor b)
{
    char ta[80], tb[80];
    device_fail(dev, internal_error("%s: must hold: %s [%s, %s]", op, sentence,
                                    tensor_text(a, ta, sizeof ta), tensor_text(b, tb, sizeof tb)));
}

/* A working type of full width: what an optimizer computes in. */
static bool exact(const device *dev, tensor t)
{
    return working(dev, t) && t.type != BF16;
}

static bool is_matrix(tensor t, dtype type, int64_t rows, int64_t cols)
{
    return t.type == type && tensor_rows(t) == rows && tensor_cols(t) == cols && t.ld >= cols;
}

/* Both begin at the same place; while recording, in the same block at the same place. */
static bool overlap(tensor a, tensor b)
{
    return present(a) && present(b) && a.data == b.data;
}

static bool check_fill(device *dev, const char *op, const fill_op *o)
{
    CHECK(tensor_contiguous(o->x), o->x, o->x);
    CHECK(working(dev, o->x), o->x, o->x);
    return true;
}

static bool check_copy(device *dev, const char *op, const copy_op *o)
{
    bool whole = tensor_contiguous(o->dst) && tensor_contiguous(o->src);
    CHECK(o->dst.type == o->src.type, o->dst, o->src);
    CHECK(tensor_count(o->dst) == tensor_count(o->src), o->dst, o->src);
    CHECK(whole || tensor_cols(o->dst) == tensor_cols(o->src), o->dst, o->src);
    return true;
}

static bool check_add(device *dev, const char *op, const add_op *o)
{
    CHECK(working(dev, o->x), o->x, o->y);
    CHECK(present(o->y) && fits(o->y, o->x.type, tensor_count(o->x)), o->x, o->y);
    CHECK(tensor_contiguous(o->x), o->x, o->y);
    CHECK(!overlap(o->x, o->y), o->x, o->y);
    return true;
}

static bool check_embedding(device *dev, const char *op, const embedding_op *o)
{
    int64_t c = tensor_cols(o->wte);
    CHECK(working(dev, o->wte), o->wte, o->out);
    CHECK(o->tokens.rank == 2 && o->tokens.type == I32, o->tokens, o->out);
    CHECK(present(o->out) && fits(o->out, o->wte.type, tensor_count(o->tokens) * c), o->out,
          o->tokens);
    CHECK(o->first_position >= 0, o->out, o->tokens);
    CHECK(!present(o->wpe) || is_matrix(o->wpe, o->wte.type, tensor_rows(o->wpe), c), o->wpe,
          o->wte);
    CHECK(!present(o->wpe) || o->first_position + o->tokens.dim[1] <= tensor_rows(o->wpe), o->wpe,
          o->tokens);
    return true;
}

static bool check_embedding_grad(device *dev, const char *op, const embedding_grad_op *o)
{
    int64_t c = tensor_cols(o->dout);
    CHECK(working(dev, o->dout), o->dout, o->tokens);
    CHECK(o->tokens.rank == 2 && o->tokens.type == I32, o->tokens, o->dout);
    CHECK(fits(o->dout, o->dout.type, tensor_count(o->tokens) * c), o->dout, o->tokens);
    CHECK(!present(o->dwte.t) || is_matrix(o->dwte.t, o->dout.type, tensor_rows(o->dwte.t), c),
          o->dwte.t, o->dout);
    CHECK(!present(o->dwte.t) ||
              (present(o->scratch) && fits(o->scratch, I32, 2 * tensor_count(o->tokens))),
          o->scratch, o->tokens);
    CHECK(!present(o->dwpe.t) || is_matrix(o->dwpe.t, o->dout.type, tensor_rows(o->dwpe.t), c),
          o->dwpe.t, o->dout);
    CHECK(!present(o->dwpe.t) || o->first_position + o->tokens.dim[1] <= tensor_rows(o->dwpe.t),
          o->dwpe.t, o->tokens);
    return true;
}

static bool check_norm(device *dev, const char *op, const norm_op *o)
{
    int64_t rows = tensor_rows(o->x), cols = tensor_cols(o->x);
    CHECK(working(dev, o->x), o->x, o->out);
    CHECK(present(o->out) && fits(o->out, o->x.type, rows * cols) && tensor_contiguous(o->x),
          o->out, o->x);
    CHECK(present(o->mean) == (present(o->rstd) && !o->rms), o->mean, o->rstd);
    CHECK(fits(o->mean, stat_type(o->x.type), rows) && fits(o->rstd, stat_type(o->x.type), rows),
          o->mean, o->rstd);
    CHECK(present(o->w) && fits(o->w, o->x.type, cols) && fits(o->b, o->x.type, cols), o->w, o->b);
    return true;
}

static bool check_norm_grad(device *dev, const char *op, const norm_grad_op *o)
{
    int64_t rows = tensor_rows(o->x), cols = tensor_cols(o->x);
    dtype type = o->x.type, stat = stat_type(o->x.type);
    CHECK(working(dev, o->x), o->x, o->dx);
    CHECK(present(o->dx) && fits(o->dx, type, rows * cols), o->dx, o->x);
    CHECK(present(o->dout) && fits(o->dout, type, rows * cols), o->dout, o->x);
    CHECK(present(o->mean) == !o->rms && present(o->rstd) && fits(o->mean, stat, rows) &&
              fits(o->rstd, stat, rows),
          o->mean, o->rstd);
    CHECK(!o->accumulate || !overlap(o->dx, o->dout), o->dx, o->dout);
    CHECK(present(o->w) && fits(o->w, type, cols), o->w, o->x);
    CHECK(fits(o->dw.t, type, cols) && fits(o->db.t, type, cols), o->dw.t, o->db.t);
    CHECK(present(o->scratch) && fits(o->scratch, stat, NORM_GROUPS * 2 * cols), o->scratch, o->x);
    return true;
}

static bool check_linear(device *dev, const char *op, const linear_op *o)
{
    int64_t rows = tensor_rows(o->x), n = tensor_rows(o->w), k = tensor_cols(o->w);
    dtype type = o->w.type;
    CHECK(working(dev, o->w), o->w, o->x);
    CHECK(is_matrix(o->x, type, rows, k), o->x, o->w);
    CHECK(is_matrix(o->out, type, rows, n), o->out, o->w);
    CHECK(fits(o->bias, type, n), o->bias, o->w);
    CHECK(!present(o->residual) || is_matrix(o->residual, type, rows, n), o->residual, o->out);
    CHECK(!present(o->pre) || (o->act != ACT_NONE && is_matrix(o->pre, type, rows, n)), o->pre,
          o->out);
    CHECK(!overlap(o->residual, o->out), o->residual, o->out);
    return true;
}

static bool check_activate(device *dev, const char *op, const activate_op *o)
{
    int64_t rows = tensor_rows(o->x), cols = tensor_cols(o->x);
    CHECK(working(dev, o->x), o->x, o->out);
    CHECK(is_matrix(o->x, o->x.type, rows, cols), o->x, o->out);
    CHECK(is_matrix(o->out, o->x.type, rows, cols), o->out, o->x);
    CHECK(!overlap(o->out, o->x) || o->out.ld == o->x.ld, o->out, o->x);
    CHECK(o->act != ACT_NONE, o->x, o->out);
    return true;
}

static bool check_linear_dx(device *dev, const char *op, const linear_dx_op *o)
{
    int64_t rows = tensor_rows(o->dout), n = tensor_rows(o->w), k = tensor_cols(o->w);
    dtype type = o->w.type;
    CHECK(working(dev, o->w), o->w, o->dout);
    CHECK(is_matrix(o->dout, type, rows, n), o->dout, o->w);
    CHECK(is_matrix(o->dx, type, rows, k), o->dx, o->w);
    CHECK(present(o->pre) == (o->act != ACT_NONE), o->pre, o->dx);
    CHECK(!present(o->pre) || is_matrix(o->pre, type, rows, k), o->pre, o->dx);
    CHECK(!o->accumulate || o->act == ACT_NONE, o->dx, o->pre);
    return true;
}

static bool check_linear_dw(device *dev, const char *op, const linear_dw_op *o)
{
    int64_t rows = tensor_rows(o->dout), n = tensor_cols(o->dout);
    dtype type = o->dout.type;
    CHECK(working(dev, o->dout), o->dout, o->x);
    CHECK(!present(o->dw.t) || present(o->x), o->dw.t, o->x);
    CHECK(!present(o->x) || is_matrix(o->x, type, rows, tensor_cols(o->x)), o->x, o->dout);
    CHECK(!present(o->dw.t) ||
              (is_matrix(o->dw.t, type, n, tensor_cols(o->x)) && tensor_contiguous(o->dw.t)),
          o->dw.t, o->dout);
    CHECK(fits(o->db.t, type, n), o->db.t, o->dout);
    return true;
}

static bool check_matmul(device *dev, const char *op, const matmul_op *o)
{
    int64_t m = tensor_rows(o->out), n = tensor_cols(o->out);
    int64_t k = o->x_transposed ? tensor_rows(o->x) : tensor_cols(o->x);
    dtype type = o->out.type;
    CHECK(exact(dev, o->out), o->out, o->x);
    CHECK(is_matrix(o->out, type, m, n), o->out, o->x);
    CHECK(is_matrix(o->x, type, o->x_transposed ? k : m, o->x_transposed ? m : k), o->x, o->out);
    CHECK(is_matrix(o->y, type, o->y_transposed ? n : k, o->y_transposed ? k : n), o->y, o->out);
    CHECK(!overlap(o->out, o->x) && !overlap(o->out, o->y), o->out, o->x);
    return true;
}

static bool heads_fit(tensor qkv, tensor out, int64_t heads, int64_t kv_heads)
{
    if (qkv.rank != 3 || out.rank != 3 || heads < 1 || kv_heads < 1 || heads % kv_heads)
        return false;
    int64_t width = tensor_cols(out), size = width / heads;
    return width % heads == 0 && tensor_cols(qkv) == (heads + 2 * kv_heads) * size &&
           qkv.dim[0] == out.dim[0] && qkv.dim[1] == out.dim[1] && tensor_contiguous(qkv) &&
           tensor_contiguous(out);
}

/* Is the workspace of a method there? */
static bool has_room(attention_method how, tensor workspace, tensor out, int64_t heads,
                     bool backward)
{
    int64_t bytes =
        attention_workspace(how, out.dim[0], heads, out.dim[1], tensor_cols(out) / heads, backward);
    return bytes ? workspace.type == U8 && tensor_count(workspace) >= bytes : !present(workspace);
}

static bool check_attention(device *dev, const char *op, const attention_op *o)
{
    CHECK(!o->alibi || o->causal, o->qkv, o->out);
    CHECK(working(dev, o->qkv) && o->out.type == o->qkv.type, o->qkv, o->out);
    CHECK(heads_fit(o->qkv, o->out, o->heads, o->kv_heads), o->qkv, o->out);
    CHECK(present(o->lse) && fits(o->lse, stat_type(o->qkv.type), tensor_rows(o->qkv) * o->heads),
          o->lse, o->qkv);
    CHECK(has_room(o->method, o->workspace, o->out, o->heads, false), o->workspace, o->out);
    return true;
}

static bool check_attention_grad(device *dev, const char *op, const attention_grad_op *o)
{
    dtype type = o->qkv.type, stat = stat_type(type);
    int64_t n = tensor_count(o->qkv), rows = tensor_rows(o->qkv) * o->heads;
    CHECK(!o->alibi || o->causal, o->qkv, o->out);
    CHECK(working(dev, o->qkv) && o->out.type == type, o->qkv, o->out);
    CHECK(heads_fit(o->qkv, o->out, o->heads, o->kv_heads), o->qkv, o->out);
    CHECK(present(o->dqkv) && fits(o->dqkv, type, n), o->dqkv, o->qkv);
    CHECK(present(o->dout) && fits(o->dout, type, tensor_count(o->out)), o->dout, o->out);
    CHECK(present(o->lse) && fits(o->lse, stat, rows) && present(o->scratch) &&
              fits(o->scratch, stat, rows),
          o->lse, o->scratch);
    CHECK(has_room(o->method, o->workspace, o->out, o->heads, true), o->workspace, o->out);
    return true;
}

static bool check_attention_cached(device *dev, const char *op, const attention_cached_op *o)
{
    dtype type = o->qkv.type;
    tensor k = o->keys, v = o->values;
    CHECK(working(dev, o->qkv) && o->out.type == type, o->qkv, o->out);
    CHECK(k.rank == 4 && k.type == type && tensor_contiguous(k), k, o->qkv);
    CHECK(heads_fit(o->qkv, o->out, o->heads, k.dim[1]), o->qkv, o->out);
    CHECK(k.dim[0] == o->out.dim[0] && k.dim[3] == tensor_cols(o->out) / o->heads, k, o->out);
    CHECK(v.rank == 4 && fits(v, type, tensor_count(k)) && !memcmp(v.dim, k.dim, sizeof k.dim), v,
          k);
    CHECK(!overlap(k, v), k, v);
    CHECK(o->position >= 0 && o->position <= k.dim[2] - o->qkv.dim[1], k, o->qkv);
    return true;
}

/* x is rows of heads, of which the first + second have a place in kept. */
static bool normed_heads_fit(tensor x, tensor kept, tensor w1, tensor w2, int64_t first,
                             int64_t second)
{
    int64_t size = tensor_count(w1), normed = (first + second) * size;
    return tensor_contiguous(x) && first >= 0 && second >= 0 && first + second > 0 && size > 0 &&
           tensor_cols(x) % size == 0 && normed <= tensor_cols(x) && fits(w1, x.type, size) &&
           present(w2) && fits(w2, x.type, size) &&
           (!present(kept) || (fits(kept, x.type, tensor_rows(x) * normed) && !overlap(kept, x)));
}

static bool check_head_norm(device *dev, const char *op, const head_norm_op *o)
{
    CHECK(working(dev, o->x) && present(o->w1), o->x, o->w1);
    CHECK(normed_heads_fit(o->x, o->kept, o->w1, o->w2, o->first, o->second), o->x, o->w1);
    return true;
}

static bool check_head_norm_grad(device *dev, const char *op, const head_norm_grad_op *o)
{
    int64_t size = tensor_count(o->w1);
    dtype type = o->dx.type;
    CHECK(working(dev, o->dx) && present(o->w1), o->dx, o->w1);
    CHECK(present(o->kept), o->kept, o->dx);
    CHECK(normed_heads_fit(o->dx, o->kept, o->w1, o->w2, o->first, o->second), o->dx, o->w1);
    CHECK(fits(o->dw1.t, type, size) && fits(o->dw2.t, type, size), o->dw1.t, o->dw2.t);
    CHECK(present(o->scratch) && fits(o->scratch, stat_type(type), NORM_GROUPS * 2 * size),
          o->scratch, o->dx);
    return true;
}

static bool check_rotary(device *dev, const char *op, const rotary_op *o)
{
    CHECK(working(dev, o->x) && o->x.rank == 3 && tensor_contiguous(o->x), o->x, o->x);
    CHECK(o->heads >= 0 && o->head >= 1 && o->heads * o->head <= tensor_cols(o->x), o->x, o->x);
    CHECK(o->size >= 0 && o->size % 2 == 0 && o->size <= o->head, o->x, o->x);
    CHECK(o->base > 0 && o->first_position >= 0, o->x, o->x);
    return true;
}

static bool check_gate(device *dev, const char *op, const gate_op *o)
{
    int64_t n = tensor_cols(o->out);
    CHECK(working(dev, o->x) && o->act != ACT_NONE, o->x, o->out);
    CHECK(present(o->out) && is_matrix(o->out, o->x.type, tensor_rows(o->x), n), o->out, o->x);
    CHECK(tensor_cols(o->x) == 2 * n && !overlap(o->out, o->x), o->out, o->x);
    return true;
}

static bool check_gate_grad(device *dev, const char *op, const gate_grad_op *o)
{
    int64_t n = tensor_cols(o->dout);
    CHECK(working(dev, o->x) && o->act != ACT_NONE, o->x, o->dout);
    CHECK(present(o->dout) && is_matrix(o->dout, o->x.type, tensor_rows(o->x), n), o->dout, o->x);
    CHECK(tensor_cols(o->x) == 2 * n && !overlap(o->dout, o->x), o->dout, o->x);
    return true;
}

static bool check_classify(device *dev, const char *op, const classify_op *o)
{
    int64_t rows = tensor_rows(o->logits);
    CHECK(working(dev, o->logits), o->logits, o->losses);
    CHECK(o->targets.type == I32 && tensor_count(o->targets) == rows &&
              tensor_contiguous(o->targets),
          o->targets, o->logits);
    CHECK(present(o->losses) && fits(o->losses, stat_type(o->logits.type), rows), o->losses,
          o->logits);
    return true;
}

static bool is_hyper(tensor t)
{
    return t.type == U8 && tensor_count(t) == (int64_t)sizeof(hyper);
}

static bool check_loss(device *dev, const char *op, const loss_op *o)
{
    CHECK(o->sum.type == F64 && tensor_count(o->sum) == 1, o->sum, o->x);
    CHECK((o->x.type == F32 || o->x.type == F64) && tensor_contiguous(o->x), o->x, o->sum);
    CHECK(!present(o->hyper) || is_hyper(o->hyper), o->hyper, o->x);
    return true;
}

static bool check_sumsq(device *dev, const char *op, const sumsq_op *o)
{
    for (int64_t i = 0; i < o->n; i++) {
        tensor x = o->items[i].x, slot = o->items[i].slot;
        CHECK(working(dev, x) && tensor_contiguous(x), x, slot);
        CHECK(slot.type == F64 && tensor_count(slot) == 1, slot, x);
    }
    return true;
}

static bool check_normalize(device *dev, const char *op, const normalize_op *o)
{
    CHECK(exact(dev, o->x) && tensor_contiguous(o->x), o->x, o->squares);
    CHECK(o->squares.type == F64 && tensor_count(o->squares) == 1, o->squares, o->x);
    return true;
}

static bool check_clip(device *dev, const char *op, const clip_op *o)
{
    CHECK(o->slots.type == F64 && tensor_contiguous(o->slots), o->slots, o->hyper);
    CHECK(is_hyper(o->hyper), o->hyper, o->slots);
    return true;
}

/* A state in a form that it can have: 8 bits with scales, others without. */
static bool state_fits(tensor s, tensor scale, int64_t n)
{
    if (s.type != I8 && s.type != U8)
        return !present(scale) && (fits(s, F32, n) || fits(s, BF16, n));
    return fits(s, s.type, n) && present(scale) &&
           fits(scale, F32, (n + STATE_BLOCK - 1) / STATE_BLOCK);
}

static bool master_fits(tensor master, int64_t n)
{
    return fits(master, F32, n) || fits(master, I16, n) || fits(master, I8, n);
}

static bool all_f32(const optim_item *it)
{
    bool all = it->p.type == F32;
    for (int k = 0; k < MAX_STATES; k++)
        all = all && (!present(it->state[k]) || it->state[k].type == F32);
    return all;
}

static bool check_optim(device *dev, const char *op, const optim_op *o)
{
    CHECK(is_hyper(o->hyper), o->hyper, o->hyper);
    for (int64_t i = 0; i < o->n; i++) {
        const optim_item *it = &o->items[i];
        int64_t n = tensor_count(it->p);
        CHECK(present(it->p) && (fits(it->p, F32, n) || fits(it->p, BF16, n)), it->p, it->g);
        CHECK(present(it->g) && fits(it->g, it->p.type, n) && fits(it->temp, F32, n), it->g,
              it->temp);
        CHECK(!present(it->master) || (it->p.type == BF16 && master_fits(it->master, n)),
              it->master, it->p);
        CHECK(o->fused || all_f32(it), it->p, it->state[0]);
        CHECK(!present(it->slot) || fits(it->slot, F64, 1), it->slot, it->p);
        for (int k = 0; k < MAX_STATES; k++)
            CHECK(state_fits(it->state[k], it->scale[k], n), it->state[k], it->scale[k]);
    }
    return true;
}

static bool check_nonfinite(device *dev, const char *op, const nonfinite_op *o)
{
    CHECK(o->count && present(o->x), o->x, o->x);
    return true;
}

/* ---- images ---- */

static bool check_patches(device *dev, const char *op, const patches_op *o)
{
    const int64_t *d = o->images.dim;
    CHECK(working(dev, o->out) && o->images.rank == 4, o->images, o->out);
    CHECK(o->images.type == stat_type(o->out.type), o->images, o->out);
    CHECK(tensor_contiguous(o->images), o->images, o->out);
    CHECK(o->height > 0 && o->width > 0, o->images, o->out);
    CHECK(d[2] % o->height == 0 && d[3] % o->width == 0, o->images, o->out);
    CHECK(present(o->out) && fits(o->out, o->out.type, tensor_count(o->images)), o->out, o->images);
    CHECK(tensor_cols(o->out) == d[1] * o->height * o->width, o->out, o->images);
    return true;
}

/* first: rows before the others; all (B,T,C) with the same C */
static bool sequence_fits(tensor all, tensor x, int64_t first)
{
    return all.rank == 3 && x.rank == 3 && tensor_contiguous(all) && tensor_contiguous(x) &&
           x.type == all.type && x.dim[0] == all.dim[0] && x.dim[1] + first == all.dim[1] &&
           x.dim[2] == all.dim[2];
}

static int64_t rows_of(tensor t)
{
    return present(t) ? tensor_rows(t) : 0;
}

static bool check_positions(device *dev, const char *op, const positions_op *o)
{
    int64_t c = tensor_cols(o->x);
    CHECK(working(dev, o->x) && present(o->out), o->x, o->out);
    CHECK(sequence_fits(o->out, o->x, rows_of(o->first)), o->out, o->x);
    CHECK(!present(o->first) || !overlap(o->out, o->x), o->out, o->x);
    CHECK(fits(o->first, o->x.type, rows_of(o->first) * c), o->first, o->x);
    CHECK(present(o->positions) && fits(o->positions, o->x.type, o->out.dim[1] * c), o->positions,
          o->out);
    return true;
}

static bool check_positions_grad(device *dev, const char *op, const positions_grad_op *o)
{
    int64_t c = tensor_cols(o->dout), first = o->dout.dim[1] - o->dx.dim[1];
    CHECK(working(dev, o->dout) && present(o->dx) && first >= 0, o->dout, o->dx);
    CHECK(sequence_fits(o->dout, o->dx, first), o->dout, o->dx);
    CHECK(first == 0 || !overlap(o->dx, o->dout), o->dx, o->dout);
    CHECK(fits(o->dfirst.t, o->dout.type, first * c), o->dfirst.t, o->dout);
    CHECK(fits(o->dpositions.t, o->dout.type, o->dout.dim[1] * c), o->dpositions.t, o->dout);
    return true;
}

static bool pooled(tensor x, tensor out)
{
    return x.rank == 3 && present(out) && tensor_contiguous(x) &&
           fits(out, x.type, x.dim[0] * x.dim[2]) && tensor_cols(out) == x.dim[2];
}

static bool check_pool(device *dev, const char *op, const pool_op *o)
{
    CHECK(working(dev, o->x), o->x, o->out);
    CHECK(pooled(o->x, o->out), o->x, o->out);
    return true;
}

static bool check_pool_grad(device *dev, const char *op, const pool_grad_op *o)
{
    CHECK(working(dev, o->dx), o->dx, o->dout);
    CHECK(pooled(o->dx, o->dout), o->dx, o->dout);
    return true;
}

static bool check_scale_samples(device *dev, const char *op, const scale_samples_op *o)
{
    int64_t n = tensor_count(o->x);
    CHECK(working(dev, o->x) && o->x.rank == 3 && tensor_contiguous(o->x), o->x, o->out);
    CHECK(present(o->out) && fits(o->out, o->x.type, n), o->out, o->x);
    CHECK(present(o->scale) && fits(o->scale, stat_type(o->x.type), o->x.dim[0]), o->scale, o->x);
    CHECK(fits(o->residual, o->x.type, n) && !overlap(o->residual, o->out), o->residual, o->out);
    return true;
}

static bool check_classify_soft(device *dev, const char *op, const classify_soft_op *o)
{
    int64_t rows = tensor_rows(o->logits);
    dtype stat = stat_type(o->logits.type);
    CHECK(working(dev, o->logits), o->logits, o->losses);
    CHECK(present(o->targets) && fits(o->targets, stat, rows * tensor_cols(o->logits)) &&
              tensor_cols(o->targets) == tensor_cols(o->logits),
          o->targets, o->logits);
    CHECK(present(o->losses) && fits(o->losses, stat, rows), o->losses, o->logits);
    CHECK(fits(o->hits, stat, rows), o->hits, o->logits);
    return true;
}

/* ---- the fronts ---- */

/* The null device computes nothing; any other must have the operation. */
static bool computes(device *dev, const char *op, bool has)
{
    if (!has && dev->ops->alloc)
        device_fail(dev, user_error("the %s device has no operation `%s` yet: use --device cpu",
                                    dev->ops->name, op));
    return has;
}

#define OP_DEFINE(name)                                                                            \
    void op_##name(device *dev, int stream, const name##_op *o)                                    \
    {                                                                                              \
        if (dev->failure || !check_##name(dev, #name, o)) return;                                  \
        if (!computes(dev, #name, dev->ops->name)) return;                                         \
        dev->ops->name(dev, stream, o);                                                            \
        if (!dev->watch) return;                                                                   \
        tensor w[MAX_WRITTEN];                                                                     \
        int n = written_##name(o, w);                                                              \
        for (int i = 0; i < n; i++)                                                                \
            if (present(w[i])) dev->watch(dev->watch_context, dev, #name, w[i]);                   \
    }
DEVICE_OPS(OP_DEFINE)

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
    uint16_t *upper = (uint16_t *)(void *)host + n; /* so that widening overwrites none unread */
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

/* Also after a failure: what was lent may be about to go. */
void op_lend(device *dev, tensor room)
{
    if (dev->ops->lend) dev->ops->lend(dev, room);
}
