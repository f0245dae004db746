/* amx_model.h - AMX-BF16's instructions in C, by the names of their intrinsics: included before
 * cpu/micro_amx.c (-include), since hardly a machine has them.
 *
 * From the Intel SDM, volume 2: LDTILECFG, TILELOADD, TILESTORED, TILEZERO, TILERELEASE, TDPBF16PS;
 * what makes them fault ("Intel AMX instruction exception classes": the program ends there); and
 * the first palette of CPUID's leaf 1DH, eight registers of up to 16 rows of up to 64 bytes.  All
 * of a register beyond its shape is 0.
 *
 * A product of two bf16 is exact in double; adding it in f32, rounded once, is fmaf.  Results that
 * are denormal become 0, as operands that are.  (One that is denormal only until it is rounded
 * would stay, and becomes 2^-126 here, too.)
 */
#ifndef REGRAD_TEST_AMX_MODEL_H
#define REGRAD_TEST_AMX_MODEL_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { AMX_REGISTERS = 8, AMX_ROWS = 16, AMX_BYTES = 64 };

typedef struct {
    bool configured;
    unsigned char config[64];
    unsigned char of[AMX_REGISTERS][AMX_ROWS][AMX_BYTES];
} amx_registers;

/* A number without being denormal. */
static inline float amx_flush(float x)
{
    return fpclassify(x) == FP_SUBNORMAL ? copysignf(0, x) : x;
}

static inline float amx_number(uint16_t bf16)
{
    uint32_t bits = (uint32_t)bf16 << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return amx_flush(x);
}

static inline float amx_fma(uint16_t a, uint16_t b, float sum)
{
    return amx_flush(fmaf(amx_number(a), amx_number(b), sum));
}

static inline float amx_add(float a, float b)
{
    return amx_flush(amx_flush(a) + amx_flush(b));
}

#ifdef BY_AMX

static _Thread_local amx_registers amx;

static inline void amx_require(bool holds)
{
    if (!holds) __builtin_trap(); /* #UD, or #GP */
}

static inline int amx_bytes_of(int t)
{
    amx_require(amx.configured);
    return amx.config[16 + 2 * t] | amx.config[17 + 2 * t] << 8;
}

static inline int amx_rows_of(int t)
{
    amx_require(amx.configured);
    return amx.config[48 + t];
}

static inline void _tile_loadconfig(const void *config)
{
    memset(&amx, 0, sizeof amx);
    memcpy(amx.config, config, sizeof amx.config);
    amx.configured = true;
    amx_require(amx.config[0] == 1);
    for (int i = 1; i < 64; i++) /* the row to start at, as well: nothing was interrupted */
        amx_require((i >= 16 && i < 32) || (i >= 48 && i < 56) || !amx.config[i]);
    for (int t = 0; t < AMX_REGISTERS; t++) {
        amx_require(amx_bytes_of(t) <= AMX_BYTES && amx_rows_of(t) <= AMX_ROWS);
        amx_require(!amx_bytes_of(t) == !amx_rows_of(t));
    }
}

static inline void _tile_release(void)
{
    memset(&amx, 0, sizeof amx);
}

static inline void _tile_zero(int t)
{
    amx_require(amx_rows_of(t) > 0);
    memset(amx.of[t], 0, sizeof amx.of[t]);
}

static inline void _tile_loadd(int t, const void *base, int64_t stride)
{
    _tile_zero(t);
    for (int r = 0; r < amx_rows_of(t); r++)
        memcpy(amx.of[t][r], (const char *)base + r * stride, (size_t)amx_bytes_of(t));
}

static inline void _tile_stored(int t, void *base, int64_t stride)
{
    amx_require(amx_rows_of(t) > 0);
    for (int r = 0; r < amx_rows_of(t); r++)
        memcpy((char *)base + r * stride, amx.of[t][r], (size_t)amx_bytes_of(t));
}

static inline void _tile_dpbf16ps(int to, int a, int b)
{
    amx_require(to != a && to != b && a != b);
    amx_require(amx_rows_of(to) == amx_rows_of(a) && amx_bytes_of(to) == amx_bytes_of(b));
    amx_require(amx_bytes_of(a) == 4 * amx_rows_of(b) && amx_rows_of(a) && amx_rows_of(b));
    enum { N = AMX_BYTES / 4 };
    for (int m = 0; m < amx_rows_of(to); m++) {
        uint16_t x[2 * N], y[2 * N];
        float sum[N], pair[2 * N] = {0};
        memcpy(x, amx.of[a][m], sizeof x);
        memcpy(sum, amx.of[to][m], sizeof sum);
        for (int k = 0; k < amx_rows_of(b); k++) {
            memcpy(y, amx.of[b][k], sizeof y);
            for (int n = 0; n < 2 * N; n++)
                pair[n] = amx_fma(x[2 * k + n % 2], y[n], pair[n]);
        }
        for (int n = 0; n < N; n++)
            sum[n] = amx_add(sum[n], amx_add(pair[2 * n], pair[2 * n + 1]));
        memcpy(amx.of[to][m], sum, sizeof sum);
    }
}

#endif
#endif
