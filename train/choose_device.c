/* choose_device.c - see choose_device.h */
#include "train/choose_device.h"

#include "cpu/cpu.h"
#include "cuda/copies.h"
#include "cuda/cuda.h"

#include <string.h>

const char *const device_choice_names[DEVICE_CHOICES] = {"auto", "cpu", "cuda"};

/* By device_choice; the one that `auto` prefers comes last. */
static const device_kind *const kinds[DEVICE_CHOICES] = {&cpu_kind, &cpu_kind, &cuda_kind};

const device_kind *device_kind_at(device_choice where)
{
    return kinds[where];
}

device_choice device_choice_of(const device *dev)
{
    device_choice where = DEVICE_CHOICES;
    while (--where > DEVICE_CPU && kinds[where] != dev->kind)
        ;
    return where;
}

device_choice device_likely(device_choice where)
{
    if (where != DEVICE_AUTO) return where;
    for (where = DEVICE_CHOICES - 1; where > DEVICE_CPU && !kinds[where]->likely(); where--)
        ;
    return where;
}

error *device_enough(int n)
{
    device_choice where = DEVICE_CHOICES - 1;
    while (where > DEVICE_CPU && !kinds[where]->enough)
        where--;
    return kinds[where]->enough
               ? kinds[where]->enough(n)
               : user_error("--gpus: this program has no device for several ranks");
}

error *device_open(device_choice where, int threads, FILE *out, device *dev)
{
    device_choice first = device_likely(where);
    error *e = kinds[first]->open(threads, dev);
    if (!e || where != DEVICE_AUTO || first == DEVICE_CPU) return e;
    if (out) fprintf(out, "not on the GPU: %s\n", error_text(e));
    error_free(e);
    return kinds[DEVICE_CPU]->open(threads, dev);
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

const far_host *device_host(const device *dev)
{
    return dev->kind == &cuda_kind ? &cuda_host : NULL;
}

/* Kinds number their methods alike, so the one with most methods has all names. */
static error *no_such_attention(const char *name)
{
    const device_kind *most = kinds[DEVICE_CPU];
    char all[200] = "";
    for (device_choice where = DEVICE_CPU; where < DEVICE_CHOICES; where++)
        if (kinds[where]->n_attention > most->n_attention) most = kinds[where];
    for (int i = 0; i < most->n_attention; i++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? ", " : "",
                 most->attention[i]);
    return user_error("--attention %s: must be one of auto, %s", name, all);
}

error *device_attention(const char *name, int *method, const device_kind **whose)
{
    for (device_choice where = DEVICE_CPU; where < DEVICE_CHOICES; where++)
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
