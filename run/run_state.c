/* run_state.c - see run_state.h */
#include "run/run_state.h"
#include "base/files.h"
#include "base/fingerprint.h"
#include "base/text_ends.h"
#include "io/model_file.h"
#include "io/params_file.h"
#include "model/hf/hf.h"
#include "run/gather.h"
#include "run/parts.h"
#include "run/run_values.h"
#include "run/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_ROOM = 128 };

/* A checkpoint being written: from the run's tensors, or (dev is NULL) from copies. */
typedef struct {
    const run_contents *contents;
    tensor_list model, states;
    device *dev;
    const tensor_source *model_from, *states_from; /* ? of their values */
    tensor_list *model_parts, *state_parts;        /* ? (ranks) of a checkpoint in parts */
    gather *model_walk;                            /* ? one walk at a time: of the model, first */
} checkpoint_writing;

/* ---- the tensors ---- */

typedef struct {
    char text[NAME_ROOM];
} state_name;

/* Appends one tensor under "parameter.state", "parameter.state.scale". */
static void add_state(named_tensor *list, state_name *names, int64_t *n, const param *row,
                      const char *state, const char *suffix, tensor value)
{
    char text[NAME_ROOM - 28];
    snprintf(names[*n].text, NAME_ROOM, "%s.%s%s", param_text(row, text, sizeof text), state,
             suffix);
    list[*n] = (named_tensor){.name = names[*n].text,
                              .value = value,
                              .transposed = row->spec.file_transposed && value.rank == 2,
                              .of = *n,
                              .sharded = row->own < row->count,
                              .first = row->own_first,
                              .held = row->own};
    ++*n;
}

/* Of --ema. */
static void add_average(named_tensor *list, state_name *names, int64_t *n, const run_tensors *t,
                        int id)
{
    const param *row = &t->r->params->row[id];
    const average *a = &t->optimizer->averages->of[id];
    if (!param_averaged(t->r->params, id)) return;
    dtype type = present(a->value) ? a->value.type : F32;
    add_state(list, names, n, row, "ema", "", tensor_of(a->value.data, type, row->spec.shape));
    if (present(a->low))
        add_state(list, names, n, row, "ema", ".low", tensor_of(a->low.data, I16, row->spec.shape));
}

/* The optimizer's states, their scales, the masters and averages, by name; one block, to be
 * freed. */
static error *state_list(const run_tensors *t, named_tensor **out, int64_t *n)
{
    const optimizer *o = t->optimizer;
    const params *p = t->r->params;
    int64_t most = (int64_t)p->n * (2 * MAX_STATES + 3) + 2; /* scales, a master, an average */
    named_tensor *list;
    TRY(alloc_array(&list, (size_t)most + 1, sizeof *list + sizeof(state_name)));
    state_name *names = (state_name *)(void *)(list + most + 1);
    *n = 0;
    for (int i = 0; i < p->n; i++) {
        const param *row = &p->row[i];
        const rule_info *info = optimizer_rule_of(o, i);
        if (param_in_pool(p, i)) continue;
        for (int k = 0; k < info->n_states && row->trainable; k++) {
            tensor state = o->state[i][k];
            dtype type = o->far && is_far(o->far[i].lane[2 + k]) ? o->far[i].lane[2 + k].type
                         : present(state)                        ? state.type
                                                                 : F32;
            add_state(list, names, n, row, info->state[k], "",
                      tensor_of(state.data, type, row->spec.shape));
            if (present(o->scale[i][k]))
                add_state(list, names, n, row, info->state[k], ".scale", o->scale[i][k]);
        }
        dtype type = is_far(row->far_master) ? row->far_master.type
                     : present(row->master)  ? row->master.type
                                             : F32;
        if (gather_has_masters(p) && row->trainable)
            add_state(list, names, n, row, "master", "",
                      tensor_of(row->master.data, type, row->spec.shape));
        if (o->averages) add_average(list, names, n, t, i);
    }
    if (t->sparse) { /* of the model's file, which is complete, only the rest is read */
        const param *pool = &p->row[sparse_pool(t->sparse)];
        add_state(list, names, n, pool, "value", "", pool->value);
        add_state(list, names, n, pool, "bits", "", sparse_bits(t->sparse));
    }
    *out = list;
    return NULL;
}

/* A tensor, or its pieces; *n: how many these are, 0 if the file has none. */
static error *fetch_any(const safetensors *file, const named_tensor *t, device *dev, int64_t *n)
{
    int64_t at = safetensors_find(file, t->name);
    *n = at >= 0;
    return at >= 0 ? safetensors_fetch(file, at, t, dev) : pieces_fetch(file, t, dev, n);
}

/* One of them, into the room that is opened for it, if any is. */
static error *fetch_state(const safetensors *file, named_tensor t, const tensor_source *into,
                          device *dev, int64_t *n)
{
    if (into) {
        tensor room = into->open(into->context, t.of);
        if (present(room)) t.value.data = room.data;
        TRY(device_status(dev));
    }
    error *e = fetch_any(file, &t, dev, n);
    if (!e && into) into->close(into->context);
    return e;
}

static error *other_states(const safetensors *file, int64_t n)
{
    return user_error("%s has %lld states, this run has %lld: give the --optim and the model "
                      "it was written with",
                      safetensors_path(file), (long long)safetensors_count(file), (long long)n);
}

static error *fetch_states(const safetensors *file, const named_tensor *list, int64_t n,
                           const tensor_source *into, device *dev)
{
    bool in_pieces = text_ends(safetensors_path(file), ".index.json");
    int64_t found, all = 0;
    if (!in_pieces && safetensors_count(file) != n) return other_states(file, n);
    for (int64_t i = 0; i < n; i++) {
        TRY(fetch_state(file, list[i], into, dev, &found));
        if (!found)
            return user_error("%s has no '%s': give the --optim and the model it was written with",
                              safetensors_path(file), list[i].name);
        all += found;
    }
    if (in_pieces && safetensors_count(file) != all) return other_states(file, all);
    return device_status(dev);
}

static error *read_states(const run_tensors *t, const char *path)
{
    named_tensor *list;
    int64_t n;
    safetensors *file;
    TRY(safetensors_open(path, &file));
    error *e = state_list(t, &list, &n);
    if (!e) {
        gather walk = gather_begin(t, FILL_STATES);
        tensor_source room;
        e = fetch_states(file, list, n, gather_source(&walk, &room), t->r->dev);
        free(list);
    }
    if (!e && t->sparse) e = error_context(sparse_adopt(t->sparse, t->r), "%s", path);
    safetensors_close(file);
    return e;
}

const char *run_model_file(const run_contents *c)
{
    return c->adapted ? "adapter_model.safetensors" : "model.safetensors";
}

/* The file of that name, or the index of those that it is split into. */
static error *file_or_index(const char *directory, const char *name, char *path)
{
    char index[PATH_LENGTH], both[NAME_ROOM];
    snprintf(both, sizeof both, "%s.index.json", name);
    TRY(path_join(path, directory, name));
    TRY(path_join(index, directory, both));
    if (access(path, F_OK) && !access(index, F_OK)) strcpy(path, index);
    return NULL;
}

error *run_model_place(const char *directory, const run_contents *c)
{
    const char *const whole[] = {"model.safetensors", "model.safetensors.index.json", NULL};
    const char *const adapters[] = {"adapter_model.safetensors", NULL};
    for (const char *const *name = c->adapted ? whole : adapters; *name; name++) {
        char path[PATH_LENGTH];
        TRY(path_join(path, directory, *name));
        if (access(path, F_OK)) continue;
        return user_error("%s is of another run, and this one's %s would be beside it, so that it "
                          "is not clear which is meant: give another --out, or move it away",
                          path, run_model_file(c));
    }
    return NULL;
}

static error *fill_parameters(const run_tensors *t, const safetensors *file)
{
    parameter_fill f;
    const tensor_source into = parameter_fill_begin(&f, t->r);
    TRY(params_read_into(file, t->r->params, CAST_NONE, &into, t->r->dev));
    parameter_fill_end(&f);
    return device_status(t->r->dev);
}

static error *read_parameters(const run_tensors *t, const char *path)
{
    safetensors *file;
    if (t->r->params->adapted) return adapter_tensors_read(path, t->r->params, t->r->dev);
    TRY(safetensors_open(path, &file));
    error *e = t->r->params->values_far ? fill_parameters(t, file)
                                        : params_read(file, t->r->params, t->r->dev);
    safetensors_close(file);
    return e;
}

/* ---- the files ---- */

static error *part_model(void *context, const char *path)
{
    const checkpoint_writing *w = context;
    return safetensors_write(path, w->model.list, w->model.n, w->dev, w->model_from);
}

static error *part_adapter_config(void *context, const char *path)
{
    const run_contents *c = ((const checkpoint_writing *)context)->contents;
    return adapter_config_write(path, &c->adapters, c->tensors.r->params);
}

static error *part_states(void *context, const char *path)
{
    const checkpoint_writing *w = context;
    if (w->model_walk) gather_finish(w->model_walk);
    return safetensors_write(path, w->states.list, w->states.n, w->dev, w->states_from);
}

static error *part_values(void *context, const char *path)
{
    return run_values_write(((const checkpoint_writing *)context)->contents, path);
}

/* Hugging Face's, so that programs that load its models load a checkpoint. */
static error *part_config(void *context, const char *path)
{
    const run_contents *c = ((const checkpoint_writing *)context)->contents;
    char *text;
    TRY(hf_config_text(c->model, hf_dtype(c->tensors.r->params->type), &text));
    error *e = file_write_text(path, text);
    free(text);
    return e;
}

/* Is the tokenizer's file known, and does it exist? */
static bool has_vocab(const run_contents *c)
{
    return c->vocab && !access(c->vocab, R_OK);
}

static bool find_run_vocab(const run_contents *c, char *path)
{
    return has_vocab(c) && snprintf(path, PATH_LENGTH, "%s", c->vocab) < PATH_LENGTH;
}

/* A file of the model that was loaded, if there is one. */
static bool find_of_base(const run_contents *c, const char *name, char *path)
{
    return c->beside && snprintf(path, PATH_LENGTH, "%s/%s", c->beside, name) < PATH_LENGTH &&
           !access(path, R_OK);
}

/* The chat template: PREFIX.jinja beside the tokenizer's PREFIX.vocab, with which the data was
 * made; or else that of the loaded model. */
static bool find_template(const run_contents *c, char *path)
{
    size_t n = has_vocab(c) ? strlen(c->vocab) : 0;
    if (n >= 6 && !strcmp(c->vocab + n - 6, ".vocab") && n + 1 <= PATH_LENGTH) {
        sprintf(path, "%.*s.jinja", (int)(n - 6), c->vocab);
        if (!access(path, R_OK)) return true;
    }
    return find_of_base(c, "chat_template.jinja", path);
}

/* How texts are generated, which is of the model that was loaded. */
static bool find_generation(const run_contents *c, char *path)
{
    return find_of_base(c, "generation_config.json", path);
}

/* What a tokenizer.json does not say of its tokens, where the run's tokenizer is the loaded
 * model's. */
static bool find_tokenizer_config(const run_contents *c, char *path)
{
    fingerprint one = {0}, two = {0};
    if (!has_vocab(c) || !find_of_base(c, "tokenizer.json", path)) return false;
    error *e = fingerprint_path(c->vocab, &one);
    if (!e) e = fingerprint_path(path, &two);
    bool same = !e && one.value == two.value;
    error_free(e);
    return same && find_of_base(c, "tokenizer_config.json", path);
}

/* The files that go with a model of text, under these names, as far as there are any: copies. */
static const struct {
    const char *name;
    bool (*find)(const run_contents *, char *path); /* the original's, PATH_LENGTH bytes */
} companions[] = {
    {"tokenizer.vocab", find_run_vocab},
    {"tokenizer_config.json", find_tokenizer_config},
    {"chat_template.jinja", find_template},
    {"generation_config.json", find_generation},
};

enum { COMPANIONS = sizeof companions / sizeof *companions };

/* Of the one that is called so. */
static error *part_companion(void *context, const char *path)
{
    char from[PATH_LENGTH];
    const run_contents *c = ((const checkpoint_writing *)context)->contents;
    const char *name = strrchr(path, '/') + 1;
    for (int i = 0; i < COMPANIONS; i++)
        if (!strcmp(companions[i].name, name) && companions[i].find(c, from))
            return file_copy(from, path);
    return user_error("%s cannot be written: its original has gone", path);
}

/* Not onto itself: a run may load what is in its own directory. */
static error *copy_into(const char *directory, const char *name, const char *from)
{
    char path[PATH_LENGTH], *real[2];
    TRY(path_join(path, directory, name));
    real[0] = realpath(path, NULL), real[1] = realpath(from, NULL);
    bool same = real[0] && real[1] && !strcmp(real[0], real[1]);
    free(real[0]), free(real[1]);
    return same ? NULL : file_copy(from, path);
}

error *run_vocab_write(const char *directory, const run_contents *c)
{
    char from[PATH_LENGTH];
    for (int i = 0; i < COMPANIONS; i++)
        if (companions[i].find(c, from)) TRY(copy_into(directory, companions[i].name, from));
    return NULL;
}

enum { MOST_SMALL = 2 + COMPANIONS };

/* What is beside the tensors: how many. */
static int small_files(const run_contents *c, checkpoint_part *parts /* (MOST_SMALL) */)
{
    char from[PATH_LENGTH];
    int n = 0;
    parts[n++] = (checkpoint_part){"state.json", part_values};
    if (c->adapted)
        parts[n++] = (checkpoint_part){"adapter_config.json", part_adapter_config};
    else if (!hf_lacks(c->model))
        parts[n++] = (checkpoint_part){"config.json", part_config};
    for (int i = 0; i < COMPANIONS; i++)
        if (companions[i].find(c, from))
            parts[n++] = (checkpoint_part){companions[i].name, part_companion};
    return n;
}

static error *write_checkpoint(checkpoints *all, checkpoint_writing *w)
{
    const run_contents *c = w->contents;
    checkpoint_part parts[2 + MOST_SMALL] = {{run_model_file(c), part_model},
                                             {"optimizer.safetensors", part_states}};
    int n = 2 + small_files(c, parts + 2);
    return checkpoint_write(all, c->step, parts, n, w);
}

error *run_model_write(const char *directory, const run_contents *c, const tensor_source *from)
{
    const runtime *r = c->tensors.r;
    if (c->adapted) return adapter_write(directory, &c->adapters, r->params, r->dev, from);
    return weights_write(directory, c->model, r->params, r->dev, from);
}

/* Both files' tensors. */
static error *list_tensors(checkpoint_writing *w)
{
    const run_contents *c = w->contents;
    const params *p = c->tensors.r->params;
    int n = 0;
    TRY(c->adapted ? adapter_tensors_list(&c->adapters, p, &w->model.list, &n)
                   : params_list(p, &w->model.list, &n));
    w->model.n = n;
    return state_list(&c->tensors, &w->states.list, &w->states.n);
}

static void free_lists(checkpoint_writing *w)
{
    free(w->model.list);
    free(w->states.list);
}

/* The walks over both, which all ranks go to their ends. */
typedef struct {
    gather model, states;
    tensor_source model_room, states_room;
} checkpoint_walk;

static void begin_walk(checkpoint_walk *k, checkpoint_writing *w)
{
    const run_tensors *t = &w->contents->tensors;
    k->model = gather_begin(t, GATHER_PARAMETERS);
    k->states = gather_begin(t, GATHER_STATES);
    w->model_from = t->splits_model ? gather_source_at(&k->model, &k->model_room)
                                    : gather_source(&k->model, &k->model_room);
    w->states_from = t->in_parts ? gather_source_at(&k->states, &k->states_room)
                                 : gather_source(&k->states, &k->states_room);
    w->model_walk = &k->model;
}

static void end_walk(checkpoint_walk *k)
{
    gather_finish(&k->model);
    gather_finish(&k->states);
}

/* ---- in parts ---- */

static error *part_model_index(void *context, const char *path)
{
    const checkpoint_writing *w = context;
    return parts_index_write(path, "model", w->model_parts,
                             comm_size(w->contents->tensors.r->comm));
}

static error *part_states_index(void *context, const char *path)
{
    const checkpoint_writing *w = context;
    return parts_index_write(path, "optimizer", w->state_parts,
                             comm_size(w->contents->tensors.r->comm));
}

/* Of both lists, what is this rank's; on the first one, which writes the index, each rank's. */
static error *list_parts(checkpoint_writing *w)
{
    const run_tensors *t = &w->contents->tensors;
    int ranks = comm_size(t->r->comm), rank = comm_rank(t->r->comm);
    TRY(alloc_array(&w->model_parts, (size_t)ranks, sizeof *w->model_parts));
    TRY(alloc_array(&w->state_parts, (size_t)ranks, sizeof *w->state_parts));
    for (int r = rank; r < ranks; r += rank ? ranks : 1) {
        if (t->splits_model) TRY(part_of_model(&w->model, r, ranks, &w->model_parts[r]));
        TRY(part_of_states(t, &w->states, r, &w->state_parts[r]));
    }
    return NULL;
}

static void free_parts(checkpoint_writing *w)
{
    int ranks = comm_size(w->contents->tensors.r->comm);
    for (int r = 0; r < ranks && w->model_parts && w->state_parts; r++) {
        free(w->model_parts[r].list);
        free(w->state_parts[r].list);
    }
    free(w->model_parts);
    free(w->state_parts);
    free_lists(w);
}

/* The same of what is this rank's: all, unless it is in parts. */
static checkpoint_writing own_part(const checkpoint_writing *w)
{
    const run_tensors *t = &w->contents->tensors;
    int rank = comm_rank(t->r->comm);
    checkpoint_writing own = *w;
    if (!t->in_parts) return own;
    if (t->splits_model)
        own.model = w->model_parts[rank];
    else if (rank)
        own.model.n = 0;
    own.states = w->state_parts[rank];
    return own;
}

/* How it went in a rank. */
typedef struct {
    bool failed, full;
    char why[300];
    file_facts model, states; /* of its files */
} outcome;

/* A rank's own files of tensors. */
static error *write_own(const checkpoint_writing *w, const char *directory, outcome *out)
{
    const run_contents *c = w->contents;
    const comm *ranks = c->tensors.r->comm;
    int rank = comm_rank(ranks), size = comm_size(ranks);
    bool splits = c->tensors.splits_model, writes = splits || !rank;
    char model[PART_NAME], states[PART_NAME];
    checkpoint_writing own = own_part(w);
    checkpoint_part parts[2];
    part_name("model", rank, size, model);
    part_name("optimizer", rank, size, states);
    parts[0] = (checkpoint_part){splits ? model : run_model_file(c), part_model};
    parts[1] = (checkpoint_part){states, part_states};
    TRY(checkpoint_write_parts(directory, writes ? parts : parts + 1, 1 + writes, &own));
    if (writes) TRY(manifest_facts(directory, parts[0].name, &out->model));
    return manifest_facts(directory, parts[1].name, &out->states);
}

/* All names of a checkpoint, and what is known of those files. */
typedef struct {
    char text[MANIFEST_FILES][PART_NAME];
    const char *names[MANIFEST_FILES];
    file_facts known[MANIFEST_FILES];
    int n;
} file_list;

static void add_known(file_list *f, const char *front, int rank, int ranks, file_facts facts)
{
    part_name(front, rank, ranks, f->text[f->n]);
    f->names[f->n] = f->text[f->n];
    f->known[f->n++] = facts;
}

static void list_files(const run_contents *c, const outcome *of, const checkpoint_part *small,
                       int n_small, file_list *f)
{
    int ranks = comm_size(c->tensors.r->comm);
    for (int r = 0; r < ranks; r++) {
        if (c->tensors.splits_model) add_known(f, "model", r, ranks, of[r].model);
        add_known(f, "optimizer", r, ranks, of[r].states);
    }
    if (!c->tensors.splits_model) {
        f->names[f->n] = run_model_file(c);
        f->known[f->n++] = of[0].model;
    }
    for (int i = 0; i < n_small; i++) {
        f->names[f->n] = small[i].name;
        f->known[f->n++].bytes = -1;
    }
}

/* When all ranks have written theirs: the rest, and the rename. */
static error *complete(checkpoints *all, checkpoint_writing *w, const char *directory,
                       const outcome *of)
{
    const run_contents *c = w->contents;
    checkpoint_part small[2 + MOST_SMALL] = {
        {"optimizer.safetensors.index.json", part_states_index}};
    int n = 1;
    file_list *f;
    if (c->tensors.splits_model)
        small[n++] = (checkpoint_part){"model.safetensors.index.json", part_model_index};
    n += small_files(c, small + n);
    if (2 * comm_size(c->tensors.r->comm) + n > MANIFEST_FILES)
        return user_error("--checkpoint-parts: a checkpoint has at most %d files, which is too few "
                          "for %d ranks: leave it out",
                          MANIFEST_FILES, comm_size(c->tensors.r->comm));
    TRY(checkpoint_write_parts(directory, small, n, w));
    TRY(alloc_array(&f, 1, sizeof *f));
    list_files(c, of, small, n, f);
    error *e = checkpoint_end(all, c->step, f->names, f->known, f->n);
    free(f);
    return e;
}

/* What a rank knows of the others' failures, if it has none of its own. */
static error *first_failure(const outcome *of, int ranks)
{
    for (int full = 1; full >= 0; full--) /* where there was no room, another try may help */
        for (int r = 0; r < ranks; r++)
            if (of[r].failed && of[r].full >= full) {
                error *e = user_error("the part of rank %d: %s", r, of[r].why);
                return of[r].full ? error_numbered(e, ENOSPC) : e;
            }
    return NULL;
}

/* After this rank's part, if all have theirs: what is known of them, to be freed. */
static error *share_outcomes(comm *c, error *e, outcome *mine, outcome **of)
{
    int ranks = comm_size(c);
    *of = NULL;
    mine->failed = e;
    mine->full = error_is_full_disk(e);
    snprintf(mine->why, sizeof mine->why, "%s", e ? error_text(e) : "");
    error *lost = alloc_array(of, (size_t)ranks, sizeof **of);
    if (!lost) lost = comm_share(c, mine, *of, sizeof **of);
    if (!e && !lost) e = first_failure(*of, ranks);
    e = error_first(e, lost);
    if (!e) return NULL;
    free(*of);
    *of = NULL;
    return e;
}

static error *write_in_parts(checkpoints *all, const run_contents *c)
{
    checkpoint_walk walk;
    checkpoint_writing w = {.contents = c, .dev = c->tensors.r->dev};
    char directory[PATH_LENGTH] = "";
    outcome mine = {0}, *of = NULL;
    begin_walk(&walk, &w);
    error *e = all ? checkpoint_begin(all, c->step, directory) : NULL;
    if (e) *directory = 0;
    bool begun = all && *directory;
    error *lost = comm_tell(c->tensors.r->comm, directory, sizeof directory);
    if (!e) e = lost;
    if (!e && *directory) e = list_tensors(&w);
    if (!e && *directory) e = list_parts(&w);
    if (!e && *directory) e = write_own(&w, directory, &mine);
    end_walk(&walk);
    if (*directory) e = share_outcomes(c->tensors.r->comm, e, &mine, &of);
    if (all && !e && *directory) e = complete(all, &w, directory, of);
    if (e && begun) checkpoint_abandon(all, c->step);
    free(of);
    free_parts(&w);
    return e;
}

error *run_state_write(checkpoints *all, const run_contents *c)
{
    if (c->tensors.in_parts) return write_in_parts(all, c);
    checkpoint_walk walk;
    checkpoint_writing w = {.contents = c, .dev = c->tensors.r->dev};
    begin_walk(&walk, &w);
    error *e = all ? list_tensors(&w) : NULL;
    if (all && !e) e = write_checkpoint(all, &w);
    end_walk(&walk);
    free_lists(&w);
    return e;
}

/* ---- from a copy ---- */

struct run_copy {
    run_contents contents;
    checkpoint_writing writing;
    char directory[PATH_LENGTH]; /* in parts: where it is written */
    outcome mine, *of;           /* ? (ranks) what is known of all parts, when they are there */
};

error *run_copy_bytes(const run_tensors *t, size_t *bytes)
{
    const run_contents c = {.tensors = *t};
    checkpoint_writing w = {.contents = &c};
    const params *p = t->r->params;
    int n = 0;
    *bytes = 0;
    error *e =
        p->adapted ? adapters_list(p, "", &w.model.list, &n) : params_list(p, &w.model.list, &n);
    w.model.n = n;
    if (!e) e = state_list(t, &w.states.list, &w.states.n);
    if (!e && t->in_parts) e = list_parts(&w);
    if (!e) {
        checkpoint_writing own = own_part(&w);
        *bytes = snapshot_bytes(own.model.list, own.model.n) +
                 snapshot_bytes(own.states.list, own.states.n);
    }
    free_parts(&w);
    return e;
}

static error *take_copy(checkpoint_writing *w, char *room)
{
    device *dev = w->contents->tensors.r->dev;
    TRY(list_tensors(w));
    if (w->contents->tensors.in_parts) TRY(list_parts(w));
    checkpoint_writing own = own_part(w);
    TRY(snapshot_take(own.model.list, own.model.n, dev, w->model_from, room));
    room += snapshot_bytes(own.model.list, own.model.n);
    gather_finish(w->model_walk);
    TRY(snapshot_take(own.states.list, own.states.n, dev, w->states_from, room));
    w->model_from = w->states_from = NULL;
    w->model_walk = NULL;
    return NULL;
}

error *run_copy_take(const run_contents *c, char *room, run_copy **out)
{
    checkpoint_walk walk;
    run_copy *copy = NULL;
    *out = NULL;
    error *e = alloc_array(&copy, 1, sizeof *copy);
    checkpoint_writing none = {.contents = c}, *w = e ? &none : &copy->writing;
    if (!e) copy->contents = *c;
    if (!e) w->contents = &copy->contents;
    begin_walk(&walk, w);
    if (!e && room) e = take_copy(w, room);
    end_walk(&walk);
    if (!e && room)
        *out = copy;
    else
        run_copy_free(copy);
    return e;
}

int64_t run_copy_step(const run_copy *copy)
{
    return copy->contents.step;
}

error *run_copy_begin(checkpoints *all, run_copy *copy)
{
    size_t room = sizeof copy->directory;
    *copy->directory = 0;
    error *e = all ? checkpoint_begin(all, copy->contents.step, copy->directory) : NULL;
    if (e) *copy->directory = 0;
    return error_first(e, comm_tell(copy->contents.tensors.r->comm, copy->directory, room));
}

bool run_copy_begun(const run_copy *copy)
{
    return *copy->directory;
}

error *run_copy_conclude(checkpoints *all, run_copy *copy, error *e)
{
    e = share_outcomes(copy->contents.tensors.r->comm, e, &copy->mine, &copy->of);
    if (e && all) checkpoint_abandon(all, copy->contents.step);
    return e;
}

error *run_copy_write(checkpoints *all, run_copy *copy)
{
    checkpoint_writing *w = &copy->writing;
    if (!copy->contents.tensors.in_parts) return write_checkpoint(all, w);
    return copy->of ? complete(all, w, copy->directory, copy->of)
                    : write_own(w, copy->directory, &copy->mine);
}

void run_copy_abandon(checkpoints *all, const run_copy *copy)
{
    if (copy->contents.tensors.in_parts) checkpoint_abandon(all, copy->contents.step);
}

void run_copy_free(run_copy *copy)
{
    if (!copy) return;
    free_parts(&copy->writing);
    free(copy->of);
    free(copy);
}

error *run_state_resume(const char *path, run_contents *c)
{
    char file[PATH_LENGTH];
    TRY(path_join(file, path, "state.json")); /* first: it explains best what does not fit */
    TRY(run_values_read(file, c));
    TRY(file_or_index(path, run_model_file(c), file));
    TRY(read_parameters(&c->tensors, file));
    TRY(file_or_index(path, "optimizer.safetensors", file));
    return read_states(&c->tensors, file);
}

/* Puts a parameter's average in its place, if the file has one. */
static error *fetch_average(const safetensors *file, const run_tensors *t, int id, bool *found)
{
    char name[NAME_ROOM], text[NAME_ROOM - 28];
    const param *row = &t->r->params->row[id];
    snprintf(name, sizeof name, "%s.ema", param_text(row, text, sizeof text));
    int64_t n;
    named_tensor into = {.name = name,
                         .value = row->value,
                         .transposed = row->spec.file_transposed && row->value.rank == 2};
    TRY(fetch_any(file, &into, t->r->dev, &n));
    *found |= n > 0;
    return NULL;
}

error *run_state_model(const char *path, const run_tensors *t, bool *averaged)
{
    char file[PATH_LENGTH];
    const run_contents c = {.adapted = t->r->params->adapted};
    safetensors *states;
    *averaged = false;
    TRY(file_or_index(path, run_model_file(&c), file));
    TRY(read_parameters(t, file));
    TRY(file_or_index(path, "optimizer.safetensors", file));
    TRY(safetensors_open(file, &states));
    error *e = NULL;
    for (int id = 0; id < t->r->params->n && !e; id++)
        e = fetch_average(states, t, id, averaged);
    safetensors_close(states);
    return e ? e : device_status(t->r->dev);
}
