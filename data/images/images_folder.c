/* images_folder.c - a directory of directories, one a class, with JPEG and PNG files.
 *
 * Classes are numbered in the order of their names, and so are the images of one (byte order, whatever
 * the locale).  Files and directories whose name begins with a dot are passed over; any other file is
 * taken for an image, and what it is is seen from its first bytes when it is decoded.
 */
#include "data/images/images_internal.h"
#include "base/files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_PICTURE = 1 << 30 }; /* bytes of a file */

static int visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* PATH/NAME for each entry, in order; those of the wanted kind alone. */
typedef struct {
    char **path; /* (n) */
    int n;
} listing;

static void listing_free(listing *l)
{
    for (int i = 0; i < l->n; i++)
        free(l->path[i]);
    free(l->path);
}

static error *list(const char *path, bool directories, listing *out)
{
    struct dirent **entries;
    *out = (listing){0};
    int n = scandir(path, &entries, visible, by_name);
    if (n < 0)
        return user_error("directory '%s' cannot be read: %s: check its permissions", path,
                          strerror(errno));
    error *e = alloc_array(&out->path, (size_t)n + 1, sizeof *out->path);
    for (int i = 0; i < n; i++) {
        struct stat st;
        char *full = NULL;
        if (!e && asprintf(&full, "%s/%s", path, entries[i]->d_name) < 0)
            e = user_error("out of memory for the names in '%s'", path);
        if (!e && !stat(full, &st) && (directories ? S_ISDIR(st.st_mode) : S_ISREG(st.st_mode)))
            out->path[out->n++] = full;
        else if (!e)
            free(full);
        free(entries[i]);
    }
    free(entries);
    if (e) listing_free(out);
    return e;
}

static error *add_class(image_set *s, const char *path, int label)
{
    listing files;
    TRY(list(path, false, &files));
    error *e = NULL;
    if (files.n == 0)
        e = images_spoilt(s, user_error("class directory '%s' has no images: remove it and lower "
                                        "--classes, or --bad-images skip",
                                        path));
    for (int i = 0; i < files.n && !e; i++) {
        image_item item = {.label = label, .path = strdup(files.path[i])};
        if (!item.path) e = user_error("out of memory for the names in '%s'", path);
        size_t before = s->n;
        if (!e) e = images_add(s, &item, files.path[i], i);
        if (s->n == before) free(item.path);
    }
    listing_free(&files);
    return e;
}

error *images_add_directory(image_set *s, const char *path)
{
    listing classes;
    TRY(list(path, true, &classes));
    error *e = NULL;
    if (!classes.n)
        e = user_error(
            "'%s' has no class directories: give a directory with a directory of pictures "
            "for each class",
            path);
    else if (classes.n != s->wish.classes)
        e = user_error("'%s' has %d class directories, but there are %lld classes: give --classes "
                       "%d",
                       path, classes.n, (long long)s->wish.classes, classes.n);
    for (int i = 0; i < classes.n && !e; i++)
        e = add_class(s, classes.path[i], i);
    listing_free(&classes);
    return e;
}

/* ---- one file ---- */

error *picture_decode(const char *path, picture *out)
{
    static const uint8_t png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    uint8_t *bytes;
    size_t n = 0;
    TRY(file_read_all(path, MOST_PICTURE, &bytes, &n));
    error *e;
    if (n < sizeof png)
        e = user_error("%zu bytes are no image", n);
    else if (bytes[0] == 0xff && bytes[1] == 0xd8)
        e = picture_jpeg(bytes, n, out);
    else if (!memcmp(bytes, png, sizeof png))
        e = picture_png(bytes, n, out);
    else
        e = user_error("neither JPEG nor PNG, whatever its name says");
    free(bytes);
    return e;
}
