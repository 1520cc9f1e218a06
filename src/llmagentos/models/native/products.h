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

#define BLOCK 64 /* outputs of a product that are computed together: four registers of 16 */
#define HALF (BLOCK / 2)
#define TILE 6   /* rows of inputs beside them: 24 sums, all in registers, for ten loads a step */

typedef struct {
    const uint8_t *weight;  /* [outputs / 64][padded inputs / 4][64][4] */
    const float *scale_O;   /* what one step of a weight is worth */
    const float *inverse_I; /* inputs are multiplied with it first; NULL for none */
    const float *bias_O;    /* NULL for none */
    int32_t inputs, outputs;
} Product;

/* An adapter's part in one product, in fp32 or fp16; NULL where it adapts nothing. A is transposed, [inputs][rank]. B has
 * the scale in it and lies in half blocks of outputs, [outputs / 32][rank][32], so that what a thread takes at once is one
 * stretch. */
typedef struct {
    const void *a_IR, *b_BR;
} Pair;

/* Eight-bit rows with what turns their sums back. */
typedef struct {
    int8_t *whole; /* [N][padded inputs] */
    float *scale_N;
    int32_t *sum_N;
} Rows;

static inline int up_to(int multiple, int size) { return (size + multiple - 1) / multiple * multiple; }
static inline int padded(int inputs) { return up_to(64, inputs); }
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

/* sum += weight * four, byte by byte in fours. Written out, because compilers that see the intrinsic copy the 24 sums to
 * memory and back at every step, which halves the speed. */
static inline __attribute__((always_inline)) void dot4(__m512i *sum, __m512i weight, __m512i four) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sum) : "v"(weight), "v"(four));
}

/* sum += left * right, written out for the same reason. */
static inline __attribute__((always_inline)) void fma1(__m512 *sum, __m512 left, __m512 right) {
    __asm__("vfmadd231ps %2, %1, %0" : "+v"(*sum) : "v"(left), "v"(right));
}

/* Sums of a block of outputs for `count` rows, scaled back; `count` is a constant wherever this is called. */
static inline __attribute__((always_inline)) void product_tile(const Product *p, const Rows *x, long first, int block,
                                                               float *y_NO, long stride, int add, const int count) {
    const int depth = padded(p->inputs);
    const uint8_t *weight = p->weight + (size_t)block * BLOCK * depth;
    const int8_t *rows = x->whole + first * depth;
    __m512i sum[TILE][4];
#pragma GCC unroll 6
    for (int n = 0; n < count; n++)
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) sum[n][i] = _mm512_setzero_si512();
    for (int k = 0; k < depth; k += 4, weight += 4 * BLOCK) {
        __m512i w[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) w[i] = _mm512_loadu_si512(weight + 64 * i);
#pragma GCC unroll 6
        for (int n = 0; n < count; n++) {
            int32_t bytes;
            memcpy(&bytes, rows + (long)n * depth + k, sizeof bytes);
            const __m512i four = _mm512_set1_epi32(bytes);
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) dot4(&sum[n][i], w[i], four);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const int at = block * BLOCK + i * 16;
        const __mmask16 in = lanes(p->outputs - at);
        const __m512 scale = _mm512_maskz_loadu_ps(in, p->scale_O + at);
        const __m512 bias = p->bias_O ? _mm512_maskz_loadu_ps(in, p->bias_O + at) : _mm512_setzero_ps();
#pragma GCC unroll 6
        for (int n = 0; n < count; n++) {
            float *to = y_NO + (first + n) * stride + at;
            const __m512i exact = _mm512_sub_epi32(sum[n][i], _mm512_set1_epi32(128 * x->sum_N[first + n]));
            const __m512 back = _mm512_mul_ps(scale, _mm512_set1_ps(x->scale_N[first + n]));
            __m512 y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(exact), back, bias);
            if (add) y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(in, to));
            _mm512_mask_storeu_ps(to, in, y);
        }
    }
}

static void product_rows(const Product *p, const Rows *x, long first, long rows, int block, float *y, long stride,
                         int add) {
    for (; rows >= TILE; first += TILE, rows -= TILE) product_tile(p, x, first, block, y, stride, add, TILE);
    if (rows >= 3) product_tile(p, x, first, block, y, stride, add, 3), first += 3, rows -= 3;
    if (rows == 2) product_tile(p, x, first, block, y, stride, add, 2);
    if (rows == 1) product_tile(p, x, first, block, y, stride, add, 1);
}

/* The pieces of a product that threads share out: a block, for half of the rows where there are enough. */
static inline long product_pieces(const Product *p, long rows) {
    return (p->outputs + BLOCK - 1) / BLOCK * (rows < 2 * TILE ? 1L : 2L);
}

static void product_piece(const Product *p, const Rows *x, long rows, long piece, float *y, long stride, int add) {
    const long middle = rows < 2 * TILE ? rows : rows / 2 / TILE * TILE;
    const long block = rows < 2 * TILE ? piece : piece / 2;
    if (rows < 2 * TILE || piece % 2 == 0)
        product_rows(p, x, 0, middle, (int)block, y, stride, add);
    else
        product_rows(p, x, middle, rows - middle, (int)block, y, stride, add);
}

/* A matrix by where its rows and columns lie, so that a transposed one needs no copy. */
typedef struct {
    const float *at;
    long row, column;
} View;

#define INLINED static inline __attribute__((always_inline))

/* Up to 16 weights from place `at` on, of fp16 where `half`. */
INLINED __m512 some_weights(const void *w, long at, __mmask16 in, const int half) {
    if (half) return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(in, (const uint16_t *)w + at));
    return _mm512_maskz_loadu_ps(in, (const float *)w + at);
}

/* y[n][o] (+)= sum of x[n][k] * w[k][o] for up to 16 * `wide` outputs; `half`, `count` and `wide` are constants wherever
 * this is called. */
INLINED void plain_tile(View x, const void *w, long from, long w_stride, int depth, float *y, long y_stride, int outputs,
                        int add, const int half, const int count, const int wide) {
    __m512 sum[12][4];
    __mmask16 in[4];
#pragma GCC unroll 4
    for (int i = 0; i < wide; i++) in[i] = lanes(outputs - 16 * i);
#pragma GCC unroll 12
    for (int n = 0; n < count; n++)
#pragma GCC unroll 4
        for (int i = 0; i < wide; i++)
            sum[n][i] = add ? _mm512_maskz_loadu_ps(in[i], y + n * y_stride + i * 16) : _mm512_setzero_ps();
    for (int k = 0; k < depth; k++) {
        __m512 v[4];
#pragma GCC unroll 4
        for (int i = 0; i < wide; i++) v[i] = some_weights(w, from + k * w_stride + 16 * i, in[i], half);
#pragma GCC unroll 12
        for (int n = 0; n < count; n++) {
            const __m512 one = _mm512_set1_ps(x.at[n * x.row + k * x.column]);
#pragma GCC unroll 4
            for (int i = 0; i < wide; i++) fma1(&sum[n][i], v[i], one);
        }
    }
#pragma GCC unroll 12
    for (int n = 0; n < count; n++)
#pragma GCC unroll 4
        for (int i = 0; i < wide; i++) _mm512_mask_storeu_ps(y + n * y_stride + i * 16, in[i], sum[n][i]);
}

#define PLAIN_ROWS(most, some, wide)                                                                          \
    for (; n + most <= rows; n += most, x.at += most * x.row)                                                 \
        plain_tile(x, w, from, w_stride, depth, y + n * y_stride, y_stride, outputs, add, half, most, wide);  \
    for (; n + some <= rows; n += some, x.at += some * x.row)                                                 \
        plain_tile(x, w, from, w_stride, depth, y + n * y_stride, y_stride, outputs, add, half, some, wide);  \
    for (; n + 2 <= rows; n += 2, x.at += 2 * x.row)                                                          \
        plain_tile(x, w, from, w_stride, depth, y + n * y_stride, y_stride, outputs, add, half, 2, wide);     \
    for (; n < rows; n++, x.at += x.row)                                                                      \
        plain_tile(x, w, from, w_stride, depth, y + n * y_stride, y_stride, outputs, add, half, 1, wide);

/* Up to 64 outputs for all rows. */
INLINED void some_columns(View x, const void *w, long from, long w_stride, int depth, float *y, long y_stride, int outputs,
                          long rows, int add, const int half) {
    long n = 0;
    if (outputs > 32) {
        PLAIN_ROWS(6, 3, 4)
    } else if (outputs > 16) {
        PLAIN_ROWS(12, 4, 2)
    } else {
        PLAIN_ROWS(12, 4, 1)
    }
}

static void plain_columns(View x, const void *w, long from, long w_stride, int depth, float *y, long y_stride, int outputs,
                          long rows, int add) {
    some_columns(x, w, from, w_stride, depth, y, y_stride, outputs, rows, add, 0);
}

static void half_columns(View x, const void *w, long from, long w_stride, int depth, float *y, long y_stride, int outputs,
                         long rows, int add) {
    some_columns(x, w, from, w_stride, depth, y, y_stride, outputs, rows, add, 1);
}

/* y[n][o] (+)= sum of x[n][k] * w[k][o], summed in order of k whatever the number of rows, with w in fp16 where `half`. For
 * many rows, pieces of w are copied together first: rows that lie a page apart fall into the same few places of the
 * cache. */
INLINED void product_of(View x, const void *w, long w_stride, int depth, float *y, long y_stride, int outputs, long rows,
                        int add, const int half) {
    float together[64 * 64] __attribute__((aligned(64)));
    for (int o = 0; o < outputs; o += 64) {
        const int width = outputs - o < 64 ? outputs - o : 64;
        if (rows < 2 * TILE || w_stride <= 64) {
            (half ? half_columns : plain_columns)(x, w, o, w_stride, depth, y + o, y_stride, width, rows, add);
            continue;
        }
        for (int k = 0; k < depth; k += 64) {
            const int deep = depth - k < 64 ? depth - k : 64;
            for (int i = 0; i < deep; i++)
                for (int at = 0; at < width; at += 16)
                    _mm512_store_ps(together + i * 64 + at,
                                    some_weights(w, (k + i) * w_stride + o + at, lanes(width - at), half));
            const View from = {x.at + k * x.column, x.row, x.column};
            plain_columns(from, together, 0, 64, deep, y + o, y_stride, width, rows, add || k);
        }
    }
}

static void plain_product(View x, const float *w, long w_stride, int depth, float *y, long y_stride, int outputs,
                          long rows, int add) {
    product_of(x, w, w_stride, depth, y, y_stride, outputs, rows, add, 0);
}

/* The same with an adapter's factor from place `from` on. */
static void factor_product(View x, const void *w, long from, long w_stride, int depth, float *y, long y_stride, int outputs,
                           long rows, int add, int half) {
    if (half)
        product_of(x, (const uint16_t *)w + from, w_stride, depth, y, y_stride, outputs, rows, add, 1);
    else
        product_of(x, (const float *)w + from, w_stride, depth, y, y_stride, outputs, rows, add, 0);
}

#endif
