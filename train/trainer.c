/* trainer.c - see trainer.h */
#include "train/trainer.h"
#include "base/clock.h"
#include "base/files.h"
#include "core/narrow.h"
#include "model/far_keeps.h"
#include "train/conflicts.h"
#include "train/freeze.h"
#include "train/task.h"
#include "train/tuning.h"
#include "run/stop.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory ---- */

/* t->sums */
enum { SUM_LOSS, SUM_HITS, SUM_STOP, SHARED_SUMS, SUM_TOTAL = SHARED_SUMS, SUMS };

static tensor number(const trainer *t, int i)
{
    return tensor_part(t->sums, i, 1);
}

/* Those that are summed over the ranks. */
static tensor shared_sums(const trainer *t)
{
    return present(t->sums) ? tensor_of(t->sums.data, F64, SHAPE(SHARED_SUMS)) : (tensor){0};
}

static bool samples(const trainer *t)
{
    return t->o->sample_every > 0 && t->kind->decode;
}

static bool predicts(const trainer *t)
{
    return (t->o->images.predict > 0 || t->o->eval_only) && t->kind->predict;
}

/* The results of a step; with several ranks in one row, so that one all-reduce is enough. */
static void place_sums(trainer *t)
{
    arena *a = t->arena;
    if (comm_size(t->r.comm) == 1) {
        t->loss = arena_keep(a, KIND_BATCH, F64, SHAPE(1), NAME("loss", 0));
        if (t->kind->hits) t->hits = arena_keep(a, KIND_BATCH, F64, SHAPE(1), NAME("hits", 0));
        return;
    }
    t->sums = arena_keep(a, KIND_BATCH, F64, SHAPE(SUMS), NAME("sums", 0));
    t->loss = number(t, SUM_LOSS);
    if (t->kind->hits) t->hits = number(t, SUM_HITS);
    comm *c = t->r.comm;
    tensor staged = {0};
    if (c->staging)
        staged = arena_keep(a, KIND_WORKSPACE, U8, SHAPE((int64_t)c->staging),
                            NAME("staging of the ranks", 0));
    /* other plans are made while the run has its own */
    if (!arena_recording(a)) c->staged = staged;
}

/* Workspace of the device: for the largest of the three products of each matrix (out, in) with a
 * micro-batch's rows. */
static size_t room_wanted(const trainer *t)
{
    const options *o = t->o;
    const device_kind *kind = device_kind_at(o->device);
    size_t most = 0;
    if (!kind->room_for) return kind->room;
    for (int i = 0; i < t->params.n; i++) {
        if (param_is_pool(&t->params, i)) continue; /* no operand of any product */
        param_spec spec = t->params.row[i].spec;
        shape s = spec.shape;
        int64_t rows = o->batch * (spec.rows ? spec.rows : o->task->positions(o)), out = s.dim[0],
                in = 1;
        for (int d = 1; d < s.rank; d++)
            in *= s.dim[d];
        const size_t forms[] = {kind->room_for(rows, out, in), kind->room_for(rows, in, out),
                                kind->room_for(out, in, rows)};
        for (int f = 0; s.rank > 1 && f < 3; f++)
            if (forms[f] > most) most = forms[f];
    }
    return most;
}

/* Memory for operands in 8 bits: for the largest products of the matrices that have such.  0:
 * there are none. */
static size_t narrow_wanted(const trainer *t)
{
    const options *o = t->o;
    int size = device_kind_at(o->device)->narrow_size;
    size_t most = 0;
    for (int i = 0; i < t->params.n && products_narrow(o->products); i++) {
        param_spec spec = t->params.row[i].spec;
        if (!param_narrow(&t->params, i)) continue;
        int64_t rows = o->batch * (spec.rows ? spec.rows : o->task->positions(o));
        size_t room = narrow_room(size, rows, spec.shape.dim[0], spec.shape.dim[1]);
        if (room > most) most = room;
    }
    return most;
}

static error *refuse_narrow(const trainer *t)
{
    if (!products_narrow(t->o->products) || narrow_wanted(t)) return NULL;
    return user_error("--products %s: no matrix between this model's layers has sides that are "
                      "multiples of %d, as products of 8 bits need them; leave it out",
                      t->o->products, NARROW_UNIT);
}

static void place_narrow(trainer *t)
{
    int64_t bytes = (int64_t)narrow_wanted(t);
    if (!bytes) return;
    t->r.narrow = true;
    t->narrow =
        arena_keep(t->arena, KIND_WORKSPACE, U8, SHAPE(bytes), NAME("operands in 8 bits", 0));
    if (!arena_recording(t->arena)) op_lend_narrow(t->r.dev, t->narrow);
}

static void place_room(trainer *t)
{
    int64_t bytes = (int64_t)room_wanted(t);
    if (!bytes) return;
    t->room = arena_keep(t->arena, KIND_WORKSPACE, U8, SHAPE(bytes), NAME("room of the device", 0));
    if (!arena_recording(t->arena)) op_lend(t->r.dev, t->room);
}

/* Of --checkpoint-async: the first rank copies all, and writes; in parts each its own. */
static void place_copy(trainer *t)
{
    const run_tensors all = trainer_tensors(t);
    bool copies = all.in_parts || comm_rank(t->r.comm) == 0;
    if (!t->o->checkpoint_async || t->o->eval_only || !copies) return;
    error *e = run_copy_bytes(&all, &t->copy_bytes);
    if (e) {
        device_fail(t->r.dev, e);
        return;
    }
    if (!t->copy_bytes) t->copy_bytes = 1; /* nothing is this rank's, and it takes part */
    t->copies_to_host = t->o->device == DEVICE_CUDA;
    if (!t->copies_to_host)
        t->copy = arena_keep(t->arena, KIND_COPY, U8, SHAPE((int64_t)t->copy_bytes),
                             NAME("copy for a checkpoint", 0));
}

size_t trainer_host_bytes(const trainer *t)
{
    return t->copies_to_host ? t->copy_bytes : 0;
}

char *trainer_copy_room(const trainer *t)
{
    return t->copies_to_host ? t->host_copy : t->copy.data;
}

/* The system gives pages when they are first written to: now, rather than while the training waits
 * for its first checkpoint. */
static void touch_copy(trainer *t)
{
    enum { PAGE = 4096 };
    char *copy = trainer_copy_room(t);
    for (size_t at = 0; copy && at < t->copy_bytes; at += PAGE)
        copy[at] = 0;
}

static void place(trainer *t)
{
    const options *o = t->o;
    place_room(t);
    place_narrow(t);
    params_place(&t->params, t->arena);
    if (t->sparse) sparse_place(t->sparse, &t->r);
    optimizer_place(t->optimizer);
    place_copy(t);
    t->batch = t->kind->place_batch(t->model, t->arena, o->batch, o->seq);
    place_sums(t);
    if (predicts(t))
        t->predictions = arena_keep(t->arena, KIND_BATCH, t->params.type,
                                    SHAPE(o->batch, o->model.vocab), NAME("predictions", 0));
    if (samples(t)) decoder_place(&t->decoder, o->model.vocab);
}

/* ---- programs: recorded once, then run ---- */

/* For a packed batch: moves the learned rows and their targets to the front, in order. */
static void pick_learned(trainer *t)
{
    int32_t *targets = t->host_targets;
    int64_t all = tensor_count(t->batch.targets), n = 0;
    for (int64_t i = 0; i < all; i++) {
        if (targets[i] < 0) continue;
        t->host_rows[n] = (int32_t)i;
        targets[n++] = targets[i];
    }
    for (int64_t i = n; i < all; i++)
        t->host_rows[i] = targets[i] = 0; /* not read */
    t->batch.n_learned = n;
}

static error *read_batch(trainer *t, source *data, int64_t first)
{
    const options *o = t->o;
    if (!present(t->batch.starts))
        return source_read(data, first, o->batch, t->host_inputs, t->host_targets);
    TRY(source_read_packed(data, first, o->batch, t->host_inputs, t->host_targets, t->host_starts,
                           o->seq));
    pick_learned(t);
    return NULL;
}

/* Copies samples [first, first + batch) to the device; nothing while recording. */
static void feed(trainer *t, source *data, int64_t first)
{
    if (arena_recording(t->arena) || t->r.dev->failure) return;
    double begin = clock_now();
    error *e = read_batch(t, data, first);
    t->data_seconds += clock_now() - begin;
    if (e) {
        device_fail(t->r.dev, e);
        return;
    }
    op_put(t->r.dev, t->r.stream, t->batch.inputs, t->host_inputs);
    op_put(t->r.dev, t->r.stream, t->batch.targets, t->host_targets);
    if (!present(t->batch.starts)) return;
    op_put(t->r.dev, t->r.stream, t->batch.starts, t->host_starts);
    op_put(t->r.dev, t->r.stream, t->batch.rows, t->host_rows);
}

/* The micro-batch's position in the run, for dropout. */
static void feed_start(trainer *t, int64_t first)
{
    uint64_t row = (uint64_t)first * (uint64_t)t->o->seq;
    if (arena_recording(t->arena) || !present(t->batch.start)) return;
    t->host_start[0] = (uint32_t)row;
    t->host_start[1] = (uint32_t)(row >> 32);
    op_put(t->r.dev, t->r.stream, t->batch.start, t->host_start);
}

/* The same for stochastic depth. */
static void feed_noise(trainer *t, int64_t first)
{
    if (arena_recording(t->arena) || !present(t->batch.noise)) return;
    t->kind->draw(t->model, (uint64_t)t->o->seed, first, t->o->batch, t->host_noise);
    op_put(t->r.dev, t->r.stream, t->batch.noise, t->host_noise);
}

/* How many iterations of a loop to run: a recording needs the first and a later one. */
static int iterations(const trainer *t, int64_t n)
{
    return (int)(arena_recording(t->arena) && n > 2 ? 2 : n);
}

/* Samples of all ranks in a micro-batch; rank r has the r-th `batch` of them. */
static int64_t samples_at_once(const trainer *t)
{
    return t->o->batch * comm_size(t->r.comm);
}

static int64_t own_samples(const trainer *t, int64_t micro_batch)
{
    return micro_batch * samples_at_once(t) + comm_rank(t->r.comm) * t->o->batch;
}

/* 1 / the number of learned targets in all ranks' micro-batches `first`, first + 1, ... of the
 * run. */
static double mean_over(const trainer *t, const source *data, int64_t first, int64_t micro_batches)
{
    int64_t at_once = samples_at_once(t), each = t->kind->targets(t->model, t->o->seq);
    if (data && data->packed)
        return 1.0 / (double)source_learned(data, first * at_once, micro_batches * at_once, each);
    return 1.0 / ((double)(at_once * each) * (double)micro_batches);
}

int64_t trainer_eval_samples(const trainer *t, const source *data)
{
    int64_t at_once = samples_at_once(t), n = t->o->eval_batches * at_once;
    if (!data) return n > 0 ? n : 2 * at_once; /* recording */
    if (n > 0 && n <= data->count) return n;
    return data->ends ? data->count : data->count / at_once * at_once; /* whole batches */
}

bool trainer_stop_wished(trainer *t)
{
    bool wished = stop_is_asked();
    if (arena_recording(t->arena)) return false;
    error *e = comm_any(t->r.comm, &wished);
    if (e) device_fail(t->r.dev, e);
    t->stop_agreed |= wished;
    return wished;
}

static int graph_of(const trainer *t, int64_t k)
{
    return k == t->o->accum - 1 ? GRAPH_LAST : k ? GRAPH_MIDDLE : GRAPH_FIRST;
}

static void feed_step(trainer *t, source *data, int64_t step, int64_t k)
{
    int64_t first = own_samples(t, (step - 1) * t->o->accum + k);
    feed(t, data, first);
    feed_noise(t, first);
    feed_start(t, first);
}

/* Traffic while a graph was captured (since `before`) occurs when it is launched. */
static void end_graph(trainer *t, int which, comm_traffic before)
{
    comm *c = t->r.comm;
    op_graph_free(t->r.dev, t->graph[which]); /* of an earlier micro-batch: the same */
    t->graph[which] = op_graph_end(t->r.dev, t->r.stream);
    if (!c) return;
    t->graph_traffic[which] = (comm_traffic){.all = c->moved.all - before.all,
                                             .between = c->moved.between - before.between};
    c->moved = before;
}

/* Before a step: zeros, and this rank's stop request. */
static void clear_sums(trainer *t)
{
    if (!present(t->sums)) return;
    op_clear(t->r.dev, t->r.stream, t->sums);
    op_put(t->r.dev, t->r.stream, number(t, SUM_STOP), &t->stop);
}

/* Replays the captured step: the host decides nothing in it. */
static void launch_graphs(trainer *t, source *data, int64_t step)
{
    comm *c = t->r.comm;
    clear_sums(t);
    if (c) c->doing = "in a step";
    for (int64_t k = 0; k < t->o->accum; k++) {
        int which = graph_of(t, k);
        feed_step(t, data, step, k);
        op_graph_launch(t->r.dev, t->r.stream, t->graph[which]);
        if (!c) continue;
        c->moved.all += t->graph_traffic[which].all;
        c->moved.between += t->graph_traffic[which].between;
    }
}

/* While a step is recorded: its total work, if `before` was counted before the last of the n
 * recorded micro-batches, and `after` after it. */
static void note_work(trainer *t, int n, work_count before, work_count after)
{
    double left_out = (double)(t->o->accum - n);
    if (!arena_recording(t->arena)) return;
    t->work.flops = t->counted.flops + left_out * (after.flops - before.flops);
    t->work.bytes = t->counted.bytes + left_out * (after.bytes - before.bytes);
}

static far_moved moved_so_far(const trainer *t)
{
    return t->params.far ? far_so_far(t->params.far) : (far_moved){0};
}

/* While a step is recorded: what micro-batch k of n moved since `before` counts for all that are
 * like it. */
static void note_moved(trainer *t, int k, int n, far_moved before)
{
    far_moved now = moved_so_far(t);
    int64_t times = k < n - 1 ? t->o->accum - (n - 1) : 1;
    if (!arena_recording(t->arena)) return;
    if (!k) t->step_moved = (far_moved){0};
    t->step_moved.read += times * (now.read - before.read);
    t->step_moved.written += times * (now.written - before.written);
}

/* One step.  With `note` it is not executed: the device's work between two uploads is captured in
 * t->graph. */
static void train_program(trainer *t, source *data, int64_t step, bool note)
{
    const options *o = t->o;
    loss_sink loss = {.sum = t->loss,
                      .hyper = t->optimizer->hyper,
                      .hits = t->hits,
                      .scale = mean_over(t, data, (step - 1) * o->accum, o->accum)};
    int n = iterations(t, o->accum);
    work_count before = t->counted, after = before;
    arena_begin(t->arena, "train");
    if (!note) clear_sums(t);
    params_begin_step(&t->r, n);
    for (int k = 0; k < n; k++) {
        arena_iteration(t->arena, k);
        comm_traffic moved = t->r.comm ? t->r.comm->moved : (comm_traffic){0};
        far_moved offloaded = moved_so_far(t);
        params_begin_micro(&t->r, k);
        pass_begin(&t->r, &t->orders[0]);
        if (note)
            op_graph_begin(t->r.dev, t->r.stream);
        else
            feed_step(t, data, step, k);
        loss.accumulate = k > 0;
        if (k == n - 1 && present(t->sums)) {
            loss.all = shared_sums(t);
            loss.total = number(t, SUM_TOTAL);
        }
        before = t->counted;
        phase_enter(&t->phases, PHASE_FORWARD);
        arena_mark(t->arena, "forward");
        t->kind->train(&t->r, t->model, &t->batch, &loss);
        params_end_micro(&t->r);
        after = t->counted;
        phase_enter(&t->phases, PHASE_OPTIMIZER);
        if (k == n - 1) {
            arena_mark(t->arena, "optimizer");
            optimizer_end_step(t->optimizer);
            params_end_step(&t->r);
            optimizer_average(t->optimizer);
        }
        pass_end(&t->r);
        note_moved(t, k, n, offloaded);
        phase_enter(&t->phases, PHASE_OTHER);
        if (note) end_graph(t, graph_of(t, k), moved);
    }
    arena_end(t->arena);
    note_work(t, n, before, after);
}

/* True: it was interrupted, and its sums are partial. */
static bool eval_program(trainer *t, source *data)
{
    int64_t at_once = samples_at_once(t), samples = trainer_eval_samples(t, data),
            batches = (samples + at_once - 1) / at_once;
    if (batches < 2 && t->o->eval_batches != 1) batches = 2; /* as recorded; the rest is empty */
    loss_sink loss = {.sum = t->loss, .hits = t->hits};
    loss.scale =
        data ? mean_over(t, data, 0, batches) * (double)(batches * at_once) / (double)samples : 1;
    int n = iterations(t, batches);
    int64_t before = data ? data->left_out : 0;
    bool stopped = false;
    arena_begin(t->arena, "eval");
    for (int k = 0; k < n && !stopped; k++) {
        arena_iteration(t->arena, k);
        feed(t, data, own_samples(t, k));
        loss.accumulate = k > 0;
        if (k * at_once >= samples) loss.scale = 0; /* a batch of samples that have been counted */
        pass_begin(&t->r, &t->orders[1]);
        t->kind->evaluate(&t->r, t->model, &t->batch, &loss);
        pass_end(&t->r);
        if (k > 0 && k + 1 < n) stopped = trainer_stop_wished(t);
    }
    t->left_out = data ? (double)(data->left_out - before) : 0;
    if (present(t->sums)) { /* in the slot of the stop request, which evaluations do not need */
        op_put(t->r.dev, t->r.stream, number(t, SUM_STOP), &t->left_out);
        comm_sum(t->r.comm, t->r.dev, t->r.stream, shared_sums(t));
    }
    arena_end(t->arena);
    return stopped;
}

void trainer_exchange(trainer *t)
{
    if (!t->optimizer->averages) return;
    arena_begin(t->arena, "exchange");
    averages_exchange(t->optimizer->averages, &t->r);
    arena_end(t->arena);
}

static void predict_program(trainer *t, source *data, int64_t first)
{
    arena_begin(t->arena, "predict");
    feed(t, data, first);
    t->kind->predict(&t->r, t->model, &t->batch, t->predictions);
    arena_end(t->arena);
}

/* ---- non-zeros ---- */

/* Regrows the non-zeros of all matrices, in all tensors that go with them. */
static error *renew(trainer *t, int64_t step)
{
    int pool = sparse_pool(t->sparse), n = 0;
    const param *row = &t->params.row[pool];
    tensor all[MAX_STATES + 2];
    all[n++] = row->value;
    if (present(row->master)) all[n++] = row->master;
    for (int k = 0; k < optimizer_rule_of(t->optimizer, pool)->n_states; k++)
        all[n++] = t->optimizer->state[pool][k];
    return sparse_renew(t->sparse, &t->r, t->o->regrow_fraction, step, all, n);
}

/* Not near the end, when new weights would not be trained long enough. */
static bool renews(const trainer *t, int64_t step)
{
    const options *o = t->o;
    return t->sparse && o->regrow_every > 0 && step % o->regrow_every == 0 &&
           step <= o->steps - o->steps / 4;
}

static error *record_sparse(trainer *t)
{
    TRY(sparse_initialize(t->sparse, &t->r));
    return t->o->regrow_every > 0 ? renew(t, 1) : NULL;
}

run_tensors trainer_tensors(trainer *t)
{
    return (run_tensors){.r = &t->r,
                         .optimizer = t->optimizer,
                         .zero = t->zero,
                         .sparse = t->sparse,
                         .in_parts = t->o->checkpoint_parts,
                         .splits_model = t->o->checkpoint_parts && !t->params.adapted &&
                                         t->o->model.image_height == 0};
}

/* Describes sharded or sparse tensors for files. */
static void record_gathers(trainer *t)
{
    const run_tensors all = trainer_tensors(t);
    gather parameters = gather_begin(&all, GATHER_PARAMETERS),
           states = gather_begin(&all, GATHER_STATES), fill = gather_begin(&all, FILL_STATES);
    t->params.training = false;
    gather_finish(&parameters);
    gather_finish(&states);
    gather_finish(&fill);
}

/* ---- coded and offloaded matrices ---- */

tensor_source trainer_fill_begin(trainer *t)
{
    return parameter_fill_begin(&t->filling, &t->r);
}

void trainer_fill_end(trainer *t)
{
    parameter_fill_end(&t->filling);
}

/* Each opened and closed: in the record, and in a run where values are here and masters are not. */
static void fill_again(trainer *t)
{
    tensor_source into = trainer_fill_begin(t);
    for (int i = 0; i < t->params.n; i++) {
        into.open(into.context, i);
        into.close(into.context);
    }
    trainer_fill_end(t);
}

/* Initial values, where some go far as soon as they are there. */
static error *fill_with_initial(trainer *t, device *dev)
{
    arena_begin(t->arena, "load");
    for (int i = 0; i < t->params.n; i++) {
        param_fill_begin(&t->r, i);
        TRY(device_status(dev));
        TRY(param_initialize(&t->params, dev, (uint64_t)t->o->seed, i));
        param_fill_end(&t->r, i);
    }
    arena_end(t->arena);
    return device_status(dev);
}

/* ---- from plan to end ---- */

/* The second place, empty. */
static error *begin_far(trainer *t)
{
    const options *o = t->o;
    if (!options_offloads(o)) return NULL;
    far_destroy(t->params.far);
    t->params.far = NULL;
    t->params.states_far = o->offload != OFFLOAD_NONE;
    t->params.values_far = o->offload == OFFLOAD_PARAMS;
    if (t->r.keeps) far_keeps_forget(t->r.keeps);
    if (o->offload_activations && !t->r.keeps) TRY(far_keeps_create(o->model.layers, &t->r.keeps));
    return far_create(&t->params.far);
}

/* Builds all parts, places each and runs it over the null device. */
static error *assemble(trainer *t)
{
    const options *o = t->o;
    const device_kind *kind = device_kind_at(o->device);
    training_policy how = o->training;
    if (!how.logits_mib) how.logits_mib = kind->logits_mib ? kind->logits_mib : DEFAULT_LOGITS_MIB;
    t->null.kind = kind;
    t->params.together = kind->costly_launch;
    TRY(arena_create(&block_kinds, &t->arena));
    arena_attach(t->arena, &t->null);
    t->r = (runtime){.dev = &t->null,
                     .arena = t->arena,
                     .params = &t->params,
                     .stream = STREAM_COMPUTE,
                     .phases = &t->phases,
                     .comm = o->comm};
    TRY(t->kind->create(&o->model, &how, &t->params, &t->model));
    TRY(options_refuse(o));
    TRY(refuse_narrow(t));
    TRY(tuning_check(o, &t->params));
    TRY(freeze_apply(o, &t->params));
    params_encode(&t->params, o->base_form, o->base_packs);
    if (o->eval_only) params_freeze(&t->params);
    TRY(begin_far(t));
    if (o->sparsity > 0) TRY(sparse_open(&t->r, o->sparsity, (uint64_t)o->seed, &t->sparse));
    TRY(optimizer_create(&o->optim, &t->r, &t->optimizer));
    t->params.ahead = (int)options_prefetch(o);
    if (comm_size(o->comm) > 1)
        TRY(zero_open(&t->r, (int)o->zero, t->optimizer->info->sees != BY_ELEMENT, o->bucket << 20,
                      &t->zero));
    return samples(t) ? decoder_open(t->kind, &t->r, t->model, o->seq, &t->decoder) : NULL;
}

/* The order in which passes use values that are not here: by a recording of its own, of no plan. */
static error *note_orders(trainer *t)
{
    arena *kept = t->arena;
    TRY(arena_create(&block_kinds, &t->arena));
    t->r.arena = t->arena;
    arena_attach(t->arena, &t->null);
    place(t);
    train_program(t, NULL, 1, false);
    if (t->o->eval_every > 0) eval_program(t, NULL);
    arena_destroy(t->arena);
    t->r.arena = t->arena = kept;
    t->orders[0].noted = t->orders[1].noted = true;
    t->counted = (work_count){0};
    TRY(device_status(&t->null));
    return begin_far(t);
}

/* Of --eval-only: one forward pass. */
static error *record_evaluation(trainer *t)
{
    place(t);
    if (predicts(t))
        predict_program(t, NULL, 0);
    else
        eval_program(t, NULL);
    if (params_fill(&t->params)) fill_again(t);
    return NULL;
}

static error *record(trainer *t)
{
    if (t->o->eval_only) return record_evaluation(t);
    if (params_ordered(&t->params)) TRY(note_orders(t));
    place(t);
    train_program(t, NULL, 1, false);
    if (t->o->eval_every > 0) eval_program(t, NULL);
    if (samples(t)) decoder_record(&t->decoder);
    if (predicts(t)) predict_program(t, NULL, 0);
    trainer_exchange(t);
    record_gathers(t);
    if (params_fill(&t->params)) fill_again(t);
    return t->sparse ? record_sparse(t) : NULL;
}

error *trainer_plan(const options *o, const model_kind *kind, trainer **out)
{
    trainer *t = NULL;
    TRY(alloc_array(&t, 1, sizeof *t));
    t->o = o;
    t->kind = kind;
    t->null = device_counting(&t->counted);
    t->params.type = o->type;
    t->params.master = o->master;
    error *e = assemble(t);
    if (!e) e = record(t);
    if (!e) e = arena_plan(t->arena);
    if (e)
        trainer_destroy(t);
    else
        *out = t;
    return e;
}

static error *open_far(trainer *t, device *dev)
{
    const far_host *host = device_host(dev);
    if (host) return far_open_host(t->params.far, host, dev, t->r.stream);
    const char *directory = t->o->offload_to ? t->o->offload_to : t->o->out;
    TRY(make_directory(directory, "--offload-to"));
    return far_open(t->params.far, directory);
}

/* What a run begins with. */
static error *first_values(trainer *t, device *dev)
{
    params *p = &t->params;
    if (!t->o->load && params_fill(p)) return fill_with_initial(t, dev);
    if (!t->o->load) {
        TRY(params_initialize(p, dev, (uint64_t)t->o->seed));
        return t->sparse ? sparse_initialize(t->sparse, &t->r) : NULL;
    }
    TRY(t->o->task->load(t, dev));
    if (params_in_place(p) && params_fill(p)) fill_again(t);
    return params_adopt(p, dev);
}

error *trainer_commit(trainer *t, device *dev, bool fill_fresh)
{
    if (!(dev->ops->working_types >> t->params.type & 1))
        return user_error(
            "--dtype bf16: the %s device does not compute in it: use --device cpu, or "
            "--dtype fp32",
            dev->ops->name);
    TRY(alloc_array(&t->host_inputs, tensor_bytes(t->batch.inputs), 1));
    TRY(alloc_array(&t->host_targets, tensor_bytes(t->batch.targets), 1));
    if (present(t->batch.starts)) {
        TRY(alloc_array(&t->host_starts, tensor_bytes(t->batch.starts), 1));
        TRY(alloc_array(&t->host_rows, tensor_bytes(t->batch.rows), 1));
    }
    if (present(t->batch.noise)) TRY(alloc_array(&t->host_noise, tensor_bytes(t->batch.noise), 1));
    if (t->params.far) TRY(open_far(t, dev));
    if (t->copies_to_host) TRY(alloc_array(&t->host_copy, t->copy_bytes, 1));
    TRY(arena_commit(t->arena, dev, fill_fresh));
    t->r.dev = dev;
    place(t);
    TRY(device_status(dev));
    touch_copy(t);
    optimizer_clear(t->optimizer);
    TRY(first_values(t, dev));
    if (t->optimizer->averages) averages_begin(t->optimizer->averages, &t->r);
    return device_status(dev);
}

void trainer_destroy(trainer *t)
{
    if (!t) return;
    far_destroy(t->params.far); /* first: its thread may be reading into the arena */
    if (t->r.dev) error_free(device_status(t->r.dev)); /* what nobody asked for any more */
    far_keeps_destroy(t->r.keeps);
    use_order_free(&t->orders[0]);
    use_order_free(&t->orders[1]);
    for (int i = 0; i < GRAPHS; i++)
        op_graph_free(t->r.dev, t->graph[i]);
    optimizer_destroy(t->optimizer);
    if (t->model) t->kind->destroy(t->model);
    params_free(&t->params);
    zero_close(t->zero);
    if (present(t->room)) op_lend(t->r.dev, (tensor){0});
    if (present(t->narrow)) op_lend_narrow(t->r.dev, (tensor){0});
    sparse_close(t->sparse);
    arena_destroy(t->arena);
    free(t->host_copy);
    free(t->host_noise);
    free(t->host_starts);
    free(t->host_rows);
    decoder_close(&t->decoder);
    free(t->host_inputs);
    free(t->host_targets);
    free(t);
}

/* ---- steps ---- */

/* The loss, and the fraction of n samples that were classified correctly. */
static double fetch_loss(trainer *t, int64_t n, double *accuracy)
{
    double loss = 0, hits = NAN;
    op_get(t->r.dev, t->r.stream, &loss, t->loss);
    if (present(t->hits)) op_get(t->r.dev, t->r.stream, &hits, t->hits);
    op_sync(t->r.dev, t->r.stream);
    *accuracy = hits / (double)n;
    return loss;
}

/* The third of the sums over all ranks; `alone` with one process. */
static double fetch_third(trainer *t, double alone)
{
    if (!present(t->sums)) return alone;
    op_get(t->r.dev, t->r.stream, &alone, number(t, SUM_STOP));
    op_sync(t->r.dev, t->r.stream);
    return alone;
}

bool trainer_has_graphs(const trainer *t, const device *dev)
{
    return op_has_graphs(dev) && !t->o->no_cuda_graph && !t->o->training.packed && !t->params.far;
}

error *trainer_step(trainer *t, source *data, int64_t step, double lr, step_result *out)
{
    phases_start(&t->phases);
    optimizer_begin_step(t->optimizer, step, lr);
    t->data_seconds = 0;
    if (t->graph[GRAPH_LAST])
        launch_graphs(t, data, step);
    else
        train_program(t, data, step, false);
    hyper h = optimizer_results(t->optimizer);
    *out = (step_result){.grad_norm = (double)h.grad_norm, .finite = h.ok};
    out->loss = fetch_loss(t, samples_at_once(t) * t->o->accum, &out->accuracy);
    out->stop = fetch_third(t, 0) > 0; /* with one process the loop knows */
    out->data_seconds = t->data_seconds;
    for (int i = 0; i < PHASE_COUNT; i++)
        out->seconds[i] = t->r.dev->async ? (double)NAN : t->phases.seconds[i];
    if (h.ok && !t->graph[GRAPH_LAST] && trainer_has_graphs(t, t->r.dev))
        train_program(t, NULL, step, true);
    TRY(device_status(t->r.dev));
    return h.ok && renews(t, step) ? renew(t, step) : NULL;
}

error *trainer_evaluate(trainer *t, source *data, eval_result *out)
{
    t->params.training = false;
    trainer_exchange(t);
    out->stopped = eval_program(t, data);
    trainer_exchange(t);
    double n = (double)trainer_eval_samples(t, data), left_out;
    out->loss = fetch_loss(t, trainer_eval_samples(t, data), &out->accuracy);
    left_out = fetch_third(t, t->left_out);
    if (left_out > 0) {
        out->loss *= n / (n - left_out);
        out->accuracy *= n / (n - left_out);
    }
    return device_status(t->r.dev);
}

error *trainer_predict(trainer *t, source *data, int64_t first, float *logits)
{
    t->params.training = false;
    predict_program(t, data, first);
    op_get_floats(t->r.dev, t->r.stream, logits, t->predictions);
    return device_status(t->r.dev);
}

/* ---- faults ---- */

typedef struct {
    trainer *t;
    char where[160];
    int64_t bad, of;
} fault;

static void look(fault *f, device *dev, const char *op, tensor x)
{
    int64_t bad = 0;
    if (f->bad || (x.type != F32 && x.type != F64 && x.type != BF16)) return;
    OP(nonfinite, dev, STREAM_COMPUTE, .count = &bad, .x = x);
    if (!bad) return;
    char name[100] = "a tensor without a name";
    arena_find(f->t->arena, x.data, name, sizeof name);
    snprintf(f->where, sizeof f->where, "%s%s%s", name,
             op ? ", written by " : ", before the step began", op ? op : "");
    f->bad = bad;
    f->of = tensor_count(x);
}

static void on_written(void *context, device *dev, const char *op, tensor x)
{
    look(context, dev, op, x);
}

error *trainer_find_fault(trainer *t, source *data, int64_t step, double loss)
{
    fault f = {.t = t, .where = "no tensor: only the sum of the losses"};
    device *dev = t->r.dev;
    for (int i = 0; i < t->params.n; i++)
        look(&f, dev, NULL, t->params.row[i].value);
    dev->watch = on_written;
    dev->watch_context = &f;
    train_program(t, data, step, false); /* hyper.ok is still 0: nothing is updated */
    dev->watch = NULL;
    TRY(device_status(dev));
    return user_error("step %lld: the loss is %s; first seen in %s (%lld of %lld elements); "
                      "try a lower --lr, a longer --warmup or --grad-clip 1",
                      (long long)step, isnan(loss) ? "nan" : "infinite", f.where, (long long)f.bad,
                      (long long)f.of);
}
