/* export_card.c - OUT/README.md, the model card that goes with a model to the Hub; see export.h.
 *
 *     ---                     what the Hub's form asks for: library_name, pipeline_tag and, where they are
 *     license: apache-2.0     known, base_model and license.  One that is not known is left out, for
 *     ---                     whoever publishes the model
 *     # OUT
 *     sizes, base, options that made it, data, losses, license
 *
 * All is taken from files, nothing is supposed (run/model_card.h).
 */
#include "tools/export.h"
#include "base/json.h"

#include "base/shown.h"
#include "run/model_card.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    model_card known;
    const char *base; /* ? where the base was; it may be known's */
} card;

static void warn_of_part(error *e)
{
    if (e) error_warn(error_context(e, "the model card lacks a part"));
}

/* What cannot be read is left out, with a warning. */
static void card_read(const arguments *a, const char *source, card *c)
{
    model_card *k = &c->known;
    warn_of_part(card_read_run(a->merge ? a->merge : source, k));
    c->base = a->merge ? source : json_string(k->options, "load");
    if (c->base) warn_of_part(card_read_base(c->base, k));
    /* its own card says more than its base's, but with --merge it is the base */
    if (!a->merge) warn_of_part(card_read_own(source, k));
    if (a->license) {
        memset(k->license, 0, sizeof k->license);
        snprintf(k->license[0], CARD_WORD, "%s", a->license);
    }
    if (a->base_model) snprintf(k->base_model, CARD_WORD, "%s", a->base_model);
}

/* ---- writing ---- */

static void put_head(FILE *to, const char *task, const model_card *c)
{
    fprintf(to, "---\nlibrary_name: transformers\npipeline_tag: %s\n", task);
    if (*c->base_model) fprintf(to, "base_model: \"%s\"\n", c->base_model);
    for (int i = 0; i < CARD_LICENSE; i++)
        if (*c->license[i]) fprintf(to, "%s: \"%s\"\n", card_license_fields[i], c->license[i]);
    fputs("---\n\n", to);
}

/* The last part of a path, as text. */
static void put_name(FILE *to, const char *path)
{
    char copy[PATH_LENGTH], shown[PATH_LENGTH];
    snprintf(copy, sizeof copy, "%s", path);
    fputs(text_shown(basename(copy), shown, sizeof shown), to);
}

static void put_sizes(FILE *to, const arguments *a, const char *sizes)
{
    fputs("# ", to);
    put_name(to, a->out);
    fprintf(to, "\n\n%s  Exported with Regrad %s.\n", sizes, REGRAD_VERSION);
}

static void put_base(FILE *to, const arguments *a, const card *c)
{
    if (!c->base && !*c->known.base_model) return;
    fputs("\n## Base\n\nFine-tuned from ", to);
    if (*c->known.base_model)
        fputs(c->known.base_model, to);
    else
        put_name(to, c->base);
    fputs(a->merge ? "; adapters (LoRA) are merged into its matrices.\n" : ".\n", to);
}

/* Text in a cell of a table: without what would end the cell or the line. */
static void put_cell(FILE *to, const char *text)
{
    char shown[PATH_LENGTH];
    for (const char *c = text_shown(text, shown, sizeof shown); *c; c++)
        fputs(*c == '|' ? "\\" : "", to), fputc(*c, to);
}

/* The options that say how a model came to be; others say where and how fast. */
/* clang-format off */
static const char *const made_by[] = {
    "steps", "batch", "accum", "ranks", "seq", "epochs", "optim", "lr", "schedule", "warmup",
    "final-lr-fraction", "beta1", "beta2", "beta3", "eps", "weight-decay", "grad-clip", "dtype",
    "lora", "lora-alpha", "lora-on", "lora-dropout", "base", "dropout", "z-loss", "label-smoothing",
    "drop-path", "mixup", "cutmix", "rand-augment", "flip", "random-crop", "resized-crop",
    "color-jitter", "random-erasing", "ema", "ema-warmup", "layer-decay", "freeze", "train-only",
    "sparsity", "seed"};
/* clang-format on */

static void put_options(FILE *to, const model_card *c)
{
    if (!c->options) return;
    fputs("\n## Training\n\n| option | value |\n|---|---|\n", to);
    for (size_t i = 0; i < sizeof made_by / sizeof *made_by; i++) {
        const cJSON *item = json_get(c->options, made_by[i]), *one;
        bool none = !item || cJSON_IsNull(item) || cJSON_IsFalse(item) ||
                    (cJSON_IsNumber(item) && item->valuedouble == 0) ||
                    (cJSON_IsArray(item) && !item->child);
        if (none) continue;
        fprintf(to, "| %s |", made_by[i]);
        if (cJSON_IsNumber(item)) fprintf(to, " %.9g", item->valuedouble);
        if (cJSON_IsString(item)) fputc(' ', to), put_cell(to, item->valuestring);
        for (one = item->child; one; one = one->next) {
            if (!cJSON_IsString(one)) continue;
            fputs(" `", to);
            put_cell(to, one->valuestring);
            fputc('`', to);
        }
        fputs(" |\n", to);
    }
}

static void put_data(FILE *to, const model_card *c)
{
    static const char *const kinds[][3] = {{"train-data", "train", "training"},
                                           {"val-data", "val", "validation"}};
    fputs(c->options ? "\n## Data\n\n" : "", to);
    for (int i = 0; i < 2; i++) {
        const cJSON *files = json_get(c->options, kinds[i][0]), *one,
                    *about = json_get(c->data, kinds[i][1]);
        const char *hash = json_string(about, "xxh3");
        double bytes = card_number(about, "bytes");
        if (!cJSON_IsArray(files) || !files->child) continue;
        fprintf(to, "- %s:", kinds[i][2]);
        cJSON_ArrayForEach(one, files)
        {
            fputs(one == files->child ? " " : ", ", to);
            if (cJSON_IsString(one)) put_name(to, one->valuestring);
        }
        if (bytes > 0) fprintf(to, " (%.0f bytes", bytes);
        if (bytes > 0 && hash) fprintf(to, ", XXH3 %s", hash);
        fputs(bytes > 0 ? ")\n" : "\n", to);
    }
}

static void put_losses(FILE *to, const char *loss_per, const card_losses *l)
{
    if (!l->steps && !l->best_step) return;
    fprintf(to, "\n## Losses\n\nNats per %s, from the run's log.\n\n", loss_per);
    fputs("| | loss | step |\n|---|---|---|\n", to);
    if (l->steps) {
        fprintf(to, "| training, first | %.4f | %lld |\n", l->first, (long long)l->first_step);
        fprintf(to, "| training, last | %.4f | %lld |\n", l->last, (long long)l->steps);
    }
    if (!l->best_step) return;
    fprintf(to, "| validation, lowest | %.4f | %lld |\n", l->best, (long long)l->best_step);
    fprintf(to, "| validation, last | %.4f | |\n", l->best_at_end);
}

static void put_license(FILE *to, const arguments *a, const model_card *c)
{
    fputs("\n## License\n\n", to);
    if (!*c->license[0])
        fputs("Not stated: neither the model's files nor `--license` named one.\n", to);
    else
        fprintf(to, "%s, %s.\n", c->license[0],
                a->license ? "as whoever exported the model says"
                           : "as the card of the model that this was made of says");
}

static error *put_card(const arguments *a, const card_subject *s, const card *c)
{
    char path[PATH_LENGTH];
    memory_stream m;
    TRY(path_join(path, a->out, "README.md"));
    TRY(memory_stream_open(&m, "README.md"));
    put_head(m.to, s->task, &c->known);
    put_sizes(m.to, a, s->sizes);
    put_base(m.to, a, c);
    put_options(m.to, &c->known);
    put_data(m.to, &c->known);
    put_losses(m.to, s->loss_per, &c->known.losses);
    put_license(m.to, a, &c->known);
    return memory_stream_save(&m, path);
}

error *card_write(const arguments *a, const char *source, const card_subject *s)
{
    card c = {0};
    card_read(a, source, &c);
    error *e = put_card(a, s, &c);
    card_free(&c.known);
    return e;
}
