/* fuzz_sentencepiece.c - SentencePiece's .model and Mistral's tekken.json: data/bpe/bpe.h */
#include "fuzz/vocabulary.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    return fuzz_vocabulary(bytes, n);
}

/* type 0: normal, which is left out in a file */
static size_t piece(char *to, const char *text, float score, char type)
{
    char body[60];
    size_t n = strlen(text), used = 0;
    body[used++] = 0x0a;
    body[used++] = (char)n;
    memcpy(body + used, text, n);
    used += n;
    body[used++] = 0x15;
    memcpy(body + used, &score, sizeof score);
    used += sizeof score;
    if (type) body[used++] = 0x18, body[used++] = type;
    to[0] = 0x0a;
    to[1] = (char)used;
    memcpy(to + 2, body, used);
    return used + 2;
}

static void keep_model(char type, bool bytes)
{
    char text[6000], name[8];
    size_t n = piece(text, "<unk>", 0, 2);
    n += piece(text + n, "<s>", 0, 3);
    n += piece(text + n, "</s>", 0, 3);
    for (int byte = 0; byte < 256 && bytes; byte++) {
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)byte);
        n += piece(text + n, name, 0, 6);
    }
    n += piece(text + n, "\xe2\x96\x81", -1, 0);
    n += piece(text + n, "t", -2, 0);
    n += piece(text + n, "h", -3, 0);
    n += piece(text + n, "th", -0.5F, 0);
    if (type == 2) n += piece(text + n, "aaa", 0, 4);
    static const char trainer[] = {0x12, 5, 0x18, 0, (char)0x98, 2, 1},
                      rules[] = {0x1a, 2, 0x20, 0};
    memcpy(text + n, trainer, sizeof trainer);
    text[n + 3] = type;
    n += sizeof trainer;
    memcpy(text + n, rules, sizeof rules);
    fuzz_keep(text, n + sizeof rules);
}

void fuzz_seed(void)
{
    static const char tekken[] =
        "{\"config\":{\"pattern\":\"[a-z]+\",\"default_vocab_size\":262,\"default_num_special_"
        "tokens\":3},"
        "\"special_tokens\":[{\"rank\":0,\"token_str\":\"<unk>\"}],\"vocab\":[{\"rank\":0,\"token_"
        "bytes\":\"AA==\","
        "\"token_str\":\"\\u0000\"},{\"rank\":256,\"token_bytes\":\"dGg=\"}]}";
    fuzz_keep(tekken, sizeof tekken - 1);
    for (int bytes = 0; bytes < 2; bytes++)
        for (char type = 1; type < 3; type++)
            keep_model(type, bytes);
}
