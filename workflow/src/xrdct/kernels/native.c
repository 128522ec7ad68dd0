/* The trimmed mean without sorting: the method of portable.py, which explains it, in C. Built by native.py.
 *
 * Loops are written for the compiler's vectoriser (-O3 -march=native); only the copy of selected elements, which no
 * compiler vectorises, has an AVX-512 form. No infinities or NaN enter the arithmetic (-ffinite-math-only): valid
 * pixels are finite, and FLT_MAX stands for "no limit".
 */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#define SAMPLE 64
#define LOOK_AHEAD 128 /* the same as in portable.py: the table's pixel numbers go on for so many */
#define N_SUMS 10      /* patterns.SUMS */

#ifdef __GNUC__
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define PREFETCH(address)
#endif

/* Whether no pixel can be invalid, from its value as a float: a value above `highest` may round down to it, never
 * below. NaN and infinity are seen by their bits, since the compiler may assume that there are none. */
static int surely_valid(const float *signal, int64_t n, float lowest, float highest)
{
    int doubtful = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, signal + i, sizeof bits);
        doubtful |= ((bits & 0x7f800000u) == 0x7f800000u) | (signal[i] < lowest) | (signal[i] >= highest);
    }
    return !doubtful;
}

/* Copy the valid pixels of table rows begin ... end - 1 and their weights; their number. */
#define GATHER(NAME, TYPE, IS_VALID)                                                                              \
    static int64_t gather_##NAME(const void *frame, const void *bounds, const int32_t *indices,                   \
                                 const float *weights, int64_t begin, int64_t end, float *signal, float *weight)  \
    {                                                                                                             \
        const TYPE *pixels = frame, lowest = ((const TYPE *)bounds)[0], highest = ((const TYPE *)bounds)[1];      \
        int64_t n = 0, n_listed = end - begin;                                                                    \
        for (int64_t i = 0; i < n_listed; i++) {                                                                  \
            PREFETCH(pixels + indices[begin + i + LOOK_AHEAD]);                                                   \
            signal[i] = (float)pixels[indices[begin + i]];                                                        \
        }                                                                                                         \
        if (surely_valid(signal, n_listed, (float)lowest, (float)highest)) {                                      \
            memcpy(weight, weights + begin, n_listed * sizeof(float));                                            \
            return n_listed;                                                                                      \
        }                                                                                                         \
        for (int64_t i = begin; i < end; i++) {                                                                   \
            TYPE value = pixels[indices[i]];                                                                      \
            signal[n] = (float)value;                                                                             \
            weight[n] = weights[i];                                                                               \
            n += IS_VALID;                                                                                        \
        }                                                                                                         \
        return n;                                                                                                 \
    }

#define IN_RANGE ((value >= lowest) & (value <= highest))
GATHER(int8, int8_t, IN_RANGE)
GATHER(uint8, uint8_t, IN_RANGE)
GATHER(int16, int16_t, IN_RANGE)
GATHER(uint16, uint16_t, IN_RANGE)
GATHER(int32, int32_t, IN_RANGE)
GATHER(uint32, uint32_t, IN_RANGE)
GATHER(int64, int64_t, IN_RANGE)
GATHER(uint64, uint64_t, IN_RANGE)

static inline int finite_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (bits & 0x7f800000u) != 0x7f800000u;
}
static inline int finite_double(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (bits & 0x7ff0000000000000u) != 0x7ff0000000000000u;
}
GATHER(float32, float, (finite_float(value) & IN_RANGE))
GATHER(float64, double, (finite_double(value) & IN_RANGE))

typedef int64_t (*gather_function)(const void *, const void *, const int32_t *, const float *, int64_t, int64_t,
                                   float *, float *);
/* In the order of patterns.PIXEL_TYPES. */
static const gather_function GATHERS[] = {gather_int8,  gather_uint8,  gather_int16, gather_uint16,  gather_int32,
                                          gather_uint32, gather_int64, gather_uint64, gather_float32, gather_float64};

static double sum(const float *values, int64_t n)
{
    double total = 0;
    for (int64_t i = 0; i < n; i++)
        total += values[i];
    return total;
}

static double weight_below(const float *key, const float *weight, int64_t n, float limit)
{
    double total = 0;
    for (int64_t i = 0; i < n; i++)
        total += key[i] < limit ? weight[i] : 0.0f;
    return total;
}

static float ranked(const float *sample, const int *n_smaller, double rank)
{
    if (rank < 0)
        return -FLT_MAX;
    if (rank >= SAMPLE)
        return FLT_MAX;
    float found = -FLT_MAX;
    for (int i = 0; i < SAMPLE; i++)
        found = n_smaller[i] <= rank && sample[i] > found ? sample[i] : found;
    return found;
}

/* Keys that hold the lower (0, 1) and the upper (2, 3) cut between them. */
static void find_brackets(const float *key, int64_t n, double share, float bracket[4])
{
    float sample[SAMPLE];
    int n_smaller[SAMPLE];
    bracket[0] = bracket[2] = -FLT_MAX;
    bracket[1] = bracket[3] = FLT_MAX;
    if (n <= 4 * SAMPLE)
        return;
    for (int i = 0; i < SAMPLE; i++)
        sample[i] = key[i * n / SAMPLE];
    for (int i = 0; i < SAMPLE; i++) {
        n_smaller[i] = 0;
        for (int j = 0; j < SAMPLE; j++)
            n_smaller[i] += sample[j] < sample[i];
    }
    double margin = 2 * sqrt(share * (1 - share) * SAMPLE) + 1;
    bracket[0] = ranked(sample, n_smaller, floor(share * SAMPLE - margin));
    bracket[1] = ranked(sample, n_smaller, ceil(share * SAMPLE + margin));
    bracket[2] = ranked(sample, n_smaller, floor((1 - share) * SAMPLE - margin));
    bracket[3] = ranked(sample, n_smaller, ceil((1 - share) * SAMPLE + margin));
}

/* Copy the keys from low to high and their weights; their number. The copies may be overrun by 16 elements. */
static int64_t inside(const float *key, const float *weight, int64_t n, float low, float high, float *keys,
                      float *weights)
{
    int64_t n_inside = 0;
#ifdef __AVX512F__
    __m512 from = _mm512_set1_ps(low), to = _mm512_set1_ps(high);
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 loaded = n - i >= 16 ? 0xffff : (__mmask16)((1u << (n - i)) - 1);
        __m512 k = _mm512_maskz_loadu_ps(loaded, key + i), w = _mm512_maskz_loadu_ps(loaded, weight + i);
        __mmask16 chosen = _mm512_mask_cmp_ps_mask(loaded, k, from, _CMP_GE_OQ);
        chosen = _mm512_mask_cmp_ps_mask(chosen, k, to, _CMP_LE_OQ);
        /* Compressed in a register and stored whole: a compressing store to memory is slow on some processors. */
        _mm512_storeu_ps(keys + n_inside, _mm512_maskz_compress_ps(chosen, k));
        _mm512_storeu_ps(weights + n_inside, _mm512_maskz_compress_ps(chosen, w));
        n_inside += __builtin_popcount(chosen);
    }
#else
    for (int64_t i = 0; i < n; i++) {
        keys[n_inside] = key[i];
        weights[n_inside] = weight[i];
        n_inside += (key[i] >= low) & (key[i] <= high);
    }
#endif
    return n_inside;
}

/* Largest key with base + (weight of smaller keys) <= target, and that weight; base <= target < base + all. */
static float search(const float *key, const float *weight, int64_t n, double base, double target, double *weight_under)
{
    float low = FLT_MAX, high = -FLT_MAX;
    for (int64_t i = 0; i < n; i++) {
        low = key[i] < low ? key[i] : low;
        high = key[i] > high ? key[i] : high;
    }
    double below = base, above = base + sum(weight, n);
    for (int trial = 1; low < high; trial++) {
        float step = trial % 3 ? (float)((target - below) / (above - below)) : 0.5f;
        float limit = low + (high - low) * step;
        limit = limit > low ? limit : nextafterf(low, FLT_MAX);
        limit = limit < high ? limit : high;
        float largest_under = -FLT_MAX, smallest_over = FLT_MAX;
        double under = 0;
        for (int64_t i = 0; i < n; i++) {
            int is_under = key[i] < limit;
            float lower = is_under ? key[i] : -FLT_MAX, upper = is_under ? FLT_MAX : key[i];
            under += is_under ? weight[i] : 0.0f;
            largest_under = lower > largest_under ? lower : largest_under;
            smallest_over = upper < smallest_over ? upper : smallest_over;
        }
        under += base;
        if (under <= target) {
            low = smallest_over;
            below = under;
        } else {
            high = largest_under;
            above = under;
        }
    }
    *weight_under = below;
    return low;
}

/* Largest key with at most `target` of weight below it, and that weight; looked for in low <= key <= high first. */
static float cut(const float *key, const float *weight, int64_t n, const float bracket[2], double target, float *keys,
                 float *weights, double *weight_under)
{
    if (n > 4 * SAMPLE) {
        double below = weight_below(key, weight, n, bracket[0]);
        int64_t n_inside = inside(key, weight, n, bracket[0], bracket[1], keys, weights);
        if (below <= target && below + sum(weights, n_inside) > target)
            return search(keys, weights, n_inside, below, target, weight_under);
    }
    return search(key, weight, n, 0, target, weight_under);
}

static void sum_part(const float *signal, const float *weight, const float *key, int64_t n, double trim, float *keys,
                     float *weights, double *sums)
{
    float bracket[4];
    double ignored, below_high;
    memset(sums, 0, N_SUMS * sizeof(double));
    if (n == 0)
        return;
    double total = sum(weight, n);
    double low_target = trim / 2 * total, high_target = nextafter((1 - trim / 2) * total, 0.0);
    find_brackets(key, n, trim / 2, bracket);
    float low = cut(key, weight, n, bracket, low_target, keys, weights, &ignored);
    float high = cut(key, weight, n, bracket + 2, high_target, keys, weights, &below_high);

    int n_kept = 0;
    double weight_inside = 0, signal_inside = 0, square_inside = 0;
    for (int64_t i = 0; i < n; i++) {
        int is_inside = (key[i] > low) & (key[i] < high);
        float distance = key[i] - low;
        n_kept += (key[i] >= low) & (key[i] <= high);
        weight_inside += is_inside ? weight[i] : 0.0f;
        signal_inside += is_inside ? signal[i] : 0.0f;
        square_inside += is_inside ? weight[i] * distance * distance : 0.0f;
    }
    double found[N_SUMS] = {(double)n,  total,          sum(signal, n), low,           high,
                            below_high, (double)n_kept, weight_inside,  signal_inside, square_inside};
    memcpy(sums, found, sizeof found);
}

/* Sums of `n_frames` frames; arguments as portable.sum_frame and `pixel_type`, an index into patterns.PIXEL_TYPES,
 * `bounds`, the two values of that type, and room to work: `start` of n_parts + 1, `scratch` of 5 x (longest + 16). */
void sum_frames(const char *frames, int64_t n_frames, int64_t frame_bytes, int32_t pixel_type, const void *bounds,
                const int32_t *indices, const int64_t *edges, const float *weights, int64_t n_bins, int64_t n_parts,
                double trim, int64_t *start, float *scratch, int64_t longest, double *sums)
{
    int64_t room = longest + 16;
    float *signal = scratch, *weight = scratch + room, *key = scratch + 2 * room;
    float *keys = scratch + 3 * room, *weights_inside = scratch + 4 * room;
    for (int64_t frame = 0; frame < n_frames; frame++, frames += frame_bytes) {
        for (int64_t b = 0; b < n_bins; b++) {
            const int64_t *edge = edges + b * (n_parts + 1);
            start[0] = 0;
            for (int64_t part = 0; part < n_parts; part++)
                start[part + 1] =
                    start[part] + GATHERS[pixel_type](frames, bounds, indices, weights, edge[part], edge[part + 1],
                                                      signal + start[part], weight + start[part]);
            for (int64_t i = 0; i < start[n_parts]; i++)
                key[i] = signal[i] / weight[i];
            sum_part(signal, weight, key, start[n_parts], trim, keys, weights_inside, sums);
            sums += N_SUMS;
            for (int64_t part = 0; n_parts > 1 && part < n_parts; part++, sums += N_SUMS) {
                int64_t first = start[part], n = start[part + 1] - first;
                sum_part(signal + first, weight + first, key + first, n, trim, keys, weights_inside, sums);
            }
        }
    }
}
