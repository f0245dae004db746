/* mma.h - the four tensor-core instructions that Regrad uses, and what is built on them.
 *
 * On a GPU (sm_80 and newer) they are mma.sync, ldmatrix, cp.async and ex2; on the emulator the
 * same names do the same to the same registers (test/cudasim/tensor_core.h).  Which lane has what
 * (PTX ISA, "Matrix fragments for mma.m16n8k16"), with g = lane / 4, t = lane % 4:
 *
 *     A 16x16   a[0] row g    cols 2t,2t+1     a[2] row g    cols 2t+8,2t+9
 *               a[1] row g+8  cols 2t,2t+1     a[3] row g+8  cols 2t+8,2t+9
 *     B 16x8    b[0] rows 2t,2t+1  col g       b[1] rows 2t+8,2t+9  col g
 *     C 16x8    c[0],c[1] row g  cols 2t,2t+1  c[2],c[3] row g+8
 *
 * So two neighbouring tiles of C, rounded to bf16, are a tile of A: the result of a product is an
 * operand of the next without leaving the registers.
 *
 * A tile in shared memory has rows of `pitch` elements; with a pitch of 8 more than a multiple of
 * 64 the eight rows of an ldmatrix are in 32 different banks.
 */
#ifndef REGRAD_CUDA_MMA_H
#define REGRAD_CUDA_MMA_H

#include "cuda/gpu.h"

#define MMA_FN static __device__ __forceinline__

#ifdef __CUDACC__

MMA_FN void mma(float (&c)[4], const unsigned (&a)[4], const unsigned *b)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Four 8x8 matrices; lane l gives the address of row l % 8 of matrix l / 8. */
MMA_FN void ldmatrix(unsigned (&r)[4], const bf16 *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3},[%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((unsigned)__cvta_generic_to_shared(row))
                 : "memory");
}

MMA_FN void ldmatrix_transposed(unsigned (&r)[4], const bf16 *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3},[%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((unsigned)__cvta_generic_to_shared(row))
                 : "memory");
}

/* Begins to copy 16 bytes, or to write zeros: then global is not read (CUTLASS relies on that,
 * too). */
MMA_FN void copy16(void *shared, const void *global, bool valid)
{
    asm volatile("cp.async.cg.shared.global [%0],[%1],16,%2;" ::"r"(
                     (unsigned)__cvta_generic_to_shared(shared)),
                 "l"(global), "r"(valid ? 16 : 0)
                 : "memory");
}

MMA_FN void copy4(void *shared, const void *global, bool valid)
{
    asm volatile("cp.async.ca.shared.global [%0],[%1],4,%2;" ::"r"(
                     (unsigned)__cvta_generic_to_shared(shared)),
                 "l"(global), "r"(valid ? 4 : 0)
                 : "memory");
}

/* Commits what was begun as a group; waits until at most that many groups are pending. */
MMA_FN void copy_commit(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int LEFT> MMA_FN void copy_wait(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}

/* 2^x within 2 units of the last place; 0 where that is denormal */
MMA_FN float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0,%1;" : "=f"(y) : "f"(x));
    return y;
}

#else

#define mma(c, a, b)                emu_mma(c, a, b, EMU_SITE)
#define ldmatrix(r, row)            emu_ldmatrix(r, row, false, EMU_SITE)
#define ldmatrix_transposed(r, row) emu_ldmatrix(r, row, true, EMU_SITE)

MMA_FN void copy16(void *shared, const void *global, bool valid)
{
    emu_copy(shared, global, 16, valid);
}
MMA_FN void copy4(void *shared, const void *global, bool valid)
{
    emu_copy(shared, global, 4, valid);
}
MMA_FN void copy_commit(void)
{
    emu_copy_commit();
}
template <int LEFT> MMA_FN void copy_wait(void)
{
    emu_copy_wait(LEFT);
}
MMA_FN float exp2_fast(float x)
{
    float y = exp2f(x);
    return y < FLT_MIN ? 0 : y;
}

#endif

/* ---- fragments of tiles in shared memory ---- */

/* A: rows [row, row + 16), columns [col, col + 16) of s */
MMA_FN void load_a(unsigned (&a)[4], const bf16 *s, int pitch, int row, int col)
{
    int l = threadIdx.x % WARP;
    ldmatrix(a, s + (row + l % 16) * pitch + col + l / 16 * 8);
}

/* B of two neighbouring products, b[0..1] and b[2..3]: 16 columns, stored as rows of s */
MMA_FN void load_b_rows(unsigned (&b)[4], const bf16 *s, int pitch, int n, int k)
{
    int l = threadIdx.x % WARP;
    ldmatrix(b, s + (n + l % 8 + l / 16 * 8) * pitch + k + l / 8 % 2 * 8);
}

/* The same, stored as columns of s. */
MMA_FN void load_b_cols(unsigned (&b)[4], const bf16 *s, int pitch, int n, int k)
{
    int l = threadIdx.x % WARP;
    ldmatrix_transposed(b, s + (k + l % 16) * pitch + n + l / 16 * 8);
}

/* c (16 MT, N) += a (16 MT rows of s, K) b^T, b stored (N,K) */
template <int MT, int N, int K>
MMA_FN void multiply_rows(float (&c)[MT][N / 8][4], const bf16 *a, const bf16 *b, int pitch)
{
#pragma unroll
    for (int k = 0; k < K; k += 16) {
        unsigned x[MT][4];
#pragma unroll
        for (int m = 0; m < MT; m++)
            load_a(x[m], a, pitch, m * 16, k);
#pragma unroll
        for (int n = 0; n < N; n += 16) {
            unsigned y[4];
            load_b_rows(y, b, pitch, n, k);
#pragma unroll
            for (int m = 0; m < MT; m++) {
                mma(c[m][n / 8], x[m], y);
                mma(c[m][n / 8 + 1], x[m], y + 2);
            }
        }
    }
}

/* a (16 MT rows of s, K), for the registers */
template <int MT, int K>
MMA_FN void keep_rows(unsigned (&x)[K / 16][MT][4], const bf16 *a, int pitch)
{
#pragma unroll
    for (int k = 0; k < K; k += 16)
#pragma unroll
        for (int m = 0; m < MT; m++)
            load_a(x[k / 16][m], a, pitch, m * 16, k);
}

/* The same product as multiply_rows, of rows that were held. */
template <int MT, int N, int K>
MMA_FN void multiply_held(float (&c)[MT][N / 8][4], const unsigned (&x)[K / 16][MT][4],
                          const bf16 *b, int pitch)
{
#pragma unroll
    for (int k = 0; k < K; k += 16)
#pragma unroll
        for (int n = 0; n < N; n += 16) {
            unsigned y[4];
            load_b_rows(y, b, pitch, n, k);
#pragma unroll
            for (int m = 0; m < MT; m++) {
                mma(c[m][n / 8], x[k / 16][m], y);
                mma(c[m][n / 8 + 1], x[k / 16][m], y + 2);
            }
        }
}

/* Two bf16 of two floats, the first in the lower half. */
MMA_FN unsigned pack_bf16(float lower, float upper)
{
#ifdef __CUDACC__
    unsigned pair;
    asm("cvt.rn.bf16x2.f32 %0,%1,%2;" : "=r"(pair) : "f"(upper), "f"(lower));
    return pair;
#else
    return bf16_of_float(lower) | (unsigned)bf16_of_float(upper) << 16;
#endif
}

/* c (16 MT, N) += p (16 MT, K), as a product left it, b; b stored (K,N) */
template <int MT, int N, int K>
MMA_FN void multiply_cols(float (&c)[MT][N / 8][4], const float (&p)[MT][K / 8][4], const bf16 *b,
                          int pitch)
{
#pragma unroll
    for (int k = 0; k < K; k += 16) {
        unsigned x[MT][4];
#pragma unroll
        for (int m = 0; m < MT; m++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float *from = &p[m][k / 8 + i / 2][i % 2 * 2];
                x[m][i] = pack_bf16(from[0], from[1]);
            }
#pragma unroll
        for (int n = 0; n < N; n += 16) {
            unsigned y[4];
            load_b_cols(y, b, pitch, n, k);
#pragma unroll
            for (int m = 0; m < MT; m++) {
                mma(c[m][n / 8], x[m], y);
                mma(c[m][n / 8 + 1], x[m], y + 2);
            }
        }
    }
}

#endif
