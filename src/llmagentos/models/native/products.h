/* Matrix products: eight-bit weights with eight-bit inputs or fp32 with fp32, and low-rank ones in fp32 beside them.
 *
 * In: rows of activations. Out: rows of products, exact integer sums scaled back to fp32 (see products.Int8Product for
 * the scheme and its papers). It does not know layers or attention.
 */
#ifndef LLMAGENTOS_PRODUCTS_H
#define LLMAGENTOS_PRODUCTS_H

#include <math.h>
#include <stddef.h>

#include "pool.h"
#include "registers.h"
#include "tiles.h"

#define BLOCK 64 /* outputs of a product that lie together */
#define HALF (BLOCK / 2)
#define PLAIN_PANEL (LANES == 16 ? 64 : 16) /* outputs whose weights in fp32 lie together: as many as a tile takes */
#define STRETCH (4096 / PLAIN_PANEL)        /* inputs whose weights of a panel fill half of the nearest cache */
#define MOST_WIDE 4
#define TILE 6   /* rows of inputs beside as many outputs as there are registers for their sums */
#define LEAST_TILED 4 /* rows from which on the matrix unit is faster */

typedef struct {
    const uint8_t *weight;  /* [outputs / PANEL][padded inputs / 4][PANEL][4], `ZERO_WEIGHT` for zero; NULL in fp32 */
    const float *plain;     /* [outputs / PLAIN_PANEL][inputs][PLAIN_PANEL] in fp32; NULL in eight bits */
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

/* Inputs of a product: rows as they are, and in eight bits with what turns their sums back. */
typedef struct {
    const float *plain;
    long stride;
    Whole *whole; /* [N][padded inputs] */
    float *scale_N;
    int32_t *sum_N;
} Rows;

static inline int up_to(int multiple, int size) { return (size + multiple - 1) / multiple * multiple; }
static inline int padded(int inputs) { return up_to(64, inputs); }

/* Turn one row into eight bits with the scale peak / 127. What is not finite makes the scale so, and with it the product:
 * as bits, sizes compare like integers, and NaN is the largest. */
static void quantise_row(const float *x_I, const float *inverse_I, int inputs, const Rows *to, long row) {
    Whole *whole = to->whole + row * padded(inputs);
    Ints peak = int_zeros();
    for (int i = 0; i < inputs; i += LANES) {
        Some in = lanes(inputs - i);
        Floats x = load_some(in, x_I + i);
        if (inverse_I) x = times(x, load_some(in, inverse_I + i));
        peak = int_larger(peak, size_bits(x));
    }
    const int32_t bits = int_largest_of(peak);
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    scale /= 127.0f;
    if (scale < 1e-30f) scale = 1e-30f;
    Floats inverse = every(1.0f / scale);
    Ints sum = int_zeros();
    for (int i = 0; i < padded(inputs); i += LANES) {
        Some in = lanes(inputs - i);
        Floats x = load_some(in, x_I + i);
        if (inverse_I) x = times(x, load_some(in, inverse_I + i));
        Ints rounded = to_ints(times(x, inverse));
        sum = int_plus(sum, rounded);
        store_whole(whole + i, rounded);
    }
    to->scale_N[row] = scale;
    to->sum_N[row] = int_sum_of(sum);
}

/* One row of a product's inputs, as the product takes it. */
static void take_row(const Product *p, const float *x_I, const Rows *to, long row) {
    if (p->weight) quantise_row(x_I, p->inverse_I, p->inputs, to, row);
}

/* Exact sums of row `n` and some outputs, scaled back. */
INLINED void give_back(const Rows *x, long n, Ints sum, Floats scale, Floats bias, Some in, float *to, int add) {
    const Ints exact = int_minus(sum, int_every(ZERO_WEIGHT * x->sum_N[n]));
    const Floats back = times(scale, every(x->scale_N[n]));
    Floats y = product_plus(to_floats(exact), back, bias);
    if (add) y = plus(y, load_some(in, to));
    store_some(to, in, y);
}

/* Sums of `wide` registers of outputs from place `at` on, for `count` rows, scaled back; `count` and `wide` are constants
 * wherever this is called. */
INLINED void product_tile(const Product *p, const Rows *x, long first, int at, float *y_NO, long stride, int add,
                          const int count, const int wide) {
    const int depth = padded(p->inputs);
    const Whole *rows = x->whole + first * depth;
    const uint8_t *weight[MOST_WIDE];
    Sums sum[TILE][MOST_WIDE];
#pragma GCC unroll 4
    for (int i = 0; i < wide; i++) {
        const int o = at + i * LANES;
        weight[i] = p->weight + (size_t)(o / PANEL) * PANEL * depth + 4 * (o % PANEL);
#pragma GCC unroll 6
        for (int n = 0; n < count; n++) sum[n][i] = no_sums();
    }
    for (int k = 0; k < depth; k += 4) {
        Weights w[MOST_WIDE];
#pragma GCC unroll 4
        for (int i = 0; i < wide; i++) w[i] = load_weights(weight[i] + (size_t)k * PANEL);
#pragma GCC unroll 6
        for (int n = 0; n < count; n++) {
            const Four four = load_four(rows + (long)n * depth + k);
#pragma GCC unroll 4
            for (int i = 0; i < wide; i++) dot4(&sum[n][i], w[i], four);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < wide; i++) {
        const int o = at + i * LANES;
        const Some in = lanes(p->outputs - o);
        const Floats scale = load_some(in, p->scale_O + o);
        const Floats bias = p->bias_O ? load_some(in, p->bias_O + o) : zeros();
#pragma GCC unroll 6
        for (int n = 0; n < count; n++)
            give_back(x, first + n, summed(sum[n][i]), scale, bias, in, y_NO + (first + n) * stride + o, add);
    }
}

/* A whole block for `count` rows, as many registers of outputs at once as there is room for. */
INLINED void product_block(const Product *p, const Rows *x, long first, int block, float *y, long stride, int add,
                           const int count) {
    const int wide = LANES == 16 || count == 1 ? 4 : count <= 3 ? 2 : 1;
    for (int at = block * BLOCK; at < (block + 1) * BLOCK && at < p->outputs; at += wide * LANES)
        product_tile(p, x, first, at, y, stride, add, count, wide);
}

/* Whether some rows are multiplied by the matrix unit. */
static inline int is_tiled(const Product *p, long rows) { return p->weight && tiles_lent && rows >= LEAST_TILED; }

#ifdef HAS_TILES
/* A whole block by the matrix unit. */
static void tiled_rows(const Product *p, const Rows *x, long first, long rows, int block, float *y, long stride, int add) {
    const int depth = padded(p->inputs), end = (block + 1) * BLOCK < p->outputs ? (block + 1) * BLOCK : p->outputs;
    int32_t sums[TALL][BROAD] __attribute__((aligned(64)));
    for (int count, shaped = 0; rows > 0; first += count, rows -= count) {
        count = rows < TALL ? (int)rows : TALL;
        if (count != shaped) shape_tiles(count), shaped = count;
        for (int at = block * BLOCK; at < end; at += BROAD) {
            const Whole *from = x->whole + first * depth;
            const uint8_t *weight = p->weight + (size_t)block * PANEL * depth + 4 * (at % PANEL);
            if (count > SIDE)
                tile_sums(from, depth, weight, sums, 1);
            else
                tile_sums(from, depth, weight, sums, 0);
            for (int o = at; o < at + BROAD && o < end; o += LANES) {
                const Some in = lanes(end - o);
                const Floats scale = load_some(in, p->scale_O + o);
                const Floats bias = p->bias_O ? load_some(in, p->bias_O + o) : zeros();
                for (int n = 0; n < count; n++)
                    give_back(x, first + n, load_ints(sums[n] + o - at), scale, bias, in, y + (first + n) * stride + o, add);
            }
        }
    }
    leave_tiles();
}
#endif

static void product_rows(const Product *p, const Rows *x, long first, long rows, int block, float *y, long stride,
                         int add) {
#ifdef HAS_TILES
    if (is_tiled(p, rows)) {
        tiled_rows(p, x, first, rows, block, y, stride, add);
        return;
    }
#endif
    for (; rows >= TILE; first += TILE, rows -= TILE) product_block(p, x, first, block, y, stride, add, TILE);
    if (rows >= 3) product_block(p, x, first, block, y, stride, add, 3), first += 3, rows -= 3;
    if (rows == 2) product_block(p, x, first, block, y, stride, add, 2);
    if (rows == 1) product_block(p, x, first, block, y, stride, add, 1);
}

static void plain_rows(const Product *p, const Rows *x, long first, long rows, int block, float *y, long stride, int add);

/* Where rows are cut in two for threads to share out; behind the last one where they are too few. */
static inline long middle_of(const Product *p, long rows) {
    const int whole = is_tiled(p, rows) ? TALL : TILE;
    return rows < 2 * whole ? rows : rows / 2 / whole * whole;
}

/* The pieces of a product that threads share out: a block, for half of the rows where there are enough. */
static inline long product_pieces(const Product *p, long rows) {
    return (p->outputs + BLOCK - 1) / BLOCK * (middle_of(p, rows) < rows ? 2L : 1L);
}

static void product_piece(const Product *p, const Rows *x, long rows, long piece, float *y, long stride, int add) {
    const long middle = middle_of(p, rows), halves = middle < rows ? 2 : 1;
    const int block = (int)(piece / halves), second = (int)(piece % halves);
    const long first = second ? middle : 0, count = second ? rows - middle : middle;
    (p->weight ? product_rows : plain_rows)(p, x, first, count, block, y, stride, add);
}

/* A matrix by where its rows and columns lie, so that a transposed one needs no copy. */
typedef struct {
    const float *at;
    long row, column;
} View;

/* A register of weights from place `at` on, of fp16 where `half`; of no more than `in` unless they are `whole`. */
INLINED Floats some_weights(const void *w, long at, Some in, const int half, const int whole) {
    if (half) return whole ? load_halves((const uint16_t *)w + at) : load_some_halves(in, (const uint16_t *)w + at);
    return whole ? load((const float *)w + at) : load_some(in, (const float *)w + at);
}

/* y[n][o] (+)= sum of x[n][k] * w[k][o] for up to `wide` registers of outputs; `half`, `whole`, `count` and `wide` are
 * constants wherever this is called. */
INLINED void plain_tile(View x, const void *w, long from, long w_stride, int depth, float *y, long y_stride, int outputs,
                        int add, const int half, const int whole, const int count, const int wide) {
    Floats sum[12][4];
    Some in[4];
#pragma GCC unroll 4
    for (int i = 0; i < wide; i++) in[i] = lanes(outputs - LANES * i);
#pragma GCC unroll 12
    for (int n = 0; n < count; n++)
#pragma GCC unroll 4
        for (int i = 0; i < wide; i++)
            sum[n][i] = add ? load_some(in[i], y + n * y_stride + i * LANES) : zeros();
    for (int k = 0; k < depth; k++) {
        Floats v[4];
#pragma GCC unroll 4
        for (int i = 0; i < wide; i++) v[i] = some_weights(w, from + k * w_stride + LANES * i, in[i], half, whole);
#pragma GCC unroll 12
        for (int n = 0; n < count; n++) {
            const Floats one = every(x.at[n * x.row + k * x.column]);
#pragma GCC unroll 4
            for (int i = 0; i < wide; i++) fma1(&sum[n][i], v[i], one);
        }
    }
#pragma GCC unroll 12
    for (int n = 0; n < count; n++)
#pragma GCC unroll 4
        for (int i = 0; i < wide; i++) store_some(y + n * y_stride + i * LANES, in[i], sum[n][i]);
}

#define PLAIN_TILES(count, wide, whole)                                                                               \
    for (; n + count <= rows; n += count, x.at += count * x.row)                                                      \
        plain_tile(x, w, from, w_stride, depth, y + n * y_stride, y_stride, outputs, add, half, whole, count, wide);
#define PLAIN_ROWS(most, some, wide, whole) \
    PLAIN_TILES(most, wide, whole) PLAIN_TILES(some, wide, whole) PLAIN_TILES(2, wide, whole) PLAIN_TILES(1, wide, whole)

/* Up to 64 outputs for all rows. */
INLINED void some_columns(View x, const void *w, long from, long w_stride, int depth, float *y, long y_stride, int outputs,
                          long rows, int add, const int half) {
    long n = 0;
#if LANES == 16 /* masks have registers of their own, so that whole registers are no faster */
    if (outputs > 32) {
        PLAIN_ROWS(6, 3, 4, 0)
    } else if (outputs > 16) {
        PLAIN_ROWS(12, 4, 2, 0)
    } else {
        PLAIN_ROWS(12, 4, 1, 0)
    }
#else
    const View all = x;
    for (; outputs > LANES; outputs -= 2 * LANES, from += 2 * LANES, y += 2 * LANES, n = 0, x = all) {
        if (outputs >= 2 * LANES) {
            PLAIN_ROWS(6, 3, 2, 1)
        } else {
            PLAIN_ROWS(6, 3, 2, 0)
        }
    }
    if (outputs == LANES) {
        PLAIN_ROWS(12, 4, 1, 1)
    } else if (outputs > 0) {
        PLAIN_ROWS(12, 4, 1, 0)
    }
#endif
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
                for (int at = 0; at < width; at += LANES)
                    store(together + i * 64 + at, some_weights(w, (k + i) * w_stride + o + at, lanes(width - at), half, 0));
            const View from = {x.at + k * x.column, x.row, x.column};
            plain_columns(from, together, 0, 64, deep, y + o, y_stride, width, rows, add || k);
        }
    }
}

static void plain_product(View x, const float *w, long w_stride, int depth, float *y, long y_stride, int outputs,
                          long rows, int add) {
    product_of(x, w, w_stride, depth, y, y_stride, outputs, rows, add, 0);
}

/* A panel of outputs in fp32, one stretch of inputs after the other. */
static void plain_panel(const Product *p, const Rows *x, long first, long rows, int at, float *y, long stride, int add) {
    const int width = p->outputs - at < PLAIN_PANEL ? p->outputs - at : PLAIN_PANEL;
    const float *weight = p->plain + (size_t)at * p->inputs;
    y += first * stride + at;
    for (long n = 0; p->bias_O && n < rows; n++)
        for (int o = 0; o < width; o++) y[n * stride + o] = (add ? y[n * stride + o] : 0) + p->bias_O[at + o];
    add = add || p->bias_O;
    for (int k = 0; k < p->inputs; k += STRETCH, add = 1)
        plain_columns((View){x->plain + first * x->stride + k, x->stride, 1}, weight + (size_t)k * PLAIN_PANEL, 0,
                      PLAIN_PANEL, p->inputs - k < STRETCH ? p->inputs - k : STRETCH, y, stride, width, rows, add);
}

static void plain_rows(const Product *p, const Rows *x, long first, long rows, int block, float *y, long stride, int add) {
    for (int at = block * BLOCK; at < (block + 1) * BLOCK && at < p->outputs; at += PLAIN_PANEL)
        plain_panel(p, x, first, rows, at, y, stride, add);
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
