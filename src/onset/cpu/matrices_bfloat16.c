/* Matrix products of bfloat16 for training, for processors that multiply in it (AVX-512 BF16).

   Every product is sums over pairs of terms: one side is read as words of two elements, one word for all lanes; the
   other has a word a lane, in panels of 16 lanes that lie one after another. Weights are laid out as panels once a
   step, both ways. Sums are float; gradients of weights are added to float sums without being rounded. */

#ifdef HAVE_PAIRS
#define PANEL 16 /* lanes of a panel */
#define TALL 8   /* rows of a tile: with two panels, 16 sums */
#define CHUNK 512 /* rows whose pairs are laid out together, for gradients of weights */
#define NEAR (1 << 18) /* bytes of one side that stay in the second cache while the other goes by */

/* sums (m x 16 v lanes) of `pairs` words: row i's word p at a + i * down + p * along elements; panels `panel` apart */
#define TILE_OF(NAME, M, V)                                                                                          \
    static inline __attribute__((always_inline)) void NAME(int64_t pairs, const uint16_t *a, int64_t down,            \
                                                           int64_t along, const words *b, int64_t panel,              \
                                                           floats sum[M][V]) {                                        \
        for (int64_t pair = 0; pair < pairs; pair++) {                                                                \
            words right[V];                                                                                           \
            _Pragma("GCC unroll 4") for (int v = 0; v < V; v++) right[v] = b[v * panel + pair];                       \
            _Pragma("GCC unroll 8") for (int i = 0; i < M; i++) {                                                     \
                words left = word(a + i * down + pair * along);                                                       \
                _Pragma("GCC unroll 4") for (int v = 0; v < V; v++) DOT(sum[i][v], left, right[v]);                   \
            }                                                                                                         \
        }                                                                                                             \
    }
TILE_OF(tile_8_2, 8, 2)
TILE_OF(tile_8_1, 8, 1)
TILE_OF(tile_1_2, 1, 2)
TILE_OF(tile_1_1, 1, 1)

/* 32 sums as elements, the first `columns` of them. */
static inline void give_elements(uint16_t *to, floats low, floats high, int64_t columns) {
    words both = (words)_mm512_cvtne2ps_pbh(high, low);
    if (columns >= 32) _mm512_storeu_si512(to, both);
    else _mm512_mask_storeu_epi16(to, (__mmask32)((1ull << columns) - 1), both);
}

#define STRIP(NAME, M, V, TILE_)                                                                                     \
    static __attribute__((noinline)) void NAME(int64_t pairs, const uint16_t *a, int64_t row, const words *b,         \
                                               int64_t panel, uint16_t *out, int64_t out_row, int64_t columns) {      \
        floats sum[M][V];                                                                                             \
        _Pragma("GCC unroll 8") for (int i = 0; i < M; i++)                                                           \
            _Pragma("GCC unroll 2") for (int v = 0; v < V; v++) sum[i][v] = _mm512_setzero_ps();                      \
        TILE_(pairs, a, row, 2, b, panel, sum);                                                                       \
        _Pragma("GCC unroll 8") for (int i = 0; i < M; i++)                                                           \
            give_elements(out + i * out_row, sum[i][0], V == 2 ? sum[i][V - 1] : _mm512_setzero_ps(), columns);       \
    }
STRIP(strip_8_2, 8, 2, tile_8_2)
STRIP(strip_8_1, 8, 1, tile_8_1)
STRIP(strip_1_2, 1, 2, tile_1_2)
STRIP(strip_1_1, 1, 1, tile_1_1)

/* out (rows, columns) = a (rows, 2 pairs) times panels (columns / 16, pairs) */
void matrix_product(const uint16_t *a, const words *b, uint16_t *out, int64_t rows, int64_t pairs, int64_t columns) {
    int64_t most = NEAR / (4 * pairs) / TALL * TALL;
    if (most < TALL) most = TALL;
    for (int64_t begin = 0; begin < rows; begin += most) {
        int64_t end = begin + most < rows ? begin + most : rows;
        for (int64_t c = 0; c < columns; c += 2 * PANEL) {
            int64_t left = columns - c < 32 ? columns - c : 32;
            const words *panel = b + c / PANEL * pairs;
            int64_t r = begin;
            for (; r + TALL <= end; r += TALL)
                (left > PANEL ? strip_8_2 : strip_8_1)(pairs, a + r * 2 * pairs, 2 * pairs, panel, pairs,
                                                       out + r * columns + c, columns, left);
            for (; r < end; r++)
                (left > PANEL ? strip_1_2 : strip_1_1)(pairs, a + r * 2 * pairs, 2 * pairs, panel, pairs,
                                                       out + r * columns + c, columns, left);
        }
    }
}

/* Rows of elements as panels (columns / 16, rows / 2), `apart` words' vectors from one to the next, of words that pair
   two rows; what is past the last row or column is zero. Panels must not be a power of two apart: their beginnings
   would share one set of the cache. */
static void pair_rows(const uint16_t *from, int64_t rows, int64_t columns, words *to, int64_t apart) {
    for (int64_t pair = 0; pair < (rows + 1) / 2; pair++) {
        const uint16_t *low = from + 2 * pair * columns, *high = low + columns;
        int both = 2 * pair + 1 < rows;
        int64_t c = 0;
        for (; both && c + PANEL <= columns; c += PANEL) to[c / PANEL * apart + pair] = paired_rows(low + c, high + c);
        for (; c < columns; c += PANEL) {
            __mmask16 some = columns - c >= PANEL ? 0xffff : (__mmask16)((1u << (columns - c)) - 1u);
            words first = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(some, low + c));
            words second = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(both ? some : 0, high + c));
            to[c / PANEL * apart + pair] = _mm512_or_si512(first, _mm512_slli_epi32(second, 16));
        }
    }
}

#define ADD(NAME, M, V, TILE_)                                                                                       \
    static __attribute__((noinline)) void NAME(int64_t pairs, const uint16_t *a, const words *b, int64_t panel,       \
                                               float *out, int64_t out_row, const __mmask16 *some) {                  \
        floats sum[M][V];                                                                                             \
        _Pragma("GCC unroll 8") for (int i = 0; i < M; i++)                                                           \
            _Pragma("GCC unroll 2") for (int v = 0; v < V; v++) sum[i][v] =                                           \
                _mm512_maskz_loadu_ps(some[v], out + i * out_row + v * PANEL);                                        \
        TILE_(pairs, a, 2, 2 * PANEL, b, panel, sum);                                                                 \
        _Pragma("GCC unroll 8") for (int i = 0; i < M; i++)                                                           \
            _Pragma("GCC unroll 2") for (int v = 0; v < V; v++)                                                       \
                _mm512_mask_storeu_ps(out + i * out_row + v * PANEL, some[v], sum[i][v]);                             \
    }
ADD(add_8_2, 8, 2, tile_8_2)
ADD(add_8_1, 8, 1, tile_8_1)
ADD(add_1_2, 1, 2, tile_1_2)
ADD(add_1_1, 1, 1, tile_1_1)

static inline int64_t panels(int64_t columns) { return (columns + PANEL - 1) / PANEL; }

/* Words of scratch for `matrix_add`. */
int64_t matrix_scratch(int64_t m, int64_t n) { return (panels(m) + panels(n)) * PANEL * (CHUNK / 2 + 1) + 16; }

/* sums (m, n) += gradient (rows, m)^T inputs (rows, n) */
void matrix_add(const uint16_t *gradient, const uint16_t *inputs, float *sums, void *scratch, int64_t rows, int64_t m,
                int64_t n) {
    words *left = (words *)(((uintptr_t)scratch + 63) / 64 * 64);
    for (int64_t begin = 0; begin < rows; begin += CHUNK) {
        int64_t count = rows - begin < CHUNK ? rows - begin : CHUNK, pairs = (count + 1) / 2, apart = pairs + 1;
        words *right = left + panels(m) * apart;
        pair_rows(gradient + begin * m, count, m, left, apart);
        pair_rows(inputs + begin * n, count, n, right, apart);
        int64_t most = NEAR / (64 * pairs) * PANEL;
        if (most < PANEL) most = PANEL;
        for (int64_t top = 0; top < m; top += most) {
            int64_t bottom = top + most < m ? top + most : m;
            for (int64_t c = 0; c < n; c += 2 * PANEL) {
                int64_t have = n - c;
                __mmask16 some[2] = {have >= 16 ? 0xffff : (__mmask16)((1u << have) - 1u),
                                     have >= 32 ? 0xffff : have > 16 ? (__mmask16)((1u << (have - 16)) - 1u) : 0};
                const words *panel = right + c / PANEL * apart;
                int64_t i = top;
                for (; i + TALL <= bottom; i += TALL)
                    (have > 16 ? add_8_2 : add_8_1)(pairs, (const uint16_t *)(left + i / PANEL * apart) + i % PANEL * 2,
                                                    panel, apart, sums + i * n + c, n, some);
                for (; i < bottom; i++)
                    (have > 16 ? add_1_2 : add_1_1)(pairs, (const uint16_t *)(left + i / PANEL * apart) + i % PANEL * 2,
                                                    panel, apart, sums + i * n + c, n, some);
            }
        }
    }
}

/* A weight (m, n), both even, as panels for products with its transpose, (m / 16, n / 2), and with itself, (n / 16, m / 2). */
void matrix_pack(const float *weight, words *across, words *along, int64_t m, int64_t n) {
    for (int64_t r = 0; r < m; r += PANEL)
        for (int64_t c = 0; c < n; c += 2 * PANEL) {
            __mmask16 first = n - c >= 16 ? 0xffff : (__mmask16)((1u << (n - c)) - 1u);
            __mmask16 second = n - c >= 32 ? 0xffff : n - c > 16 ? (__mmask16)((1u << (n - c - 16)) - 1u) : 0;
            words t[PANEL];
            int64_t pairs = (n - c) / 2 < 16 ? (n - c) / 2 : 16;
            for (int i = 0; i < PANEL; i++) {
                const float *w = weight + (r + i) * n + c;
                t[i] = r + i >= m ? _mm512_setzero_si512()
                                  : (words)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(second, w + 16),
                                                               _mm512_maskz_loadu_ps(first, w));
            }
            turn(t);
            for (int64_t i = 0; i < pairs; i++) across[r / PANEL * (n / 2) + c / 2 + i] = t[i];
        }
    for (int64_t r = 0; r < m; r += 2)
        for (int64_t c = 0; c < n; c += PANEL) {
            __mmask16 some = n - c >= 16 ? 0xffff : (__mmask16)((1u << (n - c)) - 1u);
            along[c / PANEL * (m / 2) + r / 2] = paired(_mm512_maskz_loadu_ps(some, weight + r * n + c),
                                                        _mm512_maskz_loadu_ps(some, weight + (r + 1) * n + c));
        }
}
#endif
