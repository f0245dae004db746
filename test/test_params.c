/* test_params.c - the parameter table: initial values, and what the four hooks do under each
 * policy.
 *
 * A made-up model of four parameters runs a step in the hooks alone.  Its "backward" writes numbers
 * that say who wrote them, and every begin and every update is noted as a word:
 *
 *     0     gradient 0 is begun, to be written      0+   ... to be added to
 *     u0    parameter 0 is updated
 *     u3 &1 parameters 3 and 1 are, by one operation
 *     f0 l0 e0   the same with the gradient of the first, a later, the last of several micro-batches
 *
 * The first step is recorded, the others replayed in memory filled with NaNs.
 */
#include "params/params.h"
#include "base/rng.h"
#include "test/host.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

/* ---- the table and its surroundings ---- */

enum { TIED, WEIGHT, FROZEN, NORM, ROWS };

typedef struct {
    device null, host;
    host_memory memory;
    params p;
    runtime r;
    char words[400];
    int micro_batches, micro; /* of the step under way */
} bed;

static void must(error *e)
{
    if (e) fail_msg("%s", error_text(e));
}

static void refused(device *dev, const char *words)
{
    error *e = device_status(dev);
    if (!e) fail_msg("not refused; expected: %s", words);
    if (error_kind_of(e) != ERR_INTERNAL || !strstr(error_text(e), words))
        fail_msg("expected: %s; got: %s", words, error_text(e));
    error_free(e);
}

static void note(bed *b, const char *word, int id, const char *tail)
{
    size_t used = strlen(b->words);
    snprintf(b->words + used, sizeof b->words - used, "%s%s%d%s", used ? " " : "", word, id, tail);
}

static bool real(const bed *b)
{
    return !arena_recording(b->r.arena);
}

/* What micro-batch m's writer w of parameter id adds to element i. */
static float part(int id, int m, int w, int64_t i)
{
    return (float)(1 + id * 1000 + m * 100 + w * 10) + (float)i;
}

/* The gradient holds the sum of all its parts, or of this micro-batch's. */
static void check_gradient(const bed *b, int id)
{
    const param *row = &b->p.row[id];
    bool fold = b->p.policy == GRADS_FOLD;
    assert_true(present(row->gradient));
    const float *g = row->gradient.data;
    for (int64_t i = 0; real(b) && i < row->count; i++) {
        float want = 0;
        for (int m = fold ? b->micro : 0; m < (fold ? b->micro + 1 : b->micro_batches); m++)
            for (int w = 0; w < row->spec.writers; w++)
                want += part(id, m, w, i);
        if (!(g[i] == want))
            fail_msg("gradient %d[%d] is %g, not %g", id, (int)i, (double)g[i], (double)want);
    }
}

static void updated(void *context, const int *ids, int n, fold_part which)
{
    static const char *const words[] = {
        [FOLD_FIRST] = "f", [FOLD_LATER] = "l", [FOLD_LAST] = "e", [FOLD_ALL] = "u"};
    bed *b = context;
    assert_true(n > 0);
    for (int i = 0; i < n; i++) {
        note(b, i ? "&" : words[which], ids[i], "");
        assert_int_equal(b->p.row[ids[i]].readers, 0);
        check_gradient(b, ids[i]);
    }
}

static void open_bed(bed *b, grad_policy policy)
{
    static const param_spec specs[ROWS] = {
        [TIED] = {.name = "wte.weight",
                  .layer = -1,
                  .shape = {2, {50, 20}},
                  .init = INIT_NORMAL,
                  .std = 0.02,
                  .writers = 2},
        [WEIGHT] = {.name = "h.%d.weight",
                    .layer = 3,
                    .shape = {2, {20, 30}},
                    .init = INIT_NORMAL,
                    .std = 0.5},
        [FROZEN] = {.name = "frozen", .layer = -1, .shape = {1, {70}}, .init = INIT_ONE},
        [NORM] = {.name = "norm", .layer = -1, .shape = {1, {30}}},
    };
    memset(b, 0, sizeof *b);
    b->null = device_null();
    b->host = host_device(&b->memory);
    b->p = (params){.type = F32, .policy = policy, .complete = updated, .context = b};
    b->r = (runtime){.dev = &b->null, .params = &b->p};
    must(arena_create(&block_kinds, &b->r.arena));
    arena_attach(b->r.arena, &b->null);
    for (int i = 0; i < ROWS; i++)
        assert_int_equal(params_add(&b->p, specs[i]), i);
    b->p.row[FROZEN].trainable = false;
    params_place(&b->p, b->r.arena);
}

static void commit(bed *b)
{
    must(arena_plan(b->r.arena));
    must(arena_commit(b->r.arena, &b->host, true));
    b->r.dev = &b->host;
    params_place(&b->p, b->r.arena);
    must(device_status(&b->host));
}

static void close_bed(bed *b)
{
    must(device_status(&b->null));
    must(device_status(&b->host));
    arena_destroy(b->r.arena);
    params_free(&b->p);
}

/* ---- the model ---- */

static void forward(bed *b)
{
    for (int id = 0; id < ROWS; id++) {
        tensor w = param_use(&b->r, id);
        assert_ptr_equal(w.data, b->p.row[id].value.data);
        param_done(&b->r, id);
    }
}

static void write_gradient(bed *b, int id)
{
    int writer = b->p.row[id].writes;
    grad g = grad_begin(&b->r, id);
    note(b, "", id, !present(g.t) ? "?" : g.accumulate ? "+" : "");
    float *x = g.t.data;
    for (int64_t i = 0; real(b) && present(g.t) && i < tensor_count(g.t); i++)
        x[i] = (g.accumulate ? x[i] : 0) + part(id, b->micro, writer, i);
    grad_done(&b->r, id);
}

static void backward(bed *b)
{
    param_use(&b->r, NORM);
    write_gradient(b, NORM);
    param_done(&b->r, NORM);
    param_use(&b->r, TIED); /* as the head */
    write_gradient(b, TIED);
    param_done(&b->r, TIED);
    param_use(&b->r, WEIGHT);
    write_gradient(b, WEIGHT);
    param_done(&b->r, WEIGHT);
    param_use(&b->r, FROZEN);
    write_gradient(b, FROZEN);
    param_done(&b->r, FROZEN);
    write_gradient(b, TIED); /* as the embedding */
}

static void step(bed *b, int micro_batches)
{
    int n = !real(b) && micro_batches > 2 ? 2 : micro_batches;
    b->micro_batches = n;
    b->words[0] = 0;
    arena_begin(b->r.arena, "train");
    params_begin_step(&b->r, n);
    for (b->micro = 0; b->micro < n; b->micro++) {
        arena_iteration(b->r.arena, b->micro);
        params_begin_micro(&b->r, b->micro);
        forward(b);
        backward(b);
        params_end_micro(&b->r);
    }
    for (int id = 0; id < ROWS && b->p.policy < GRADS_RELEASE; id++)
        if (id != FROZEN) check_gradient(b, id);
    params_end_step(&b->r);
    arena_end(b->r.arena);
}

/* ---- policies ---- */

/* Records and replays steps; each must read `words`.  Returns the most bytes of gradients alive at
 * once. */
static size_t most_gradients(grad_policy policy, int micro_batches, const char *words)
{
    bed b;
    open_bed(&b, policy);
    step(&b, micro_batches);
    commit(&b);
    size_t most = arena_summarize(b.r.arena).most[KIND_GRADIENT];
    for (int i = 0; i < 3; i++) {
        step(&b, micro_batches);
        must(device_status(&b.host));
        assert_string_equal(b.words, words);
        for (int id = 0; id < ROWS; id++)
            assert_int_equal(present(b.p.row[id].gradient), policy == GRADS_OWN && id != FROZEN);
    }
    assert_true(arena_canary_intact(b.r.arena));
    assert_int_equal(arena_high_water(b.r.arena), arena_peak(b.r.arena));
    close_bed(&b);
    return most;
}

#define ONE   "3 0 1 2? 0+"
#define LATER " 3+ 0+ 1+ 2? 0+"

static void test_policies(void **state)
{
    (void)state;
    size_t own = most_gradients(GRADS_OWN, 1, ONE);
    size_t overlay = most_gradients(GRADS_OVERLAY, 1, ONE);
    size_t release = most_gradients(GRADS_RELEASE, 1, "3 u3 0 1 u1 2? 0+ u0");
    assert_int_equal(own, overlay);
    assert_true(release < overlay && release >= 1000 * sizeof(float));
    assert_int_equal(most_gradients(GRADS_FOLD, 1, "3 u3 0 1 u1 2? 0+ u0"), release);
}

/* A vector waits for the next matrix, also for none. */
static void test_together(void **state)
{
    (void)state;
    for (int last = 0; last < 2; last++) {
        bed b;
        open_bed(&b, GRADS_RELEASE);
        b.p.together = true;
        if (last) { /* no matrix comes behind it */
            b.p.row[TIED].trainable = b.p.row[WEIGHT].trainable = false;
        }
        for (int i = 0; i < 3; i++) {
            step(&b, 1);
            assert_string_equal(b.words, last ? "3 0? 1? 2? 0? u3" : "3 0 1 u3 &1 2? 0+ u0");
            if (!i) commit(&b);
        }
        must(device_status(&b.host));
        close_bed(&b);
    }
}

static void test_micro_batches(void **state)
{
    (void)state;
    size_t one = most_gradients(GRADS_OVERLAY, 1, ONE);
    assert_int_equal(most_gradients(GRADS_OWN, 3, ONE LATER LATER), one);
    assert_int_equal(most_gradients(GRADS_OVERLAY, 3, ONE LATER LATER), one);
    /* the tied gradient is added to once in each micro-batch, and begun anew in the next */
    size_t fold = most_gradients(GRADS_FOLD, 2, "3 f3 0 1 f1 2? 0+ f0 3 e3 0 1 e1 2? 0+ e0");
    assert_int_equal(most_gradients(GRADS_FOLD, 4,
                                    "3 f3 0 1 f1 2? 0+ f0 3 l3 0 1 l1 2? 0+ l0 "
                                    "3 l3 0 1 l1 2? 0+ l0 3 e3 0 1 e1 2? 0+ e0"),
                     fold);
    assert_true(fold < one);
}

/* Own gradients are where they were; overlaid ones are in the program's region. */
static void test_where_gradients_lie(void **state)
{
    (void)state;
    for (int policy = GRADS_OWN; policy <= GRADS_OVERLAY; policy++) {
        bed b;
        open_bed(&b, (grad_policy)policy);
        step(&b, 1);
        commit(&b);
        char *region = b.memory.memory + arena_summarize(b.r.arena).persistent;
        arena_begin(b.r.arena, "train");
        params_begin_step(&b.r, 1);
        backward(&b);
        for (int id = 0; id < ROWS; id++)
            if (id != FROZEN)
                assert_int_equal((char *)b.p.row[id].gradient.data >= region,
                                 policy == GRADS_OVERLAY);
        params_end_step(&b.r);
        arena_end(b.r.arena);
        close_bed(&b);
    }
}

/* With the weight in use twice, the gradient being done changes nothing; the last reader's end
 * does. */
static void test_release_waits_for_readers(void **state)
{
    (void)state;
    bed b;
    open_bed(&b, GRADS_RELEASE);
    b.micro_batches = 1;
    arena_begin(b.r.arena, "train");
    params_begin_step(&b.r, 1);
    param_use(&b.r, WEIGHT);
    param_use(&b.r, WEIGHT);
    write_gradient(&b, WEIGHT);
    assert_string_equal(b.words, "1");
    param_done(&b.r, WEIGHT);
    assert_string_equal(b.words, "1");
    assert_true(present(b.p.row[WEIGHT].gradient));
    param_done(&b.r, WEIGHT);
    assert_string_equal(b.words, "1 u1");
    assert_false(present(b.p.row[WEIGHT].gradient));

    param_use(&b.r, TIED); /* readers end between the two writers */
    write_gradient(&b, TIED);
    param_done(&b.r, TIED);
    assert_string_equal(b.words, "1 u1 0");
    param_use(&b.r, TIED);
    write_gradient(&b, TIED);
    assert_string_equal(b.words, "1 u1 0 0+");
    param_done(&b.r, TIED);
    assert_string_equal(b.words, "1 u1 0 0+ u0");
    write_gradient(&b, NORM); /* nobody reads: at once */
    assert_string_equal(b.words, "1 u1 0 0+ u0 3 u3");
    params_end_step(&b.r);
    arena_end(b.r.arena);
    close_bed(&b);
}

static void test_read_after_update(void **state)
{
    (void)state;
    for (int policy = GRADS_OWN; policy <= GRADS_RELEASE; policy++) {
        bed b;
        open_bed(&b, (grad_policy)policy);
        b.micro_batches = 1;
        arena_begin(b.r.arena, "train");
        params_begin_step(&b.r, 1);
        backward(&b);
        param_use(&b.r, WEIGHT);
        if (policy == GRADS_RELEASE) refused(&b.null, "h.3.weight is read after its update");
        param_done(&b.r, WEIGHT);
        params_end_step(&b.r);
        param_use(&b.r, WEIGHT); /* outside of training nothing is too late */
        param_done(&b.r, WEIGHT);
        close_bed(&b);
    }
}

/* The step that leaves out, or doubles, one writer. */
static void test_wrong_number_of_writers(void **state)
{
    (void)state;
    static const struct {
        int id, times;
        const char *words;
    } cases[] = {
        {NORM, 0, "the gradient of norm was written 0 times, not 1"},
        {TIED, 1, "the gradient of wte.weight was written 1 times, not 2"},
        {WEIGHT, 2, "the gradient of h.3.weight was written 2 times, not 1"},
        {FROZEN, 0, NULL},
        {FROZEN, 3, NULL},
        {TIED, 2, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bed b;
        open_bed(&b, GRADS_OWN);
        arena_begin(b.r.arena, "train");
        params_begin_step(&b.r, 1);
        for (int id = 0; id < ROWS; id++)
            for (int w = 0; w < (id == cases[i].id ? cases[i].times : b.p.row[id].spec.writers);
                 w++)
                write_gradient(&b, id);
        params_end_step(&b.r);
        if (cases[i].words) refused(&b.null, cases[i].words);
        close_bed(&b);
    }
}

static void test_no_gradients_outside_of_training(void **state)
{
    (void)state;
    bed b;
    open_bed(&b, GRADS_OVERLAY);
    forward(&b);
    backward(&b);
    assert_string_equal(b.words, "3? 0? 1? 2? 0?");
    close_bed(&b);
}

/* ---- the table ---- */

static void test_table(void **state)
{
    (void)state;
    bed b;
    char text[80];
    open_bed(&b, GRADS_OWN);
    assert_int_equal(params_count(&b.p), 50 * 20 + 20 * 30 + 70 + 30);
    assert_string_equal(param_text(&b.p.row[TIED], text, sizeof text), "wte.weight");
    assert_string_equal(param_text(&b.p.row[WEIGHT], text, sizeof text), "h.3.weight");
    assert_int_equal(b.p.row[WEIGHT].spec.writers, 1);
    assert_true(b.p.row[WEIGHT].trainable);
    close_bed(&b);
    static const char *const names[] = {"own", "overlay", "release", "fold", "auto"};
    for (int policy = GRADS_OWN; policy <= GRADS_AUTO; policy++)
        assert_string_equal(grad_policy_name((grad_policy)policy), names[policy]);
}

/* 2^31 elements are passed within one row and in the sum. */
static void test_many_elements(void **state)
{
    (void)state;
    params p = {.type = F32};
    const int64_t wide = INT64_C(70000) * 70000;
    for (int i = 0; i < 200; i++)
        assert_int_equal(
            params_add(&p,
                       (param_spec){.name = "h.%d.w", .layer = i, .shape = SHAPE(70000, 70000)}),
            i);
    assert_true(wide > INT64_C(1) << 31);
    assert_true(p.row[199].count == wide);
    assert_true(params_count(&p) == 200 * wide);
    assert_int_equal(p.row[123].spec.layer, 123);
    params_free(&p);
    assert_int_equal(p.n, 0);
}

/* ---- initial values ---- */

enum { LARGE = 200003 }; /* several of the pieces in which values are prepared, and a rest */

typedef struct {
    arena *a;
    device null, host;
    host_memory memory;
    params p;
} initial;

/* Three rows: normal, the same again, ones; and one of zeros. */
static void initialize(initial *x, dtype type, uint64_t seed)
{
    static const init_kind kinds[] = {INIT_NORMAL, INIT_NORMAL, INIT_ONE, INIT_ZERO};
    x->null = device_null();
    x->host = host_device(&x->memory);
    x->p = (params){.type = type, .policy = GRADS_OVERLAY};
    must(arena_create(&block_kinds, &x->a));
    arena_attach(x->a, &x->null);
    for (int i = 0; i < 4; i++)
        params_add(
            &x->p,
            (param_spec){
                .name = "p%d", .layer = i, .shape = SHAPE(LARGE), .init = kinds[i], .std = 0.02});
    params_place(&x->p, x->a);
    must(arena_plan(x->a));
    must(arena_commit(x->a, &x->host, true));
    params_place(&x->p, x->a);
    must(params_initialize(&x->p, &x->host, seed));
}

static void forget(initial *x)
{
    arena_destroy(x->a);
    params_free(&x->p);
}

static void test_statistics(void **state)
{
    (void)state;
    initial x;
    initialize(&x, F32, 5);
    const float *v = x.p.row[0].value.data, *ones = x.p.row[2].value.data,
                *zeros = x.p.row[3].value.data;
    double sum = 0, squares = 0, largest = 0, deviation = 0.02;
    for (int i = 0; i < LARGE; i++) {
        sum += (double)v[i];
        squares += (double)v[i] * (double)v[i];
        largest = fmax(largest, fabs((double)v[i]));
        assert_true(ones[i] == 1 && zeros[i] == 0);
    }
    assert_true(fabs(sum / LARGE) < 5 * deviation / sqrt(LARGE));
    assert_true(fabs(squares / LARGE / (deviation * deviation) - 1) < 5 * sqrt(2.0 / LARGE));
    assert_true(largest > 4 * deviation && largest < 7 * deviation);
    forget(&x);
}

/* Each value is the rounding of one normal number named by seed, row and element: however it was
 * made. */
static void test_values_are_a_function(void **state)
{
    (void)state;
    static const dtype types[] = {F32, F64};
    for (int t = 0; t < 2; t++) {
        initial x;
        initialize(&x, types[t], 9);
        for (uint64_t id = 0; id < 2; id++)
            for (uint64_t i = 0; i < LARGE; i++) {
                double four[4];
                rng_normal4(9, RNG_INIT, id << 40 | i / 4, four);
                double want = 0.02 * four[i % 4];
                if (types[t] == F32)
                    assert_true(((float *)x.p.row[id].value.data)[i] == (float)want);
                else
                    assert_true(((double *)x.p.row[id].value.data)[i] == want);
            }
        forget(&x);
    }
}

static int same_values(const param *a, const param *b)
{
    const float *x = a->value.data, *y = b->value.data;
    int same = 0;
    for (int i = 0; i < LARGE; i++)
        same += x[i] == y[i];
    return same;
}

static void test_seeds(void **state)
{
    (void)state;
    initial x, again, other;
    initialize(&x, F32, 1);
    initialize(&again, F32, 1);
    initialize(&other, F32, 2);
    assert_int_equal(same_values(&x.p.row[0], &again.p.row[0]), LARGE);
    assert_in_range(same_values(&x.p.row[0], &other.p.row[0]), 0,
                    20); /* floats can agree by chance */
    assert_in_range(same_values(&x.p.row[0], &x.p.row[1]), 0, 20);
    forget(&x);
    forget(&again);
    forget(&other);
}

static void test_failure_is_handed_on(void **state)
{
    (void)state;
    bed b;
    open_bed(&b, GRADS_OWN);
    device_fail(&b.null, internal_error("earlier"));
    error *e = params_initialize(&b.p, &b.null, 1);
    assert_non_null(e);
    assert_non_null(strstr(error_text(e), "earlier"));
    error_free(e);
    close_bed(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_together),
        cmocka_unit_test(test_micro_batches),
        cmocka_unit_test(test_where_gradients_lie),
        cmocka_unit_test(test_release_waits_for_readers),
        cmocka_unit_test(test_read_after_update),
        cmocka_unit_test(test_wrong_number_of_writers),
        cmocka_unit_test(test_no_gradients_outside_of_training),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_many_elements),
        cmocka_unit_test(test_statistics),
        cmocka_unit_test(test_values_are_a_function),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_failure_is_handed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
