/* find_tokenizer.c - see find_tokenizer.h */
#include "infer/find_tokenizer.h"
#include "base/files.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

/* The tokenizer file in dir; *path is empty if there is none.  Only unambiguous names:
 * NAME.tiktoken could belong to any model. */
static error *find_vocab(const char *dir, char *path)
{
    static const char *const names[] = {"tokenizer.vocab", "tokenizer.json", "tekken.json",
                                        "tokenizer.model"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        TRY(path_join(path, dir, names[i]));
        if (is_there(path)) return NULL;
    }
    *path = 0;
    return NULL;
}

error *tokenizer_path(const char *name, char *path)
{
    struct stat status;
    bool directory = stat(name, &status) == 0 && S_ISDIR(status.st_mode);
    if (directory) TRY(find_vocab(name, path));
    if (directory && !*path)
        return user_error("no tokenizer in the directory %s: name its file", name);
    if (!directory && snprintf(path, PATH_LENGTH, "%s", name) >= PATH_LENGTH)
        return user_error("the name '%.40s...' is too long", name);
    return NULL;
}

/* A model may have more embedding rows than tokens, but then its own tokenizer is the smaller
 * one. */
static error *check_beside(const char *directory, const char *vocab, const bpe *given)
{
    char path[PATH_LENGTH];
    bpe *own;
    TRY(find_vocab(directory, path));
    if (!*path || !strcmp(path, vocab)) return NULL;
    TRY(bpe_open(path, &own));
    int32_t size = bpe_size(own);
    bpe_close(own);
    if (size == bpe_size(given)) return NULL;
    return user_error(
        "%s has %d tokens, the model's own tokenizer %s has %d: leave --vocab out, or "
        "give the one that it was trained with",
        vocab, bpe_size(given), path, size);
}

error *tokenizer_open(const char *directory, const char *vocab, const model_config *c, bpe **out)
{
    char path[PATH_LENGTH];
    if (!vocab) {
        TRY(find_vocab(directory, path));
        vocab = path;
    }
    if (!*vocab)
        return user_error("no tokenizer in %s: give --vocab FILE, the one of the model's training "
                          "data (PREFIX.vocab beside PREFIX_train.bin)",
                          directory);
    TRY(bpe_open(vocab, out));
    error *e = bpe_size(*out) <= c->vocab ? check_beside(directory, vocab, *out) : NULL;
    if (!e && bpe_size(*out) <= c->vocab) return NULL;
    if (!e)
        e = user_error("%s has %d tokens, the model in %s only %lld: give --vocab the one that "
                       "it was trained with",
                       vocab, bpe_size(*out), directory, (long long)c->vocab);
    bpe_close(*out);
    *out = NULL;
    return e;
}
