/* arena.c - see arena.h */
#include "core/arena.h"
#include "core/placement.h"

#include <stdlib.h>
#include <string.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
enum { RED_ZONE = 256 };
#define POISON(p, n)   __asan_poison_memory_region(p, n)
#define UNPOISON(p, n) __asan_unpoison_memory_region(p, n)
#else
enum { RED_ZONE = 0 };
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

enum { ALIGNMENT = 256, CANARY = 256, CANARY_BYTE = 0xA5, MAX_PROGRAMS = 12 };

/* Addresses returned while recording: block i gets (i + 1) << RECORD_SHIFT, so that a view into a
 * block of up to a terabyte still shows which block it is.  They must never be dereferenced. */
enum { RECORD_SHIFT = 40 };
/* Upper bound on the bytes of all blocks of a recording, so no sum of them overflows. */
static const size_t MOST_BYTES = (size_t)1 << 60;
static const uintptr_t PERSISTENT = (uintptr_t)1
                                    << 63; /* persistent blocks: no program may drop them */

typedef struct {
    block_name name;
    int kind;
    size_t bytes;  /* requested */
    size_t room;   /* rounded up, including the red zone */
    size_t offset; /* offset in its region */
    int64_t start, end;
} block;

/* A recorded sequence.  Event i + 1 takes block i, -(i + 1) drops it. */
typedef struct {
    const char *name;
    block *blocks;
    size_t n_blocks, room_blocks;
    int64_t *events;
    size_t n_events, room_events;
    size_t loop; /* event index where iteration 1 begins, or 0 */
    size_t top, load;
    int64_t peak_clock;
    arena_mark_info marks[ARENA_MARKS];
    int n_marks;
} program;

struct arena {
    const arena_kinds *kinds;
    device *dev;
    bool recording, fill_fresh;
    program keep; /* the persistent blocks */
    program programs[MAX_PROGRAMS];
    int n_programs;
    program *current;
    size_t next_keep, cursor; /* replay: next persistent block, next event */
    size_t live_blocks, live_at_loop;
    size_t persistent, region; /* bytes */
    size_t taken;              /* while recording: bytes of all blocks so far, at most MOST_BYTES */
    char *memory;
    size_t high_water;
};

/* True if an operation has finished when it returns.  If not, a block may still be in use when it
 * is dropped. */
static bool at_once(const arena *a)
{
    return !a->dev->ops->sync;
}

static size_t round_up(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void text_of(block_name name, char *buffer, size_t size)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(buffer, size, name.format, name.number);
#pragma GCC diagnostic pop
}

static void fail(arena *a, error *e)
{
    device_fail(a->dev, e);
}

error *arena_create(const arena_kinds *kinds, arena **out)
{
    TRY(alloc_array(out, 1, sizeof **out));
    (*out)->kinds = kinds;
    (*out)->recording = true;
    return NULL;
}

void arena_attach(arena *a, device *dev)
{
    a->dev = dev;
}

static void program_free(program *p)
{
    free(p->blocks);
    free(p->events);
}

void arena_destroy(arena *a)
{
    if (!a) return;
    if (a->memory) {
        UNPOISON(a->memory, a->persistent + a->region + CANARY);
        a->dev->ops->release(a->dev, a->memory);
    }
    program_free(&a->keep);
    for (int i = 0; i < a->n_programs; i++)
        program_free(&a->programs[i]);
    free(a);
}

/* ---- record ---- */

static bool grow(arena *a, void *array, size_t n, size_t *room, size_t item)
{
    if (n < *room) return true;
    size_t more = *room ? *room * 2 : 256;
    void *old, *p;
    memcpy(&old, array, sizeof old);
    p = realloc(old, more * item);
    if (!p) {
        fail(a, user_error("out of memory while planning: close other programs"));
        return false;
    }
    memcpy(array, &p, sizeof p);
    *room = more;
    return true;
}

static tensor record_take(arena *a, program *p, const block *b, dtype type, shape s)
{
    if (b->kind < 0 || b->kind >= a->kinds->n) {
        fail(a, internal_error("a block of kind %d, where there are %d", b->kind, a->kinds->n));
        return (tensor){0};
    }
    if (!grow(a, &p->blocks, p->n_blocks, &p->room_blocks, sizeof *p->blocks) ||
        !grow(a, &p->events, p->n_events, &p->room_events, sizeof *p->events))
        return (tensor){0};
    size_t id = p->n_blocks++;
    p->blocks[id] = *b;
    p->blocks[id].start = (int64_t)p->n_events;
    p->blocks[id].end = INT64_MAX;
    p->events[p->n_events++] = (int64_t)id + 1;
    a->live_blocks++;
    return tensor_of((void *)((uintptr_t)(id + 1) << RECORD_SHIFT), type, s);
}

static void record_drop(arena *a, program *p, const tensor *t)
{
    size_t id = (size_t)((uintptr_t)t->data >> RECORD_SHIFT) - 1;
    if (id >= p->n_blocks || p->blocks[id].end != INT64_MAX) {
        fail(a, internal_error("program %s drops a block that is not alive", p->name));
        return;
    }
    if (!grow(a, &p->events, p->n_events, &p->room_events, sizeof *p->events)) return;
    p->blocks[id].end = (int64_t)p->n_events;
    p->events[p->n_events++] = -(int64_t)id - 1;
    a->live_blocks--;
}

void arena_mark(arena *a, const char *what)
{
    program *p = a->current;
    if (!a->recording || !p || p->n_marks == ARENA_MARKS) return;
    for (int i = 0; i < p->n_marks; i++)
        if (!strcmp(p->marks[i].what, what)) return;
    p->marks[p->n_marks++] = (arena_mark_info){what, (int64_t)p->n_events};
}

/* ---- replay ---- */

static bool same_name(block_name a, block_name b)
{
    return a.number == b.number && (a.format == b.format || !strcmp(a.format, b.format));
}

static tensor hand_out(arena *a, const block *b, size_t base, dtype type, shape s)
{
    char *p = a->memory + base + b->offset;
    if (base + b->offset + b->room > a->high_water) a->high_water = base + b->offset + b->room;
    UNPOISON(p, b->bytes);
    if (a->fill_fresh) a->dev->ops->set(a->dev, STREAM_COMPUTE, p, 0xFF, b->bytes);
    return tensor_of(p, type, s);
}

static void out_of_step(arena *a, const char *what, const block *recorded, const block *asked)
{
    char r[80] = "nothing", q[80] = "nothing";
    if (recorded) text_of(recorded->name, r, sizeof r);
    if (asked) text_of(asked->name, q, sizeof q);
    fail(a, internal_error("%s: the run asks for %s (%zu bytes) where the plan has %s (%zu bytes)",
                           what, q, asked ? asked->bytes : 0, r, recorded ? recorded->bytes : 0));
}

static tensor replay_take(arena *a, program *p, const block *asked, dtype type, shape s)
{
    int64_t event = a->cursor < p->n_events ? p->events[a->cursor] : 0;
    const block *b = event > 0 ? &p->blocks[event - 1] : NULL;
    if (!b || b->bytes != asked->bytes || b->kind != asked->kind ||
        !same_name(b->name, asked->name)) {
        out_of_step(a, p->name, b, asked);
        return (tensor){0};
    }
    a->cursor++;
    a->live_blocks++;
    return hand_out(a, b, a->persistent, type, s);
}

static void replay_drop(arena *a, program *p, const tensor *t)
{
    int64_t event = a->cursor < p->n_events ? p->events[a->cursor] : 0;
    const block *b = event < 0 ? &p->blocks[-event - 1] : NULL;
    if (!b || a->memory + a->persistent + b->offset != (char *)t->data) {
        out_of_step(a, p->name, b, NULL);
        return;
    }
    if (at_once(a)) POISON(t->data, b->room);
    a->cursor++;
    a->live_blocks--;
}

/* ---- both ---- */

/* false: the device has failed */
static bool block_of(arena *a, int kind, dtype type, shape s, block_name name, block *b)
{
    char text[80], dims[80];
    tensor t = tensor_of(NULL, type, s);
    *b = (block){.name = name, .kind = kind, .bytes = tensor_bytes(t)};
    if (a->dev->failure) return false;
    if (b->bytes <= MOST_BYTES && a->taken <= MOST_BYTES - b->bytes) {
        b->room = round_up(b->bytes + RED_ZONE);
        if (a->recording) a->taken += b->room;
        return true;
    }
    text_of(name, text, sizeof text);
    fail(a,
         user_error("no machine has the memory for this: the plan passes 2^60 bytes at %s %s; use "
                    "a smaller batch, shorter sequences or a smaller model",
                    text, tensor_text(t, dims, sizeof dims)));
    return false;
}

tensor arena_keep(arena *a, int kind, dtype type, shape s, block_name name)
{
    block asked;
    if (!block_of(a, kind, type, s, name, &asked)) return (tensor){0};
    if (a->recording) {
        tensor t = record_take(a, &a->keep, &asked, type, s);
        a->live_blocks--; /* counts blocks of programs only */
        t.data = (void *)((uintptr_t)t.data | PERSISTENT);
        return t;
    }
    const block *b = a->next_keep < a->keep.n_blocks ? &a->keep.blocks[a->next_keep] : NULL;
    if (!b || b->bytes != asked.bytes || b->kind != asked.kind || !same_name(b->name, asked.name)) {
        out_of_step(a, "persistent", b, &asked);
        return (tensor){0};
    }
    a->next_keep++;
    return hand_out(a, b, 0, type, s);
}

void arena_begin(arena *a, const char *name)
{
    if (a->dev->failure) return;
    program *p = a->programs;
    while (p < a->programs + a->n_programs && strcmp(p->name, name))
        p++;
    bool known = p < a->programs + a->n_programs;
    if (a->current || known == a->recording) {
        fail(a, internal_error("program %s begins where it may not", name));
        return;
    }
    if (!known && a->n_programs == MAX_PROGRAMS) {
        fail(a, internal_error("program %s is one more than %d: raise MAX_PROGRAMS", name,
                               MAX_PROGRAMS));
        return;
    }
    if (!known) {
        p->name = name;
        a->n_programs++;
    }
    a->current = p;
    a->cursor = 0;
    a->live_blocks = 0;
}

void arena_end(arena *a)
{
    if (a->dev->failure) return;
    if (!a->current || a->live_blocks || (!a->recording && a->cursor != a->current->n_events))
        fail(a, internal_error("program %s ends with %zu blocks alive, at event %zu of %zu",
                               a->current ? a->current->name : "?", a->live_blocks, a->cursor,
                               a->current ? a->current->n_events : 0));
    a->current = NULL;
}

tensor arena_take(arena *a, int kind, dtype type, shape s, block_name name)
{
    block asked;
    if (!block_of(a, kind, type, s, name, &asked)) return (tensor){0};
    if (!a->current) {
        fail(a, internal_error("a block is taken outside of a program"));
        return (tensor){0};
    }
    return a->recording ? record_take(a, a->current, &asked, type, s)
                        : replay_take(a, a->current, &asked, type, s);
}

void arena_drop(arena *a, tensor *t)
{
    if (!present(*t)) return;
    if (!a->current)
        fail(a, internal_error("a block is dropped outside of a program"));
    else if (!a->dev->failure)
        (a->recording ? record_drop : replay_drop)(a, a->current, t);
    *t = (tensor){0};
}

void arena_iteration(arena *a, int k)
{
    program *p = a->current;
    if (a->dev->failure || k == 0) return;
    if (!p) {
        fail(a, internal_error("iteration %d is outside of a program", k));
    } else if (a->recording && k == 1) {
        p->loop = p->n_events;
    } else if (k == 1) {
        a->live_at_loop = a->live_blocks;
        if (a->cursor != p->loop) out_of_step(a, "iteration 1", NULL, NULL);
    } else if (a->recording || a->live_blocks != a->live_at_loop) {
        fail(a, internal_error("program %s: iteration %d does not leave the blocks it found",
                               p->name, k));
    } else {
        a->cursor = p->loop;
    }
}

/* ---- plan and commit ---- */

static error *plan_program(program *p)
{
    placement *placements = NULL;
    TRY(alloc_array(&placements, p->n_blocks, sizeof *placements));
    for (size_t i = 0; i < p->n_blocks; i++)
        placements[i] = (placement){p->blocks[i].room, p->blocks[i].start, p->blocks[i].end, 0};
    error *e = place_blocks(placements, p->n_blocks, &p->top);
    if (!e) e = place_load(placements, p->n_blocks, &p->load, &p->peak_clock);
    for (size_t i = 0; i < p->n_blocks; i++)
        p->blocks[i].offset = placements[i].offset;
    free(placements);
    return e;
}

error *arena_plan(arena *a)
{
    TRY(device_status(a->dev));
    a->persistent = 0;
    for (size_t i = 0; i < a->keep.n_blocks; i++) {
        a->keep.blocks[i].offset = a->persistent;
        a->persistent += a->keep.blocks[i].room;
    }
    a->region = 0;
    for (int i = 0; i < a->n_programs; i++) {
        TRY(plan_program(&a->programs[i]));
        if (a->programs[i].top > a->region) a->region = a->programs[i].top;
    }
    a->recording = false;
    return NULL;
}

error *arena_commit(arena *a, device *dev, bool fill_fresh)
{
    size_t bytes = a->persistent + a->region;
    void *memory;
    a->dev = dev;
    a->fill_fresh = fill_fresh;
    TRY(dev->ops->alloc(dev, bytes + CANARY, &memory));
    a->memory = memory;
    dev->ops->set(dev, STREAM_COMPUTE, a->memory + bytes, CANARY_BYTE, CANARY);
    if (at_once(a)) POISON(a->memory, bytes);
    return NULL;
}

bool arena_recording(const arena *a)
{
    return a->recording;
}

size_t arena_peak(const arena *a)
{
    return a->persistent + a->region;
}

size_t arena_load(const arena *a)
{
    size_t load = 0;
    for (int i = 0; i < a->n_programs; i++)
        if (a->programs[i].load > load) load = a->programs[i].load;
    return a->persistent + load;
}

size_t arena_high_water(const arena *a)
{
    return a->high_water;
}

bool arena_canary_intact(arena *a)
{
    unsigned char seen[CANARY] = {0};
    a->dev->ops->get(a->dev, STREAM_COMPUTE, seen, a->memory + a->persistent + a->region, CANARY);
    if (a->dev->ops->sync) a->dev->ops->sync(a->dev, STREAM_COMPUTE);
    for (int i = 0; i < CANARY; i++)
        if (seen[i] != CANARY_BYTE) return false;
    return true;
}

/* ---- queries ---- */

static bool holds(const char *base, const block *b, const char *address)
{
    return address >= base + b->offset && address < base + b->offset + b->bytes;
}

/* "wte.weight", or "gradient of wte.weight". */
static void describe_block(const arena *a, const block *b, char *buffer, size_t size)
{
    char name[64];
    text_of(b->name, name, sizeof name);
    snprintf(buffer, size, "%s%s", a->kinds->kind[b->kind].prefix, name);
}

bool arena_find(const arena *a, const void *address, char *buffer, size_t size)
{
    const program *p = a->current;
    for (size_t i = 0; i < a->keep.n_blocks; i++)
        if (holds(a->memory, &a->keep.blocks[i], address)) {
            describe_block(a, &a->keep.blocks[i], buffer, size);
            return true;
        }
    for (size_t i = 0; p && i < p->n_blocks; i++) {
        const block *b = &p->blocks[i];
        bool alive = b->start < (int64_t)a->cursor && (int64_t)a->cursor <= b->end;
        if (alive && holds(a->memory + a->persistent, b, address)) {
            describe_block(a, b, buffer, size);
            return true;
        }
    }
    return false;
}

static const program *peak_program(const arena *a)
{
    const program *best = NULL;
    for (int i = 0; i < a->n_programs; i++)
        if (!best || a->programs[i].top > best->top) best = &a->programs[i];
    return best;
}

/* The largest number of live bytes of each kind in a program. */
static void most_of(const program *p, size_t most[ARENA_KINDS])
{
    size_t live[ARENA_KINDS] = {0};
    for (size_t i = 0; i < p->n_events; i++) {
        int64_t event = p->events[i];
        const block *b = &p->blocks[(event > 0 ? event : -event) - 1];
        live[b->kind] += event > 0 ? b->room : -b->room;
        if (live[b->kind] > most[b->kind]) most[b->kind] = live[b->kind];
    }
}

arena_summary arena_summarize(const arena *a)
{
    arena_summary s = {.program = "none",
                       .peak = arena_peak(a),
                       .load = arena_load(a),
                       .persistent = a->persistent};
    size_t live = 0;
    for (size_t i = 0; i < a->keep.n_blocks; i++) {
        s.by_kind[a->keep.blocks[i].kind] += a->keep.blocks[i].room;
        live += a->keep.blocks[i].room;
    }
    const program *p = peak_program(a);
    if (p) {
        s.program = p->name;
        most_of(p, s.most);
        s.peak_clock = p->peak_clock;
        s.clocks = (int64_t)p->n_events;
        for (size_t i = 0; i < p->n_blocks; i++) {
            const block *b = &p->blocks[i];
            if (b->start > p->peak_clock || b->end <= p->peak_clock) continue;
            s.by_kind[b->kind] += b->room;
            live += b->room;
            if (b->start == p->peak_clock) text_of(b->name, s.peak_name, sizeof s.peak_name);
        }
    }
    for (size_t i = 0; i < a->keep.n_blocks; i++)
        s.most[a->keep.blocks[i].kind] += a->keep.blocks[i].room;
    s.gaps = s.peak - live;
    return s;
}

int arena_marks(const arena *a, arena_mark_info out[ARENA_MARKS])
{
    const program *p = peak_program(a);
    for (int i = 0; p && i < p->n_marks; i++)
        out[i] = p->marks[i];
    return p ? p->n_marks : 0;
}

/* base: where the region begins; clocks: lifetime of persistent blocks, 0 for others. */
static void show(const program *p, size_t base, int64_t clocks,
                 void (*visit)(void *, const block_info *), void *context)
{
    for (size_t i = 0; i < p->n_blocks; i++) {
        const block *b = &p->blocks[i];
        block_info info = {.kind = b->kind,
                           .bytes = b->room,
                           .offset = base + b->offset,
                           .persistent = clocks > 0,
                           .start = b->start,
                           .end = b->end};
        if (clocks) {
            info.start = 0;
            info.end = clocks;
        }
        text_of(b->name, info.name, sizeof info.name);
        visit(context, &info);
    }
}

void arena_visit(const arena *a, void (*visit)(void *, const block_info *), void *context)
{
    const program *p = peak_program(a);
    show(&a->keep, 0, p ? (int64_t)p->n_events : 1, visit, context);
    if (p) show(p, a->persistent, 0, visit, context);
}
