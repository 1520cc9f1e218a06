/* What a product asks of a processor's matrix unit (AMX), where there is one and the system lends it.
 *
 * In: eight-bit inputs and weights, as the registers take them. Out: the same exact sums, for up to `TALL` rows of inputs
 * and `BROAD` outputs at once. It does not know scales or products. Where there is no such unit `tiles_lent` is 0.
 */
#ifndef LLMAGENTOS_TILES_H
#define LLMAGENTOS_TILES_H

#include "registers.h"

#define TALL 32

#if LANES == 16 && defined(__AMX_TILE__) && defined(__AMX_INT8__) && defined(__linux__)

#include <sys/syscall.h>
#include <unistd.h>

#define HAS_TILES
#define BROAD 32
#define SIDE 16 /* rows of a tile */
#define DEEP 64 /* inputs of a tile, one byte each */

static int tiles_lent;

/* Linux lends the unit to a process that asks (Documentation/arch/x86/xstate.rst). */
static void ask_for_tiles(void) {
    const int ask = 0x1023, tile_data = 18;
    tiles_lent = syscall(SYS_arch_prctl, ask, tile_data) == 0;
}

/* Tiles 0 to 3 hold sums, 4 and 5 inputs of the first and the last rows, 6 and 7 weights of the first and the last outputs. */
static void shape_tiles(int rows) {
    struct {
        uint8_t palette, begin, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shape __attribute__((aligned(64))) = {.palette = 1};
    const int first = rows < SIDE ? rows : SIDE, heights[8] = {first, first, rows - first, rows - first, first, rows - first, SIDE, SIDE};
    for (int i = 0; i < 8; i++) shape.bytes[i] = heights[i] ? DEEP : 0, shape.rows[i] = (uint8_t)heights[i];
    _tile_loadconfig(&shape);
}

static void leave_tiles(void) { _tile_release(); }

/* sums[n][o] = sum of x[n][k] * w[k / 4][o][k % 4]; `second` says whether there are more than `SIDE` rows, as the tiles were
 * shaped. */
INLINED void tile_sums(const Whole *x, long depth, const uint8_t *w, int32_t sums[TALL][BROAD], const int second) {
    _tile_zero(0);
    _tile_zero(1);
    if (second) {
        _tile_zero(2);
        _tile_zero(3);
    }
    for (long k = 0; k < depth; k += DEEP) {
        _tile_loadd(6, w + k * PANEL, 4 * PANEL);
        _tile_loadd(7, w + k * PANEL + 4 * SIDE, 4 * PANEL);
        _tile_loadd(4, x + k, depth);
        _tile_dpbsud(0, 4, 6);
        _tile_dpbsud(1, 4, 7);
        if (second) {
            _tile_loadd(5, x + SIDE * depth + k, depth);
            _tile_dpbsud(2, 5, 6);
            _tile_dpbsud(3, 5, 7);
        }
    }
    _tile_stored(0, sums[0], sizeof sums[0]);
    _tile_stored(1, sums[0] + SIDE, sizeof sums[0]);
    if (second) {
        _tile_stored(2, sums[SIDE], sizeof sums[0]);
        _tile_stored(3, sums[SIDE] + SIDE, sizeof sums[0]);
    }
}

#else

enum { tiles_lent = 0 };
static void ask_for_tiles(void) {}

#endif
#endif
