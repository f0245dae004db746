/* training_policy.h - how a model is trained: what may differ from run to run of the same model,
 * and is no part of its files.
 */
#ifndef REGRAD_MODEL_TRAINING_POLICY_H
#define REGRAD_MODEL_TRAINING_POLICY_H

#include "model/lora.h"
#include "model/recompute.h"

typedef struct {
    recompute_plan recompute; /* what backward recomputes; changes no bit */
    int attention;            /* a method of the device's: the last bits may differ */
    int64_t logits_mib; /* most MiB of logits at a time, 0: DEFAULT_LOGITS_MIB; the last bits may
                         * differ */
    lora_plan lora;     /* adapters, which are trained instead of the model */
    bool packed; /* rows are packed documents (data/packing.h), and not all of it is learned */
    double
        dropout; /* of the embedding's and each branch's output, how much is left out in training */
    double adapter_dropout; /* of what adapters read, likewise */
    double z_loss;          /* of core/ops.def, classify: in training */
    uint64_t dropout_seed;
    double drop_path; /* how often the last block's branches are left out; the first's: never */
} training_policy;

/* What fits into a CPU's cache; a device may want more (device_kind.logits_mib). */
enum { DEFAULT_LOGITS_MIB = 32 };

/* Everything kept, our own attention, no branch left out. */
extern const training_policy plain_training;

#endif
