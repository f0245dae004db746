/* add_up.c - see add_up.h */
#include "ranks/add_up.h"
#include "base/bf16.h"

#include <string.h>

/* Elements at a time: their sums stay in the first cache, and each rank's are read in one sweep. */
enum { SOME = 512, WORTH_THREADS = 1 << 14 };

#define ADD_UP(TYPE, READ, WRITE)                                                                  \
    do {                                                                                           \
        TYPE *y_ = out.data;                                                                       \
        _Pragma("omp parallel for num_threads(threads) if (n > WORTH_THREADS)") for (int64_t at =  \
                                                                                         0;        \
                                                                                     at < n;       \
                                                                                     at += SOME)   \
        {                                                                                          \
            double sum[SOME];                                                                      \
            int64_t m = n - at < SOME ? n - at : SOME;                                             \
            for (int64_t i = 0; i < m; i++)                                                        \
                sum[i] = part.before ? part.before[at + i]                                         \
                                     : (double)READ(((const TYPE *)from[0])[at + i]);              \
            for (int r = !part.before; r < ranks; r++)                                             \
                for (int64_t i = 0; i < m; i++)                                                    \
                    sum[i] += (double)READ(((const TYPE *)from[r])[at + i]);                       \
            if (part.after)                                                                        \
                memcpy(part.after + at, sum, (size_t)m * sizeof *sum);                             \
            else                                                                                   \
                for (int64_t i = 0; i < m; i++)                                                    \
                    y_[at + i] = WRITE(sum[i]);                                                    \
        }                                                                                          \
    } while (0)
#define AS_FLOAT(x) (float)(x)
#define AS_BF16(x)  bf16_of_float((float)(x))

error *add_up_part(int threads, tensor out, const void *const *from, int ranks, sum_part part)
{
    int64_t n = tensor_count(out);
    switch (out.type) {
    case F64:
        ADD_UP(double, , );
        return NULL;
    case F32:
        ADD_UP(float, , AS_FLOAT);
        return NULL;
    case BF16:
        ADD_UP(uint16_t, float_of_bf16, AS_BF16);
        return NULL;
    default:
        return internal_error("ranks add up no %s", dtype_name(out.type));
    }
}

error *add_up(int threads, tensor out, const void *const *from, int ranks)
{
    return add_up_part(threads, out, from, ranks, (sum_part){0});
}
