/* test_families.c - the block's options against Hugging Face transformers.
 *
 *   golden values (test/golden/families.py) -- loss, logits,   --> reference device, F64
 *   of tiny models of twenty kinds            every gradient  \-> CPU device, F32, 1 and 2 threads
 *
 * Each gradient is held by its sums and first elements (test/golden_sums.h).  Decoding from caches
 * gives the logits of the last token, however the tokens before it were grouped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cpu/cpu.h"
#include "test/formula.h"
#include "test/golden.h"
#include "test/golden_sums.h"
#include "test/ref.h"
#include "test/small_gpt.h"
#include "test/small_run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

static const double amplitude = 0.8; /* as in families.py */

/* Every place has a name: which, is no matter here. */
#define BOTH(name)                                                                                 \
    {                                                                                              \
        name ".weight", name ".bias"                                                               \
    }
static const model_names names = {
    .tokens = "tokens",
    .positions = "positions",
    .embedding_norm = BOTH("embedding_norm"),
    .final_norm = BOTH("final_norm"),
    .head = BOTH("head"),
    .block = {.norm1 = BOTH("%d.norm1"),
              .norm2 = BOTH("%d.norm2"),
              .post1 = BOTH("%d.post1"),
              .post2 = BOTH("%d.post2"),
              .qkv = BOTH("%d.qkv"),
              .project = BOTH("%d.project"),
              .up = BOTH("%d.up"),
              .down = BOTH("%d.down"),
              .q_norm = "%d.q_norm",
              .k_norm = "%d.k_norm"},
};

/* RMSNorm, rotations, a gate */
#define LLAMA(name_, heads_, kv_heads_, size_, turned, base_, eps, act_)                           \
    .name = name_, .names = &names, .layers = 2, .width = 24, .inner = 40, .context = 16,          \
    .vocab = V, .causal = true, .heads = heads_, .kv_heads = kv_heads_, .head_size = size_,        \
    .norm = NORM_RMS, .norm_eps = eps, .act = act_, .gated = true, .positions = POSITIONS_ROTARY,  \
    .rotary.size = turned, .rotary.base = base_

/* LayerNorm, no gate */
#define PLAIN(name_, heads_, kv_heads_, size_, inner_, act_)                                       \
    .name = name_, .names = &names, .layers = 2, .width = 24, .inner = inner_, .context = 16,      \
    .vocab = V, .causal = true, .heads = heads_, .kv_heads = kv_heads_, .head_size = size_,        \
    .norm = NORM_LAYER, .norm_eps = 1e-5, .act = act_, .embedding_scale = 1

#define ROTARY(size_) .positions = POSITIONS_ROTARY, .rotary = {.size = size_, .base = 10000}

static const model_config variants[] = {
    /*          name     heads keys size turned base epsilon activation */
    {LLAMA("llama", 4, 2, 6, 6, 10000, 1e-5, ACT_SILU), .embedding_scale = 1},
    {LLAMA("geglu", 4, 2, 6, 6, 10000, 1e-5, ACT_GELU_ERF), .embedding_scale = 1},
    {LLAMA("llama_bias", 4, 2, 10, 10, 10000, 1e-5, ACT_SILU), .embedding_scale = 1,
     .bias = {.qkv = true, .project = true, .up = true, .down = true}},
    {LLAMA("qwen", 4, 4, 6, 6, 10000, 1e-5, ACT_SILU), .embedding_scale = 1, .bias.qkv = true},
    {LLAMA("qwen2", 4, 2, 6, 6, 1000000, 1e-5, ACT_SILU), .embedding_scale = 1, .bias.qkv = true,
     .tied = true},
    {LLAMA("qwen3", 4, 2, 10, 10, 10000, 1e-5, ACT_SILU), .embedding_scale = 1,
     .qk_norm = QK_NORM_HEADS, .tied = true},
    {LLAMA("gemma", 3, 1, 10, 10, 10000, 1e-6, ACT_GELU_TANH),
     .embedding_scale = 4.898979485566356, /* sqrt(24) */
     .norm_plus_one = true, .tied = true},
    {LLAMA("chatglm", 4, 2, 8, 4, 10000, 1e-5, ACT_SILU), .embedding_scale = 1,
     .rotary.interleaved = true, .bias.qkv = true},
    {PLAIN("bloom", 6, 6, 4, 96, ACT_GELU_TANH), .positions = POSITIONS_ALIBI, .bias = BLOCK_BIASES,
     .embedding_norm = true, .tied = true},
    {PLAIN("bloom_even", 8, 8, 3, 96, ACT_GELU_TANH), .positions = POSITIONS_ALIBI,
     .bias = BLOCK_BIASES, .embedding_norm = true, .tied = true},
    {PLAIN("phi", 3, 3, 8, 48, ACT_GELU_TANH), ROTARY(4),
     .bias = {true, true, true, true, true, true}, .residual = RESIDUAL_PARALLEL_ONE_NORM},
    {PLAIN("falcon", 4, 1, 6, 96, ACT_GELU_ERF), ROTARY(6), .bias.norms = true,
     .residual = RESIDUAL_PARALLEL_ONE_NORM, .tied = true},
    {PLAIN("falcon_two", 4, 2, 6, 96, ACT_GELU_ERF), ROTARY(6), .bias.norms = true,
     .residual = RESIDUAL_PARALLEL, .tied = true},
    {PLAIN("falcon_one", 4, 2, 6, 96, ACT_GELU_ERF), ROTARY(6), .bias.norms = true,
     .residual = RESIDUAL_PARALLEL_ONE_NORM, .tied = true},
    {LLAMA("llama3", 4, 2, 10, 10, 10000, 1e-5, ACT_SILU), .embedding_scale = 1,
     .rotary.scaling = {4, 1, 4, 64}},
    {LLAMA("linear", 4, 2, 6, 6, 10000, 1e-5, ACT_SILU), .embedding_scale = 1,
     .rotary.scaling = {.factor = 2.5}},
    {LLAMA("smollm3", 4, 2, 6, 6, 10000, 1e-5, ACT_SILU), .embedding_scale = 1, .rotary.skip = 2,
     .tied = true},
    {LLAMA("olmo2", 4, 2, 6, 6, 10000, 1e-6, ACT_SILU), .embedding_scale = 1, .norms = NORMS_AFTER,
     .qk_norm = QK_NORM_WHOLE},
    {LLAMA("gemma2", 4, 2, 10, 10, 10000, 1e-6, ACT_GELU_TANH),
     .embedding_scale = 4.898979485566356, /* sqrt(24) */
     .norm_plus_one = true, .tied = true, .norms = NORMS_BOTH, .window = 4, .window_skip = 2,
     .query_scalar = 7, .attention_cap = 1.5, .logit_cap = 2},
    {LLAMA("gemma3", 4, 2, 10, 10, 50000, 1e-6, ACT_GELU_TANH),
     .embedding_scale = 4.898979485566356, /* sqrt(24) */
     .norm_plus_one = true, .tied = true, .norms = NORMS_BOTH, .qk_norm = QK_NORM_HEADS,
     .window = 3, .window_skip = 2, .rotary.scaling = {.factor = 2.5}, .rotary.local_base = 10000},
    {LLAMA("mistral", 4, 2, 6, 6, 10000, 1e-5, ACT_SILU), .embedding_scale = 1, .window = 5},
    {LLAMA("phi3", 3, 3, 8, 4, 10000, 1e-5, ACT_SILU), .embedding_scale = 1},
    {PLAIN("neox", 3, 3, 8, 40, ACT_GELU_ERF), ROTARY(4), .bias = BLOCK_BIASES,
     .residual = RESIDUAL_PARALLEL},
    {PLAIN("falcon_old", 4, 4, 6, 96, ACT_GELU_ERF), ROTARY(6), .bias = BLOCK_BIASES},
};

/* ---- which option has which variants ---- */

static bool power_of_two(int64_t n)
{
    return (n & (n - 1)) == 0;
}

/* What a row may say, and whether c says it.  Learned positions are GPT-2's, whose golden values
 * are test_gpt.c's. */
#define EVERY_OPTION(X)                                                                            \
    X("LayerNorm", c->norm == NORM_LAYER)                                                          \
    X("RMSNorm", c->norm == NORM_RMS && !c->norm_plus_one)                                         \
    X("RMSNorm by 1 + w", c->norm_plus_one)                                                        \
    X("rotations of whole heads", turned == c->head_size && !c->rotary.interleaved)                \
    X("rotations of a part", turned &&turned < c->head_size)                                       \
    X("rotations by another base", turned && c->rotary.base != 10000)                              \
    X("rotations of neighbours", turned && c->rotary.interleaved)                                  \
    X("rotations scaled evenly", c->rotary.scaling.factor > 0 && c->rotary.scaling.high == 0)      \
    X("rotations scaled by wavelength", c->rotary.scaling.high > 0)                                \
    X("layers without rotations", turned && c->rotary.skip)                                        \
    X("ALiBi", alibi &&power_of_two(c->heads))                                                     \
    X("ALiBi, heads no power of two", alibi && !power_of_two(c->heads))                            \
    X("SwiGLU", c->gated && c->act == ACT_SILU)                                                    \
    X("GeGLU, tanh", c->gated && c->act == ACT_GELU_TANH)                                          \
    X("GeGLU, exact", c->gated && c->act == ACT_GELU_ERF)                                          \
    X("GELU, tanh", !c->gated && c->act == ACT_GELU_TANH)                                          \
    X("GELU, exact", !c->gated && c->act == ACT_GELU_ERF)                                          \
    X("a key for each head", c->kv_heads == c->heads)                                              \
    X("grouped keys", c->kv_heads > 1 && c->kv_heads < c->heads)                                   \
    X("one key", c->kv_heads == 1)                                                                 \
    X("heads apart from the width", c->heads * c->head_size != c->width)                           \
    X("norms of q and k heads", c->qk_norm == QK_NORM_HEADS && !c->norm_plus_one)                  \
    X("norms of all of q and k", c->qk_norm == QK_NORM_WHOLE)                                      \
    X("norms before the branches", c->norms == NORMS_BEFORE)                                       \
    X("norms after the branches", c->norms == NORMS_AFTER)                                         \
    X("norms before and after", c->norms == NORMS_BOTH)                                            \
    X("norms of heads by 1 + w", c->qk_norm == QK_NORM_HEADS && c->norm_plus_one)                  \
    X("windows in all layers", c->window && !c->window_skip)                                       \
    X("windows in some layers", c->window && c->window_skip)                                       \
    X("rotations of their own in windows", c->rotary.local_base > 0)                               \
    X("another scale of scores", c->query_scalar > 0)                                              \
    X("a cap of scores", c->attention_cap > 0)                                                     \
    X("a cap of logits", c->logit_cap > 0)                                                         \
    X("no biases", !c->bias.qkv && !c->bias.project && !c->bias.up && !c->bias.down)               \
    X("biases of q, k, v alone", c->bias.qkv && !c->bias.project && !c->bias.up)                   \
    X("biases everywhere", c->bias.qkv && c->bias.project && c->bias.up && c->bias.down)           \
    X("one branch after the other", c->residual == RESIDUAL_SEQUENTIAL)                            \
    X("both of one norm", c->residual == RESIDUAL_PARALLEL_ONE_NORM)                               \
    X("both, of a norm each", c->residual == RESIDUAL_PARALLEL)                                    \
    X("a norm of the embedding", c->embedding_norm)                                                \
    X("a scaled embedding", c->embedding_scale != 1)                                               \
    X("a tied head", c->tied)                                                                      \
    X("a head of its own", !c->tied)                                                               \
    X("a head with a bias", c->bias.head)

/* The options that c has, as bits in the order above. */
static uint64_t options_of(const model_config *c)
{
    int64_t turned = c->positions == POSITIONS_ROTARY ? c->rotary.size : 0;
    bool alibi = c->positions == POSITIONS_ALIBI;
    uint64_t set = 0, bit = 1;
#define OPTION_BIT(name, is)                                                                       \
    if (is) set |= bit;                                                                            \
    bit <<= 1;
    EVERY_OPTION(OPTION_BIT)
#undef OPTION_BIT
    return set;
}

/* Each option has a variant; the table is printed. */
static void test_every_option_has_golden_values(void **state)
{
    (void)state;
#define OPTION_NAME(name, is) name,
    static const char *const option[] = {EVERY_OPTION(OPTION_NAME)};
#undef OPTION_NAME
    for (int k = 0; k < COUNT(option); k++) {
        int n = 0;
        printf("%-30s", option[k]);
        for (int i = 0; i < COUNT(variants); i++)
            if (options_of(&variants[i]) >> k & 1) {
                printf(" %s", variants[i].name);
                n++;
            }
        printf("\n");
        if (!n) fail_msg("no golden values for: %s", option[k]);
    }
}

/* ---- against transformers ---- */

static const double *values(golden *g, const model_config *c, const char *what, int64_t *n)
{
    char key[100];
    const double *v;
    snprintf(key, sizeof key, "%.31s.%.40s", c->name, what);
    must(golden_get(g, key, &v, n));
    return v;
}

static void near(const model_config *c, const char *what, int64_t i, double got, double want,
                 double bound)
{
    if (!(fabs(got - want) <= bound))
        fail_msg("%s: %s[%lld]: got %.12g, want %.12g, bound %.3g", c->name, what, (long long)i,
                 got, want, bound);
}

static void compare_gradient(golden *g, const model_config *c, const param *row, int k, double e)
{
    char what[40];
    int64_t n;
    snprintf(what, sizeof what, "grad.%d", k);
    const double *want = values(g, c, what, &n);
    golden_compare_sums(c->name, row, row->gradient, k, want, n, e);
}

static void against_golden(device *dev, dtype type, recompute_level level, double loss_error,
                           double e)
{
    golden *g;
    must(golden_open("test/golden/families.txt", &g));
    for (int i = 0; i < COUNT(variants); i++) {
        const model_config *c = &variants[i];
        training_policy how = {.recompute = recompute_all(level, c->layers)};
        bench_model b;
        int64_t n;
        open_model(&b, c, &how, dev, type);
        b.amplitude = amplitude;
        load_formula(&b);
        assert_int_equal(b.p.n, (int)*values(g, c, "tensors", &n));
        train_once(&b);
        must(device_status(dev));
        double want = *values(g, c, "loss", &n), got = *(double *)b.loss.data;
        near(c, "loss", 0, got, want, loss_error * want);
        near(c, "loss of evaluation", 0, loss_of(&b), got, loss_error * want);
        for (int k = 0; k < b.p.n; k++)
            compare_gradient(g, c, &b.p.row[k], k, e);
        close_model(&b);
    }
    golden_free(g);
}

static void test_reference_against_transformers(void **state)
{
    (void)state;
    device dev = ref_device();
    for (recompute_level level = RECOMPUTE_NONE; level < RECOMPUTE_LEVELS; level++)
        against_golden(&dev, F64, level, 1e-9, 1e-8); /* the file has ten digits */
}

/* Float: as in test_gpt.c. */
static void test_cpu_against_transformers(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 2; threads++) {
        device dev;
        must(cpu_device(threads, &dev));
        against_golden(&dev, F32, RECOMPUTE_NONE, 1e-5, 6e-5);
        cpu_close(&dev);
    }
}

static double scaled_loss(const model_config *gemma, double scale, device *dev, dtype type)
{
    model_config c = *gemma;
    bench_model b;
    c.embedding_scale = scale;
    open_model(&b, &c, &plain_training, dev, type);
    double loss = loss_of(&b);
    close_model(&b);
    return loss;
}

/* In bf16 the number that embeddings are multiplied by is a bf16, as in transformers; in f32 it is
 * not. */
static void test_scale_of_the_working_type(void **state)
{
    (void)state;
    device dev;
    const model_config *gemma = NULL;
    must(cpu_device(2, &dev));
    for (int i = 0; i < COUNT(variants); i++)
        if (!strcmp(variants[i].name, "gemma")) gemma = &variants[i];
    assert_non_null(gemma);
    double root = sqrt(10), rounded = 3.15625; /* by torch */
    assert_true(scaled_loss(gemma, root, &dev, BF16) == scaled_loss(gemma, rounded, &dev, BF16));
    assert_true(scaled_loss(gemma, root, &dev, BF16) != scaled_loss(gemma, 3.125, &dev, BF16));
    assert_true(scaled_loss(gemma, root, &dev, F32) != scaled_loss(gemma, rounded, &dev, F32));
    cpu_close(&dev);
}

static void test_decoding_against_transformers(void **state)
{
    (void)state;
    golden *g;
    device dev = ref_device();
    must(golden_open("test/golden/families.txt", &g));
    for (int i = 0; i < COUNT(variants); i++)
        for (int64_t room = 1; room <= T; room += 5) {
            const model_config *c = &variants[i];
            decoding d;
            int64_t n;
            const double *want = values(g, c, "logits", &n);
            assert_int_equal(n, B * V);
            open_decoding(&d, c, &plain_training, room, &dev);
            d.b.amplitude = amplitude;
            load_formula(&d.b);
            begin_decoding(&d);
            for (int64_t first = 0; first < T; first += room)
                decode(&d, first, T - first < room ? T - first : room);
            for (int64_t k = 0; k < n; k++)
                near(c, "logits", k, element(d.logits, k), want[k], 1e-8 * (1 + fabs(want[k])));
            end_decoding(&d);
            close_model(&d.b);
        }
    golden_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_option_has_golden_values),
        cmocka_unit_test(test_reference_against_transformers),
        cmocka_unit_test(test_cpu_against_transformers),
        cmocka_unit_test(test_scale_of_the_working_type),
        cmocka_unit_test(test_decoding_against_transformers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
