/* SwiGLU, forward and backward, for processors with AVX-512 BF16: see kernels.c for what it is. */

#ifdef HAVE_PAIRS
/* 1 / (1 + e^-x). The power is held where both it and its inverse are numbers; what is not a number stays so, since
   min and max give their second operand then. The inverse is an estimate and one step of Newton's: right to 1e-7. */
static inline floats opened(floats x) {
    floats power = _mm512_mul_ps(x, _mm512_set1_ps(-LOG2E));
    power = _mm512_max_ps(_mm512_set1_ps(-100.0f), _mm512_min_ps(_mm512_set1_ps(100.0f), power));
    floats under = _mm512_add_ps(power_of_two(power), _mm512_set1_ps(1.0f)), guess = _mm512_rcp14_ps(under);
    return _mm512_mul_ps(guess, _mm512_fnmadd_ps(under, guess, _mm512_set1_ps(2.0f)));
}

/* The first of 16 elements as floats, and back. */
static inline floats some_of(const uint16_t *from, __mmask16 some) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(some, from)), 16));
}

static inline void some_to(uint16_t *to, floats from, __mmask16 some) {
    _mm256_mask_storeu_epi16(to, some, (__m256i)_mm512_cvtneps_pbh(from));
}

static inline __mmask16 left_of(int64_t count) { return count >= LANES ? 0xffff : (__mmask16)((1u << count) - 1u); }

void swiglu_forward(const uint16_t *both, uint16_t *out, int64_t rows, int64_t hidden) {
    for (int64_t row = 0; row < rows; row++) {
        const uint16_t *gate = both + row * 2 * hidden, *up = gate + hidden;
        for (int64_t i = 0; i < hidden; i += LANES) {
            __mmask16 some = left_of(hidden - i);
            floats g = some_of(gate + i, some);
            floats through = _mm512_mul_ps(_mm512_mul_ps(g, opened(g)), some_of(up + i, some));
            some_to(out + row * hidden + i, through, some);
        }
    }
}

/* Replaces gate and up by their gradients. */
void swiglu_backward(uint16_t *both, const uint16_t *out_gradient, int64_t rows, int64_t hidden) {
    const floats one = _mm512_set1_ps(1.0f);
    for (int64_t row = 0; row < rows; row++) {
        uint16_t *gate = both + row * 2 * hidden, *up = gate + hidden;
        for (int64_t i = 0; i < hidden; i += LANES) {
            __mmask16 some = left_of(hidden - i);
            floats g = some_of(gate + i, some), open = opened(g);
            floats through = _mm512_mul_ps(some_of(out_gradient + row * hidden + i, some), open);
            floats slope = _mm512_fmadd_ps(g, _mm512_sub_ps(one, open), one);
            some_to(gate + i, _mm512_mul_ps(_mm512_mul_ps(through, some_of(up + i, some)), slope), some);
            some_to(up + i, _mm512_mul_ps(through, g), some);
        }
    }
}
#endif
