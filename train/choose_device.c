/* choose_device.c - see choose_device.h */
#include "train/choose_device.h"

#include "cpu/cpu.h"
#include "cuda/cuda.h"

#include <string.h>

const char *const place_names[PLACE_COUNT] = {"auto", "cpu", "cuda"};

/* By place; what `auto` tries first comes last. */
static const device_kind *const kinds[PLACE_COUNT] = {&cpu_kind, &cpu_kind, &cuda_kind};

const device_kind *device_kind_at(place_choice where)
{
    return kinds[where];
}

place_choice device_place(const device *dev)
{
    place_choice where = PLACE_COUNT;
    while (--where > PLACE_CPU && kinds[where] != dev->kind)
        ;
    return where;
}

place_choice device_likely(place_choice where)
{
    if (where != PLACE_AUTO) return where;
    for (where = PLACE_COUNT - 1; where > PLACE_CPU && !kinds[where]->likely(); where--)
        ;
    return where;
}

error *device_open(place_choice where, int threads, FILE *out, device *dev)
{
    place_choice first = device_likely(where);
    error *e = kinds[first]->open(threads, dev);
    if (!e || where != PLACE_AUTO || first == PLACE_CPU) return e;
    if (out) fprintf(out, "not on the GPU: %s\n", error_text(e));
    error_free(e);
    return kinds[PLACE_CPU]->open(threads, dev);
}

error *device_use(device *dev, const char *kernel, const char *products)
{
    return dev->kind->use ? dev->kind->use(dev, kernel, products) : NULL;
}

void device_close(device *dev)
{
    dev->kind->close(dev);
}

const char *device_describe(const device *dev, char *buffer, size_t size)
{
    char about[300];
    snprintf(buffer, size, "%s, %s", dev->kind->name,
             dev->kind->describe(dev, about, sizeof about));
    return buffer;
}

size_t device_memory(const device *dev)
{
    return dev->kind->memory ? dev->kind->memory(dev) : 0;
}

size_t device_free_memory(device *dev)
{
    return dev->kind->free_memory ? dev->kind->free_memory(dev) : 0;
}

/* Kinds number their methods alike, so the one with most names them all. */
static error *no_such_attention(const char *name)
{
    const device_kind *most = kinds[PLACE_CPU];
    char all[200] = "";
    for (place_choice where = PLACE_CPU; where < PLACE_COUNT; where++)
        if (kinds[where]->n_attention > most->n_attention) most = kinds[where];
    for (int i = 0; i < most->n_attention; i++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? ", " : "",
                 most->attention[i]);
    return user_error("--attention %s: must be one of %s", name, all);
}

error *device_attention(const char *name, int *method, const device_kind **whose)
{
    for (place_choice where = PLACE_CPU; where < PLACE_COUNT; where++)
        for (int i = 0; i < kinds[where]->n_attention; i++) {
            if (strcmp(name, kinds[where]->attention[i])) continue;
            *method = i;
            *whose = kinds[where];
            return NULL;
        }
    return no_such_attention(name);
}

error *device_prepare(device *dev, int attention)
{
    return dev->kind->prepare ? dev->kind->prepare(dev, attention) : NULL;
}
