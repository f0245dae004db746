/* test_cost.c - what operations cost, against formulas by hand, and what a
 * step of a whole model does.
 *
 * That each operation costs something is test_ops_misuse.c's; that none is without a cost, the
 * compiler's (test/architecture.sh).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "core/cost.h"
#include "cpu/cpu.h"
#include "test/small_run.h"

enum { R = 6, K = 5, N = 7, B = 2, T = 4, H = 6, KV = 2, D = 8 };

/* Nobody reads or writes it; no two begin at the same place. */
static tensor f32(shape s)
{
    static uintptr_t last;
    return tensor_of((void *)(last += 4096), F32, s);
}

#define COSTS(flops_, bytes_, name, ...)                                                           \
    do {                                                                                           \
        work_count work_ = {0};                                                                    \
        device dev_ = device_counting(&work_);                                                     \
        OP(name, &dev_, STREAM_COMPUTE, __VA_ARGS__);                                              \
        must(device_status(&dev_));                                                                \
        assert_true(work_.flops == (flops_));                                                      \
        assert_true(work_.bytes == (bytes_));                                                      \
    } while (0)

static void test_by_hand(void **state)
{
    (void)state;
    tensor x = f32(SHAPE(R, K)), w = f32(SHAPE(N, K)), out = f32(SHAPE(R, N));
    double products = 2. * R * N * K, operands = 4. * (R * K + N * K + R * N);
    COSTS(products, 3 * operands, linear, .out = out, .x = x, .w = w);
    COSTS(products, 3 * operands + 2 * 4. * R * N, linear, .out = out, .x = x, .w = w,
          .pre = f32(SHAPE(R, N)), .act = ACT_SILU);
    COSTS(products, 3 * operands, linear_dx, .dx = x, .dout = out, .w = w);
    COSTS(products, 3 * operands + 4. * (R * N + N * K), linear_dw, .dw = {.t = w}, .x = x,
          .dout = out);
    COSTS(0, (3 + 1) * 4. * R * N, linear_dw, .db = {.t = f32(SHAPE(N))}, .dout = out);
    COSTS(products, 3 * operands, matmul, .out = out, .x = f32(SHAPE(K, R)), .y = w,
          .x_transposed = true, .y_transposed = true, .alpha = 1);

    tensor qkv = f32(SHAPE(B, T, (H + 2 * KV) * D)), heads = f32(SHAPE(B, T, H * D));
    double half = 4. * B * H * D * (T * (T + 1) / 2), full = 4. * B * H * D * T * T;
    double moved = 4. * B * T * D * (2 * H + 2 * KV);
    COSTS(half, moved, attention, .out = heads, .lse = f32(SHAPE(B, H, T)), .qkv = qkv, .heads = H,
          .kv_heads = KV, .causal = true);
    COSTS(full, moved, attention, .out = heads, .lse = f32(SHAPE(B, H, T)), .qkv = qkv, .heads = H,
          .kv_heads = KV);
    COSTS(2.5 * half, 2 * moved, attention_grad, .dqkv = qkv, .dout = heads, .out = heads,
          .qkv = qkv, .lse = f32(SHAPE(B, H, T)), .scratch = f32(SHAPE(B, H, T)), .heads = H,
          .kv_heads = KV, .causal = true);

    COSTS(0, 3 * 4. * R * N, classify, .logits = out, .losses = f32(SHAPE(R)),
          .targets = tensor_of(NULL, I32, SHAPE(R)), .backward = true);
    COSTS(0, 4. * R, sum, .sum = tensor_of(NULL, F64, SHAPE(1)), .x = f32(SHAPE(R)));
    COSTS(0, 3 * 4. * R * K, add, .x = x, .y = f32(SHAPE(R, K)));
    sumsq_item items[] = {{tensor_of(NULL, F64, SHAPE(1)), x}, {tensor_of(NULL, F64, SHAPE(1)), w}};
    COSTS(0, 4. * (R * K + N * K), sumsq, .items = items, .n = 2);
}

/* One iteration stands for all that are alike, where nothing is computed; elsewhere for itself. */
static void test_alike(void **state)
{
    (void)state;
    work_count work = {0};
    device dev = device_counting(&work), cpu;
    tensor x = f32(SHAPE(R, K)), w = f32(SHAPE(N, K)), out = f32(SHAPE(R, N));
    assert_int_equal(op_alike(&dev, 1000000), 1000000);
    OP(linear, &dev, STREAM_COMPUTE, .out = out, .x = x, .w = w);
    assert_int_equal(op_alike(&dev, 1), 1);
    OP(linear, &dev, STREAM_COMPUTE, .out = out, .x = x, .w = w);
    must(device_status(&dev));
    assert_true(work.flops == 1000001 * 2. * R * N * K);
    must(cpu_device(1, &cpu));
    assert_int_equal(op_alike(&cpu, 1000000), 1);
    cpu_close(&cpu);
}

static work_count step_of(const char *arguments)
{
    options o;
    trainer *t;
    char text[SMALL_TEXT];
    must(small_parse(arguments, text, &o));
    must(trainer_plan(&o, o.task->kind, &t));
    work_count work = t->work;
    trainer_destroy(t);
    return work;
}

/* Five Newton-Schulz steps of each hidden matrix of GPT-2 124M: two products of its smaller side c,
 * c and its larger one, and one of c, c, c.  q, k and v are matrices of their own. */
static void test_muon_counts_its_products(void **state)
{
    (void)state;
    const double c = 768, larger[] = {c, c, c, c, 4 * c, 4 * c};
    double products = 0;
    for (int i = 0; i < 6; i++)
        products += 12 * 5 * (4 * c * c * larger[i] + 2 * c * c * c);
    work_count adamw = step_of("--model gpt2-124m --batch 1 --seq 64 --optim adamw"),
               muon = step_of("--model gpt2-124m --batch 1 --seq 64 --optim muon");
    assert_true(muon.flops - adamw.flops == products);
    assert_true(products > 1.6e12 && products < 1.7e12);
}

/* A step of a thousand times the samples does a thousand times the products, and to find that out
 * takes no more operations: the classifier's chunks are alike. */
static void test_large_batches(void **state)
{
    (void)state;
    work_count one = step_of("--model gpt2-124m --batch 4 --seq 1024"),
               many = step_of("--model gpt2-124m --batch 4000 --seq 1024");
    assert_true(many.flops == 1000 * one.flops);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_alike),
        cmocka_unit_test(test_muon_counts_its_products),
        cmocka_unit_test(test_large_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
