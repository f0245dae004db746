/* rig_cpu.c - the CPU under test; see rig.h */
#include "test/rig.h"

#include "cpu/cpu.h"

error *rigs_open_devices(bench *b)
{
    TRY(cpu_device(2, &b->many.dev));
    TRY(cpu_device(1, &b->one.dev));
    return cpu_device(5, &b->odd.dev);
}

void rig_close_device(rig *r)
{
    cpu_close(&r->dev);
}

size_t rig_memory(void)
{
    return 96 << 20;
}

/* Little: so that what is tested does not fit at once. */
size_t rig_room(void)
{
    return 1 << 20;
}

bool rig_has_bf16(void)
{
    return true;
}

bool rig_rounds_between(void)
{
    return false;
}

bool rig_bits_vary(void)
{
    return false;
}

bool rig_products_vary(void)
{
    return false;
}

bool rig_slow(void)
{
    return false;
}

bool rig_once(void)
{
    return false;
}

bool rig_has_cudnn(void)
{
    return false;
}

int64_t rig_most_head(void)
{
    return 512;
}

void rig_select(const bench *b, const rig *r)
{
    (void)b, (void)r;
}
