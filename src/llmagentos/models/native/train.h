/* A training step of an adapter: forward over a tree of shared prefixes, and back to the gradients of its two factors.
 *
 * In: flat tokens, which earlier ones each of them sees, an adapter, later the gradient of some hidden states. Out: hidden
 * states, bit by bit those of `decode.h`; gradients of the adapter. It does not know losses, optimisers or sequences.
 *
 * The weights stay as they are, so the way back needs only the gradient of each product's input (in eight bits, with one
 * scale a row) and the adapter's own (LoRA, arXiv 2106.09685): with y = x W^T + s (x A^T) B^T and v = s dy B,
 * dx = dy W + v A, dA = v^T x, dB = s dy^T (x A^T).
 */
#ifndef LLMAGENTOS_TRAIN_H
#define LLMAGENTOS_TRAIN_H

#include "decode.h"

/* Consecutive tokens that lie behind each other in one sequence. */
typedef struct {
    int32_t first, count;
} Segment;

/* Queries `first` to `first + count`, the first at `position`; `segments` lead from position 0 to the last of them. */
typedef struct {
    int32_t first, count, position, segment, segments;
} Piece;

#define MOST_QUERIES 32 /* tokens of a piece */

/* An adapter's factors as they are trained, A [R, I] and B [O, R], and where their gradients go. */
typedef struct {
    const float *a_RI, *b_OR;
    float *da_RI, *db_OR;
} Factors;

typedef struct {
    int32_t tokens, ends, pieces, rank, longest; /* longest: most positions that a piece sees */
    int32_t recompute; /* keep each layer's input only, and compute the layer again on the way back (arXiv 1604.06174) */
    float scale;
    const int32_t *token_N, *position_N, *end_M;
    const Piece *piece;
    const Segment *segment;
    const Factors *factors;  /* [layers][GROUPS]; a_RI is NULL where nothing is adapted */
    const Product *backward; /* [layers][GROUPS], each the transposed weight */
    float *hidden_MH;        /* out of the way forward, and its gradient into the way back */
    float *workspace;
} Training;

/* What one layer keeps for the way back; with `recompute` all but `x_NH` is every layer's in turn. */
typedef struct {
    float *x_NH, *raw_NO, *qkv_NO, *context_NH, *peak_NQ, *middle_NH, *gate_up_NI, *low_NR[GROUPS];
} Kept;

#define MOST_LAYERS 256

typedef struct {
    const Model *model;
    const Training *training;
    Step step;
    Batch batch;
    Run run;
    Pair *pairs;
    Kept kept[MOST_LAYERS];
    float *last_NH, *inner_NI, *wide_NO, *dx_NH, *low_NR, *dkv, *scratch;
    size_t longest, scratch_size; /* longest: most positions that a piece sees, in whole blocks */
    int stride;                   /* of a row of keys or values in the scratch */
} Learning;

static size_t lay_out_training(Learning *l) {
    const Model *m = l->model;
    const Training *t = l->training;
    const size_t n = t->tokens, hidden = m->hidden, q = (size_t)m->heads * m->size, kv = (size_t)m->kv_heads * m->size;
    const size_t inner = most(most(m->hidden, m->intermediate), (int)q), outer = most(2 * m->intermediate, (int)(q + 2 * kv));
    const size_t low = 3 * (size_t)t->rank;
    const int normed = m->layer[0].query_norm_D != NULL;
    float *at = t->workspace;
    for (int layer = 0; layer < m->layers; layer++) {
        Kept *k = &l->kept[layer];
        if (layer && t->recompute) *k = l->kept[0];
        k->x_NH = at, at += n * hidden;
        if (layer && t->recompute) continue;
        k->raw_NO = at, at += normed ? n * (q + kv) : 0;
        k->qkv_NO = at, at += n * (q + 2 * kv);
        k->context_NH = at, at += n * q;
        k->peak_NQ = at, at += n * m->heads;
        k->middle_NH = at, at += n * hidden;
        k->gate_up_NI = at, at += n * 2 * m->intermediate;
        for (int group = 0; group < GROUPS; group++) k->low_NR[group] = at, at += n * low;
    }
    l->last_NH = at, at += n * hidden;
    l->pairs = (Pair *)at, at += (sizeof(Pair) / sizeof(float)) * (size_t)m->layers * GROUPS;
    for (int layer = 0; layer < m->layers; layer++)
        for (int group = 0; group < GROUPS; group++) {
            const Factors *f = &t->factors[layer * GROUPS + group];
            const Product *p = &m->layer[layer].products[group];
            const size_t rank = (size_t)t->rank * PARTS[group];
            const float *a_IR = at;
            at += rank * p->inputs;
            const float *b_BR = at;
            at += rank * up_to(HALF, p->outputs);
            if (t->workspace) l->pairs[layer * GROUPS + group] = f->a_RI ? (Pair){a_IR, b_BR} : (Pair){NULL, NULL};
        }
    l->inner_NI = at, at += n * inner;
    l->wide_NO = at, at += n * outer;
    l->dx_NH = at, at += n * hidden;
    l->low_NR = at, at += n * low;
    l->dkv = at, at += n * 2 * kv * pool.threads;
    Step *s = &l->step;
    s->normed_NI = at, at += n * inner;
    s->query_NH = at, at += n * q;
    s->rows.scale_N = at, at += n;
    s->rows.sum_N = (int32_t *)at, at += n;
    s->rows.whole = (int8_t *)at, at += n * (size_t)padded((int)most((int)inner, (int)outer)) / 4;
    l->longest = up_to(SPAN, t->longest), l->stride = up_to(16, m->size);
    l->scratch_size = 3 * l->longest * l->stride;
    at += (16 - ((uintptr_t)at / sizeof(float)) % 16) % 16; /* whole lines of the cache; the workspace begins with one */
    l->scratch = at, at += l->scratch_size * pool.threads;

    l->run = (Run){0, t->tokens, t->rank, 0, l->pairs};
    l->batch = (Batch){.tokens = t->tokens, .runs = t->rank ? 1 : 0, .run = &l->run};
    s->model = m, s->batch = &l->batch, s->low_stride = (int)low;
    return (size_t)(at - t->workspace);
}

static void transpose(const float *from, int rows, int columns, float scale, float *to, int stride) {
    for (int r = 0; r < rows; r += 16)
        for (int c = 0; c < columns; c += 16)
            for (int i = r; i < r + 16 && i < rows; i++)
                for (int k = c; k < c + 16 && k < columns; k++) to[(long)k * stride + i] = from[(long)i * columns + k] * scale;
}

/* Both factors as a `Pair` has them. */
static void turn_factors(Learning *l) {
    const Model *m = l->model;
    const Training *t = l->training;
    for (long piece; (piece = take_piece()) < (long)m->layers * GROUPS;) {
        const Factors *f = &t->factors[piece];
        const Product *p = &m->layer[piece / GROUPS].products[piece % GROUPS];
        const int rank = t->rank * PARTS[piece % GROUPS];
        if (!f->a_RI) continue;
        transpose(f->a_RI, rank, p->inputs, 1.0f, (float *)l->pairs[piece].a_IR, rank);
        for (int at = 0; at < p->outputs; at += HALF)
            transpose(f->b_OR + (long)at * rank, p->outputs - at < HALF ? p->outputs - at : HALF, rank, t->scale,
                      (float *)l->pairs[piece].b_BR + (long)at * rank, HALF);
    }
    barrier();
}

/* Positions into queries and keys, in place; keys and values as half precision keeps them. */
static void place_training(Learning *l, int layer, long n) {
    const Model *m = l->model;
    const int q = m->heads * m->size, kv = m->kv_heads * m->size;
    float *row = l->kept[layer].qkv_NO + n * (q + 2 * kv);
    if (m->layer[layer].query_norm_D) memcpy(l->kept[layer].raw_NO + n * (q + kv), row, sizeof(float) * (q + kv));
    turn_heads(m, layer, l->training->position_N[n], row);
    for (int i = q; i < q + 2 * kv; i++) row[i] = _cvtsh_ss(_cvtss_sh(row[i], 0));
}

/* Keys and values that a piece sees, in order of position; whichever of the four layouts is asked for.
 * Turned ones lie in blocks [size][32], the others as rows of padded size; what is behind the last position is zero. */
static void gather(const Learning *l, const Piece *p, const float *qkv_NO, int offset, float *turned, float *rows) {
    const Model *m = l->model;
    const long width = (long)(m->heads + 2 * m->kv_heads) * m->size;
    const int size = m->size, stride = l->stride;
    long position = 0;
    for (int i = p->segment; i < p->segment + p->segments; i++) {
        const Segment *s = &l->training->segment[i];
        for (long n = s->first; n < s->first + s->count; n++, position++) {
            const float *from = qkv_NO + n * width + offset;
            if (rows) {
                memcpy(rows + position * stride, from, sizeof(float) * size);
                for (int d = size; d < stride; d++) rows[position * stride + d] = 0;
            }
            if (turned) {
                float *to = turned + position / SPAN * SPAN * size + position % SPAN;
                for (int d = 0; d < size; d++) to[d * SPAN] = from[d];
            }
        }
    }
    for (; position % SPAN; position++) {
        if (rows) memset(rows + position * stride, 0, sizeof(float) * stride);
        if (turned)
            for (int d = 0; d < size; d++) turned[position / SPAN * SPAN * size + d * SPAN + position % SPAN] = 0;
    }
}

static void attend_piece(const Learning *l, int layer, const Piece *p, int head, int thread) {
    const Model *m = l->model;
    const int group = m->heads / m->kv_heads, size = m->size, stride = l->stride;
    const int q = m->heads * size, kv = m->kv_heads * size;
    const long width = q + 2 * kv;
    float *keys = l->scratch + l->scratch_size * thread, *values = keys + l->longest * stride;
    gather(l, p, l->kept[layer].qkv_NO, q + head * size, keys, NULL);
    gather(l, p, l->kept[layer].qkv_NO, q + kv + head * size, NULL, values);
    Softmax states[6];
    const float *query[6];
    Softmax *state[6];
    int visible[6];
    for (long from = 0; from < (long)p->count * group; from += 6) {
        const int count = (long)p->count * group - from < 6 ? (int)((long)p->count * group - from) : 6;
        int last = 0;
        for (int i = 0; i < count; i++) {
            const long n = p->first + (from + i) / group;
            query[i] = l->kept[layer].qkv_NO + n * width + ((long)head * group + (from + i) % group) * size;
            state[i] = &states[i];
            states[i].peak = -INFINITY, states[i].total = 0;
            memset(states[i].context, 0, sizeof(float) * stride);
            last = p->position + (int)((from + i) / group);
        }
        for (int index = 0; index <= last / SPAN; index++) {
            for (int i = 0; i < count; i++) {
                const int seen = p->position + (int)((from + i) / group) + 1 - index * SPAN;
                visible[i] = seen < 0 ? 0 : seen < SPAN ? seen : SPAN;
            }
            const float *k = keys + (long)index * SPAN * size, *v = values + (long)index * SPAN * stride;
            if (count == 6 && visible[0])
                block_tile(query, visible, k, v, size, state, 6);
            else
                for (int i = 0; i < count; i++)
                    if (visible[i]) block_tile(query + i, visible + i, k, v, size, state + i, 1);
        }
        for (int i = 0; i < count; i++) {
            const long n = p->first + (from + i) / group, h = (long)head * group + (from + i) % group;
            float *to = l->kept[layer].context_NH + n * q + h * size;
            for (int d = 0; d < size; d++) to[d] = states[i].context[d] / states[i].total;
            l->kept[layer].peak_NQ[n * m->heads + h] = states[i].peak + logf(states[i].total);
        }
    }
}

/* From a layer's input to that of the next, or to all that its way back needs where `next` is NULL. */
static void forward_layer(Learning *l, int layer, float *next, int thread) {
    const Model *m = l->model;
    const Training *t = l->training;
    const Layer *w = &m->layer[layer];
    const Kept *k = &l->kept[layer];
    const long tokens = t->tokens, hidden = m->hidden, q = (long)m->heads * m->size, kv = (long)m->kv_heads * m->size;
    Step own = l->step; /* each thread's own: where the low ranks go changes from product to product */
    own.low_NR = k->low_NR[QKV];
    norm_and_prepare(&own, layer, QKV, k->x_NH, w->input_norm_H);
    adapted_product(&own, layer, QKV, k->qkv_NO, q + 2 * kv, 0);
    EACH_PIECE(first, after, tokens) {
        for (long n = first; n < after; n++) place_training(l, layer, n);
        memcpy(k->middle_NH + first * hidden, k->x_NH + first * hidden, sizeof(float) * hidden * (after - first));
    }
    barrier();
    for (long piece; (piece = take_piece()) < (long)t->pieces * m->kv_heads;)
        attend_piece(l, layer, &t->piece[piece / m->kv_heads], (int)(piece % m->kv_heads), thread);
    barrier();
    own.low_NR = k->low_NR[O];
    EACH_PIECE(first, after, tokens) prepare(&own, layer, O, k->context_NH, q, first, after);
    barrier();
    adapted_product(&own, layer, O, k->middle_NH, hidden, 1);
    own.low_NR = k->low_NR[GATE_UP];
    norm_and_prepare(&own, layer, GATE_UP, k->middle_NH, w->post_norm_H);
    adapted_product(&own, layer, GATE_UP, k->gate_up_NI, 2L * m->intermediate, 0);
    own.low_NR = k->low_NR[DOWN];
    EACH_PIECE(first, after, tokens) {
        for (long n = first; n < after; n++)
            gate(k->gate_up_NI + n * 2 * m->intermediate, m->intermediate, own.normed_NI + n * m->intermediate);
        prepare(&own, layer, DOWN, own.normed_NI, m->intermediate, first, after);
        if (next) memcpy(next + first * hidden, k->middle_NH + first * hidden, sizeof(float) * hidden * (after - first));
    }
    barrier();
    if (next) adapted_product(&own, layer, DOWN, next, hidden, 1);
}

static void forward(int thread, void *argument) {
    Learning *l = argument;
    const Model *m = l->model;
    const Training *t = l->training;
    const long tokens = t->tokens, hidden = m->hidden;
    if (t->rank) turn_factors(l);
    EACH_PIECE(first, after, tokens) {
        for (long n = first; n < after; n++)
            memcpy(l->kept[0].x_NH + n * hidden, m->embedding_VH + t->token_N[n] * hidden, sizeof(float) * hidden);
    }
    barrier();
    for (int layer = 0; layer < m->layers; layer++)
        forward_layer(l, layer, layer + 1 < m->layers ? l->kept[layer + 1].x_NH : l->last_NH, thread);
    EACH_PIECE(first, after, (long)t->ends) {
        for (long n = first; n < after; n++)
            norm_row(l->last_NH + t->end_M[n] * hidden, m->final_norm_H, m->hidden, m->norm_eps, t->hidden_MH + n * hidden);
    }
    barrier();
}

/* dx += the gradient of a norm's input. */
static void norm_back(const float *x, const float *weight, int size, float eps, const float *dy, float *dx) {
    Floats squares = zeros(), along = zeros();
    for (int i = 0; i < size; i += LANES) {
        Some in = lanes(size - i);
        Floats v = load_some(in, x + i);
        Floats g = times(load_some(in, dy + i), load_some(in, weight + i));
        squares = product_plus(v, v, squares);
        along = product_plus(v, g, along);
    }
    const float scale = 1.0f / sqrtf(sum_of(squares) / size + eps);
    const float back = sum_of(along) * scale * scale * scale / size;
    for (int i = 0; i < size; i += LANES) {
        Some in = lanes(size - i);
        Floats g = times(load_some(in, dy + i), load_some(in, weight + i));
        Floats d = product_plus(g, every(scale), load_some(in, dx + i));
        d = less_product(load_some(in, x + i), every(back), d);
        store_some(dx + i, in, d);
    }
}

/* dx += the gradient of a norm's input, for all rows. */
static void norm_rows_back(Learning *l, const float *x_NH, const float *weight_H, const float *dy_NH) {
    const Model *m = l->model;
    EACH_PIECE(first, after, (long)l->training->tokens) {
        for (long n = first * m->hidden; n < after * m->hidden; n += m->hidden)
            norm_back(x_NH + n, weight_H, m->hidden, m->norm_eps, dy_NH + n, l->dx_NH + n);
    }
    barrier();
}

/* The gradient of gate and up from that of silu(gate) * up: silu'(g) = s + silu(g) (1 - s) with s = sigmoid(g). */
static void gate_back(const float *row, int size, const float *d_inner, float *to) {
    for (int i = 0; i < size; i += LANES) {
        Some in = lanes(size - i);
        Floats g = load_some(in, row + i), u = load_some(in, row + size + i);
        Floats d = load_some(in, d_inner + i), one = every(1.0f);
        Floats s = over(one, plus(one, exp_of(minus(zeros(), g))));
        Floats silu = times(g, s);
        Floats slope = product_plus(silu, minus(one, s), s);
        store_some(to + i, in, times(times(slope, u), d));
        store_some(to + size + i, in, times(silu, d));
    }
}

/* Rows of dB for a block of outputs: dy^T u, part by part, zero outside of a part's own block. */
static void factor_back(const Learning *l, int layer, int group, int at, const float *dy_NO) {
    const Training *t = l->training;
    const int outputs = t->backward[layer * GROUPS + group].inputs, rank = t->rank * PARTS[group];
    const int until = at + BLOCK < outputs ? at + BLOCK : outputs, low = l->step.low_stride;
    float *db_OR = t->factors[layer * GROUPS + group].db_OR, turned[12 * BLOCK];
    for (int part = 0; part < PARTS[group]; part++) {
        const int end = part_end(l->model, group, part) < until ? part_end(l->model, group, part) : until;
        const int begin = most(part ? part_end(l->model, group, part - 1) : 0, at);
        for (int r = 0; r < t->rank; r += 12) {
            const int some = t->rank - r < 12 ? t->rank - r : 12, where = part * t->rank + r;
            if (begin < end)
                plain_product((View){l->kept[layer].low_NR[group] + where, 1, low}, dy_NO + begin, outputs, t->tokens, turned,
                              BLOCK, end - begin, some, 0);
            for (int o = at; o < until; o++)
                for (int i = 0; i < some; i++)
                    db_OR[(long)o * rank + where + i] = o >= begin && o < end ? turned[i * BLOCK + o - begin] * t->scale : 0;
        }
    }
}

/* From the gradient of a product's output to that of its input, and of the adapter's factors. */
static void product_back(Learning *l, int layer, int group, const float *x_NI, const float *dy_NO, float *dx_NI) {
    const Training *t = l->training;
    const int number = layer * GROUPS + group, rank = t->rank * PARTS[group], low = l->step.low_stride;
    const Product *p = &t->backward[number]; /* its inputs are the product's outputs */
    const Factors *f = &t->factors[number];
    const long tokens = t->tokens;
    const Rows *rows = &l->step.rows;
    EACH_PIECE(first, after, tokens) {
        for (long n = first; n < after; n++) quantise_row(dy_NO + n * p->inputs, NULL, p->inputs, rows, n);
        for (int part = 0; f->a_RI && part < PARTS[group]; part++) {
            const int begin = part ? part_end(l->model, group, part - 1) : 0, end = part_end(l->model, group, part);
            plain_product((View){dy_NO + first * p->inputs + begin, p->inputs, 1},
                          f->b_OR + (long)begin * rank + part * t->rank, rank, end - begin,
                          l->low_NR + first * low + part * t->rank, low, t->rank, after - first, 0);
        }
        for (long n = first; f->a_RI && n < after; n++)
            for (int r = 0; r < rank; r++) l->low_NR[n * low + r] *= t->scale;
    }
    barrier();
    const long ins = (p->outputs + BLOCK - 1) / BLOCK, outs = (p->inputs + BLOCK - 1) / BLOCK;
    const long products = product_pieces(p, tokens);
    for (long piece; (piece = take_piece()) < products + (f->a_RI ? ins + outs : 0);) {
        if (piece < products) {
            product_piece(p, rows, tokens, piece, dx_NI, p->outputs, 0);
        } else if (piece < products + ins) {
            const long at = (piece - products) * BLOCK;
            plain_product((View){l->low_NR, 1, low}, x_NI + at, p->outputs, (int)tokens, f->da_RI + at, p->outputs,
                          p->outputs - at < BLOCK ? p->outputs - (int)at : BLOCK, rank, 0);
        } else {
            factor_back(l, layer, group, (int)(piece - products - ins) * BLOCK, dy_NO);
        }
    }
    barrier();
    if (!f->a_RI) return;
    for (long block; (block = take_piece()) < ins;) {
        const long at = block * BLOCK;
        plain_product((View){l->low_NR, low, 1}, f->a_RI + at, p->outputs, rank, dx_NI + at, p->outputs,
                      p->outputs - at < BLOCK ? p->outputs - (int)at : BLOCK, tokens, 1);
    }
    barrier();
}

/* Gradients of a piece's queries, and of the keys and values that it sees, added to this thread's own sums. */
static void attend_back(Learning *l, int layer, const Piece *p, int head, const float *d_context, float *d_query,
                        float *d_keys, int thread) {
    const Model *m = l->model;
    const int group = m->heads / m->kv_heads, size = m->size, stride = l->stride;
    const long q = (long)m->heads * size, kv = (long)m->kv_heads * size, width = q + 2 * kv;
    const int queries = p->count * group, sees = p->position + p->count;
    const Kept *k = &l->kept[layer];
    float *keys = l->scratch + l->scratch_size * thread, *turned = keys + l->longest * stride;
    float *values = turned + l->longest * stride;
    gather(l, p, k->qkv_NO, (int)q + head * size, turned, keys);
    gather(l, p, k->qkv_NO, (int)(q + kv) + head * size, values, NULL);
    float query[queries * size], d_out[queries * size], dq[queries * size], weight[queries][SPAN], slope[queries][SPAN];
    float along[queries], peak[queries], d_block[SPAN * size];
    memset(dq, 0, sizeof dq);
    for (int i = 0; i < queries; i++) {
        const long n = p->first + i / group, h = (long)head * group + i % group;
        memcpy(query + i * size, k->qkv_NO + n * width + h * size, sizeof(float) * size);
        memcpy(d_out + i * size, d_context + n * q + h * size, sizeof(float) * size);
        peak[i] = k->peak_NQ[n * m->heads + h];
        along[i] = 0;
        for (int d = 0; d < size; d++) along[i] += d_out[i * size + d] * k->context_NH[n * q + h * size + d];
    }
    int segment = p->segment;
    long inside = 0;
    for (int at = 0; at < sees; at += SPAN) {
        const int positions = sees - at < SPAN ? sees - at : SPAN;
        int begin = (at - p->position) * group; /* the first query that sees anything of this block */
        begin = begin > 0 ? begin : 0;
        const int rows = queries - begin;
        plain_product((View){query + begin * size, size, 1}, turned + (long)at * size, SPAN, size, weight[begin], SPAN, SPAN,
                      rows, 0);
        plain_product((View){d_out + begin * size, size, 1}, values + (long)at * size, SPAN, size, slope[begin], SPAN, SPAN,
                      rows, 0);
        for (int i = begin; i < queries; i++) {
            const int seen = p->position + i / group + 1 - at;
            for (int half = 0; half < SPAN; half += LANES) {
                Floats w = exp_of(minus(load(weight[i] + half), every(peak[i])));
                w = first_only(lanes(seen - half), w);
                Floats s = minus(load(slope[i] + half), every(along[i]));
                store(weight[i] + half, w);
                store(slope[i] + half, times(w, s));
            }
        }
        plain_product((View){slope[begin], SPAN, 1}, keys + (long)at * stride, stride, positions, dq + begin * size, size,
                      size, rows, 1);
        for (int what = 0; what < 2; what++) { /* keys, then values */
            plain_product((View){what ? weight[begin] : slope[begin], 1, SPAN}, (what ? d_out : query) + begin * size, size,
                          rows, d_block, size, size, positions, 0);
            int where = segment;
            long in = inside;
            for (int i = 0; i < positions; i++) {
                while (in == l->training->segment[where].count) where++, in = 0;
                float *to = d_keys + (l->training->segment[where].first + in++) * 2 * kv + what * kv + head * size;
                for (int d = 0; d < size; d++) to[d] += d_block[i * size + d];
            }
            if (what) segment = where, inside = in;
        }
    }
    for (int i = 0; i < queries; i++)
        memcpy(d_query + (p->first + i / group) * width + ((long)head * group + i % group) * size, dq + i * size,
               sizeof(float) * size);
}

/* From the gradients of turned queries and keys to those of the product's outputs. */
static void place_back(Learning *l, int layer, long n, float *row) {
    const Model *m = l->model;
    const Layer *w = &m->layer[layer];
    const long q = (long)m->heads * m->size, kv = (long)m->kv_heads * m->size, half = m->size / 2;
    const float *cos = m->cos_TD + l->training->position_N[n] * half, *sin = m->sin_TD + l->training->position_N[n] * half;
    for (long i = 0; i < 2 * kv; i++) {
        float sum = 0;
        for (int thread = 0; thread < pool.threads; thread++) sum += l->dkv[(thread * (long)l->training->tokens + n) * 2 * kv + i];
        row[q + i] = sum;
    }
    for (int h = 0; h < m->heads + m->kv_heads; h++) {
        const float scale = h < m->heads ? 1.0f / sqrtf((float)m->size) : 1.0f, *norm = h < m->heads ? w->query_norm_D : w->key_norm_D;
        float *d = row + (long)h * m->size, back[MOST_HEAD];
        for (long i = 0; i < half; i++) {
            const float left = d[i], right = d[i + half];
            back[i] = (left * cos[i] + right * sin[i]) * scale;
            back[i + half] = (right * cos[i] - left * sin[i]) * scale;
        }
        memset(d, 0, sizeof(float) * m->size);
        if (norm)
            norm_back(l->kept[layer].raw_NO + n * (q + kv) + (long)h * m->size, norm, m->size, m->norm_eps, back, d);
        else
            memcpy(d, back, sizeof(float) * m->size);
    }
}

static void attention_back(Learning *l, int layer, const float *d_context, float *d_qkv, int thread) {
    const Model *m = l->model;
    const Training *t = l->training;
    const long kv = (long)m->kv_heads * m->size;
    float *own = l->dkv + thread * (long)t->tokens * 2 * kv;
    memset(own, 0, sizeof(float) * t->tokens * 2 * kv);
    /* Pieces are dealt out by their size, the same way every time: sums must not depend on who was faster. */
    double load[MOST_THREADS] = {0};
    for (int piece = 0; piece < t->pieces * m->kv_heads; piece++) {
        const Piece *p = &t->piece[piece / m->kv_heads];
        int least = 0;
        for (int other = 1; other < pool.threads; other++) least = load[other] < load[least] ? other : least;
        load[least] += (double)p->count * (p->position + p->count);
        if (least == thread) attend_back(l, layer, p, piece % m->kv_heads, d_context, d_qkv, own, thread);
    }
    barrier();
    EACH_PIECE(first, after, (long)t->tokens) {
        for (long n = first; n < after; n++) place_back(l, layer, n, d_qkv + n * (m->heads + 2 * m->kv_heads) * m->size);
    }
    barrier();
}

static void backward(int thread, void *argument) {
    Learning *l = argument;
    const Model *m = l->model;
    const Training *t = l->training;
    const long tokens = t->tokens, hidden = m->hidden, inner = m->intermediate;
    float *normed = l->step.normed_NI, *dx = l->dx_NH, *d_in = l->inner_NI, *d_out = l->wide_NO;
    EACH_PIECE(first, after, tokens) memset(dx + first * hidden, 0, sizeof(float) * hidden * (after - first));
    barrier();
    for (int i = 0; thread == 0 && i < t->ends; i++) { /* one thread: two ends may be one token */
        const long n = t->end_M[i];
        norm_back(l->last_NH + n * hidden, m->final_norm_H, m->hidden, m->norm_eps, t->hidden_MH + i * hidden, dx + n * hidden);
    }
    barrier();
    for (int layer = m->layers - 1; layer >= 0; layer--) {
        const Layer *w = &m->layer[layer];
        const Kept *k = &l->kept[layer];
        if (t->recompute) forward_layer(l, layer, NULL, thread);
        EACH_PIECE(first, after, tokens) {
            for (long n = first; n < after; n++) gate(k->gate_up_NI + n * 2 * inner, m->intermediate, normed + n * inner);
        }
        barrier();
        product_back(l, layer, DOWN, normed, dx, d_in);
        EACH_PIECE(first, after, tokens) {
            for (long n = first; n < after; n++) {
                gate_back(k->gate_up_NI + n * 2 * inner, m->intermediate, d_in + n * inner, d_out + n * 2 * inner);
                norm_row(k->middle_NH + n * hidden, w->post_norm_H, m->hidden, m->norm_eps, normed + n * hidden);
            }
        }
        barrier();
        product_back(l, layer, GATE_UP, normed, d_out, d_in);
        norm_rows_back(l, k->middle_NH, w->post_norm_H, d_in);
        product_back(l, layer, O, k->context_NH, dx, d_in);
        attention_back(l, layer, d_in, d_out, thread);
        EACH_PIECE(first, after, tokens) {
            for (long n = first; n < after; n++)
                norm_row(k->x_NH + n * hidden, w->input_norm_H, m->hidden, m->norm_eps, normed + n * hidden);
        }
        barrier();
        product_back(l, layer, QKV, normed, d_out, d_in);
        norm_rows_back(l, k->x_NH, w->input_norm_H, d_in);
    }
}

#endif
