/* heap.h - a binary heap that returns the smallest (first, second) pair of numbers.
 *
 * Both halves of BPE keep asking for the next merge.  Encoding orders by (rank, place); training by
 * (rarity, pair).  Entries are never changed inside the heap: stale ones are noticed when they come
 * out, and dropped or pushed again.  The caller owns the array and ensures its size.
 */
#ifndef REGRAD_HEAP_H
#define REGRAD_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t first, second;
} heap_entry;

static inline bool heap_less(heap_entry a, heap_entry b)
{
    return a.first != b.first ? a.first < b.first : a.second < b.second;
}

/* entries holds *n, and has room for one more. */
static inline void heap_push(heap_entry *entries, size_t *n, heap_entry e)
{
    size_t i = (*n)++;
    for (; i > 0 && heap_less(e, entries[(i - 1) / 2]); i = (i - 1) / 2)
        entries[i] = entries[(i - 1) / 2];
    entries[i] = e;
}

/* *n > 0. */
static inline heap_entry heap_pop(heap_entry *entries, size_t *n)
{
    heap_entry top = entries[0], last = entries[--*n];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < *n; i = child) {
        if (child + 1 < *n && heap_less(entries[child + 1], entries[child])) child++;
        if (!heap_less(entries[child], last)) break;
        entries[i] = entries[child];
    }
    entries[i] = last;
    return top;
}

#endif
