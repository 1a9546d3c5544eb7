// tf.image: bilinear, nearest, antialias and bicubic.
#include "kernels256.hpp"
#include "normalise.hpp"
#include "vector.hpp"

namespace edgecnn {
namespace {

struct Lerp {
    __m256i left_even, right_even, left_odd, right_odd;

    Lerp(int channels, const int order[4])
        : left_even(widen(0, order)),
          right_even(widen(channels, order)),
          left_odd(widen(8, order)),
          right_odd(widen(8 + channels, order)) {}

    static __m256 row(__m256i v, __m256i left_order, __m256i right_order, __m256 t) {
        const __m256 left = _mm256_cvtepi32_ps(_mm256_shuffle_epi8(v, left_order));
        const __m256 right = _mm256_cvtepi32_ps(_mm256_shuffle_epi8(v, right_order));
        return _mm256_add_ps(left, _mm256_mul_ps(_mm256_sub_ps(right, left), t));
    }
};

// Pixels 0 .. count - 1, a multiple of 4; the fourth lane of each store is overwritten by the next one, and
// after the last pixel it falls on whatever follows. finish: what is done to 2 pixels, a 128-bit lane each.
template <typename Finish>
void lerp_pixels(const uint8_t* top, const uint8_t* bottom, const int32_t* index, const float* lerp,
                 float lerp_y, int count, int channels, const int order[4], int step, float* out,
                 Finish finish) {
    const Lerp lerps(channels, order);
    const __m256 ty = _mm256_set1_ps(lerp_y);
    for (int x = 0; x < count; x += 4, out += 4 * step) {
        ptrdiff_t at[4];
        for (int j = 0; j < 4; ++j) at[j] = static_cast<ptrdiff_t>(index[2 * (x + j)]) * channels;
        const __m256i t = load_columns(top, at), b = load_columns(bottom, at);
        const __m256 both = _mm256_broadcast_ps(reinterpret_cast<const __m128*>(lerp + x));
        // Weights of pixels 0 and 2, of 1 and 3.
        const __m256 even = _mm256_permutevar_ps(both, _mm256_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2));
        const __m256 odd = _mm256_permutevar_ps(both, _mm256_setr_epi32(1, 1, 1, 1, 3, 3, 3, 3));
        const __m256 top_even = Lerp::row(t, lerps.left_even, lerps.right_even, even);
        const __m256 top_odd = Lerp::row(t, lerps.left_odd, lerps.right_odd, odd);
        const __m256 bottom_even = Lerp::row(b, lerps.left_even, lerps.right_even, even);
        const __m256 bottom_odd = Lerp::row(b, lerps.left_odd, lerps.right_odd, odd);
        const __m256 v02 =
            finish(_mm256_add_ps(top_even, _mm256_mul_ps(_mm256_sub_ps(bottom_even, top_even), ty)));
        const __m256 v13 =
            finish(_mm256_add_ps(top_odd, _mm256_mul_ps(_mm256_sub_ps(bottom_odd, top_odd), ty)));
        _mm_storeu_ps(out, _mm256_castps256_ps128(v02));
        _mm_storeu_ps(out + step, _mm256_castps256_ps128(v13));
        _mm_storeu_ps(out + 2 * step, _mm256_extractf128_ps(v02, 1));
        _mm_storeu_ps(out + 3 * step, _mm256_extractf128_ps(v13, 1));
    }
}

void lerp_row(const uint8_t* top, const uint8_t* bottom, const int32_t* index, const float* lerp,
              float lerp_y, int safe, int width, int channels, float* out) {
    const int done = channels == 1 ? 0 : safe / 4 * 4;
    const int order[4] = {0, 1, 2, channels == 4 ? 3 : 0};
    lerp_pixels(top, bottom, index, lerp, lerp_y, done, channels, order, channels, out,
                [](__m256 v) { return v; });
    narrow().lerp_row(top, bottom, index + 2 * done, lerp + done, lerp_y, safe - done, width - done, channels,
                      out + static_cast<ptrdiff_t>(done) * channels);
}

void lerp_emit(const uint8_t* top, const uint8_t* bottom, const int32_t* index, const float* lerp,
               float lerp_y, int safe, int width, const Emit& e, float* out) {
    // Not the last pixel: its fourth lane would fall past the row.
    const int done = e.in_channels == 1 || e.channels == 1 ? 0 : least(safe, width - 1) / 4 * 4;
    const int order[4] = {e.order[0], e.order[1], e.order[2], e.order[0]};
    lerp_pixels(top, bottom, index, lerp, lerp_y, done, e.in_channels, order, 3, out, PixelNormalise(e));
    narrow().lerp_emit(top, bottom, index + 2 * done, lerp + done, lerp_y, safe - done, width - done, e,
                       out + done * e.pixel_step);
}

// A 128-bit lane is a pixel: 8 bytes of the row above, 8 of the one below, shuffled to four columns' bytes a
// channel.
void lerp_exact_emit(const uint8_t* top, const uint8_t* bottom, const int32_t* index, const int8_t* pairs,
                     int pair_y, int count, const Emit& e, float* out) {
    const __m128i channel = _mm_setr_epi32(e.order[0], e.order[1], e.order[2], e.order[0]);
    const __m128i four = _mm_set1_epi32(e.in_channels * 0x01000100 + 0x08080000);
    const __m256i order =
        _mm256_broadcastsi128_si256(_mm_add_epi8(_mm_mullo_epi32(channel, _mm_set1_epi32(0x01010101)), four));
    const __m256i weight_y = _mm256_set1_epi32(pair_y << 16 | (kLerpY - pair_y));
    const __m256 unit = _mm256_set1_ps(1.0f / (kLerpX * kLerpY));
    const PixelNormalise normalise(e);
    const auto both = [&](int x) {
        const ptrdiff_t at = static_cast<ptrdiff_t>(index[2 * x]) * e.in_channels;
        return _mm_unpacklo_epi64(load8(top + at), load8(bottom + at));
    };
    const auto pixels = [&](int x) {
        const __m256i bytes = _mm256_inserti128_si256(_mm256_castsi128_si256(both(x)), both(x + 1), 1);
        const __m256i rows = _mm256_maddubs_epi16(_mm256_shuffle_epi8(bytes, order), load32(pairs + 16 * x));
        const __m256 sum = _mm256_cvtepi32_ps(_mm256_madd_epi16(rows, weight_y));
        return normalise(_mm256_mul_ps(sum, unit));
    };
    for (int x = 0; x + 2 < count; x += 2) {
        const __m256 v = pixels(x);
        _mm_storeu_ps(out + 3 * x, _mm256_castps256_ps128(v));
        _mm_storeu_ps(out + 3 * x + 3, _mm256_extractf128_ps(v, 1));
    }
    // The last pixel's fourth lane would fall past the row.
    const __m256 v = pixels(count - 2);
    _mm_storeu_ps(out + 3 * count - 6, _mm256_castps256_ps128(v));
    _mm_maskstore_ps(out + 3 * count - 3, _mm_setr_epi32(-1, -1, -1, 0), _mm256_extractf128_ps(v, 1));
}

void nearest_emit(const uint8_t* in, const int32_t* index, int safe, int width, const Emit& e, float* out) {
    const int done = e.in_channels == 1 || e.channels == 1 ? 0 : least(safe, width - 1) / 2 * 2;
    const int order[4] = {e.order[0], e.order[1], e.order[2], e.order[0]};
    // Pixels at bytes 0 and 4 of 8.
    const __m256i low = widen(0, order), high = widen(4, order);
    const __m256i both = _mm256_blend_epi32(low, high, 0xF0);
    const PixelNormalise normalise(e);
    for (int x = 0; x < done; x += 2) {
        int32_t a, b;
        __builtin_memcpy(&a, in + static_cast<ptrdiff_t>(index[x]) * e.in_channels, 4);
        __builtin_memcpy(&b, in + static_cast<ptrdiff_t>(index[x + 1]) * e.in_channels, 4);
        const __m256i v = _mm256_broadcastsi128_si256(_mm_insert_epi32(_mm_cvtsi32_si128(a), b, 1));
        const __m256 pixels = normalise(_mm256_cvtepi32_ps(_mm256_shuffle_epi8(v, both)));
        _mm_storeu_ps(out + 3 * x, _mm256_castps256_ps128(pixels));
        _mm_storeu_ps(out + 3 * x + 3, _mm256_extractf128_ps(pixels, 1));
    }
    narrow().nearest_emit(in, index + done, safe - done, width - done, e, out + done * e.pixel_step);
}

// kBoth: two sums at once. 32 columns stay in registers over all rows.
template <bool kBoth>
void tf_vertical_of(const uint8_t* in, ptrdiff_t stride, int count, const float* weight_a,
                    const float* weight_b, int n, float* sum_a, float* sum_b) {
    int i = 0;
    for (; i + 32 <= n; i += 32) {
        __m256 a[4], b[4];
        for (int j = 0; j < 4; ++j) {
            a[j] = _mm256_loadu_ps(sum_a + i + 8 * j);
            b[j] = _mm256_setzero_ps();
        }
        const uint8_t* row = in + i;
        for (int k = 0; k < count; ++k, row += stride) {
            const __m256 wa = _mm256_broadcast_ss(weight_a + k);
            const __m256 wb = kBoth ? _mm256_broadcast_ss(weight_b + k) : wa;
            for (int j = 0; j < 4; ++j) {
                const __m256 v = floats(row + 8 * j);
                a[j] = _mm256_add_ps(a[j], _mm256_mul_ps(wa, v));
                if (kBoth) b[j] = _mm256_add_ps(b[j], _mm256_mul_ps(wb, v));
            }
        }
        for (int j = 0; j < 4; ++j) {
            _mm256_storeu_ps(sum_a + i + 8 * j, a[j]);
            if (kBoth) _mm256_storeu_ps(sum_b + i + 8 * j, b[j]);
        }
    }
    if (i < n) {
        narrow().tf_vertical(in + i, stride, count, weight_a, weight_b, n - i, sum_a + i,
                             kBoth ? sum_b + i : nullptr);
    }
}

void tf_vertical(const uint8_t* in, ptrdiff_t stride, int count, const float* weight_a, const float* weight_b,
                 int n, float* sum_a, float* sum_b) {
    (sum_b != nullptr ? tf_vertical_of<true> : tf_vertical_of<false>)(in, stride, count, weight_a, weight_b,
                                                                      n, sum_a, sum_b);
}

// One pixel's channels a vector, kPixels outputs side by side so that their chains of sums overlap in time.
// The fourth lane of 3 channels reads into the next pixel, for which the row of sums has room, and is
// overwritten by the next store.
template <int kPixels>
void tf_outputs(const float* in, const Windows& x, int i, int channels, float* out) {
    __m128 sum[kPixels];
    const float *pixel[kPixels], *weight[kPixels];
    int common = x.count[i];
    for (int j = 0; j < kPixels; ++j) {
        sum[j] = _mm_setzero_ps();
        pixel[j] = in + static_cast<ptrdiff_t>(x.first[i + j]) * channels;
        weight[j] = x.weight + static_cast<ptrdiff_t>(i + j) * x.taps;
        common = least(common, x.count[i + j]);
    }
    for (int k = 0; k < common; ++k) {
        for (int j = 0; j < kPixels; ++j) {
            const __m128 v = _mm_loadu_ps(pixel[j] + static_cast<ptrdiff_t>(k) * channels);
            sum[j] = _mm_add_ps(sum[j], _mm_mul_ps(_mm_broadcast_ss(weight[j] + k), v));
        }
    }
    for (int j = 0; j < kPixels; ++j) {
        for (int k = common; k < x.count[i + j]; ++k) {
            const __m128 v = _mm_loadu_ps(pixel[j] + static_cast<ptrdiff_t>(k) * channels);
            sum[j] = _mm_add_ps(sum[j], _mm_mul_ps(_mm_broadcast_ss(weight[j] + k), v));
        }
        _mm_storeu_ps(out + static_cast<ptrdiff_t>(i + j) * channels, sum[j]);
    }
}

void tf_horizontal(const float* const* in, int rows, const Windows& x, int channels, float* out,
                   ptrdiff_t out_stride) {
    if (channels == 1) return narrow().tf_horizontal(in, rows, x, channels, out, out_stride);
    for (int y = 0; y < rows; ++y, out += out_stride) {
        int i = 0;
        for (; i + 4 <= x.out; i += 4) tf_outputs<4>(in[y], x, i, channels, out);
        for (; i < x.out; ++i) tf_outputs<1>(in[y], x, i, channels, out);
    }
}

// Pixel k of 4 consecutive ones at 16 bytes, a 128-bit lane each: 0 and 1, or 2 and 3.
__m256i widen_two(int channels, int first) {
    const int order[4] = {0, 1, 2, channels == 4 ? 3 : 0};
    return _mm256_blend_epi32(widen(first * channels, order), widen((first + 1) * channels, order), 0xF0);
}

void tf_cubic_row(const uint8_t* const rows[4], const float weight_y[4], const int32_t* index,
                  const float* weight, int from, int to, int width, int channels, float* out) {
    if (channels == 1) {
        return narrow().tf_cubic_row(rows, weight_y, index, weight, from, to, width, channels, out);
    }
    narrow().tf_cubic_row(rows, weight_y, index, weight, 0, 0, from, channels, out);
    const __m256i order[2] = {widen_two(channels, 0), widen_two(channels, 2)};
    __m256 wy[4];
    for (int k = 0; k < 4; ++k) wy[k] = _mm256_set1_ps(weight_y[k]);
    for (int x = from; x < to; ++x) {
        const ptrdiff_t at = static_cast<ptrdiff_t>(index[4 * x]) * channels;
        __m256 column[2];
        for (int k = 0; k < 4; ++k) {
            const __m256i v = _mm256_broadcastsi128_si256(load16(rows[k] + at));
            for (int pair = 0; pair < 2; ++pair) {
                const __m256 value = _mm256_cvtepi32_ps(_mm256_shuffle_epi8(v, order[pair]));
                const __m256 product = _mm256_mul_ps(value, wy[k]);
                column[pair] = k == 0 ? product : _mm256_add_ps(column[pair], product);
            }
        }
        const __m256 wx = _mm256_broadcast_ps(reinterpret_cast<const __m128*>(weight + 4 * x));
        const __m256 p01 =
            _mm256_mul_ps(column[0], _mm256_permutevar_ps(wx, _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1)));
        const __m256 p23 =
            _mm256_mul_ps(column[1], _mm256_permutevar_ps(wx, _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3)));
        __m128 sum = _mm_add_ps(_mm256_castps256_ps128(p01), _mm256_extractf128_ps(p01, 1));
        sum = _mm_add_ps(sum, _mm256_castps256_ps128(p23));
        sum = _mm_add_ps(sum, _mm256_extractf128_ps(p23, 1));
        // The fourth lane of 3 channels is overwritten by the next store; the row has room behind it.
        _mm_storeu_ps(out + static_cast<ptrdiff_t>(x) * channels, sum);
    }
    narrow().tf_cubic_row(rows, weight_y, index + 4 * to, weight + 4 * to, 0, 0, width - to, channels,
                          out + static_cast<ptrdiff_t>(to) * channels);
}

}  // namespace

void add_tensorflow256(Kernels& k) {
    k.lerp_row = lerp_row;
    k.lerp_emit = lerp_emit;
    k.lerp_exact_emit = lerp_exact_emit;
    k.nearest_emit = nearest_emit;
    k.tf_vertical = tf_vertical;
    k.tf_horizontal = tf_horizontal;
    k.tf_cubic_row = tf_cubic_row;
}

}  // namespace edgecnn
