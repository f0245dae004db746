/* holdings.c - see holdings.h */
#include "train/holdings.h"
#include "base/files.h"
#include "io/adapter_file.h"
#include "io/model_file.h"
#include "run/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 1 << 20 };

/* ---- the data ---- */

static void tell_part(const char *option, const fingerprint *p)
{
    if (p->read >= p->bytes) return;
    printf("%s: %.1f GB, too much to be read before the run begins; its fingerprint is of %.1f GB, "
           "in blocks spread evenly\n",
           option, (double)p->bytes * 1e-9, (double)p->read * 1e-9);
}

error *data_prints_take(const char *out, const source *train, const source *val,
                        data_prints *prints)
{
    data_prints known;
    data_prints_read(out, &known);
    *prints = (data_prints){0};
    TRY(source_fingerprint(train, &known.train, &prints->train));
    if (val) TRY(source_fingerprint(val, &known.val, &prints->val));
    tell_part("--train-data", &prints->train);
    tell_part("--val-data", &prints->val);
    return NULL;
}

/* A number from a file; 0 if it is missing. */
static error *number_of_file(const char *path, uint64_t *out)
{
    fingerprint p = {0};
    if (path && !access(path, R_OK)) TRY(fingerprint_path(path, &p));
    *out = p.value;
    return NULL;
}

error *holdings_compare_data(comm *c, const data_prints *prints, const char *vocab)
{
    uint64_t tokenizer = 0;
    if (comm_size(c) == 1) return NULL;
    TRY(comm_agree(c, number_of_file(vocab, &tokenizer)));
    TRY(comm_same(c, prints->train.value, "training data"));
    TRY(comm_same(c, prints->val.value, "validation data"));
    return comm_same(c, tokenizer, "a tokenizer (PREFIX.vocab beside the training data)");
}

/* ---- the weights ---- */

/* Mixes a tensor's bytes into `number`, through a buffer; parts that are not stored here add
 * nothing. */
static uint64_t add_tensor(const trainer *t, uint64_t number, tensor x, char *piece)
{
    int64_t bytes = present(x) ? (int64_t)tensor_bytes(x) : 0;
    for (int64_t at = 0; at < bytes; at += PIECE) {
        int64_t n = bytes - at < PIECE ? bytes - at : PIECE;
        op_get(t->r.dev, t->r.stream, piece, tensor_of((char *)x.data + at, U8, SHAPE(n)));
        op_sync(t->r.dev, t->r.stream);
        number = fingerprint_add(number, piece, (size_t)n);
    }
    return number;
}

/* Of the values that are complete here, or stored as codes. */
static error *number_of_values(const trainer *t, uint64_t *out)
{
    const params *p = &t->params;
    char *piece;
    TRY(alloc_array(&piece, PIECE, 1));
    for (int i = 0; i < p->n; i++) {
        const param *row = &p->row[i];
        *out = add_tensor(t, *out, row->value, piece);
        *out = add_tensor(t, *out, row->codes, piece);
        *out = add_tensor(t, *out, row->scales, piece);
        *out = add_tensor(t, *out, row->scale_codes, piece);
        *out = add_tensor(t, *out, row->scale_groups, piece);
    }
    free(piece);
    return device_status(t->r.dev);
}

/* Of the files that a run starts from. */
static error *number_of_files(const options *o, uint64_t *out)
{
    uint64_t adapter = 0;
    TRY(model_fingerprint(o->load, out));
    if (!o->adapter) return NULL;
    TRY(adapter_fingerprint(o->adapter, &adapter));
    *out = fingerprint_add(*out, &adapter, sizeof adapter);
    return NULL;
}

error *holdings_compare_weights(trainer *t, bool resumed)
{
    comm *c = t->r.comm;
    uint64_t mine = 0;
    error *e = NULL;
    if (comm_size(c) == 1) return NULL;
    if (!t->params.backing || !t->params.backing->expand)
        e = number_of_values(t, &mine);
    else if (!resumed && t->o->load)
        e = number_of_files(t->o, &mine);
    TRY(comm_agree(c, e));
    return comm_same(c, mine, "weights");
}

/* ---- checkpoints ---- */

/* What distinguishes a file from its copy on another disk, and its contents. */
typedef struct {
    int64_t inode, seconds, nanoseconds;
    uint64_t contents;
} file_identity;

/* Of its manifest; zeros if there is none. */
static error *identify(const char *from, file_identity *out)
{
    char path[PATH_LENGTH];
    struct stat st;
    *out = (file_identity){0};
    TRY(path_join(path, from, "manifest.json"));
    if (stat(path, &st)) return NULL;
    out->inode = (int64_t)st.st_ino;
    out->seconds = st.st_ctim.tv_sec;
    out->nanoseconds = st.st_ctim.tv_nsec;
    return number_of_file(path, &out->contents);
}

error *holdings_compare_checkpoints(comm *c, const char *from)
{
    file_identity mine, first;
    int rank, which;
    if (comm_size(c) == 1 || !*from) return NULL;
    TRY(comm_agree(c, identify(from, &mine)));
    TRY(comm_compare(c, &mine.contents, 1, &rank, &which));
    if (rank >= 0)
        return comm_alike(c,
                          user_error("rank %d has another %s than rank 0, or none: give an --out "
                                     "on a disk that all ranks share, or copy it to each",
                                     rank, from));
    first = mine;
    TRY(comm_tell(c, &first, sizeof first));
    bool copy = memcmp(&mine, &first, sizeof mine);
    return comm_agree(c, copy ? manifest_check(from, checkpoint_step(from)) : NULL);
}
