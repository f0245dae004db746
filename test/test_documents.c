/* test_documents.c - packed documents: rows of them train as each document alone would.
 *
 *     packed rows   | a a a b b b b b b b . |         one a row   | a a a . . . . . . . . |
 *                   | c c c c c c c c c c c |   ==                | b b b b b b b . . . . |    added up, in several
 *                   | d e e e f f f f f . . |                     | c c c c c c c c c c c |    micro-batches
 *
 * On the reference (double) to rounding, on the CPU in its types to theirs, for positions of every
 * kind; what is not learned adds nothing, and a mask and its complement add up to all.
 */
#include "test/shards.h"

#include <math.h>

#include "base/bf16.h"
#include "base/rng.h"
#include "data/packing.h"
#include "test/ref.h"
#include "test/small_gpt.h"
#include "test/small_run.h"

enum { R = B * T };

/* A batch: of each place its token, target (-1: not learned) and its document's start. */
typedef struct {
    int32_t inputs[R], targets[R], starts[R];
} rows;

static const training_policy packed = {.packed = true};

static void set_rows(bench_model *b, const rows *x)
{
    int32_t *targets = b->in.targets.data, *learned = b->in.rows.data;
    memcpy(b->in.inputs.data, x->inputs, sizeof x->inputs);
    memcpy(b->in.starts.data, x->starts, sizeof x->starts);
    b->in.n_learned = 0;
    for (int i = 0; i < R; i++) {
        if (x->targets[i] < 0) continue;
        learned[b->in.n_learned] = i;
        targets[b->in.n_learned++] = x->targets[i];
    }
}

/* Gradients of all parameters, one behind the other, and the loss after them, times B T: a sum. */
static double *gradients(bench_model *b, const rows *x)
{
    double *out;
    int64_t n = 0;
    ok(alloc_array(&out, (unsigned long)params_count(&b->p) + 1, sizeof *out));
    if (x) set_rows(b, x);
    train_once(b);
    for (int i = 0; i < b->p.n; i++)
        for (int64_t j = 0; j < b->p.row[i].count; j++)
            out[n++] = R * element(b->p.row[i].gradient, j);
    out[n] = R * element(b->loss, 0);
    return out;
}

static void add(double *to, double *from, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] += from[i];
    free(from);
}

static void alike(const char *what, const double *x, const double *y, int64_t n, double tolerance)
{
    double squares = 0;
    for (int64_t i = 0; i < n; i++)
        squares += x[i] * x[i];
    double rms = sqrt(squares / (double)n);
    assert_true(rms > 0);
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(x[i] - y[i]) <= tolerance * (fabs(x[i]) + rms)))
            fail_msg("%s: number %lld is %.12g here, %.12g there", what, (long long)i, x[i], y[i]);
}

/* Documents of a row of T places, as lengths; the rest is filling. */
static const int lengths[B][6] = {{3, 7}, {11}, {1, 3, 5}};

static bool is_learned(int i)
{
    return i % 3 != 1;
}

static rows pack_rows(const bench_model *b)
{
    rows x;
    memcpy(x.inputs, b->in.inputs.data, sizeof x.inputs);
    for (int r = 0; r < B; r++)
        for (int d = 0, t = 0; t < T; d++) {
            int n = lengths[r][d] ? lengths[r][d] : T - t, start = t;
            for (; t < start + n; t++) {
                int i = r * T + t;
                x.starts[i] = start;
                x.targets[i] = lengths[r][d] && is_learned(i) ? (i * 7 + 3) % V : -1;
            }
        }
    return x;
}

/* Each document at the beginning of a row of its own, B of them at a time. */
static double *one_a_row(bench_model *b, const rows *all)
{
    double *sum = NULL;
    int64_t n = params_count(&b->p) + 1;
    int used = 0;
    rows x = {0};
    for (int r = 0; r < B; r++)
        for (int d = 0, t = 0; d < 6 && lengths[r][d]; t += lengths[r][d++]) {
            for (int i = 0; i < T; i++) {
                bool inside = i < lengths[r][d];
                x.inputs[used * T + i] = inside ? all->inputs[r * T + t + i] : 5;
                x.targets[used * T + i] = inside ? all->targets[r * T + t + i] : -1;
                x.starts[used * T + i] = 0;
            }
            bool last = r == B - 1 && !lengths[r][d + 1];
            if (++used < B && !last) continue;
            for (int i = used * T; i < R; i++)
                x.targets[i] = -1;
            double *part = gradients(b, &x);
            if (sum)
                add(sum, part, n);
            else
                sum = part;
            used = 0;
        }
    return sum;
}

static const char *const families[] = {"gpt-nano", "llama-nano", "bloom-nano", "qwen3-nano"};

static void each_family(device *dev, dtype type, double tolerance,
                        void (*check)(const model_config *, device *, dtype, const char *, double))
{
    const model_config sizes = {.layers = 2, .vocab = V, .context = 13};
    int n = 0;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        model_config c;
        error *e = preset_find(&text_presets, families[i], &c);
        if (e) {
            error_free(e);
            continue;
        }
        c = config_resized(&c, &sizes);
        check(&c, dev, type, families[i], tolerance);
        n++;
    }
    assert_true(n >= 3);
}

static void packed_is_apart(const model_config *c, device *dev, dtype type, const char *name,
                            double tolerance)
{
    bench_model b;
    open_model(&b, c, &packed, dev, type);
    rows x = pack_rows(&b), wrong = x;
    int64_t n = params_count(&b.p) + 1;
    double *together = gradients(&b, &x), *apart = one_a_row(&b, &x);
    alike(name, together, apart, n, tolerance);
    /* and the starts matter */
    memset(wrong.starts, 0, sizeof wrong.starts);
    double *seen = gradients(&b, &wrong), off = 0;
    for (int64_t i = 0; i < n; i++)
        off = fmax(off, fabs(seen[i] - together[i]));
    assert_true(off > 1e-3);
    free(together);
    free(apart);
    free(seen);
    close_model(&b);
}

/* All learned and one document a row is what a plain batch does; and masks add up. */
static void masks_add_up(const model_config *c, device *dev, dtype type, const char *name,
                         double tolerance)
{
    bench_model b, plain;
    open_model(&b, c, &packed, dev, type);
    open_model(&plain, c, &plain_training, dev, type);
    rows x = {0};
    int64_t n = params_count(&b.p) + 1;
    memcpy(x.inputs, plain.in.inputs.data, sizeof x.inputs);
    memcpy(x.targets, plain.in.targets.data, sizeof x.targets);
    double *all = gradients(&plain, NULL), *same = gradients(&b, &x);
    alike(name, all, same, n, tolerance);
    rows some = x, others = x;
    for (int i = 0; i < R; i++)
        (is_learned(i) ? &others : &some)->targets[i] = -1;
    double *sum = gradients(&b, &some);
    add(sum, gradients(&b, &others), n);
    alike(name, all, sum, n, tolerance);
    free(all);
    free(same);
    free(sum);
    close_model(&b);
    close_model(&plain);
}

static void test_reference(void **state)
{
    (void)state;
    device ref = ref_device();
    each_family(&ref, F64, 1e-10, packed_is_apart);
    each_family(&ref, F64, 1e-10, masks_add_up);
}

static void test_cpu(void **state)
{
    (void)state;
    device dev;
    ok(device_open(DEVICE_CPU, 2, NULL, &dev));
    each_family(&dev, F32, 2e-3, packed_is_apart);
    each_family(&dev, F32, 2e-3, masks_add_up);
    device_close(&dev);
}

/* ---- attention of the CPU, in both types, at lengths around its blocks ---- */

enum { HEADS = 4, KV = 2, D = 8, LONG = 413, WIDE = (HEADS + 2 * KV) * D, OUT = HEADS * D };

static const int parts[] = {1, 31, 32, 33, 2, 129, 64, 1, 120}; /* together LONG */

static double number(dtype type, const void *x, int64_t i)
{
    return type == BF16 ? (double)float_of_bf16(((const uint16_t *)x)[i])
                        : (double)((const float *)x)[i];
}

static void set_number(dtype type, void *x, int64_t i, double to)
{
    if (type == BF16)
        ((uint16_t *)x)[i] = bf16_of_float((float)to);
    else
        ((float *)x)[i] = (float)to;
}

/* Attention and its gradient of rows first .. first + n of what is given, into the same
 * rows of out and dqkv. */
static void attend(device *dev, dtype type, bool alibi, int64_t first, int64_t n,
                   const int32_t *starts, char *qkv, char *dout, char *out, char *dqkv)
{
    static float lse[HEADS * LONG], scratch[HEADS * LONG];
    size_t size = dtype_size(type), wide = (size_t)(first * WIDE) * size,
           narrow = (size_t)(first * OUT) * size;
    tensor no = {0}, s = starts ? tensor_of((int32_t *)(size_t)starts, I32, SHAPE(1, n)) : no;
    OP(attention, dev, STREAM_COMPUTE, .out = tensor_of(out + narrow, type, SHAPE(1, n, OUT)),
       .lse = tensor_of(lse, F32, SHAPE(1, HEADS, n)),
       .qkv = tensor_of(qkv + wide, type, SHAPE(1, n, WIDE)), .starts = s, .heads = HEADS,
       .kv_heads = KV, .causal = true, .alibi = alibi, .scale = 0.4);
    OP(attention_grad, dev, STREAM_COMPUTE, .dqkv = tensor_of(dqkv + wide, type, SHAPE(1, n, WIDE)),
       .dout = tensor_of(dout + narrow, type, SHAPE(1, n, OUT)),
       .out = tensor_of(out + narrow, type, SHAPE(1, n, OUT)),
       .qkv = tensor_of(qkv + wide, type, SHAPE(1, n, WIDE)),
       .lse = tensor_of(lse, F32, SHAPE(1, HEADS, n)), .starts = s,
       .scratch = tensor_of(scratch, F32, SHAPE(1, HEADS, n)), .heads = HEADS, .kv_heads = KV,
       .causal = true, .alibi = alibi, .scale = 0.4);
    ok(device_status(dev));
}

static void attention_is_apart(device *dev, dtype type, bool alibi, double tolerance)
{
    static float room[6][LONG * WIDE];
    static double x[2][LONG * (WIDE + OUT)];
    char *qkv = (char *)room[0], *dout = (char *)room[1];
    int32_t starts[LONG];
    int at = 0;
    for (int64_t i = 0; i < LONG * WIDE; i++)
        set_number(type, qkv, i, 3 * rng_uniform(1, RNG_TEST, (uint64_t)i) - 1.5);
    for (int64_t i = 0; i < LONG * OUT; i++)
        set_number(type, dout, i, 2 * rng_uniform(2, RNG_TEST, (uint64_t)i) - 1);
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
        for (int i = at; i < at + parts[p]; i++)
            starts[i] = at;
        attend(dev, type, alibi, at, parts[p], NULL, qkv, dout, (char *)room[2], (char *)room[3]);
        at += parts[p];
    }
    assert_int_equal(at, LONG);
    attend(dev, type, alibi, 0, LONG, starts, qkv, dout, (char *)room[4], (char *)room[5]);
    for (int k = 0; k < 2; k++)
        for (int64_t i = 0; i < LONG * (WIDE + OUT); i++)
            x[k][i] = i < LONG * OUT ? number(type, room[2 + 2 * k], i)
                                     : number(type, room[3 + 2 * k], i - LONG * OUT);
    alike(alibi ? "attention, alibi" : "attention", x[0], x[1], LONG * OUT, tolerance);
    alike(alibi ? "dqkv, alibi" : "dqkv", x[0] + LONG * OUT, x[1] + LONG * OUT, LONG * WIDE,
          tolerance);
}

static void test_attention(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 5; threads += 4) {
        device dev;
        ok(device_open(DEVICE_CPU, threads, NULL, &dev));
        for (int alibi = 0; alibi < 2; alibi++) {
            attention_is_apart(&dev, F32, alibi, 1e-5);
            attention_is_apart(&dev, BF16, alibi,
                               2e-2); /* 8 bits, where documents begin in other blocks */
        }
        device_close(&dev);
    }
}

/* ---- packing ---- */

static void test_packing(void **state)
{
    static const int list[] = {5, 9, 2, 3, 6, 2, 4, 8, 3};
    enum { N = sizeof list / sizeof *list, LENGTH = 8 };
    token_set *set;
    packing *p;
    int32_t inputs[LENGTH], targets[LENGTH], starts[LENGTH];
    int seen[N] = {0};
    int64_t left_out, learned = 0;
    make_documents(state, "d.bin", list, N);
    ok(open_one(state, "d.bin", 1000, &set));
    ok(packing_open(set, LENGTH, &p));
    assert_int_equal(packing_documents(p, &left_out), N - 1);
    assert_int_equal(left_out, 1);           /* nothing of it is learned */
    assert_int_equal(packing_windows(p), 4); /* 31 places: 4 windows are the fewest */
    for (int64_t w = 0; w < packing_windows(p); w++) {
        int64_t n = 0;
        ok(packing_read(p, w, inputs, targets, starts));
        for (int t = 0; t < LENGTH; t++) {
            int s = starts[t], d = inputs[t] / 20;
            assert_true(s >= 0 && s <= t && starts[s] == s);
            n += targets[t] >= 0;
            if (targets[s] < 0 && inputs[s] == 0 && t + 1 == LENGTH && inputs[t] == 0)
                continue; /* filling */
            if (inputs[t] == 0 && targets[t] < 0 && d == 0 && t != s) continue;
            if (inputs[t] % 20 == 0) seen[d]++;
            assert_int_equal(inputs[t] % 20, t - s);
            if (targets[t] >= 0) assert_int_equal(targets[t], inputs[t] + 1);
            assert_int_equal(targets[t] >= 0, t - s + 1 >= list[d] / 2);
        }
        assert_int_equal(n, packing_learned(p, w));
        learned += n;
    }
    for (int d = 1; d < N - 1; d++)
        assert_int_equal(seen[d], 1);
    assert_int_equal(learned, 3 + 5 + 1 + 2 + 3 + 1 + 2 + 4);
    packing_close(p);
    fails(packing_open(set, 7, &p), "document 1 has 9 tokens", "--max-tokens 8");
    tokens_close(set);
}

/* Short documents beside a row waste nothing to speak of. */
static void test_waste(void **state)
{
    enum { N = 3000, LENGTH = 512 };
    char *path = scratch_path(state, "w.bin");
    token_writer *w;
    token_set *set;
    packing *p;
    ok(tokens_create_marked(path, 10, &w));
    for (uint64_t d = 0; d < N; d++) {
        static const int32_t ids[LENGTH];
        static uint8_t learned[LENGTH];
        memset(learned, 1, sizeof learned);
        double u = rng_uniform(3, RNG_TEST, d);
        ok(tokens_append_document(w, ids, learned, 20 + (size_t)(u * u * 400)));
    }
    ok(tokens_finish(w));
    ok(open_one(state, "w.bin", 10, &set));
    ok(packing_open(set, LENGTH, &p));
    assert_true(packing_waste(p) < 0.02);
    packing_close(p);
    tokens_close(set);
    free(path);
}

/* ---- whole steps ---- */

/* Learned tokens weigh the same wherever they are: one large batch or several small ones. */
static void test_accumulation(void **state)
{
    static const int list[] = {5, 9, 2, 3, 6, 2, 4, 8, 9, 9, 3, 7, 9, 9, 2, 9, 9, 1};
    make_documents(state, "x_train.bin", list, sizeof list / sizeof *list);
    char *path = scratch_path(state, "x_train.bin"), arguments[2][SMALL_TEXT];
    double loss[2], norm[2];
    for (int k = 0; k < 2; k++) {
        snprintf(arguments[k], SMALL_TEXT,
                 "--layers 2 --heads 2 --width 16 --context 13 --vocab 1000 --seq 8 --threads 2 "
                 "--steps 3 --seed 3 %s "
                 "--train-data %s",
                 k ? "--batch 1 --accum 4" : "--batch 4 --accum 1", path);
        char text[SMALL_TEXT];
        options o;
        trainer *t;
        device dev;
        source *data;
        step_result result;
        ok(small_parse(arguments[k], text, &o));
        assert_true(o.training.packed);
        ok(trainer_plan(&o, &gpt_kind, &t));
        ok(device_open(DEVICE_CPU, 2, NULL, &dev));
        ok(trainer_commit(t, &dev, true));
        ok(o.task->open(&o, true, &data));
        assert_int_equal(data->packed, 1);
        ok(trainer_step(t, data, 1, 1e-3, &result));
        loss[k] = result.loss, norm[k] = result.grad_norm;
        assert_true(arena_high_water(t->arena) <= arena_peak(t->arena));
        source_close(data);
        trainer_destroy(t);
        device_close(&dev);
        options_free(&o);
    }
    assert_true(loss[0] > 1 && fabs(loss[0] - loss[1]) < 1e-5);
    assert_true(fabs(norm[0] - norm[1]) < 1e-5 * norm[0]);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_cpu),
        cmocka_unit_test(test_attention),
        cmocka_unit_test_setup_teardown(test_packing, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_waste, scratch_make, scratch_remove),
        cmocka_unit_test_setup_teardown(test_accumulation, scratch_make, scratch_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
