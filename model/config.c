/* config.c - see config.h */
#include "model/families.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

/* ---- the table ---- */

#define ROW(id_, type_, member_, least_, most_, before_, json_, other_)                            \
    [MODEL_##id_] = {                                                                              \
        .name = #id_,                                                                              \
        .type = FIELD_##type_,                                                                     \
        .at = offsetof(model_config, member_),                                                     \
        .least = least_,                                                                           \
        .most = most_,                                                                             \
        .before = before_,                                                                         \
        .json = json_,                                                                             \
        .other = other_,                                                                           \
    },

const model_field model_fields[MODEL_FIELD_COUNT] = {MODEL_FIELDS(ROW)};

static int bits_of(const biases *b)
{
    return b->norms | b->qkv << 1 | b->project << 2 | b->up << 3 | b->down << 4 | b->head << 5;
}

double config_value(const model_config *c, const model_field *field)
{
    const void *at = (const char *)c + field->at;
    switch (field->type) {
    case FIELD_SIZE:
        return (double)*(const int64_t *)at;
    case FIELD_FLAG:
        return *(const bool *)at;
    case FIELD_CHOICE:
        return *(const unsigned *)at;
    case FIELD_BIASES:
        return bits_of(at);
    default:
        return *(const double *)at;
    }
}

const model_field *config_difference(const model_config *a, const model_config *b)
{
    for (int i = 0; i < MODEL_FIELD_COUNT; i++)
        if (config_value(a, &model_fields[i]) != config_value(b, &model_fields[i]))
            return &model_fields[i];
    return NULL;
}

/* c: ? NULL for the values that older checkpoints imply */
static cJSON *json_of(const model_config *c)
{
    cJSON *object = cJSON_CreateObject();
    for (int i = 0; i < MODEL_FIELD_COUNT && object; i++) {
        const model_field *f = &model_fields[i];
        double value = c ? config_value(c, f) : f->before;
        if (isnan(value) || cJSON_AddNumberToObject(object, f->name, value)) continue;
        cJSON_Delete(object);
        object = NULL;
    }
    return object;
}

cJSON *config_json(const model_config *c)
{
    return json_of(c);
}

static void set_value(model_config *c, const model_field *field, double value)
{
    void *at = (char *)c + field->at;
    int bits = (int)value;
    switch (field->type) {
    case FIELD_SIZE:
        *(int64_t *)at = (int64_t)value;
        return;
    case FIELD_FLAG:
        *(bool *)at = value != 0;
        return;
    case FIELD_CHOICE:
        *(unsigned *)at = (unsigned)value;
        return;
    case FIELD_BIASES:
        *(biases *)at = (biases){bits & 1, bits & 2, bits & 4, bits & 8, bits & 16, bits & 32};
        return;
    default:
        *(double *)at = value;
    }
}

error *config_from_json(const char *path, const cJSON *json, model_config *c)
{
    for (int i = 0; i < MODEL_FIELD_COUNT; i++) {
        const model_field *f = &model_fields[i];
        const cJSON *item = json_get(json, f->name);
        double value = cJSON_IsNumber(item) ? item->valuedouble : NAN;
        if (!item) continue;
        if (!(fabs(value) <= 2e9)) return user_error("%s: %s is not a number", path, f->name);
        bool fine = value >= f->least && value <= f->most;
        if (!fine && f->at != offsetof(model_config, rotary.base))
            return user_error("%s: %s is %g: must be between %g and %g", path, f->name, value,
                              f->least, f->most);
        set_value(c, f, value);
    }
    return NULL;
}

cJSON *config_json_before(void)
{
    return json_of(NULL);
}

/* ---- sizes ---- */

static int64_t scaled(int64_t of, int64_t from, int64_t to)
{
    return (of * to + from / 2) / from;
}

model_config config_resized(const model_config *from, const model_config *sizes)
{
    model_config c = *from;
    if (sizes->layers) c.layers = sizes->layers;
    if (sizes->context) c.context = sizes->context;
    if (sizes->vocab) c.vocab = sizes->vocab;
    if (!sizes->heads && !sizes->width) return c;
    if (sizes->heads) c.heads = sizes->heads;
    if (sizes->width) c.width = sizes->width;
    c.kv_heads = from->kv_heads == from->heads ? c.heads : from->kv_heads;
    int64_t all = from->heads * from->head_size; /* the width, unless head_size is set on its own */
    c.head_size = all == from->width ? c.width / c.heads
                                     : (scaled(all, from->width, c.width) / c.heads + 1) / 2 * 2;
    c.inner = scaled(from->inner, from->width, c.width);
    c.rotary.size = scaled(from->rotary.size, from->head_size, c.head_size) / 2 * 2;
    if (from->embedding_scale != 1) c.embedding_scale = sqrt((double)c.width);
    /* config.json has it as an integer */
    c.query_scalar = ceil(from->query_scalar * (double)c.head_size / (double)from->head_size);
    return c;
}

/* Of a network of 3 x 3 convolutions: two in each block; the first of a stage reads what the stage
 * before has, as does its shortcut. */
static double resnet_parameters(const model_config *c)
{
    enum { TAPS = 9 };
    double in = RESNET_STEM, width = (double)c->width, sum = TAPS * in * (double)c->channels;
    for (int i = 0; i < CONV_STAGES - 1; i++, in = width, width *= 2)
        sum += width * (TAPS * (in + width * (2 * (double)c->stage[i] - 1)) + in);
    return sum + in * (double)c->vocab;
}

/* For a convolutional network: its linear layers. */
static double convnext_parameters(const model_config *c)
{
    double sum = 0, width = (double)c->width;
    for (int i = 0; i < CONV_STAGES; i++, width *= 2)
        sum += width * width * (8 * (double)c->stage[i] + (i ? 2 : 0));
    return sum + width / 2 * (double)c->vocab;
}

double config_parameters(const model_config *c)
{
    if (is_residual_network(c)) return resnet_parameters(c);
    if (c->stage[0]) return convnext_parameters(c);
    double width = (double)c->width, heads = (double)c->heads + (double)c->kv_heads;
    double attention = 2 * heads * (double)c->head_size,
           mlp = (c->gated ? 3 : 2) * (double)c->inner;
    double rows = (double)c->vocab * (c->tied || c->patch ? 1 : 2);
    if (c->positions == POSITIONS_LEARNED) rows += (double)c->context;
    return width * (rows + (double)c->layers * (attention + mlp));
}

int64_t classifier_rows(const model_config *c, int64_t most_mib, int64_t rows, dtype type,
                        int64_t *ld)
{
    enum { MIB = 1 << 20, ROWS_OF_MIB = 16, ALIGN = 16 };
    *ld = (c->vocab + ALIGN - 1) / ALIGN * ALIGN;
    int64_t fit = most_mib * MIB / (*ld * (int64_t)dtype_size(type));
    if (fit > most_mib * ROWS_OF_MIB) fit = most_mib * ROWS_OF_MIB;
    if (fit < 1) fit = 1;
    int64_t chunks = (rows + fit - 1) / fit;
    return (rows + chunks - 1) / chunks;
}

/* ---- checks ---- */

static error *check_limits(const model_config *c, const model_field *f)
{
    double value = config_value(c, f);
    bool rotary = f->at == offsetof(model_config, rotary.base);
    if (rotary && c->positions != POSITIONS_ROTARY) return NULL;
    bool fine = f->type == FIELD_EPSILON ? value > f->least && value < f->most
                                         : value >= f->least && value <= f->most;
    if (fine) return NULL;
    if (f->type == FIELD_SIZE)
        return user_error("--%s %.0f: must be between %.0f and %.0f", f->name, value, f->least,
                          f->most);
    return user_error("model %s: %s is %g: must be between %g and %g", c->name, f->name, value,
                      f->least, f->most);
}

/* Constraints between fields. */
static error *check_relations(const model_config *c)
{
    const struct {
        bool fine;
        const char *rule;
    } rules[] = {
        {c->heads % c->kv_heads == 0, "the key heads must divide the heads"},
        {c->norm != NORM_RMS || !c->bias.norms, "an RMSNorm cannot have a bias"},
        {(c->norm >= NORM_BATCH) == is_residual_network(c),
         "BatchNorm and GroupNorm belong to residual networks, and these to them"},
        {c->norm == NORM_RMS || !c->norm_plus_one, "only an RMSNorm can multiply by 1 + w"},
        {c->positions != POSITIONS_ROTARY || (c->rotary.size >= 2 && c->rotary.size % 2 == 0 &&
                                              c->rotary.size <= c->head_size && c->rotary.base > 0),
         "the rotated part of a head must be even and its base positive"},
        {c->rotary.scaling.high <= 0 ||
             (c->rotary.scaling.low < c->rotary.scaling.high && c->rotary.scaling.low > 0 &&
              c->rotary.scaling.context > 0),
         "RoPE scaling by wavelength needs 0 < low < high and a context"},
        {!norms_after(c) || (c->norm == NORM_RMS && c->residual == RESIDUAL_SEQUENTIAL),
         "norms after the branches are RMSNorms, of one branch after the other"},
        {c->positions != POSITIONS_ALIBI || c->causal, "ALiBi needs causal attention"},
        {!c->window || c->causal, "windows need causal attention"},
        {!c->tied || !c->bias.head, "a tied head cannot have a bias"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (!rules[i].fine)
            return user_error("model %s: invalid configuration: %s", c->name, rules[i].rule);
    return NULL;
}

error *config_check(const model_config *c)
{
    if (c->heads >= 1 && c->width % c->heads && c->head_size == c->width / c->heads)
        return user_error("--heads %lld does not divide --width %lld: choose a width that is a "
                          "multiple of the heads",
                          (long long)c->heads, (long long)c->width);
    for (int i = 0; i < MODEL_FIELD_COUNT; i++)
        TRY(check_limits(c, &model_fields[i]));
    return check_relations(c);
}

/* ---- images ---- */

error *image_config(model_config *c)
{
    if (is_residual_network(c)) return resnet_config(c);
    return c->stage[0] ? convnext_config(c) : vit_config(c);
}

static error *check_stages(model_config *c, int stages)
{
    c->layers = 0;
    for (int i = 0; i < stages; i++) {
        if (c->stage[i] < 1 || c->stage[i] > 1000)
            return user_error("model %s: stage %d has %lld blocks: must be between 1 and 1000",
                              c->name, i + 1, (long long)c->stage[i]);
        c->layers += c->stage[i];
    }
    return NULL;
}

/* What a network of convolutions has of a transformer's options. */
static error *finish_convolutions(model_config *c, activation act)
{
    c->heads = c->kv_heads = 1;
    c->head_size = c->width;
    c->act = act;
    c->bias = (biases)BLOCK_BIASES;
    c->embedding_scale = 1;
    c->names = &vit_names;
    c->mean_pool = true;
    c->tied = c->causal = false;
    return config_check(c);
}

static error *check_patches(const model_config *c)
{
    if (c->image_height % c->patch == 0 && c->image_width % c->patch == 0) return NULL;
    return user_error("--patch %lld does not divide the images' %lld x %lld pixels: choose another "
                      "--patch or --image-size",
                      (long long)c->patch, (long long)c->image_height, (long long)c->image_width);
}

error *resnet_config(model_config *c)
{
    enum { LEAST = 4, MOST = 1 << 14 };
    TRY(check_stages(c, CONV_STAGES - 1));
    if (c->image_height > MOST || c->image_width > MOST || c->image_height < LEAST ||
        c->image_width < LEAST)
        return user_error("--image-size %lldx%lld: must be from %d (the stages halve it) to %d",
                          (long long)c->image_height, (long long)c->image_width, LEAST, MOST);
    if (c->patch != 1)
        return user_error("--patch %lld: the model reads pixel by pixel: leave it out",
                          (long long)c->patch);
    c->context = c->image_height * c->image_width;
    c->inner = c->width;
    c->norm_eps = 1e-5;
    return finish_convolutions(c, ACT_GELU_ERF); /* its activation is ReLU, whatever act says */
}

error *convnext_config(model_config *c)
{
    enum { MOST = 1 << 14 };
    TRY(check_stages(c, CONV_STAGES));
    int64_t least = c->patch << (CONV_STAGES - 1);
    if (c->patch < 1 || c->patch > MOST || c->image_height > MOST || c->image_width > MOST ||
        c->image_height < least || c->image_width < least)
        return user_error("--image-size %lldx%lld: must be from %lld (the stages halve it) to %d",
                          (long long)c->image_height, (long long)c->image_width, (long long)least,
                          MOST);
    TRY(check_patches(c));
    c->context = patch_count(c);
    c->inner = 4 * c->width;
    activation act = c->norm_eps > 0 ? c->act : ACT_GELU_ERF;
    if (!(c->norm_eps > 0)) c->norm_eps = 1e-6;
    return finish_convolutions(c, act);
}

error *vit_config(model_config *c)
{
    enum { MOST = 1 << 14 };
    if (c->patch < 1 || c->image_height < 1 || c->image_width < 1 || c->image_height > MOST ||
        c->image_width > MOST)
        return user_error("--image-size %lldx%lld, --patch %lld: each must be from 1 to %d",
                          (long long)c->image_height, (long long)c->image_width,
                          (long long)c->patch, MOST);
    TRY(check_patches(c));
    c->context = patch_count(c) + !c->mean_pool;
    c->kv_heads = c->heads;
    c->head_size = c->heads > 0 ? c->width / c->heads : 0;
    if (!c->inner) c->inner = 4 * c->width;
    if (!(c->norm_eps > 0)) { /* norm, activation and biases are unspecified: as in the paper */
        c->norm_eps = 1e-6;
        c->act = ACT_GELU_ERF;
        c->bias = (biases)BLOCK_BIASES;
    }
    c->embedding_scale = 1;
    c->names = &vit_names;
    c->tied = c->causal = false;
    return config_check(c);
}
