/* Causal attention in bfloat16 products, for processors that have them (AVX-512 BF16).

   Scores stand with keys as rows and queries as lanes, 32 queries at once: every step of the softmax then works on
   whole vectors, and nothing is summed across lanes. A product takes pairs of a sum's terms: `pairs` of one side are
   read as words of two elements, one word for all lanes; the other side holds a word a lane. Sums are float; shares of
   attention and their gradients are rounded to bfloat16 before products, as on GPUs (Dao et al. 2022, FlashAttention).

   Sizes of heads are multiples of 16 and lengths of 32 here; kernels.c has the path for all others. */

#ifdef HAVE_PAIRS
#define QUERIES 32 /* two vectors of lanes */
#define HIDDEN -1e30f /* a score that has no share; finite, so that differences are numbers */
#define ROWS 8     /* rows of a tile: with two vectors each, 16 sums */

/* c (rows x 32 lanes) = a b: `a` has `pairs` words a row, `a_row` elements apart; `b` has 32 words a pair. */
static inline void by_lanes(int64_t pairs, const uint16_t *a, int64_t a_row, const words *b, floats c[ROWS][2]) {
    floats sum[ROWS][2];
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++) sum[i][0] = sum[i][1] = _mm512_setzero_ps();
    for (int64_t pair = 0; pair < pairs; pair++) {
        words first = b[2 * pair], second = b[2 * pair + 1];
#pragma GCC unroll 8
        for (int i = 0; i < ROWS; i++) {
            words left = word(a + i * a_row + 2 * pair);
            DOT(sum[i][0], left, first);
            DOT(sum[i][1], left, second);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++) {
        c[i][0] = sum[i][0];
        c[i][1] = sum[i][1];
    }
}

/* c (rows, size) += a b over 32 queries: `a` has 32 elements a row, `b` has `size` words for each pair of queries. */
static inline void by_queries(int64_t rows, int64_t size, const uint16_t *a, const words *b, float *c) {
    int64_t vectors = size / LANES;
    for (int64_t row = 0; row < rows; row += ROWS)
        for (int64_t v = 0; v < vectors; v += 2) {
            int two = v + 1 < vectors;
            floats sum[ROWS][2];
            float *out = c + row * size + v * LANES;
#pragma GCC unroll 8
            for (int i = 0; i < ROWS; i++) {
                sum[i][0] = _mm512_loadu_ps(out + i * size);
                sum[i][1] = two ? _mm512_loadu_ps(out + i * size + LANES) : _mm512_setzero_ps();
            }
            if (two)
                for (int pair = 0; pair < QUERIES / 2; pair++) {
                    words first = b[pair * vectors + v], second = b[pair * vectors + v + 1];
#pragma GCC unroll 8
                    for (int i = 0; i < ROWS; i++) {
                        words left = word(a + (row + i) * QUERIES + 2 * pair);
                        DOT(sum[i][0], left, first);
                        DOT(sum[i][1], left, second);
                    }
                }
            else
                for (int pair = 0; pair < QUERIES / 2; pair++) {
                    words first = b[pair * vectors + v];
#pragma GCC unroll 8
                    for (int i = 0; i < ROWS; i++) DOT(sum[i][0], word(a + (row + i) * QUERIES + 2 * pair), first);
                }
#pragma GCC unroll 8
            for (int i = 0; i < ROWS; i++) {
                _mm512_storeu_ps(out + i * size, sum[i][0]);
                if (two) _mm512_storeu_ps(out + i * size + LANES, sum[i][1]);
            }
        }
}

/* Factors that turn a row of a head by its position: x * same + neighbour * other, (length, size) each. */
static void factors(const float *cosine, const float *sine, int64_t length, int64_t size, float *same, float *other) {
    int64_t quarter = size / 4;
    for (int64_t t = 0; t < length; t++)
        for (int64_t i = 0; i < size / 2; i++) {
            float c = i < quarter ? cosine[t * quarter + i] : 1.0f, s = i < quarter ? sine[t * quarter + i] : 0.0f;
            same[t * size + 2 * i] = same[t * size + 2 * i + 1] = c;
            other[t * size + 2 * i] = -s;
            other[t * size + 2 * i + 1] = s;
        }
}

static inline floats turned(floats x, const float *same, const float *other, int back) {
    floats neighbour = _mm512_mul_ps(_mm512_permute_ps(x, 0xb1), _mm512_loadu_ps(other));
    floats kept = _mm512_mul_ps(x, _mm512_loadu_ps(same));
    return back ? _mm512_sub_ps(kept, neighbour) : _mm512_add_ps(kept, neighbour);
}

/* `count` rows of a head, turned by position, close together. */
static inline void take(const uint16_t *from, int64_t row, const float *same, const float *other, int64_t count,
                        int64_t size, uint16_t *to) {
    for (int64_t t = 0; t < count; t++)
        for (int64_t i = 0; i < size; i += LANES)
            narrow_to(to + t * size + i, turned(wide_of(from + t * row + i), same + t * size + i, other + t * size + i, 0));
}

/* 32 rows as words a lane: `to` has two vectors for each pair of a row's elements. */
static inline void as_lanes(const uint16_t *from, int64_t row, int64_t size, words *to) {
    for (int half = 0; half < 2; half++)
        for (int64_t begin = 0; begin < size / 2; begin += LANES) {
            int64_t count = size / 2 - begin < LANES ? size / 2 - begin : LANES;
            __mmask16 some = (__mmask16)((1u << count) - 1u);
            words r[16];
            for (int i = 0; i < 16; i++)
                r[i] = _mm512_maskz_loadu_epi32(some, from + (half * 16 + i) * row + 2 * begin);
            turn(r);
            for (int64_t i = 0; i < count; i++) to[2 * (begin + i) + half] = r[i];
        }
}

/* 32 rows as words a pair of rows: `to` has `size` words for each pair. */
static inline void as_pairs(const uint16_t *from, int64_t row, int64_t size, words *to) {
    for (int64_t pair = 0; pair < QUERIES / 2; pair++)
        for (int64_t i = 0; i < size; i += LANES)
            *to++ = paired_rows(from + 2 * pair * row + i, from + (2 * pair + 1) * row + i);
}

/* Rows on their side: `to` (size, length), `length` a multiple of 32. */
static inline void aside(const uint16_t *from, int64_t row, int64_t length, int64_t size, uint16_t *to) {
    for (int64_t begin = 0; begin < length; begin += 32)
        for (int64_t i = 0; i < size; i += LANES) {
            words r[16];
            for (int pair = 0; pair < 16; pair++)
                r[pair] = paired_rows(from + (begin + 2 * pair) * row + i, from + (begin + 2 * pair + 1) * row + i);
            turn(r);
            for (int d = 0; d < 16; d++) _mm512_storeu_si512(to + (i + d) * length + begin, r[d]);
        }
}

/* From (size x 32 lanes) to 32 rows of elements, turned back by position where factors are given. */
static inline void give(floats (*from)[2], int64_t size, const float *same, const float *other, uint16_t *to,
                        int64_t row) {
    for (int half = 0; half < 2; half++)
        for (int64_t begin = 0; begin < size; begin += LANES) {
            words r[16];
            for (int i = 0; i < 16; i++) r[i] = _mm512_castps_si512(from[begin + i][half]);
            turn(r);
            for (int i = 0; i < 16; i++) {
                int64_t t = half * 16 + i;
                floats x = _mm512_castsi512_ps(r[i]);
                if (same) x = turned(x, same + t * size + begin, other + t * size + begin, 1);
                narrow_to(to + t * row + begin, x);
            }
        }
}

static inline int pairs_fit(int64_t length, int64_t size) {
    return length % QUERIES == 0 && size % LANES == 0 && size <= 128;
}

/* Floats of scratch for either direction, with room to align each of at most 16 parts. */
static int64_t pairs_scratch(int64_t length, int64_t size) {
    int64_t bytes = 8 * length * size          /* factors */
                    + 4 * length * size        /* keys, and keys or values on their side */
                    + 8 * length * size        /* gradients of keys and values */
                    + 8 * length * QUERIES     /* scores, or shares and their gradients */
                    + 20 * size * QUERIES      /* queries in their forms, what is read, gradients */
                    + 17 * 64;
    return bytes / 4;
}

static inline void *cut(char **free_, int64_t bytes) {
    void *here = *free_;
    *free_ += (bytes + 63) / 64 * 64;
    return here;
}

static inline __mmask16 seen(int64_t key, int64_t query) { /* of 16 queries from `query`: those at or after the key */
    int64_t before = key - query;
    return before <= 0 ? 0xffff : before >= 16 ? 0 : (__mmask16)(0xffffu << before);
}

static void pairs_forward(const uint16_t *qkv, uint16_t *out, float *logs, const float *cosine, const float *sine,
                          float *scratch, int64_t sequences, int64_t length, int64_t heads, int64_t kv_heads,
                          int64_t size) {
    int64_t row = (heads + 2 * kv_heads) * size, group = heads / kv_heads, out_row = heads * size;
    char *at = (char *)(((uintptr_t)scratch + 63) / 64 * 64);
    float *same = cut(&at, 4 * length * size), *other = cut(&at, 4 * length * size);
    uint16_t *keys = cut(&at, 2 * length * size), *values = cut(&at, 2 * length * size);
    floats(*scores)[2] = cut(&at, length * QUERIES * 4), (*read)[2] = cut(&at, size * QUERIES * 4);
    words *shares = cut(&at, length * QUERIES * 2), *queries = cut(&at, size * QUERIES * 2);
    uint16_t *turned_queries = cut(&at, size * QUERIES * 2);
    const floats root = _mm512_set1_ps(LOG2E / sqrtf((float)size)); /* shares are powers of two */
    factors(cosine, sine, length, size, same, other);
    for (int64_t sequence = 0; sequence < sequences; sequence++)
        for (int64_t kv = 0; kv < kv_heads; kv++) {
            const uint16_t *rows = qkv + sequence * length * row;
            take(rows + (heads + kv) * size, row, same, other, length, size, keys);
            aside(rows + (heads + kv_heads + kv) * size, row, length, size, values);
            for (int64_t head = kv * group; head < (kv + 1) * group; head++)
                for (int64_t begin = 0; begin < length; begin += QUERIES) {
                    int64_t end = begin + QUERIES;
                    take(rows + begin * row + head * size, row, same + begin * size, other + begin * size, QUERIES, size,
                         turned_queries);
                    as_lanes(turned_queries, size, size, queries);
                    floats top[2] = {_mm512_set1_ps(HIDDEN), _mm512_set1_ps(HIDDEN)};
                    for (int64_t key = 0; key < end; key += ROWS) {
                        floats s[ROWS][2];
                        by_lanes(size / 2, keys + key * size, size, queries, s);
#pragma GCC unroll 8
                        for (int i = 0; i < ROWS; i++)
                            for (int v = 0; v < 2; v++) {
                                if (key >= begin)
                                    s[i][v] = _mm512_mask_mov_ps(_mm512_set1_ps(HIDDEN),
                                                                 seen(key + i, begin + v * LANES), s[i][v]);
                                top[v] = _mm512_max_ps(top[v], s[i][v]);
                                scores[key + i][v] = s[i][v];
                            }
                    }
                    floats sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
                    for (int v = 0; v < 2; v++) top[v] = _mm512_mul_ps(top[v], root);
                    for (int64_t key = 0; key < end; key += 2)
                        for (int v = 0; v < 2; v++) {
                            floats p = power_of_two(_mm512_fmsub_ps(scores[key][v], root, top[v]));
                            floats q = power_of_two(_mm512_fmsub_ps(scores[key + 1][v], root, top[v]));
                            sum[v] = _mm512_add_ps(sum[v], _mm512_add_ps(p, q));
                            shares[key + v] = paired(p, q);
                        }
                    floats whole[2];
                    for (int v = 0; v < 2; v++) whole[v] = _mm512_div_ps(_mm512_set1_ps(1.0f), sum[v]);
                    for (int64_t d = 0; d < size; d += ROWS) {
                        floats r[ROWS][2];
                        by_lanes(end / 2, values + d * length, length, shares, r);
#pragma GCC unroll 8
                        for (int i = 0; i < ROWS; i++)
                            for (int v = 0; v < 2; v++) read[d + i][v] = _mm512_mul_ps(r[i][v], whole[v]);
                    }
                    give(read, size, 0, 0, out + (sequence * length + begin) * out_row + head * size, out_row);
                    float tops[QUERIES], sums[QUERIES];
                    for (int v = 0; v < 2; v++) {
                        _mm512_storeu_ps(tops + v * LANES, top[v]);
                        _mm512_storeu_ps(sums + v * LANES, sum[v]);
                    }
                    for (int i = 0; i < QUERIES; i++)
                        logs[(sequence * length + begin + i) * heads + head] = tops[i] / LOG2E + logf(sums[i]);
                }
        }
}

/* Gradient of qkv from that of out, after Dao et al. 2022 (FlashAttention, algorithm 4): softmax is done again. */
static void pairs_backward(const uint16_t *qkv, const uint16_t *out, const uint16_t *out_gradient, const float *logs,
                           uint16_t *gradient, const float *cosine, const float *sine, float *scratch,
                           int64_t sequences, int64_t length, int64_t heads, int64_t kv_heads, int64_t size) {
    int64_t row = (heads + 2 * kv_heads) * size, group = heads / kv_heads, out_row = heads * size;
    char *at = (char *)(((uintptr_t)scratch + 63) / 64 * 64);
    float *same = cut(&at, 4 * length * size), *other = cut(&at, 4 * length * size);
    uint16_t *keys = cut(&at, 2 * length * size), *keys_aside = cut(&at, 2 * length * size);
    float *d_keys = cut(&at, 4 * length * size), *d_values = cut(&at, 4 * length * size);
    uint16_t *shares = cut(&at, 2 * length * QUERIES), *d_scores = cut(&at, 2 * length * QUERIES);
    words *d_lanes = cut(&at, 2 * length * QUERIES);
    uint16_t *queries = cut(&at, 2 * size * QUERIES);
    words *query_lanes = cut(&at, 2 * size * QUERIES), *query_pairs = cut(&at, 2 * size * QUERIES);
    words *out_lanes = cut(&at, 2 * size * QUERIES), *out_pairs = cut(&at, 2 * size * QUERIES);
    floats(*d_queries)[2] = cut(&at, 4 * size * QUERIES);
    const float scale = 1.0f / sqrtf((float)size);
    const floats root = _mm512_set1_ps(scale), power = _mm512_set1_ps(scale * LOG2E);
    factors(cosine, sine, length, size, same, other);
    for (int64_t sequence = 0; sequence < sequences; sequence++)
        for (int64_t kv = 0; kv < kv_heads; kv++) {
            int64_t from = sequence * length;
            const uint16_t *rows = qkv + from * row, *values = rows + (heads + kv_heads + kv) * size;
            uint16_t *d_rows = gradient + from * row;
            take(rows + (heads + kv) * size, row, same, other, length, size, keys);
            aside(keys, size, length, size, keys_aside);
            memset(d_keys, 0, (size_t)(length * size) * sizeof(float));
            memset(d_values, 0, (size_t)(length * size) * sizeof(float));
            for (int64_t head = kv * group; head < (kv + 1) * group; head++)
                for (int64_t begin = 0; begin < length; begin += QUERIES) {
                    int64_t end = begin + QUERIES, place = (from + begin) * out_row + head * size;
                    take(rows + begin * row + head * size, row, same + begin * size, other + begin * size, QUERIES, size,
                         queries);
                    as_lanes(queries, size, size, query_lanes);
                    as_pairs(queries, size, size, query_pairs);
                    as_lanes(out_gradient + place, out_row, size, out_lanes);
                    as_pairs(out_gradient + place, out_row, size, out_pairs);
                    float dots[QUERIES], log[QUERIES];
                    for (int i = 0; i < QUERIES; i++) {
                        floats sum = _mm512_setzero_ps();
                        for (int64_t d = 0; d < size; d += LANES)
                            sum = _mm512_fmadd_ps(wide_of(out + place + i * out_row + d),
                                                  wide_of(out_gradient + place + i * out_row + d), sum);
                        dots[i] = _mm512_reduce_add_ps(sum);
                        log[i] = logs[(from + begin + i) * heads + head] * LOG2E;
                    }
                    floats dot[2] = {_mm512_loadu_ps(dots), _mm512_loadu_ps(dots + LANES)};
                    floats norm[2] = {_mm512_loadu_ps(log), _mm512_loadu_ps(log + LANES)};
                    for (int64_t key = 0; key < end; key += 4) {
                        floats p[4][2], d[4][2];
#pragma GCC unroll 4
                        for (int i = 0; i < 4; i++) p[i][0] = p[i][1] = d[i][0] = d[i][1] = _mm512_setzero_ps();
                        for (int64_t pair = 0; pair < size / 2; pair++) {
                            words q[2] = {query_lanes[2 * pair], query_lanes[2 * pair + 1]};
                            words o[2] = {out_lanes[2 * pair], out_lanes[2 * pair + 1]};
#pragma GCC unroll 4
                            for (int i = 0; i < 4; i++) {
                                words k = word(keys + (key + i) * size + 2 * pair);
                                words u = word(values + (key + i) * row + 2 * pair);
                                DOT(p[i][0], k, q[0]);
                                DOT(p[i][1], k, q[1]);
                                DOT(d[i][0], u, o[0]);
                                DOT(d[i][1], u, o[1]);
                            }
                        }
#pragma GCC unroll 4
                        for (int i = 0; i < 4; i++)
#pragma GCC unroll 2
                            for (int v = 0; v < 2; v++) {
                                p[i][v] = power_of_two(_mm512_fmsub_ps(p[i][v], power, norm[v]));
                                if (key >= begin)
                                    p[i][v] = _mm512_maskz_mov_ps(seen(key + i, begin + v * LANES), p[i][v]);
                                d[i][v] = _mm512_mul_ps(_mm512_mul_ps(p[i][v], root), _mm512_sub_ps(d[i][v], dot[v]));
                            }
#pragma GCC unroll 4
                        for (int i = 0; i < 4; i++) {
                            _mm512_storeu_si512(shares + (key + i) * QUERIES,
                                                (words)_mm512_cvtne2ps_pbh(p[i][1], p[i][0]));
                            _mm512_storeu_si512(d_scores + (key + i) * QUERIES,
                                                (words)_mm512_cvtne2ps_pbh(d[i][1], d[i][0]));
                        }
                        for (int i = 0; i < 4; i += 2)
                            for (int v = 0; v < 2; v++) d_lanes[key + i + v] = paired(d[i][v], d[i + 1][v]);
                    }
                    by_queries(end, size, shares, out_pairs, d_values);
                    by_queries(end, size, d_scores, query_pairs, d_keys);
                    for (int64_t d = 0; d < size; d += ROWS)
                        by_lanes(end / 2, keys_aside + d * length, length, d_lanes, d_queries + d);
                    give(d_queries, size, same + begin * size, other + begin * size,
                         d_rows + begin * row + head * size, row);
                }
            uint16_t *to_keys = d_rows + (heads + kv) * size, *to_values = d_rows + (heads + kv_heads + kv) * size;
            for (int64_t t = 0; t < length; t++)
                for (int64_t i = 0; i < size; i += LANES) {
                    int64_t here = t * size + i;
                    narrow_to(to_keys + t * row + i, turned(_mm512_loadu_ps(d_keys + here), same + here, other + here, 1));
                    narrow_to(to_values + t * row + i, _mm512_loadu_ps(d_values + here));
                }
        }
}
#endif
