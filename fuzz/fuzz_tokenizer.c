/* fuzz_tokenizer.c - Hugging Face's tokenizer.json: data/bpe/bpe.h */
#include "fuzz/vocabulary.h"

#include <stdio.h>

#define REPLACE "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\u2581\"}"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    return fuzz_vocabulary(bytes, n);
}

/* GPT-2's characters for the bytes, which are themselves where they can be
 * seen, else 256, 257 ... */
static size_t character(char *out, int byte, int *next)
{
    int c = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte != 0xad) ? byte : (*next)++;
    if (c == '"' || c == '\\') return (size_t)sprintf(out, "\\%c", c);
    if (c < 128) return (size_t)sprintf(out, "%c", c);
    return (size_t)sprintf(out, "%c%c", 0xc0 | c >> 6, 0x80 | (c & 63));
}

static void with_merges(const char *vocab, const char *merges)
{
    char text[10000];
    int next = 256;
    size_t used = (size_t)sprintf(
        text, "%s",
        "{\"added_tokens\":[{\"id\":300,\"content\":\"<|endoftext|>\",\"special\":true}],"
        "\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":"
        "false,\"trim_offsets\":true,\"use_regex\":true},\"post_processor\":null,\"decoder\":"
        "{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"dropout\":null,\"vocab\":{");
    for (int byte = 0; byte < 256; byte++) {
        used += (size_t)sprintf(text + used, "%s\"", byte ? "," : "");
        used += character(text + used, byte, &next);
        used += (size_t)sprintf(text + used, "\":%d", byte);
    }
    used += (size_t)sprintf(text + used, "%s},\"merges\":[%s]}}", vocab, merges);
    fuzz_keep(text, used);
}

/* In SentencePiece's manner. */
static void with_byte_tokens(const char *normalizer)
{
    char text[10000];
    size_t used = (size_t)sprintf(
        text, "%s%s%s",
        "{\"added_tokens\":[{\"id\":0,\"content\":\"<s>\",\"special\":true}],\"normalizer\":",
        normalizer,
        ",\"pre_tokenizer\":null,\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["
        "{\"SpecialToken\":{\"id\":\"<s>\"}},{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":"
        "{\"<s>\":{\"ids\":[0]}}},\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"vocab\":{"
        "\"<s>\":0");
    for (int byte = 0; byte < 256; byte++)
        used += (size_t)sprintf(text + used, ",\"<0x%02X>\":%d", (unsigned)byte, byte + 1);
    used += (size_t)sprintf(text + used, "%s",
                            ",\"t\":257,\"h\":258,\"\u2581\":259,\"th\":260,\"\u00e9\":261},"
                            "\"merges\":[\"t h\"]}}");
    fuzz_keep(text, used);
}

/* The kinds that the tests know, around a small vocabulary: some byte tokens, or byte-level's. */
static void with_rules(const char *rules, const char *model)
{
    char text[2000];
    int n = snprintf(
        text, sizeof text,
        "{\"added_tokens\":[{\"id\":9,\"content\":\"<s>\",\"special\":true,\"lstrip\":true},"
        "{\"id\":10,\"content\":\"a\",\"normalized\":true,\"single_word\":true,\"rstrip\":true}],"
        "%s,\"model\":%s}",
        rules, model);
    fuzz_keep(text, (size_t)n);
}

#define SMALL                                                                                      \
    "{\"\u2581\":0,\"t\":1,\"h\":2,\"e\":3,\"th\":4,\"\u2581\u2581\":5,\"<unk>\":6,\"<0x41>\":7,"  \
    "\"\\n\":8}"

static void more_kinds(void)
{
    static const char bpe[] = "{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"fuse_unk\":true,"
                              "\"byte_fallback\":true,\"ignore_merges\":true,\"vocab\":" SMALL
                              ",\"merges\":[\"t h\",[\"\u2581\",\"\u2581\"]]}";
    static const char unigram[] = "{\"type\":\"Unigram\",\"unk_id\":0,\"byte_fallback\":true,"
                                  "\"vocab\":[[\"<unk>\",0],[\"\u2581\",-2],"
                                  "[\"t\",-3.5],[\"th\",-4],[\"<0x41>\",-9],[\"e\",-1e3],[\"h\",-3]"
                                  ",[\"\u2581t\",-1],[\"a\",-5]]}";
    for (int i = 0; i < 2; i++) {
        const char *model = i ? unigram : bpe;
        with_rules("\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":"
                   "\"\u2581\","
                   "\"prepend_scheme\":\"first\",\"split\":false}",
                   model);
        with_rules("\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":\"Metaspace\","
                   "\"replacement\":\"\u2581\",\"prepend_scheme\":\"always\"}",
                   model);
        with_rules("\"normalizer\":" REPLACE, model);
    }
}

void fuzz_seed(void)
{
    more_kinds();
    with_byte_tokens(REPLACE);
    with_byte_tokens("{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":"
                     "\"\u2581\"}," REPLACE "]}");
    with_merges("", "");
    with_merges(",\"th\":256,\"the\":257", "\"t h\",\"th e\"");
    with_merges(",\"th\":256,\"aa\":257", "[\"t\",\"h\"],[\"a\",\"a\"]");
    fuzz_keep("{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}}", 47);
}
