/* test_cudnn.c - what cuDNN says of our graphs of attention, without a GPU.
 *
 * The real library, on the toolkit's stub of a driver, is told what an H100, an A100 and a B200 are
 * (their properties as JSON) and says which engines take the graphs of GPT and ViT, in the
 * workspace that is planned for them.  What it must refuse is refused.
 *
 * That the graphs are attention and its gradient, and the calls that run them, is tried on the
 * emulator (test_ops_attention).  What stays open is what only a GPU can say: that the engines can
 * be made ready and are right.
 */
#include "test/small_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#ifdef WITH_CUDNN
#include "cuda/cuda.h"
#include "cuda/cudnn.h"

#include <dlfcn.h>

/* ---- accepted ---- */

/* Data-sheet properties, in the words of CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION. */
#define GPU(version, bytes, sms, optin, ctas, pci, sm_khz, mem_khz, l2, name)                      \
    "{\"deviceVer\": " version                                                                     \
    ", \"driverVer\": 13000, \"cudaDeviceId\": 0, \"totalGlobalMem\": " bytes                      \
    ", \"maxGridSize\": [2147483647, 65535, 65535], \"maxBlockSize\": [1024, 1024, 64], "          \
    "\"regsPerBlock\": 65536, \"multiProcessorCount\": " sms ", \"warpSize\": 32, "                \
    "\"maxSharedMemoryPerBlock\": 49152, \"maxSharedMemoryPerBlockOptin\": " optin ", "            \
    "\"reservedSharedMemoryPerBlock\": 1024, \"maxRegistersPerSM\": 65536, "                       \
    "\"maxCtasPerSM\": " ctas ", \"maxThreadsPerBlock\": 1024, \"maxThreadsPerSM\": 2048, "        \
    "\"pciDeviceId\": " pci ", \"isTccDriver\": 0, \"supportCoopLaunch\": 1, "                     \
    "\"smClockRateKHz\": " sm_khz ", \"memClockRateKHz\": " mem_khz ", \"l2CacheSize\": " l2 ", "  \
    "\"deviceName\": \"" name "\"}"

static const struct {
    const char *name, *json;
} gpus[] = {
    {"H100", GPU("900", "85029158912", "132", "232448", "32", "9008", "1980000", "2619000",
                 "52428800", "NVIDIA H100 80GB HBM3")},
    {"A100", GPU("800", "85029158912", "108", "166912", "32", "8370", "1410000", "1593000",
                 "41943040", "NVIDIA A100-SXM4-80GB")},
    {"B200", GPU("1000", "85029158912", "148", "232448", "32", "10497", "1980000", "2619000",
                 "132644864", "NVIDIA B200")},
};
enum { GPUS = sizeof gpus / sizeof *gpus };

/* Of GPT at T = 1024 and ViT-B/16 and /32 at 224 x 224; other heads; an odd length. */
static const cudnn_shape used[] = {
    {.batch = 8, .heads = 12, .length = 1024, .size = 64, .causal = true},
    {.batch = 8, .heads = 12, .length = 197, .size = 64},
    {.batch = 8, .heads = 12, .length = 50, .size = 64},
    {.batch = 4, .heads = 16, .length = 1024, .size = 64, .causal = true},
    {.batch = 2, .heads = 32, .length = 2048, .size = 128, .causal = true},
    {.batch = 2, .heads = 16, .length = 197, .size = 80},
    {.batch = 1, .heads = 3, .length = 77, .size = 64, .causal = true},
};

/* The library, on the toolkit's stub of a driver; skips the test if one of them is not here. */
static cudnn_library real_library(void)
{
    cudnn_library l;
    /* by its name it is the driver's library from here on; where there is a
     * driver, that is as good */
    void *stub = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (!stub) stub = dlopen(CUDA_LIBRARIES "stubs/libcuda.so", RTLD_NOW | RTLD_GLOBAL);
    error *e = cudnn_load(&l);
    if (stub && !e) return l;
    printf("skip cuDNN on described GPUs: %s\n", e ? error_text(e) : "the toolkit has no stub");
    error_free(e);
    skip();
    return l;
}

static size_t budget_of(const cudnn_shape *s)
{
    int method = s->repeatable ? CUDA_ATTENTION_CUDNN_REPEATABLE : CUDA_ATTENTION_CUDNN;
    attention_sizes sizes = {
        .batch = s->batch, .heads = s->heads, .length = s->length, .head_size = s->size};
    return (size_t)cuda_engine_room(method, &sizes, s->backward);
}

static void test_accepted(void **state)
{
    (void)state;
    cudnn_library l = real_library();
    for (int g = 0; g < GPUS; g++)
        for (size_t i = 0; i < sizeof used / sizeof *used; i++)
            for (int form = 0; form < 3; form++) {
                cudnn_shape s = used[i];
                cudnn_plan p;
                s.type = CUDNN_DATA_BFLOAT16;
                s.backward = form > 0;
                s.repeatable = form == 2;
                error *e = cudnn_plan_make(&l, NULL, gpus[g].json, &s, budget_of(&s), &p);
                if (e)
                    fail_msg("%s, B %d H %d T %d D %d, form %d: %s", gpus[g].name, (int)s.batch,
                             (int)s.heads, (int)s.length, (int)s.size, form, error_text(e));
                assert_true(p.workspace >= 0 && p.engine >= 0);
                cudnn_plan_free(&l, &p);
            }
    cudnn_unload(&l);
}

/* It can say no: to a type and to shapes that its engines do not have, to a GPU that is too old, to
 * nonsense for a description; and we do, to a workspace that was not planned. */
static void test_refused(void **state)
{
    (void)state;
    cudnn_library l = real_library();
    const cudnn_shape good = {.batch = 8,
                              .heads = 12,
                              .length = 1024,
                              .size = 64,
                              .type = CUDNN_DATA_BFLOAT16,
                              .causal = true,
                              .backward = true};
    cudnn_shape odd = good, wide = good, exact = good, cells = good;
    odd.size = 63;
    wide.size = 512;
    exact.type = CUDNN_DATA_DOUBLE;
    cells.repeatable = true;
    const struct {
        const char *what, *json;
        cudnn_shape s;
        size_t budget;
    } cases[] = {
        {"heads of 63", gpus[0].json, odd, 1u << 30},
        {"heads of 512", gpus[0].json, wide, 1u << 30},
        {"double", gpus[0].json, exact, 1u << 30},
        {"a V100",
         GPU("700", "85029158912", "80", "98304", "32", "1", "1530000", "877000", "6291456",
             "NVIDIA V100"),
         good, 1u << 30},
        {"no JSON", "a very fast GPU", good, 1u << 30},
        {"T x T in a small workspace", gpus[0].json, cells, 1u << 20},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cudnn_plan p;
        error *e = cudnn_plan_make(&l, NULL, cases[i].json, &cases[i].s, cases[i].budget, &p);
        if (!e) fail_msg("%s is not refused", cases[i].what);
        assert_non_null(strstr(error_text(e), "cuDNN"));
        error_free(e);
    }
    cudnn_unload(&l);
}

#else

static void test_absent(void **state)
{
    (void)state;
    printf("skip cuDNN's graphs: built without cudnn.h, or for the emulator\n");
    skip();
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef WITH_CUDNN
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_refused),
#else
        cmocka_unit_test(test_absent),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
