/* hf_families.c - the fields of each family's config.json; see hf_internal.h.
 *
 * An absent field has the default of that family's class in transformers.  Where the block supports
 * only one value of a field, the table has HF_MUST.
 */
#include "model/families.h"
#include "model/hf/hf_layers.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define M(member) offsetof(hf_model, member)
/* An option under its usual name, or under the family's; and what its absence means. */
#define OPTION(id, unset)                                                                          \
    {                                                                                              \
        NULL, NULL, HF_OPTION, MODEL_##id, 0, unset                                                \
    }
#define NAMED(id, name, older, unset)                                                              \
    {                                                                                              \
        name, older, HF_OPTION, MODEL_##id, 0, unset                                               \
    }
#define FIELD(kind, name, at, unset)                                                               \
    {                                                                                              \
        name, NULL, kind, 0, at, unset                                                             \
    }
#define MUST(name, value)      FIELD(HF_MUST, name, 0, value)
#define MUST_FLAG(name, value) FIELD(HF_MUST_FLAG, name, 0, value)
#define DROPOUT(name)          FIELD(HF_DROPOUT, name, 0, 0)
#define ELSEWHERE(name)        FIELD(HF_ELSEWHERE, name, 0, 0)
#define ROPE_SCALING                                                                               \
    FIELD(HF_ROPE, "rope_scaling", M(c.rotary.scaling), 0), ELSEWHERE("rope_parameters")
#define ROPE_FIELDS OPTION(rotary_base, 10000), ROPE_SCALING

/* ---- shared by the families ---- */

/* Sizes that follow from others. */
static error *derive(const hf_source *s, hf_model *m, const char *heads, const char *kv_heads)
{
    model_config *c = &m->c;
    if (!c->head_size && c->width % c->heads)
        return hf_refuse(s, heads, "which does not divide the width");
    if (!c->head_size) c->head_size = c->width / c->heads;
    if (!c->kv_heads) c->kv_heads = c->heads;
    if (c->heads % c->kv_heads) return hf_refuse(s, kv_heads, "which does not divide the heads");
    if (!c->inner) c->inner = 4 * c->width;
    return NULL;
}

/* ---- GPT-2 ---- */

static const hf_field gpt2_fields[] = {
    NAMED(layers, "n_layer", NULL, 12),
    NAMED(heads, "n_head", NULL, 12),
    NAMED(width, "n_embd", NULL, 768),
    NAMED(context, "n_positions", "n_ctx", 1024),
    OPTION(vocab, 50257),
    NAMED(inner, "n_inner", NULL, 0),
    NAMED(act, "activation_function", NULL, ACT_GELU_TANH),
    NAMED(norm_eps, "layer_norm_epsilon", NULL, 1e-5),
    OPTION(tied, true),
    MUST_FLAG("scale_attn_weights", true),
    MUST_FLAG("scale_attn_by_inverse_layer_idx", false),
    DROPOUT("attn_pdrop"),
    DROPOUT("embd_pdrop"),
    DROPOUT("resid_pdrop"),
};

static const char *const gpt2_harmless[] = {"reorder_and_upcast_attn",
                                            "summary_activation",
                                            "summary_first_dropout",
                                            "summary_proj_to_labels",
                                            "summary_type",
                                            "summary_use_proj",
                                            NULL};

static error *decode_gpt2(const hf_source *s, hf_model *m)
{
    if (!m->c.tied) m->c.names = &gpt2_head_names;
    return derive(s, m, "n_head", "n_head");
}

/* ---- LLaMA (and Vicuna, which is one), Qwen 2, Qwen 3, Gemma ---- */

#define LLAMA_SIZES_ALONE(vocab_, width_, inner_, layers_, heads_, kv_heads_, context_)            \
    OPTION(vocab, vocab_), OPTION(width, width_), OPTION(inner, inner_), OPTION(layers, layers_),  \
        OPTION(heads, heads_), OPTION(kv_heads, kv_heads_), OPTION(context, context_)
#define FULL_ATTENTION ELSEWHERE("layer_types"), MUST("attention_dropout", 0)
#define LLAMA_SIZES(eps, ...)                                                                      \
    LLAMA_SIZES_ALONE(__VA_ARGS__), OPTION(norm_eps, eps), ROPE_FIELDS, FULL_ATTENTION

#define LLAMA_OPTIONS_UNSET OPTION(head_size, 0), OPTION(act, ACT_SILU), OPTION(tied, false)

static const hf_field llama_fields[] = {
    LLAMA_SIZES(1e-6, 32000, 4096, 11008, 32, 32, 0, 2048),
    LLAMA_OPTIONS_UNSET,
    FIELD(HF_FLAG, "attention_bias", M(qkv_bias), false),
    FIELD(HF_FLAG, "mlp_bias", M(linear_bias), false),
};

static const hf_field qwen2_fields[] = {
    LLAMA_SIZES(1e-6, 151936, 4096, 22016, 32, 32, 32, 32768),
    LLAMA_OPTIONS_UNSET,
    MUST_FLAG("use_sliding_window", false),
    MUST_FLAG("use_mrope", false),
};

static const hf_field qwen3_fields[] = {
    LLAMA_SIZES(1e-6, 151936, 4096, 22016, 32, 32, 32, 32768),
    OPTION(head_size, 128),
    OPTION(act, ACT_SILU),
    OPTION(tied, false),
    FIELD(HF_FLAG, "attention_bias", M(qkv_bias), false),
    MUST_FLAG("use_sliding_window", false),
};

static const hf_field gemma_fields[] = {
    LLAMA_SIZES(1e-6, 256000, 3072, 24576, 28, 16, 16, 8192),
    OPTION(head_size, 256),
    NAMED(act, "hidden_activation", NULL, ACT_GELU_TANH),
    ELSEWHERE("hidden_act"),
    OPTION(tied, true),
    FIELD(HF_FLAG, "attention_bias", M(qkv_bias), false),
    MUST_FLAG("use_bidirectional_attention", false),
};

/* These take effect only with use_sliding_window. */
static const char *const qwen_windows[] = {"sliding_window", "max_window_layers", NULL};

/* All of LLaMA's fields but those of RoPE and layer types. */
static error *decode_sizes(const hf_source *s, hf_model *m)
{
    TRY(derive(s, m, "num_attention_heads", "num_key_value_heads"));
    m->c.bias.qkv = m->c.bias.project = m->qkv_bias;
    m->c.bias.up = m->c.bias.down = m->linear_bias;
    return NULL;
}

static error *decode_llama(const hf_source *s, hf_model *m)
{
    TRY(decode_sizes(s, m));
    TRY(hf_check_no_windows(s));
    return hf_decode_rotary(s, m);
}

static void encode_llama(hf_model *m)
{
    m->qkv_bias = m->c.bias.qkv;
    m->linear_bias = m->c.bias.up;
}

static error *decode_qwen2(const hf_source *s, hf_model *m)
{
    TRY(decode_llama(s, m));
    m->c.bias.qkv = true;
    return NULL;
}

/* hidden_act was written as gelu where the tanh form was meant; transformers reads it so, too. */
static error *decode_gemma_sizes(const hf_source *s, hf_model *m)
{
    const cJSON *act = hf_get(s, "hidden_act");
    const char *word = cJSON_GetStringValue(act);
    if (act && !hf_get(s, "hidden_activation") &&
        (!word || (strcmp(word, "gelu") && strcmp(word, "gelu_pytorch_tanh"))))
        return hf_refuse(s, "hidden_act", "but must be gelu or gelu_pytorch_tanh");
    m->c.embedding_scale = sqrt((double)m->c.width);
    return decode_sizes(s, m);
}

static error *decode_gemma_options(const hf_source *s, hf_model *m)
{
    TRY(decode_gemma_sizes(s, m));
    return hf_decode_rotary(s, m);
}

static error *decode_gemma(const hf_source *s, hf_model *m)
{
    TRY(decode_gemma_options(s, m));
    return hf_check_no_windows(s);
}

/* ---- Gemma 2 and 3 ---- */

#define GEMMA2_FIELDS                                                                              \
    OPTION(norm_eps, 1e-6), OPTION(head_size, 256),                                                \
        NAMED(act, "hidden_activation", NULL, ACT_GELU_TANH), ELSEWHERE("hidden_act"),             \
        OPTION(tied, true), FIELD(HF_FLAG, "attention_bias", M(qkv_bias), false),                  \
        MUST("attention_dropout", 0), MUST_FLAG("use_bidirectional_attention", false),             \
        OPTION(query_scalar, 256), NAMED(window, "sliding_window", "sliding_window_size", 4096),   \
        FIELD(HF_LAYERS, "layer_types", M(c.window_skip), 0), ROPE_SCALING

static const hf_field gemma2_fields[] = {
    LLAMA_SIZES_ALONE(256000, 2304, 9216, 26, 8, 4, 8192),
    OPTION(rotary_base, 10000),
    GEMMA2_FIELDS,
    OPTION(attention_cap, 50),
    OPTION(logit_cap, 30),
};

static const hf_field gemma3_fields[] = {
    LLAMA_SIZES_ALONE(262208, 2304, 9216, 26, 8, 4, 131072),
    OPTION(rotary_base, 1000000),
    NAMED(rotary_local_base, "rope_local_base_freq", NULL, 10000),
    GEMMA2_FIELDS,
    OPTION(logit_cap, 0),
    FIELD(HF_NONE, "attn_logit_softcapping", 0, 0), /* which transformers does not read there */
    FIELD(HF_SIZE, "sliding_window_pattern", M(window_pattern), 6),
};

static const char *const gemma3_harmless[] = {"_sliding_window_pattern", NULL};

static error *decode_gemma2(const hf_source *s, hf_model *m)
{
    TRY(decode_gemma_options(s, m));
    if (m->c.query_scalar == (double)m->c.head_size) m->c.query_scalar = 0;
    return hf_read_window_skip(s, m, 2);
}

static error *decode_gemma3(const hf_source *s, hf_model *m)
{
    const cJSON *cap = hf_get(s, "attn_logit_softcapping");
    if (cap) return hf_refuse(s, "attn_logit_softcapping", "but this family has no caps of scores");
    TRY(decode_gemma_sizes(s, m));
    TRY(hf_read_two_ropes(s, m));
    m->c.rotary.size = m->c.head_size;
    if (m->c.query_scalar == (double)m->c.head_size) m->c.query_scalar = 0;
    return hf_read_window_skip(s, m, m->window_pattern);
}

static void encode_gemma2(hf_model *m)
{
    encode_llama(m);
    if (!(m->c.query_scalar > 0)) m->c.query_scalar = (double)m->c.head_size;
    m->window_pattern = m->c.window_skip ? m->c.window_skip : 6;
}

/* ---- Mistral ---- */

static const hf_field mistral_fields[] = {
    LLAMA_SIZES(1e-6, 32000, 4096, 14336, 32, 32, 8, 131072),
    LLAMA_OPTIONS_UNSET,
    OPTION(window, 4096),
    MUST_FLAG("attention_bias", false), /* in files made from LLaMA's */
    MUST_FLAG("mlp_bias", false),
};

static error *decode_windows(const hf_source *s, hf_model *m)
{
    TRY(decode_sizes(s, m));
    TRY(hf_read_windows(s, m));
    return hf_decode_rotary(s, m);
}

/* ---- SmolLM 3 ---- */

static const hf_field smollm3_fields[] = {
    LLAMA_SIZES_ALONE(128256, 2048, 11008, 36, 16, 4, 32768),
    OPTION(norm_eps, 1e-6),
    OPTION(rotary_base, 2000000),
    ROPE_SCALING,
    FULL_ATTENTION,
    NAMED(rotary_skip, "no_rope_layer_interval", NULL, 4),
    ELSEWHERE("no_rope_layers"),
    FIELD(HF_NONE, "pad_token_id", 0, 0), /* its default is outside of a small vocabulary */
    OPTION(act, ACT_SILU),
    OPTION(tied, true),
    FIELD(HF_FLAG, "attention_bias", M(qkv_bias), false),
    FIELD(HF_FLAG, "mlp_bias", M(linear_bias), false),
    MUST_FLAG("use_sliding_window", false),
};

static error *decode_smollm3(const hf_source *s, hf_model *m)
{
    TRY(hf_read_rotary_skip(s, m));
    return decode_llama(s, m);
}

/* ---- OLMo 2 ---- */

static const hf_field olmo2_fields[] = {
    LLAMA_SIZES(1e-5, 50304, 4096, 11008, 32, 32, 0, 2048),
    LLAMA_OPTIONS_UNSET,
    FIELD(HF_FLAG, "attention_bias", M(qkv_bias), false),
};

/* ---- Phi 3 and 4 ---- */

static const hf_field phi3_fields[] = {
    LLAMA_SIZES(1e-5, 32064, 3072, 8192, 32, 32, 0, 4096),
    LLAMA_OPTIONS_UNSET,
    FIELD(HF_PART, "partial_rotary_factor", M(rotary_part), 1),
    OPTION(window, 0),
    FIELD(HF_NONE, "pad_token_id", 0, 0), /* as above */
    ELSEWHERE("original_max_position_embeddings"),
    MUST_FLAG("attention_bias", false),
    MUST_FLAG("mlp_bias", false),
    MUST_FLAG("lm_head_bias", false),
    DROPOUT("resid_pdrop"),
    DROPOUT("embd_pdrop"),
};

static error *decode_phi3(const hf_source *s, hf_model *m)
{
    const cJSON *original = hf_get(s, "original_max_position_embeddings");
    if (original && !cJSON_IsNumber(original))
        return hf_refuse(s, "original_max_position_embeddings", "but must be a number");
    return decode_windows(s, m);
}

static void encode_phi3(hf_model *m)
{
    encode_llama(m);
    hf_encode_rotary(m);
}

/* ---- GPT-NeoX and Pythia ---- */

static const hf_field neox_fields[] = {
    OPTION(vocab, 50432),
    OPTION(width, 6144),
    OPTION(layers, 44),
    OPTION(heads, 64),
    OPTION(inner, 24576),
    OPTION(context, 2048),
    OPTION(act, ACT_GELU_ERF),
    NAMED(norm_eps, "layer_norm_eps", NULL, 1e-5),
    OPTION(tied, false),
    NAMED(rotary_base, "rotary_emb_base", "rope_theta", 10000),
    FIELD(HF_PART, "rotary_pct", M(rotary_part), 0.25),
    ROPE_SCALING,
    FIELD(HF_FLAG, "use_parallel_residual", M(parallel), true),
    MUST_FLAG("attention_bias", true),
    MUST("attention_dropout", 0),
    DROPOUT("hidden_dropout"),
};

static error *decode_neox(const hf_source *s, hf_model *m)
{
    TRY(derive(s, m, "num_attention_heads", "num_attention_heads"));
    m->c.residual = m->parallel ? RESIDUAL_PARALLEL : RESIDUAL_SEQUENTIAL;
    return hf_decode_rotary(s, m);
}

static void encode_neox(hf_model *m)
{
    m->parallel = m->c.residual != RESIDUAL_SEQUENTIAL;
    hf_encode_rotary(m);
}

/* ---- the first Qwen ---- */

static const hf_field qwen_fields[] = {
    OPTION(vocab, 151936),
    OPTION(width, 4096),
    FIELD(HF_SIZE, "intermediate_size", M(twice_inner), 22016),
    OPTION(layers, 32),
    OPTION(heads, 32),
    NAMED(head_size, "kv_channels", NULL, 128),
    NAMED(context, "seq_length", NULL, 8192),
    NAMED(norm_eps, "layer_norm_epsilon", NULL, 1e-6),
    NAMED(rotary_base, "rotary_emb_base", NULL, 10000),
    FIELD(HF_PART, "rotary_pct", M(rotary_part), 1),
    OPTION(tied, false),
    MUST_FLAG("no_bias", true),
    MUST_FLAG("scale_attn_weights", true),
    MUST_FLAG("use_cache_quantization", false),
    MUST("attn_dropout_prob", 0),
    DROPOUT("emb_dropout_prob"),
};

/* The first two matter only beyond seq_length, which is our context. */
static const char *const qwen_harmless[] = {"use_dynamic_ntk",
                                            "use_logn_attn",
                                            "max_position_embeddings",
                                            "use_flash_attn",
                                            "use_cache_kernel",
                                            "softmax_in_fp32",
                                            "fp32",
                                            "fp16",
                                            "bf16",
                                            "onnx_safe",
                                            "tokenizer_type",
                                            NULL};

static error *decode_qwen(const hf_source *s, hf_model *m)
{
    if (m->twice_inner % 2) return hf_refuse(s, "intermediate_size", "but must be even");
    m->c.inner = m->twice_inner / 2;
    TRY(derive(s, m, "num_attention_heads", "num_attention_heads"));
    return hf_decode_rotary(s, m);
}

static void encode_qwen(hf_model *m)
{
    m->twice_inner = 2 * m->c.inner;
    hf_encode_rotary(m);
}

/* ---- BLOOM ---- */

static const hf_field bloom_fields[] = {
    OPTION(vocab, 250880),
    NAMED(width, "hidden_size", "n_embed", 64),
    NAMED(layers, "n_layer", "num_hidden_layers", 2),
    NAMED(heads, "n_head", "num_attention_heads", 8),
    NAMED(context, "seq_length", NULL, 2048),
    NAMED(norm_eps, "layer_norm_epsilon", NULL, 1e-5),
    OPTION(tied, true),
    MUST_FLAG("apply_residual_connection_post_layernorm", false),
    MUST("attention_dropout", 0),
    DROPOUT("hidden_dropout"),
    ELSEWHERE("n_inner"),
};

static const char *const bloom_harmless[] = {"attention_softmax_in_fp32",
                                             "bias_dropout_fusion",
                                             "masked_softmax_fusion",
                                             "offset_alibi",
                                             "skip_bias_add",
                                             "skip_bias_add_qkv",
                                             "slow_but_exact",
                                             NULL};

static error *decode_bloom(const hf_source *s, hf_model *m)
{
    const cJSON *inner = hf_get(s, "n_inner");
    TRY(derive(s, m, "n_head", "n_head"));
    if (inner && !(cJSON_IsNumber(inner) && inner->valuedouble == 4 * (double)m->c.width))
        return hf_refuse(s, "n_inner", "but BLOOM's is always four times its width");
    return NULL;
}

/* ---- Phi 1, 1.5, 2 ---- */

static const hf_field phi_fields[] = {
    OPTION(vocab, 51200),
    NAMED(width, "hidden_size", "n_embd", 2048),
    NAMED(inner, "intermediate_size", "n_inner", 8192),
    NAMED(layers, "num_hidden_layers", "n_layer", 24),
    NAMED(heads, "num_attention_heads", "n_head", 32),
    NAMED(kv_heads, "num_key_value_heads", "n_head_kv", 0),
    OPTION(head_size, 0),
    NAMED(context, "max_position_embeddings", "n_positions", 2048),
    OPTION(act, ACT_GELU_TANH),
    NAMED(norm_eps, "layer_norm_eps", NULL, 1e-5),
    OPTION(tied, false),
    FIELD(HF_PART, "partial_rotary_factor", M(rotary_part), 0.5),
    ROPE_FIELDS,
    MUST_FLAG("qk_layernorm", false),
    MUST("attention_dropout", 0),
    DROPOUT("resid_pdrop"),
    DROPOUT("embd_pdrop"),
};

static error *decode_phi(const hf_source *s, hf_model *m)
{
    TRY(derive(s, m, "num_attention_heads", "num_key_value_heads"));
    return hf_decode_rotary(s, m);
}

/* ---- Falcon ---- */

static const hf_field falcon_fields[] = {
    OPTION(vocab, 65024),
    OPTION(width, 4544),
    NAMED(layers, "num_hidden_layers", "n_layer", 32),
    NAMED(heads, "num_attention_heads", "n_head", 71),
    NAMED(kv_heads, "num_kv_heads", "n_head_kv", 0),
    NAMED(inner, "ffn_hidden_size", NULL, 0),
    OPTION(context, 2048),
    FIELD(HF_SIZE, "num_ln_in_parallel_attn", M(parallel_norms), 0),
    NAMED(act, "activation", NULL, ACT_GELU_ERF),
    NAMED(norm_eps, "layer_norm_epsilon", NULL, 1e-5),
    OPTION(tied, true),
    FIELD(HF_FLAG, "multi_query", M(grouped), true),
    FIELD(HF_FLAG, "parallel_attn", M(parallel), true),
    FIELD(HF_FLAG, "new_decoder_architecture", M(both), false),
    FIELD(HF_FLAG, "bias", M(linear_bias), false),
    ROPE_FIELDS,
    MUST_FLAG("alibi", false),
    MUST_FLAG("apply_residual_connection_post_layernorm", false),
    MUST("attention_dropout", 0),
    DROPOUT("hidden_dropout"),
};

/* The newer form (new_decoder_architecture) is always parallel and grouped, with a norm for each
 * branch unless one is asked for.  The older one ignores num_kv_heads, which transformers writes as
 * the number of heads. */
static error *decode_falcon(const hf_source *s, hf_model *m)
{
    model_config *c = &m->c;
    if (m->parallel_norms > 2) return hf_refuse(s, "num_ln_in_parallel_attn", "but must be 1 or 2");
    if (!m->both && hf_get(s, "num_kv_heads") && c->kv_heads != c->heads &&
        !(m->grouped && c->kv_heads == 1))
        return hf_refuse(s, "num_kv_heads", "but multi_query says another number");
    if (!m->both) c->kv_heads = m->grouped ? 1 : c->heads;
    TRY(derive(s, m, "num_attention_heads", "num_kv_heads"));
    bool two = m->both && m->parallel_norms != 1;
    if (!m->both && m->parallel_norms == 2)
        return hf_refuse(s, "num_ln_in_parallel_attn", "without new_decoder_architecture");
    c->residual = two                      ? RESIDUAL_PARALLEL
                  : m->both || m->parallel ? RESIDUAL_PARALLEL_ONE_NORM
                                           : RESIDUAL_SEQUENTIAL;
    c->names = two ? &falcon_two_names : &falcon_names;
    c->bias = (biases){.norms = true,
                       .qkv = m->linear_bias,
                       .project = m->linear_bias,
                       .up = m->linear_bias,
                       .down = m->linear_bias};
    return hf_decode_rotary(s, m);
}

static void encode_falcon(hf_model *m)
{
    const model_config *c = &m->c;
    m->linear_bias = c->bias.up;
    m->grouped = c->kv_heads == 1;
    m->parallel = c->residual != RESIDUAL_SEQUENTIAL;
    m->both = c->residual == RESIDUAL_PARALLEL || (c->kv_heads != 1 && c->kv_heads != c->heads);
    m->parallel_norms = !m->both ? 0 : c->residual == RESIDUAL_PARALLEL ? 2 : 1;
}

/* ---- ChatGLM 2 and 3 ---- */

static const hf_field chatglm_fields[] = {
    NAMED(vocab, "padded_vocab_size", NULL, 65024),
    FIELD(HF_SIZE, "vocab_size", M(same_vocab), 0),
    OPTION(width, 4096),
    NAMED(inner, "ffn_hidden_size", NULL, 13696),
    NAMED(layers, "num_layers", "num_hidden_layers", 28),
    OPTION(heads, 32),
    NAMED(head_size, "kv_channels", NULL, 128),
    NAMED(kv_heads, "multi_query_group_num", NULL, 1),
    NAMED(context, "seq_length", NULL, 2048),
    NAMED(norm_eps, "layernorm_epsilon", NULL, 1e-5),
    FIELD(HF_FLAG, "multi_query_attention", M(grouped), false),
    FIELD(HF_FLAG, "add_bias_linear", M(linear_bias), false),
    FIELD(HF_FLAG, "add_qkv_bias", M(qkv_bias), false),
    MUST_FLAG("rmsnorm", true),
    MUST_FLAG("post_layer_norm", true),
    MUST_FLAG("apply_residual_connection_post_layernorm", false),
    MUST_FLAG("tie_word_embeddings", false),
    MUST_FLAG("prefix_projection", false),
    MUST("rope_ratio", 1),
    MUST("quantization_bit", 0),
    MUST("attention_dropout", 0),
    DROPOUT("hidden_dropout"),
    ELSEWHERE("pre_seq_len"),
};

/* The scores are divided by the layer's number and multiplied by it again. */
static const char *const chatglm_harmless[] = {"apply_query_key_layer_scaling",
                                               "attention_softmax_in_fp32",
                                               "bias_dropout_fusion",
                                               "fp32_residual_connection",
                                               "interleaved_qkv",
                                               "original_rope",
                                               NULL};

static error *decode_chatglm(const hf_source *s, hf_model *m)
{
    model_config *c = &m->c;
    if (m->same_vocab && m->same_vocab != c->vocab)
        return hf_refuse(s, "vocab_size", "but padded_vocab_size is another number");
    if (hf_get(s, "pre_seq_len"))
        return hf_refuse(s, "pre_seq_len", "and a prefix of its own is not supported");
    if (!m->grouped) c->kv_heads = c->heads;
    TRY(derive(s, m, "num_attention_heads", "multi_query_group_num"));
    c->bias = (biases){.qkv = m->qkv_bias || m->linear_bias,
                       .project = m->linear_bias,
                       .up = m->linear_bias,
                       .down = m->linear_bias};
    c->rotary = (rotary_form){.size = c->head_size / 2, .base = 10000, .interleaved = true};
    if (c->rotary.size < 2 || c->rotary.size % 2)
        return hf_refuse(s, "kv_channels", "but half of a head is turned in pairs");
    return NULL;
}

static void encode_chatglm(hf_model *m)
{
    m->qkv_bias = m->c.bias.qkv;
    m->linear_bias = m->c.bias.up;
    m->grouped = m->c.kv_heads != m->c.heads;
    m->same_vocab = m->c.vocab;
}

/* ---- the table ---- */

/* model_type, class, options of its blocks, fields, those that are harmless, decode, encode */
#define FAMILY(type, class, options, name, ...)                                                    \
    {                                                                                              \
        type, class, {options##_OPTIONS}, name##_fields, sizeof name##_fields / sizeof(hf_field),  \
            __VA_ARGS__                                                                            \
    }

const hf_family hf_families[] = {
    FAMILY("gpt2", "GPT2LMHeadModel", GPT2, gpt2, gpt2_harmless, decode_gpt2, NULL),
    FAMILY("llama", "LlamaForCausalLM", LLAMA, llama, NULL, decode_llama, encode_llama),
    FAMILY("qwen2", "Qwen2ForCausalLM", QWEN2, qwen2, qwen_windows, decode_qwen2, NULL),
    FAMILY("qwen3", "Qwen3ForCausalLM", QWEN3, qwen3, qwen_windows, decode_llama, encode_llama),
    FAMILY("mistral", "MistralForCausalLM", LLAMA, mistral, NULL, decode_windows, encode_llama),
    FAMILY("smollm3", "SmolLM3ForCausalLM", SMOLLM3, smollm3, qwen_windows, decode_smollm3,
           encode_llama),
    FAMILY("olmo2", "Olmo2ForCausalLM", OLMO2, olmo2, NULL, decode_llama, encode_llama),
    FAMILY("phi3", "Phi3ForCausalLM", PHI3, phi3, NULL, decode_phi3, encode_phi3),
    FAMILY("gpt_neox", "GPTNeoXForCausalLM", NEOX, neox, NULL, decode_neox, encode_neox),
    FAMILY("gemma", "GemmaForCausalLM", GEMMA, gemma, NULL, decode_gemma, encode_llama),
    FAMILY("gemma2", "Gemma2ForCausalLM", GEMMA2, gemma2, NULL, decode_gemma2, encode_gemma2),
    FAMILY("gemma3_text", "Gemma3ForCausalLM", GEMMA3, gemma3, gemma3_harmless, decode_gemma3,
           encode_gemma2),
    FAMILY("bloom", "BloomForCausalLM", BLOOM, bloom, bloom_harmless, decode_bloom, NULL),
    FAMILY("phi", "PhiForCausalLM", PHI, phi, NULL, decode_phi, hf_encode_rotary),
    FAMILY("falcon", "FalconForCausalLM", FALCON, falcon, NULL, decode_falcon, encode_falcon),
    FAMILY("chatglm", "ChatGLMModel", CHATGLM, chatglm, chatglm_harmless, decode_chatglm,
           encode_chatglm),
    FAMILY("qwen", "QWenLMHeadModel", QWEN, qwen, qwen_harmless, decode_qwen, encode_qwen),
};

const int hf_n_families = sizeof hf_families / sizeof *hf_families;
