/* Vectors of 16 lanes for processors that multiply bfloat16 (AVX-512 BF16): what the files after this one share.

   An instruction adds the products of two pairs of elements to each of 16 float sums: a `word` is such a pair. */

#if defined(BFLOAT16) && defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define HAVE_PAIRS 1
#define LANES 16
#define LOG2E 1.44269504f

typedef __m512 floats;
typedef __m512i words;

static inline floats wide_of(const uint16_t *from) { /* 16 elements as floats */
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)from)), 16));
}

static inline void narrow_to(uint16_t *to, floats from) {
    _mm256_storeu_si256((void *)to, (__m256i)_mm512_cvtneps_pbh(from));
}

/* Words (low, high) of 16 lanes each. */
static inline words paired(floats low, floats high) {
    const words order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, (words)_mm512_cvtne2ps_pbh(high, low));
}

/* The same of two rows of 16 elements in memory. */
static inline words paired_rows(const uint16_t *low, const uint16_t *high) {
    words first = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)low));
    words second = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)high));
    return _mm512_or_si512(first, _mm512_slli_epi32(second, 16));
}

static inline words word(const uint16_t *pair) { /* one word for all lanes */
    int32_t bits;
    memcpy(&bits, pair, 4);
    return _mm512_set1_epi32(bits);
}

#define DOT(SUM, LEFT, RIGHT) SUM = _mm512_dpbf16_ps(SUM, (__m512bh)(LEFT), (__m512bh)(RIGHT))

/* A square of 16 x 16 words on its side. */
static inline void turn(words r[16]) {
    words t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
        r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
    }
}

/* 2^x: 2^n 2^f with f within a half; the series of 2^f to its sixth power is right to 1.2e-7. */
static inline floats power_of_two(floats x) {
    floats whole = _mm512_roundscale_ps(x, 8), rest = _mm512_sub_ps(x, whole);
    floats sum = _mm512_set1_ps(1.5403530e-4f);
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(1.3333558e-3f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(9.6181291e-3f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(5.5504109e-2f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(2.4022651e-1f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(6.9314718e-1f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(sum, whole);
}
#endif
