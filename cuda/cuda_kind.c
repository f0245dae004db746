/* cuda_kind.c - what CUDA devices can answer in general; in every build, for plans; see cuda.h
 *
 * cuDNN has many engines, and which of them exist depends on the GPU.  A plan is made without one:
 * so the limit on their workspace follows from the shapes, and engines that want more are skipped.
 * For an H100, an A100 and a B200, cuDNN 9.19 has one within this limit for every shape of
 * test/test_cudnn.c.
 */
#include "cuda/cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL_BYTES = 4096, TILE = 128, HEAD_MULTIPLE = 8 };

static const char *const methods[CUDA_ATTENTIONS] = {"flash", "cudnn", "cudnn-repeatable"};

/* Whether cuDNN has engines for the rest (lengths, head sizes) is known on the GPU only. */
static const char *cudnn_lacks(int method, const attention_sizes *s)
{
    return method == ATTENTION_OWN        ? NULL
           : s->type != BF16              ? "is for --dtype bf16"
           : s->alibi                     ? "has no ALiBi"
           : s->windowed                  ? "has no windows"
           : s->capped                    ? "has no soft caps of scores"
           : s->kv_heads != s->heads      ? "has no shared key heads"
           : s->head_size % HEAD_MULTIPLE ? "takes heads of 8, 16, 24 ... numbers"
                                          : NULL;
}

/* Engines work on whole tiles of a sequence.  Backward, they need a second sum of dq (f32), or ds
 * (bf16). */
int64_t cuda_engine_room(int method, const attention_sizes *s, bool backward)
{
    int64_t padded = (s->length + TILE - 1) / TILE * TILE, heads = s->batch * s->heads;
    if (method == ATTENTION_OWN) return 0;
    if (!backward) return SMALL_BYTES;
    return heads * padded * (method == CUDA_ATTENTION_CUDNN ? 4 * s->head_size : 2 * padded) +
           SMALL_BYTES;
}

/*     | room of the engine | backward of cudnn: (B,H,T,D) f32, what dq is summed up in |      */
static int64_t cudnn_workspace(int method, const attention_sizes *s, bool backward)
{
    bool sums = method == CUDA_ATTENTION_CUDNN && backward;
    return cuda_engine_room(method, s, backward) +
           (sums ? 4 * s->batch * s->heads * s->length * s->head_size : 0);
}

static bool cudnn_varies(int method)
{
    return method == CUDA_ATTENTION_CUDNN;
}

/* ---- GPUs and the ranks of one machine ---- */

static error *open_first(int threads, device *out)
{
    (void)threads;
    return cuda_device(out);
}

/* The number of devices in CUDA_VISIBLE_DEVICES; -1: it is not set. */
static int listed(void)
{
    const char *seen = getenv("CUDA_VISIBLE_DEVICES");
    if (!seen) return -1;
    int n = *seen != 0;
    for (; *seen; seen++)
        n += *seen == ',';
    return n;
}

static error *enough_gpus(int n)
{
    int visible = listed();
    if (visible < 0 || visible >= n) return NULL;
    return user_error("--gpus %d: CUDA_VISIBLE_DEVICES=%s has %d: ask for no more, or show more", n,
                      getenv("CUDA_VISIBLE_DEVICES"), visible);
}

/* The local rank's, among the visible ones; if there is only one, it was chosen for this rank. */
static error *choose_gpu(int local)
{
    char number[32];
    const char *seen = getenv("CUDA_VISIBLE_DEVICES");
    if (seen && !strchr(seen, ',')) return NULL;
    snprintf(number, sizeof number, "%d", local);
    for (int i = 0; seen && i < local; i++) {
        seen = strchr(seen, ',');
        if (!seen)
            return user_error("there is no GPU for it: it is number %d on its machine, and "
                              "CUDA_VISIBLE_DEVICES=%s has %d: start fewer ranks there",
                              local, getenv("CUDA_VISIBLE_DEVICES"), i + 1);
        seen++;
    }
    if (seen) snprintf(number, sizeof number, "%.*s", (int)strcspn(seen, ","), seen);
    if (setenv("CUDA_VISIBLE_DEVICES", number, 1)) return user_error("out of memory");
    return NULL;
}

/* ---- the table ---- */

static error *prepare_attention(device *dev, int method)
{
    return method == ATTENTION_OWN ? NULL : cuda_try_cudnn(dev);
}

const device_kind cuda_kind = {.name = "cuda",
                               .room = CUDA_ROOM,
                               .costly_launch = true,
                               .logits_mib = 512, /* larger products, and the memory for them */
                               .narrow_size = 1,
                               .attention = methods,
                               .n_attention = CUDA_ATTENTIONS,
                               .attention_lacks = cudnn_lacks,
                               .attention_workspace = cudnn_workspace,
                               .attention_varies = cudnn_varies,
                               .likely = cuda_driver_here,
                               .open = open_first,
                               .close = cuda_close,
                               .describe = cuda_describe,
                               .memory = cuda_memory,
                               .free_memory = cuda_free_memory,
                               .use = cuda_use,
                               .prepare = prepare_attention,
                               .join = cuda_join,
                               .enough = enough_gpus,
                               .choose = choose_gpu};
