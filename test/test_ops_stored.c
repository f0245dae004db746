/* test_ops_stored.c - the fused optimizer step over numbers that are not all f32
 * (core/stored_numbers.h), on the devices, bit for bit.
 *
 * Every rule, with every form of the weight and of the states, over tensors of odd sizes for some
 * steps.  The host's form goes element by element through core/stored_numbers.h and the
 * rule's passes; a device must leave the same bytes in weight, master, states and
 * scales, with any threads.
 */
#include "test/long.h"
#include "test/rig.h"

#include "core/stored_numbers.h"
#include "test/formula.h"
#include "optim/registry.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

enum { ITEMS = 8, MANY = 40, STEPS = 3, TOTAL = 30000, SCALES = TOTAL / STATE_BLOCK + MANY };

static const rule_info *const infos[] = {
#define INFO(name) &name##_info,
    OPTIM_RULES(INFO)
#undef INFO
};

static int (*const rules[])(int pass, lane *x, const hyper *h) = {
#define PASS(name) name##_pass,
    OPTIM_RULES(PASS)
#undef PASS
};

/* In what form a tensor is. */
typedef struct {
    dtype p, master, state; /* state: U8 means 8 bits, signed or squares as the rule says */
} form;

static const form forms[] = {
    {F32, DT_NONE, BF16},  {F32, DT_NONE, U8},  {BF16, F32, F32},  {BF16, F32, BF16},
    {BF16, F32, U8},       {BF16, I16, F32},    {BF16, I16, BF16}, {BF16, I16, U8},
    {BF16, I8, F32},       {BF16, I8, BF16},    {BF16, I8, U8},    {BF16, DT_NONE, F32},
    {BF16, DT_NONE, BF16}, {BF16, DT_NONE, U8},
};

enum { FORMS = sizeof forms / sizeof *forms };

static int64_t size_of_item(int i)
{
    static const int64_t sizes[ITEMS] = {1, 7, 63, 64, 65, 1000, 4161, 20001};
    return sizes[i];
}

static int64_t start_of_item(int i)
{
    int64_t start = 0;
    for (int k = 0; k < i; k++) /* each on 16 bytes, as in an arena */
        start += (size_of_item(k) + 15) / 16 * 16;
    return start + (i == 6); /* but one */
}

static int64_t first_scale(int i)
{
    int64_t first = 0;
    for (int k = 0; k < i; k++)
        first += (size_of_item(k) + STATE_BLOCK - 1) / STATE_BLOCK;
    return first;
}

/* All arrays of all items, as bytes in memory. */
typedef struct {
    unsigned char p[4 * TOTAL], master[4 * TOTAL], state[MAX_STATES][4 * TOTAL];
    float scale[MAX_STATES][SCALES];
} bytes;

static dtype state_type(int rule, int k, dtype form_of_states)
{
    unsigned member = (unsigned)LANE_S0 << k;
    if (form_of_states != U8) return form_of_states;
    if (infos[rule]->copies & member) return BF16;
    return infos[rule]->squares & member ? U8 : I8;
}

static float number(uint64_t i, int step)
{
    return i % 13 ? (float)normal_at(2, RNG_TEST, i * 8 + (uint64_t)step) : 0;
}

/* The gradient as it is in memory. */
static float gradient(int64_t i, int step, dtype type)
{
    float g = number((uint64_t)i, step + 1);
    return type == BF16 ? float_of_bf16(bf16_of_float(g)) : g;
}

/* Factor of a tensor's learning rate: none, a half. */
static float lr_scale(int item)
{
    return item % 2 ? 0.5f : 0;
}

static hyper numbers_of_step(const rule_info *info, int step)
{
    hyper h = {.lr = (float)info->lr,
               .lr_wd = (float)(0.1 * info->lr),
               .eps = (float)info->eps,
               .average_rest = step ? 0.25f : 1,
               .clip = step == 1 ? 0.37f : 1,
               .first = step == 0,
               .ok = 1,
               .seed = {12345, 0x80000001u},
               .step = (uint32_t)step + 1};
    for (int k = 0; k < MAX_BETAS; k++) {
        h.beta[k] = (float)info->beta[k];
        h.rest[k] = (float)(1 - info->beta[k]);
        h.debias[k] = (float)(1 - pow(info->beta[k], step + 1));
    }
    return h;
}

/* ---- the host's form ---- */

static float stored(dtype type, const void *x, int64_t i, float scale)
{
    switch (type) {
    case F32:
        return ((const float *)x)[i];
    case BF16:
        return float_of_bf16(((const uint16_t *)x)[i]);
    case I8:
        return value_i8(((const int8_t *)x)[i], scale);
    default:
        return value_u8(((const uint8_t *)x)[i], scale);
    }
}

static float weight(const form *f, const bytes *b, int64_t i)
{
    uint16_t hi = ((const uint16_t *)(const void *)b->p)[i];
    if (f->p == F32) return stored(F32, b->p, i, 0);
    if (f->master == F32) return stored(F32, b->master, i, 0);
    if (f->master == I16) return joined(hi, ((const int16_t *)(const void *)b->master)[i]);
    if (f->master == I8) return joined(hi, 256 * (int8_t)b->master[i]);
    return float_of_bf16(hi);
}

static void keep_weight(const form *f, bytes *b, int64_t i, float x, uint32_t random)
{
    uint16_t *hi = (uint16_t *)(void *)b->p + i;
    split s = split_float(f->master == I8 ? with_24_bits(x) : x);
    if (f->p == F32) {
        ((float *)(void *)b->p)[i] = x;
        return;
    }
    *hi = s.hi;
    if (f->master == F32) ((float *)(void *)b->master)[i] = x;
    if (f->master == I16) ((int16_t *)(void *)b->master)[i] = s.lo;
    if (f->master == I8) ((int8_t *)b->master)[i] = (int8_t)(s.lo / 256);
    if (f->master == DT_NONE) *hi = bf16_at_random(x, random);
}

static uint32_t random_bits(const hyper *h, int item, int what, int64_t i)
{
    noise n = noise_at(h, 100 + (uint32_t)item, what, i / NOISE_ELEMENTS * NOISE_ELEMENTS);
    return noise_of(&n, i);
}

/* Element i of an item's state; x: the whole state as floats. */
static void keep_state(dtype type, void *to, int64_t at, float x, float scale, uint32_t random)
{
    if (type == F32) ((float *)to)[at] = x;
    if (type == BF16) ((uint16_t *)to)[at] = bf16_at_random(x, random);
    if (type == I8) ((int8_t *)to)[at] = code_i8(x, scale, random);
    if (type == U8) ((uint8_t *)to)[at] = code_u8(x, scale, random);
}

static void step_on_host(int rule, const form *f, int item, int step, const hyper *h, bytes *b)
{
    static float x[MAX_STATES][TOTAL];
    int64_t n = size_of_item(item), start = start_of_item(item);
    float *scale[MAX_STATES];
    for (int k = 0; k < MAX_STATES; k++)
        scale[k] = b->scale[k] + first_scale(item);
    for (int64_t i = 0; i < n; i++) {
        lane l = {.p = weight(f, b, start + i),
                  .g = gradient(start + i, step, f->p),
                  .t = NAN,
                  .wd = item % 2 ? 0 : h->lr_wd};
        for (int k = 0; k < infos[rule]->n_states; k++)
            l.s[k] = stored(state_type(rule, k, f->state), b->state[k], start + i,
                            scale[k][i / STATE_BLOCK]);
        for (int pass = 0; pass < infos[rule]->n_passes; pass++)
            rules[rule](pass, &l, h);
        keep_weight(f, b, start + i, l.p, random_bits(h, item, NOISE_WEIGHT, i));
        for (int k = 0; k < infos[rule]->n_states; k++)
            x[k][i] = l.s[k];
    }
    for (int k = 0; k < infos[rule]->n_states; k++) {
        dtype type = state_type(rule, k, f->state);
        for (int64_t i = 0; i < n; i++) {
            float *s = &scale[k][i / STATE_BLOCK];
            for (int64_t j = i; i % STATE_BLOCK == 0 && j < i + STATE_BLOCK && j < n; j++) {
                float m = type == I8 ? fabsf(x[k][j]) : type == U8 ? sqrtf(x[k][j]) : 0;
                *s = j == i || m > *s ? m : *s;
            }
            keep_state(type, b->state[k], start + i, x[k][i], *s, random_bits(h, item, k, i));
        }
    }
}

static void begin(const form *f, bytes *b)
{
    memset(b, 0, sizeof *b);
    for (int item = 0; item < ITEMS; item++)
        for (int64_t i = start_of_item(item), end = i + size_of_item(item); i < end; i++)
            keep_weight(f, b, i, number((uint64_t)i, 0), 0x8000);
}

/* ---- the device's ---- */

static tensor put(rig *on, dtype type, const void *all, int64_t n)
{
    return type == DT_NONE ? (tensor){0} : rig_put(on, type, SHAPE(n), all);
}

static tensor part(tensor full, int64_t first, int64_t n)
{
    if (!present(full)) return full;
    return tensor_of((char *)full.data + (size_t)first * dtype_size(full.type), full.type,
                     SHAPE(n));
}

static void run_on_device(rig *on, int rule, const form *f, bytes *b)
{
    static unsigned char g[4 * TOTAL];
    optim_item items[ITEMS] = {0};
    tensor state[MAX_STATES] = {0}, scale[MAX_STATES] = {0};
    begin(f, b);
    tensor p = put(on, f->p, b->p, TOTAL), master = put(on, f->master, b->master, TOTAL),
           gradients = put(on, f->p, g, TOTAL);
    for (int k = 0; k < infos[rule]->n_states; k++) {
        dtype type = state_type(rule, k, f->state);
        state[k] = put(on, type, b->state[k], TOTAL);
        if (type == I8 || type == U8) scale[k] = put(on, F32, b->scale[k], SCALES);
    }
    for (int i = 0; i < ITEMS; i++) {
        int64_t first = start_of_item(i), n = size_of_item(i);
        items[i] = (optim_item){.p = part(p, first, n),
                                .g = part(gradients, first, n),
                                .master = part(master, first, n),
                                .decay = i % 2 == 0,
                                .lr_scale = lr_scale(i),
                                .id = 100 + (uint32_t)i};
        for (int k = 0; k < MAX_STATES; k++) {
            items[i].state[k] = part(state[k], first, n);
            items[i].scale[k] = part(scale[k], first_scale(i), (n + STATE_BLOCK - 1) / STATE_BLOCK);
        }
    }
    for (int step = 0; step < STEPS; step++) {
        hyper h = numbers_of_step(infos[rule], step);
        tensor numbers = rig_put(on, U8, SHAPE(sizeof h), &h);
        for (int64_t i = 0; i < TOTAL; i++)
            if (f->p == BF16)
                ((uint16_t *)(void *)g)[i] = bf16_of_float(gradient(i, step, BF16));
            else
                ((float *)(void *)g)[i] = gradient(i, step, F32);
        op_put(&on->dev, STREAM_COMPUTE, gradients, g);
        OP(optim, &on->dev, STREAM_COMPUTE, .rule = rule_at(rule), .fused = true, .hyper = numbers,
           .items = items, .n = ITEMS);
    }
    rig_well(on, infos[rule]->name);
    rig_get(on, p, b->p);
    if (present(master)) rig_get(on, master, b->master);
    for (int k = 0; k < infos[rule]->n_states; k++) {
        rig_get(on, state[k], b->state[k]);
        if (present(scale[k])) rig_get(on, scale[k], b->scale[k]);
    }
    rig_clear(on);
}

static void check(const char *rule, int form_number, const rig *on, const char *what,
                  const void *got, const void *want, size_t size)
{
    const unsigned char *a = got, *b = want;
    for (size_t i = 0; i < size; i++)
        if (a[i] != b[i])
            fail_msg("%s, form %d, %s device, %d threads: %s differs at byte %zu: %d, want %d",
                     rule, form_number, on->dev.ops->name, on->dev.threads, what, i, a[i], b[i]);
}

static void test_forms(void **state)
{
    static bytes want, got;
    bench *b = *state;
    rig *rigs[] = {&b->many, &b->one, &b->odd};
    for (int rule = 0; rule < RULE_COUNT; rule++)
        for (int i = 0; i < FORMS; i++) {
            const char *name = infos[rule]->name;
            if (infos[rule]->sees == BY_MATRIX || (rig_slow() && (rule + i) % 3)) continue;
            begin(&forms[i], &want);
            for (int step = 0; step < STEPS; step++)
                for (int item = 0; item < ITEMS; item++) {
                    hyper h = numbers_of_step(infos[rule], step);
                    if (item % 2) h.lr /= 2, h.lr_wd /= 2, h.others.lr /= 2, h.others.lr_wd /= 2;
                    step_on_host(rule, &forms[i], item, step, &h, &want);
                }
            for (int r = 0; r < (rig_slow() ? 1 + i % 2 : 3); r++) {
                rig_select(b, rigs[r]);
                run_on_device(rigs[r], rule, &forms[i], &got);
                check(name, i, rigs[r], "the weight", got.p, want.p, sizeof want.p);
                check(name, i, rigs[r], "the master", got.master, want.master, sizeof want.master);
                check(name, i, rigs[r], "a state", got.state, want.state, sizeof want.state);
                check(name, i, rigs[r], "a scale", got.scale, want.scale, sizeof want.scale);
            }
        }
}

/* The fused form's slots are those of sumsq, of bf16 gradients, too. */
static void test_slots(void **state)
{
    bench *b = *state;
    rig *on = &b->many;
    static uint16_t g[TOTAL];
    static const uint16_t zeros[TOTAL];
    hyper h = numbers_of_step(&sgd_info, 0);
    double sums[2] = {-1, -2}, want = 0;
    for (int64_t i = 0; i < TOTAL; i++) {
        g[i] = bf16_of_float(gradient(i, 0, BF16));
        want += (double)float_of_bf16(g[i]) * (double)float_of_bf16(g[i]);
    }
    tensor all = rig_put(on, F64, SHAPE(2), sums), numbers = rig_put(on, U8, SHAPE(sizeof h), &h);
    optim_item item = {.p = rig_put(on, BF16, SHAPE(TOTAL), zeros),
                       .g = rig_put(on, BF16, SHAPE(TOTAL), g),
                       .slot = part(all, 0, 1)};
    static const float none[TOTAL];
    item.state[0] = rig_put(on, F32, SHAPE(TOTAL), none);
    OP(optim, &on->dev, STREAM_COMPUTE, .rule = rule_at(RULE_sgd), .fused = true, .hyper = numbers,
       .items = &item, .n = 1);
    if (rig_has_bf16())
        OP(sumsq, &on->dev, STREAM_COMPUTE, .items = &(sumsq_item){part(all, 1, 1), item.g},
           .n = 1);
    rig_well(on, "slots");
    rig_get(on, all, sums);
    if (rig_has_bf16()) assert_memory_equal(&sums[0], &sums[1], sizeof *sums);
    assert_true(fabs(sums[0] - want) < 1e-9 * want);
    rig_clear(on);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_forms), cmocka_unit_test(test_slots)};
    return cmocka_run_group_tests(tests, bench_open, bench_close);
}
