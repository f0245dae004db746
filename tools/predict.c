/* predict.c - classifies images with a trained model.
 *
 *     predict --load RUN IMAGE|DIR...     a line for each image: its path, then class and probability of
 *                                         the most likely classes, separated by tabs; or --json
 *     predict --load RUN --eval DIR...    for labelled images, as train_vit takes them: accuracy, top-1
 *                                         and top-5, for each class; the confusion matrix as text, and
 *                                         with --picture as SVG
 *
 * Classes have the names that the run wrote (config.json); pixels are normalized as in the run.
 * Standard output carries only the answers.
 */
#include <argp.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/command_line.h"
#include "base/descriptors.h"
#include "base/files.h"
#include "base/kept_heap.h"
#include "base/shown.h"
#include "cpu/cpu.h"
#include "data/images/image_source.h"
#include "infer/inference.h"
#include "io/image_card.h"
#include "base/json.h"

enum { MOST_PATHS = 4096, MOST_TOP = 1000, FIRST_FEW = 5 };

typedef struct {
    const char *load, *picture;
    const char *path[MOST_PATHS];
    int n_paths;
    bool eval, json, widen, upright;
    int64_t top, batch, threads;
    error *failure;
} options;

/* ---- options ---- */

enum { TOP = 1000, BATCH, THREADS };

static const struct argp_option rows[] = {
    {"load", STORED(load), "DIR", 0,
     "trained model: a run of train_vit, or a Hugging Face ViT with its config.json (required)", 0},
    {"top", TOP, "K", 0, "classes to print for each image [default: 5]", 0},
    {"json", STORED(json), NULL, 0, "print one line of JSON for each image; with --eval one object",
     0},
    {"eval", STORED(eval), NULL, 0, "the images have labels: print the accuracy", 0},
    {"picture", STORED(picture), "FILE", 0, "with --eval: write the confusion matrix as SVG", 0},
    {"batch", BATCH, "N", 0, "images at a time [default: 32]", 0},
    {"threads", THREADS, "N", 0, "CPU threads [default: all cores]", 0},
    {"widen", STORED(widen), NULL, 0, "convert 16-bit floats to f32, which preserves every value",
     0},
    {"upright", STORED(upright), NULL, 0, "rotate images as their EXIF orientation says", 0},
    COMMAND_LINE_ROWS,
    {0}};

static error *take_path(options *o, const char *path)
{
    if (o->n_paths == MOST_PATHS)
        return user_error("more than %d names: give a directory, or a pattern in quotes",
                          MOST_PATHS);
    o->path[o->n_paths++] = path;
    return NULL;
}

static error_t on_key(int key, char *arg, struct argp_state *state)
{
    options *o = state->input;
    if (command_line_store(NULL, 0, key, arg, o)) return 0;
    if (key == TOP)
        o->failure = command_line_count("top", arg, MOST_TOP, &o->top);
    else if (key == BATCH)
        o->failure = command_line_count("batch", arg, 1 << 16, &o->batch);
    else if (key == THREADS)
        o->failure = command_line_count("threads", arg, 1024, &o->threads);
    else if (key == ARGP_KEY_ARG)
        o->failure = take_path(o, arg);
    else
        return command_line_key(key, state);
    return o->failure ? EINVAL : 0;
}

static error *parse_arguments(int argc, char **argv, options *o)
{
    struct argp parser = {
        .options = rows,
        .parser = on_key,
        .args_doc = "IMAGE|DIR...",
        .doc = "Classify images with a trained model.\v"
               "  predict --load runs/flowers garden/*.jpg\n"
               "  predict --load runs/flowers --eval flowers/test --picture confusion.svg"};
    *o = (options){.top = FIRST_FEW, .batch = 32};
    TRY(command_line_parse(&parser, argc, argv, 0, o, &o->failure));
    if (!o->load) return user_error("no --load: name the directory of a trained model");
    if (!o->n_paths) return user_error("no pictures: name files or directories");
    if (o->picture && !o->eval) return user_error("--picture: only with --eval");
    return NULL;
}

/* ---- model and pictures ---- */

typedef struct {
    const options *o;
    image_card card;
    inference *model;
    device dev;
    bool open; /* the device */
    source *data;
    float *inputs, *targets, *logits; /* of a batch */
} session;

static int64_t classes_of(const session *s)
{
    return s->card.model.vocab;
}

static const char *name_of(const session *s, int64_t class, char room[24])
{
    if (class < s->card.n_names && *s->card.names[class]) return s->card.names[class];
    snprintf(room, 24, "%lld", (long long)class);
    return room;
}

static error *open_model(session *s)
{
    bool found;
    TRY(image_card_read(s->o->load, &found, &s->card));
    if (!found)
        return user_error(
            "%s has no config.json that says what model it is: give the directory of a "
            "run of train_vit, or of Hugging Face's ViT",
            s->o->load);
    TRY(image_card_resizes(&s->card, s->o->load, "say one of them there"));
    TRY(inference_plan(&image_kind, &s->card.model, (inference_job){.images = s->o->batch},
                       &s->model));
    TRY(cpu_device((int)s->o->threads, &s->dev));
    s->open = true;
    return inference_commit_images(s->model, &s->dev, s->o->load, s->o->widen);
}

static error *open_data(session *s)
{
    const model_config *c = &s->card.model;
    image_names names = {s->card.names, s->card.n_names};
    image_options how = {.wish = {.channels = c->channels,
                                  .classes = c->vocab,
                                  .names = &names,
                                  .bad = BAD_UNREADABLE,
                                  .upright = s->o->upright,
                                  .unlabelled = !s->o->eval},
                         .height = c->image_height,
                         .width = c->image_width,
                         .kernel = s->card.bicubic ? RESAMPLE_BICUBIC : RESAMPLE_BILINEAR,
                         .crop_part = s->card.crop_part};
    size_t pixels = (size_t)(c->channels * c->image_height * c->image_width);
    memcpy(how.mean, s->card.mean, sizeof how.mean);
    memcpy(how.std, s->card.std, sizeof how.std);
    TRY(image_source_open(s->o->path, s->o->n_paths, &how, &s->data));
    TRY(alloc_array(&s->inputs, (size_t)s->o->batch * pixels, sizeof *s->inputs));
    TRY(alloc_array(&s->targets, (size_t)s->o->batch, (size_t)c->vocab * sizeof *s->targets));
    return alloc_array(&s->logits, (size_t)s->o->batch, (size_t)c->vocab * sizeof *s->logits);
}

/* The label in a row of targets; -1: the image is unreadable. */
static int64_t label_of(const float *target, int64_t n)
{
    for (int64_t k = 0; k < n; k++)
        if (target[k] > 0) return k;
    return -1;
}

/* Calls `each` for every readable image. */
static error *for_each(session *s,
                       error *(*each)(session *, void *, int64_t i, int64_t label,
                                      const float *logits),
                       void *context)
{
    int64_t n = s->data->count, b = s->o->batch, classes = classes_of(s);
    for (int64_t first = 0; first < n; first += b) {
        TRY(source_read(s->data, first, b, s->inputs, s->targets));
        TRY(inference_classify(s->model, s->inputs, s->logits));
        for (int64_t i = 0; i < b && first + i < n; i++) {
            int64_t label = label_of(s->targets + i * classes, classes);
            if (label >= 0) TRY(each(s, context, first + i, label, s->logits + i * classes));
        }
    }
    return NULL;
}

/* ---- the most likely classes ---- */

typedef struct {
    int64_t class;
    double probability;
} guess;

static int likelier(const void *a, const void *b)
{
    const guess *x = a, *y = b;
    if (x->probability != y->probability) return x->probability < y->probability ? 1 : -1;
    return x->class < y->class ? -1 : x->class > y->class;
}

/* guesses (classes), the most likely first. */
static void rank_classes(const float *logits, int64_t n, guess *guesses)
{
    double most = (double)logits[0], sum = 0;
    for (int64_t k = 1; k < n; k++)
        most = fmax(most, (double)logits[k]);
    for (int64_t k = 0; k < n; k++) {
        guesses[k] = (guess){k, exp((double)logits[k] - most)};
        sum += guesses[k].probability;
    }
    for (int64_t k = 0; k < n; k++)
        guesses[k].probability /= sum;
    qsort(guesses, (size_t)n, sizeof *guesses, likelier);
}

static error *print_json_line(session *s, const char *path, const guess *guesses, int64_t top)
{
    char room[24];
    cJSON *json = cJSON_CreateObject(), *list = NULL;
    bool ok = json && cJSON_AddStringToObject(json, "image", path) &&
              (list = cJSON_AddArrayToObject(json, "classes"));
    for (int64_t k = 0; ok && k < top; k++) {
        cJSON *item = cJSON_CreateObject();
        ok = item && cJSON_AddItemToArray(list, item) &&
             cJSON_AddStringToObject(item, "class", name_of(s, guesses[k].class, room)) &&
             cJSON_AddNumberToObject(item, "probability", guesses[k].probability);
    }
    return json_print_line(json, ok, "a line of JSON");
}

enum { NAME_ROOM = 500 };

static const char *shown_name(const session *s, int64_t class, char room[NAME_ROOM])
{
    char number[24];
    return text_shown(name_of(s, class, number), room, NAME_ROOM);
}

static error *print_one(session *s, void *guesses, int64_t i, int64_t label, const float *logits)
{
    char path[PATH_LENGTH], shown[PATH_LENGTH], room[NAME_ROOM];
    int64_t n = classes_of(s), top = s->o->top < n ? s->o->top : n;
    const guess *g = guesses;
    (void)label;
    rank_classes(logits, n, guesses);
    images_describe(image_source_set(s->data), i, path, sizeof path);
    if (s->o->json) return print_json_line(s, path, g, top);
    printf("%s", text_shown(path, shown, sizeof shown));
    for (int64_t k = 0; k < top; k++)
        printf("\t%s\t%.4f", shown_name(s, g[k].class, room), g[k].probability);
    putchar('\n');
    return NULL;
}

/* ---- how often it is right ---- */

typedef struct {
    guess *guesses;     /* (classes) */
    int64_t *confusion; /* (classes, classes): of class i, how many were taken for j */
    int64_t n, right, in_five;
} tally;

static error *count_one(session *s, void *context, int64_t i, int64_t label, const float *logits)
{
    tally *t = context;
    int64_t n = classes_of(s), few = n < FIRST_FEW ? n : FIRST_FEW;
    (void)i;
    rank_classes(logits, n, t->guesses);
    t->n++;
    t->right += t->guesses[0].class == label;
    for (int64_t k = 0; k < few; k++)
        t->in_five += t->guesses[k].class == label;
    t->confusion[label * n + t->guesses[0].class]++;
    return NULL;
}

/* Of n counts, every `step`-th from `first`: a row of the matrix, or a column. */
static int64_t sum_of(const tally *t, int64_t n, int64_t first, int64_t step)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += t->confusion[first + i * step];
    return sum;
}

static double part_of_file(int64_t a, int64_t b)
{
    return b ? (double)a / (double)b : (double)NAN;
}

static void print_tally(session *s, const tally *t)
{
    char room[NAME_ROOM];
    int64_t n = classes_of(s);
    printf("images\t%lld\naccuracy\t%.4f\ntop-5\t%.4f\n\nclass\timages\trecall\tprecision\n",
           (long long)t->n, part_of_file(t->right, t->n), part_of_file(t->in_five, t->n));
    for (int64_t k = 0; k < n; k++) {
        int64_t hits = t->confusion[k * n + k];
        printf("%s\t%lld\t%.4f\t%.4f\n", shown_name(s, k, room), (long long)sum_of(t, n, k * n, 1),
               part_of_file(hits, sum_of(t, n, k * n, 1)), part_of_file(hits, sum_of(t, n, k, n)));
    }
    printf("\nis, taken for");
    for (int64_t j = 0; j < n; j++)
        printf("\t%s", shown_name(s, j, room));
    for (int64_t i = 0; i < n; i++) {
        printf("\n%s", shown_name(s, i, room));
        for (int64_t j = 0; j < n; j++)
            printf("\t%lld", (long long)t->confusion[i * n + j]);
    }
    putchar('\n');
}

static bool add_classes(session *s, const tally *t, cJSON *list)
{
    char room[24];
    int64_t n = classes_of(s);
    bool ok = list;
    for (int64_t k = 0; ok && k < n; k++) {
        cJSON *item = cJSON_CreateObject(), *row = NULL;
        ok = item && cJSON_AddItemToArray(list, item) &&
             cJSON_AddStringToObject(item, "class", name_of(s, k, room)) &&
             (row = cJSON_AddArrayToObject(item, "taken_for"));
        for (int64_t j = 0; ok && j < n; j++) {
            cJSON *number = cJSON_CreateNumber((double)t->confusion[k * n + j]);
            ok = number && cJSON_AddItemToArray(row, number);
        }
    }
    return ok;
}

static error *print_tally_json(session *s, const tally *t)
{
    cJSON *json = cJSON_CreateObject();
    bool ok = json && cJSON_AddNumberToObject(json, "images", (double)t->n) &&
              cJSON_AddNumberToObject(json, "accuracy", part_of_file(t->right, t->n)) &&
              cJSON_AddNumberToObject(json, "top_5", part_of_file(t->in_five, t->n)) &&
              add_classes(s, t, cJSON_AddArrayToObject(json, "classes"));
    return json_print_line(json, ok, "JSON");
}

/* A name as XML text. */
static void print_escaped(FILE *f, const char *text)
{
    for (; *text; text++)
        if (strchr("<>&\"", *text))
            fprintf(f, "&#%d;", *text);
        else
            fputc(*text, f);
}

/* A row for each class, a column for each prediction; darker cells are a larger part of the row. */
static void draw_matrix(session *s, const tally *t, FILE *f)
{
    enum { CELL = 22, LEFT = 150, TOP_EDGE = 150 };
    char room[24];
    int64_t n = classes_of(s);
    fprintf(f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%lld\" height=\"%lld\" "
            "font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%%\" height=\"100%%\" "
            "fill=\"white\"/>\n",
            (long long)(LEFT + n * CELL + 20), (long long)(TOP_EDGE + n * CELL + 20));
    for (int64_t i = 0; i < n; i++) {
        long long at = LEFT + i * CELL + CELL / 2 + 4, down = TOP_EDGE + i * CELL + CELL / 2 + 4;
        fprintf(f, "<text x=\"%d\" y=\"%lld\" text-anchor=\"end\">", LEFT - 6, down);
        print_escaped(f, name_of(s, i, room));
        fprintf(f, "</text>\n<text transform=\"translate(%lld,%d) rotate(-90)\">", at,
                TOP_EDGE - 6);
        print_escaped(f, name_of(s, i, room));
        fprintf(f, "</text>\n");
        int64_t sum = sum_of(t, n, i * n, 1);
        for (int64_t j = 0; j < n; j++) {
            int64_t k = t->confusion[i * n + j];
            int light = (int)(255 - 200 * (sum ? part_of_file(k, sum) : 0));
            fprintf(f,
                    "<rect x=\"%lld\" y=\"%lld\" width=\"%d\" height=\"%d\" fill=\"rgb(%s)\" "
                    "stroke=\"#ddd\"><title>%lld</title></rect>\n",
                    (long long)(LEFT + j * CELL), (long long)(TOP_EDGE + i * CELL), CELL, CELL,
                    (snprintf(room, sizeof room, i == j ? "%d,255,%d" : "255,%d,%d", light, light),
                     room),
                    (long long)k);
        }
    }
    fprintf(f, "</svg>\n");
}

static error *write_picture(session *s, const tally *t)
{
    memory_stream m;
    TRY(memory_stream_open(&m, s->o->picture));
    draw_matrix(s, t, m.to);
    return memory_stream_save(&m, s->o->picture);
}

static error *evaluate(session *s)
{
    tally t = {0};
    size_t n = (size_t)classes_of(s);
    TRY(alloc_array(&t.guesses, n, sizeof *t.guesses));
    error *e = alloc_array(&t.confusion, n, n * sizeof *t.confusion);
    if (!e) e = for_each(s, count_one, &t);
    if (!e && s->o->json)
        e = print_tally_json(s, &t);
    else if (!e)
        print_tally(s, &t);
    if (!e && s->o->picture) e = write_picture(s, &t);
    free(t.guesses);
    free(t.confusion);
    return e;
}

static error *name_all(session *s)
{
    guess *guesses;
    TRY(alloc_array(&guesses, (size_t)classes_of(s), sizeof *guesses));
    error *e = for_each(s, print_one, guesses);
    free(guesses);
    return e;
}

/* ---- all of it ---- */

/* On standard error: what was skipped, and what is unreadable. */
static void tell_rest(session *s)
{
    char why[400];
    const char *passed = images_passed_over(image_source_set(s->data));
    int64_t bad = source_bad(s->data, why, sizeof why);
    if (*passed) fprintf(stderr, "%s\n", passed);
    if (bad) fprintf(stderr, "%lld could not be read; the last: %s\n", (long long)bad, why);
}

static error *run_session(session *s)
{
    TRY(descriptors_fill(true));
    heap_keep();
    TRY(open_model(s));
    TRY(open_data(s));
    TRY(s->o->eval ? evaluate(s) : name_all(s));
    tell_rest(s);
    fflush(stdout);
    return stdout_check();
}

int main(int argc, char **argv)
{
    static options o;
    session s = {.o = &o};
    char *room[3], **words = command_line_words(&argc, argv, room);
    error *e = parse_arguments(argc, words, &o);
    if (!e) e = run_session(&s);
    source_close(s.data);
    inference_destroy(s.model);
    if (s.open) cpu_close(&s.dev);
    image_card_free(&s.card);
    free(s.inputs);
    free(s.targets);
    free(s.logits);
    return e ? error_report("predict", e) : 0;
}
