/* layer_rates.c - see layer_rates.h */
#include "optim/layer_rates.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Adapters stand in no order of their own, but each has its block's number. */
static bool in_block(const param *row)
{
    return row->spec.layer >= 0 && row->spec.adapter_scale == 0;
}

/* After the blocks: the last matrix, its bias, and norms that are named as the head's. */
static bool of_head(const param *row, bool head_has_begun)
{
    const char *name = row->spec.name;
    return head_has_begun || row->spec.shape.rank > 1 || !strncmp(name, "head.", 5) ||
           !strncmp(name, "fc", 2);
}

int layer_depths(const params *p, int *depth)
{
    int first = 0, last = p->n - 1, most = 0;
    while (first < p->n && !in_block(&p->row[first]))
        first++;
    while (last > first && !in_block(&p->row[last]))
        last--;
    if (first == p->n) last = -1; /* there are none: all of it is the head */
    int blocks = last < 0 ? 0 : p->row[last].spec.layer + 1, next = blocks;
    bool head = false;
    for (int i = p->n - 1; i >= 0; i--) {
        const param *row = &p->row[i];
        if (in_block(row)) next = row->spec.layer + 1;
        depth[i] = row->spec.layer >= 0 ? row->spec.layer + 1 : i < first ? 0 : next;
    }
    for (int i = last + 1; i < p->n; i++) {
        if (p->row[i].spec.layer >= 0) continue;
        head = of_head(&p->row[i], head);
        depth[i] = blocks + head;
    }
    for (int i = 0; i < p->n; i++)
        most = depth[i] > most ? depth[i] : most;
    return most;
}

error *layer_rates(const params *p, double decay, float *rate)
{
    int *depth;
    TRY(alloc_array(&depth, (size_t)p->n, sizeof *depth));
    int most = layer_depths(p, depth);
    for (int i = 0; i < p->n; i++)
        rate[i] = (float)pow(decay, most - depth[i]);
    free(depth);
    return NULL;
}
