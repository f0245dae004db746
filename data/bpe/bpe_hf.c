/* bpe_hf.c - writes the files of a Hugging Face tokenizer
 *
 *     tokenizer.json          everything, for the fast tokenizers and for bpe_open
 *     vocab.json, merges.txt  GPT-2's own two files; for GPT-2's vocabulary, byte for byte as
 *                             published (encoder.json, vocab.bpe)
 *     tokenizer_config.json   which class reads them
 *
 * All text is ASCII: other characters are written as \uXXXX.
 */
#include "data/bpe/bpe_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "data/bpe/byte_chars.h"
#include "data/bpe/ranks_known.h"
#include "data/bpe/spellings.h"
#include "base/utf8.h"

/* ---- texts ---- */

static void write_unit(uint32_t unit, FILE *to)
{
    if (unit == '"' || unit == '\\')
        fprintf(to, "\\%c", (char)unit);
    else if (unit >= ' ' && unit < 0x7f)
        fputc((int)unit, to);
    else
        fprintf(to, "\\u%04" PRIx32, unit);
}

/* A character in a JSON string; above U+FFFF it needs a surrogate pair. */
static void write_char(uint32_t c, FILE *to)
{
    if (c <= 0xFFFF) {
        write_unit(c, to);
        return;
    }
    write_unit(0xD800 + ((c - 0x10000) >> 10), to);
    write_unit(0xDC00 + ((c - 0x10000) & 0x3FF), to);
}

/* UTF-8 as a JSON string. */
static void write_text(const uint8_t *text, size_t n, FILE *to)
{
    fputc('"', to);
    for (size_t at = 0, length; at < n; at += length) {
        length = utf8_length(text + at, n - at);
        if (length == 0) length = 1; /* impossible: such texts come from JSON */
        write_char(utf8_decode(text + at, length), to);
    }
    fputc('"', to);
}

/* The characters for a token's bytes, inside a JSON string. */
static void write_chars(const bpe *v, int32_t id, FILE *to)
{
    size_t n;
    const uint8_t *bytes = bpe_token(v, id, &n);
    for (size_t i = 0; i < n; i++)
        write_char(byte_to_char(bytes[i]), to);
}

/* A token's spelling in model.vocab: special ones unchanged, others in characters for bytes. */
static void write_key(const bpe *v, int32_t id, FILE *to)
{
    if (bpe_is_special(v, id)) {
        size_t n;
        const uint8_t *bytes = bpe_token(v, id, &n);
        write_text(bytes, n, to);
        return;
    }
    fputc('"', to);
    write_chars(v, id, to);
    fputc('"', to);
}

/* ---- the parts of tokenizer.json ---- */

static void write_vocab(const bpe *v, FILE *to)
{
    fputc('{', to);
    for (int32_t id = 0; id < v->size; id++) {
        if (v->start[id] == v->start[id + 1]) continue; /* an id that is no token */
        if (id > 0) fputs(", ", to);
        write_key(v, id, to);
        fprintf(to, ": %" PRId32, id);
    }
    fputc('}', to);
}

/* The two tokens in UTF-8, as in merges.txt. */
static void write_merge(const bpe *v, bpe_merge m, bool first, FILE *to)
{
    (void)first;
    const uint32_t ids[] = {m.left, m.right};
    for (int k = 0; k < 2; k++) {
        size_t n;
        const uint8_t *bytes = bpe_token(v, (int32_t)ids[k], &n);
        if (k > 0) fputc(' ', to);
        for (size_t i = 0; i < n; i++) {
            uint32_t c = byte_to_char(bytes[i]);
            if (c >= 0x80) fputc((int)(0xC0 | c >> 6), to);
            fputc((int)(c >= 0x80 ? 0x80 | (c & 0x3F) : c), to);
        }
    }
    fputc('\n', to);
}

/* Called for every merge, in order. */
typedef void merge_writer(const bpe *v, bpe_merge m, bool first, FILE *to);

static int by_ids(const void *a, const void *b)
{
    const bpe_merge *x = a, *y = b;
    return x->left != y->left ? (x->left > y->left) - (x->left < y->left)
                              : (x->right > y->right) - (x->right < y->right);
}

/* For vocabularies where any two tokens join that spell a third: all such merges, each token's in
 * order of the parts. */
static void all_joins(const bpe *v, merge_writer *write, FILE *to)
{
    bpe_merge list[BPE_MAX_TOKEN];
    bool first = true;
    for (int32_t id = 0; id < v->size; id++) {
        size_t length, n = 0;
        const uint8_t *bytes = bpe_token(v, id, &length);
        for (size_t k = 1; k < length && !bpe_is_special(v, id); k++) {
            int32_t left = spellings_find(v->words, bytes, k);
            int32_t right = spellings_find(v->words, bytes + k, length - k);
            if (left >= 0 && right >= 0) list[n++] = (bpe_merge){(uint32_t)left, (uint32_t)right};
        }
        qsort(list, n, sizeof *list, by_ids);
        for (size_t k = 0; k < n; k++, first = false)
            write(v, list[k], first, to);
    }
}

static void each_merge(const bpe *v, merge_writer *write, FILE *to)
{
    if (v->joins_all) {
        all_joins(v, write, to);
        return;
    }
    for (int32_t i = 0; i < v->n_merges; i++)
        write(v, v->merges[i], i == 0, to);
}

/* "left right", which every version of the format accepts. */
static void write_merge_json(const bpe *v, bpe_merge m, bool first, FILE *to)
{
    fputs(first ? "\"" : ", \"", to);
    write_chars(v, (int32_t)m.left, to);
    fputc(' ', to);
    write_chars(v, (int32_t)m.right, to);
    fputc('"', to);
}

static void write_merges_json(const bpe *v, FILE *to)
{
    fputc('[', to);
    each_merge(v, write_merge_json, to);
    fputc(']', to);
}

static void write_added(const bpe *v, FILE *to)
{
    fputc('[', to);
    for (int32_t i = 0; i < v->n_special; i++) {
        int32_t id = v->special[i].id;
        fprintf(to, "%s\n    {\"id\": %" PRId32 ", \"content\": ", i ? "," : "", id);
        write_key(v, id, to);
        fputs(", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": "
              "false, \"special\": true}",
              to);
    }
    fputc(']', to);
}

/* ? The expression for pre-tokenization. */
static const char *expression_of(const bpe *v)
{
    return v->n_steps ? pattern_expression(v->step[0].cut) : NULL;
}

static bool cuts_like_gpt2(const bpe *v)
{
    return v->n_steps && strcmp(expression_of(v), PATTERN_GPT2) == 0;
}

bool bpe_is_for_qwen2(const bpe *v)
{
    bool has_end = false;
    for (int32_t i = 0; i < v->n_special; i++) {
        const bpe_special_token *s = &v->special[i];
        has_end |= s->n == strlen(BPE_END_OF_TEXT) && !memcmp(s->content, BPE_END_OF_TEXT, s->n);
    }
    return has_end && v->compose && !v->metaspace && (!v->ignore_merges || v->joins_all) &&
           v->n_steps == 1 && v->step[0].cut &&
           strcmp(expression_of(v), ranks_qwen_expression) == 0;
}

static void write_cutting(const bpe *v, FILE *to)
{
    static const char byte_level[] = "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                                     "\"trim_offsets\": true, \"use_regex\": ";
    if (cuts_like_gpt2(v)) {
        fprintf(to, "%strue}", byte_level);
        return;
    }
    const char *expression = v->n_steps ? expression_of(v) : bpe_chunk_expression;
    fputs("{\"type\": \"Sequence\", \"pretokenizers\": [\n"
          "    {\"type\": \"Split\", \"pattern\": {\"Regex\": ",
          to);
    write_text((const uint8_t *)expression, strlen(expression), to);
    fprintf(to, "}, \"behavior\": \"Isolated\", \"invert\": false},\n    %sfalse}]}", byte_level);
}

void bpe_write_json(const bpe *v, FILE *to)
{
    fputs("{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n"
          "  \"added_tokens\": ",
          to);
    write_added(v, to);
    fprintf(to, ",\n  \"normalizer\": %s,\n  \"pre_tokenizer\": ",
            v->compose ? "{\"type\": \"NFC\"}" : "null");
    write_cutting(v, to);
    fputs(",\n  \"post_processor\": null,\n  \"decoder\": {\"type\": \"ByteLevel\", "
          "\"add_prefix_space\": true, \"trim_offsets\": true, \"use_regex\": true},\n"
          "  \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, "
          "\"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, "
          "\"fuse_unk\": false, \"byte_fallback\": false, ",
          to);
    fprintf(to, "\"ignore_merges\": %s,\n    \"vocab\": ", v->joins_all ? "true" : "false");
    write_vocab(v, to);
    fputs(",\n    \"merges\": ", to);
    write_merges_json(v, to);
    fputs("}\n}\n", to);
}

/* ---- the other files ---- */

static void write_merges_txt(const bpe *v, FILE *to)
{
    fputs("#version: 0.2\n", to);
    each_merge(v, write_merge, to);
}

/* GPT-2's class has a built-in rule; other classes must use the one in tokenizer.json. */
static void write_config(const bpe *v, FILE *to)
{
    static const char *const names[] = {"bos_token", "eos_token", "unk_token"};
    bool gpt2 = !v->source && cuts_like_gpt2(v);
    fputs("{\n  \"add_prefix_space\": false,\n", to);
    for (size_t i = 0; v->end_of_text >= 0 && i < sizeof names / sizeof *names; i++) {
        bool begins = i == 0 && v->begin_of_text >= 0;
        if (v->source && i != 1 && !begins) continue;
        fprintf(to, "  \"%s\": ", names[i]);
        write_key(v, begins ? v->begin_of_text : v->end_of_text, to);
        fputs(",\n", to);
    }
    fprintf(to, "  \"clean_up_tokenization_spaces\": false,\n  \"tokenizer_class\": \"%s\"\n}\n",
            gpt2 ? "GPT2Tokenizer" : "PreTrainedTokenizerFast");
}

/* Does a special token have the same key as an ordinary one? */
static error *check_special(const spellings *s, const bpe *v, int32_t id)
{
    char text[BPE_MAX_TOKEN + 1], shown[64];
    uint8_t bytes[BPE_MAX_TOKEN];
    size_t n;
    if (!bpe_is_special(v, id)) return NULL;
    const uint8_t *content = bpe_token(v, id, &n);
    memcpy(text, content, n);
    text[n] = 0;
    int32_t other = bytes_of_chars(text, bytes, &n) ? spellings_find(s, bytes, n) : -1;
    if (other < 0) return NULL;
    return user_error("tokens %" PRId32 " and %" PRId32 " are spelled alike (%s)", other, id,
                      bpe_show(bytes, n, shown));
}

error *bpe_check_keys(const bpe *v)
{
    spellings s;
    error *e = spellings_make(&s, v);
    for (int32_t i = 0; i < v->n_special && !e; i++)
        e = check_special(&s, v, v->special[i].id);
    spellings_free(&s);
    return e;
}

static error *check_writable(const bpe *v)
{
    return error_context(bpe_check_keys(v), "the vocabulary cannot be written as tokenizer.json");
}

/* Writes the file that was read, which is complete. */
static void write_tokenizer(const bpe *v, FILE *to)
{
    if (v->source)
        fwrite(v->source, 1, v->n_source, to);
    else
        bpe_write_json(v, to);
}

error *bpe_write_hf(const bpe *v, const char *dir)
{
    static const struct {
        const char *name;
        void (*write)(const bpe *, FILE *);
        bool parts; /* repeats what is in tokenizer.json */
    } files[] = {{"vocab.json", write_vocab, true},
                 {"merges.txt", write_merges_txt, true},
                 {"tokenizer_config.json", write_config, false},
                 {"tokenizer.json", write_tokenizer, false}};
    if (v->source && v->format != BPE_JSON)
        return user_error(
            "a SentencePiece model or a tekken.json cannot be expressed as tokenizer.json: copy "
            "the file itself, which transformers and mistral-common read");
    if (!v->source) TRY(check_writable(v));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *path;
        if (v->source && files[i].parts) continue;
        if (asprintf(&path, "%s/%s", dir, files[i].name) < 0)
            return user_error("out of memory: no room for the name '%s'", files[i].name);
        error *e = bpe_write_file(v, path, files[i].write);
        free(path);
        TRY(e);
    }
    return NULL;
}
