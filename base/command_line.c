/* command_line.c - see command_line.h */
#include "base/command_line.h"
#include "base/nearest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_OPTIONS = 256, SOME = 5 /* candidates that a message lists */ };

/* True for an entry that is an option, not a heading. */
static bool is_option(const struct argp_option *o)
{
    return o->name || o->key;
}

static bool is_last(const struct argp_option *o)
{
    return !o->name && !o->key && !o->doc && !o->group;
}

static error *no_such(const struct argp_option *options, const char *word, size_t n)
{
    const char *names[MOST_OPTIONS];
    char bare[80];
    size_t count = 0;
    for (const struct argp_option *o = options; !is_last(o) && count < MOST_OPTIONS; o++)
        if (o->name) names[count++] = o->name;
    snprintf(bare, sizeof bare, "%.*s", (int)n, word + strspn(word, "-"));
    return user_error("%.80s: no such option; the nearest is --%s (--help lists them all)", word,
                      nearest_name(bare, names, count));
}

static error *ambiguous(const struct argp_option *options, const char *name, size_t n)
{
    char list[300] = "";
    size_t used = 0;
    int found = 0;
    for (const struct argp_option *o = options; !is_last(o); o++)
        if (o->name && !strncmp(o->name, name, n) && found++ < SOME && used < sizeof list)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s--%s", used ? ", " : "",
                                     o->name);
    return user_error("--%.*s could be %s%s: write it out (--help lists them all)", (int)n, name,
                      list, found > SOME ? " or another" : "");
}

/* The option with this long name, or the only one that begins with it. */
static error *find_long(const struct argp_option *options, const char *word, size_t n,
                        const struct argp_option **out)
{
    int found = 0;
    *out = NULL;
    for (const struct argp_option *o = options; !is_last(o); o++) {
        if (!o->name || strncmp(o->name, word + 2, n)) continue;
        *out = o;
        if (strlen(o->name) == n) return NULL;
        found++;
    }
    if (!found) return no_such(options, word, n);
    return found > 1 ? ambiguous(options, word + 2, n) : NULL;
}

static const struct argp_option *find_exactly(const struct argp_option *options, const char *name)
{
    size_t n = strcspn(name, "=");
    for (const struct argp_option *o = options; !is_last(o); o++)
        if (o->name && strlen(o->name) == n && !strncmp(o->name, name, n)) return o;
    return NULL;
}

/* Option o needs a value, which is the next word: is there one? */
static error *check_value(const struct argp_option *options, const struct argp_option *o,
                          const char *next)
{
    const char *name = o->name ? o->name : "";
    if (!next) return user_error("--%s needs a value: --%s %s (see --help)", name, name, o->arg);
    if (strncmp(next, "--", 2) || !find_exactly(options, next + 2)) return NULL;
    return user_error("--%s needs a value, but the next word is %s; if that is meant: --%s=%s",
                      name, next, name, next);
}

static error *check_long(const struct argp_option *options, const char *word, const char *next,
                         bool *taken)
{
    const struct argp_option *o;
    size_t n = strcspn(word + 2, "=");
    bool has_value = word[2 + n] == '=';
    TRY(find_long(options, word, n, &o));
    if (!o->arg && has_value) return user_error("--%s takes no value: %.80s", o->name, word);
    *taken = o->arg && !has_value;
    return *taken ? check_value(options, o, next) : NULL;
}

static error *check_short(const struct argp_option *options, const char *word, const char *next,
                          bool *taken)
{
    const struct argp_option *meant = word[2] ? find_exactly(options, word + 1) : NULL;
    if (meant) return user_error("%.80s: one dash is missing: --%.80s", word, word + 1);
    for (const char *letter = word + 1; *letter; letter++) {
        const struct argp_option *o = options;
        while (!is_last(o) && !(is_option(o) && o->key == *letter))
            o++;
        if (is_last(o)) return no_such(options, word, strcspn(word, "=") - 1);
        if (!o->arg) continue;
        *taken = !letter[1];
        return *taken ? check_value(options, o, next) : NULL;
    }
    return NULL;
}

static error *check_words(const struct argp_option *options, int argc, char *const *argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
        const char *word = argv[i], *next = i + 1 < argc ? argv[i + 1] : NULL;
        bool taken = false;
        if (word[0] != '-' || !word[1]) continue;
        TRY(word[1] == '-' ? check_long(options, word, next, &taken)
                           : check_short(options, word, next, &taken));
        i += taken;
    }
    return NULL;
}

error_t command_line_key(int key, struct argp_state *state)
{
    unsigned what = ARGP_HELP_STD_HELP;
    if (key == COMMAND_LINE_VERSION) {
        printf("%s (Regrad) %s\n", state->name, REGRAD_VERSION);
        what = ARGP_HELP_EXIT_OK;
    } else if (key != 'h' && key != '?')
        return ARGP_ERR_UNKNOWN;
    state->flags &= ~(unsigned)ARGP_NO_ERRS; /* which would also suppress the help */
    argp_state_help(state, stdout, what);    /* ends the program */
    return 0;
}

bool command_line_store(const stored_option *rows, size_t n, int key, const char *arg, void *to)
{
    size_t i = 0;
    while (i < n && rows[i].key != key)
        i++;
    if (i == n && (key < COMMAND_LINE_STORED || key >= ARGP_KEY_END)) return false; /* argp's own */
    char *at = (char *)to + (i < n ? rows[i].at : (size_t)(key - COMMAND_LINE_STORED));
    if (arg)
        *(const char **)(void *)at = arg;
    else
        *(bool *)at = true;
    return true;
}

error *command_line_word(const char *option, const char *text, const char *const *words, int n,
                         int *out)
{
    for (*out = 0; *out < n; (*out)++)
        if (!strcmp(text, words[*out])) return NULL;
    char all[200] = "";
    for (int i = 0; i < n; i++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s",
                 !i          ? ""
                 : i < n - 1 ? ", "
                             : " or ",
                 words[i]);
    return user_error("--%s %s: must be %s", option, text, all);
}

error *command_line_count(const char *option, const char *text, int64_t most, int64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    if (end != text && !*end && !errno && *out >= 1 && *out <= most) return NULL;
    return user_error("--%s %s: must be a whole number from 1 to %lld", option, text,
                      (long long)most);
}

char **command_line_words(int *argc, char **argv, char *room[3])
{
    static char help[] = "--help";
    if (*argc > 1) return argv;
    room[0] = *argc ? argv[0] : help;
    room[1] = help;
    room[2] = NULL;
    *argc = 2;
    return room;
}

error *command_line_parse(const struct argp *argp, int argc, char **argv, unsigned flags,
                          void *input, error **failure)
{
    TRY(check_words(argp->options, argc, argv));
    error_t status = argp_parse(argp, argc, argv, ARGP_NO_ERRS | ARGP_NO_HELP | flags, NULL, input);
    if (*failure || !status) return *failure;
    return user_error("the options cannot be read: %s", strerror(status));
}
