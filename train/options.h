/* options.h - what the user asked for, checked.
 *
 * One table holds each option's name, kind, range and destination: the task's rows (model and data,
 * train/task.h), then those of every run (options.c).  It makes the parser, --help with the
 * defaults, and options.json.
 */
#ifndef REGRAD_OPTIONS_H
#define REGRAD_OPTIONS_H

#include "data/images/image_options.h"
#include "model/model.h"
#include "optim/optimizer.h"
#include "params/offload.h"
#include "optim/schedule.h"
#include "train/choose_device.h"

enum { MAX_PATTERNS = 4096, MAX_LISTS = 8, MOST_SIZES = 16, DEFAULT_STEPS = 200 };

#define DEFAULT_OUT    "runs/train"
#define ATTENTION_AUTO "auto"

typedef struct {
    const char *const *pattern; /* (n) */
    int n;
} pattern_list;

typedef struct task task;                 /* train/task.h */
typedef struct adapter_file adapter_file; /* io/adapter_file.h */

/* Of images (train/task_image.c). */
typedef struct {
    int64_t inner, channels, patch, classes; /* 0: the preset's */
    const char *image_size, *pool, *bad_images;
    double bad_share; /* resolved: a run stops when more of its images than this are unreadable */
    const char *mean, *std, *interpolation; /* ? mean, std */
    image_options how; /* as it is given, and resolved mean and std; std 0: not given */
    const char *norm;
    double drop_path;
    int64_t workers, predict;
} image_task_options;

typedef struct {
    const task *task;
    const char **words;        /* ? storage of the lists; shared by copies of these options */
    struct option_file *files; /* ? storage of values from files, likewise (options_file.h) */
    /* model */
    const char *model_name;
    const char *load; /* DIR or FILE of a trained model; NULL: random initialization */
    bool widen;
    pattern_list ignore_field; /* of config.json */
    int64_t lora;              /* rank of adapters; 0: none */
    double lora_alpha;
    pattern_list lora_on;
    double dropout, lora_dropout, z_loss;
    const char *base;           /* ? storage form of frozen matrices */
    code_form base_form;        /* resolved */
    bool base_packs;            /* its scales are codes, too */
    const char *adapter;        /* ? a directory of peft's */
    adapter_file *adapter_file; /* ? opened; shared by copies of these options */
    const char *dtype_name, *master_name, *state_name, *state_of; /* master: NULL or a name */
    dtype type;                                                   /* resolved */
    master_form master;                                           /* resolved */
    int64_t layers, heads, width, context, vocab;                 /* 0: the preset's */
    bool vocab_taken;                                             /* resolved: from the data */
    model_config model;                                           /* resolved */
    training_policy training;                                     /* resolved */
    image_task_options images;
    /* data */
    pattern_list train_data, val_data; /* training.packed, resolved: the shards are marked */
    /* optimizer: NAN means the optimizer's default */
    const char *optim_name, *impl, *gradients, *schedule_name;
    double lr, beta1, beta2, beta3, eps, weight_decay, grad_clip;
    double adam_lr, adam_beta1, adam_beta2, adam_eps; /* for what muon leaves to AdamW */
    int64_t newton_schulz;                            /* 0: the optimizer's */
    int64_t warmup;
    double final_lr_fraction, layer_decay, ema;
    bool ema_warmup;
    optim_config optim; /* resolved */
    const char *policy_reason;
    schedule schedule; /* resolved */
    /* memory */
    pattern_list freeze, train_only;  /* names of parameters */
    double sparsity, regrow_fraction; /* see params/sparse_backing.h; sparsity 0: off */
    int64_t regrow_every;
    const char *recompute;    /* see model/recompute.h */
    const char *attention;    /* ATTENTION_AUTO, or a method of the device's (core/device_kind.h) */
    const char *memory;       /* ? sizes, see plan/memory_search.h */
    size_t sizes[MOST_SIZES]; /* resolved; 0: what is free */
    int n_sizes;
    const char *allow;                     /* ? forms that --memory may choose */
    unsigned allow_masters, allow_states;  /* resolved: bits 1 << master_form, 1 << state_form */
    double product_rate, stream_rate;      /* GFLOP/s, GB/s; 0: measured */
    double disk_rate, host_rate;           /* GB/s; 0: not known */
    const char *host_memory;               /* ? the limit of the second place on a GPU's host */
    size_t host_bytes;                     /* resolved; 0: none was given */
    const char *offload_name, *offload_to; /* ? NULL: none, but --memory may choose; a directory */
    offload_level offload;                 /* resolved, of parameters */
    bool offload_activations;              /* resolved */
    /* the run */
    int64_t batch, seq, accum;
    int64_t steps;   /* 0: not given; resolved, with --epochs by options_take_steps */
    double epochs;   /* 0: by steps */
    int64_t longest; /* --seq as given; 0: not given */
    const char *device_name;
    device_choice device;              /* resolved */
    const char *cpu_kernel, *products; /* see cpu/cpu.h */
    int64_t threads, seed;
    int64_t eval_every, eval_batches, sample_every, sample_tokens;
    const char *prompt, *out; /* out: NULL with --plan, if nothing is written */
    const char *plan_beside;  /* ? another optimizer, for the picture */
    int64_t checkpoint_every, keep, log_every;
    bool checkpoint_async, checkpoint_parts;
    int64_t stop_after; /* evaluations without improvement; 0: never */
    bool save_best;
    const char *tensorboard; /* ? a directory */
    const char *config;      /* ? a file of options */
    const char *resume;      /* NULL, "auto" or a checkpoint's directory */
    bool no_cuda_graph, plan, json, eval_only;
    /* ranks */
    int64_t zero, shard_group, prefetch, ranks, gpus, bucket, watchdog;
    comm *comm; /* the other ranks; NULL: none */
} options;

/* As text. */
enum { MASTER_FORMS = MASTER_NONE + 1, STATE_FORMS = STATE_INT8 + 1 };
extern const char *const master_names[MASTER_FORMS], *const state_names[STATE_FORMS];

/* argv -> options.  --help prints and exits; everything else is returned as an error. */
error *options_parse(const task *t, int argc, char **argv, options *out) NODISCARD;
void options_free(options *o); /* of these, not of copies; argv belongs to the caller */

/* Sets the number of steps, once it is known how many --epochs are. */
void options_take_steps(options *o, int64_t steps);

/* Sets --offload, as if it had been given. */
void options_offload(options *o, offload_level level);

bool options_offloads(const options *o); /* anything */

/* Where what is offloaded lies, in words: "in a file in DIR". */
const char *options_second_place(const options *o, char *buffer, size_t size);

/* --prefetch, or what it is where it was not given. */
int64_t options_prefetch(const options *o);
/* The resolved method of attention. */
const char *options_attention(const options *o);

/* Sets --recompute LEVEL for all layers, as if it had been given. */
void options_recompute(options *o, recompute_level level);

/* The name of a task's i-th option in the order of --help; NULL after the last.  Lets a test check
 * that none is forgotten. */
const char *option_name(const task *t, int i);

/* The resolved options as JSON text (free it), for options.json. */
error *options_json(const options *o, char **out) NODISCARD;
/* The same for a task's defaults, before they are resolved. */
error *options_unset_json(const task *t, char **out) NODISCARD;

#endif
