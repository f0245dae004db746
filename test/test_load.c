/* test_load.c - trained models on disk: config.json, Hugging Face's habits, llm.c's files; what is
 * loaded is what was written, in every bit, and what cannot be meant is refused by name. */
#include "base/f16.h"
#include "io/llmc.h"
#include "io/params_file.h"
#include "model/hf/hf.h"
#include "test/host.h"
#include "test/scratch.h"
#include "test/small_run.h"
#include "io/model_file.h"

#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>

/* ---- config.json ---- */

static error *read_config(const char *text, model_config *c)
{
    cJSON *json = cJSON_Parse(text);
    assert_non_null(json);
    error *e = hf_config_read("x/config.json", json, NULL, c);
    cJSON_Delete(json);
    return e;
}

static void test_config_fields(void **state)
{
    (void)state;
    model_config c, back;
    ok(read_config("{\"model_type\":\"gpt2\",\"n_layer\":3,\"n_head\":5,\"n_embd\":35,"
                   "\"n_positions\":17,\"vocab_size\":99,\"n_inner\":77,\"tie_word_embeddings\":"
                   "false,\"activation_function\":\"gelu\",\"layer_norm_epsilon\":1e-6,"
                   "\"resid_pdrop\":0.1}",
                   &c));
    assert_int_equal(c.layers, 3);
    assert_int_equal(c.heads, 5);
    assert_int_equal(c.width, 35);
    assert_int_equal(c.context, 17);
    assert_int_equal(c.vocab, 99);
    assert_int_equal(c.inner, 77);
    assert_int_equal(c.head_size, 7);
    assert_int_equal(c.act, ACT_GELU_ERF);
    assert_true(c.norm_eps == 1e-6 && !c.tied && c.bias.qkv && c.bias.norms && c.causal);
    char *text;
    ok(hf_config_text(&c, "float32", &text));
    ok(read_config(text, &back));
    free(text);
    snprintf(back.name, sizeof back.name, "%s", c.name);
    assert_int_equal(back.inner, c.inner);
    assert_int_equal(back.act, c.act);
    assert_true(back.norm_eps == c.norm_eps && back.tied == c.tied);
    assert_true(back.layers == c.layers && back.heads == c.heads && back.width == c.width &&
                back.context == c.context && back.vocab == c.vocab);
    /* the defaults of GPT2Config, and the name of old files */
    ok(read_config("{\"model_type\":\"gpt2\",\"n_ctx\":33,\"n_inner\":null}", &c));
    assert_true(c.layers == 12 && c.heads == 12 && c.width == 768 && c.vocab == 50257);
    assert_true(c.context == 33 && c.inner == 3072 && c.tied && c.act == ACT_GELU_TANH);
    assert_true(c.norm_eps == 1e-5);
}

static void test_config_refusals(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"\"n_layer\":0", "n_layer is 0"},
        {"\"n_layer\":2.5", "n_layer is 2.5"},
        {"\"n_layer\":\"2\"", "n_layer"},
        {"\"n_layer\":1e300", "n_layer"},
        {"\"n_head\":5", "n_head is 5"},
        {"\"n_embd\":9223372036854775808", "n_embd"},
        {"\"n_inner\":2000000000", "n_inner"},
        {"\"vocab_size\":-1", "vocab_size is -1"},
        {"\"n_ctx\":512,\"n_positions\":1024", "n_ctx is 512"},
        {"\"activation_function\":\"relu\"", "activation_function is \"relu\""},
        {"\"activation_function\":7", "activation_function is 7"},
        {"\"layer_norm_epsilon\":0", "layer_norm_epsilon is 0"},
        {"\"layer_norm_epsilon\":\"1\"", "layer_norm_epsilon"},
        {"\"tie_word_embeddings\":1", "tie_word_embeddings is 1"},
        {"\"scale_attn_weights\":false", "scale_attn_weights is false"},
        {"\"scale_attn_by_inverse_layer_idx\":true", "scale_attn_by_inverse_layer_idx is true"},
        {"\"add_cross_attention\":true", "add_cross_attention is true"},
        {"\"quantization_config\":{}", "quantization_config"},
    };
    model_config c;
    char text[300];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "{\"model_type\":\"gpt2\",%s}", bad[i][0]);
        fails(read_config(text, &c), "x/config.json", bad[i][1]);
    }
    fails(read_config("{}", &c), "x/config.json", "model_type");
    fails(read_config("{\"model_type\":\"mamba\"}", &c), "model_type is \"mamba\"", "gpt2");
    char *out;
    ok(read_config("{\"model_type\":\"gpt2\"}", &c));
    c.causal = false;
    fails(hf_config_text(&c, "float32", &out), "both directions", "cannot express");
    c.causal = true;
    c.bias.up = false;
    fails(hf_config_text(&c, "float32", &out), "biases", "cannot express");
}

/* ---- 16 bits ---- */

static void test_halves(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        int exponent = h >> 10 & 31, fraction = h & 1023;
        float got = float_of_f16((uint16_t)h);
        double want = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
        if (exponent == 31) want = fraction ? (double)NAN : (double)INFINITY;
        assert_int_equal(signbit(got) != 0, h >> 15);
        assert_true(isnan(want) ? isnan(got) : fabs((double)got) == want);
        uint32_t bits;
        got = float_of_bf16((uint16_t)h);
        memcpy(&bits, &got, 4);
        assert_int_equal(bits, h << 16);
    }
}

/* ---- a run's end is a beginning ---- */

static const char small_model[] = SMALL_MODEL;

static void make_model(void **state, small_run *s, const char *more)
{
    char arguments[500];
    (void)state;
    snprintf(arguments, sizeof arguments, "%s--seed 5 %s", small_model, more);
    small_open(s, arguments);
}

static void load(void **state, small_run *s, const char *name, const char *more)
{
    char arguments[500];
    snprintf(arguments, sizeof arguments,
             "--load %s/%s --batch 3 --seq 11 --threads 2 --grad-clip 0 %s", (char *)*state, name,
             more);
    small_open(s, arguments);
}

static void check_same(const params *a, const params *b)
{
    assert_int_equal(a->n, b->n);
    for (int i = 0; i < a->n; i++)
        assert_memory_equal(a->row[i].value.data, b->row[i].value.data,
                            (size_t)a->row[i].count * sizeof(float));
}

static void test_load_is_the_same(void **state)
{
    small_run a, b;
    make_model(state, &a, "");
    ok(weights_write(*state, &a.o.model, &a.t->params, &a.dev, NULL));
    load(state, &b, ".", "--seed 77");
    check_same(&a.t->params, &b.t->params);
    step_result one, other; /* and so is what follows */
    ok(trainer_step(a.t, a.data, 1, 1e-3, &one));
    ok(trainer_step(b.t, a.data, 1, 1e-3, &other));
    assert_true(one.loss == other.loss);
    check_same(&a.t->params, &b.t->params);
    small_close(&b);
    load(state, &b, "model.safetensors", "--layers 2 --heads 3 --width 33 --context 13 --vocab 59");
    small_close(&b);
    small_close(&a);
}

static error *parse(const char *load, const char *option, const char *value)
{
    static options o;
    char *argv[] = {(char *)(size_t) "x",   (char *)(size_t) "--load", (char *)(size_t)load,
                    (char *)(size_t)option, (char *)(size_t)value,     NULL};
    return options_parse(&text_task, option ? 5 : 3, argv, &o);
}

static void test_load_refusals(void **state)
{
    static const char *const sizes[] = {"--layers", "--width", "--context", "--vocab"};
    for (int i = 0; i < 4; i++)
        fails(parse(*state, sizes[i], "3"), sizes[i], "leave");
    fails(parse(*state, "--heads", "1"), "--heads 1", "has 3");
    fails(parse(*state, "--model", "gpt-nano"), "--model", "--load");
    fails(parse(*state, "--seq", "14"), "--seq 14", "13");
    fails(parse("/nosuch/x", NULL, NULL), "/nosuch/x", "No such file");
    char *config = scratch_path(state, "config.json"), *away = scratch_path(state, "away.json");
    assert_int_equal(rename(config, away), 0);
    fails(parse(*state, NULL, NULL), config, "is missing");
    static const char absurd[] = "{\"model_type\":\"gpt2\",\"n_layer\":1000,\"n_embd\":999996,"
                                 "\"vocab_size\":2000000000}";
    file_write(config, absurd, sizeof absurd - 1);
    fails(parse(*state, NULL, NULL), config, "do not belong together");
    assert_int_equal(rename(away, config), 0);
    free(config), free(away);
}

/* ---- the habits of others ---- */

enum { EXTRA = 4 };

/* Writes the model's list again, changed: every name with a prefix, and other tensors with it. */
static void write_habit(const char *path, small_run *s, const char *prefix,
                        const named_tensor *extra, int n_extra, int leave_out)
{
    static char names[100][120];
    static named_tensor list[100 + EXTRA];
    named_tensor *own;
    int n = 0, n_own;
    ok(params_list(&s->t->params, &own, &n_own));
    for (int i = 0; i < n_own; i++) {
        if (i == leave_out) continue;
        snprintf(names[n], sizeof names[n], "%s%s", prefix, own[i].name);
        list[n] = own[i];
        list[n].name = names[n];
        n++;
    }
    for (int k = 0; k < n_extra; k++)
        list[n++] = extra[k];
    ok(safetensors_write(path, list, n, &s->dev, NULL));
    free(own);
}

static error *read_back(const char *path, small_run *s)
{
    weights *w;
    ok(weights_open(path, NULL, &w));
    error *e = weights_read(w, &s->t->params, false, &s->dev);
    weights_close(w);
    return e;
}

static void test_habits(void **state)
{
    small_run a, b;
    char *path = scratch_path(state, "model.safetensors");
    make_model(state, &a, "");
    make_model(state, &b, "--seed 6");
    tensor wte = a.t->params.row[0].value;
    float mask[9] = {0}, other[59 * 33] = {0};
    const named_tensor extra[EXTRA] = {
        {.name = "transformer.h.1.attn.bias", .value = tensor_of(mask, F32, SHAPE(1, 1, 3, 3))},
        {.name = "h.0.attn.masked_bias", .value = tensor_of(mask, F32, SHAPE(1))},
        {.name = "lm_head.weight", .value = wte},
        {.name = "transformer.h.0.attn.c_attn.lora", .value = tensor_of(mask, F32, SHAPE(9))}};
    write_habit(path, &a, "transformer.", extra, 3, -1);
    ok(read_back(*state, &b));
    check_same(&a.t->params, &b.t->params);
    write_habit(path, &a, "", extra, 4, -1);
    fails(read_back(path, &b), path, "c_attn.lora' has no place");
    write_habit(path, &a, "", NULL, 0, 5);
    fails(read_back(path, &b), path, "no tensor 'h.0.attn.c_attn.bias'");
    named_tensor twice = {.name = "transformer.wte.weight", .value = wte};
    write_habit(path, &a, "", &twice, 1, -1);
    fails(read_back(path, &b), path, "only one can be meant");
    named_tensor head = {.name = "lm_head.weight", .value = tensor_of(other, F32, SHAPE(59, 33))};
    write_habit(path, &a, "", &head, 1, -1);
    fails(read_back(path, &b), "lm_head.weight", "tie_word_embeddings");
    small_close(&a);
    small_close(&b);
    free(path);
}

/* ---- one parameter, several tensors ---- */

enum { ROWS = 12, WIDE = 4 };

/* A table of one matrix with queries, keys and values (6, 3, 3 rows), its bias, and an
 * embedding. */
static void make_table(params *p, const char *names[2], int64_t groups, float *memory)
{
    *p = (params){.type = F32};
    param_spec spec = {.name = "model.embed.weight", .layer = -1, .shape = SHAPE(2, WIDE)};
    assert_int_equal(params_add(p, spec), 0);
    for (int k = 0; k < 2; k++) {
        spec = (param_spec){.name = names[k],
                            .layer = 7,
                            .shape = k ? SHAPE(ROWS) : SHAPE(ROWS, WIDE),
                            .part_rows = {6, 3, 3},
                            .file_groups = groups};
        assert_int_equal(params_add(p, spec), k + 1);
    }
    for (int i = 0; i < 3; i++) {
        p->row[i].value = tensor_of(memory, F32, p->row[i].spec.shape);
        for (int64_t k = 0; k < p->row[i].count; k++)
            *memory++ = (float)(100 * i + k);
    }
}

static void test_parts(void **state)
{
    enum { NUMBERS = (2 + ROWS) * WIDE + ROWS };
    static const struct {
        const char *names[2], *second, *other; /* the second tensor of the matrix, and a bias */
        int64_t groups;
        float first_of_second; /* number */
    } cases[] = {{{"model.l.%d.{q,k,v}_proj.weight", "model.l.%d.{q,k,v}_proj.bias"},
                  "model.l.7.k_proj.weight",
                  "model.l.7.v_proj.bias",
                  0,
                  100 + 6 * WIDE},
                 {{"model.l.%d.qkv.weight", "model.l.%d.qkv.bias"},
                  "model.l.7.qkv.weight",
                  "model.l.7.qkv.bias",
                  3,
                  100}};
    host_memory memory;
    device dev = host_device(&memory);
    char *path = scratch_path(state, "parts.safetensors");
    for (int i = 0; i < 2; i++) {
        params p;
        safetensors *s;
        float numbers[NUMBERS], want[NUMBERS], row[WIDE];
        const char *names[2] = {cases[i].names[0], cases[i].names[1]};
        make_table(&p, names, cases[i].groups, numbers);
        memcpy(want, numbers, sizeof want);
        ok(params_write(path, &p, &dev, NULL));
        ok(safetensors_open(path, &s));
        assert_int_equal(safetensors_count(s), i ? 3 : 7);
        int64_t second = safetensors_find(s, cases[i].second);
        assert_true(second >= 0 && safetensors_find(s, cases[i].other) >= 0);
        ok(safetensors_read(s, second, 0, sizeof row, row));
        assert_true(row[0] == cases[i].first_of_second);
        if (i) { /* the third row of a group is its key */
            ok(safetensors_read(s, second, 2 * sizeof row, sizeof row, row));
            assert_true(row[0] == 100 + 6 * WIDE);
        }
        memset(numbers, 0x55, sizeof numbers);
        ok(params_read(s, &p, &dev));
        assert_memory_equal(numbers, want, sizeof want);
        safetensors_close(s);
        params_free(&p);
    }
    free(path);
}

/* ---- llm.c ---- */

enum { L = 2, NH = 3, C = 33, T = 13, V = 59, VP = 128 };

/* Every number in the file is its index, made small enough for bf16 to be exact. */
static float number(int64_t i)
{
    return (float)(i % 251 - 100) / 8;
}

static const int64_t per_kind[16] = {VP * C,       T *C, L *C, L *C, L * 3 * C *C, L * 3 * C,
                                     L *C *C,      L *C, L *C, L *C, L * 4 * C *C, L * 4 * C,
                                     L * 4 * C *C, L *C, C,    C};

static size_t write_llmc(const char *path, int version, const int32_t *sizes)
{
    int64_t n = 0;
    for (int k = 0; k < 16; k++)
        n += per_kind[k];
    size_t size = version == 5 ? 2 : 4, bytes = 1024 + (size_t)n * size;
    char *file = calloc(bytes, 1);
    int32_t head[8] = {20240326, version, T, V, L, NH, C, VP};
    if (sizes) memcpy(head + 2, sizes, 6 * sizeof *sizes);
    memcpy(file, head, sizeof head);
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        float x = number(i);
        memcpy(&bits, &x, 4);
        if (size == 2) bits >>= 16;
        memcpy(file + 1024 + (size_t)i * size, &bits, size);
    }
    file_write(path, file, bytes);
    free(file);
    return bytes;
}

/* The parameter of that name, whose first element is number `at` of the file. */
static void check_llmc_row(const params *p, const char *name, int64_t at)
{
    char text[100];
    for (int i = 0; i < p->n; i++) {
        const param *row = &p->row[i];
        if (strcmp(param_text(row, text, sizeof text), name)) continue;
        for (int64_t k = 0; k < row->count; k++)
            if (((float *)row->value.data)[k] != number(at + k))
                fail_msg("%s: element %lld", name, (long long)k);
        return;
    }
    fail_msg("no %s", name);
}

static int64_t before(int kind)
{
    int64_t sum = 0;
    for (int k = 0; k < kind; k++)
        sum += per_kind[k];
    return sum;
}

static void test_llmc(void **state)
{
    char *path = scratch_path(state, "model.bin");
    for (int version = 3; version <= 5; version += 2) {
        small_run s;
        write_llmc(path, version, NULL);
        load(state, &s, "model.bin", version == 5 ? "--widen" : "");
        const params *p = &s.t->params;
        check_llmc_row(p, "wte.weight", 0);
        check_llmc_row(p, "wpe.weight", before(1));
        check_llmc_row(p, "h.1.ln_1.bias", before(3) + C);
        check_llmc_row(p, "h.0.attn.c_attn.weight", before(4));
        check_llmc_row(p, "h.1.attn.c_attn.weight", before(4) + 3 * C * C);
        check_llmc_row(p, "h.1.mlp.c_fc.weight", before(10) + 4 * C * C);
        check_llmc_row(p, "h.0.mlp.c_proj.weight", before(12));
        check_llmc_row(p, "h.1.mlp.c_proj.bias", before(13) + C);
        check_llmc_row(p, "ln_f.weight", before(14));
        check_llmc_row(p, "ln_f.bias", before(15));
        if (version == 3) { /* written back: the same file, but for the rows of no token */
            char *out = scratch_path(state, "again.bin");
            llmc_sizes z = {T, V, L, NH, C, 0, false};
            ok(llmc_write(out, &z, p, &s.dev));
            size_t n, m;
            uint8_t *a = file_read(path, &n), *b = file_read(out, &m);
            assert_int_equal(n, m);
            const size_t from = 1024 + 4 * V * C, to = 1024 + 4 * VP * C;
            assert_memory_equal(a, b, from);
            assert_memory_equal(a + to, b + to, n - to);
            for (size_t i = from; i < to; i++)
                assert_int_equal(b[i], 0);
            free(a), free(b), free(out);
        } else {
            weights *w;
            ok(weights_open(path, NULL, &w));
            fails(weights_read(w, &s.t->params, CAST_NONE, &s.dev), "bf16", "--widen");
            weights_close(w);
        }
        small_close(&s);
    }
    free(path);
}

static void test_llmc_refusals(void **state)
{
    char *path = scratch_path(state, "bad.bin");
    weights *w;
    static const int32_t sizes[][6] = {{0, V, L, NH, C, VP},
                                       {T, -1, L, NH, C, VP},
                                       {T, V, L, NH, C, V - 1},
                                       {T, V, L + 1, NH, C, VP},
                                       {T, V, L, 2, C, VP},
                                       {INT32_MAX, INT32_MAX, INT32_MAX, 1, INT32_MAX, INT32_MAX},
                                       {T, V, INT32_MAX, 1, INT32_MAX, VP},
                                       {T, V, L, NH, INT32_MAX, VP},
                                       {T, V, L, NH, C, INT32_MAX}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        write_llmc(path, 3, sizes[i]);
        fails(weights_open(path, NULL, &w), path, ":");
    }
    write_llmc(path, 4, NULL);
    fails(weights_open(path, NULL, &w), path, "version 4");
    size_t n = write_llmc(path, 3, NULL);
    static const int64_t cuts[] = {5000, 1024, 1023, 31, 8, 4};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        assert_int_equal(truncate(path, cuts[i]), 0);
        fails(weights_open(path, NULL, &w), path, "again");
    }
    write_llmc(path, 3, NULL);
    assert_int_equal(truncate(path, (off_t)n + 1), 0);
    fails(weights_open(path, NULL, &w), path, "bytes");
    free(path);
}

/* The last tensors of a file of more than 4 GiB; it is sparse. */
static void test_llmc_over_4_gib(void **state)
{
    const int64_t c = 16, vocab = 70000000,
                  n = vocab * c + c * (1 + 2 + 3 * c + 3 + c + 1 + 2 + 4 * c + 4 + 4 * c + 1 + 2);
    const int32_t head[8] = {20240326, 3, 1, (int32_t)vocab, 1, 1, (int32_t)c, (int32_t)vocab};
    char *path = scratch_path(state, "large.bin");
    file_write(path, head, sizeof head);
    assert_int_equal(truncate(path, 1024 + 4 * n), 0);
    llmc *f;
    ok(llmc_open(path, &f));
    assert_int_equal(llmc_about(f)->vocab, vocab);
    llmc_close(f);
    assert_int_equal(truncate(path, 1024 + 4 * n - 1), 0);
    fails(llmc_open(path, &f), path, "bytes");
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_fields), cmocka_unit_test(test_config_refusals),
        cmocka_unit_test(test_halves),        cmocka_unit_test(test_load_is_the_same),
        cmocka_unit_test(test_load_refusals), cmocka_unit_test(test_habits),
        cmocka_unit_test(test_parts),         cmocka_unit_test(test_llmc),
        cmocka_unit_test(test_llmc_refusals), cmocka_unit_test(test_llmc_over_4_gib),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
