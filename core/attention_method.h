/* attention_method.h - by what attention is computed.
 *
 *     flash             the device's own kernels: the same bits from run to run
 *     cudnn             cuDNN's, on GPUs: the queries' gradient is summed up by atomic additions, in
 *                       whatever order they come, so its bits differ from run to run
 *     cudnn-repeatable  cuDNN's without those; all T x T scores' gradients lie in its workspace
 *
 * cuDNN has many engines, and which of them there are depends on the GPU.  A plan is made without
 * one: so what they may work in follows from the shapes, and an engine that wants more is passed
 * over.  Asked about an H100, an A100 and a B200, cuDNN 9.19 has one within this for every shape of
 * test/test_cudnn.c.
 */
#ifndef REGRAD_ATTENTION_H
#define REGRAD_ATTENTION_H

#include <stdbool.h>
#include <stdint.h>

typedef enum {
    ATTENTION_FLASH,
    ATTENTION_CUDNN,
    ATTENTION_CUDNN_REPEATABLE,
    ATTENTION_METHODS
} attention_method;

enum { ATTENTION_CUDNN_HEADS = 8 }; /* its heads are a multiple of so many numbers */

extern const char *const attention_method_names[ATTENTION_METHODS];

/* Bytes that cuDNN's engines may work in, on (B,H,T,D) in bf16. */
int64_t attention_engine_room(attention_method how, int64_t b, int64_t h, int64_t t, int64_t d,
                              bool backward);

/* Bytes of an operation's workspace; 0 for ATTENTION_FLASH.
 *
 *     | room of the engine | backward of ATTENTION_CUDNN: (B,H,T,D) f32, what dq is summed up in | */
int64_t attention_workspace(attention_method how, int64_t b, int64_t h, int64_t t, int64_t d,
                            bool backward);

#endif
