/* What Python calls (see `bindings.py`, whose structures must agree): a step, a product, a training step's two passes.
 *
 * In: structures that point to arrays. Out: arrays. Each call returns when its work is done.
 */
#include "train.h"

void start_threads(int threads) {
    ask_for_tiles();
    start_pool(threads);
}

/* How weights lie: how many outputs together in eight bits and in fp32, how a weight of zero is written, and bytes of an
 * input. */
int whole_panel(void) { return PANEL; }
int fp32_panel(void) { return PLAIN_PANEL; }
int zero_weight(void) { return ZERO_WEIGHT; }
int input_bytes(void) { return sizeof(Whole); }

typedef struct {
    const Product *product;
    const float *x_NI;
    float *y_NO;
    long rows;
    Rows whole;
} Single;

static void single(int thread, void *argument) {
    Single *s = argument;
    const Product *p = s->product;
    (void)thread;
    EACH_PIECE(first, after, s->rows) {
        for (long n = first; n < after; n++) take_row(p, s->x_NI + n * p->inputs, &s->whole, n);
    }
    barrier();
    const long pieces = product_pieces(p, s->rows);
    for (long piece; (piece = take_piece()) < pieces;)
        product_piece(p, &s->whole, s->rows, piece, s->y_NO, p->outputs, 0);
    barrier();
}

/* One product by itself, for a trainer; `workspace` has rows * (padded inputs * `input_bytes` + 8) bytes. */
void multiply(const Product *product, const float *x_NI, long rows, float *y_NO, Whole *workspace) {
    Whole *ends = workspace + rows * padded(product->inputs);
    Single s = {product, x_NI, y_NO, rows, {x_NI, product->inputs, workspace, (float *)ends, (int32_t *)ends + rows}};
    run_together(single, &s);
}

/* How many floats of workspace a step needs. */
size_t workspace_size(const Model *model, const Batch *batch) {
    Step s;
    return lay_out(model, batch, &s) + 64;
}

void decode_step(const Model *model, const Batch *batch) {
    Step s = {.model = model, .batch = batch};
    lay_out(model, batch, &s);
    run_together(step, &s);
}

size_t training_size(const Model *model, const Training *training) {
    Learning l = {.model = model, .training = training};
    return lay_out_training(&l) + 64;
}

/* Hidden states of the ends; what the way back needs stays in the workspace. */
void train_forward(const Model *model, const Training *training) {
    Learning l = {.model = model, .training = training};
    lay_out_training(&l);
    run_together(forward, &l);
}

/* Gradients of the adapter from those of the hidden states; overwrites them and parts of the workspace. */
void train_backward(const Model *model, const Training *training) {
    Learning l = {.model = model, .training = training};
    lay_out_training(&l);
    run_together(backward, &l);
}
