/* One step of a decoder of the Llama family: flat tokens in, next tokens out.
 *
 * In: tokens of any number of sequences with their positions, blocks and adapters. Out: keys and values kept in the
 * blocks, and for the sequences whose last token this is, a drawn token with its log-probability.
 * It does not know requests, prompts or when a sequence ends.
 */
#ifndef LLMAGENTOS_DECODE_H
#define LLMAGENTOS_DECODE_H

#include "attention.h"

enum { QKV, O, GATE_UP, DOWN, GROUPS };
static const int PARTS[GROUPS] = {3, 1, 2, 1};

typedef struct {
    const float *input_norm_H, *post_norm_H, *query_norm_D, *key_norm_D; /* the last two may be NULL */
    Product products[GROUPS];
} Layer;

typedef struct {
    int32_t layers, hidden, heads, kv_heads, size, intermediate, vocabulary;
    float norm_eps;
    const float *embedding_VH, *final_norm_H, *cos_TD, *sin_TD;
    Product head;
    const Layer *layer;
} Model;

/* Consecutive tokens whose requests named one adapter. */
typedef struct {
    int32_t first, after, rank, half; /* `half`: its factors are fp16 */
    const Pair *pairs; /* [layers][GROUPS] */
} Run;

typedef struct {
    int32_t tokens, runs, ends;
    const int32_t *token_N;
    const Run *run;
    const int32_t *end_M; /* places of the tokens that are followed by a new one */
    const float *temperature_M; /* 0 for the most likely token */
    const double *uniform_M;    /* where in the distribution to draw */
    int32_t *chosen_M;
    float *logprob_M;
    const uint32_t *allowed_MW; /* a bit for each token that may be drawn; NULL for all */
    float *logits_MV;
    Cache cache;
    float *workspace; /* of `workspace_size` floats */
} Batch;

typedef struct {
    const Model *model;
    const Batch *batch;
    float *x_NH, *normed_NI, *wide_NO, *query_NH, *context_NH, *low_NR;
    int low_stride;
    Rows rows;
} Step;

static int most(int a, int b) { return a > b ? a : b; }

static int widest_rank(const Batch *b) {
    int rank = 0;
    for (int r = 0; r < b->runs; r++) rank = most(rank, b->run[r].rank);
    return 3 * rank;
}

static size_t lay_out(const Model *m, const Batch *b, Step *s) {
    const size_t n = (size_t)most(b->tokens, b->ends), q = (size_t)m->heads * m->size, kv = (size_t)m->kv_heads * m->size;
    const size_t inner = most(m->hidden, most(m->intermediate, (int)q)), outer = most(2 * m->intermediate, (int)(q + 2 * kv));
    s->low_stride = widest_rank(b);
    float *at = b->workspace;
    s->x_NH = at, at += n * m->hidden;
    s->normed_NI = at, at += n * inner;
    s->wide_NO = at, at += n * outer;
    s->query_NH = at, at += n * q;
    s->context_NH = at, at += n * q;
    s->low_NR = at, at += n * s->low_stride;
    s->rows.scale_N = at, at += n;
    s->rows.sum_N = (int32_t *)at, at += n;
    s->rows.whole = (int8_t *)at, at += n * (size_t)padded((int)inner) / 4;
    return (size_t)(at - b->workspace);
}

static void norm_row(const float *x, const float *weight, int size, float eps, float *to) {
    Floats squares = zeros();
    for (int i = 0; i < size; i += LANES) {
        Floats v = load_some(lanes(size - i), x + i);
        squares = product_plus(v, v, squares);
    }
    Floats scale = every(1.0f / sqrtf(sum_of(squares) / size + eps));
    for (int i = 0; i < size; i += LANES) {
        Some in = lanes(size - i);
        Floats v = times(load_some(in, x + i), scale);
        store_some(to + i, in, times(v, load_some(in, weight + i)));
    }
}

/* The inputs of a product for tokens `first` to `after`: eight-bit rows, and what the adapters' first halves make. */
static void prepare(Step *s, int layer, int group, const float *x, long stride, long first, long after) {
    const Product *p = &s->model->layer[layer].products[group];
    for (long n = first; n < after; n++) quantise_row(x + n * stride, p->inverse_I, p->inputs, &s->rows, n);
    for (int r = 0; r < s->batch->runs; r++) {
        const Run *run = &s->batch->run[r];
        const Pair *pair = &run->pairs[layer * GROUPS + group];
        const long from = run->first > first ? run->first : first, to = run->after < after ? run->after : after;
        const int width = run->rank * PARTS[group];
        if (pair->a_IR && from < to)
            factor_product((View){x + from * stride, stride, 1}, pair->a_IR, 0, width, p->inputs,
                           s->low_NR + from * s->low_stride, s->low_stride, width, to - from, 0, run->half);
    }
}

/* Where the outputs of a fused product's part end: query, key, value; gate, up. */
static int part_end(const Model *m, int group, int part) {
    const int q = m->heads * m->size, kv = m->kv_heads * m->size;
    if (group == QKV) return q + part * kv;
    return group == GATE_UP ? (part + 1) * m->intermediate : m->hidden;
}

/* What the adapters add to half a block of outputs: part by part, because B of a fused product has a block for each part. */
static void add_adapters(const Step *s, int layer, int group, int piece, float *y, long stride) {
    const Model *m = s->model;
    const int left = piece * HALF, right = left + HALF;
    for (int r = 0; r < s->batch->runs; r++) {
        const Run *run = &s->batch->run[r];
        const Pair *pair = &run->pairs[layer * GROUPS + group];
        if (!pair->a_IR) continue;
        for (int part = 0; part < PARTS[group]; part++) {
            const int end = part_end(m, group, part);
            const int from = most(left, part ? part_end(m, group, part - 1) : 0);
            const int to = end < right ? end : right;
            if (from >= to) continue;
            const float *low = s->low_NR + (long)run->first * s->low_stride + part * run->rank;
            const long at = ((long)piece * PARTS[group] + part) * run->rank * HALF + from - left;
            factor_product((View){low, s->low_stride, 1}, pair->b_BR, at, HALF, run->rank, y + run->first * stride + from,
                           stride, to - from, run->after - run->first, 1, run->half);
        }
    }
}

static void adapted_product(Step *s, int layer, int group, float *y, long stride, int add) {
    const Product *p = &s->model->layer[layer].products[group];
    const long pieces = product_pieces(p, s->batch->tokens), halves = (p->outputs + BLOCK - 1) / BLOCK * 2;
    for (long piece; (piece = take_piece()) < pieces;) product_piece(p, &s->rows, s->batch->tokens, piece, y, stride, add);
    barrier();
    if (!s->batch->runs) return;
    for (long piece; (piece = take_piece()) < halves;) add_adapters(s, layer, group, (int)piece, y, stride);
    barrier();
}

/* Most tokens of a piece that still keeps every thread busy. */
static long piece_size(long tokens) {
    const long each = (tokens + 2 * pool.threads - 1) / (2 * pool.threads);
    return each > 8 ? 8 : each < 1 ? 1 : each;
}

#define EACH_PIECE(first, after, tokens)                                                                       \
    for (long first, after, size_ = piece_size(tokens);                                                        \
         (first = take_piece() * size_) < (tokens) &&                                                          \
         (after = first + size_ < (tokens) ? first + size_ : (tokens), 1);)

/* Norms of the rows of `x_NH`, as the inputs of a product. */
static void norm_and_prepare(Step *s, int layer, int group, const float *x_NH, const float *weight_H) {
    const Model *m = s->model;
    EACH_PIECE(first, after, (long)s->batch->tokens) {
        for (long n = first; n < after; n++)
            norm_row(x_NH + n * m->hidden, weight_H, m->hidden, m->norm_eps, s->normed_NI + n * m->hidden);
        prepare(s, layer, group, s->normed_NI, m->hidden, first, after);
    }
    barrier();
}

static void turn(float *x, const float *cos, const float *sin, int size, float scale) {
    for (int d = 0; d < size / 2; d++) {
        const float left = x[d], right = x[d + size / 2];
        x[d] = (left * cos[d] - right * sin[d]) * scale;
        x[d + size / 2] = (right * cos[d] + left * sin[d]) * scale;
    }
}

/* Norms and positions into a row's queries and keys, in place. */
static void turn_heads(const Model *m, int layer, int position, float *row) {
    const Layer *l = &m->layer[layer];
    const long at = (long)position * (m->size / 2);
    const float scale = 1.0f / sqrtf((float)m->size);
    for (int h = 0; h < m->heads + m->kv_heads; h++) {
        const float *norm = h < m->heads ? l->query_norm_D : l->key_norm_D;
        if (norm) norm_row(row + h * m->size, norm, m->size, m->norm_eps, row + h * m->size);
        turn(row + h * m->size, m->cos_TD + at, m->sin_TD + at, m->size, h < m->heads ? scale : 1.0f);
    }
}

/* Queries for attention; keys and values into their blocks. */
static void place(Step *s, int layer, long n) {
    const Model *m = s->model;
    const int q = m->heads * m->size, kv = m->kv_heads * m->size;
    float *row = s->wide_NO + n * (q + 2 * kv);
    turn_heads(m, layer, s->batch->cache.position_N[n], row);
    memcpy(s->query_NH + n * q, row, sizeof(float) * q);
    keep(&s->batch->cache, layer, n, row + q, row + q + kv);
}

static void gate(float *row, int size, float *to) {
    for (int i = 0; i < size; i += LANES) {
        Some in = lanes(size - i);
        Floats g = load_some(in, row + i), u = load_some(in, row + size + i);
        Floats down = plus(every(1.0f), exp_of(minus(zeros(), g)));
        store_some(to + i, in, times(over(g, down), u));
    }
}

static void layer_step(Step *s, int layer) {
    const Model *m = s->model;
    const Layer *l = &m->layer[layer];
    const long tokens = s->batch->tokens, q = (long)m->heads * m->size, kv = (long)m->kv_heads * m->size;
    norm_and_prepare(s, layer, QKV, s->x_NH, l->input_norm_H);
    adapted_product(s, layer, QKV, s->wide_NO, q + 2 * kv, 0);
    EACH_PIECE(first, after, tokens) for (long n = first; n < after; n++) place(s, layer, n);
    barrier();
    long together = (tokens * m->kv_heads + 4 * pool.threads - 1) / (4 * pool.threads);
    together = together > TOGETHER ? TOGETHER : together < 1 ? 1 : together;
    const long chunks = (tokens + together - 1) / together;
    for (long piece; (piece = take_piece()) < chunks * m->kv_heads;) {
        const long first = piece / m->kv_heads * together, after = first + together;
        attend(&s->batch->cache, layer, (int)(piece % m->kv_heads), first, after < tokens ? after : tokens, s->query_NH,
               s->context_NH);
    }
    barrier();
    EACH_PIECE(first, after, tokens) prepare(s, layer, O, s->context_NH, q, first, after);
    barrier();
    adapted_product(s, layer, O, s->x_NH, m->hidden, 1);
    norm_and_prepare(s, layer, GATE_UP, s->x_NH, l->post_norm_H);
    adapted_product(s, layer, GATE_UP, s->wide_NO, 2L * m->intermediate, 0);
    EACH_PIECE(first, after, tokens) {
        for (long n = first; n < after; n++)
            gate(s->wide_NO + n * 2 * m->intermediate, m->intermediate, s->normed_NI + n * m->intermediate);
        prepare(s, layer, DOWN, s->normed_NI, m->intermediate, first, after);
    }
    barrier();
    adapted_product(s, layer, DOWN, s->x_NH, m->hidden, 1);
}

/* e^((logit - peak) / heat) for a register of tokens; zero for those that may not be drawn. */
INLINED Floats likely(const float *logit, int left, Floats peak, Floats inverse) {
    const Floats never = every(-INFINITY), v = load_or(never, lanes(left), logit);
    return unless_equal(v, never, exp_of(times(minus(v, peak), inverse)));
}

/* One token from a row of logits (see models/sampling.py); sums in double, in token order. */
static void draw(const Batch *b, const Model *m, long row) {
    float *logit = b->logits_MV + row * m->vocabulary;
    const int size = m->vocabulary;
    if (b->allowed_MW) {
        const uint32_t *allowed = b->allowed_MW + row * ((size + 31) / 32);
        for (int i = 0; i < size; i += LANES) {
            store_where(logit + i, lanes(size - i), ~(allowed[i / 32] >> (i % 32)), every(-INFINITY));
        }
    }
    Floats largest = every(-INFINITY);
    for (int i = 0; i < size; i += LANES)
        largest = larger(load_or(largest, lanes(size - i), logit + i), largest);
    const float peak = largest_of(largest);
    int best = 0;
    while (best < size - 1 && logit[best] != peak) best++;
    const float heat = b->temperature_M[row] > 0 ? b->temperature_M[row] : 1.0f;
    const Floats from = every(peak), inverse = every(1.0f / heat);
    double total = 0;
    for (int i = 0; i < size; i += LANES) total += sum_of(likely(logit + i, size - i, from, inverse));
    int chosen = best;
    if (b->temperature_M[row] > 0) {
        const double target = b->uniform_M[row] * total;
        double sum = 0;
        for (int i = 0; i < size; i += LANES) {
            const Floats v = likely(logit + i, size - i, from, inverse);
            const double after = sum + sum_of(v);
            if (after > target) {
                float each[LANES];
                store(each, v);
                for (int k = 0; k < LANES && i + k < size; k++) { /* the last one that is possible, if rounding leaves none */
                    if (each[k] > 0) chosen = i + k;
                    sum += each[k];
                    if (each[k] > 0 && sum > target) break;
                }
                break;
            }
            sum = after;
        }
    }
    b->chosen_M[row] = chosen;
    b->logprob_M[row] = (float)((logit[chosen] - peak) / heat - log(total));
}

static void step(int thread, void *argument) {
    Step *s = argument;
    const Model *m = s->model;
    const Batch *b = s->batch;
    (void)thread;
    EACH_PIECE(first, after, (long)b->tokens) {
        for (long n = first; n < after; n++)
            memcpy(s->x_NH + n * m->hidden, m->embedding_VH + (long)b->token_N[n] * m->hidden, sizeof(float) * m->hidden);
    }
    barrier();
    for (int layer = 0; layer < m->layers; layer++) layer_step(s, layer);
    if (!b->ends) return;
    EACH_PIECE(first, after, (long)b->ends) {
        for (long n = first; n < after; n++) {
            norm_row(s->x_NH + (long)b->end_M[n] * m->hidden, m->final_norm_H, m->hidden, m->norm_eps,
                     s->normed_NI + n * m->hidden);
            quantise_row(s->normed_NI + n * m->hidden, m->head.inverse_I, m->hidden, &s->rows, n);
        }
    }
    barrier();
    const long pieces = product_pieces(&m->head, b->ends);
    for (long piece; (piece = take_piece()) < pieces;)
        product_piece(&m->head, &s->rows, b->ends, piece, b->logits_MV, m->vocabulary, 0);
    barrier();
    for (long row; (row = take_piece()) < b->ends;) draw(b, m, row);
    barrier();
}

#endif
