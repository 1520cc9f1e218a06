/* Matrix products: eight-bit weights with eight-bit inputs, and low-rank ones in fp32 beside them.
 *
 * In: rows of activations. Out: rows of products, exact integer sums scaled back to fp32 (see products.Int8Product for
 * the scheme and its papers). It does not know layers or attention.
 *
 * vpdpbusd multiplies unsigned by signed bytes. Here the weight is the unsigned one, with 128 for zero, so that the
 * correction 128 * sum(x) is one number for each row of inputs.
 */
#ifndef LLMAGENTOS_PRODUCTS_H
#define LLMAGENTOS_PRODUCTS_H

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "pool.h"

#define BLOCK 32 /* outputs of a product that are computed together: two registers of 16 */
#define TILE 12  /* rows of inputs beside them: 24 sums, all in registers */

typedef struct {
    const uint8_t *weight;  /* [outputs / 32][padded inputs / 4][32][4] */
    const float *scale_O;   /* what one step of a weight is worth */
    const float *inverse_I; /* inputs are multiplied with it first; NULL for none */
    const float *bias_O;    /* NULL for none */
    int32_t inputs, outputs;
} Product;

/* An adapter's part in one product, serving the rows `first` to `after`. */
typedef struct {
    const float *a_IR, *b_RO; /* transposed, the scale folded into b; NULL where it adapts nothing */
} Pair;

/* Eight-bit rows with what turns their sums back. */
typedef struct {
    int8_t *whole; /* [N][padded inputs] */
    float *scale_N;
    int32_t *sum_N;
} Rows;

static inline int padded(int inputs) { return (inputs + 63) / 64 * 64; }
static inline __mmask16 lanes(int left) { return left >= 16 ? 0xffff : left > 0 ? (__mmask16)((1u << left) - 1) : 0; }

/* Turn one row into eight bits with the scale peak / 127. What is not finite makes the scale so, and with it the product:
 * as bits, sizes compare like integers, and NaN is the largest. */
static void quantise_row(const float *x_I, const float *inverse_I, int inputs, const Rows *to, long row) {
    int8_t *whole = to->whole + row * padded(inputs);
    __m512i peak = _mm512_setzero_si512();
    for (int i = 0; i < inputs; i += 16) {
        __mmask16 in = lanes(inputs - i);
        __m512 x = _mm512_maskz_loadu_ps(in, x_I + i);
        if (inverse_I) x = _mm512_mul_ps(x, _mm512_maskz_loadu_ps(in, inverse_I + i));
        peak = _mm512_max_epi32(peak, _mm512_castps_si512(_mm512_abs_ps(x)));
    }
    const int32_t bits = _mm512_reduce_max_epi32(peak);
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    scale /= 127.0f;
    if (scale < 1e-30f) scale = 1e-30f;
    __m512 inverse = _mm512_set1_ps(1.0f / scale);
    __m512i sum = _mm512_setzero_si512();
    for (int i = 0; i < padded(inputs); i += 16) {
        __mmask16 in = lanes(inputs - i);
        __m512 x = _mm512_maskz_loadu_ps(in, x_I + i);
        if (inverse_I) x = _mm512_mul_ps(x, _mm512_maskz_loadu_ps(in, inverse_I + i));
        __m512i rounded = _mm512_cvtps_epi32(_mm512_mul_ps(x, inverse));
        sum = _mm512_add_epi32(sum, rounded);
        _mm_storeu_si128((__m128i *)(whole + i), _mm512_cvtsepi32_epi8(rounded));
    }
    to->scale_N[row] = scale;
    to->sum_N[row] = _mm512_reduce_add_epi32(sum);
}

/* sum += weight * four bytes at `from`, repeated for every output. Written out, because compilers that see the intrinsic
 * copy the 24 sums to memory and back at every step, which halves the speed. */
static inline __attribute__((always_inline)) void dot4(__m512i *sum, __m512i weight, const int8_t *from) {
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(*sum) : "v"(weight), "m"(*(const int32_t *)from));
}

/* sum += value * one number at `from`, written out for the same reason. */
static inline __attribute__((always_inline)) void fma1(__m512 *sum, __m512 value, const float *from) {
    __asm__("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(*sum) : "v"(value), "m"(*from));
}

/* Sums of 32 outputs for `count` rows, scaled back; `count` is a constant wherever this is called. */
static inline __attribute__((always_inline)) void product_tile(const Product *p, const Rows *x, long first, int block,
                                                               float *y_NO, long stride, int add, const int count) {
    const int depth = padded(p->inputs);
    const uint8_t *weight = p->weight + (size_t)block * BLOCK * depth;
    const int8_t *rows = x->whole + first * depth;
    __m512i sum[TILE][2];
#pragma GCC unroll 12
    for (int n = 0; n < count; n++) sum[n][0] = sum[n][1] = _mm512_setzero_si512();
    for (int k = 0; k < depth; k += 4, weight += 128) {
        __m512i left = _mm512_loadu_si512(weight), right = _mm512_loadu_si512(weight + 64);
#pragma GCC unroll 12
        for (int n = 0; n < count; n++) {
            dot4(&sum[n][0], left, rows + (long)n * depth + k);
            dot4(&sum[n][1], right, rows + (long)n * depth + k);
        }
    }
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
        int at = block * BLOCK + half * 16;
        __mmask16 in = lanes(p->outputs - at);
        __m512 scale = _mm512_maskz_loadu_ps(in, p->scale_O + at);
        __m512 bias = p->bias_O ? _mm512_maskz_loadu_ps(in, p->bias_O + at) : _mm512_setzero_ps();
#pragma GCC unroll 12
        for (int n = 0; n < count; n++) {
            float *to = y_NO + (first + n) * stride + at;
            __m512i exact = _mm512_sub_epi32(sum[n][half], _mm512_set1_epi32(128 * x->sum_N[first + n]));
            __m512 back = _mm512_mul_ps(scale, _mm512_set1_ps(x->scale_N[first + n]));
            __m512 y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(exact), back, bias);
            if (add) y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(in, to));
            _mm512_mask_storeu_ps(to, in, y);
        }
    }
}

static void product_rows(const Product *p, const Rows *x, long first, long rows, int block, float *y, long stride,
                         int add) {
    for (; rows >= TILE; first += TILE, rows -= TILE) product_tile(p, x, first, block, y, stride, add, TILE);
    if (rows >= 6) product_tile(p, x, first, block, y, stride, add, 6), first += 6, rows -= 6;
    if (rows >= 3) product_tile(p, x, first, block, y, stride, add, 3), first += 3, rows -= 3;
    if (rows == 2) product_tile(p, x, first, block, y, stride, add, 2);
    if (rows == 1) product_tile(p, x, first, block, y, stride, add, 1);
}

/* y[n][o] (+)= sum of x[n][k] * w[k][o] for up to 32 outputs; `count` is a constant wherever this is called. */
static inline __attribute__((always_inline)) void plain_tile(const float *x, long x_stride, const float *w,
                                                             long w_stride, int depth, float *y, long y_stride,
                                                             int outputs, int add, const int count) {
    __mmask16 in[2] = {lanes(outputs), lanes(outputs - 16)};
    __m512 sum[8][2];
#pragma GCC unroll 8
    for (int n = 0; n < count; n++)
        for (int half = 0; half < 2; half++)
            sum[n][half] = add ? _mm512_maskz_loadu_ps(in[half], y + n * y_stride + half * 16) : _mm512_setzero_ps();
    for (int k = 0; k < depth; k++) {
        __m512 left = _mm512_maskz_loadu_ps(in[0], w + k * w_stride);
        __m512 right = _mm512_maskz_loadu_ps(in[1], w + k * w_stride + 16);
#pragma GCC unroll 8
        for (int n = 0; n < count; n++) {
            fma1(&sum[n][0], left, x + n * x_stride + k);
            fma1(&sum[n][1], right, x + n * x_stride + k);
        }
    }
#pragma GCC unroll 8
    for (int n = 0; n < count; n++)
        for (int half = 0; half < 2; half++) _mm512_mask_storeu_ps(y + n * y_stride + half * 16, in[half], sum[n][half]);
}

static void plain_product(const float *x, long x_stride, const float *w, long w_stride, int depth, float *y,
                          long y_stride, int outputs, long rows, int add) {
    for (int o = 0; o < outputs; o += 32) {
        int width = outputs - o < 32 ? outputs - o : 32;
        long n = 0;
        for (; n + 8 <= rows; n += 8)
            plain_tile(x + n * x_stride, x_stride, w + o, w_stride, depth, y + n * y_stride + o, y_stride, width, add, 8);
        for (; n + 4 <= rows; n += 4)
            plain_tile(x + n * x_stride, x_stride, w + o, w_stride, depth, y + n * y_stride + o, y_stride, width, add, 4);
        for (; n < rows; n++)
            plain_tile(x + n * x_stride, x_stride, w + o, w_stride, depth, y + n * y_stride + o, y_stride, width, add, 1);
    }
}

#endif
