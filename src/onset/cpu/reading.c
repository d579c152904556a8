/* What lies between the matrix products of a decoder that only reads, in float32, for one thread of a CPU.

   Attention knows how rows are laid out for scoring: all rows continue one prefix, and a row is a question with its
   answers side by side, which see the prefix, the question and themselves. Nothing is computed for what is not seen,
   but for the triangle of a block. No function allocates, and none shares state, so that threads may call them at
   once. */

#include <math.h>
#include <stdint.h>

#if defined(__AVX512F__)
#define VECTOR 16
#define TILE 8
#elif defined(__AVX__)
#define VECTOR 8
#define TILE 4
#else
#define VECTOR 4
#define TILE 4
#endif
#define BLOCK 64 /* queries that are worked on together */

typedef float vector __attribute__((vector_size(VECTOR * 4), aligned(4), may_alias));

/* e^x to float precision, in steps that a compiler turns into vector code; 0 underflows to about 1e-38.
   Cephes expf (Moshier): e^x = 2^n e^r, r within ln(2)/2, a polynomial for e^r. */
static inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float shifted = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: the whole number lands in the low bits */
    float whole = shifted - 12582912.0f;
    float rest = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    float sum = 1.9875691500e-4f;
    sum = sum * rest + 1.3981999507e-3f;
    sum = sum * rest + 8.3334519073e-3f;
    sum = sum * rest + 4.1665795894e-2f;
    sum = sum * rest + 1.6666665459e-1f;
    sum = sum * rest + 5.0000001201e-1f;
    sum = sum * rest * rest + rest + 1.0f;
    union { float real; int32_t bits; } from = {shifted}, scale;
    scale.bits = (int32_t)((uint32_t)from.bits << 23) + 0x3f800000;
    return sum * scale.real;
}

/* ---- norm, gate, rotation ---- */

/* stream += change (which may be null); normed = stream * scale * gain, the scale by the mean square */
void norm(float *stream, const float *change, const float *gain, float *normed, int64_t rows, int64_t width,
          float epsilon) {
    for (int64_t row = 0; row < rows; row++) {
        float *x = stream + row * width, *n = normed + row * width, square = 0.0f;
        if (change) {
            const float *c = change + row * width;
#pragma omp simd
            for (int64_t i = 0; i < width; i++) x[i] += c[i];
        }
#pragma omp simd reduction(+ : square)
        for (int64_t i = 0; i < width; i++) square += x[i] * x[i];
        float scale = 1.0f / sqrtf(square / (float)width + epsilon);
#pragma omp simd
        for (int64_t i = 0; i < width; i++) n[i] = x[i] * scale * gain[i];
    }
}

/* both holds gate and up side by side, (rows, 2 hidden); out = silu(gate) * up */
void gated(const float *both, float *out, int64_t rows, int64_t hidden) {
    for (int64_t row = 0; row < rows; row++) {
        const float *gate = both + row * 2 * hidden, *up = gate + hidden;
        float *o = out + row * hidden;
#pragma omp simd
        for (int64_t i = 0; i < hidden; i++) o[i] = gate[i] / (1.0f + exponential(-gate[i])) * up[i];
    }
}

/* Turns the first `heads` heads of each row of x in place: entry i with i + half, or 2 i with 2 i + 1 (`pairs`). */
void turn(float *x, const float *cosine, const float *sine, int64_t rows, int64_t row, int64_t heads, int64_t size,
          int64_t half, int64_t pairs) {
    int64_t step = pairs ? 2 : 1, apart = pairs ? 1 : half;
    for (int64_t t = 0; t < rows; t++)
        for (int64_t head = 0; head < heads; head++) {
            float *y = x + t * row + head * size;
            const float *c = cosine + t * half, *s = sine + t * half;
#pragma omp simd
            for (int64_t i = 0; i < half; i++) {
                float first = y[i * step], second = y[i * step + apart];
                y[i * step] = first * c[i] - second * s[i];
                y[i * step + apart] = second * c[i] + first * s[i];
            }
        }
}

/* ---- attention ---- */

/* c (m, n) = or += a (m, k) b (k, n), where row i of a is at i * a_row, for M rows and V vectors of c. */
#define PRODUCT(NAME, M, V)                                                                                            \
    static inline void NAME(int64_t k, const float *a, int64_t a_row, const float *b, int64_t b_row, float *c,          \
                            int64_t c_row, int add) {                                                                   \
        vector sum[M][V];                                                                                               \
        for (int i = 0; i < M; i++)                                                                                     \
            for (int j = 0; j < V; j++)                                                                                 \
                sum[i][j] = add ? *(const vector *)(c + i * c_row + j * VECTOR) : (vector){0};                          \
        for (int64_t step = 0; step < k; step++) {                                                                      \
            vector right[V];                                                                                            \
            for (int j = 0; j < V; j++) right[j] = *(const vector *)(b + step * b_row + j * VECTOR);                    \
            for (int i = 0; i < M; i++) {                                                                               \
                float left = a[i * a_row + step];                                                                       \
                for (int j = 0; j < V; j++) sum[i][j] += left * right[j];                                               \
            }                                                                                                           \
        }                                                                                                               \
        for (int i = 0; i < M; i++)                                                                                     \
            for (int j = 0; j < V; j++) *(vector *)(c + i * c_row + j * VECTOR) = sum[i][j];                            \
    }
PRODUCT(tile_2, TILE, 2)
PRODUCT(tile_1, TILE, 1)
PRODUCT(half_2, TILE / 2, 2)
PRODUCT(half_1, TILE / 2, 1)
PRODUCT(row_2, 1, 2)
PRODUCT(row_1, 1, 1)

/* n is rounded up to whole vectors. */
static void product(int64_t m, int64_t n, int64_t k, const float *a, int64_t a_row, const float *b, int64_t b_row,
                    float *c, int64_t c_row, int add) {
    for (int64_t j = 0; j < n; j += 2 * VECTOR) {
        int two = j + VECTOR < n;
        int64_t i = 0;
        for (; i + TILE <= m; i += TILE)
            (two ? tile_2 : tile_1)(k, a + i * a_row, a_row, b + j, b_row, c + i * c_row + j, c_row, add);
        for (; i + TILE / 2 <= m; i += TILE / 2)
            (two ? half_2 : half_1)(k, a + i * a_row, a_row, b + j, b_row, c + i * c_row + j, c_row, add);
        for (; i < m; i++)
            (two ? row_2 : row_1)(k, a + i * a_row, a_row, b + j, b_row, c + i * c_row + j, c_row, add);
    }
}

static inline int64_t whole(int64_t count) { return (count + VECTOR - 1) / VECTOR * VECTOR; }

/* (rows, size), `row` apart, to (size, room) */
static void transposed(const float *from, int64_t row, int64_t rows, int64_t size, float *to, int64_t room) {
    for (int64_t i = 0; i < size; i++) {
        float *y = to + i * room;
        for (int64_t t = 0; t < rows; t++) y[t] = from[t * row + i];
        for (int64_t t = rows; t < room; t++) y[t] = 0.0f;
    }
}

/* (rows, size), `row` apart, to (rows, wide) */
static void copied(const float *from, int64_t row, int64_t rows, int64_t size, float *to, int64_t wide) {
    for (int64_t t = 0; t < rows; t++) {
        for (int64_t i = 0; i < size; i++) to[t * wide + i] = from[t * row + i];
        for (int64_t i = size; i < wide; i++) to[t * wide + i] = 0.0f;
    }
}


typedef struct {
    const float *keys, *values; /* transposed (size, room), and (count, wide) */
    int64_t room, count, seen;  /* how many a query sees: `seen` plus its place in the block, at most `count` */
} range;

/* A block of queries to the keys that they see, into `read` (count, wide), not yet divided by the sums. */
static void block(const float *queries, int64_t row, int64_t count, const range *ranges, int64_t size, int64_t wide,
                  float scale, float *scores, int64_t score_row, float *read, float *sums) {
    int64_t at = 0;
    for (int r = 0; r < 3; r++) {
        product(count, ranges[r].count, size, queries, row, ranges[r].keys, ranges[r].room, scores + at, score_row, 0);
        at += whole(ranges[r].count);
    }
    for (int64_t i = 0; i < count; i++) {
        float *p = scores + i * score_row, top = -INFINITY, sum = 0.0f;
        int64_t begin = 0;
        for (int r = 0; r < 3; begin += whole(ranges[r].count), r++) {
            int64_t seen = ranges[r].seen + i < ranges[r].count ? ranges[r].seen + i : ranges[r].count;
            int64_t end = begin + whole(seen);
            for (int64_t j = begin + seen; j < end; j++) p[j] = -INFINITY;
#pragma omp simd reduction(max : top)
            for (int64_t j = begin; j < end; j++) top = p[j] > top ? p[j] : top;
        }
        begin = 0;
        for (int r = 0; r < 3; begin += whole(ranges[r].count), r++) {
            int64_t seen = ranges[r].seen + i < ranges[r].count ? ranges[r].seen + i : ranges[r].count;
            int64_t end = begin + whole(seen);
#pragma omp simd reduction(+ : sum)
            for (int64_t j = begin; j < end; j++) { /* what is past `seen` adds 1e-38, which is nothing */
                p[j] = exponential((p[j] - top) * scale);
                sum += p[j];
            }
            for (int64_t j = begin + seen; j < begin + ranges[r].count; j++) p[j] = 0.0f;
        }
        sums[i] = sum;
    }
    at = 0;
    int add = 0;
    for (int r = 0; r < 3; r++) {
        if (ranges[r].count) {
            product(count, wide, ranges[r].count, scores + at, score_row, ranges[r].values, wide, read, wide, add);
            add = 1;
        }
        at += whole(ranges[r].count);
    }
}

/* Floats of scratch for rows of at most `longest` tokens after `prefix` ones. */
int64_t attend_scratch(int64_t prefix, int64_t longest, int64_t size, int64_t value_size) {
    int64_t wide = whole(value_size);
    return size * (whole(prefix) + VECTOR) + prefix * wide + (size + wide) * (whole(longest) + 2 * VECTOR)
           + BLOCK * (whole(prefix) + 2 * whole(longest) + 4 * VECTOR + wide);
}

/* Queries, keys and values of tokens that lie end to end, to out (tokens, heads, value_size).
   `rows` holds for each row: its first token, how many segments it has, and their lengths, the question's first. */
void attend(const float *q, int64_t q_head, int64_t q_token, const float *k, int64_t k_head, int64_t k_token,
            const float *v, int64_t v_head, int64_t v_token, const float *far_k, int64_t far_k_head,
            int64_t far_k_token, const float *far_v, int64_t far_v_head, int64_t far_v_token, int64_t prefix,
            const int64_t *rows, int64_t count, float *out, int64_t heads, int64_t kv_heads, int64_t size,
            int64_t value_size, int64_t longest, float scale, float *scratch) {
    int64_t wide = whole(value_size), far_room = whole(prefix) + VECTOR, room = whole(longest) + 2 * VECTOR;
    int64_t group = heads / kv_heads, score_row = whole(prefix) + 2 * whole(longest) + 4 * VECTOR;
    float *far_keys = scratch, *far_values = far_keys + size * far_room, *keys = far_values + prefix * wide;
    float *values = keys + size * room, *scores = values + room * wide, *read = scores + BLOCK * score_row;
    float sums[BLOCK];
    for (int64_t kv = 0; kv < kv_heads; kv++) {
        if (prefix) {
            transposed(far_k + kv * far_k_head, far_k_token, prefix, size, far_keys, far_room);
            copied(far_v + kv * far_v_head, far_v_token, prefix, value_size, far_values, wide);
        }
        const int64_t *told = rows;
        for (int64_t row = 0; row < count; row++) {
            int64_t first = told[0], segments = told[1], length = 0;
            const int64_t *lengths = told + 2;
            told = lengths + segments;
            for (int64_t segment = 0; segment < segments; segment++) length += lengths[segment];
            transposed(k + kv * k_head + first * k_token, k_token, length, size, keys, room);
            copied(v + kv * v_head + first * v_token, v_token, length, value_size, values, wide);
            for (int64_t head = kv * group; head < (kv + 1) * group; head++) {
                int64_t start = 0;
                for (int64_t segment = 0; segment < segments; start += lengths[segment], segment++)
                    for (int64_t begin = 0; begin < lengths[segment]; begin += BLOCK) {
                        int64_t left = lengths[segment] - begin, many = left < BLOCK ? left : BLOCK;
                        int64_t question = segment ? lengths[0] : 0;
                        range ranges[3] = {
                            {far_keys, far_values, far_room, prefix, prefix},
                            {keys, values, room, question, question},
                            {keys + start, values + start * wide, room, begin + many, begin + 1},
                        };
                        int64_t token = first + start + begin;
                        block(q + head * q_head + token * q_token, q_token, many, ranges, size, wide, scale, scores,
                              score_row, read, sums);
                        for (int64_t i = 0; i < many; i++) {
                            float *to = out + ((token + i) * heads + head) * value_size, share = 1.0f / sums[i];
                            for (int64_t j = 0; j < value_size; j++) to[j] = read[i * wide + j] * share;
                        }
                    }
            }
        }
    }
}

/* ---- attention of one token a row ---- */

/* Floats to which rows of floats are rounded up here. */
int64_t vector_size(void) { return VECTOR; }

/* Keys and values of a prefix, (heads, count, size) by their strides, as `step` reads them: keys (heads, size, room),
   values (heads, count, wide). */
void laid(const float *k, int64_t k_head, int64_t k_token, const float *v, int64_t v_head, int64_t v_token,
          int64_t count, int64_t heads, int64_t size, int64_t value_size, float *keys, float *values) {
    int64_t room = whole(count) + VECTOR, wide = whole(value_size);
    for (int64_t head = 0; head < heads; head++) {
        transposed(k + head * k_head, k_token, count, size, keys + head * size * room, room);
        copied(v + head * v_head, v_token, count, value_size, values + head * count * wide, wide);
    }
}

/* Floats of scratch for rows that hold at most `longest` tokens, their own included. */
int64_t step_scratch(int64_t prefix, int64_t longest, int64_t size, int64_t value_size) {
    return BLOCK * (size + whole(prefix) + whole(longest) + whole(value_size) + 2 * VECTOR);
}

/* Scores of a query to the keys that its row holds, then weights and their sum over the prefix and these. */
static float weighed(const float *query, const float *keys, float *far, int64_t prefix, float *near, int64_t length,
                     int64_t size, float scale) {
    for (int64_t t = 0; t < length; t++) {
        float dot = 0.0f;
#pragma omp simd reduction(+ : dot)
        for (int64_t i = 0; i < size; i++) dot += query[i] * keys[t * size + i];
        near[t] = dot;
    }
    float top = -INFINITY, sum = 0.0f;
#pragma omp simd reduction(max : top)
    for (int64_t t = 0; t < prefix; t++) top = far[t] > top ? far[t] : top;
#pragma omp simd reduction(max : top)
    for (int64_t t = 0; t < length; t++) top = near[t] > top ? near[t] : top;
#pragma omp simd reduction(+ : sum)
    for (int64_t t = 0; t < prefix; t++) sum += far[t] = exponential((far[t] - top) * scale);
#pragma omp simd reduction(+ : sum)
    for (int64_t t = 0; t < length; t++) sum += near[t] = exponential((near[t] - top) * scale);
    return sum;
}

/* Each row's new token: its key and value are written where its row ends, and it reads the prefix and its row.
   `keys` and `values` are (rows, kv_heads, capacity, size); `lengths` says how many tokens each row held before.
   `far_keys` and `far_values` are as `laid` makes them. Out is (rows, heads, value_size). Only the kv heads from `first`
   to before `last` are gone through, so that threads may share them. */
void step(const float *q, int64_t q_row, int64_t q_head, const float *k, int64_t k_row, int64_t k_head, const float *v,
          int64_t v_row, int64_t v_head, const float *far_keys, const float *far_values, int64_t prefix, float *keys,
          float *values, int64_t capacity, const int64_t *lengths, int64_t rows, float *out, int64_t heads,
          int64_t kv_heads, int64_t first, int64_t last, int64_t size, int64_t value_size, int64_t longest, float scale,
          float *scratch) {
    int64_t group = heads / kv_heads, wide = whole(value_size), room = whole(prefix) + VECTOR;
    int64_t score_row = whole(prefix) + whole(longest) + 2 * VECTOR;
    float *queries = scratch, *scores = queries + BLOCK * size, *read = scores + BLOCK * score_row, sums[BLOCK];
    for (int64_t kv = first; kv < last; kv++) {
        for (int64_t row = 0; row < rows; row++) {
            float *key = keys + ((row * kv_heads + kv) * capacity + lengths[row]) * size;
            float *value = values + ((row * kv_heads + kv) * capacity + lengths[row]) * value_size;
            for (int64_t i = 0; i < size; i++) key[i] = k[row * k_row + kv * k_head + i];
            for (int64_t i = 0; i < value_size; i++) value[i] = v[row * v_row + kv * v_head + i];
        }
        for (int64_t begin = 0; begin < rows * group; begin += BLOCK) {
            int64_t count = rows * group - begin < BLOCK ? rows * group - begin : BLOCK;
            for (int64_t n = 0; n < count; n++) {
                const float *from = q + (begin + n) / group * q_row + (kv * group + (begin + n) % group) * q_head;
                for (int64_t i = 0; i < size; i++) queries[n * size + i] = from[i];
            }
            if (prefix)
                product(count, prefix, size, queries, size, far_keys + kv * size * room, room, scores, score_row, 0);
            for (int64_t n = 0; n < count; n++) {
                int64_t row = (begin + n) / group;
                float *far = scores + n * score_row;
                sums[n] = weighed(queries + n * size, keys + (row * kv_heads + kv) * capacity * size, far, prefix,
                                  far + room, lengths[row] + 1, size, scale);
            }
            if (prefix)
                product(count, wide, prefix, scores, score_row, far_values + kv * prefix * wide, wide, read, wide, 0);
            else
                for (int64_t i = 0; i < count * wide; i++) read[i] = 0.0f;
            for (int64_t n = 0; n < count; n++) {
                int64_t row = (begin + n) / group;
                const float *near = scores + n * score_row + room;
                const float *value = values + (row * kv_heads + kv) * capacity * value_size;
                float *from = read + n * wide, share = 1.0f / sums[n];
                for (int64_t t = 0; t <= lengths[row]; t++)
#pragma omp simd
                    for (int64_t i = 0; i < value_size; i++) from[i] += near[t] * value[t * value_size + i];
                float *to = out + (row * heads + kv * group + (begin + n) % group) * value_size;
                for (int64_t i = 0; i < value_size; i++) to[i] = from[i] * share;
            }
        }
    }
}

/* ---- sums over the vocabulary ---- */

/* Takes logits (rows, words) up into the greatest of each row and the sum of e^(logit - greatest). */
void total(const float *logits, int64_t rows, int64_t words, float *top, float *sums) {
    for (int64_t row = 0; row < rows; row++) {
        const float *x = logits + row * words;
        float higher = top[row], sum = 0.0f;
#pragma omp simd reduction(max : higher)
        for (int64_t i = 0; i < words; i++) higher = x[i] > higher ? x[i] : higher;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < words; i++) sum += exponential(x[i] - higher);
        sums[row] = sums[row] * exponential(top[row] - higher) + sum;
        top[row] = higher;
    }
}
