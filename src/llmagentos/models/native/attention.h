/* Attention of flat tokens over keys and values that lie in blocks, each block read once for all who share it.
 *
 * In: queries, and for each token the blocks of its sequence. Out: contexts. Softmax is accumulated block by block
 * (online softmax, arXiv 1805.02867; FlashAttention, arXiv 2205.14135), so tokens of different sequences can go through
 * their common blocks together (the idea of arXiv 2402.05099). It does not know products or sampling.
 *
 * A block holds 32 positions in half precision: keys [kv heads][head size][32], values [kv heads][32][head size].
 */
#ifndef LLMAGENTOS_ATTENTION_H
#define LLMAGENTOS_ATTENTION_H

#include "products.h"

#define SPAN 32       /* positions of a block */
#define TOGETHER 16   /* tokens that go through the blocks side by side */
#define MOST_HEAD 256 /* largest head size */
#define MOST_GROUP 16 /* most query heads on one key-value head */
#define QUERIES 6     /* queries of one tile */

/* e^x: 2^n * 2^f with a polynomial for f in [-0.5, 0.5] (Cephes' expf), about one unit in the last place. */
static inline __m512 exp_ps(__m512 x) {
    x = _mm512_max_ps(x, _mm512_set1_ps(-87.0f));
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 0);
    __m512 f = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
    f = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), f);
    __m512 y = _mm512_set1_ps(1.9875691500e-4f);
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(1.3981999507e-3f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(8.3334519073e-3f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(4.1665795894e-2f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(1.6666665459e-1f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(5.0000001201e-1f));
    y = _mm512_fmadd_ps(_mm512_mul_ps(f, f), y, _mm512_add_ps(f, _mm512_set1_ps(1.0f)));
    return _mm512_scalef_ps(y, n);
}

typedef struct {
    float peak, total;
    float context[MOST_HEAD];
} Softmax;

/* One tile of queries over one block: `visible[i]` positions of it are seen by query i. */
static inline __attribute__((always_inline)) void block_tile(const float *const *query, const int *visible,
                                                             const float *keys, const float *values, int size,
                                                             Softmax **state, const int count) {
    __m512 score[QUERIES][2];
#pragma GCC unroll 6
    for (int i = 0; i < count; i++) score[i][0] = score[i][1] = _mm512_setzero_ps();
    for (int d = 0; d < size; d++) {
        __m512 left = _mm512_load_ps(keys + d * SPAN), right = _mm512_load_ps(keys + d * SPAN + 16);
#pragma GCC unroll 6
        for (int i = 0; i < count; i++) {
            const __m512 q = _mm512_set1_ps(query[i][d]);
            fma1(&score[i][0], left, q);
            fma1(&score[i][1], right, q);
        }
    }
    float weight[QUERIES][SPAN] __attribute__((aligned(64)));
    int most = 0;
    const __m512 never = _mm512_set1_ps(-INFINITY);
#pragma GCC unroll 6
    for (int i = 0; i < count; i++) {
        if (visible[i] > most) most = visible[i];
        __m512 left = _mm512_mask_mov_ps(never, lanes(visible[i]), score[i][0]);
        __m512 right = _mm512_mask_mov_ps(never, lanes(visible[i] - 16), score[i][1]);
        float peak = _mm512_reduce_max_ps(_mm512_max_ps(left, right));
        if (peak > state[i]->peak) {
            float shrink = state[i]->total > 0 ? expf(state[i]->peak - peak) : 0.0f;
            state[i]->total *= shrink;
            for (int d = 0; d < size; d += 16)
                _mm512_storeu_ps(state[i]->context + d,
                                 _mm512_mul_ps(_mm512_loadu_ps(state[i]->context + d), _mm512_set1_ps(shrink)));
            state[i]->peak = peak;
        }
        __m512 base = _mm512_set1_ps(state[i]->peak);
        left = _mm512_maskz_mov_ps(lanes(visible[i]), exp_ps(_mm512_sub_ps(left, base)));
        right = _mm512_maskz_mov_ps(lanes(visible[i] - 16), exp_ps(_mm512_sub_ps(right, base)));
        state[i]->total += _mm512_reduce_add_ps(_mm512_add_ps(left, right));
        _mm512_store_ps(weight[i], left);
        _mm512_store_ps(weight[i] + 16, right);
    }
    const int stride = up_to(16, size);
    for (int d = 0; d < stride; d += 32) {
        const int second = d + 16 < stride;
        __m512 sum[QUERIES][2];
#pragma GCC unroll 6
        for (int i = 0; i < count; i++) {
            sum[i][0] = _mm512_loadu_ps(state[i]->context + d);
            sum[i][1] = second ? _mm512_loadu_ps(state[i]->context + d + 16) : _mm512_setzero_ps();
        }
        for (int t = 0; t < most; t++) {
            __m512 left = _mm512_load_ps(values + t * stride + d);
            __m512 right = second ? _mm512_load_ps(values + t * stride + d + 16) : _mm512_setzero_ps();
#pragma GCC unroll 6
            for (int i = 0; i < count; i++) {
                const __m512 w = _mm512_set1_ps(weight[i][t]);
                fma1(&sum[i][0], left, w);
                fma1(&sum[i][1], right, w);
            }
        }
#pragma GCC unroll 6
        for (int i = 0; i < count; i++) {
            _mm512_storeu_ps(state[i]->context + d, sum[i][0]);
            if (second) _mm512_storeu_ps(state[i]->context + d + 16, sum[i][1]);
        }
    }
}

typedef struct {
    uint16_t *blocks;       /* keys and values */
    size_t block_stride;    /* halves from one block to the next */
    const int32_t *table;   /* [sequences][most blocks] numbers of blocks */
    int32_t most_blocks;
    const int32_t *row_N;   /* each token's sequence */
    const int32_t *position_N;
    int heads, kv_heads, size;
} Cache;

static inline size_t half_block(const Cache *c) { return (size_t)SPAN * up_to(16, c->size); }

/* Keys of one block, layer and kv head; its values follow. */
static inline uint16_t *block_at(const Cache *c, int layer, long block, int head) {
    return c->blocks + block * c->block_stride + ((size_t)layer * c->kv_heads + head) * 2 * half_block(c);
}

static inline long block_of(const Cache *c, long token, int index) {
    return c->table[(long)c->row_N[token] * c->most_blocks + index];
}

static void attend(const Cache *c, int layer, int head, long first, long after, const float *query, float *context) {
    const int group = c->heads / c->kv_heads, size = c->size, stride = up_to(16, size);
    const long width = (long)c->heads * size;
    float keys[SPAN * MOST_HEAD] __attribute__((aligned(64))), values[SPAN * MOST_HEAD] __attribute__((aligned(64)));
    Softmax states[TOGETHER * MOST_GROUP];
    const float *queries[TOGETHER * MOST_GROUP];
    Softmax *state[TOGETHER * MOST_GROUP];
    int visible[TOGETHER * MOST_GROUP], last = 0;
    for (long n = first; n < after; n++) {
        if (c->position_N[n] / SPAN > last) last = c->position_N[n] / SPAN;
        for (int g = 0; g < group; g++) {
            Softmax *s = &states[(n - first) * group + g];
            s->peak = -INFINITY, s->total = 0;
            memset(s->context, 0, sizeof(float) * stride);
        }
    }
    for (int index = 0; index <= last; index++) {
        for (long n = first; n < after;) {
            if (c->position_N[n] / SPAN < index) {
                n++;
                continue;
            }
            const long block = block_of(c, n, index);
            int count = 0;
            for (; n < after && c->position_N[n] / SPAN >= index && block_of(c, n, index) == block; n++) {
                int seen = c->position_N[n] + 1 - index * SPAN;
                for (int g = 0; g < group; g++, count++) {
                    queries[count] = query + n * width + ((long)head * group + g) * size;
                    state[count] = &states[(n - first) * group + g];
                    visible[count] = seen < SPAN ? seen : SPAN;
                }
            }
            const uint16_t *from = block_at(c, layer, block, head);
            for (int i = 0; i < SPAN * size; i += 16)
                _mm512_store_ps(keys + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(from + i))));
            from += half_block(c);
            for (int i = 0; i < SPAN * stride; i += 16)
                _mm512_store_ps(values + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(from + i))));
            int i = 0;
            for (; i + 6 <= count; i += 6) block_tile(queries + i, visible + i, keys, values, size, state + i, 6);
            for (; i + 3 <= count; i += 3) block_tile(queries + i, visible + i, keys, values, size, state + i, 3);
            for (; i < count; i++) block_tile(queries + i, visible + i, keys, values, size, state + i, 1);
        }
    }
    for (long n = first; n < after; n++)
        for (int g = 0; g < group; g++) {
            const Softmax *s = &states[(n - first) * group + g];
            float *to = context + n * width + ((long)head * group + g) * size;
            for (int d = 0; d < size; d++) to[d] = s->context[d] / s->total;
        }
}

/* Keep one token's key and value of one layer. */
static void keep(const Cache *c, int layer, long token, const float *key_KD, const float *value_KD) {
    const int position = c->position_N[token], slot = position % SPAN, stride = up_to(16, c->size);
    const long block = block_of(c, token, position / SPAN);
    for (int head = 0; head < c->kv_heads; head++) {
        uint16_t *keys = block_at(c, layer, block, head), *values = keys + half_block(c);
        for (int d = 0; d < c->size; d++) {
            keys[d * SPAN + slot] = _cvtss_sh(key_KD[head * c->size + d], 0);
            values[slot * stride + d] = _cvtss_sh(value_KD[head * c->size + d], 0);
        }
    }
}

#endif
