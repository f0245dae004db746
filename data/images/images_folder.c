/* images_folder.c - a directory of directories, one per class, with pictures at any depth.
 *
 * It is traversed like torchvision's ImageFolder: classes are numbered by name; within a class,
 * directories are sorted by path, and the files of each by name (byte order, whatever the locale);
 * links are followed.
 *
 * A file is a picture if its extension says so, and bad if it cannot be decoded; with another
 * extension, or none, its first bytes decide.  Anything else, and names with a leading dot, are
 * skipped and counted.  A dangling link is bad.
 */
#include "data/images/images_internal.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/files.h"
#include "base/grow.h"
#include "base/shown.h"
#include "base/text_ends.h"

enum { DEEPEST = 60 };

/* Paths that grow. */
typedef struct {
    char **path; /* (n) */
    size_t n, capacity;
} listing;

static void listing_free(listing *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->path[i]);
    free(l->path);
    *l = (listing){0};
}

/* Takes the path. */
static error *listing_add(listing *l, char *path)
{
    error *e = grow_array(&l->path, &l->capacity, l->n + 1, sizeof *l->path);
    if (e)
        free(path);
    else
        l->path[l->n++] = path;
    return e;
}

static void listing_sort(listing *l)
{
    if (l->n) qsort(l->path, l->n, sizeof *l->path, text_order);
}

/* What is met on the way. */
typedef struct {
    image_set *set;
    int64_t hidden, others; /* passed over */
    char first[200];        /* of the others */
} walk;

/* ---- one directory ---- */

typedef enum { IS_FILE, IS_DIRECTORY, IS_OTHER } kind;

/* Links are followed; the type that readdir gives saves a call for each file. */
static error *kind_of(const char *path, unsigned char type, kind *out)
{
    struct stat st;
    *out = type == DT_REG ? IS_FILE : type == DT_DIR ? IS_DIRECTORY : IS_OTHER;
    if (type != DT_LNK && type != DT_UNKNOWN) return NULL;
    if (stat(path, &st))
        return user_error("'%s' leads nowhere: %s: remove it, or --bad-images skip", path,
                          strerror(errno));
    *out = S_ISREG(st.st_mode) ? IS_FILE : S_ISDIR(st.st_mode) ? IS_DIRECTORY : IS_OTHER;
    return NULL;
}

static error *list_entry(walk *w, const char *path, const struct dirent *entry,
                         listing *directories, listing *files)
{
    char *full = NULL;
    kind k;
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) return NULL;
    if (entry->d_name[0] == '.') {
        w->hidden++;
        return NULL;
    }
    if (asprintf(&full, "%s/%s", path, entry->d_name) < 0)
        return user_error("out of memory for the names in '%s'", path);
    error *e = kind_of(full, entry->d_type, &k);
    if (!e && k == IS_FILE) return listing_add(files, full);
    if (!e && k == IS_DIRECTORY) return listing_add(directories, full);
    free(full);
    return e && w->set ? images_spoilt(w->set, BAD_UNREADABLE, e) : e;
}

/* Adds what is in a directory, unsorted. */
static error *list(walk *w, const char *path, listing *directories, listing *files)
{
    DIR *d = opendir(path);
    if (!d)
        return user_error("directory '%s' cannot be read: %s: check its permissions", path,
                          strerror(errno));
    error *e = NULL;
    errno = 0;
    for (struct dirent *entry; !e && (entry = readdir(d)); errno = 0)
        e = list_entry(w, path, entry, directories, files);
    if (!e && errno) e = user_error("directory '%s' cannot be read: %s", path, strerror(errno));
    closedir(d);
    return e;
}

/* ---- one class ---- */

/* A class's directories, each with its files. */
typedef struct {
    char *path;
    listing files;
} folder;

typedef struct {
    folder *item; /* (n) */
    size_t n, capacity;
} folders;

static void folders_free(folders *f)
{
    for (size_t i = 0; i < f->n; i++) {
        free(f->item[i].path);
        listing_free(&f->item[i].files);
    }
    free(f->item);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const folder *)a)->path, ((const folder *)b)->path);
}

/* A directory and all below it.  Refuses a link to one that contains it, which would never end. */
static error *descend(walk *w, const char *path, int depth, folders *all)
{
    if (depth > DEEPEST)
        return user_error("'%.200s...' is more than %d directories deep: is there a link to a "
                          "directory above it?",
                          path, DEEPEST);
    listing below = {0};
    TRY(grow_array(&all->item, &all->capacity, all->n + 1, sizeof *all->item));
    folder *here = &all->item[all->n++];
    *here = (folder){.path = strdup(path)};
    error *e = here->path ? NULL : user_error("out of memory for the name '%s'", path);
    if (!e) e = list(w, path, &below, &here->files);
    for (size_t i = 0; i < below.n && !e; i++)
        e = descend(w, below.path[i], depth + 1, all);
    listing_free(&below);
    return e;
}

static bool picture_by_name(const char *path)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png",  ".ppm", ".bmp",
                                          ".pgm", ".tif",  ".tiff", ".webp"};
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++)
        if (!strcasecmp(dot, endings[i])) return true;
    return false;
}

static bool picture_by_head(const char *path)
{
    uint8_t head[16];
    FILE *f = fopen(path, "rb");
    if (!f) return true; /* reading it will tell why */
    size_t n = fread(head, 1, sizeof head, f);
    fclose(f);
    return picture_known(head, n);
}

static error *add_file(walk *w, const char *path, size_t root, int label)
{
    image_set *s = w->set;
    if (!picture_by_name(path) && !picture_by_head(path)) {
        if (!w->others++) text_shown(path, w->first, sizeof w->first);
        return NULL;
    }
    image_item item = {.label = label, .path = strdup(path), .name = (int32_t)root + 1};
    if (!item.path) return user_error("out of memory for the name '%s'", path);
    size_t before = s->n;
    error *e = images_add(s, &item, path, (int64_t)before);
    if (s->n == before) free(item.path);
    return e;
}

/* All pictures below `path`. */
static error *add_below(walk *w, const char *path, size_t root, int label)
{
    folders all = {0};
    error *e = descend(w, path, 0, &all);
    if (!e) qsort(all.item, all.n, sizeof *all.item, by_path);
    for (size_t i = 0; i < all.n && !e; i++) {
        listing *files = &all.item[i].files;
        listing_sort(files);
        for (size_t k = 0; k < files->n && !e; k++)
            e = add_file(w, files->path[k], root, label);
    }
    folders_free(&all);
    return e;
}

static error *add_class(walk *w, const char *path, size_t root, int label)
{
    size_t before = w->set->n;
    TRY(add_below(w, path, root, label));
    if (w->set->n > before) return NULL;
    return images_spoilt(w->set, BAD_ANY,
                         user_error("class directory '%s' has no images: remove it and lower "
                                    "--classes, or --bad-images skip",
                                    path));
}

/* ---- all classes ---- */

static const char *last_part(const char *path)
{
    return strrchr(path, '/') + 1;
}

/* The class directories of one directory; files beside them are passed over. */
static error *list_classes(walk *w, const char *path, listing *classes)
{
    listing files = {0};
    error *e = list(w, path, classes, &files);
    if (!e && files.n) {
        text_shown(files.path[0], w->first, sizeof w->first);
        w->others += (int64_t)files.n;
    }
    listing_free(&files);
    listing_sort(classes);
    return e;
}

/* The class number of a directory; -1: none. */
static int label_of(const image_names *names, const char *name)
{
    for (int64_t i = 0; i < names->n; i++)
        if (!strcmp(name, names->name[i])) return (int)i;
    return -1;
}

static error *add_classes(walk *w, const char *path, const listing *classes)
{
    const image_names *names = w->set->wish.names;
    for (size_t i = 0; i < classes->n; i++) {
        const char *class = classes->path[i];
        int label = names && names->n ? label_of(names, last_part(class)) : (int)i;
        if (label < 0)
            return user_error(
                "'%s' is not a class of the training data (which has %lld, %s to %s): "
                "remove it, or train with it",
                class, (long long)names->n, names->name[0], names->name[names->n - 1]);
        TRY(add_class(w, class, strlen(path), label));
    }
    return NULL;
}

static void tell(const walk *w, const char *path)
{
    char *text = w->set->passed_over;
    size_t size = sizeof w->set->passed_over, used = strlen(text);
    if (!w->others && !w->hidden) return;
    snprintf(text + used, size - used,
             "%s%s: skipped %lld file%s without a picture%s%.150s%s, %lld hidden", used ? "; " : "",
             path, (long long)w->others, w->others == 1 ? "" : "s", w->others ? " (" : "", w->first,
             w->others ? ")" : "", (long long)w->hidden);
}

error *images_add_directory(image_set *s, const char *path)
{
    listing classes = {0};
    walk w = {.set = s};
    const image_names *names = s->wish.names;
    int64_t known = names && names->n ? names->n : 0;
    error *e = list_classes(&w, path, &classes);
    int64_t n = known ? known : (int64_t)classes.n;
    if (!e && !classes.n)
        e = user_error(
            "'%s' has no class directories: give a directory with a directory of pictures "
            "for each class",
            path);
    else if (!e && n != s->wish.classes)
        e = user_error("'%s' has %lld class directories, but there are %lld classes: give "
                       "--classes %lld",
                       path, (long long)n, (long long)s->wish.classes, (long long)n);
    if (!e) e = add_classes(&w, path, &classes);
    if (!e) tell(&w, path);
    listing_free(&classes);
    return e;
}

error *images_add_unlabelled(image_set *s, const char *path)
{
    struct stat st;
    walk w = {.set = s};
    if (!stat(path, &st) && S_ISDIR(st.st_mode)) {
        TRY(add_below(&w, path, strlen(path), 0));
        tell(&w, path);
        return NULL;
    }
    image_item item = {.path = strdup(path)};
    if (!item.path) return user_error("out of memory for the name '%s'", path);
    error *e = images_add(s, &item, path, 0);
    if (e) free(item.path);
    return e;
}

/* ---- names ---- */

void image_names_free(image_names *names)
{
    for (int64_t i = 0; i < names->n; i++)
        free(names->name[i]);
    free(names->name);
    *names = (image_names){0};
}

static error *add_names(void *context, const char *path)
{
    listing *all = context;
    struct stat st;
    listing classes = {0};
    walk w = {0};
    if (stat(path, &st) || !S_ISDIR(st.st_mode)) return NULL;
    error *e = list_classes(&w, path, &classes);
    for (size_t i = 0; i < classes.n && !e; i++) {
        char *name = strdup(last_part(classes.path[i]));
        e = name ? listing_add(all, name) : user_error("out of memory for the names of classes");
    }
    listing_free(&classes);
    return e;
}

error *image_names_find(const char *const *paths, int n, image_names *out)
{
    listing all = {0};
    error *e = NULL;
    *out = (image_names){0};
    for (int i = 0; i < n && !e; i++)
        e = images_each_path(paths[i], add_names, &all);
    if (e) {
        listing_free(&all);
        return e;
    }
    listing_sort(&all);
    for (size_t i = 0; i < all.n; i++) /* each once */
        if (out->n && !strcmp(all.path[i], all.path[out->n - 1]))
            free(all.path[i]);
        else
            all.path[out->n++] = all.path[i];
    out->name = all.path;
    return NULL;
}

/* ---- one file ---- */

error *images_read_file(const char *path, uint8_t **bytes, size_t *n)
{
    TRY(file_read_all(path, MOST_PICTURE, bytes, n));
    if (*n >= 8) return NULL;
    free(*bytes);
    return user_error("%zu bytes are not an image", *n);
}
