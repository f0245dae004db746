/* gguf_model.c - see gguf_model.h */
#include "io/gguf_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/hf/hf.h"

/* One of llama.cpp's architectures, by Hugging Face's model_type. */
typedef struct {
    const char *model_type, *name;
    bool split_qkv; /* separate tensors for q, k and v */
    bool pairs;     /* interleaved RoPE: rows of q and k are rearranged */
    bool plus_one;  /* norms are stored as the final factor */
} architecture;

static const architecture architectures[] = {
    {"gpt2", "gpt2", false, false, false},     {"llama", "llama", true, true, false},
    {"mistral", "llama", true, true, false},   {"qwen2", "qwen2", true, false, false},
    {"qwen3", "qwen3", true, false, false},    {"gemma", "gemma", true, false, true},
    {"phi", "phi2", true, false, false},       {"bloom", "bloom", false, false, false},
    {"falcon", "falcon", false, false, false}, {"olmo2", "olmo2", true, false, false},
    {"gemma2", "gemma2", true, false, true},   {"gemma3_text", "gemma3", true, false, true},
};

static error *architecture_of(const model_config *c, const architecture **out)
{
    const char *type = hf_type(c);
    *out = NULL;
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++)
        if (!strcmp(architectures[i].model_type, type)) *out = &architectures[i];
    if (*out) return NULL;
    return user_error(
        "--to gguf: models of type %s are not written: gpt2, llama, mistral, qwen2, qwen3, "
        "gemma, gemma2, gemma3_text, phi, bloom, falcon, olmo2 are; --to hf writes all",
        type);
}

/* llama.cpp's architectures rotate all layers; only its LLaMA has frequencies scaled by
 * wavelength. */
static error *check_rotations(const architecture *a, const model_config *c)
{
    bool waves = c->rotary.scaling.high > 0;
    if (c->positions != POSITIONS_ROTARY ||
        (!c->rotary.skip && (!waves || !strcmp(a->name, "llama"))))
        return NULL;
    return user_error("--to gguf: llama.cpp's %s has no %s; --to hf writes them", a->name,
                      waves ? "rotations scaled by wavelength" : "layers without rotations");
}

/* What llama.cpp hard-codes for a Gemma: where windows are, the scale of scores, the RoPE base in
 * windows, and that Gemma 2 has caps (50 and 30 if the file gives none). */
static error *check_windows(const architecture *a, const model_config *c)
{
    enum { GEMMA2_27B = 46, GEMMA3_27B = 62 };
    bool two = !strcmp(a->name, "gemma2"), three = !strcmp(a->name, "gemma3");
    const char *what = NULL;
    if (!two && !three) {
        if (has_windows(c)) what = "attention in windows";
    } else {
        bool largest = c->layers == (two ? GEMMA2_27B : GEMMA3_27B);
        double scalar = c->query_scalar > 0 ? c->query_scalar : (double)c->head_size,
               known = (double)(largest ? c->width / c->heads : c->head_size);
        if (scalar != known) what = "another query_pre_attn_scalar";
        if (c->window_skip != (two ? 2 : 6)) what = "windows in other layers";
        if (three && c->rotary.local_base != 10000) what = "another rope_local_base_freq";
        if (three && c->logit_cap > 0) what = "a soft cap of logits";
    }
    if (two && !(c->attention_cap > 0 && c->logit_cap > 0))
        return user_error(
            "--to gguf: the model lacks a soft cap, and llama.cpp's gemma2 always caps "
            "scores and logits; --to hf writes it");
    if (!what) return NULL;
    return user_error(
        "--to gguf: the model has %s, which llama.cpp's %s has not; --to hf writes it", what,
        a->name);
}

/* ---- metadata ---- */

/* "llama.context_length" */
static const char *key(const architecture *a, const char *name, char buffer[100])
{
    snprintf(buffer, 100, "%s.%s", a->name, name);
    return buffer;
}

static void put_sizes(gguf *g, const architecture *a, const model_config *c)
{
    char k[100];
    const struct {
        const char *name;
        int64_t value;
    } sizes[] = {{"context_length", c->context},
                 {"embedding_length", c->width},
                 {"block_count", c->layers},
                 {"feed_forward_length", c->inner},
                 {"attention.head_count", c->heads},
                 {"attention.head_count_kv", c->kv_heads},
                 {"attention.key_length", c->head_size},
                 {"attention.value_length", c->head_size},
                 {"vocab_size", c->vocab}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        gguf_u32(g, key(a, sizes[i].name, k), sizes[i].value);
    gguf_f32(g,
             key(a,
                 c->norm == NORM_RMS ? "attention.layer_norm_rms_epsilon"
                                     : "attention.layer_norm_epsilon",
                 k),
             c->norm_eps);
    if (c->positions == POSITIONS_ROTARY) {
        gguf_f32(g, key(a, "rope.freq_base", k), c->rotary.base);
        gguf_u32(g, key(a, "rope.dimension_count", k), c->rotary.size);
    }
    if (c->window_skip) gguf_u32(g, key(a, "attention.sliding_window", k), c->window);
    if (c->attention_cap > 0) gguf_f32(g, key(a, "attn_logit_softcapping", k), c->attention_cap);
    if (c->logit_cap > 0) gguf_f32(g, key(a, "final_logit_softcapping", k), c->logit_cap);
    const rope_scaling *s = &c->rotary.scaling;
    if (s->factor > 0 && s->high <= 0) {
        gguf_text(g, key(a, "rope.scaling.type", k), "linear");
        gguf_f32(g, key(a, "rope.scaling.factor", k), s->factor);
    }
}

static void put_about(gguf *g, const architecture *a, const model_config *c, gguf_type matrices)
{
    static const int file_types[] = {
        [GGUF_F32] = 0, [GGUF_F16] = 1, [GGUF_BF16] = 32, [GGUF_Q8_0] = 7};
    gguf_text(g, "general.architecture", a->name);
    gguf_text(g, "general.type", "model");
    gguf_text(g, "general.name", c->name);
    gguf_u32(g, "general.file_type", file_types[matrices]);
    gguf_u32(g, "general.quantization_version", 2);
}

/* ---- tensors ---- */

typedef struct {
    gguf *g;
    const architecture *a;
    const model_config *c;
    gguf_type matrices;
    char layer[24]; /* "blk.3." or "" */
} writer;

/* Rows [first, first + rows) of a parameter, or all of a vector. */
typedef struct {
    const char *name;
    int64_t first, rows;
    bool pairs;
} part;

static void write_part(writer *w, const param *p, const char *suffix, part of)
{
    char text[64];
    bool matrix = p->spec.shape.rank > 1, norm = strstr(of.name, "norm") != NULL;
    bool positions = !strcmp(of.name, "position_embd");
    int64_t cols = matrix ? tensor_cols(p->value) : of.rows;
    gguf_rows values = {.data = (const float *)p->value.data + of.first * (matrix ? cols : 1),
                        .ld = cols,
                        .pairs = of.pairs && w->a->pairs ? w->c->head_size : 0,
                        .add = norm && w->a->plus_one ? 1.0f : 0.0f};
    gguf_type type = matrix && !positions ? w->matrices : GGUF_F32;
    if (type == GGUF_Q8_0 && cols % GGUF_BLOCK) type = GGUF_F16; /* as llama.cpp's converter does */
    snprintf(text, sizeof text, "%s%s.%s", w->layer, of.name, suffix);
    gguf_tensor(w->g, text, type, matrix ? of.rows : 0, cols, values);
}

/* The parts of a parameter, stacked; the last one has the remaining rows. */
static void put_parts(writer *w, const param *p, const char *suffix, const part *parts, int n)
{
    int64_t rows = p->spec.shape.dim[0], first = 0;
    for (int i = 0; i < n; i++) {
        part of = parts[i];
        of.first = first;
        if (i == n - 1) of.rows = rows - first;
        write_part(w, p, suffix, of);
        first += of.rows;
    }
}

static bool is_of(const char *name, tensor_names n)
{
    return (n.weight && !strcmp(name, n.weight)) || (n.bias && !strcmp(name, n.bias));
}

/* A place in the model and its name there. */
static void put_name(writer *w, const param *p, const char *suffix)
{
    const model_config *c = w->c;
    const __typeof__(c->names->block) *n = &c->names->block;
    const struct {
        tensor_names ours;
        const char *name;
    } plain[] = {{{c->names->tokens, NULL}, "token_embd"},
                 {{c->names->positions, NULL}, "position_embd"},
                 {c->names->embedding_norm, "token_embd_norm"},
                 {c->names->final_norm, "output_norm"},
                 {c->names->head, "output"},
                 {n->norm1, "attn_norm"},
                 {n->norm2, "ffn_norm"},
                 {n->post1, "post_attention_norm"},
                 {n->post2, "post_ffw_norm"},
                 {n->project, "attn_output"},
                 {n->down, "ffn_down"},
                 {{n->q_norm, NULL}, "attn_q_norm"},
                 {{n->k_norm, NULL}, "attn_k_norm"}};
    const char *name = p->spec.name;
    int64_t q = c->heads * c->head_size, kv = c->kv_heads * c->head_size;
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (is_of(name, plain[i].ours)) put_parts(w, p, suffix, &(part){.name = plain[i].name}, 1);
    if (is_of(name, n->qkv)) {
        const part split[] = {
            {"attn_q", 0, q, true}, {"attn_k", 0, kv, true}, {"attn_v", 0, kv, false}};
        put_parts(w, p, suffix, w->a->split_qkv ? split : &(part){.name = "attn_qkv"},
                  w->a->split_qkv ? 3 : 1);
    }
    if (is_of(name, n->up)) {
        const part gated[] = {{"ffn_gate", 0, c->inner, false}, {.name = "ffn_up"}};
        put_parts(w, p, suffix, c->gated ? gated : gated + 1, c->gated ? 2 : 1);
    }
}

/* The divisor of each frequency. */
static error *put_frequencies(gguf *g, const rotary_form *form)
{
    float *x;
    if (form->scaling.high <= 0) return NULL;
    int64_t pairs = form->size / 2;
    TRY(gguf_room(g, (size_t)pairs, &x));
    for (int64_t i = 0; i < pairs; i++) {
        double f = pow(form->base, -2.0 * (double)i / (double)form->size);
        x[i] = (float)(f / rope_scaled(f, form->scaling));
    }
    gguf_tensor(g, "rope_freqs.weight", GGUF_F32, 0, pairs, (gguf_rows){.data = x, .ld = pairs});
    return NULL;
}

/* Is this the name of a bias? */
static bool is_bias(const char *name)
{
    size_t n = strlen(name);
    return n > 4 && !strcmp(name + n - 4, "bias");
}

error *gguf_model(gguf *g, const model_config *c, const params *p, gguf_type matrices)
{
    writer w = {.g = g, .c = c, .matrices = matrices};
    TRY(architecture_of(c, &w.a));
    TRY(check_rotations(w.a, c));
    TRY(check_windows(w.a, c));
    put_about(g, w.a, c, matrices);
    put_sizes(g, w.a, c);
    TRY(put_frequencies(g, &c->rotary));
    for (int i = 0; i < p->n; i++) {
        const param *row = &p->row[i];
        snprintf(w.layer, sizeof w.layer, row->spec.layer < 0 ? "" : "blk.%d.", row->spec.layer);
        put_name(&w, row, is_bias(row->spec.name) ? "bias" : "weight");
    }
    return NULL;
}
