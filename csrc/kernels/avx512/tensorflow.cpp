// tf.image: bilinear, nearest and antialias.
#include "kernels512.hpp"
#include "vector.hpp"

namespace edgecnn {
namespace {

struct Lerp {
    __m512i left, right;

    // Pixel j of 4 stands at byte 8 * j and goes to 128-bit lane j; lane c of it takes the channel order[c].
    Lerp(int channels, const int order[4]) {
        const __m512i pixel = _mm512_setr_epi32(0, 0, 0, 0, 8, 8, 8, 8, 16, 16, 16, 16, 24, 24, 24, 24);
        const __m512i channel =
            _mm512_broadcast_i32x4(_mm_setr_epi32(order[0], order[1], order[2], order[3]));
        left = _mm512_add_epi32(pixel, channel);
        right = _mm512_add_epi32(left, _mm512_set1_epi32(channels));
    }

    // 8 bytes at each of 4 columns -> 4 pixels, a 128-bit lane each, joined by t.
    __m512 row(const uint8_t* in, const ptrdiff_t at[4], __m512 t) const {
        const __m128i low = _mm_unpacklo_epi64(load8(in + at[0]), load8(in + at[1]));
        const __m128i high = _mm_unpacklo_epi64(load8(in + at[2]), load8(in + at[3]));
        const __m512i v =
            _mm512_castsi256_si512(_mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1));
        const __m512 l = lift(left, v), r = lift(right, v);
        return _mm512_add_ps(_mm512_sub_ps(l, two23()), _mm512_mul_ps(_mm512_sub_ps(r, l), t));
    }
};

// Normalisation; which operations there are is fixed for a plan.
struct PixelNormalise {
    bool has_scale, has_divisor, has_offset, has_mean;
    __m512 scale, divisor, offset, mean, std;

    // channel: of the tensor, in each lane; 3 for a lane that is not used.
    PixelNormalise(const Emit& e, __m512i channel)
        : has_scale(e.has_scale),
          has_divisor(e.has_divisor),
          has_offset(e.has_offset),
          has_mean(e.has_mean),
          scale(_mm512_set1_ps(e.scale)),
          divisor(_mm512_set1_ps(e.divisor)),
          offset(_mm512_set1_ps(e.offset)),
          mean(_mm512_permutexvar_ps(
              channel, _mm512_castps128_ps512(_mm_setr_ps(e.mean[0], e.mean[1], e.mean[2], 0)))),
          std(_mm512_permutexvar_ps(channel,
                                    _mm512_castps128_ps512(_mm_setr_ps(e.std[0], e.std[1], e.std[2], 1)))) {}

    __m512 operator()(__m512 v) const {
        if (has_scale) v = _mm512_mul_ps(v, scale);
        if (has_divisor) v = _mm512_div_ps(v, divisor);
        if (has_offset) v = _mm512_add_ps(v, offset);
        if (has_mean) v = _mm512_div_ps(_mm512_sub_ps(v, mean), std);
        return v;
    }
};

// Pixels 0 .. count - 1, a multiple of 4, `step` (3 or 4) floats each.
template <typename Finish>
void lerp_pixels(const uint8_t* top, const uint8_t* bottom, const int32_t* index, const float* lerp,
                 float lerp_y, int count, int channels, const int order[4], int step, float* out,
                 Finish finish) {
    const Lerp lerps(channels, order);
    const __m512 ty = _mm512_set1_ps(lerp_y);
    const __m512i spread = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    // Leaves the fourth lane of each pixel out.
    const __mmask16 keep = step == 3 ? 0x7777 : 0xFFFF;
    for (int x = 0; x < count; x += 4, out += 4 * step) {
        ptrdiff_t at[4];
        for (int j = 0; j < 4; ++j) at[j] = static_cast<ptrdiff_t>(index[2 * (x + j)]) * channels;
        const __m512 t = _mm512_permutexvar_ps(spread, _mm512_castps128_ps512(_mm_loadu_ps(lerp + x)));
        const __m512 upper = lerps.row(top, at, t), lower = lerps.row(bottom, at, t);
        const __m512 v = finish(_mm512_add_ps(upper, _mm512_mul_ps(_mm512_sub_ps(lower, upper), ty)));
        const __mmask16 whole = step == 3 ? 0x0FFF : 0xFFFF;
        _mm512_mask_storeu_ps(out, whole, _mm512_maskz_compress_ps(keep, v));
    }
}

void lerp_row(const uint8_t* top, const uint8_t* bottom, const int32_t* index, const float* lerp,
              float lerp_y, int safe, int width, int channels, float* out) {
    const int done = channels == 1 ? 0 : safe / 4 * 4;
    const int order[4] = {0, 1, 2, channels == 4 ? 3 : 0};
    lerp_pixels(top, bottom, index, lerp, lerp_y, done, channels, order, channels, out,
                [](__m512 v) { return v; });
    narrow().lerp_row(top, bottom, index + 2 * done, lerp + done, lerp_y, safe - done, width - done, channels,
                      out + static_cast<ptrdiff_t>(done) * channels);
}

void lerp_emit(const uint8_t* top, const uint8_t* bottom, const int32_t* index, const float* lerp,
               float lerp_y, int safe, int width, const Emit& e, float* out) {
    const int done = e.in_channels == 1 || e.channels == 1 ? 0 : safe / 4 * 4;
    const int order[4] = {e.order[0], e.order[1], e.order[2], e.order[0]};
    lerp_pixels(top, bottom, index, lerp, lerp_y, done, e.in_channels, order, 3, out,
                PixelNormalise(e, _mm512_broadcast_i32x4(_mm_setr_epi32(0, 1, 2, 3))));
    if (done == width) return;
    narrow().lerp_emit(top, bottom, index + 2 * done, lerp + done, lerp_y, safe - done, width - done, e,
                       out + done * e.pixel_step);
}

// 16 pixels of 3 values are three vectors: value v of them is channel v % 3 of pixel v / 3.
struct Threes {
    alignas(64) int32_t pixel[3][16];
    alignas(64) int32_t channel[3][16];

    constexpr Threes() : pixel(), channel() {
        for (int v = 0; v < 48; ++v) {
            pixel[v / 16][v % 16] = v / 3;
            channel[v / 16][v % 16] = v % 3;
        }
    }
};

void nearest_emit(const uint8_t* in, const int32_t* index, int safe, int width, const Emit& e, float* out) {
    const int done = e.in_channels == 1 || e.channels == 1 ? 0 : safe;
    static constexpr Threes kThrees;
    const __m512i order =
        _mm512_setr_epi32(e.order[0], e.order[1], e.order[2], 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m512i step = _mm512_set1_epi32(e.in_channels);
    __m512i at[3];  // where each value stands in 16 pixels of 4 bytes
    const __m512i channel[3] = {load64(kThrees.channel[0]), load64(kThrees.channel[1]),
                                load64(kThrees.channel[2])};
    const PixelNormalise normalise[3] = {{e, channel[0]}, {e, channel[1]}, {e, channel[2]}};
    for (int j = 0; j < 3; ++j) {
        at[j] = _mm512_add_epi32(_mm512_slli_epi32(load64(kThrees.pixel[j]), 2),
                                 _mm512_permutexvar_epi32(channel[j], order));
    }
    for (int x = 0; x < done; x += 16) {
        const __mmask16 keep = static_cast<__mmask16>(first_bits(done - x));
        const __m512i from = _mm512_mullo_epi32(_mm512_maskz_loadu_epi32(keep, index + x), step);
        const __m512i pixels = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), keep, from, in, 1);
        for (int j = 0; j < 3; ++j) {
            const __mmask16 values = static_cast<__mmask16>(first_bits(3 * (done - x) - 16 * j));
            const __m512 v = normalise[j](_mm512_sub_ps(lift(at[j], pixels), two23()));
            _mm512_mask_storeu_ps(out + 3 * x + 16 * j, values, v);
        }
    }
    if (done < width) narrow().nearest_emit(in, index + done, 0, width - done, e, out + done * e.pixel_step);
}

// Rows whose weights are at hand at once.
constexpr int kRowsAtOnce = 9;

struct RowWeights {
    float w[2][kRowsAtOnce], less[2][kRowsAtOnce];
};

// 64 columns, or the first of them that keep names: their sums stay in registers over the rows. With `begin`
// sum_b starts from these rows.
template <bool kBoth, bool kAll>
void tf_strip(const uint8_t* row, ptrdiff_t stride, int rows, const RowWeights& weights, const __m512i at[4],
              __mmask64 keep, bool begin, float* sum_a, float* sum_b) {
    __m512 a[4], b[4];
    for (int j = 0; j < 4; ++j) {
        const __mmask16 some = kAll ? 0xFFFF : static_cast<__mmask16>(keep >> (16 * j));
        a[j] = _mm512_maskz_loadu_ps(some, sum_a + 16 * j);
        if (kBoth) b[j] = _mm512_maskz_loadu_ps(begin ? 0 : some, sum_b + 16 * j);
    }
    for (int k = 0; k < rows; ++k, row += stride) {
        const __m512i bytes = kAll ? load64(row) : _mm512_maskz_loadu_epi8(keep, row);
        for (int j = 0; j < 4; ++j) {
            const __m512 v = lift(at[j], bytes);
            a[j] = _mm512_add_ps(a[j], _mm512_fmadd_ps(_mm512_set1_ps(weights.w[0][k]), v,
                                                       _mm512_set1_ps(weights.less[0][k])));
            if (kBoth) {
                b[j] = _mm512_add_ps(b[j], _mm512_fmadd_ps(_mm512_set1_ps(weights.w[1][k]), v,
                                                           _mm512_set1_ps(weights.less[1][k])));
            }
        }
    }
    for (int j = 0; j < 4; ++j) {
        const __mmask16 some = kAll ? 0xFFFF : static_cast<__mmask16>(keep >> (16 * j));
        _mm512_mask_storeu_ps(sum_a + 16 * j, some, a[j]);
        if (kBoth) _mm512_mask_storeu_ps(sum_b + 16 * j, some, b[j]);
    }
}

template <bool kBoth>
void tf_vertical_of(const uint8_t* in, ptrdiff_t stride, int count, const float* weight_a,
                    const float* weight_b, int n, float* sum_a, float* sum_b) {
    __m512i at[4];
    for (int j = 0; j < 4; ++j) {
        at[j] = _mm512_add_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                                 _mm512_set1_epi32(16 * j));
    }
    for (int k = 0; k < count; k += kRowsAtOnce) {
        const int rows = least(kRowsAtOnce, count - k);
        RowWeights weights;
        for (int r = 0; r < rows; ++r) {
            weights.w[0][r] = weight_a[k + r];
            weights.w[1][r] = kBoth ? weight_b[k + r] : 0;
            for (int s = 0; s < 2; ++s) weights.less[s][r] = weights.w[s][r] * kLifted;
        }
        const uint8_t* const row = in + k * stride;
        int i = 0;
        for (; i + 64 <= n; i += 64) {
            tf_strip<kBoth, true>(row + i, stride, rows, weights, at, ~0ull, k == 0, sum_a + i,
                                  kBoth ? sum_b + i : nullptr);
        }
        if (i < n) {
            tf_strip<kBoth, false>(row + i, stride, rows, weights, at, first_bits(n - i), k == 0, sum_a + i,
                                   kBoth ? sum_b + i : nullptr);
        }
    }
}

void tf_vertical(const uint8_t* in, ptrdiff_t stride, int count, const float* weight_a, const float* weight_b,
                 int n, float* sum_a, float* sum_b) {
    (sum_b != nullptr ? tf_vertical_of<true> : tf_vertical_of<false>)(in, stride, count, weight_a, weight_b,
                                                                      n, sum_a, sum_b);
}

// Pixel p of four rows of sums, a row a 128-bit lane. The fourth lane of 3 channels reads into the next
// pixel.
__m512 load_sums(const float* const row[4], ptrdiff_t p) {
    __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(row[0] + p));
    v = _mm512_mask_broadcast_f32x4(v, 0x00F0, _mm_loadu_ps(row[1] + p));
    v = _mm512_mask_broadcast_f32x4(v, 0x0F00, _mm_loadu_ps(row[2] + p));
    return _mm512_mask_broadcast_f32x4(v, 0xF000, _mm_loadu_ps(row[3] + p));
}

__m512 weighted(__m512 sum, float weight, __m512 v) {
    return _mm512_add_ps(sum, _mm512_mul_ps(_mm512_set1_ps(weight), v));
}

// Two outputs of four rows: what their windows share is read once.
template <int kChannels>
void tf_two_windows(const float* const row[4], const Windows& x, int i, int next, float* const to[4]) {
    const int first = x.first[i], end = first + x.count[i];
    const int next_first = x.first[next], next_end = next_first + x.count[next];
    const float* const weight = x.weight + static_cast<ptrdiff_t>(i) * x.taps;
    const float* const next_weight = x.weight + static_cast<ptrdiff_t>(next) * x.taps;
    __m512 sum = _mm512_setzero_ps(), next_sum = sum;
    const auto pixel = [row](int p) { return load_sums(row, static_cast<ptrdiff_t>(p) * kChannels); };
    int p = first;
    for (; p < least(next_first, end); ++p) sum = weighted(sum, weight[p - first], pixel(p));
    for (p = next_first; p < end; ++p) {
        const __m512 v = pixel(p);
        sum = weighted(sum, weight[p - first], v);
        next_sum = weighted(next_sum, next_weight[p - next_first], v);
    }
    for (; p < next_end; ++p) next_sum = weighted(next_sum, next_weight[p - next_first], pixel(p));
    store_four(to, i * kChannels, sum);
    store_four(to, next * kChannels, next_sum);
}

template <int kChannels>
void tf_horizontal_of(const float* const* in, int rows, const Windows& x, float* out, ptrdiff_t out_stride) {
    const float* row[4];
    float* to[4];
    for (int j = 0; j < 4; ++j) row[j] = in[least(j, rows - 1)];
    four_rows(out, out_stride, 0, rows, to);
    for (int i = 0; i < x.out; i += 2) tf_two_windows<kChannels>(row, x, i, least(i + 1, x.out - 1), to);
}

void tf_horizontal(const float* const* in, int rows, const Windows& x, int channels, float* out,
                   ptrdiff_t out_stride) {
    if (channels == 1 || rows == 1) return narrow().tf_horizontal(in, rows, x, channels, out, out_stride);
    (channels == 3 ? tf_horizontal_of<3> : tf_horizontal_of<4>)(in, rows, x, out, out_stride);
}

}  // namespace

void add_tensorflow512(Kernels& k) {
    k.lerp_row = lerp_row;
    k.lerp_emit = lerp_emit;
    k.nearest_emit = nearest_emit;
    k.tf_vertical = tf_vertical;
    k.tf_horizontal = tf_horizontal;
}

}  // namespace edgecnn
