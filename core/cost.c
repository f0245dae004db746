/* cost.c - see count.h */
#include "core/cost.h"

static double bytes_of(tensor t)
{
    return present(t) ? (double)tensor_count(t) * (double)dtype_size(t.type) : 0;
}

/* A gradient that is added to is read, too. */
static double grad_bytes(grad g)
{
    return bytes_of(g.t) * (g.accumulate ? 2 : 1);
}

static void add(device *dev, double flops, double bytes)
{
    work_count *c = dev->state;
    c->flops += flops;
    c->bytes += bytes;
}

/* R x N x K multiplications and as many additions. */
static double product(tensor rows_of, tensor w)
{
    return 2 * (double)tensor_rows(rows_of) * (double)tensor_count(w);
}

/* A product's own traffic.  BLAS copies what it multiplies into tiles before it uses them: each operand
 * is read, written and read.  Beside many rows that is nothing; beside few it is what the weights cost. */
static double arranged(tensor a, tensor b, tensor out)
{
    return 3 * (bytes_of(a) + bytes_of(b) + bytes_of(out));
}

/* Pairs of a query and a key, of all heads, times the size of a head. */
static double pairs(tensor qkv, int64_t heads, int64_t kv_heads, bool causal)
{
    double b = (double)qkv.dim[0], t = (double)qkv.dim[1],
           size = (double)(qkv.dim[2] / (heads + 2 * kv_heads));
    return b * (double)heads * size * (causal ? t * (t + 1) / 2 : t * t);
}

#define COUNT(name, flops, bytes)                                                                  \
    static void count_##name(device *dev, int stream, const name##_op *o)                          \
    {                                                                                              \
        (void)stream;                                                                              \
        add(dev, flops, bytes);                                                                    \
    }

COUNT(fill, 0, bytes_of(o->x))
COUNT(copy, 0, bytes_of(o->dst) + bytes_of(o->src))
COUNT(embedding, 0, 3 * bytes_of(o->out))
COUNT(embedding_grad, 0, 5 * bytes_of(o->dout))
COUNT(norm, 0, bytes_of(o->out) + bytes_of(o->x))
COUNT(norm_grad, 0, bytes_of(o->dx) * (o->accumulate ? 2 : 1) + bytes_of(o->dout) + bytes_of(o->x))
COUNT(linear, product(o->x, o->w),
      arranged(o->x, o->w, o->out) + bytes_of(o->residual) +
          (o->act ? bytes_of(o->out) + bytes_of(o->pre) : 0))
COUNT(activate, 0, bytes_of(o->out) + bytes_of(o->x))
COUNT(linear_dx, product(o->dout, o->w),
      arranged(o->dout, o->w, o->dx) + (o->accumulate ? 2 * bytes_of(o->dx) : 0) +
          2 * bytes_of(o->pre))
COUNT(linear_dw, present(o->dw.t) ? product(o->dout, o->dw.t) : 0,
      arranged(o->dout, o->x, o->dw.t) + bytes_of(o->dout) + grad_bytes(o->dw))
COUNT(attention, 4 * pairs(o->qkv, o->heads, o->kv_heads, o->causal),
      bytes_of(o->qkv) + bytes_of(o->out))
COUNT(attention_grad, 10 * pairs(o->qkv, o->heads, o->kv_heads, o->causal),
      bytes_of(o->qkv) + bytes_of(o->dqkv) + bytes_of(o->out) + bytes_of(o->dout))
COUNT(head_norm, 0, 2 * bytes_of(o->x) + bytes_of(o->kept))
COUNT(head_norm_grad, 0, 2 * bytes_of(o->dx) + bytes_of(o->kept))
COUNT(rotary, 0, 2 * bytes_of(o->x))
COUNT(gate, 0, bytes_of(o->out) + bytes_of(o->x))
COUNT(gate_grad, 0, 2 * bytes_of(o->x) + bytes_of(o->dout))
COUNT(classify, 0, bytes_of(o->logits) * (o->backward ? 3 : 1))
COUNT(expand, 0, 1.5 * bytes_of(o->out))
COUNT(compress, 0, 1.5 * bytes_of(o->x))
COUNT(patches, 0, bytes_of(o->out) + bytes_of(o->images))
COUNT(positions, 0, bytes_of(o->out) + bytes_of(o->x))
COUNT(positions_grad, 0, bytes_of(o->dx) + 2 * bytes_of(o->dout))
COUNT(pool, 0, o->first ? 2 * bytes_of(o->out) : bytes_of(o->x))
COUNT(pool_grad, 0, bytes_of(o->dx))
COUNT(scale_samples, 0, bytes_of(o->out) + bytes_of(o->x) + bytes_of(o->residual))
COUNT(classify_soft, 0, bytes_of(o->logits) * (o->backward ? 3 : 1))

static void count_sumsq(device *dev, int stream, const sumsq_op *o)
{
    (void)stream;
    for (int64_t i = 0; i < o->n; i++)
        add(dev, 0, bytes_of(o->items[i].x));
}

static void count_optim(device *dev, int stream, const optim_op *o)
{
    (void)stream;
    for (int64_t i = 0; i < o->n; i++) {
        const optim_item *it = &o->items[i];
        double once = 2 * bytes_of(it->p) + bytes_of(it->g) + 2 * bytes_of(it->temp);
        once += 2 * bytes_of(it->master);
        for (int k = 0; k < MAX_STATES; k++)
            once += 2 * (bytes_of(it->state[k]) + bytes_of(it->scale[k]));
        /* a pass of the published form reads and writes about three tensors */
        add(dev, 0, o->fused ? once : 3 * once);
    }
}

device device_counting(work_count *count)
{
    static const device_ops ops = {
        .name = "null",
        .working_types = 1u << F32 | 1u << F64 | 1u << BF16,
        .fill = count_fill,
        .copy = count_copy,
        .embedding = count_embedding,
        .embedding_grad = count_embedding_grad,
        .norm = count_norm,
        .norm_grad = count_norm_grad,
        .linear = count_linear,
        .activate = count_activate,
        .linear_dx = count_linear_dx,
        .linear_dw = count_linear_dw,
        .attention = count_attention,
        .attention_grad = count_attention_grad,
        .head_norm = count_head_norm,
        .head_norm_grad = count_head_norm_grad,
        .rotary = count_rotary,
        .gate = count_gate,
        .gate_grad = count_gate_grad,
        .classify = count_classify,
        .sumsq = count_sumsq,
        .optim = count_optim,
        .expand = count_expand,
        .compress = count_compress,
        .patches = count_patches,
        .positions = count_positions,
        .positions_grad = count_positions_grad,
        .pool = count_pool,
        .pool_grad = count_pool_grad,
        .scale_samples = count_scale_samples,
        .classify_soft = count_classify_soft,
    };
    device dev = device_null();
    dev.ops = &ops;
    dev.state = count;
    return dev;
}
