/* bpe_json_rules.c - the rules of a tokenizer.json: how text is normalized and pre-tokenized.
 *
 * Every kind that can change ids is supported or refused by name:
 *
 *     normalizer       NFC, Prepend U+2581, Replace " " by U+2581, Sequence
 *     pre_tokenizer    Split (Isolated), ByteLevel, Digits, Punctuation, Metaspace, Sequence
 *     post_processor   ByteLevel, TemplateProcessing of at most one token in front, Sequence
 *     decoder          ByteLevel; with metaspace any
 *
 * Prepend adds a space before every text between added tokens, even before one that starts with a
 * space; Metaspace does so only if there is none, with "first" only at the very beginning.
 */
#include "data/bpe/bpe_json_internal.h"

#include <stdlib.h>
#include <string.h>

#include "data/bpe/onig.h"

static const char meta[] = BPE_META;

/* The members of a Sequence, or the item itself. */
static const cJSON *first_of(const cJSON *item, const char *list)
{
    if (!json_is(json_get(item, "type"), "Sequence")) return item;
    const cJSON *members = json_get(item, list);
    return members ? members->child : NULL;
}

static const cJSON *next_of(const cJSON *container, const cJSON *item)
{
    return item == container ? NULL : item->next;
}

/* ---- the normalizer ---- */

/* {"type":"Replace", "pattern":{"String":FROM}, "content":TO} */
static bool replaces(const cJSON *item, const char *from, const char *to)
{
    return json_is(json_get(item, "type"), "Replace") &&
           json_is(json_get(json_get(item, "pattern"), "String"), from) &&
           json_is(json_get(item, "content"), to);
}

static error *read_normalizer(bpe *v, const cJSON *normalizer)
{
    if (json_is_null(normalizer)) return NULL;
    const cJSON *item = first_of(normalizer, "normalizers");
    for (; item; item = next_of(normalizer, item)) {
        const cJSON *type = json_get(item, "type");
        bool prepend = json_is(type, "Prepend") && json_is(json_get(item, "prepend"), meta);
        if (json_is(type, "NFC"))
            v->compose = true;
        else if (prepend && v->space == SPACE_NEVER && !v->metaspace)
            v->space = SPACE_EACH;
        else if (replaces(item, " ", meta))
            v->metaspace = v->replaces = true;
        else
            return json_refused("normalizer", item);
    }
    if (v->space == SPACE_EACH && !v->metaspace) return json_refused("normalizer", normalizer);
    return NULL;
}

/* ---- the pre-tokenizer ---- */

static error *add_step(bpe *v, const char *expression)
{
    if (v->n_steps == BPE_STEPS)
        return user_error("pre_tokenizer: more than %d steps: use another tokenizer", BPE_STEPS);
    bpe_step *step = &v->step[v->n_steps++];
    step->cut = NULL;
    if (!expression) return NULL;
    TRY(pattern_compile(expression, &step->cut));
    if (!pattern_can_be_empty(step->cut)) return NULL;
    return user_error(
        "pre_tokenizer: the regular expression '%.100s' can match nothing, by which its "
        "library cuts between characters: that is not supported",
        expression);
}

static error *read_split(bpe *v, const cJSON *step)
{
    const cJSON *wanted = json_get(step, "pattern"), *regex = json_get(wanted, "Regex");
    const cJSON *string = json_get(wanted, "String");
    char *expression;
    if (!json_is(json_get(step, "behavior"), "Isolated"))
        return json_refused("pre_tokenizer.behavior", json_get(step, "behavior"));
    TRY(json_must_be_off(step, "invert", "pre_tokenizer"));
    if (!cJSON_IsString(regex) && (!cJSON_IsString(string) || !*string->valuestring))
        return user_error("pre_tokenizer: Split by neither a Regex nor a String");
    if (!cJSON_IsString(regex))
        TRY(onig_literal(string->valuestring, &expression));
    else
        TRY(onig_translate(regex->valuestring, &expression));
    error *e = add_step(v, expression);
    free(expression);
    return e;
}

/* Its own expression, then the bytes as characters, which further steps see. */
static error *read_byte_level(bpe *v, const cJSON *step, bool more, bool *mapped)
{
    if (*mapped) return json_refused("pre_tokenizer after ByteLevel", step);
    TRY(json_must_be_off(step, "add_prefix_space", "pre_tokenizer"));
    if (!cJSON_IsFalse(json_get(step, "use_regex"))) TRY(add_step(v, PATTERN_GPT2));
    *mapped = true;
    return more ? add_step(v, NULL) : NULL;
}

static error *read_metaspace(bpe *v, const cJSON *step)
{
    const cJSON *scheme = json_get(step, "prepend_scheme");
    bool old = !scheme && !cJSON_IsFalse(json_get(step, "add_prefix_space"));
    if (!json_is(json_get(step, "replacement"), meta) || v->space != SPACE_NEVER || v->n_steps)
        return json_refused("pre_tokenizer", step);
    v->metaspace = true;
    v->cut_at_spaces = !cJSON_IsFalse(json_get(step, "split"));
    if (old || json_is(scheme, "always"))
        v->space = SPACE_ALWAYS;
    else if (json_is(scheme, "first"))
        v->space = SPACE_FIRST;
    else if (scheme && !json_is(scheme, "never"))
        return json_refused("pre_tokenizer.prepend_scheme", scheme);
    return NULL;
}

static error *read_step(bpe *v, const cJSON *step, bool more, bool *mapped)
{
    static const char punctuation[] = "[\\p{P}$+<=>^`|~]"; /* Unicode's, and all of ASCII's */
    const cJSON *type = json_get(step, "type"), *behavior = json_get(step, "behavior");
    if (json_is(type, "ByteLevel")) return read_byte_level(v, step, more, mapped);
    if (json_is(type, "Split")) return read_split(v, step);
    if (json_is(type, "Digits"))
        return add_step(v,
                        cJSON_IsTrue(json_get(step, "individual_digits")) ? "\\p{N}" : "\\p{N}+");
    if (json_is(type, "Punctuation") && (!behavior || json_is(behavior, "Isolated")))
        return add_step(v, punctuation);
    if (json_is(type, "Punctuation") && json_is(behavior, "Contiguous"))
        return add_step(v, "[\\p{P}$+<=>^`|~]+");
    return json_refused("pre_tokenizer", step);
}

static bool is_metaspace(const cJSON *pre)
{
    return json_is(json_get(pre, "type"), "Metaspace");
}

/* Cutting at spaces, of which the normalizer has left none. */
static bool cuts_nothing(const cJSON *pre)
{
    return json_is_null(pre) || (json_is(json_get(pre, "type"), "Split") &&
                                 json_is(json_get(json_get(pre, "pattern"), "String"), " "));
}

/* As bpe_write_json writes it. */
static bool is_our_rule(const cJSON *step)
{
    const cJSON *next = step ? step->next : NULL;
    return next && !next->next && json_is(json_get(step, "type"), "Split") &&
           json_is(json_get(json_get(step, "pattern"), "Regex"), bpe_chunk_expression) &&
           json_is(json_get(step, "behavior"), "Isolated") &&
           !cJSON_IsTrue(json_get(step, "invert")) &&
           json_is(json_get(next, "type"), "ByteLevel") &&
           cJSON_IsFalse(json_get(next, "use_regex")) &&
           !cJSON_IsTrue(json_get(next, "add_prefix_space"));
}

static error *read_steps(bpe *v, const cJSON *pre)
{
    const cJSON *step = first_of(pre, "pretokenizers");
    bool mapped = false;
    if (json_is_null(pre))
        return user_error(
            "pre_tokenizer: there is none, and one with ByteLevel is needed: use another "
            "tokenizer");
    if (step != pre && is_our_rule(step)) return NULL; /* needs no engine */
    for (; step; step = next_of(pre, step))
        TRY(read_step(v, step, next_of(pre, step) != NULL, &mapped));
    if (!mapped)
        return user_error(
            "pre_tokenizer: one without ByteLevel is not supported: use another tokenizer");
    if (v->n_steps) return NULL;
    return user_error(
        "pre_tokenizer: one that cuts nothing (no expression) is not supported: use another "
        "tokenizer");
}

/* ---- the post-processor ---- */

/* [<s>,] text */
static error *read_template(bpe *v, const cJSON *post)
{
    const cJSON *first = json_get(post, "single"), *special = NULL, *ids;
    if (!first || !first->child) return json_refused("post_processor", post);
    first = first->child;
    if ((special = json_get(first, "SpecialToken"))) first = first->next;
    if (!json_get(first, "Sequence") || first->next) return json_refused("post_processor", post);
    if (!special) return NULL;
    const char *name = json_string(special, "id");
    ids = name ? json_get(json_get(json_get(post, "special_tokens"), name), "ids") : NULL;
    int32_t id = ids && ids->child && cJSON_IsNumber(ids->child) ? ids->child->valueint : -1;
    if (id < 0 || id >= BPE_MAX_SIZE || ids->child->next)
        return json_refused("post_processor", post);
    v->begin_of_text = id;
    return NULL;
}

static error *read_post(bpe *v, const cJSON *post)
{
    if (json_is_null(post)) return NULL;
    const cJSON *item = first_of(post, "processors");
    for (; item; item = next_of(post, item)) {
        if (json_is(json_get(item, "type"), "ByteLevel")) continue;
        if (!json_is(json_get(item, "type"), "TemplateProcessing"))
            return json_refused("post_processor", item);
        TRY(read_template(v, item));
    }
    return NULL;
}

/* ---- all ---- */

error *bpe_json_rules(bpe *v, const cJSON *root)
{
    const cJSON *pre = json_get(root, "pre_tokenizer"), *decoder = json_get(root, "decoder");
    TRY(read_normalizer(v, json_get(root, "normalizer")));
    TRY(read_post(v, json_get(root, "post_processor")));
    if (is_metaspace(pre)) return read_metaspace(v, pre);
    if (v->metaspace) return cuts_nothing(pre) ? NULL : json_refused("pre_tokenizer", pre);
    if (cJSON_IsTrue(json_get(json_get(root, "model"), "byte_fallback")) ||
        json_is(json_get(json_get(root, "model"), "type"), "Unigram"))
        return json_refused("normalizer", json_get(root, "normalizer"));
    TRY(read_steps(v, pre));
    return json_is(json_get(decoder, "type"), "ByteLevel") ? NULL
                                                           : json_refused("decoder", decoder);
}
