/* optim_conflicts.c - what an optimizer cannot be combined with: see optimizer.h.
 *
 * One row per conflict: refused if all of its conditions hold.  The options' own table is
 * train/option_conflicts.c.
 */
#include "base/fill.h"
#include "optim/optimizer.h"

#include <stdio.h>
#include <stdlib.h>
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

/* `with` is the note in the plan's table of all optimizers; NULL: no line there. */
static const struct {
    condition when[3];
    const char *with, *message;
} conflicts[] = {
    {{by_matrix, few_bits},
     NULL,
     "--optim {rule}: it makes matrices orthogonal in fp32; use --dtype fp32 and --state fp32, or "
     "--optim adamw"},
    {{passes, few_bits},
     NULL,
     "--optim-impl passes: each pass leaves its result where parameters, gradients and states are, "
     "which takes 32 bits; use --optim-impl fused, or --dtype fp32 and --state fp32"},
    {{sparse_matrices, by_matrix},
     "--sparsity",
     "--sparsity with --optim {rule}: it makes whole matrices orthogonal, and there are only their "
     "non-zeros; use --optim adamw"},
    {{sparse_matrices, states_in_blocks},
     "--sparsity",
     "--sparsity with --state int8: its blocks share a scale, and non-zeros change position; "
     "use --state bf16"},
    {{divides_by_beta2, passes, no_beta2},
     NULL,
     "--beta2 0: the published passes of {rule}_r divide by it; use --optim-impl fused"},
    {{asked_to_fold, folds_not},
     "--gradients fold",
     "--gradients fold with --optim {optim}: it needs the sum of all micro-batches' gradients; use "
     "--gradients overlay or auto, or --optim adama"},
    {{folds, asked_to_hold},
     "--gradients own or overlay",
     "--gradients {gradients} with --optim {optim}: it frees each gradient as soon as it is "
     "accumulated; leave --gradients out, or use --optim adamw"},
    {{folds, clips},
     "clipping",
     "--grad-clip {clip} with --optim {optim}: the norm is known only when all gradients have gone "
     "into the states; use --grad-clip 0, or --optim adamw"},
    {{asked_to_release, splits, folds_not},
     "several micro-batches",
     "--gradients release with --accum {micro-batches}: gradients must live until the last "
     "micro-batch; use --gradients overlay or auto, or --accum 1"},
    {{asked_to_release, clips, folds_not},
     "clipping",
     "--gradients release with --grad-clip {clip}: the norm needs all gradients before the first "
     "update; use --gradients overlay or auto, or --grad-clip 0"},
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
    *with = i < 0 ? NULL : conflicts[i].with;
    return i >= 0;
}

error *optim_refuse(const optim_config *c, int64_t micro_batches)
{
    int i = find_conflict(c, micro_batches);
    if (i < 0) return NULL;
    char *text = fill_text(conflicts[i].message, value_of, &(told){c, micro_batches});
    error *e = user_error("%s", text ? text : conflicts[i].message);
    free(text);
    return e;
}
