/* test_placement.c - places for blocks with lifetimes: never two alive in
 * one place, and little lost.
 *
 *     offset
 *       ^  +-----+      +--------+
 *       |  |  b  |      |   d    |     overlap: every pair that meets in time is compared
 *       |  +--+--+---+--+--------+     LOAD, the most bytes alive at one time: held against its
 *       |     |  c   |                 definition, a sum at every start
 *       +-----+------+----------> time
 *
 * Short: 60 random schedules, eight GPTs.  LONG=1: thousands, and GPTs of every size in a grid.
 */
#include "core/placement.h"
#include "base/rng.h"
#include "test/long.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

enum { MOST = 800, MANY = 1100 }; /* MANY: no list of few blocks is kept of them (placement.c) */

static void must(error *e)
{
    if (e) fail_msg("%s", error_text(e));
}

static bool meet(const placement *a, const placement *b)
{
    return a->start < b->end && b->start < a->end;
}

/* LOAD as defined: the largest sum of live bytes, which some block's start reaches first. */
static size_t load_of(const placement *b, size_t n, int64_t *when)
{
    size_t most = 0;
    for (size_t i = 0; i < n; i++) {
        size_t live = 0;
        for (size_t j = 0; j < n; j++)
            if (b[j].start <= b[i].start && b[i].start < b[j].end) live += b[j].bytes;
        if (live < most || (live == most && b[i].start >= *when)) continue;
        most = live;
        *when = b[i].start;
    }
    return most;
}

/* Places the blocks and checks all that must hold of any placement; returns top. */
static size_t place(placement *b, size_t n, size_t *load)
{
    size_t top = 1, highest = 0;
    int64_t when = -1, want_when = INT64_MAX;
    must(place_blocks(b, n, &top));
    must(place_load(b, n, load, &when));
    size_t want = load_of(b, n, &want_when);
    assert_int_equal(*load, want);
    if (want) assert_int_equal(when, want_when);
    for (size_t i = 0; i < n; i++) {
        size_t end = b[i].offset + b[i].bytes;
        if (end > highest) highest = end;
        for (size_t j = 0; j < i; j++)
            if (meet(&b[i], &b[j]) && b[i].offset < b[j].offset + b[j].bytes && b[j].offset < end)
                fail_msg("blocks %zu and %zu overlap: [%zu,+%zu) and [%zu,+%zu)", i, j, b[i].offset,
                         b[i].bytes, b[j].offset, b[j].bytes);
    }
    assert_int_equal(top, highest);
    assert_true(top >= *load);
    return top;
}

/* ---- cases by hand ---- */

#define PLACE(blocks, load) place(blocks, sizeof blocks / sizeof *blocks, load)

static void test_empty(void **state)
{
    (void)state;
    size_t load = 1;
    assert_int_equal(place(NULL, 0, &load), 0);
    assert_int_equal(load, 0);
}

static void test_together(void **state)
{
    (void)state;
    placement b[] = {{256, 0, 10, 9}, {512, 0, 10, 9}, {1024, 3, 4, 9}};
    size_t load;
    assert_int_equal(PLACE(b, &load), 1792);
}

static void test_one_after_the_other(void **state)
{
    (void)state;
    placement b[] = {
        {256, 0, 1, 9}, {1024, 1, 2, 9}, {512, 2, 3, 9}}; /* half open: 1 is not in [0, 1) */
    size_t load;
    assert_int_equal(PLACE(b, &load), 1024);
    for (int i = 0; i < 3; i++)
        assert_int_equal(b[i].offset, 0);
}

/* Size-descending puts 3 at 0, then 2 a on it; 2 b fits exactly into what 3
 * leaves: the best gap. */
static void test_gap_is_used(void **state)
{
    (void)state;
    placement b[] = {{3 * 256, 0, 2, 9}, {2 * 256, 1, 4, 9}, {2 * 256, 2, 4, 9}, {256, 2, 4, 9}};
    size_t load;
    assert_int_equal(PLACE(b, &load), 5 * 256);
    assert_int_equal(load, 5 * 256);
}

/* Of two gaps, the smaller that is sufficient. */
static void test_smallest_gap(void **state)
{
    (void)state;
    placement b[] = {{800, 0, 9, 0}, {700, 0, 5, 0}, {600, 0, 9, 0},
                     {500, 0, 5, 0}, {460, 0, 9, 0}, {450, 5, 9, 0}};
    size_t load;
    assert_int_equal(PLACE(b, &load), 3060);
    assert_int_equal(b[5].offset, b[3].offset); /* 450 lies where 500 was, not where 700 was */
    /* two of 350 leave more than 500, above it */
    placement c[] = {{800, 0, 9, 0}, {600, 0, 9, 0}, {500, 0, 5, 0}, {460, 0, 9, 0},
                     {350, 0, 5, 0}, {350, 0, 5, 0}, {340, 0, 9, 0}, {330, 5, 9, 0}};
    assert_int_equal(PLACE(c, &load), 3400);
    assert_true(c[2].offset < c[4].offset);
    assert_int_equal(c[7].offset, c[2].offset);
}

/* By size, 1 comes last and finds its place taken by 4s on both sides; by lifetime or start it does
 * not. */
static void test_another_order_wins(void **state)
{
    (void)state;
    placement b[] = {{4, 0, 3, 9}, {1, 3, 6, 9}, {4, 1, 4, 9}, {4, 4, 7, 9}};
    size_t load;
    assert_int_equal(PLACE(b, &load), 8);
}

static void test_no_lifetime(void **state)
{
    (void)state;
    placement alone[] = {{256, 5, 5, 9}};
    size_t load;
    PLACE(alone, &load);
    assert_int_equal(load, 0);
    placement b[] = {{256, 0, 10, 9}, {512, 5, 5, 9}, {128, 5, 9, 9}, {1024, 10, 10, 9}};
    PLACE(b, &load);
    assert_int_equal(load, 384);
}

static void test_no_bytes(void **state)
{
    (void)state;
    placement b[] = {{0, 0, 10, 9}, {256, 0, 10, 9}, {0, 2, 3, 9}};
    size_t load;
    assert_int_equal(PLACE(b, &load), 256);
}

static void test_first_time_of_the_load(void **state)
{
    (void)state;
    placement b[] = {{100, 0, 3, 0}, {100, 2, 5, 0}, {100, 6, 9, 0}, {100, 7, 8, 0}};
    size_t load;
    int64_t when = 0;
    must(place_load(b, 4, &load, &when));
    assert_int_equal(load, 200);
    assert_int_equal(when, 2);
    must(place_load(b, 4, &load, NULL));
    assert_int_equal(load, 200);
}

/* Blocks near 2^40, hundreds of them: sums up to 2^49. */
static void test_huge(void **state)
{
    (void)state;
    static placement b[300];
    const size_t tera = (size_t)1 << 40;
    for (int i = 0; i < 300; i++)
        b[i] = (placement){tera - (size_t)i * 256, i / 2, i / 2 + 200, 0};
    size_t load, top = place(b, 300, &load);
    assert_true(load > 250 * tera);
    assert_true(top >= load && top < load + load / 4);
}

/* ---- many at random ---- */

static uint64_t draw(uint64_t seed, uint64_t *index, uint64_t below)
{
    return (uint64_t)(rng_uniform(seed, RNG_TEST, (*index)++) * (double)below);
}

static void test_random(void **state)
{
    (void)state;
    static placement b[MANY];
    double worst = 0;
    for (uint64_t seed = 0; seed < (uint64_t)tries(60, 3000); seed++) {
        uint64_t at = 0;
        size_t n = 1 + draw(seed, &at, seed % 10 ? 300 : MOST), load;
        if (seed % 30 == 1) n = MANY;
        int64_t span = 1 + (int64_t)draw(seed, &at, 500);
        uint64_t largest = (uint64_t)1 << (1 + draw(seed, &at, 20));
        for (size_t i = 0; i < n; i++) {
            int64_t start = (int64_t)draw(seed, &at, (uint64_t)span);
            b[i] = (placement){256 * (1 + draw(seed, &at, largest)), start,
                               start + 1 + (int64_t)draw(seed, &at, 60), 0};
        }
        double over = (double)place(b, n, &load) / (double)load - 1;
        if (over > worst) worst = over;
    }
    print_message("random schedules: at most %.1f %% over LOAD\n", 100 * worst);
    assert_true(worst < 0.35);
}

/* Last in, first out is what a training step mostly is: forward takes, backward drops. */
static void test_stack_is_perfect(void **state)
{
    (void)state;
    static placement b[200];
    for (int i = 0; i < 200; i++)
        b[i] = (placement){256 * (1 + (size_t)(i * 37 % 11)), i, 400 - i, 0};
    size_t load, top = place(b, 200, &load);
    assert_int_equal(top, load);
}

/* ---- a training step of a GPT: what the plan is for ---- */

typedef struct {
    int layers;
    size_t batch, seq, width, heads, vocab, context;
} gpt;

typedef struct {
    placement block[4000];
    size_t n;
    int64_t clock;
    bool gradients; /* overlaid: taken when first written, dropped at the end */
    size_t gradient[1000], n_gradients;
} timeline;

static size_t take(timeline *t, size_t floats)
{
    t->block[t->n] = (placement){(4 * floats + 255) / 256 * 256, t->clock++, INT64_MAX, 0};
    return t->n++;
}

static void drop(timeline *t, size_t block)
{
    t->block[block].end = t->clock++;
}

static void gradient(timeline *t, size_t floats)
{
    if (t->gradients) t->gradient[t->n_gradients++] = take(t, floats);
}

static void projection_gradients(timeline *t, size_t out, size_t in)
{
    gradient(t, out * in);
    gradient(t, out);
}

static void norm_gradients(timeline *t, size_t width)
{
    size_t scratch = take(t, 64 * width);
    gradient(t, width);
    gradient(t, width);
    drop(t, scratch);
}

/* What a layer keeps from forward to backward. */
enum { NORM1, MEAN1, RSTD1, QKV, ATT, LSE, MID, NORM2, MEAN2, RSTD2, PRE, ACT, OUT, SAVED };

static void layer_forward(timeline *t, const gpt *g, size_t saved[SAVED])
{
    size_t rows = g->batch * g->seq, unit = rows * g->width;
    const size_t floats[SAVED] = {
        [NORM1] = unit,          [MEAN1] = rows,   [RSTD1] = rows, [QKV] = 3 * unit, [ATT] = unit,
        [LSE] = rows * g->heads, [MID] = unit,     [NORM2] = unit, [MEAN2] = rows,   [RSTD2] = rows,
        [PRE] = 4 * unit,        [ACT] = 4 * unit, [OUT] = unit,
    };
    for (int k = 0; k < SAVED; k++)
        saved[k] = take(t, floats[k]);
}

static void layer_backward(timeline *t, const gpt *g, const size_t saved[SAVED])
{
    size_t rows = g->batch * g->seq, unit = rows * g->width, width = g->width;
    drop(t, saved[OUT]);
    projection_gradients(t, width, 4 * width);
    drop(t, saved[ACT]);
    size_t dpre = take(t, 4 * unit);
    drop(t, saved[PRE]);
    projection_gradients(t, 4 * width, width);
    drop(t, saved[NORM2]);
    size_t dnorm = take(t, unit);
    drop(t, dpre);
    norm_gradients(t, width);
    drop(t, dnorm);
    drop(t, saved[MID]);
    drop(t, saved[MEAN2]);
    drop(t, saved[RSTD2]);

    projection_gradients(t, width, width);
    size_t datt = take(t, unit), dqkv = take(t, 3 * unit), scratch = take(t, rows * g->heads);
    drop(t, scratch);
    drop(t, datt);
    drop(t, saved[ATT]);
    drop(t, saved[LSE]);
    drop(t, saved[QKV]);
    projection_gradients(t, 3 * width, width);
    drop(t, saved[NORM1]);
    dnorm = take(t, unit);
    drop(t, dqkv);
    norm_gradients(t, width);
    drop(t, dnorm);
    drop(t, saved[MEAN1]);
    drop(t, saved[RSTD1]);
}

static void gpt_step(timeline *t, const gpt *g, bool overlay)
{
    static size_t saved[100][SAVED];
    size_t rows = g->batch * g->seq, unit = rows * g->width,
           fit = ((size_t)32 << 20) / 4 / g->vocab;
    size_t chunks = (rows + fit - 1) / fit;
    *t = (timeline){.gradients = overlay};
    size_t embedded = take(t, unit);
    for (int l = 0; l < g->layers; l++)
        layer_forward(t, g, saved[l]);
    size_t mean = take(t, rows), rstd = take(t, rows), d = take(t, unit);
    size_t losses = take(t, rows), logits = take(t, (rows + chunks - 1) / chunks * g->vocab);
    gradient(t, g->vocab * g->width);
    drop(t, logits);
    drop(t, losses);
    norm_gradients(t, g->width);
    drop(t, mean);
    drop(t, rstd);
    for (int l = g->layers - 1; l >= 0; l--)
        layer_backward(t, g, saved[l]);
    drop(t, embedded);
    gradient(t, g->context * g->width);
    drop(t, d);
    for (size_t i = 0; i < t->n_gradients; i++)
        drop(t, t->gradient[i]);
}

static void test_gpt_is_within_one_percent(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        gpt g;
    } models[] = {
        {"mini, 4 x 64", {6, 4, 64, 384, 6, 2048, 256}},
        {"mini, 16 x 256", {6, 16, 256, 384, 6, 2048, 256}},
        {"124m, 4 x 64", {12, 4, 64, 768, 12, 50257, 1024}},
        {"124m, 4 x 128", {12, 4, 128, 768, 12, 50257, 1024}},
        {"774m, 4 x 256", {36, 4, 256, 1280, 20, 50257, 1024}},
        {"1558m, 4 x 256", {48, 4, 256, 1600, 25, 50257, 1024}},
        {"6.7b, 1 x 2048", {32, 1, 2048, 4096, 32, 50257, 2048}},
        {"odd", {5, 3, 259, 1111, 11, 3333, 300}},
    };
    static timeline t;
    double worst = 0;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        for (int overlay = 0; overlay < 2; overlay++) {
            gpt_step(&t, &models[i].g, overlay);
            size_t load, top = place(t.block, t.n, &load);
            double over = 100 * ((double)top / (double)load - 1);
            print_message("%-14s %-13s %4zu blocks: %.3f %% over LOAD\n", models[i].name,
                          overlay ? "overlay" : "own gradients", t.n, over);
            if (over > worst) worst = over;
        }
    assert_true(worst <= 1);
}

/* What the eight above keep within one percent, others around them do not quite: found here
 * were 1.4 percent for GPT-2's sizes and 4.4 for smaller models, whose few blocks are of unlike
 * sizes. */
static void test_gpt_grid(void **state)
{
    (void)state;
    static const size_t widths[] = {256, 384, 768, 1280, 4096}, vocabs[] = {2048, 32000, 50257};
    static timeline t;
    double worst[2] = {0};
    for (int64_t layers = 4; layers <= tries(0, 48); layers += 11)
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
            for (size_t v = 0; v < sizeof vocabs / sizeof *vocabs; v++)
                for (size_t form = 0; form < 6; form++) {
                    size_t batch = (size_t)1 << form / 2 * 2;
                    gpt g = {(int)layers, batch, 256, widths[w], widths[w] / 64, vocabs[v], 1024};
                    gpt_step(&t, &g, form % 2);
                    size_t load, top = place(t.block, t.n, &load);
                    double over = 100 * ((double)top / (double)load - 1);
                    double *most = &worst[layers >= 12 && widths[w] >= 768 && vocabs[v] == 50257];
                    if (over > *most) *most = over;
                }
    print_message("grid: %.3f %% over LOAD, smaller models %.3f %%\n", worst[1], worst[0]);
    assert_true(worst[1] <= 2 && worst[0] <= 5);
}

/* As deep as a model of a thousand layers, in every size at random: found at once, in the first
 * order, without a gap. */
static void test_deep_stack(void **state)
{
    (void)state;
    enum { DEEP = 20000 };
    placement *b = calloc(DEEP, sizeof *b);
    size_t load, top, sum = 0;
    uint64_t at = 0;
    assert_non_null(b);
    for (int64_t i = 0; i < DEEP; i++) {
        b[i] = (placement){256 * (1 + draw(7, &at, 12)), i, 2 * DEEP - i, 0};
        sum += b[i].bytes;
    }
    must(place_blocks(b, DEEP, &top));
    must(place_load(b, DEEP, &load, NULL));
    assert_int_equal(load, sum);
    assert_int_equal(top, load);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_together),
        cmocka_unit_test(test_one_after_the_other),
        cmocka_unit_test(test_gap_is_used),
        cmocka_unit_test(test_smallest_gap),
        cmocka_unit_test(test_another_order_wins),
        cmocka_unit_test(test_no_lifetime),
        cmocka_unit_test(test_no_bytes),
        cmocka_unit_test(test_first_time_of_the_load),
        cmocka_unit_test(test_huge),
        cmocka_unit_test(test_deep_stack),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_stack_is_perfect),
        cmocka_unit_test(test_gpt_is_within_one_percent),
        cmocka_unit_test(test_gpt_grid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
