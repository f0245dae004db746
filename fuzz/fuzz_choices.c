/* fuzz_choices.c - lines of questions with endings to choose from: infer/choices.h over
 * base/json_lines.h
 *
 * Every choice of a question that is taken has tokens of its own, and what is chosen is one of
 * them. */
#include "base/json_lines.h"
#include "fuzz/fuzz.h"
#include "infer/choices.h"

#include <stdlib.h>
#include <string.h>

static error *take(void *context, const cJSON *line)
{
    const bpe *v = context;
    question q;
    question_tokens t = {0};
    double likelihood[MOST_CHOICES] = {0};
    int plain, normed;
    error *failed = question_read(line, &q);
    if (!failed && (q.n < 2 || q.gold < 0 || q.gold >= q.n)) abort();
    if (!failed) failed = question_encode(v, &q, &t);
    for (int i = 0; i < q.n && !failed; i++) {
        if (!t.n || !t.sizes[i] || question_length(&q, i) > strlen(q.choice[i])) abort();
        likelihood[i] = -(double)t.sizes[i];
    }
    if (!failed) {
        question_choose(&q, likelihood, &plain, &normed);
        if (plain < 0 || plain >= q.n || normed < 0 || normed >= q.n) abort();
    }
    question_tokens_free(&t);
    question_free(&q);
    return failed;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char text[] = "aaab aaab aaab user user";
    static bpe *vocab;
    if (!vocab && !fuzz_fine(bpe_learn((const uint8_t *)text, sizeof text - 1, 262, &vocab)))
        abort();
    fuzz_fine(json_lines("FILE", (const char *)bytes, n, take, vocab));
    return 0;
}

void fuzz_seed(void)
{
    static const char *const seeds[] = {
        "{\"query\":\"a b\",\"choices\":[\"c\",\"aaab\"],\"gold\":1}\n{}",
        "{\"context\":\"a \",\"choices\":[\"c\",\" d\",\"\"],\"label\":\"2\"}",
        "{\"question\":\"\",\"choices\":[\"c\",\"d\"],\"answer\":0}",
        "{\"activity_label\":\"a [title] b\",\"ctx_a\":\"[x] y\",\"ctx_b\":\"ZzZ  "
        "z\",\"endings\":[\" "
        "[step] a\",\"b]\"],\"label\":0}",
        "{\"ctx\":\"a  b\",\"endings\":[\"[\\n]\",\"b\"],\"label\":\"1\"}"};
    fuzz_keep_texts(seeds, sizeof seeds / sizeof *seeds);
}
