/* What the kernels ask of a processor: as many numbers at once as a register holds.
 *
 * In and out: registers of `LANES` floats or whole numbers. AVX-512 with VNNI has 16 lanes and 32 registers, AVX2 has 8
 * and 16; everything above this file is written for either. It does not know what is computed.
 *
 * A `Some` says how many of a register's first lanes are meant, where a row ends within it.
 */
#ifndef LLMAGENTOS_REGISTERS_H
#define LLMAGENTOS_REGISTERS_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define INLINED static inline __attribute__((always_inline))

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)

#define LANES 16
#define PANEL 64        /* outputs whose eight-bit weights lie together */
#define ZERO_WEIGHT 128 /* how an eight-bit weight of 0 is written: see `dot4` */
typedef __m512 Floats;
typedef __m512i Ints;
typedef __mmask16 Some;

INLINED Some lanes(int left) { return left >= 16 ? 0xffff : left > 0 ? (__mmask16)((1u << left) - 1) : 0; }

INLINED Floats zeros(void) { return _mm512_setzero_ps(); }
INLINED Floats every(float x) { return _mm512_set1_ps(x); }
INLINED Floats load(const float *from) { return _mm512_loadu_ps(from); }
INLINED Floats load_some(Some in, const float *from) { return _mm512_maskz_loadu_ps(in, from); }
INLINED Floats load_or(Floats other, Some in, const float *from) { return _mm512_mask_loadu_ps(other, in, from); }
INLINED void store(float *to, Floats x) { _mm512_storeu_ps(to, x); }
INLINED void store_some(float *to, Some in, Floats x) { _mm512_mask_storeu_ps(to, in, x); }
/* Store where the lowest `LANES` bits of `bits` are set. */
INLINED void store_where(float *to, Some in, uint32_t bits, Floats x) { _mm512_mask_storeu_ps(to, (__mmask16)bits & in, x); }
INLINED Floats load_halves(const uint16_t *from) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from)); }
INLINED Floats load_some_halves(Some in, const uint16_t *from) { return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(in, from)); }

INLINED Floats plus(Floats a, Floats b) { return _mm512_add_ps(a, b); }
INLINED Floats minus(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
INLINED Floats times(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
INLINED Floats over(Floats a, Floats b) { return _mm512_div_ps(a, b); }
INLINED Floats larger(Floats a, Floats b) { return _mm512_max_ps(a, b); }
INLINED Floats product_plus(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
INLINED Floats less_product(Floats a, Floats b, Floats c) { return _mm512_fnmadd_ps(a, b, c); } /* c - a b */
INLINED Floats first_or(Some in, Floats x, Floats other) { return _mm512_mask_mov_ps(other, in, x); }
INLINED Floats first_only(Some in, Floats x) { return _mm512_maskz_mov_ps(in, x); }
/* x, but 0 where a equals b. */
INLINED Floats unless_equal(Floats a, Floats b, Floats x) { return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ), x); }
INLINED float sum_of(Floats x) { return _mm512_reduce_add_ps(x); }
INLINED float largest_of(Floats x) { return _mm512_reduce_max_ps(x); }

INLINED Floats least_exponent(Floats x) { return larger(x, every(-87.0f)); }
INLINED Floats nearest_whole(Floats x) { return _mm512_roundscale_ps(x, 0); }
INLINED Floats times_power_of_two(Floats x, Floats whole) { return _mm512_scalef_ps(x, whole); }

INLINED Ints int_zeros(void) { return _mm512_setzero_si512(); }
INLINED Ints int_every(int32_t x) { return _mm512_set1_epi32(x); }
INLINED Ints load_ints(const int32_t *from) { return _mm512_loadu_si512(from); }
INLINED Ints int_plus(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
INLINED Ints int_minus(Ints a, Ints b) { return _mm512_sub_epi32(a, b); }
INLINED Ints int_larger(Ints a, Ints b) { return _mm512_max_epi32(a, b); }
INLINED int32_t int_sum_of(Ints x) { return _mm512_reduce_add_epi32(x); }
INLINED int32_t int_largest_of(Ints x) { return _mm512_reduce_max_epi32(x); }
INLINED Ints size_bits(Floats x) { return _mm512_castps_si512(_mm512_abs_ps(x)); }
INLINED Ints to_ints(Floats x) { return _mm512_cvtps_epi32(x); }
INLINED Floats to_floats(Ints x) { return _mm512_cvtepi32_ps(x); }

typedef int8_t Whole;    /* an eight-bit input, as `dot4` takes it */
typedef __m512i Four;    /* four inputs for every lane */
typedef __m512i Weights; /* four bytes for each lane */
typedef __m512i Sums;
INLINED void store_whole(Whole *to, Ints x) { _mm_storeu_si128((__m128i *)to, _mm512_cvtsepi32_epi8(x)); }
INLINED Four load_four(const Whole *from) {
    int32_t bytes;
    memcpy(&bytes, from, sizeof bytes);
    return _mm512_set1_epi32(bytes);
}
INLINED Weights load_weights(const uint8_t *from) { return _mm512_loadu_si512(from); }
INLINED Sums no_sums(void) { return _mm512_setzero_si512(); }
INLINED Ints summed(Sums x) { return x; }

/* sum += weight * four, byte by byte in fours. vpdpbusd multiplies unsigned by signed bytes: here the weight is the unsigned
 * one, with 128 for zero, so that the correction 128 * sum(x) is one number for each row of inputs. Written out, because
 * compilers that see the intrinsic copy the 24 sums to memory and back at every step, which halves the speed. */
INLINED void dot4(Sums *sum, Weights weight, Four four) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sum) : "v"(weight), "v"(four));
}

#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#define LANES 8
#define PANEL 8
#define ZERO_WEIGHT 0
typedef __m256 Floats;
typedef __m256i Ints;
typedef int Some;

INLINED Some lanes(int left) { return left; }

/* All bits of the first lanes. */
INLINED __m256i mask_of(Some in) { return _mm256_cmpgt_epi32(_mm256_set1_epi32(in), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); }

INLINED Floats zeros(void) { return _mm256_setzero_ps(); }
INLINED Floats every(float x) { return _mm256_set1_ps(x); }
INLINED Floats load(const float *from) { return _mm256_loadu_ps(from); }
INLINED Floats load_some(Some in, const float *from) {
    return in >= LANES ? _mm256_loadu_ps(from) : _mm256_maskload_ps(from, mask_of(in));
}
INLINED Floats load_or(Floats other, Some in, const float *from) {
    if (in >= LANES) return _mm256_loadu_ps(from);
    const __m256i mask = mask_of(in);
    return _mm256_blendv_ps(other, _mm256_maskload_ps(from, mask), _mm256_castsi256_ps(mask));
}
INLINED void store(float *to, Floats x) { _mm256_storeu_ps(to, x); }
INLINED void store_some(float *to, Some in, Floats x) { /* a masked store takes AMD's processors twenty times as long */
    if (in >= LANES)
        _mm256_storeu_ps(to, x);
    else
        _mm256_maskstore_ps(to, mask_of(in), x);
}
/* Store where the lowest `LANES` bits of `bits` are set. */
INLINED void store_where(float *to, Some in, uint32_t bits, Floats x) {
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i set = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)bits), bit), bit);
    store_some(to, in, _mm256_blendv_ps(load_some(in, to), x, _mm256_castsi256_ps(set)));
}
INLINED Floats load_halves(const uint16_t *from) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from)); }
INLINED Floats load_some_halves(Some in, const uint16_t *from) {
    if (in >= LANES) return load_halves(from);
    uint16_t some[LANES] = {0};
    for (int i = 0; i < in; i++) some[i] = from[i];
    return load_halves(some);
}

INLINED Floats plus(Floats a, Floats b) { return _mm256_add_ps(a, b); }
INLINED Floats minus(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
INLINED Floats times(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
INLINED Floats over(Floats a, Floats b) { return _mm256_div_ps(a, b); }
INLINED Floats larger(Floats a, Floats b) { return _mm256_max_ps(a, b); }
INLINED Floats product_plus(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
INLINED Floats less_product(Floats a, Floats b, Floats c) { return _mm256_fnmadd_ps(a, b, c); } /* c - a b */
INLINED Floats first_or(Some in, Floats x, Floats other) {
    return _mm256_blendv_ps(other, x, _mm256_castsi256_ps(mask_of(in)));
}
INLINED Floats first_only(Some in, Floats x) { return _mm256_and_ps(x, _mm256_castsi256_ps(mask_of(in))); }
/* x, but 0 where a equals b. */
INLINED Floats unless_equal(Floats a, Floats b, Floats x) { return _mm256_and_ps(x, _mm256_cmp_ps(a, b, _CMP_NEQ_UQ)); }
INLINED float sum_of(Floats x) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
INLINED float largest_of(Floats x) {
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

/* Bounded above too: 2^n is made from bits here, and has none for n over 127. */
INLINED Floats least_exponent(Floats x) { return _mm256_min_ps(larger(x, every(-87.0f)), every(88.0f)); }
INLINED Floats nearest_whole(Floats x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINED Floats times_power_of_two(Floats x, Floats whole) {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127));
    return times(x, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}

INLINED Ints int_zeros(void) { return _mm256_setzero_si256(); }
INLINED Ints int_every(int32_t x) { return _mm256_set1_epi32(x); }
INLINED Ints int_plus(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
INLINED Ints int_minus(Ints a, Ints b) { return _mm256_sub_epi32(a, b); }
INLINED Ints int_larger(Ints a, Ints b) { return _mm256_max_epi32(a, b); }
INLINED int32_t int_sum_of(Ints x) {
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}
INLINED int32_t int_largest_of(Ints x) {
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}
INLINED Ints size_bits(Floats x) { return _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff)); }
INLINED Ints to_ints(Floats x) { return _mm256_cvtps_epi32(x); }
INLINED Floats to_floats(Ints x) { return _mm256_cvtepi32_ps(x); }

typedef int16_t Whole; /* an eight-bit input, as `dot4` takes it */
typedef __m256i Four;
/* Four weights in sixteen bits for each lane: those of the first lanes and of the others; and the sums of either, two to a
 * lane. */
typedef struct {
    __m256i left, right;
} Weights, Sums;
INLINED void store_whole(Whole *to, Ints x) {
    _mm_storeu_si128((__m128i *)to, _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1)));
}
INLINED Four load_four(const Whole *from) {
    int64_t four;
    memcpy(&four, from, sizeof four);
    return _mm256_set1_epi64x(four);
}
INLINED Weights load_weights(const uint8_t *from) {
    return (Weights){_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)from)),
                     _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(from + 16)))};
}
INLINED Sums no_sums(void) { return (Sums){_mm256_setzero_si256(), _mm256_setzero_si256()}; }
INLINED Ints summed(Sums x) { return _mm256_permute4x64_epi64(_mm256_hadd_epi32(x.left, x.right), 0xd8); }

/* sum += weight * four, product by product in fours. By sixteen bits, because vpmaddubsw takes no two signed bytes, and giving
 * the weight's sign to the input costs more than the wider weights, which all rows of a tile share. Written out, because
 * compilers that see the intrinsics spread them so far that the sums no longer fit into the registers. */
INLINED void dot4(Sums *sum, Weights weight, Four four) {
    __m256i product;
    __asm__("vpmaddwd %[four], %[weight], %[product]\n\tvpaddd %[product], %[sum], %[sum]"
            : [sum] "+x"(sum->left), [product] "=&x"(product)
            : [weight] "x"(weight.left), [four] "x"(four));
    __asm__("vpmaddwd %[four], %[weight], %[product]\n\tvpaddd %[product], %[sum], %[sum]"
            : [sum] "+x"(sum->right), [product] "=&x"(product)
            : [weight] "x"(weight.right), [four] "x"(four));
}

#else
#error "the kernels need AVX-512 with VNNI, or AVX2 with FMA and F16C"
#endif

/* sum += left * right, written out for the reason that `dot4` of AVX-512 is. */
INLINED void fma1(Floats *sum, Floats left, Floats right) {
    __asm__("vfmadd231ps %2, %1, %0" : "+v"(*sum) : "v"(left), "v"(right));
}

/* e^x: 2^n * 2^f with a polynomial for f in [-0.5, 0.5] (Cephes' expf), about one unit in the last place. */
INLINED Floats exp_of(Floats x) {
    x = least_exponent(x);
    Floats n = nearest_whole(times(x, every(1.44269504f)));
    Floats f = less_product(n, every(0.693359375f), x);
    f = less_product(n, every(-2.12194440e-4f), f);
    Floats y = every(1.9875691500e-4f);
    y = product_plus(y, f, every(1.3981999507e-3f));
    y = product_plus(y, f, every(8.3334519073e-3f));
    y = product_plus(y, f, every(4.1665795894e-2f));
    y = product_plus(y, f, every(1.6666665459e-1f));
    y = product_plus(y, f, every(5.0000001201e-1f));
    y = product_plus(times(f, f), y, plus(f, every(1.0f)));
    return times_power_of_two(y, n);
}

#endif
