/* fuzz_model_card.c - what files say of a model, for its card: run/model_card.h. */
#include "fuzz/fuzz.h"
#include "run/model_card.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* It is written between double quotes. */
static void check_word(const char word[CARD_WORD])
{
    size_t n = strnlen(word, CARD_WORD);
    if (n == CARD_WORD || strpbrk(word, "\"\\")) abort();
    for (size_t i = 0; i < n; i++)
        if (!isprint((unsigned char)word[i])) abort();
}

static void check(const model_card *c)
{
    const card_losses *l = &c->losses;
    if (l->steps < 0 || l->first_step < 0 || l->best_step < 0) abort();
    if (l->steps && !(isfinite(l->first) && isfinite(l->last))) abort();
    if (l->best_step && !(isfinite(l->best) && isfinite(l->best_at_end))) abort();
    check_word(c->base_model);
    for (int i = 0; i < CARD_LICENSE; i++)
        check_word(c->license[i]);
    if (!*c->license[0] && (*c->license[1] || *c->license[2])) abort();
}

/* A base whose directory has this name, and no files. */
static error *read_place(const uint8_t *bytes, size_t n, model_card *c)
{
    char path[PATH_LENGTH];
    snprintf(path, sizeof path, "%s/x/%.*s", memory_directory, (int)n, (const char *)bytes);
    return card_read_base(path, c);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char *const names[] = {"README.md", "config.json", "log.jsonl"};
    model_card c = {0};
    size_t way = n % 4; /* one way for each length: lengths change all the time */
    for (size_t i = 0; i < 3; i++)
        memory_file(names[i], i == way ? bytes : (const uint8_t *)"{}", i == way ? n : 2);
    error *e = way == 3   ? read_place(bytes, n, &c)
               : way == 2 ? card_read_run(memory_directory, &c)
                          : card_read_base(memory_directory, &c);
    if (fuzz_fine(e) && way == 0) fuzz_fine(card_read_own(memory_directory, &c));
    check(&c);
    card_free(&c);
    return 0;
}

/* The text, longer by spaces in front of its end until it goes this way. */
static void keep(size_t way, const char *text, const char *end)
{
    char seed[512];
    size_t n = (size_t)snprintf(seed, sizeof seed, "%s", text), more = strlen(end);
    while ((n + more) % 4 != way)
        seed[n++] = ' ';
    memcpy(seed + n, end, more);
    fuzz_keep(seed, n + more);
}

void fuzz_seed(void)
{
    keep(0, "---\nlicense: apache-2.0\nbase_model: a/b\n---\n# x\n", "\n");
    keep(0, "---\nlicense: other\nlicense_name: \"my own\"\nlicense_link: 'https://x'\n---", "\n");
    keep(0, "---\nlicense: 'it''s'\r\nbase_model: \"a\" # b\r\n", "---\n");
    keep(1, "{\"_name_or_path\": \"owner/name\"", "}");
    keep(2,
         "{\"step\":1,\"loss\":2.5}\n{\"step\":2,\"loss\":2.25}\n{\"step\":2,\"val_loss\":3}\n"
         "{\"step\":4,\"val_loss\":3.5}\n{\"step\":5,\"loss\":null}",
         "\n");
    keep(3, "models--owner--name/snapshots/0", "0");
}
