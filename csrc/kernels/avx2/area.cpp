// The area methods of TensorFlow and OpenCV.
#include "kernels256.hpp"
#include "windows.hpp"

namespace edgecnn {
namespace {

// kOnes: only blocks with a window's first or last tap are multiplied.
template <int kChannels, bool kOnes>
void area_horizontal_of(const uint8_t* in, ptrdiff_t in_stride, int rows, const Windows& x, int safe,
                        float* out, ptrdiff_t out_stride) {
    __m256i order[4];
    const int channels[4] = {0, 1, 2, kChannels == 4 ? 3 : 0};
    for (int k = 0; k < 4; ++k) order[k] = widen(k * kChannels, channels);
    for (int y = 0; y < rows; y += 2) {
        const int other = least(y + 1, rows - 1);
        const uint8_t *row_a = in + y * in_stride, *row_b = in + other * in_stride;
        float *out_a = out + y * out_stride, *out_b = out + other * out_stride;
        for (int i = 0; i < safe; ++i) {
            const ptrdiff_t at = static_cast<ptrdiff_t>(x.first[i]) * kChannels;
            const uint8_t *a = row_a + at, *b = row_b + at;
            const float* weight = x.weight + static_cast<ptrdiff_t>(i) * x.taps;
            __m256 sum = _mm256_setzero_ps();
            int k = 0;
            for (; k + 4 <= x.count[i]; k += 4, a += 4 * kChannels, b += 4 * kChannels, weight += 4) {
                const __m256i v = load_pair(a, b);
                if (kOnes && k > 0 && k + 4 < x.count[i]) {
                    for (int j = 0; j < 4; ++j) {
                        sum = _mm256_add_ps(sum, _mm256_cvtepi32_ps(_mm256_shuffle_epi8(v, order[j])));
                    }
                    continue;
                }
                for (int j = 0; j < 4; ++j) {
                    const __m256 pixel = _mm256_cvtepi32_ps(_mm256_shuffle_epi8(v, order[j]));
                    sum = _mm256_add_ps(sum, _mm256_mul_ps(pixel, _mm256_broadcast_ss(weight + j)));
                }
            }
            if (k < x.count[i]) {
                const __m256i v = load_pair(a, b);
                for (int j = 0; k < x.count[i]; ++k, ++j) {
                    const __m256 pixel = _mm256_cvtepi32_ps(_mm256_shuffle_epi8(v, order[j]));
                    sum = _mm256_add_ps(sum, _mm256_mul_ps(pixel, _mm256_broadcast_ss(weight + j)));
                }
            }
            // The fourth lane of 3 channels is overwritten by the next pixel; rows have room behind them.
            _mm_storeu_ps(out_a + i * kChannels, _mm256_castps256_ps128(sum));
            _mm_storeu_ps(out_b + i * kChannels, _mm256_extractf128_ps(sum, 1));
        }
    }
}

template <int kChannels, int kDigits>
void area_fixed_of(const uint8_t* in, ptrdiff_t in_stride, int rows, const Windows& x, float* out,
                   ptrdiff_t out_stride) {
    const __m256i front = tap_order<kChannels>(0), back = tap_order<kChannels>(4);
    const __m256 unit = _mm256_set1_ps(x.unit);
    for (int y = 0; y < rows; y += 2) {
        const int other = least(y + 1, rows - 1);
        const uint8_t *a = in + y * in_stride, *b = in + other * in_stride;
        float *out_a = out + y * out_stride, *out_b = out + other * out_stride;
        for (int i = 0; i < x.out; ++i) {
            __m256i sum = fixed_window<kChannels, kDigits>(a, b, x, i, front, back, 0);
            if (kChannels == 1) {
                sum = _mm256_hadd_epi32(sum, sum);
                sum = _mm256_hadd_epi32(sum, sum);
            }
            const __m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), unit);
            // Lanes behind the pixel are overwritten by the next one; rows have room behind them.
            _mm_storeu_ps(out_a + i * kChannels, _mm256_castps256_ps128(v));
            _mm_storeu_ps(out_b + i * kChannels, _mm256_extractf128_ps(v, 1));
        }
    }
}

void area_horizontal(const uint8_t* in, ptrdiff_t in_stride, int rows, const Windows& x, int safe,
                     int channels, float* out, ptrdiff_t out_stride) {
    if (x.digits != nullptr) {
        const bool one = x.digit_count == 1;
        const auto run = channels == 1   ? (one ? area_fixed_of<1, 1> : area_fixed_of<1, 3>)
                         : channels == 3 ? (one ? area_fixed_of<3, 1> : area_fixed_of<3, 3>)
                                         : (one ? area_fixed_of<4, 1> : area_fixed_of<4, 3>);
        return run(in, in_stride, rows, x, out, out_stride);
    }
    if (channels == 1)
        return narrow().area_horizontal(in, in_stride, rows, x, safe, channels, out, out_stride);
    const auto run = channels == 3 ? (x.ones ? area_horizontal_of<3, true> : area_horizontal_of<3, false>)
                                   : (x.ones ? area_horizontal_of<4, true> : area_horizontal_of<4, false>);
    run(in, in_stride, rows, x, safe, out, out_stride);
    if (safe == x.out) return;
    Windows rest = x;
    rest.out = x.out - safe;
    rest.first += safe;
    rest.count += safe;
    rest.weight += static_cast<ptrdiff_t>(safe) * x.taps;
    narrow().area_horizontal(in, in_stride, rows, rest, 0, channels,
                             out + static_cast<ptrdiff_t>(safe) * channels, out_stride);
}

void area_add(const float* in, float weight, bool first, int n, float* sum) {
    const __m256 w = _mm256_set1_ps(weight);
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256 start = first ? _mm256_setzero_ps() : _mm256_loadu_ps(sum + i);
        _mm256_storeu_ps(sum + i, _mm256_add_ps(start, _mm256_mul_ps(_mm256_loadu_ps(in + i), w)));
    }
    for (; i < n; ++i) sum[i] = (first ? 0.0f : sum[i]) + in[i] * weight;
}

void scale_row(float* row, float scale, int n) {
    const __m256 s = _mm256_set1_ps(scale);
    int i = 0;
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(row + i, _mm256_mul_ps(_mm256_loadu_ps(row + i), s));
    for (; i < n; ++i) row[i] *= scale;
}

void round_row(const float* in, int n, uint8_t* out) {
    int i = 0;
    for (; i + 8 <= n; i += 8) store_ints_as_bytes(out + i, round_to_ints(_mm256_loadu_ps(in + i)));
    narrow().round_row(in + i, n - i, out + i);
}

}  // namespace

void add_area256(Kernels& k) {
    k.area_horizontal = area_horizontal;
    k.area_by_fixed = true;
    k.area_add = area_add;
    k.scale_row = scale_row;
    k.round_row = round_row;
}

}  // namespace edgecnn
