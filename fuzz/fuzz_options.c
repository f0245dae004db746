/* fuzz_options.c - a file of options, and the options of a checkpoint that is resumed:
 * train/options_file.h.  The rows are the target's own, a few of each type, with the names that the
 * reader knows. */
#include "fuzz/fuzz.h"
#include "train/options_file.h"
#include "train/task.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROW(name, type, field, of, least, most, unset)                                             \
    {                                                                                              \
        name, "X", "", type, RUN, SILENT, of, FIELD(field), least, most, unset                     \
    }

static const option_row rows[] = {
    ROW("model", TEXT, model_name, 0, 0, 0, NULL),
    ROW("load", TEXT, load, 0, 0, 0, "initial values"),
    ROW("optim", TEXT, optim_name, 0, 0, 0, NULL),
    ROW("gradients", TEXT, gradients, 0, 0, 0, "own"),
    ROW("recompute", TEXT, recompute, 0, 0, 0, NULL),
    ROW("memory", TEXT, memory, 0, 0, 0, "off"),
    ROW("config", TEXT, config, 0, 0, 0, "none"),
    ROW("resume", TEXT, resume, 0, 0, 0, "off"),
    ROW("layers", INTEGER, layers, 0, 1, 1000, "the model's"),
    ROW("seq", INTEGER, seq, 0, 1, 1e8, "the context"),
    ROW("lora", INTEGER, lora, 0, 0, 65536, NULL),
    ROW("lora-alpha", REAL, lora_alpha, 0, 1e-6, 1e9, "twice the rank"),
    ROW("lora-on", LIST, lora_on, 0, 0, 0, "all"),
    ROW("freeze", LIST, freeze, 0, 0, 0, "none"),
    ROW("beta1", REAL, beta1, HAS_BETA1, 0, 1, "the optimizer's"),
    ROW("lr", REAL, lr, 0, 0, 1e6, "the optimizer's"),
    ROW("batch", INTEGER, batch, 0, 1, 1e6, NULL),
    ROW("accum", INTEGER, accum, 0, 1, 1e6, NULL),
    ROW("steps", INTEGER, steps, 0, 1, 1e9, "200"),
    ROW("epochs", REAL, epochs, 0, 0, 1e6, NULL),
    ROW("widen", FLAG, widen, 0, 0, 0, NULL),
};

enum { ROWS = sizeof rows / sizeof *rows };

static const model_kind kind = {.program = "train_gpt"};
static const task few = {.kind = &kind, .rows = rows, .n_rows = ROWS};

int option_count(const task *t)
{
    return t->n_rows;
}

const option_row *option_row_at(const task *t, int i)
{
    return &t->rows[i];
}

options options_unset(const task *t)
{
    return (options){.task = t,
                     .optim_name = "adamw",
                     .recompute = "none",
                     .lr = NAN,
                     .beta1 = NAN,
                     .batch = 16,
                     .accum = 1};
}

/* Every number within its row's limits, every text whole; SIZE_MAX if not. */
static size_t text_bytes(options *o, const option_row *row, bool given)
{
    void *field = option_field(o, row);
    const pattern_list *list = field;
    double number = row->type == INTEGER ? (double)*(int64_t *)field
                    : row->type == REAL  ? *(double *)field
                                         : 0;
    const char *text = row->type == TEXT ? *(const char **)field : NULL;
    options unset = options_unset(o->task);
    bool same = !memcmp(field, option_field(&unset, row), 8);
    if ((row->type == INTEGER || row->type == REAL) && given && !same &&
        !(number >= row->least && number <= row->most))
        return SIZE_MAX;
    size_t n = text ? strlen(text) : 0;
    for (int i = 0; row->type == LIST && i < list->n; i++)
        n += strlen(list->pattern[i]);
    return n;
}

/* With the first rows given, as many as there are bits in `which`. */
static void take(const char *config, const char *resume, unsigned which, size_t most)
{
    bool given[ROWS] = {false};
    options o = options_unset(&few);
    o.config = config;
    o.resume = resume;
    if (which & 1) o.model_name = "nano";
    if (which & 1) given[0] = true;
    if (which & 2) o.optim_name = "lion_r";
    if (which & 2) given[2] = true;
    if (which & 4) given[10] = given[16] = given[18] = true; /* lora, batch, steps */
    if (fuzz_fine(options_take_files(&o, given)))
        for (int i = 0; i < ROWS; i++)
            if (text_bytes(&o, &rows[i], given[i]) > most) abort();
    option_files_free(o.files);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    bool resumed = n & 1; /* one way for each length: lengths change all the time */
    const char *path = memory_file(resumed ? "state.json" : "options.json", bytes, n);
    take(resumed ? NULL : path, resumed ? memory_directory : NULL, n & 2 ? 7 : 0, n + 100);
    return 0;
}

void fuzz_seed(void)
{
    static const char *const seeds[] = {
        "{\"model\":\"nano\",\"load\":null,\"optim\":\"adan_r\",\"gradients\":\"own\",\"layers\":2,"
        "\"seq\":64,\"lora\":4,\"lora-alpha\":8.5,\"lora-on\":[\"q_proj\",\"*v\"],\"freeze\":[],"
        "\"beta1\":0.9,\"lr\":1e-3,\"batch\":4,\"accum\":2,\"steps\":10,\"widen\":true}",
        "{\"epochs\":2.5,\"steps\":7,\"recompute\":\"block\",\"memory\":\"2G\",\"freeze\":[\"a\"]}",
        "{\"config\":\"x\"}", "{\"lr\":1,\"lr\":2}",
        "{\"program\":\"train_gpt\",\"options\":{\"model\":\"nano\",\"out\":\"x\",\"optim\":"
        "\"lion\",\"batch\":4,\"accum\":2,\"freeze\":[\"a\",\"b\"],\"freeze\":[\"c\"],\"epochs\":"
        "1,\"steps\":9}}"};
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++)
        fuzz_keep(seeds[i], strlen(seeds[i]));
}
