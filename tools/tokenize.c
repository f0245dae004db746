/* tokenize.c - converts text files to token shards, and back.
 *
 *     INPUT... --> one text --> | train part ............ | val part |
 *                                   |                          |
 *                    PREFIX.vocab <-+ learned here             |
 *                                   v                          v
 *                          PREFIX_train.bin             PREFIX_val.bin
 *
 * Each INPUT is a document, and --separator splits it into more; between two documents of a part
 * there is the vocabulary's end-of-text token, if it has one.  No token spans two documents.  Only
 * with a vocabulary made here, and without --separator, everything is one text.
 *
 * The validation part is the end of the text; the vocabulary is never trained on it.  All three
 * files are complete on disk before the first gets its name, so a full disk leaves the old files
 * intact.
 */
#include <argp.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "data/bpe/bpe_documents.h"
#include "base/command_line.h"
#include "base/descriptors.h"
#include "base/files.h"
#include "base/grow.h"
#include "data/text_check.h"
#include "base/json_lines.h"
#include "base/unpack.h"
#include "data/tokens.h"
#include "infer/find_tokenizer.h"
#include "tools/tokenize_chat.h"

enum {
    READ_BLOCK = 1 << 20,  /* bytes read at a time */
    DECODE_BLOCK = 1 << 16 /* tokens decoded at a time */
};

#define DEFAULT_VAL_FRACTION 0.1

typedef struct {
    const char *vocab, *prefix, *val_fraction, *separator, *special; /* NULL if not given */
    const char *jsonl, *learn, *template_file, *max_tokens, *too_long, *show;
    const char *thread_text;
    int threads;
    bool decode, chat;
    const char **inputs; /* (n_inputs) */
    int n_inputs;
} options;

static const char doc[] =
    "Convert text to token shards for training.\vWrites PREFIX_train.bin and PREFIX_val.bin "
    "(llm.c's format: 16 bits per token, or 32 if there are more than 65536 tokens) and "
    "PREFIX.vocab. INPUT - is the standard input; gzip and Zstandard are decompressed. Each INPUT "
    "is a document, with the vocabulary's end-of-text token between documents if it has one; with "
    "bytes or bpe:N, and no --separator, all of them are one text.\n\n  tokenize --vocab bpe:2048 "
    "-o text book.txt\n  tokenize --vocab r50k_base.tiktoken -o gpt2 book.txt\n  tokenize --chat "
    "--vocab MODEL -o sft conversations.jsonl.gz\n  tokenize --decode --vocab text.vocab "
    "text_val.bin";

enum { FILES = 1, TEXTS, CHATS };
static const struct argp_option argp_options[] = {
    {NULL, 0, NULL, 0, "Files:", FILES},
    {"vocab", 'v', "VOCAB", 0,
     "bytes (256 tokens), bpe:N (N tokens learned from the training part), a model's folder, or a "
     "FILE: a .vocab, a "
     "tokenizer.json, a SentencePiece .model, a tekken.json, or the .tiktoken of GPT-2, Qwen, "
     "Llama 3 or 4, cl100k or o200k [default: bytes]",
     FILES},
    {"output", 'o', "PREFIX", 0, "where to write (required unless decoding)", FILES},
    {"val-fraction", 'f', "F", 0,
     "fraction of the text, at its end and cut at a line break, that goes to PREFIX_val.bin: at "
     "least 0 and less than 1; 0 = no such file [default: 0.1]",
     FILES},
    {"threads", 't', "N", 0,
     "encoding threads; the output does not depend on it [default: all cores]", FILES},
    {"decode", 'd', NULL, 0, "print the text of the INPUT shards [default: of the standard input]",
     FILES},
    {NULL, 0, NULL, 0, "Text:", TEXTS},
    {"separator", 's', "STRING", 0,
     "string between the documents of an INPUT; it is replaced by the end-of-text token [default: "
     "each INPUT is one document]",
     TEXTS},
    {"special", 'S', "text|allow", 0,
     "treat the spelling of a special token, such as <|endoftext|>, in a text as plain text, or "
     "as that token [default: text]",
     TEXTS},
    {"jsonl", STORED(jsonl), "FIELD", 0,
     "each INPUT is JSON Lines, and the FIELD of a line is a document", TEXTS},
    {NULL, 0, NULL, 0, "Conversations:", CHATS},
    {"chat", STORED(chat), NULL, 0,
     "each INPUT is JSON Lines of examples: messages, or prompt and completion, or text; writes "
     "shards with document boundaries and a loss mask (docs/formats.md)",
     CHATS},
    {"learn", STORED(learn), "answers|all", 0,
     "with --chat: which tokens count in the loss [default: answers, and completions]", CHATS},
    {"template", STORED(template_file), "FILE", 0,
     "with --chat: the chat template [default: chat_template.jinja, or the one in "
     "tokenizer_config.json, beside VOCAB]",
     CHATS},
    {"max-tokens", STORED(max_tokens), "N", 0,
     "with --chat: maximum length of an example [default: unlimited]", CHATS},
    {"too-long", STORED(too_long), "refuse|cut|skip", 0,
     "with --max-tokens: what to do with a longer example [default: refuse]", CHATS},
    {"show", STORED(show), "N", 0,
     "with --chat: print the first N examples as text, with the learned bytes marked, and write no "
     "files",
     CHATS},
    COMMAND_LINE_ROWS,
    {0},
};

static const stored_option stored[] = {
    {'v', offsetof(options, vocab)},        {'o', offsetof(options, prefix)},
    {'f', offsetof(options, val_fraction)}, {'s', offsetof(options, separator)},
    {'S', offsetof(options, special)},      {'t', offsetof(options, thread_text)},
    {'d', offsetof(options, decode)},
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    options *o = state->input;
    if (command_line_store(stored, sizeof stored / sizeof *stored, key, arg, o)) return 0;
    if (key != ARGP_KEY_ARG) return command_line_key(key, state);
    o->inputs[o->n_inputs++] = arg;
    return 0;
}

/* ---- the text ---- */

typedef struct {
    size_t begin, end;
} range;

typedef struct {
    uint8_t *bytes;
    size_t n, capacity;
    range *inputs; /* (n_inputs) */
    size_t n_inputs, input_capacity;
    range *documents; /* (n_documents), none of them empty */
    size_t n_documents, document_capacity;
} text;

/* A line's field becomes a separate input. */
typedef struct {
    text *t;
    const char *field;
} line_reader;

static error *take_field(void *context, const cJSON *line)
{
    line_reader *r = context;
    text *t = r->t;
    const char *found = json_string(line, r->field);
    if (!found) return user_error("it has no text called %s", r->field);
    size_t n = strlen(found);
    TRY(grow_array(&t->bytes, &t->capacity, t->n + n + 1, 1));
    memcpy(t->bytes + t->n, found, n);
    TRY(grow_array(&t->inputs, &t->input_capacity, t->n_inputs + 1, sizeof *t->inputs));
    t->inputs[t->n_inputs++] = (range){t->n, t->n + n};
    t->n += n;
    return NULL;
}

/* Bytes from `begin` on are JSON Lines: replaces them by their documents. */
static error *take_documents(const options *opt, const char *name, text *t, size_t begin)
{
    line_reader r = {t, opt->jsonl};
    size_t n = t->n - begin;
    char *lines;
    TRY(alloc_array(&lines, n + 1, 1));
    if (n) memcpy(lines, t->bytes + begin, n);
    t->n = begin;
    error *e = json_lines(name, lines, n, take_field, &r);
    free(lines);
    return e;
}

static error *read_input(const options *opt, const char *name, text *t)
{
    size_t begin = t->n;
    TRY(read_unpacked(name, &t->bytes, &t->n, &t->capacity));
    /* with --vocab bytes every file is a sequence of tokens, text or not; but JSON is text */
    if (opt->jsonl || strcmp(opt->vocab, "bytes") != 0)
        TRY(text_check(name, t->bytes + begin, t->n - begin));
    if (opt->jsonl) return take_documents(opt, name, t, begin);
    TRY(grow_array(&t->inputs, &t->input_capacity, t->n_inputs + 1, sizeof *t->inputs));
    t->inputs[t->n_inputs++] = (range){begin, t->n};
    return NULL;
}

static error *add_document(text *t, size_t begin, size_t end)
{
    if (begin == end) return NULL;
    TRY(grow_array(&t->documents, &t->document_capacity, t->n_documents + 1, sizeof *t->documents));
    t->documents[t->n_documents++] = (range){begin, end};
    return NULL;
}

/* Splits into documents; separator is NULL if each input is one. */
static error *find_documents(text *t, const char *separator)
{
    size_t length = separator ? strlen(separator) : 0;
    for (size_t i = 0; i < t->n_inputs; i++) {
        size_t at = t->inputs[i].begin, end = t->inputs[i].end;
        const uint8_t *next;
        while (separator && (next = memmem(t->bytes + at, end - at, separator, length)) != NULL) {
            TRY(add_document(t, at, (size_t)(next - t->bytes)));
            at = (size_t)(next - t->bytes) + length;
        }
        TRY(add_document(t, at, end));
    }
    return NULL;
}

static void text_free(text *t)
{
    free(t->bytes);
    free(t->inputs);
    free(t->documents);
}

/* Where the validation part begins: after the last line break that leaves it the fraction; or
 * exactly there, if the line is so long that this would cost half of the training part. */
static size_t cut(const text *t, double fraction)
{
    size_t wanted = t->n - (size_t)(fraction * (double)t->n), half = wanted / 2;
    if (wanted == t->n) return wanted;
    const uint8_t *line_break = memrchr(t->bytes + half, '\n', wanted - half);
    return line_break ? (size_t)(line_break - t->bytes) + 1 : wanted;
}

/* ---- the vocabulary ---- */

/* `special` tokens are to be added to a learned vocabulary. */
static error *make_vocab(const char *vocab, const uint8_t *train, size_t n, int special, bpe **out)
{
    if (strcmp(vocab, "bytes") == 0) return bpe_bytes(out);
    if (strncmp(vocab, "bpe:", 4) != 0) {
        char path[PATH_LENGTH];
        TRY(tokenizer_path(vocab, path));
        return bpe_open(path, out);
    }
    const char *digits = vocab + 4;
    size_t n_digits = strlen(digits);
    if (n_digits < 1 || n_digits > 9 || strspn(digits, "0123456789") != n_digits)
        return user_error(
            "--vocab %s: bpe: takes the number of tokens, %d to %d, for example bpe:2048", vocab,
            BPE_BYTES + 1, BPE_MAX_SIZE);
    return bpe_learn(train, n, atol(digits) - special, out);
}

/* ---- tokenizing ---- */

typedef struct {
    bpe *vocab;
    shard_files files; /* without a template */
} outputs;

static error *append_bytes(void *writer, const int32_t *ids, size_t n)
{
    return tokens_append(writer, ids, n);
}

/* The part of the range that is inside; begin >= end if there is none. */
static range within(range r, range part)
{
    if (r.begin < part.begin) r.begin = part.begin;
    if (r.end > part.end) r.end = part.end;
    return r;
}

/* The documents, clipped to a part of the text. */
static error *encode_part(const bpe *v, const text *t, range part, bpe_special special, int threads,
                          token_writer *w)
{
    bpe_document *list;
    size_t n = 0;
    TRY(alloc_array(&list, t->n_documents + 1, sizeof *list));
    for (size_t i = 0; i < t->n_documents; i++) {
        range d = within(t->documents[i], part);
        if (d.begin < d.end) list[n++] = (bpe_document){t->bytes + d.begin, d.end - d.begin};
    }
    error *e = bpe_encode_documents(v, list, n, special, threads, append_bytes, w);
    free(list);
    return e;
}

/* A sample needs a token and its successor. */
static error *check_part(const char *name, size_t n_bytes, const token_writer *w)
{
    if (tokens_written(w) >= 2) return NULL;
    return user_error(
        "the %s part of the text (%zu bytes) makes %" PRId64
        " tokens, and training needs at least 2: give more text, or change --val-fraction",
        name, n_bytes, tokens_written(w));
}

/* Writes all three files, except for giving them their names. */
static error *write_parts(const text *t, size_t n_train, bpe_special special, int threads,
                          outputs *o)
{
    static const char *const names[] = {"train", "val"};
    const char *const paths[] = {o->files.train, o->files.val};
    const range parts[] = {{0, n_train}, {n_train, t->n}};
    for (int i = 0; i < 2 && parts[i].begin < parts[i].end; i++) {
        token_writer **w = &o->files.writer[i];
        TRY(tokens_create(paths[i], bpe_size(o->vocab), w));
        TRY(encode_part(o->vocab, t, parts[i], special, threads, *w));
        TRY(check_part(names[i], parts[i].end - parts[i].begin, *w));
        TRY(tokens_seal(*w));
    }
    return NULL;
}

static void report_part(const char *name, size_t n_bytes, int64_t n_tokens, const char *path)
{
    printf("%-5s %12zu bytes %12" PRId64 " tokens %7.3f bytes/token   %s\n", name, n_bytes,
           n_tokens, (double)n_bytes / (double)n_tokens, path);
}

/* The end-of-text token between documents: another one may have been intended, or one at all. */
static void report_documents(const bpe *v, const text *t)
{
    int32_t end = bpe_end_of_text(v);
    size_t n;
    if (t->n_documents < 2) return;
    const uint8_t *spelled = end < 0 ? NULL : bpe_token(v, end, &n);
    if (!spelled)
        printf("documents %8zu, with nothing between: the vocabulary has no end-of-text token\n",
               t->n_documents);
    else
        printf("documents %8zu, between them token %" PRId32 ", %.*s\n", t->n_documents, end,
               (int)n, (const char *)spelled);
}

/* The documents of a part, separated by line breaks; the caller frees *out. */
static error *join_documents(const text *t, range part, uint8_t **out, size_t *n)
{
    TRY(alloc_array(out, part.end - part.begin + t->n_documents, 1));
    *n = 0;
    for (size_t i = 0; i < t->n_documents; i++) {
        range d = within(t->documents[i], part);
        if (d.begin >= d.end) continue;
        memcpy(*out + *n, t->bytes + d.begin, d.end - d.begin);
        *n += d.end - d.begin;
        (*out)[(*n)++] = '\n';
    }
    return NULL;
}

/* A separator becomes a token, so a vocabulary made here includes one, within the requested size,
 * and does not train on separators. */
static error *learn_from_documents(const options *opt, text *t, size_t n_train, bpe **out)
{
    uint8_t *joined = NULL;
    size_t n = 0;
    TRY(find_documents(t, opt->separator));
    error *e = join_documents(t, (range){0, n_train}, &joined, &n);
    if (!e) e = make_vocab(opt->vocab, joined, n, 1, out);
    free(joined);
    return e ? e : bpe_add_end_of_text(*out);
}

static error *vocab_and_documents(const options *opt, text *t, size_t n_train, bpe **out)
{
    bool made = strcmp(opt->vocab, "bytes") == 0 || strncmp(opt->vocab, "bpe:", 4) == 0;
    if (made && (opt->separator || opt->jsonl)) return learn_from_documents(opt, t, n_train, out);
    TRY(make_vocab(opt->vocab, t->bytes, n_train, 0, out));
    bool one_text = made && !opt->separator; /* a learned or byte vocabulary has no such token */
    return one_text ? add_document(t, 0, t->n) : find_documents(t, opt->separator);
}

static error *make_files(const options *opt, bpe_special special, text *t, size_t n_train,
                         outputs *o)
{
    const char *vocab = opt->vocab;
    double begun = clock_now();
    TRY(vocab_and_documents(opt, t, n_train, &o->vocab));
    double learned = clock_now();
    TRY(write_parts(t, n_train, special, opt->threads, o));
    double written = clock_now();
    token_writer *const *w = o->files.writer;
    int64_t train = tokens_written(w[0]), val = w[1] ? tokens_written(w[1]) : 0;
    TRY(bpe_save(o->vocab, o->files.vocab));
    TRY(shard_files_finish(&o->files));

    const char *how = strncmp(vocab, "bpe:", 4) == 0 ? "learned" : "loaded";
    printf("vocab %12" PRId32 " tokens, %s in %.2f s, text encoded in %.2f s   %s\n",
           bpe_size(o->vocab), how, learned - begun, written - learned, o->files.vocab);
    report_documents(o->vocab, t);
    report_part("train", n_train, train, o->files.train);
    if (val > 0) report_part("val", t->n - n_train, val, o->files.val);
    return NULL;
}

static error *check_text(const text *t, size_t n_train, double fraction, const outputs *o)
{
    if (t->n < 2) return user_error("the input has %zu bytes: give a text to train on", t->n);
    if (n_train == 0)
        return user_error(
            "--val-fraction %g leaves none of %zu bytes to train on: use a smaller one", fraction,
            t->n);
    if (fraction > 0.0 && n_train == t->n)
        return user_error("--val-fraction %g of %zu bytes is nothing: use a larger one, or 0 for "
                          "no validation part",
                          fraction, t->n);
    return shard_files_check(&o->files, n_train < t->n, false);
}

static error *read_and_write(const options *opt, double fraction, bpe_special special, text *t,
                             outputs *o)
{
    for (int i = 0; i < opt->n_inputs; i++)
        TRY(read_input(opt, opt->inputs[i], t));
    TRY(shard_files_name(&o->files, opt->prefix));
    size_t n_train = cut(t, fraction);
    TRY(check_text(t, n_train, fraction, o));
    return make_files(opt, special, t, n_train, o);
}

static error *read_threads(options *o)
{
    enum { MOST = 1024 };
    int64_t n = sysconf(_SC_NPROCESSORS_ONLN);
    if (o->thread_text) TRY(command_line_count("threads", o->thread_text, MOST, &n));
    o->threads = (int)(n < 1 ? 1 : n < MOST ? n : MOST);
    return NULL;
}

static error *read_special(const options *opt, bpe_special *out)
{
    static const char *const words[] = {"text", "allow"};
    if (opt->separator && !*opt->separator)
        return user_error("--separator '': give the string that stands between documents");
    int i = 0;
    if (opt->special) TRY(command_line_word("special", opt->special, words, 2, &i));
    *out = i ? BPE_SPECIAL_ALLOW : BPE_SPECIAL_TEXT;
    return NULL;
}

static error *read_fraction(const options *opt, double *out)
{
    char *end;
    *out = DEFAULT_VAL_FRACTION;
    if (!opt->val_fraction) return NULL;
    *out = strtod(opt->val_fraction, &end);
    if (end == opt->val_fraction || *end || !(*out >= 0.0 && *out < 1.0))
        return user_error("--val-fraction %s: give a number from 0 to less than 1",
                          opt->val_fraction);
    return NULL;
}

static error *tokenize_examples(const options *opt)
{
    static const char *const learn[] = {"answers", "all"}, *const lengths[] = {"refuse", "cut",
                                                                               "skip"};
    chat_job job = {.inputs = opt->inputs,
                    .n_inputs = opt->n_inputs,
                    .vocab = opt->vocab,
                    .prefix = opt->prefix,
                    .template_file = opt->template_file};
    int which = 0;
    const char *extra = opt->separator     ? "--separator"
                        : opt->jsonl       ? "--jsonl"
                        : opt->thread_text ? "--threads"
                                           : NULL;
    if (extra) return user_error("%s cannot be combined with --chat: leave it out", extra);
    if (!strcmp(opt->vocab, "bytes") || !strncmp(opt->vocab, "bpe:", 4))
        return user_error(
            "--chat learns no vocabulary: give --vocab the model's, its directory or a file");
    if (opt->learn) TRY(command_line_word("learn", opt->learn, learn, 2, &which));
    job.all = which;
    if (opt->too_long) TRY(command_line_word("too-long", opt->too_long, lengths, 3, &which));
    job.too_long = opt->too_long ? (too_long)which : TOO_LONG_REFUSE;
    if (opt->max_tokens)
        TRY(command_line_count("max-tokens", opt->max_tokens, INT32_MAX, &job.max_tokens));
    if (opt->show) TRY(command_line_count("show", opt->show, INT32_MAX, &job.show));
    if (opt->too_long && !job.max_tokens) return user_error("--too-long: only with --max-tokens");
    if (job.show && opt->prefix) return user_error("--show writes no files: leave --output out");
    TRY(read_fraction(opt, &job.fraction));
    TRY(read_special(opt, &job.special));
    return tokenize_chat(&job);
}

/* An option that requires --chat; NULL: there is none. */
static const char *chat_option(const options *opt)
{
    return opt->learn           ? "--learn"
           : opt->template_file ? "--template"
           : opt->max_tokens    ? "--max-tokens"
           : opt->too_long      ? "--too-long"
           : opt->show          ? "--show"
                                : NULL;
}

static error *check_options(const options *opt)
{
    const char *only_chat = chat_option(opt);
    if (only_chat && !opt->chat) return user_error("%s: only with --chat", only_chat);
    if ((!opt->prefix || !*opt->prefix) && !opt->show)
        return user_error("no --output: say -o PREFIX, where to write");
    if (opt->n_inputs == 0)
        return user_error("no INPUT: name a text file, or - for standard input");
    if (opt->jsonl && opt->separator)
        return user_error("--separator cannot be combined with --jsonl: leave it out");
    return NULL;
}

static error *tokenize(options *opt)
{
    double fraction;
    TRY(check_options(opt));
    if (opt->chat) return tokenize_examples(opt);
    TRY(read_fraction(opt, &fraction));
    bpe_special special = BPE_SPECIAL_TEXT;
    TRY(read_special(opt, &special));
    TRY(read_threads(opt));
    text t = {0};
    outputs o = {0};
    error *e = read_and_write(opt, fraction, special, &t, &o);
    shard_files_discard(&o.files);
    bpe_close(o.vocab);
    text_free(&t);
    return e;
}

/* ---- decoding ---- */

static error *decode_block(const bpe *v, const int32_t *ids, size_t n)
{
    uint8_t *bytes;
    size_t n_bytes;
    TRY(bpe_decode(v, ids, n, &bytes, &n_bytes));
    fwrite(bytes, 1, n_bytes, stdout);
    free(bytes);
    return stdout_check();
}

static error *decode_shards(const bpe *v, const token_set *set)
{
    int32_t *ids;
    TRY(alloc_array(&ids, DECODE_BLOCK, sizeof *ids));
    error *e = NULL;
    for (int i = 0; i < tokens_shards(set) && !e; i++)
        for (int64_t at = 0, n; at < tokens_count(set, i) && !e; at += n) {
            n = tokens_count(set, i) - at < DECODE_BLOCK ? tokens_count(set, i) - at : DECODE_BLOCK;
            e = tokens_read(set, i, at, n, ids);
            if (!e) e = decode_block(v, ids, (size_t)n);
        }
    free(ids);
    return e;
}

static error *decode(const options *opt)
{
    const char *extra = opt->prefix         ? "--output"
                        : opt->val_fraction ? "--val-fraction"
                        : opt->separator    ? "--separator"
                        : opt->special      ? "--special"
                        : opt->thread_text  ? "--threads"
                        : opt->chat         ? "--chat"
                        : opt->jsonl        ? "--jsonl"
                                            : chat_option(opt);
    if (extra)
        return user_error("%s cannot be combined with --decode, which writes to the standard "
                          "output: leave it out",
                          extra);
    if (strncmp(opt->vocab, "bpe:", 4) == 0)
        return user_error(
            "--decode learns nothing: give --vocab the .vocab file made with the shards, not %s",
            opt->vocab);
    static const char *const standard_input = "/dev/stdin";
    bpe *v = NULL;
    token_set *set = NULL;
    error *e = make_vocab(opt->vocab, NULL, 0, 0, &v);
    if (!e && opt->n_inputs == 0)
        e = tokens_open(&standard_input, 1, bpe_size(v), &set);
    else if (!e)
        e = tokens_open(opt->inputs, opt->n_inputs, bpe_size(v), &set);
    if (!e) e = decode_shards(v, set);
    tokens_close(set);
    bpe_close(v);
    return e;
}

int main(int argc, char **argv)
{
    static const struct argp parser = {argp_options, parse_option, "INPUT...", doc, 0, 0, 0};
    options o = {.vocab = "bytes"};
    char *room[3], **words = command_line_words(&argc, argv, room);
    error *e = alloc_array(&o.inputs, (unsigned long)argc, sizeof *o.inputs);
    error *none = NULL;
    if (!e) e = command_line_parse(&parser, argc, words, 0, &o, &none);
    if (!e) {
        e = descriptors_fill(o.decode || o.show); /* otherwise the shards are the result */
        if (!e) e = o.decode ? decode(&o) : tokenize(&o);
        fflush(stdout);
        if (!e) e = stdout_check();
    }
    free(o.inputs);
    return e ? error_report("tokenize", e) : 0;
}
