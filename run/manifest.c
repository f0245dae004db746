/* manifest.c - see manifest.h */
#include "run/manifest.h"
#include "base/json.h"
#include "base/files.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define FILE_NAME "manifest.json"

enum { CHUNK = 1 << 18, MOST_BYTES = 1 << 20, PARSED_SIZE = 64 /* per byte of JSON, as a tree */ };

/* ---- files ---- */

static error *cannot_read(const char *path)
{
    return user_error("%s cannot be read: %s", path, strerror(errno));
}

/* *wrong distinguishes a wrong file from a failure to read it. */
static error *open_file(const char *path, int *fd, int64_t *bytes, bool *wrong)
{
    struct stat st = {0};
    *fd = -1;
    *wrong = !stat(path, &st) && !S_ISREG(st.st_mode);
    if (*wrong) return user_error("%s is not a regular file", path);
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    *wrong = *fd < 0 && (errno == ENOENT || errno == ELOOP || errno == ENXIO);
    if (*wrong) return user_error("%s is missing", path);
    if (*fd < 0) return cannot_read(path);
    error *e = fstat(*fd, &st) ? cannot_read(path) : NULL;
    *wrong = !e && !S_ISREG(st.st_mode);
    if (*wrong) e = user_error("%s is not a regular file", path);
    if (e) close(*fd);
    *bytes = st.st_size;
    return e;
}

static error *hash_stream(int fd, const char *path, char *buffer, file_facts *out)
{
    XXH64_state_t state;
    size_t got;
    XXH64_reset(&state, 0);
    out->bytes = 0;
    do {
        TRY(file_read_some(fd, path, buffer, CHUNK, &got));
        XXH64_update(&state, buffer, got);
        out->bytes += (int64_t)got;
    } while (got == CHUNK);
    out->hash = XXH64_digest(&state);
    return NULL;
}

static error *hash_file(const char *directory, const char *name, char *buffer, file_facts *out)
{
    char path[PATH_LENGTH];
    int fd;
    bool wrong;
    TRY(path_join(path, directory, name));
    TRY(open_file(path, &fd, &out->bytes, &wrong));
    error *e = hash_stream(fd, path, buffer, out);
    close(fd);
    return e;
}

/* ---- the text ---- */

static void print_text(FILE *out, int64_t step, const char *const *names, const file_facts *facts,
                       int n)
{
    fprintf(out, "{\"format\":\"regrad-checkpoint\",\"version\":1,\"step\":%lld,\"files\":[\n",
            (long long)step);
    for (int i = 0; i < n; i++)
        fprintf(out, "{\"name\":\"%s\",\"bytes\":%lld,\"xxh64\":\"%016llx\"}%s\n", names[i],
                (long long)facts[i].bytes, (unsigned long long)facts[i].hash, i + 1 < n ? "," : "");
    fputs("]}\n", out);
}

/* The manifest's text; free it. */
static error *make_text(int64_t step, const char *const *names, const file_facts *facts, int n,
                        char **text, size_t *size)
{
    memory_stream m;
    *text = NULL;
    TRY(memory_stream_open(&m, "a checkpoint's manifest"));
    print_text(m.to, step, names, facts, n);
    TRY(memory_stream_close(&m));
    *text = m.text;
    *size = m.n;
    return NULL;
}

error *manifest_facts(const char *directory, const char *name, file_facts *out)
{
    char *buffer;
    TRY(alloc_array(&buffer, CHUNK, 1));
    error *e = hash_file(directory, name, buffer, out);
    free(buffer);
    return e;
}

/* What another process says that it has written is here, too. */
static error *is_here(const char *directory, const char *name, const file_facts *said)
{
    char path[PATH_LENGTH];
    int64_t bytes = 0;
    int fd;
    bool wrong;
    TRY(path_join(path, directory, name));
    error *e = open_file(path, &fd, &bytes, &wrong);
    if (e && wrong)
        return error_context(e, "another rank has written it: give an --out on a disk that all "
                                "ranks share");
    TRY(e);
    close(fd);
    if (bytes == said->bytes) return NULL;
    return user_error("%s has %lld bytes, and %lld were written", path, (long long)bytes,
                      (long long)said->bytes);
}

/* known: ? what need not be hashed */
static error *hash_all(const char *directory, const char *const *names, const file_facts *known,
                       int n, file_facts **facts)
{
    char *buffer = NULL;
    *facts = NULL;
    TRY(alloc_array(&buffer, CHUNK, 1));
    error *e = alloc_array(facts, (size_t)n, sizeof **facts);
    for (int i = 0; i < n && !e; i++) {
        bool is_known = known && known[i].bytes >= 0;
        if (is_known) (*facts)[i] = known[i];
        e = is_known ? is_here(directory, names[i], &known[i])
                     : hash_file(directory, names[i], buffer, &(*facts)[i]);
    }
    free(buffer);
    if (e) {
        free(*facts);
        *facts = NULL;
    }
    return e;
}

error *manifest_write(const char *directory, int64_t step, const char *const *names, int n)
{
    return manifest_write_known(directory, step, names, NULL, n);
}

error *manifest_write_known(const char *directory, int64_t step, const char *const *names,
                            const file_facts *known, int n)
{
    file_facts *facts;
    char path[PATH_LENGTH], *text = NULL;
    size_t size;
    TRY(path_join(path, directory, FILE_NAME));
    TRY(hash_all(directory, names, known, n, &facts));
    error *e = make_text(step, names, facts, n, &text, &size);
    if (!e) e = file_write_all(path, text, size);
    free(text);
    free(facts);
    return e;
}

/* ---- checking ---- */

typedef struct {
    char path[PATH_LENGTH];
    char *text; /* as it is in the file */
    size_t size;
    cJSON *json;
    const char *names[MANIFEST_FILES];
    file_facts said[MANIFEST_FILES]; /* what it says of each file */
    int n;
    bool wrong; /* the error is about the files, not about reading them */
} manifest;

static error *damaged(manifest *m, const char *how)
{
    m->wrong = true;
    return user_error("%s is damaged: %s", m->path, how);
}

static error *load_text(manifest *m, const char *directory)
{
    int fd;
    int64_t bytes;
    TRY(path_join(m->path, directory, FILE_NAME));
    TRY(open_file(m->path, &fd, &bytes, &m->wrong));
    error *e = bytes > MOST_BYTES ? damaged(m, "it is too long for a manifest") : NULL;
    if (!e) e = alloc_array(&m->text, (size_t)bytes + 1, 1);
    if (!e) e = file_read_some(fd, m->path, m->text, (size_t)bytes, &m->size);
    close(fd);
    return e;
}

static bool fit_name(const char *name)
{
    return name && *name && *name != '.' && strlen(name) < MANIFEST_NAME &&
           !strpbrk(name, "/\"\\") && strcmp(name, FILE_NAME);
}

static error *take_entry(manifest *m, const cJSON *entry)
{
    const char *name = json_string(entry, "name");
    const cJSON *bytes = json_get(entry, "bytes");
    const char *hash = json_string(entry, "xxh64");
    if (!fit_name(name) || !cJSON_IsNumber(bytes) || !hash || m->n == MANIFEST_FILES)
        return damaged(m, "an entry is not one of a file");
    if (!(bytes->valuedouble >= 0 && bytes->valuedouble < 9e15))
        return damaged(m, "a size is not one");
    m->said[m->n] = (file_facts){(int64_t)bytes->valuedouble, strtoull(hash, NULL, 16)};
    m->names[m->n++] = name;
    return NULL;
}

/* The file names, from an untrusted text. */
static error *take_names(manifest *m)
{
    const cJSON *entry;
    if (memchr(m->text, 0, m->size)) return damaged(m, "it has bytes of zero");
    m->json = cJSON_ParseWithLength(m->text, m->size);
    if (!m->json) { /* it also reports this if out of memory: is it that? */
        void *room;
        TRY(alloc_array(&room, m->size + 1, PARSED_SIZE));
        free(room);
        m->json = cJSON_ParseWithLength(m->text, m->size);
    }
    const cJSON *files = json_get(m->json, "files");
    if (!cJSON_IsArray(files)) return damaged(m, "it has no list of files");
    cJSON_ArrayForEach(entry, files) TRY(take_entry(m, entry));
    return NULL;
}

/* Sizes first: they are cheap, and explain best what happened to a truncated file. */
static error *check_sizes(manifest *m, const char *directory)
{
    for (int i = 0; i < m->n; i++) {
        char path[PATH_LENGTH];
        int fd;
        int64_t bytes;
        TRY(path_join(path, directory, m->names[i]));
        TRY(open_file(path, &fd, &bytes, &m->wrong));
        close(fd);
        m->wrong = bytes != m->said[i].bytes;
        if (m->wrong)
            return user_error("%s has %lld bytes, its manifest says %lld", path, (long long)bytes,
                              (long long)m->said[i].bytes);
    }
    return NULL;
}

static error *compare(manifest *m, const char *directory, int64_t step, const file_facts *facts)
{
    char *text;
    size_t size;
    for (int i = 0; i < m->n; i++) {
        m->wrong = facts[i].bytes != m->said[i].bytes || facts[i].hash != m->said[i].hash;
        if (m->wrong)
            return user_error("%s/%s is damaged: its XXH64 differs from the manifest", directory,
                              m->names[i]);
    }
    TRY(make_text(step, m->names, facts, m->n, &text, &size));
    bool same = size == m->size && !memcmp(text, m->text, size);
    free(text);
    return same ? NULL : damaged(m, "it is not what is written for these files and this step");
}

static error *check(manifest *m, const char *directory, int64_t step)
{
    file_facts *facts;
    TRY(load_text(m, directory));
    TRY(take_names(m));
    TRY(check_sizes(m, directory));
    TRY(hash_all(directory, m->names, NULL, m->n, &facts));
    error *e = compare(m, directory, step, facts);
    free(facts);
    return e;
}

error *manifest_verdict(const char *directory, int64_t step, error **damage)
{
    manifest *m;
    *damage = NULL;
    TRY(alloc_array(&m, 1, sizeof *m));
    error *e = check(m, directory, step);
    if (m->wrong) {
        *damage = e;
        e = NULL;
    }
    cJSON_Delete(m->json);
    free(m->text);
    free(m);
    return e;
}

error *manifest_check(const char *directory, int64_t step)
{
    error *damage;
    TRY(manifest_verdict(directory, step, &damage));
    return damage;
}
