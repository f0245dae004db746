/* training_policy.h - how a model is trained: what may differ between runs of the same model, and
 * is not part of its files.
 */
#ifndef REGRAD_MODEL_TRAINING_POLICY_H
#define REGRAD_MODEL_TRAINING_POLICY_H

#include "model/lora.h"
#include "model/recompute.h"

typedef struct {
    recompute_plan recompute; /* what backward recomputes; changes no bit */
    int attention;            /* a method of the device; the last bits may differ */
    int64_t logits_mib;       /* MiB of logits per chunk, 0: DEFAULT_LOGITS_MIB; the last bits may
                         * differ */
    lora_plan lora;           /* adapters, which are trained instead of the model */
    bool packed;    /* rows are packed documents (data/packing.h), of which a part may be learned */
    double dropout; /* dropout rate of the embedding and each branch, in training */
    double adapter_dropout; /* the same for the inputs of adapters */
    double z_loss;          /* of core/ops.def, classify: in training */
    uint64_t dropout_seed;
    double drop_path; /* drop rate of the last block's branches; the first block's is 0 */
} training_policy;

/* 256 rows of GPT-2's vocabulary, with which a CPU's products are near their best
 * (docs/bench-cpu.md); a device may want more (device_kind.logits_mib). */
enum { DEFAULT_LOGITS_MIB = 64 };

/* Everything kept, our own attention, no dropped branches. */
extern const training_policy plain_training;

#endif
