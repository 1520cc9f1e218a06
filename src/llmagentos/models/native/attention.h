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

typedef struct {
    float peak, total;
    float context[MOST_HEAD];
} Softmax;

/* Scores of a tile of queries with the positions of a block, [query][position]. */
INLINED void block_scores(const float *const *query, const float *keys, int size, float scores[QUERIES][SPAN],
                          const int count) {
    for (int t = 0; t < SPAN; t += 2 * LANES) {
        Floats score[QUERIES][2];
#pragma GCC unroll 6
        for (int i = 0; i < count; i++) score[i][0] = score[i][1] = zeros();
        for (int d = 0; d < size; d++) {
            Floats left = load(keys + d * SPAN + t), right = load(keys + d * SPAN + t + LANES);
#pragma GCC unroll 6
            for (int i = 0; i < count; i++) {
                const Floats q = every(query[i][d]);
                fma1(&score[i][0], left, q);
                fma1(&score[i][1], right, q);
            }
        }
#pragma GCC unroll 6
        for (int i = 0; i < count; i++) store(scores[i] + t, score[i][0]), store(scores[i] + t + LANES, score[i][1]);
    }
}

/* Scores into weights, of the first `visible` positions; what was summed before shrinks where the peak rises. */
static void soften(float *score, int visible, Softmax *state, int size) {
    Floats most = every(-INFINITY), total = zeros();
    for (int t = 0; t < SPAN; t += LANES) most = larger(most, first_or(lanes(visible - t), load(score + t), every(-INFINITY)));
    const float peak = largest_of(most);
    if (peak > state->peak) {
        const float shrink = state->total > 0 ? expf(state->peak - peak) : 0.0f;
        state->total *= shrink;
        for (int d = 0; d < size; d += LANES) store(state->context + d, times(load(state->context + d), every(shrink)));
        state->peak = peak;
    }
    for (int t = 0; t < SPAN; t += LANES) {
        const Floats weight = first_only(lanes(visible - t), exp_of(minus(load(score + t), every(state->peak))));
        total = plus(total, weight);
        store(score + t, weight);
    }
    state->total += sum_of(total);
}

/* One tile of queries over one block: `visible[i]` positions of it are seen by query i. */
INLINED void block_tile(const float *const *query, const int *visible, const float *keys, const float *values, int size,
                        Softmax **state, const int count) {
    float weight[QUERIES][SPAN] __attribute__((aligned(64)));
    int most = 0;
    block_scores(query, keys, size, weight, count);
#pragma GCC unroll 6
    for (int i = 0; i < count; i++) {
        if (visible[i] > most) most = visible[i];
        soften(weight[i], visible[i], state[i], size);
    }
    const int stride = up_to(16, size);
    for (int d = 0; d < stride; d += 2 * LANES) {
        const int second = d + LANES < stride;
        Floats sum[QUERIES][2];
#pragma GCC unroll 6
        for (int i = 0; i < count; i++) {
            sum[i][0] = load(state[i]->context + d);
            sum[i][1] = second ? load(state[i]->context + d + LANES) : zeros();
        }
        for (int t = 0; t < most; t++) {
            Floats left = load(values + t * stride + d);
            Floats right = second ? load(values + t * stride + d + LANES) : zeros();
#pragma GCC unroll 6
            for (int i = 0; i < count; i++) {
                const Floats w = every(weight[i][t]);
                fma1(&sum[i][0], left, w);
                fma1(&sum[i][1], right, w);
            }
        }
#pragma GCC unroll 6
        for (int i = 0; i < count; i++) {
            store(state[i]->context + d, sum[i][0]);
            if (second) store(state[i]->context + d + LANES, sum[i][1]);
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
            for (int i = 0; i < SPAN * size; i += LANES) store(keys + i, load_halves(from + i));
            from += half_block(c);
            for (int i = 0; i < SPAN * stride; i += LANES) store(values + i, load_halves(from + i));
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
