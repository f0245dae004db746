/* test_registry.c - optimizers by name, and what the registry says of each.
 *
 * The table below is written out a second time on purpose: defaults that users rely on must not
 * change by accident.  They are PyTorch's for AdamW, and those of their authors' programs for Adan
 * and Lion.
 */
#include "base/nearest.h"
#include "optim/optimizer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const struct {
    const char *name;
    double lr, beta[MAX_BETAS], eps, weight_decay;
    unsigned options;
    const char *state[MAX_STATES];
    bool needs_temp, keeps_gradient, linear;
} documented[] = {
    {"adamw",
     1e-3,
     {0.9, 0.999},
     1e-8,
     1e-2,
     HAS_BETA1 | HAS_BETA2 | HAS_EPS,
     {"exp_avg", "exp_avg_sq"},
     true,
     false,
     false},
    {"adama",
     1e-3,
     {0.9, 0.999},
     1e-8,
     1e-2,
     HAS_BETA1 | HAS_BETA2 | HAS_EPS,
     {"exp_avg", "exp_avg_sq"},
     true,
     false,
     false},
    {"adan",
     1e-3,
     {0.98, 0.92, 0.99},
     1e-8,
     0,
     HAS_BETA1 | HAS_BETA2 | HAS_BETA3 | HAS_EPS,
     {"exp_avg", "exp_avg_diff", "exp_avg_sq", "prev_grad"},
     true,
     true,
     false},
    {"lion", 1e-4, {0.9, 0.99}, 0, 0, HAS_BETA1 | HAS_BETA2, {"exp_avg"}, true, false, false},
    {"sgd", 1e-2, {0.9}, 0, 0, HAS_BETA1, {"momentum_buffer"}, false, false, true},
    {"muon",
     2e-2,
     {0.95},
     1e-7,
     0,
     HAS_BETA1 | HAS_EPS | HAS_OTHERS,
     {"momentum_buffer"},
     true,
     false,
     false},
};

enum { DOCUMENTED = sizeof documented / sizeof *documented };

static void must(error *e)
{
    if (e) fail_msg("%s", error_text(e));
}

static void test_every_public_rule_is_documented(void **state)
{
    (void)state;
    int n = 0;
    for (int id = 0; id < RULE_COUNT; id++)
        n += rule_is_public((rule_id)id);
    assert_int_equal(n, DOCUMENTED);
}

static void test_names(void **state)
{
    (void)state;
    for (int i = 0; i < DOCUMENTED; i++) {
        rule_id id, again;
        bool reduced;
        char name[40];
        must(rule_find(documented[i].name, &id, &reduced));
        assert_false(reduced);
        assert_true(rule_is_public(id));
        assert_string_equal(rule_at(id)->name, documented[i].name);
        snprintf(name, sizeof name, "%s_r", documented[i].name);
        must(rule_find(name, &again, &reduced));
        assert_true(reduced);
        assert_int_equal(again, id);
    }
}

static void test_defaults(void **state)
{
    (void)state;
    for (int i = 0; i < DOCUMENTED; i++)
        for (int r = 0; r < 2; r++) {
            char name[40];
            optim_config c;
            snprintf(name, sizeof name, "%s%s", documented[i].name, r ? "_r" : "");
            must(optim_defaults(name, &c));
            const rule_info *info = rule_at(c.rule);
            assert_true(info->lr == documented[i].lr);
            for (int k = 0; k < MAX_BETAS; k++)
                assert_true(c.beta[k] == documented[i].beta[k]);
            assert_true(c.eps == documented[i].eps);
            assert_true(c.weight_decay == documented[i].weight_decay);
            assert_true(c.clip == 0);
            assert_true(c.fused);
            assert_int_equal(c.reduced, r);
            assert_int_equal(c.gradients, r || rule_folds(c.rule) ? GRADS_AUTO : GRADS_OWN);
        }
}

static void test_facts(void **state)
{
    (void)state;
    for (int i = 0; i < DOCUMENTED; i++) {
        rule_id id;
        bool reduced;
        must(rule_find(documented[i].name, &id, &reduced));
        const rule_info *info = rule_at(id);
        int n = 0;
        while (n < MAX_STATES && documented[i].state[n])
            n++;
        assert_int_equal(info->n_states, n);
        for (int k = 0; k < n; k++)
            assert_string_equal(info->state[k], documented[i].state[k]);
        assert_int_equal(info->options, documented[i].options);
        assert_int_equal(info->needs_temp, documented[i].needs_temp);
        assert_int_equal(!!info->copies, documented[i].keeps_gradient);
        assert_int_equal(info->linear, documented[i].linear);
        assert_int_equal(info->sees, id == RULE_muon ? BY_MATRIX : BY_ELEMENT);
        assert_true(*info->summary && !strchr(info->summary, '\n'));
    }
}

/* Whoever needs an intermediate says where the _r form puts it: on the gradient, on a state that it
 * has, or by other passes, which must exist, have the same states and need none. */
static void test_reuse_is_possible(void **state)
{
    (void)state;
    for (int i = 0; i < RULE_COUNT; i++) {
        const rule_info *info = rule_at((rule_id)i), *other = NULL;
        if (!info->needs_temp) {
            assert_true(!info->r_temp && !info->r_passes);
            continue;
        }
        if (info->r_passes) {
            for (int j = 0; j < RULE_COUNT; j++)
                if (!strcmp(rule_at((rule_id)j)->name, info->r_passes)) other = rule_at((rule_id)j);
            assert_non_null(other);
            assert_false(other->needs_temp);
            assert_int_equal(other->n_states, info->n_states);
            assert_int_equal(other->options, info->options);
        } else {
            unsigned states = 0;
            for (int k = 0; k < info->n_states; k++)
                states |= (unsigned)LANE_S0 << k;
            assert_true(info->r_temp == LANE_G || (info->r_temp & states));
            assert_int_equal(info->r_temp & (info->r_temp - 1), 0);
        }
    }
}

/* ---- rules that take in each micro-batch's gradient ---- */

static int (*const passes[])(int pass, lane *x, const hyper *h) = {
#define PASS(name) name##_pass,
    OPTIM_RULES(PASS)
#undef PASS
};

/* All that the passes of a rule write. */
static int writes(rule_id id)
{
    int written = 0;
    hyper h = {.ok = 1};
    lane x = {0};
    for (int pass = 0; pass < 16; pass++) /* devices may call more passes than there are */
        written |= passes[id](pass, &x, &h);
    return written;
}

/* The parts of a rule that folds exist, are no choice for users, have its states and need no
 * intermediate elsewhere than it does; p moves in the last alone. */
static void test_folding_is_possible(void **state)
{
    (void)state;
    int folding = 0;
    for (int id = 0; id < RULE_COUNT; id++) {
        const rule_info *info = rule_at((rule_id)id);
        for (int part = 0; rule_folds((rule_id)id) && part < FOLD_PARTS; part++) {
            rule_id other = rule_named(info->fold[part]);
            assert_true(other < RULE_COUNT);
            const rule_info *found = rule_at(other);
            assert_false(rule_is_public(other));
            assert_int_equal(found->n_states, info->n_states);
            for (int k = 0; k < info->n_states; k++)
                assert_string_equal(found->state[k], info->state[k]);
            assert_true(!found->needs_temp || found->r_temp == info->r_temp);
            assert_int_equal(!!(writes(other) & LANE_P), part == FOLD_LAST);
            folding++;
        }
    }
    assert_int_equal(folding, FOLD_PARTS);
    assert_int_equal(rule_named("adama_"), RULE_COUNT);
    assert_int_equal(rule_named("sgd"), RULE_sgd);
}

/* A rule that sees whole matrices leaves its result in the intermediate, has two others, which are
 * no choice for users, and does not move p itself. */
static void test_by_matrix(void **state)
{
    (void)state;
    int found = 0;
    for (int id = 0; id < RULE_COUNT; id++) {
        const rule_info *info = rule_at((rule_id)id);
        assert_int_equal(!!(writes((rule_id)id) & LANE_RESULT), info->sees == BY_MATRIX);
        if (info->sees != BY_MATRIX) {
            assert_true(!info->others && !info->apply);
            continue;
        }
        rule_id others = rule_named(info->others), then = rule_named(info->apply);
        assert_true(others < RULE_COUNT && !rule_is_public(others));
        assert_true(then < RULE_COUNT && !rule_is_public(then));
        assert_int_equal(rule_at(then)->n_states, 0);
        assert_int_equal(writes((rule_id)id) & LANE_P, 0);
        assert_int_equal(writes(then), LANE_P);
        found++;
    }
    assert_int_equal(found, 1);
    optim_config c;
    must(optim_defaults("muon_r", &c)); /* of its authors */
    assert_int_equal(c.newton_schulz_steps, 5);
    assert_true(fabs(c.others.lr_ratio * rule_at(c.rule)->lr - 3e-4) < 1e-12);
    assert_true(c.others.beta[0] == 0.9 && c.others.beta[1] == 0.95 && c.others.eps == 1e-10);
}

static void unknown(const char *name, const char *nearest)
{
    rule_id id;
    bool reduced;
    char want[100];
    error *e = rule_find(name, &id, &reduced);
    if (!e) fail_msg("%s was found", name);
    assert_int_equal(error_kind_of(e), ERR_USER);
    snprintf(want, sizeof want, "--optim %s: ", name);
    assert_memory_equal(error_text(e), want, strlen(want));
    snprintf(want, sizeof want, "the nearest is %s ", nearest);
    if (!strstr(error_text(e), want)) fail_msg("expected '%s' in: %s", want, error_text(e));
    error_free(e);
}

static void test_unknown_names(void **state)
{
    (void)state;
    unknown("adam", "adamw"); /* as near as adan: the first in the list */
    unknown("adamW_r", "adamw_r");
    unknown("AdaN", "adan");
    unknown("lionr", "lion");
    unknown("lion_R", "lion_r");
    unknown("sgdm", "sgd");
    unknown("", "sgd");
    unknown("adamw_r_r", "adamw_r");
    unknown("lion_substituted", "lion_r"); /* only its passes exist, for lion_r */
    unknown("lion_substituted_r", "lion_r");
    unknown("adama_first", "adama_r"); /* so are the parts of adama */
    unknown("adamas", "adama");
    rule_id id;
    bool reduced;
    char name[300];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    error *e = rule_find(name, &id, &reduced);
    assert_non_null(e);
    error_free(e);
}

static void test_nearest(void **state)
{
    (void)state;
    static const char *const names[] = {"kitten", "sitting", "sunday"};
    assert_null(nearest_name("x", names, 0));
    assert_string_equal(nearest_name("kitten", names, 3), "kitten");
    assert_string_equal(nearest_name("sittin", names, 3), "sitting");  /* 1, against 2 */
    assert_string_equal(nearest_name("saturday", names, 3), "sunday"); /* the textbook's 3 */
    assert_string_equal(nearest_name("kittens", names, 3), "kitten");
    assert_string_equal(nearest_name("", names, 3), "kitten"); /* of equals the first */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_public_rule_is_documented),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_reuse_is_possible),
        cmocka_unit_test(test_folding_is_possible),
        cmocka_unit_test(test_by_matrix),
        cmocka_unit_test(test_unknown_names),
        cmocka_unit_test(test_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
