/* rig_cuda.c - a GPU under test, or (CUDASIM) the emulator; see rig.h
 *
 * The three rigs are one device, opened three times.  On the emulator each runs its threads and
 * blocks in an order of its own: upwards, downwards, and at random.
 */
#include "test/rig.h"

#include "cuda/cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef CUDASIM
#include "test/cudasim/runtime.h"
#endif

error *rigs_open_devices(bench *b)
{
    TRY(cuda_device(&b->many.dev));
    TRY(cuda_device(&b->one.dev));
    return cuda_device(&b->odd.dev);
}

void rig_close_device(rig *r)
{
    cuda_close(&r->dev);
}

size_t rig_memory(void)
{
#ifdef CUDASIM
    return 16 << 20; /* all of its pages are opened and closed with each launch */
#else
    return 32 << 20;
#endif
}

/* With little for the libraries, which must do with what there is. */
size_t rig_room(void)
{
    return CUDA_ROOM_LEAST + (1 << 20);
}

bool rig_has_bf16(void)
{
    return true;
}

bool rig_rounds_between(void)
{
    return true;
}

bool rig_bits_vary(void)
{
    return false;
}

bool rig_products_vary(void)
{
    return true;
}

bool rig_slow(void)
{
#ifdef CUDASIM
    const char *all = getenv("LONG");
    return !all || strcmp(all, "1");
#else
    return false;
#endif
}

bool rig_once(void)
{
#ifdef CUDASIM
    return emu_watches_races();
#else
    return false;
#endif
}

bool rig_has_cudnn(void)
{
    device dev;
    error *e = cuda_device(&dev);
    if (!e) {
        e = cuda_try_cudnn(&dev);
        cuda_close(&dev);
    }
    if (e) printf("skip cuDNN: %s\n", error_text(e));
    error_free(e);
    return !e;
}

int64_t rig_most_head(void)
{
    return CUDA_MOST_HEAD;
}

void rig_select(const bench *b, const rig *r)
{
    (void)b, (void)r;
#ifdef CUDASIM
    emu_set_order(r == &b->many ? 0 : r == &b->one ? 1 : 2);
#endif
}
