/* stored.c - moves an optimizer's numbers between memory and panels of floats; the formats and
 * their rounding are in core/stored_numbers.h.
 *
 *     bf16 weight, master, int8 states ...  -- decode -->  f32 panels  -- rule -->  -- encode -->
 *
 * A panel is a block of core/segment.h: it stays in the L1 cache, and contains whole blocks of
 * states.  Compiled without contraction, like optim.c.
 */
#include "cpu/stored.h"

#include "core/stored_numbers.h"
#include "cpu/cpu_internal.h"

enum { BLOCK = SEGMENT_BLOCK };
_Static_assert(BLOCK % STATE_BLOCK == 0 && BLOCK % NOISE_ELEMENTS == 0, "whole blocks in a panel");

/* ---- decoding ---- */

static void decode_weight(const optim_item *it, int64_t first, int64_t n, float *to)
{
    const uint16_t *hi = element_at(it->p, 0, first);
    switch (it->master.type) {
    case F32:
        load_row(F32, floats(it->master) + first, n, to);
        break;
    case I16:
        for (int64_t i = 0; i < n; i++)
            to[i] = joined(hi[i], ((const int16_t *)it->master.data)[first + i]);
        break;
    case I8:
        for (int64_t i = 0; i < n; i++)
            to[i] = joined(hi[i], 256 * ((const int8_t *)it->master.data)[first + i]);
        break;
    default:
        load_row(BF16, hi, n, to);
    }
}

static void decode_state(tensor codes, tensor scales, int64_t first, int64_t n, float *to)
{
    const void *from = element_at(codes, 0, first);
    for (int64_t at = 0; at < n; at += STATE_BLOCK) {
        int64_t end = min64(at + STATE_BLOCK, n);
        float scale = present(scales) ? floats(scales)[(first + at) / STATE_BLOCK] : 0;
        if (codes.type == I8)
            for (int64_t i = at; i < end; i++)
                to[i] = value_i8(((const int8_t *)from)[i], scale);
        else if (codes.type == U8)
            for (int64_t i = at; i < end; i++)
                to[i] = value_u8(((const uint8_t *)from)[i], scale);
        else
            for (int64_t i = at; i < end; i++)
                to[i] = load(BF16, from, i);
    }
}

/* Does this format need a panel? */
static bool coded(tensor t)
{
    return present(t) && t.type != F32;
}

void decode_block(const optim_item *it, int64_t first, int64_t n, decoded *d)
{
    if (coded(it->p)) decode_weight(it, first, n, d->p);
    if (coded(it->g)) load_row(BF16, element_at(it->g, 0, first), n, d->g);
    for (int k = 0; k < MAX_STATES; k++)
        if (coded(it->state[k])) decode_state(it->state[k], it->scale[k], first, n, d->s[k]);
}

/* ---- encoding ---- */

static void draw(const hyper *h, const optim_item *it, int what, int64_t first, int64_t n,
                 uint16_t *out)
{
    for (int64_t i = 0; i < n; i += NOISE_ELEMENTS) {
        noise eight = noise_at(h, it->id, what, it->first + first + i);
        for (int k = 0; k < NOISE_ELEMENTS; k++)
            out[i + k] = (uint16_t)noise_of(&eight, k);
    }
}

static void encode_weight(const optim_item *it, const hyper *h, int64_t first, int64_t n,
                          const float *x)
{
    uint16_t *hi = element_at(it->p, 0, first), bits[BLOCK];
    void *master = present(it->master) ? element_at(it->master, 0, first) : NULL;
    switch (it->master.type) {
    case F32:
        store_row(F32, master, n, x);
        for (int64_t i = 0; i < n; i++)
            hi[i] = split_float(x[i]).hi;
        break;
    case I16:
        for (int64_t i = 0; i < n; i++) {
            split s = split_float(x[i]);
            hi[i] = s.hi;
            ((int16_t *)master)[i] = s.lo;
        }
        break;
    case I8:
        for (int64_t i = 0; i < n; i++) {
            split s = split_float(with_24_bits(x[i]));
            hi[i] = s.hi;
            ((int8_t *)master)[i] = (int8_t)(s.lo / 256);
        }
        break;
    default:
        draw(h, it, NOISE_WEIGHT, first, n, bits);
        for (int64_t i = 0; i < n; i++)
            hi[i] = bf16_at_random(x[i], bits[i]);
    }
}

static float block_scale(const float *x, int64_t n, dtype type)
{
    uint32_t most = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t m = type == I8 ? magnitude_i8(x[i]) : magnitude_u8(x[i]);
        most = m > most ? m : most;
    }
    return float_of_bits(most);
}

static void encode_state(const optim_item *it, int k, const hyper *h, int64_t first, int64_t n,
                         const float *x)
{
    uint16_t bits[BLOCK];
    dtype type = it->state[k].type;
    void *to = element_at(it->state[k], 0, first);
    draw(h, it, k, first, n, bits);
    for (int64_t at = 0; at < n; at += STATE_BLOCK) {
        int64_t end = min64(at + STATE_BLOCK, n);
        if (type == BF16) {
            for (int64_t i = at; i < end; i++)
                ((uint16_t *)to)[i] = bf16_at_random(x[i], bits[i]);
            continue;
        }
        float scale = block_scale(x + at, end - at, type);
        floats(it->scale[k])[(first + at) / STATE_BLOCK] = scale;
        if (type == I8)
            for (int64_t i = at; i < end; i++)
                ((int8_t *)to)[i] = code_i8(x[i], scale, bits[i]);
        else
            for (int64_t i = at; i < end; i++)
                ((uint8_t *)to)[i] = code_u8(x[i], scale, bits[i]);
    }
}

void encode_block(const optim_item *it, const hyper *h, int64_t first, int64_t n, const decoded *d)
{
    if (coded(it->p)) encode_weight(it, h, first, n, d->p);
    for (int k = 0; k < MAX_STATES; k++)
        if (coded(it->state[k])) encode_state(it, k, h, first, n, d->s[k]);
}
