/* What lies between the matrix products of a decoder, forward and backward, for one thread of a CPU.

   Each function goes over whole rows with everything fused that a framework would do in many passes over memory.
   Matrices are row-major. `element` is what matrix products read and write: float, or bfloat16 with -DBFLOAT16.
   The residual stream, gains, and all sums are float. No function allocates, and none shares state, so that threads
   may call them at once. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef BFLOAT16
typedef uint16_t element;
static inline float load(element value) {
    uint32_t bits = (uint32_t)value << 16;
    float out;
    memcpy(&out, &bits, 4);
    return out;
}
static inline element store(float value) { /* to nearest, ties to even */
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return (element)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
#else
typedef float element;
static inline float load(element value) { return value; }
static inline element store(float value) { return value; }
#endif

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
    int32_t power, bits;
    memcpy(&power, &shifted, 4);
    bits = (int32_t)((uint32_t)power << 23) + 0x3f800000;
    float scale;
    memcpy(&scale, &bits, 4);
    return sum * scale;
}

/* How many of the compiler's tuning flags were taken. */
int64_t tuning(void) { return TUNING; }

/* ---- embedding ---- */

void embed(const int64_t *tokens, const float *table, float *stream, int64_t rows, int64_t width) {
    for (int64_t row = 0; row < rows; row++)
        memcpy(stream + row * width, table + tokens[row] * width, (size_t)width * sizeof(float));
}

void embed_backward(const int64_t *tokens, const float *gradient, float *table, int64_t rows, int64_t width) {
    for (int64_t row = 0; row < rows; row++) {
        float *to = table + tokens[row] * width;
        const float *from = gradient + row * width;
#pragma omp simd
        for (int64_t i = 0; i < width; i++) to[i] += from[i];
    }
}

/* ---- RMSNorm, with the addition to the stream that comes before it ---- */

/* after = before + change (change may be null, and after then is before); normed = after * scale * gain */
void norm_forward(const float *before, const element *change, const float *gain, float *after, element *normed,
                  float *scales, int64_t rows, int64_t width, float epsilon) {
    for (int64_t row = 0; row < rows; row++) {
        const float *x = before + row * width;
        float *y = after + row * width;
        element *n = normed + row * width;
        float square = 0.0f;
        if (change) {
            const element *c = change + row * width;
#pragma omp simd reduction(+ : square)
            for (int64_t i = 0; i < width; i++) {
                float value = x[i] + load(c[i]);
                y[i] = value;
                square += value * value;
            }
        } else {
#pragma omp simd reduction(+ : square)
            for (int64_t i = 0; i < width; i++) square += x[i] * x[i];
        }
        const float *from = change ? y : x;
        float scale = 1.0f / sqrtf(square / (float)width + epsilon);
        scales[row] = scale;
#pragma omp simd
        for (int64_t i = 0; i < width; i++) n[i] = store(from[i] * scale * gain[i]);
    }
}

/* Adds the norm's gradient to that of the stream (or begins it, with `first`), and gives it as elements too. */
void norm_backward(const element *normed_gradient, const float *stream, const float *scales, const float *gain,
                   float *stream_gradient, element *copy, float *gain_gradient, int64_t rows, int64_t width,
                   int64_t first) {
    for (int64_t row = 0; row < rows; row++) {
        const element *d = normed_gradient + row * width;
        const float *x = stream + row * width;
        float *out = stream_gradient + row * width;
        element *c = copy + row * width;
        float scale = scales[row], dot = 0.0f;
#pragma omp simd reduction(+ : dot)
        for (int64_t i = 0; i < width; i++) dot += load(d[i]) * gain[i] * x[i];
        float pull = dot * scale * scale * scale / (float)width;
        if (first) memset(out, 0, (size_t)width * sizeof(float));
#pragma omp simd
        for (int64_t i = 0; i < width; i++) {
            float upstream = load(d[i]);
            gain_gradient[i] += upstream * x[i] * scale;
            float value = out[i] + upstream * gain[i] * scale - x[i] * pull;
            out[i] = value;
            c[i] = store(value);
        }
    }
}

/* ---- SwiGLU: both holds gate and up side by side, (rows, 2 hidden) ---- */

void swiglu_forward(const element *both, element *out, int64_t rows, int64_t hidden) {
    for (int64_t row = 0; row < rows; row++) {
        const element *gate = both + row * 2 * hidden, *up = gate + hidden;
        element *o = out + row * hidden;
#pragma omp simd
        for (int64_t i = 0; i < hidden; i++) {
            float g = load(gate[i]);
            float open = 1.0f / (1.0f + exponential(-g));
            o[i] = store(g * open * load(up[i]));
        }
    }
}

/* Replaces gate and up by their gradients. */
void swiglu_backward(element *both, const element *out_gradient, int64_t rows, int64_t hidden) {
    for (int64_t row = 0; row < rows; row++) {
        element *gate = both + row * 2 * hidden, *up = gate + hidden;
        const element *d = out_gradient + row * hidden;
#pragma omp simd
        for (int64_t i = 0; i < hidden; i++) {
            float g = load(gate[i]), u = load(up[i]), upstream = load(d[i]);
            float open = 1.0f / (1.0f + exponential(-g));
            gate[i] = store(upstream * u * open * (1.0f + g * (1.0f - open)));
            up[i] = store(upstream * g * open);
        }
    }
}

/* ---- cross-entropy: logits become their gradients times `scale`; returns the sum of losses in nats ---- */

double cross_entropy(element *logits, const int64_t *targets, float *row_buffer, int64_t rows, int64_t vocab,
                     float scale) {
    double total = 0.0;
    for (int64_t row = 0; row < rows; row++) {
        element *l = logits + row * vocab;
        float top = -INFINITY, sum = 0.0f;
#pragma omp simd reduction(max : top)
        for (int64_t i = 0; i < vocab; i++) {
            float value = load(l[i]);
            row_buffer[i] = value;
            top = value > top ? value : top;
        }
        float right = row_buffer[targets[row]];
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < vocab; i++) {
            row_buffer[i] = exponential(row_buffer[i] - top);
            sum += row_buffer[i];
        }
        total += (double)(logf(sum) + top - right);
        float share = scale / sum;
        row_buffer[targets[row]] -= sum;
#pragma omp simd
        for (int64_t i = 0; i < vocab; i++) l[i] = store(row_buffer[i] * share);
    }
    return total;
}

/* ---- causal attention with grouped queries and rotary on the first half of each head ---- */

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
#define BLOCK 32 /* queries that are worked on together: one triangle of so many keys is computed in vain */

typedef float vector __attribute__((vector_size(VECTOR * 4), aligned(4), may_alias));

/* c (m, n) = or += a (m, k) b (k, n), where a[i, j] is at i * down + j * along, for m rows and `v` vectors of c. */
#define PRODUCT(NAME, M, V)                                                                                          \
    static inline void NAME(int64_t k, const float *a, int64_t down, int64_t along, const float *b, int64_t b_row,    \
                            float *c, int64_t c_row, int add) {                                                       \
        vector sum[M][V];                                                                                             \
        for (int i = 0; i < M; i++)                                                                                   \
            for (int j = 0; j < V; j++)                                                                               \
                sum[i][j] = add ? *(const vector *)(c + i * c_row + j * VECTOR) : (vector){0};                        \
        for (int64_t step = 0; step < k; step++) {                                                                    \
            vector right[V];                                                                                          \
            for (int j = 0; j < V; j++) right[j] = *(const vector *)(b + step * b_row + j * VECTOR);                  \
            for (int i = 0; i < M; i++) {                                                                             \
                float left = a[i * down + step * along];                                                              \
                for (int j = 0; j < V; j++) sum[i][j] += left * right[j];                                             \
            }                                                                                                         \
        }                                                                                                             \
        for (int i = 0; i < M; i++)                                                                                   \
            for (int j = 0; j < V; j++) *(vector *)(c + i * c_row + j * VECTOR) = sum[i][j];                          \
    }
PRODUCT(product_tile_2, TILE, 2)
PRODUCT(product_tile_1, TILE, 1)
PRODUCT(product_row_2, 1, 2)
PRODUCT(product_row_1, 1, 1)

static void product(int64_t m, int64_t n, int64_t k, const float *a, int64_t down, int64_t along, const float *b,
                    int64_t b_row, float *c, int64_t c_row, int add) {
    for (int64_t j = 0; j < n; j += 2 * VECTOR) {
        int two = j + 2 * VECTOR <= n;
        int64_t i = 0;
        for (; i + TILE <= m; i += TILE)
            (two ? product_tile_2 : product_tile_1)(k, a + i * down, down, along, b + j, b_row, c + i * c_row + j,
                                                    c_row, add);
        for (; i < m; i++)
            (two ? product_row_2 : product_row_1)(k, a + i * down, down, along, b + j, b_row, c + i * c_row + j, c_row,
                                                  add);
    }
}

typedef struct {
    int64_t length, heads, kv_heads, size; /* tokens of a sequence, query heads, key heads, dimensions of a head */
    const float *cosine, *sine;            /* (length, size / 4) */
} shape;

static inline int64_t padded(int64_t count) { return (count + VECTOR - 1) / VECTOR * VECTOR; }

/* A head's rows out of a matrix with `row` elements a row, turned by position, into (length, padded size). */
static void gather(const shape *s, const element *from, int64_t row, int turn, float *to, int64_t begin, int64_t end) {
    int64_t quarter = s->size / 4, wide = padded(s->size);
    for (int64_t t = begin; t < end; t++) {
        const element *x = from + t * row;
        float *y = to + (t - begin) * wide;
        for (int64_t i = 0; i < s->size; i++) y[i] = load(x[i]);
        for (int64_t i = s->size; i < wide; i++) y[i] = 0.0f;
        if (!turn) continue;
        const float *cosine = s->cosine + t * quarter, *sine = s->sine + t * quarter;
        for (int64_t i = 0; i < quarter; i++) {
            float first = y[2 * i], second = y[2 * i + 1];
            y[2 * i] = first * cosine[i] - second * sine[i];
            y[2 * i + 1] = first * sine[i] + second * cosine[i];
        }
    }
}

/* The way back: turned the other way round, into elements. */
static void scatter(const shape *s, const float *from, int turn, element *to, int64_t row, int64_t begin, int64_t end) {
    int64_t quarter = s->size / 4, wide = padded(s->size);
    for (int64_t t = begin; t < end; t++) {
        const float *x = from + (t - begin) * wide;
        element *y = to + t * row;
        int64_t i = 0;
        if (turn) {
            const float *cosine = s->cosine + t * quarter, *sine = s->sine + t * quarter;
            for (; i < quarter; i++) {
                y[2 * i] = store(x[2 * i] * cosine[i] + x[2 * i + 1] * sine[i]);
                y[2 * i + 1] = store(x[2 * i + 1] * cosine[i] - x[2 * i] * sine[i]);
            }
            i = 2 * quarter;
        }
        for (; i < s->size; i++) y[i] = store(x[i]);
    }
}

static void transpose(const float *from, int64_t rows, int64_t columns, float *to, int64_t to_row) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) to[c * to_row + r] = from[r * columns + c];
    for (int64_t c = 0; c < columns; c++)
        for (int64_t r = rows; r < to_row; r++) to[c * to_row + r] = 0.0f;
}

/* Floats of scratch that either direction of attention needs. */
int64_t attention_scratch(int64_t length, int64_t size) {
#ifdef HAVE_PAIRS
    if (pairs_fit(length, size)) return pairs_scratch(length, size);
#endif
    return 6 * padded(length) * padded(size) + 4 * BLOCK * padded(size) + 2 * BLOCK * padded(length);
}

/* qkv (sequences * length, (heads + 2 kv_heads) * size) to out (.., heads * size); logs: log of each softmax's sum */
void attention_forward(const element *qkv, element *out, float *logs, const float *cosine, const float *sine,
                       float *scratch, int64_t sequences, int64_t length, int64_t heads, int64_t kv_heads,
                       int64_t size) {
#ifdef HAVE_PAIRS
    if (pairs_fit(length, size)) {
        pairs_forward(qkv, out, logs, cosine, sine, scratch, sequences, length, heads, kv_heads, size);
        return;
    }
#endif
    shape s = {length, heads, kv_heads, size, cosine, sine};
    int64_t wide = padded(size), long_ = padded(length), row = (heads + 2 * kv_heads) * size, group = heads / kv_heads;
    float *keys = scratch, *values = keys + long_ * wide, *keys_t = values + long_ * wide;
    float *queries = keys_t + long_ * wide, *read = queries + BLOCK * wide, *scores = read + BLOCK * wide;
    float root = 1.0f / sqrtf((float)size), shares[BLOCK];
    for (int64_t pair = 0; pair < sequences * kv_heads; pair++) {
        int64_t sequence = pair / kv_heads, kv = pair % kv_heads;
        const element *rows = qkv + sequence * length * row;
        gather(&s, rows + (heads + kv) * size, row, 1, keys, 0, length);
        gather(&s, rows + (heads + kv_heads + kv) * size, row, 0, values, 0, length);
        transpose(keys, length, wide, keys_t, long_);
        for (int64_t head = kv * group; head < (kv + 1) * group; head++)
            for (int64_t begin = 0; begin < length; begin += BLOCK) {
                int64_t end = begin + BLOCK < length ? begin + BLOCK : length, count = end - begin;
                gather(&s, rows + head * size, row, 1, queries, begin, end);
                product(count, padded(end), size, queries, wide, 1, keys_t, long_, scores, long_, 0);
                for (int64_t i = 0; i < count; i++) {
                    float *p = scores + i * long_, top = -INFINITY, sum = 0.0f;
                    int64_t seen = begin + i + 1, whole = padded(seen); /* whole vectors: no slow remainders */
                    for (int64_t j = seen; j < whole; j++) p[j] = -INFINITY;
#pragma omp simd reduction(max : top)
                    for (int64_t j = 0; j < whole; j++) top = p[j] > top ? p[j] : top;
#pragma omp simd reduction(+ : sum)
                    for (int64_t j = 0; j < whole; j++) { /* what is past `seen` adds 1e-38, which is nothing */
                        p[j] = exponential((p[j] - top) * root);
                        sum += p[j];
                    }
                    for (int64_t j = seen; j < end; j++) p[j] = 0.0f;
                    shares[i] = 1.0f / sum;
                    logs[(sequence * length + begin + i) * heads + head] = top * root + logf(sum);
                }
                product(count, wide, end, scores, long_, 1, values, wide, read, wide, 0);
                for (int64_t i = 0; i < count; i++)
                    for (int64_t j = 0; j < wide; j++) read[i * wide + j] *= shares[i];
                scatter(&s, read, 0, out + sequence * length * heads * size + head * size, heads * size, begin, end);
            }
    }
}

/* Gradient of qkv from that of out, after Dao et al. 2022 (FlashAttention, algorithm 4): softmax is done again. */
void attention_backward(const element *qkv, const element *out, const element *out_gradient, const float *logs,
                        element *gradient, const float *cosine, const float *sine, float *scratch, int64_t sequences,
                        int64_t length, int64_t heads, int64_t kv_heads, int64_t size) {
#ifdef HAVE_PAIRS
    if (pairs_fit(length, size)) {
        pairs_backward(qkv, out, out_gradient, logs, gradient, cosine, sine, scratch, sequences, length, heads,
                       kv_heads, size);
        return;
    }
#endif
    shape s = {length, heads, kv_heads, size, cosine, sine};
    int64_t wide = padded(size), long_ = padded(length), row = (heads + 2 * kv_heads) * size, group = heads / kv_heads;
    float *keys = scratch, *values = keys + long_ * wide, *keys_t = values + long_ * wide;
    float *values_t = keys_t + long_ * wide, *d_keys = values_t + long_ * wide, *d_values = d_keys + long_ * wide;
    float *queries = d_values + long_ * wide, *d_read = queries + BLOCK * wide, *d_queries = d_read + BLOCK * wide;
    float *read = d_queries + BLOCK * wide, *scores = read + BLOCK * wide, *d_scores = scores + BLOCK * long_;
    float root = 1.0f / sqrtf((float)size);
    for (int64_t pair = 0; pair < sequences * kv_heads; pair++) {
        int64_t sequence = pair / kv_heads, kv = pair % kv_heads, from = sequence * length;
        const element *rows = qkv + from * row;
        element *d_rows = gradient + from * row;
        gather(&s, rows + (heads + kv) * size, row, 1, keys, 0, length);
        gather(&s, rows + (heads + kv_heads + kv) * size, row, 0, values, 0, length);
        transpose(keys, length, wide, keys_t, long_);
        transpose(values, length, wide, values_t, long_);
        memset(d_keys, 0, (size_t)(length * wide) * sizeof(float));
        memset(d_values, 0, (size_t)(length * wide) * sizeof(float));
        for (int64_t head = kv * group; head < (kv + 1) * group; head++)
            for (int64_t begin = 0; begin < length; begin += BLOCK) {
                int64_t end = begin + BLOCK < length ? begin + BLOCK : length, count = end - begin;
                int64_t at = from * heads * size + head * size;
                gather(&s, rows + head * size, row, 1, queries, begin, end);
                gather(&s, out + at, heads * size, 0, read, begin, end);
                gather(&s, out_gradient + at, heads * size, 0, d_read, begin, end);
                product(count, padded(end), size, queries, wide, 1, keys_t, long_, scores, long_, 0);
                product(count, padded(end), size, d_read, wide, 1, values_t, long_, d_scores, long_, 0);
                for (int64_t i = 0; i < count; i++) {
                    float *p = scores + i * long_, *d = d_scores + i * long_, dot = 0.0f;
                    float log = logs[(from + begin + i) * heads + head];
                    int64_t seen = begin + i + 1, whole = padded(seen);
#pragma omp simd reduction(+ : dot)
                    for (int64_t j = 0; j < wide; j++) dot += read[i * wide + j] * d_read[i * wide + j];
#pragma omp simd
                    for (int64_t j = 0; j < whole; j++) {
                        p[j] = exponential(p[j] * root - log);
                        d[j] = p[j] * (d[j] - dot) * root;
                    }
                    for (int64_t j = seen; j < end; j++) p[j] = d[j] = 0.0f;
                }
                product(end, wide, count, scores, 1, long_, d_read, wide, d_values, wide, 1);
                product(end, wide, count, d_scores, 1, long_, queries, wide, d_keys, wide, 1);
                product(count, wide, end, d_scores, long_, 1, keys, wide, d_queries, wide, 0);
                scatter(&s, d_queries, 1, d_rows + head * size, row, begin, end);
            }
        scatter(&s, d_keys, 1, d_rows + (heads + kv) * size, row, 0, length);
        scatter(&s, d_values, 0, d_rows + (heads + kv_heads + kv) * size, row, 0, length);
    }
}
