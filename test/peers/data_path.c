/* data_path.c - how fast images are decoded, cropped and flipped, for the comparison with
 * torchvision (test/peers/data_path.py).
 *
 *     data_path DIR SIZE SECONDS
 *
 * One thread; prints images per second of its processor time.
 */
#include "base/kept_heap.h"
#include "data/images/image_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double seconds_used(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* Reads samples until that many seconds are used, after one that does not count. */
static error *measure(source *s, int64_t classes, int64_t size, double seconds)
{
    float *inputs = NULL, *targets = NULL;
    int64_t n = 0;
    TRY(alloc_array(&inputs, (size_t)(3 * size * size), sizeof *inputs));
    error *e = alloc_array(&targets, (size_t)classes, sizeof *targets);
    if (!e) e = source_read(s, 0, 1, inputs, targets);
    double begun = seconds_used(), used = 0;
    for (; !e && used < seconds; used = seconds_used() - begun, n++)
        e = source_read(s, 1 + n, 1, inputs, targets);
    if (!e) printf("%.1f\n", (double)n / used);
    free(inputs);
    free(targets);
    return e;
}

static error *run(const char *dir, int64_t size, double seconds)
{
    image_names names = {0};
    source *s = NULL;
    TRY(image_names_find(&dir, 1, &names));
    image_options o = {.wish = {.channels = 3, .classes = names.n, .names = &names},
                       .height = size,
                       .width = size,
                       .kernel = RESAMPLE_BILINEAR,
                       .mean = {0.485, 0.456, 0.406},
                       .std = {0.229, 0.224, 0.225},
                       .training = true,
                       .seed = 1,
                       .flip = true,
                       .crop_least = 0.08};
    error *e = image_source_open(&dir, 1, &o, &s);
    if (!e) e = measure(s, names.n, size, seconds);
    if (s) s->ops->close(s);
    image_names_free(&names);
    return e;
}

int main(int argc, char **argv)
{
    if (argc != 4) return error_report("data_path", user_error("data_path DIR SIZE SECONDS"));
    heap_keep(); /* as train_vit does */
    error *e = run(argv[1], strtoll(argv[2], NULL, 10), strtod(argv[3], NULL));
    return e ? error_report("data_path", e) : 0;
}
