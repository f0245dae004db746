/* optim_conflicts.c - what an optimizer cannot be combined with: see optimizer.h.
 *
 * One row per conflict: refused if all of its conditions hold.  The options' own table is
 * train/option_conflicts.c.
 */
#include "base/fill.h"
#include "optim/optimizer.h"

#include <stdio.h>
#include <string.h>

typedef bool (*condition)(const optim_config *c, int64_t micro_batches);

#define CONDITION(name, is)                                                                        \
    static bool name(const optim_config *c, int64_t micro_batches)                                 \
    {                                                                                              \
        (void)c, (void)micro_batches;                                                              \
        return is;                                                                                 \
    }

CONDITION(by_matrix, rule_at(c->rule)->sees == BY_MATRIX)
CONDITION(few_bits, !optim_has_passes(c))
CONDITION(passes, !c->fused)
CONDITION(sparse_matrices, c->sparse)
CONDITION(states_in_blocks, c->state == STATE_INT8)
CONDITION(divides_by_beta2, c->reduced &&rule_at(c->rule)->r_passes)
CONDITION(no_beta2, !(c->beta[1] > 0))
CONDITION(folds, rule_folds(c->rule))
CONDITION(folds_not, !rule_folds(c->rule))
CONDITION(asked_to_fold, c->gradients == GRADS_FOLD)
CONDITION(asked_to_hold, c->gradients == GRADS_OWN || c->gradients == GRADS_OVERLAY)
CONDITION(asked_to_release, c->gradients == GRADS_RELEASE)
CONDITION(clips, c->clip > 0)
CONDITION(splits, micro_batches > 1)

static const struct {
    condition when[3];
    const char *says[2]; /* the message; ? a short note: a line in the plan's table of optimizers */
} conflicts[] = {
    {{by_matrix, few_bits},
     {"--optim {rule}: it makes matrices orthogonal in fp32; use --dtype fp32 and --state fp32, or "
      "--optim adamw"}},
    {{passes, few_bits},
     {"--optim-impl passes: each pass leaves its result where parameters, gradients and states "
      "are, which takes 32 bits; use --optim-impl fused, or --dtype fp32 and --state fp32"}},
    {{sparse_matrices, by_matrix},
     {"--sparsity with --optim {rule}: it makes whole matrices orthogonal, and there are only "
      "their non-zeros; use --optim adamw",
      "--sparsity"}},
    {{sparse_matrices, states_in_blocks},
     {"--sparsity with --state int8: its blocks share a scale, and non-zeros change position; use "
      "--state bf16",
      "--sparsity"}},
    {{divides_by_beta2, passes, no_beta2},
     {"--beta2 0: the published passes of {rule}_r divide by it; use --optim-impl fused"}},
    {{asked_to_fold, folds_not},
     {"--gradients fold with --optim {optim}: it needs the sum of all micro-batches' gradients; "
      "use --gradients overlay or auto, or --optim adama",
      "--gradients fold"}},
    {{folds, asked_to_hold},
     {"--gradients {gradients} with --optim {optim}: it frees each gradient as soon as it is "
      "accumulated; leave --gradients out, or use --optim adamw",
      "--gradients own or overlay"}},
    {{folds, clips},
     {"--grad-clip {clip} with --optim {optim}: the norm is known only when all gradients have "
      "gone into the states; use --grad-clip 0, or --optim adamw",
      "clipping"}},
    {{asked_to_release, splits, folds_not},
     {"--gradients release with --accum {micro-batches}: gradients must live until the last "
      "micro-batch; use --gradients overlay or auto, or --accum 1",
      "several micro-batches"}},
    {{asked_to_release, clips, folds_not},
     {"--gradients release with --grad-clip {clip}: the norm needs all gradients before the first "
      "update; use --gradients overlay or auto, or --grad-clip 0",
      "clipping"}},
};

enum { CONFLICTS = sizeof conflicts / sizeof *conflicts };

/* The first row that holds, or -1. */
static int find_conflict(const optim_config *c, int64_t micro_batches)
{
    for (int i = 0; i < CONFLICTS; i++) {
        int k = 0;
        while (k < 3 && conflicts[i].when[k] && conflicts[i].when[k](c, micro_batches))
            k++;
        if (k == 3 || !conflicts[i].when[k]) return i;
    }
    return -1;
}

typedef struct {
    const optim_config *c;
    int64_t micro_batches;
} told;

static bool value_of(const void *context, const char *name, char *out, size_t room)
{
    const told *t = context;
    const char *rule = rule_at(t->c->rule)->name;
    if (!strcmp(name, "rule"))
        snprintf(out, room, "%s", rule);
    else if (!strcmp(name, "optim"))
        snprintf(out, room, "%s%s", rule, t->c->reduced ? "_r" : "");
    else if (!strcmp(name, "gradients"))
        snprintf(out, room, "%s", grad_policy_name(t->c->gradients));
    else if (!strcmp(name, "clip"))
        snprintf(out, room, "%g", t->c->clip);
    else if (!strcmp(name, "micro-batches"))
        snprintf(out, room, "%lld", (long long)t->micro_batches);
    else
        return false;
    return true;
}

bool optim_conflicts(const optim_config *c, int64_t micro_batches, const char **with)
{
    int i = find_conflict(c, micro_batches);
    *with = i < 0 ? NULL : conflicts[i].says[1];
    return i >= 0;
}

error *optim_refuse(const optim_config *c, int64_t micro_batches)
{
    int i = find_conflict(c, micro_batches);
    return i < 0 ? NULL : fill_error(conflicts[i].says[0], value_of, &(told){c, micro_batches});
}
