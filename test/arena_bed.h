/* arena_bed.h - an arena for a test: recorded over the null device, replayed in
 * memory of the host. */
#ifndef REGRAD_TEST_ARENA_BED_H
#define REGRAD_TEST_ARENA_BED_H

#include "params/block_kinds.h"
#include "test/host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

enum { CANARY = 256 }; /* bytes behind the arena */

typedef struct {
    arena *a;
    device null, host;
    host_memory memory;
} bed;

static inline void must(error *e)
{
    if (e) fail_msg("%s", error_text(e));
}

static inline void open_bed(bed *b)
{
    must(arena_create(&block_kinds, &b->a));
    b->null = device_null();
    b->host = host_device(&b->memory);
    arena_attach(b->a, &b->null);
    assert_true(arena_recording(b->a));
}

static inline void plan_and_commit(bed *b, bool fill_fresh)
{
    must(arena_plan(b->a));
    assert_false(arena_recording(b->a));
    must(arena_commit(b->a, &b->host, fill_fresh));
    assert_int_equal(b->memory.bytes, arena_peak(b->a) + CANARY);
}

static inline void close_bed(bed *b)
{
    must(device_status(&b->null));
    must(device_status(&b->host));
    arena_destroy(b->a);
    assert_int_equal(b->memory.allocations, b->memory.releases);
}

/* The device's failure, which must be an internal one with these words. */
static inline void refused(device *dev, const char *words)
{
    error *e = device_status(dev);
    if (!e) fail_msg("not refused; expected: %s", words);
    if (error_kind_of(e) != ERR_INTERNAL || !strstr(error_text(e), words))
        fail_msg("expected: %s; got: %s", words, error_text(e));
    error_free(e);
}

/* The smallest program: 300 floats. */
static inline void run_small(bed *b)
{
    arena_begin(b->a, "small");
    tensor x = arena_take(b->a, KIND_ACTIVATION, F32, SHAPE(300), NAME("x", 0));
    arena_drop(b->a, &x);
    arena_end(b->a);
}

#endif
