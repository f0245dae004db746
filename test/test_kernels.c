/* test_kernels.c - a run has the same bits by every kernel of the CPU, with any number of threads.
 *
 * Whole training runs (GPT; ViT with all that is random; a LLaMA block with grouped heads; bf16) by
 * each kernel that this processor runs (cpu/kernel.h), on 1, 2 and 3 threads: every parameter, loss
 * and norm of a gradient is that of the first.  Sizes are odd, so that tiles, panels and sums have
 * ends; one product is deeper than a part of the sum (cpu/product.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/bf16.h"
#include "base/rng.h"
#include "test/long.h"
#include "test/kernels.h"
#include "test/small_run.h"

#include <stdlib.h>
#include <string.h>

static small_result train(const char *sizes, const char *kernel, int threads)
{
    char arguments[600];
    snprintf(arguments, sizeof arguments,
             "%s --steps %d --warmup 2 --lr 0.003 --grad-clip 0.5 --cpu-kernel %s --threads %d",
             sizes, thin_run() ? 3 : 6, kernel, threads);
    return small_train(arguments);
}

/* Of parameters, losses or norms of gradients? */
static bool differ(const small_result *a, const small_result *b)
{
    size_t n = (size_t)a->steps;
    return first_difference(a, b) >= 0 || memcmp(a->loss, b->loss, n * sizeof *a->loss) ||
           memcmp(a->grad_norm, b->grad_norm, n * sizeof *a->grad_norm);
}

/* With sanitizers each kernel has one number of threads: by turns 1 and 3. */
static void all_agree(const char *sizes, int turn)
{
    small_result want = train(sizes, "plain", 1);
    for (int k = 0; k < KERNELS; k++) {
        if (!kernel_runs(kernels[k])) {
            print_message("  no %s here\n", kernels[k]);
            continue;
        }
        int first = thin_run() && (k + turn) % 2 ? 3 : 1;
        for (int threads = first; threads <= (thin_run() ? first : 3); threads++) {
            small_result got = train(sizes, kernels[k], threads);
            if (differ(&want, &got))
                fail_msg("%s: %s, %d threads: other bits than plain, 1 thread (parameter %lld)",
                         sizes, kernels[k], threads, (long long)first_difference(&want, &got));
            small_free(&got);
        }
    }
    small_free(&want);
}

static void test_gpt(void **state)
{
    (void)state;
    all_agree("--vocab 291 --layers 2 --heads 3 --width 69 --context 37 --batch 3 --seq 37", 0);
    all_agree("--vocab 59 --layers 1 --heads 4 --width 76 --context 19 --batch 2 --seq 19 "
              "--dtype bf16 --products f32",
              1);
}

/* By pairs: other bits than by f32, and the same on any number of threads. */
static void pairs_agree(const char *kernel)
{
    const char *sizes =
        "--vocab 59 --layers 1 --heads 4 --width 76 --context 19 --batch 2 --seq 18 "
        "--dtype bf16";
    if (!kernel_runs(kernel)) skip();
    small_result plain = train(sizes, "avx512", 1), want = train(sizes, kernel, 1);
    assert_true(thin_run() || differ(&plain, &want)); /* in so few steps they need not */
    for (int threads = 2; threads <= 3; threads++) {
        small_result got = train(sizes, kernel, threads);
        assert_false(differ(&want, &got));
        small_free(&got);
    }
    small_free(&plain);
    small_free(&want);
}

static void test_pairs(void **state)
{
    (void)state;
    pairs_agree("avx512bf16");
}

static void test_amx(void **state)
{
    (void)state;
    pairs_agree("amxbf16");
}

static void test_llama(void **state)
{
    (void)state;
    all_agree("--model llama-nano --vocab 59 --batch 2 --seq 33", 2);
    all_agree("--model gemma-nano --vocab 59 --batch 2 --seq 13", 3);
    all_agree("--model qwen3-nano --vocab 59 --batch 2 --seq 13", 4);
}

static void test_vit(void **state)
{
    (void)state;
    all_agree(SMALL_VIT "--drop-path 0.3 --mixup 0.5 --random-crop 2 --flip ", 5);
}

/* ---- a product by each kernel ---- */

enum { ALL = 31, MOST = 150, DEEP = 700 };

static void draw(float *x, int64_t n, uint64_t seed)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)rng_uniform(seed, RNG_TEST, (uint64_t)i) - 0.5f;
}

/* act(x w'): `rows` rows of it */
static void multiply_rows(device *dev, dtype type, const void *x, const void *w, int64_t rows,
                          int64_t k, float *out)
{
    OP(linear, dev, 0, .out = tensor_of(out, type, SHAPE(rows, MOST)),
       .x = tensor_of((void *)(size_t)x, type, SHAPE(rows, k)),
       .w = tensor_of((void *)(size_t)w, type, SHAPE(MOST, k)), .act = ACT_GELU_TANH);
}

/* The first and the last rows of the output alone, and all: the same bits, by f32 and by bf16.
 * All are too many for product_few.c.  With sanitizers every third number of rows. */
static void rows_alone(device *dev, dtype type, const void *x, const void *w, int64_t k)
{
    static float all[ALL * MOST], some[ALL * MOST];
    size_t size = dtype_size(type);
    multiply_rows(dev, type, x, w, ALL, k, all);
    for (int64_t rows = 1; rows < ALL; rows += thin_run() ? 3 : 1)
        for (int64_t r = 0; r <= ALL - rows; r += ALL - rows) {
            multiply_rows(dev, type, (const char *)x + (size_t)(r * k) * size, w, rows, k, some);
            assert_memory_equal(some, (const char *)all + (size_t)(r * MOST) * size,
                                (size_t)(rows * MOST) * size);
        }
    must(device_status(dev));
}

static void test_row_alone(void **state)
{
    (void)state;
    static float x[ALL * DEEP], w[MOST * DEEP];
    static uint16_t x16[ALL * DEEP], w16[MOST * DEEP];
    const int64_t depths[] = {1, 2, 7, 16, 33, 256, 257, DEEP};
    draw(x, ALL * DEEP, 1);
    draw(w, MOST * DEEP, 2);
    for (int i = 0; i < ALL * DEEP; i++)
        x16[i] = bf16_of_float(x[i]);
    for (int i = 0; i < MOST * DEEP; i++)
        w16[i] = bf16_of_float(w[i]);
    for (int kernel = 0; kernel < KERNELS; kernel++)
        for (int threads = 1; threads <= 2 && kernel_runs(kernels[kernel]); threads++) {
            device dev;
            must(cpu_device(threads, &dev));
            must(cpu_use_kernel(&dev, kernels[kernel]));
            for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
                rows_alone(&dev, F32, x, w, depths[i]);
                rows_alone(&dev, BF16, x16, w16, depths[i]);
            }
            cpu_close(&dev);
        }
}

static void refused(device *dev, const char *kernel)
{
    char want[100];
    snprintf(want, sizeof want, "--cpu-kernel %s: this processor runs auto, ", kernel);
    error *e = cpu_use_kernel(dev, kernel);
    assert_non_null(e);
    assert_non_null(strstr(error_text(e), want));
    error_free(e);
}

static void test_unknown(void **state)
{
    (void)state;
    device dev;
    must(cpu_device(1, &dev));
    refused(&dev, "sse9");
#ifdef __x86_64__
    refused(&dev, "neon");
#else
    refused(&dev, "amxbf16");
#endif
    error *e = cpu_use_products(&dev, "mkl");
    assert_non_null(e);
    assert_non_null(strstr(error_text(e), "must be own, f32, fp8 or blas"));
    error_free(e);
    cpu_close(&dev);
}

/* No processor has run it yet: it is for those who ask (docs/bench-cpu.md). */
static void test_amx_is_asked_for(void **state)
{
    (void)state;
    device dev;
    char about[100];
    must(cpu_device(1, &dev));
    assert_null(strstr(cpu_describe(&dev, about, sizeof about), "amxbf16"));
    if (!kernel_runs("amxbf16")) {
        error *e = cpu_use_kernel(&dev, "amxbf16");
        assert_non_null(strstr(error_text(e), "--cpu-kernel amxbf16: "));
        error_free(e);
    } else {
        must(cpu_use_kernel(&dev, "amxbf16"));
        assert_string_equal(cpu_describe(&dev, about, sizeof about), "1 thread, amxbf16");
    }
    cpu_close(&dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpt),     cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_amx),     cmocka_unit_test(test_llama),
        cmocka_unit_test(test_vit),     cmocka_unit_test(test_row_alone),
        cmocka_unit_test(test_unknown), cmocka_unit_test(test_amx_is_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
