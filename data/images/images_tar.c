/* images_tar.c - shards of WebDataset: a tar file in which the members of a sample follow each
 * other, with names that differ after the first dot only.
 *
 *     0001.jpg  0001.cls  0001.json   0002.cls  0002.jpg   ...        cls: the label in decimal digits
 *
 * Members with other extensions are ignored.  Opening reads the headers and the labels; a picture
 * is read where it lies when it is wanted.  Names may be continued in a pax or GNU header.
 */
#include "data/images/images_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/files.h"
#include "base/shown.h"

enum {
    BLOCK = 512,
    NAME_AT = 0,
    NAME_SIZE = 100,
    SIZE_AT = 124,
    SUM_AT = 148,
    SUM_SIZE = 8,
    TYPE_AT = 156,
    MAGIC_AT = 257,
    PREFIX_AT = 345,
    PREFIX_SIZE = 155,
    NAME_ROOM = 1024, /* of a whole name */
    MOST_EXTRA = 1 << 16,
    MOST_LABEL = 20 /* bytes of a .cls */
};

typedef struct {
    int64_t at, size; /* 0: it is not there */
} extent;

typedef struct {
    image_set *set;
    const char *path;
    int file;
    int64_t bytes, at, samples;
    char name[NAME_ROOM]; /* of the next member, by a header before its own; "": it has its own */
    /* the sample under way */
    char key[NAME_ROOM];
    extent picture;
    int64_t label; /* or one of these */
} shard;

enum { LABEL_MISSING = -1, LABEL_INVALID = -2 };

static error *tar_damaged(const shard *s, const char *what)
{
    return user_error("'%s' at byte %lld: %s: the file is damaged, get it again", s->path,
                      (long long)s->at, what);
}

/* ---- a header ---- */

/* Octal digits, among spaces and ending with one or a NUL; -1: something else. */
static int64_t octal(const uint8_t *p, int n)
{
    int64_t x = 0;
    int i = 0;
    while (i < n && p[i] == ' ')
        i++;
    if (i == n || p[i] < '0' || p[i] > '7') return -1;
    for (; i < n && p[i] >= '0' && p[i] <= '7'; i++)
        x = 8 * x + (p[i] - '0');
    return i == n || !p[i] || p[i] == ' ' ? x : -1;
}

/* Of all bytes, with spaces in the place of the sum itself. */
static int64_t checksum(const uint8_t *header)
{
    int64_t sum = 0;
    for (int i = 0; i < BLOCK; i++)
        sum += i >= SUM_AT && i < SUM_AT + SUM_SIZE ? ' ' : header[i];
    return sum;
}

static void own_name(const uint8_t *header, char name[NAME_ROOM])
{
    const char *prefix = (const char *)header + PREFIX_AT, *own = (const char *)header + NAME_AT;
    snprintf(name, NAME_ROOM, "%.*s%s%.*s", PREFIX_SIZE, prefix, *prefix ? "/" : "", NAME_SIZE,
             own);
}

/* The record "LENGTH path=NAME\n" of a pax header; other records may hold any bytes. */
static void pax_name(const char *text, int64_t bytes, char name[NAME_ROOM])
{
    static const char path[] = " path=";
    const int64_t tag = sizeof path - 1;
    for (const char *end = text + bytes; text < end;) {
        char *record;
        int64_t n = strtol(text, &record, 10);
        if (n <= record - text || n > end - text || *record != ' ') return;
        int64_t rest = text + n - record;
        if (rest > tag && !memcmp(record, path, (size_t)tag))
            snprintf(name, NAME_ROOM, "%.*s", (int)(rest - tag - 1), record + tag);
        text += n;
    }
}

/* A header that is about the next one: of pax (x), or GNU's long name (L). */
static error *read_extra(shard *s, char type, extent data)
{
    char *text;
    if (data.size > MOST_EXTRA) return tar_damaged(s, "a name longer than 64 KiB");
    TRY(alloc_array(&text, (size_t)data.size + 1, 1));
    error *e = file_pread(s->file, s->path, text, (size_t)data.size, data.at);
    text[data.size] = 0;
    if (!e && type == 'L') snprintf(s->name, NAME_ROOM, "%s", text);
    if (!e && type == 'x') pax_name(text, data.size, s->name);
    free(text);
    return e;
}

/* ---- samples ---- */

static error *add_sample(shard *s)
{
    image_item item = {.label = (int32_t)s->label, .at = s->picture.at, .size = s->picture.size};
    const char *slash = strrchr(s->path, '/');
    size_t before = s->set->n;
    if (!(item.path = strdup(s->path))) return user_error("out of memory for '%s'", s->path);
    item.name = slash ? (int32_t)(slash + 1 - s->path) : 0;
    error *e = images_add(s->set, &item, s->path, s->samples);
    if (s->set->n == before) free(item.path);
    return e;
}

static error *end_sample(shard *s)
{
    char shown[200];
    bool seen = s->picture.size, label = s->label != LABEL_MISSING;
    error *e = NULL;
    if (seen && s->label >= 0)
        e = add_sample(s);
    else if (seen || label)
        e = images_spoilt(s->set, BAD_ANY,
                          user_error("'%s': sample '%s' has %s", s->path,
                                     text_shown(s->key, shown, sizeof shown),
                                     !seen   ? "no picture (.jpg, .png)"
                                     : label ? "a label (.cls) that is not a number"
                                             : "no label (.cls)"));
    s->samples += seen || label;
    s->picture = (extent){0};
    s->label = LABEL_MISSING;
    *s->key = 0;
    return e;
}

static error *read_label(shard *s, extent data)
{
    char text[MOST_LABEL + 1] = "", *end;
    if (data.size <= MOST_LABEL)
        TRY(file_pread(s->file, s->path, text, (size_t)data.size, data.at));
    long label = strtol(text, &end, 10);
    bool valid = end > text && !end[strspn(end, " \r\n")] && label >= 0 && label <= INT32_MAX;
    s->label = valid ? label : LABEL_INVALID;
    return NULL;
}

/* A file of the archive, called `name`. */
static error *add_member(shard *s, const char *name, extent data)
{
    static const char *const pictures[] = {"jpg", "jpeg", "png", "webp"};
    const char *base = strrchr(name, '/');
    base = base ? base + 1 : name;
    const char *dot = strchr(base, '.');
    if (!dot || dot == base) return NULL;
    size_t n = (size_t)(dot - name);
    if (strlen(s->key) != n || strncmp(s->key, name, n)) {
        TRY(end_sample(s));
        memcpy(s->key, name, n);
        s->key[n] = 0;
    }
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++)
        if (!strcasecmp(dot + 1, pictures[i]) && data.size) s->picture = data;
    return strcasecmp(dot + 1, "cls") ? NULL : read_label(s, data);
}

/* One header and what belongs to it; *end: it was the last. */
static error *read_member(shard *s, bool *end)
{
    uint8_t header[BLOCK];
    char name[NAME_ROOM];
    *end = s->at >= s->bytes;
    if (*end) return NULL;
    if (s->bytes - s->at < BLOCK) return tar_damaged(s, "a header that is cut");
    TRY(file_pread(s->file, s->path, header, BLOCK, s->at));
    *end = !*header;
    if (*end) return NULL;
    extent data = {s->at + BLOCK, octal(header + SIZE_AT, 12)};
    if (octal(header + SUM_AT, SUM_SIZE) != checksum(header))
        return tar_damaged(s, "a wrong checksum");
    if (data.size < 0 || data.size > s->bytes - data.at)
        return tar_damaged(s, "a member that is longer than the file");
    char type = (char)header[TYPE_AT];
    error *e = NULL;
    if (type == 'x' || type == 'L') {
        e = read_extra(s, type, data);
    } else {
        own_name(header, name);
        if (type == '0' || !type) e = add_member(s, *s->name ? s->name : name, data);
        *s->name = 0;
    }
    s->at = data.at + (data.size + BLOCK - 1) / BLOCK * BLOCK;
    return e;
}

bool images_is_tar(const uint8_t *head, size_t n)
{
    return n >= MAGIC_AT + 5 && !memcmp(head + MAGIC_AT, "ustar", 5);
}

error *images_add_tar(image_set *set, const char *path)
{
    shard s = {.set = set, .path = path, .label = LABEL_MISSING};
    TRY(file_open(path, &s.file, &s.bytes));
    error *e = NULL;
    for (bool end = false; !end && !e;)
        e = read_member(&s, &end);
    if (!e) e = end_sample(&s);
    close(s.file);
    return e;
}

error *images_read_part(const char *path, int64_t at, int64_t size, uint8_t **bytes, size_t *n)
{
    int file;
    int64_t all;
    if (size > MOST_PICTURE) return user_error("a picture of more than 1 GiB");
    TRY(file_open(path, &file, &all));
    error *e = alloc_array(bytes, (size_t)size, 1);
    if (!e) {
        e = file_pread(file, path, *bytes, (size_t)size, at);
        if (e) free(*bytes);
    }
    close(file);
    *n = (size_t)size;
    return e;
}
