/* rig.c - see rig.h */
#include "test/rig.h"

#include "test/ref.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

size_t rig_aligned(size_t bytes)
{
    return (bytes + RIG_ALIGN - 1) / RIG_ALIGN * RIG_ALIGN;
}

/* ---- the devices under test ---- */

static error *rig_open(rig *r)
{
    size_t room = rig_room();
    r->bytes = rig_memory();
    TRY(r->dev.ops->alloc(&r->dev, r->bytes + room, &r->memory));
    op_lend(&r->dev, tensor_of((char *)r->memory + r->bytes, U8, SHAPE((int64_t)room)));
    return NULL;
}

static error *rigs_open(bench *b)
{
    b->ref.dev = ref_device();
    TRY(rigs_open_devices(b));
    TRY(rig_open(&b->ref));
    TRY(rig_open(&b->many));
    TRY(rig_open(&b->one));
    return rig_open(&b->odd);
}

static void rig_close(rig *r)
{
    r->dev.ops->release(&r->dev, r->memory);
    if (r->dev.state) rig_close_device(r);
}

static int open_for(void **state, dtype work)
{
    bench *b;
    error *e = alloc_array(&b, 1, sizeof *b);
    if (!e) {
        b->work = work;
        e = rigs_open(*state = b);
    }
    return e ? error_report("test", e) : 0;
}

int bench_open(void **state)
{
    return open_for(state, F32);
}

int bench_open_bf16(void **state)
{
    return open_for(state, BF16);
}

int bench_close(void **state)
{
    bench *b = *state;
    rig_close(&b->ref);
    rig_close(&b->many);
    rig_close(&b->one);
    rig_close(&b->odd);
    free(b);
    return 0;
}

void rig_well(rig *r, const char *what)
{
    error *e = device_status(&r->dev);
    if (e) fail_msg("%s: %s", what, error_text(e));
}

dtype rig_type(const rig *r)
{
    return r->dev.ops->working_types >> F32 & 1 ? F32 : F64;
}

/* ---- tensors ---- */

static void check_guard(rig *r, const char *memory, const char *where)
{
    unsigned char guard[RIG_GUARD];
    r->dev.ops->get(&r->dev, STREAM_COMPUTE, guard, memory, RIG_GUARD);
    op_sync(&r->dev, STREAM_COMPUTE);
    for (int i = 0; i < RIG_GUARD; i++)
        if (guard[i] != 0xff) fail_msg("%s device: wrote %s a tensor", r->dev.ops->name, where);
}

tensor rig_put(rig *r, dtype type, shape dims, const void *host)
{
    tensor t = tensor_of((char *)r->memory + r->used + RIG_GUARD, type, dims);
    size_t bytes = tensor_bytes(t), all = rig_aligned(bytes + 2 * RIG_GUARD);
    assert_true(r->used + all <= r->bytes);
    r->dev.ops->set(&r->dev, STREAM_COMPUTE, (char *)r->memory + r->used, 0xff, all);
    op_put(&r->dev, STREAM_COMPUTE, t, host);
    op_sync(&r->dev, STREAM_COMPUTE);
    r->used += all;
    return t;
}

void rig_get(rig *r, tensor t, void *host)
{
    op_get(&r->dev, STREAM_COMPUTE, host, t);
    op_sync(&r->dev, STREAM_COMPUTE);
    check_guard(r, (char *)t.data - RIG_GUARD, "in front of");
    check_guard(r, (char *)t.data + tensor_bytes(t), "behind");
}

void rig_clear(rig *r)
{
    r->used = 0;
}
