/* fuzz_tokenizer_config.c - tokenizer_config.json beside a tokenizer.json, which says what ends a
 * text, and how a conversation becomes one: data/bpe/bpe_file.c, data/chat/chat.h. */
#include "data/chat/chat.h"
#include "fuzz/vocabulary.h"

static void conversation(size_t most)
{
    chat *c;
    size_t n;
    if (!fuzz_fine(chat_open(NULL, memory_directory, NULL, NULL, &c))) return;
    if (chat_source(c, &n) && n > most) abort();
    chat_close(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char vocabulary[] =
        "{\"added_tokens\":[{\"id\":3,\"content\":\"<s>\",\"special\":true},"
        "{\"id\":4,\"content\":\"</"
        "s>\",\"special\":true},{\"id\":5,\"content\":\"<end>\",\"special\":true}],"
        "\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":"
        "\"\xe2\x96\x81\","
        "\"prepend_scheme\":\"first\",\"split\":false},\"model\":{\"type\":\"BPE\",\"unk_token\":"
        "\"<unk>\","
        "\"vocab\":{\"<unk>\":0,\"\xe2\x96\x81\":1,\"t\":2},\"merges\":[]}}";
    bpe *v;
    memory_file("tokenizer_config.json", bytes, n);
    if (n & 1) { /* one way for each length: lengths change all the time */
        conversation(n);
        return 0;
    }
    const char *path = memory_file("tokenizer.json", vocabulary, sizeof vocabulary - 1);
    if (!fuzz_fine(bpe_open(path, &v))) return 0;
    if (bpe_end_of_text(v) < -1 || bpe_end_of_text(v) >= bpe_size(v)) abort();
    bpe_close(v);
    return 0;
}

void fuzz_seed(void)
{
    static const char *const texts[] = {
        "{\"eos_token\":\"<end>\"}",
        "{\"eos_token\":{\"content\":\"</s>\"}}",
        "{\"eos_token\":{\"content\":7}}",
        "{\"eos_token\":\"t\"}",
        "[]",
        "{\"bos_token\":\"<s>\",\"eos_token\":null,\"chat_template\":\"{{ bos_token }}{% for m in "
        "messages %}{{ m.content }}{% endfor %}\"}",
        "{\"bos_token\":{\"content\":\"\\u2581\"},\"chat_template\":[{\"name\":\"tool_use\","
        "\"template\":\"x\"},{\"name\":\"default\",\"template\":\"{{ 1 + 2 }}\"}]}"};
    fuzz_keep_texts(texts, sizeof texts / sizeof *texts);
}
