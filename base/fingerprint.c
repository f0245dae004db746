/* fingerprint.c - see fingerprint.h */
#include "base/fingerprint.h"
#include "base/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { BLOCK = 1 << 18, ALONE = 16 /* blocks for one thread */, TEAM = 8 };

/* Limits on what is read: about a second's worth. */
enum { MOST_BLOCKS = 1 << 16 /* each may mean opening a file */ };
static const int64_t most_bytes = INT64_C(2500000000);

typedef struct {
    const fingerprint_file *file;
    int64_t n;
    int64_t *bytes; /* (n) */
    int64_t *first; /* (n + 1): number of a file's first block */
    int64_t chosen; /* number of blocks that are read */
    uint64_t *hash; /* (chosen) */
} reading;

uint64_t fingerprint_add(uint64_t value, const void *bytes, size_t n)
{
    return XXH3_64bits_withSeed(bytes, n, value);
}

/* ---- what the system says ---- */

static error *file_status(const fingerprint_file *f, struct stat *st)
{
    if (f->fd < 0 && stat(f->path, st)) *st = (struct stat){0};
    if (f->fd >= 0 && fstat(f->fd, st))
        return user_error("%s cannot be read: %s", f->path, strerror(errno));
    return NULL;
}

static error *stat_all(reading *r, fingerprint *out)
{
    for (int64_t i = 0; i < r->n; i++) {
        const fingerprint_file *f = &r->file[i];
        struct stat st;
        TRY(file_status(f, &st));
        const int64_t says[] = {st.st_size,         (int64_t)st.st_ino, st.st_mtim.tv_sec,
                                st.st_mtim.tv_nsec, st.st_ctim.tv_sec,  st.st_ctim.tv_nsec};
        out->stamp = fingerprint_add(out->stamp, says, sizeof says);
        if (f->name) out->stamp = fingerprint_add(out->stamp, f->name, strlen(f->name));
        r->bytes[i] = st.st_size;
        r->first[i + 1] = r->first[i] + (st.st_size + BLOCK - 1) / BLOCK;
        out->bytes += st.st_size;
    }
    return NULL;
}

/* ---- what is in them ---- */

/* How many blocks are read: all, or as many as the limits allow. */
static int64_t how_many(int64_t blocks, int64_t bytes)
{
    if (bytes > most_bytes)
        blocks = (int64_t)((double)blocks * ((double)most_bytes / (double)bytes));
    return blocks < MOST_BLOCKS ? blocks : MOST_BLOCKS;
}

/* Index of the k-th block that is read; they are spread evenly, depending on the sizes alone. */
static int64_t block_at(const reading *r, int64_t k)
{
    return k * r->first[r->n] / r->chosen;
}

/* The file that a block belongs to: the last one whose first block is not after it; empty files
 * have none. */
static int64_t file_of(const reading *r, int64_t block)
{
    int64_t low = 0, high = r->n;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        *(r->first[middle] <= block ? &low : &high) = middle;
    }
    return low;
}

static error *read_block(const fingerprint_file *f, void *to, size_t n, int64_t offset, bool *there)
{
    *there = true;
    if (f->fd >= 0) return file_pread(f->fd, f->path, to, n, offset);
    int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    error *e = NULL;
    *there = fd >= 0;
    if (*there) e = file_pread(fd, f->path, to, n, offset);
    if (*there) close(fd);
    if (e) *there = false;
    error_free(e);
    return NULL;
}

/* The k-th of the blocks that are read. */
static error *hash_block(reading *r, int64_t k, void *buffer, int64_t *read)
{
    int64_t block = block_at(r, k), i = file_of(r, block), offset = (block - r->first[i]) * BLOCK,
            left = r->bytes[i] - offset, n = left < BLOCK ? left : BLOCK;
    bool there;
    TRY(read_block(&r->file[i], buffer, (size_t)n, offset, &there));
    if (there) r->hash[k] = XXH3_64bits(buffer, (size_t)n);
    *read += n;
    return NULL;
}

static int team_of(const reading *r)
{
    int team = 1;
#ifdef _OPENMP
    if (r->chosen > ALONE) team = omp_get_max_threads();
#else
    (void)r;
#endif
    return team < TEAM ? team : TEAM;
}

static error *hash_blocks(reading *r, int64_t *read)
{
    error *failure = NULL;
    char *buffers;
    int64_t sum = 0;
    int team = team_of(r);
    TRY(alloc_array(&buffers, (size_t)team, BLOCK));
#pragma omp parallel for num_threads(team) if (team > 1) schedule(dynamic, 4) reduction(+ : sum)
    for (int64_t k = 0; k < r->chosen; k++) {
        int me = 0;
#ifdef _OPENMP
        me = omp_get_thread_num();
#endif
        error *e = hash_block(r, k, buffers + (size_t)me * BLOCK, &sum);
        if (!e) continue;
#pragma omp critical
        {
            error_free(failure);
            failure = e;
        }
    }
    free(buffers);
    *read = sum;
    return failure;
}

static error *take_contents(reading *r, fingerprint *out)
{
    r->chosen = how_many(r->first[r->n], out->bytes);
    TRY(alloc_array(&r->hash, (size_t)r->chosen + 1, sizeof *r->hash));
    TRY(hash_blocks(r, &out->read));
    for (int64_t i = 0; i < r->n; i++) {
        const char *name = r->file[i].name;
        out->value = fingerprint_add(out->value, &r->bytes[i], sizeof r->bytes[i]);
        if (name) out->value = fingerprint_add(out->value, name, strlen(name));
    }
    out->value = fingerprint_add(out->value, r->hash, (size_t)r->chosen * sizeof *r->hash);
    return NULL;
}

/* ---- both ---- */

error *fingerprint_files(const fingerprint_file *file, int64_t n, uint64_t also,
                         const fingerprint *known, fingerprint *out)
{
    reading r = {.file = file, .n = n};
    *out = (fingerprint){.value = also, .stamp = also};
    error *e = alloc_array(&r.bytes, (size_t)n + 1, sizeof *r.bytes);
    if (!e) e = alloc_array(&r.first, (size_t)n + 1, sizeof *r.first);
    if (!e) e = stat_all(&r, out);
    if (!e && known && known->stamp == out->stamp)
        *out = *known;
    else if (!e)
        e = take_contents(&r, out);
    free(r.bytes);
    free(r.first);
    free(r.hash);
    return e;
}

error *fingerprint_path(const char *path, fingerprint *out)
{
    int fd;
    int64_t bytes;
    TRY(file_open(path, &fd, &bytes));
    error *e = fingerprint_files(&(fingerprint_file){path, NULL, fd}, 1, 0, NULL, out);
    close(fd);
    return e;
}
