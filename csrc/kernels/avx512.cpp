// x86-64-v4 with VBMI and VNNI (Ice Lake, Zen 4 and newer). What is not here is taken from avx2.cpp.
#include <immintrin.h>

#include "kernels.hpp"

namespace edgecnn {
namespace {

const Kernels* narrow = nullptr;

__m128i load8(const void* p) { return _mm_loadl_epi64(static_cast<const __m128i*>(p)); }
__m128i load16(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
__m512i load64(const void* p) { return _mm512_loadu_si512(p); }

// 16 bytes of four rows, one a 128-bit lane.
__m512i load_four(const uint8_t* const row[4], ptrdiff_t at) {
    __m512i v = _mm512_castsi128_si512(load16(row[0] + at));
    v = _mm512_mask_broadcast_i32x4(v, 0x00F0, load16(row[1] + at));
    v = _mm512_mask_broadcast_i32x4(v, 0x0F00, load16(row[2] + at));
    return _mm512_mask_broadcast_i32x4(v, 0xF000, load16(row[3] + at));
}

int32_t word(const int8_t* p) {
    int32_t v;
    __builtin_memcpy(&v, p, 4);
    return v;
}

int least(int a, int b) { return a < b ? a : b; }

// Rows y .. y + 3 of `rows`; past the last one, that one again.
template <typename T>
void four_rows(T* first, ptrdiff_t stride, int y, int rows, T* row[4]) {
    for (int j = 0; j < 4; ++j) row[j] = first + least(y + j, rows - 1) * stride;
}

__mmask64 first_bits(int n) { return n >= 64 ? ~0ull : n <= 0 ? 0 : (1ull << n) - 1; }

// ---- Pillow
// ---------------------------------------------------------------------------------------------------

constexpr int kPilBits = 32 - 8 - 2;
constexpr int kPilHalf = 1 << (kPilBits - 1);

// One sum a digit: vpdpbusd adds the products of 4 taps to each 32-bit lane without saturation.
template <int kDigits>
struct Sums {
    __m512i digit[kDigits];

    Sums() {
        for (__m512i& d : digit) d = _mm512_setzero_si512();
    }
    __m512i joined(int start) const {
        __m512i sum = _mm512_add_epi32(_mm512_set1_epi32(start), digit[0]);
        for (int d = 1; d < kDigits; ++d) sum = _mm512_add_epi32(sum, _mm512_slli_epi32(digit[d], 7 * d));
        return sum;
    }
    __m512i total() const { return _mm512_srai_epi32(joined(kPilHalf), kPilBits); }
};

template <int kChannels>
__m512i tap_order(int skip) {
    alignas(64) int8_t order[64];
    for (int lane = 0; lane < 64; ++lane) {
        const int channel = lane % 16 / 4, tap = lane % 4;
        order[lane] = static_cast<int8_t>(channel < kChannels ? skip + tap * kChannels + channel : -1);
    }
    return load64(order);
}

// Two windows of four rows, side by side so that their chains of sums overlap in time.
template <int kChannels, int kDigits>
void pil_windows(const uint8_t* const row[4], const Windows& x, const int output[2], __m512i front,
                 __m512i back, __m512i total[2]) {
    Sums<kDigits> sums[2];
    __m512i order[2];
    ptrdiff_t at[2];
    const int8_t* digit[2];
    for (int p = 0; p < 2; ++p) {
        const ptrdiff_t first = x.wide_first[output[p]];
        const bool skip = kChannels == 3 && first >= 2;
        order[p] = skip ? back : front;
        at[p] = first * kChannels - (skip ? 4 : 0);
        digit[p] = x.digits + static_cast<ptrdiff_t>(output[p]) * x.blocks * kDigits * 4;
    }
    for (int block = 0; block < x.blocks; ++block) {
        for (int p = 0; p < 2; ++p) {
            const __m512i v = _mm512_shuffle_epi8(load_four(row, at[p]), order[p]);
            at[p] += 4 * kChannels;
            for (int d = 0; d < kDigits; ++d, digit[p] += 4) {
                sums[p].digit[d] =
                    _mm512_dpbusd_epi32(sums[p].digit[d], v, _mm512_set1_epi32(word(digit[p])));
            }
        }
    }
    for (int p = 0; p < 2; ++p) total[p] = sums[p].total();
}

template <int kChannels, int kDigits>
void pil_horizontal_of(const uint8_t* in, ptrdiff_t in_stride, int rows, const Windows& x, uint8_t* out,
                       ptrdiff_t out_stride) {
    const __m512i front = tap_order<kChannels>(0), back = tap_order<kChannels>(4);
    const __m512i pack = _mm512_broadcast_i32x4(
        kChannels == 3 ? _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1)
                       : _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    for (int y = 0; y < rows; y += 4) {
        const uint8_t* row[4];
        uint8_t* to[4];
        four_rows(in, in_stride, y, rows, row);
        four_rows(out, out_stride, y, rows, to);
        for (int i = 0; i < x.out; i += 4) {
            __m512i sum[4];
            for (int j = 0; j < 4; j += 2) {
                const int output[2] = {least(i + j, x.out - 1), least(i + j + 1, x.out - 1)};
                pil_windows<kChannels, kDigits>(row, x, output, front, back, sum + j);
            }
            __m512i v =
                _mm512_packus_epi16(_mm512_packs_epi32(sum[0], sum[1]), _mm512_packs_epi32(sum[2], sum[3]));
            v = _mm512_shuffle_epi8(v, pack);
            const __mmask16 keep = static_cast<__mmask16>(first_bits(least(4, x.out - i) * kChannels));
            _mm_mask_storeu_epi8(to[0] + i * kChannels, keep, _mm512_castsi512_si128(v));
            _mm_mask_storeu_epi8(to[1] + i * kChannels, keep, _mm512_extracti32x4_epi32(v, 1));
            _mm_mask_storeu_epi8(to[2] + i * kChannels, keep, _mm512_extracti32x4_epi32(v, 2));
            _mm_mask_storeu_epi8(to[3] + i * kChannels, keep, _mm512_extracti32x4_epi32(v, 3));
        }
    }
}

void pil_horizontal(const uint8_t* in, ptrdiff_t in_stride, int rows, const Windows& x, int channels,
                    uint8_t* out, ptrdiff_t out_stride) {
    if (x.digits == nullptr || channels == 1) {
        return narrow->pil_horizontal(in, in_stride, rows, x, channels, out, out_stride);
    }
    const bool three = x.digit_count == 3;
    if (channels == 3) {
        (three ? pil_horizontal_of<3, 3> : pil_horizontal_of<3, 4>)(in, in_stride, rows, x, out, out_stride);
    } else {
        (three ? pil_horizontal_of<4, 3> : pil_horizontal_of<4, 4>)(in, in_stride, rows, x, out, out_stride);
    }
}

template <int kDigits>
void pil_vertical_of(const uint8_t* in, ptrdiff_t stride, const Windows& y, int i, int n, uint8_t* out) {
    const int8_t* const first_digit = y.digits + static_cast<ptrdiff_t>(i) * y.blocks * kDigits * 4;
    const int count = y.count[i];
    for (int x = 0; x < n; x += 64) {
        const __mmask64 keep = first_bits(n - x);
        Sums<kDigits> sums[4];
        const int8_t* digit = first_digit;
        for (int k = 0; k < count; k += 4) {
            __m512i row[4];
            // Rows past the window weigh 0; the last one stands in for them.
            for (int j = 0; j < 4; ++j) {
                row[j] = _mm512_maskz_loadu_epi8(keep, in + least(k + j, count - 1) * stride + x);
            }
            const __m512i low01 = _mm512_unpacklo_epi8(row[0], row[1]),
                          high01 = _mm512_unpackhi_epi8(row[0], row[1]);
            const __m512i low23 = _mm512_unpacklo_epi8(row[2], row[3]),
                          high23 = _mm512_unpackhi_epi8(row[2], row[3]);
            const __m512i v[4] = {_mm512_unpacklo_epi16(low01, low23), _mm512_unpackhi_epi16(low01, low23),
                                  _mm512_unpacklo_epi16(high01, high23),
                                  _mm512_unpackhi_epi16(high01, high23)};
            for (int d = 0; d < kDigits; ++d, digit += 4) {
                const __m512i w = _mm512_set1_epi32(word(digit));
                for (int j = 0; j < 4; ++j) sums[j].digit[d] = _mm512_dpbusd_epi32(sums[j].digit[d], v[j], w);
            }
        }
        const __m512i v = _mm512_packus_epi16(_mm512_packs_epi32(sums[0].total(), sums[1].total()),
                                              _mm512_packs_epi32(sums[2].total(), sums[3].total()));
        _mm512_mask_storeu_epi8(out + x, keep, v);
    }
}

void pil_vertical(const uint8_t* in, ptrdiff_t stride, const Windows& y, int i, int n, uint8_t* out) {
    (y.digit_count == 3 ? pil_vertical_of<3> : pil_vertical_of<4>)(in, stride, y, i, n, out);
}

// ---- TensorFlow
// -----------------------------------------------------------------------------------------------

// 2^23 as float32 has the bits 4B 00 00 00, so 2^23 + v for a byte v has 4B 00 00 v: shuffled into place
// instead of converted. Differences of two such floats, and less 2^23, are exact.
constexpr int32_t kMagic = 0x4B000000;
constexpr __mmask64 kLowBytes = 0x1111111111111111ull;

__m512i magic() { return _mm512_set1_epi32(kMagic); }
__m512 two23() { return _mm512_castsi512_ps(magic()); }

// 2^23 + the byte order[lane] of bytes, for each lane.
__m512 lift(__m512i order, __m512i bytes) {
    return _mm512_castsi512_ps(_mm512_mask_permutexvar_epi8(magic(), kLowBytes, order, bytes));
}

// Products with a lifted byte are rounded once: fma(w, 2^23 + v, -w * 2^23), where the last product is exact.
constexpr float kLifted = -8388608.0f;

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
    narrow->lerp_row(top, bottom, index + 2 * done, lerp + done, lerp_y, safe - done, width - done, channels,
                     out + static_cast<ptrdiff_t>(done) * channels);
}

void lerp_emit(const uint8_t* top, const uint8_t* bottom, const int32_t* index, const float* lerp,
               float lerp_y, int safe, int width, const Emit& e, float* out) {
    const int done = e.in_channels == 1 || e.channels == 1 ? 0 : safe / 4 * 4;
    const int order[4] = {e.order[0], e.order[1], e.order[2], e.order[0]};
    lerp_pixels(top, bottom, index, lerp, lerp_y, done, e.in_channels, order, 3, out,
                PixelNormalise(e, _mm512_broadcast_i32x4(_mm_setr_epi32(0, 1, 2, 3))));
    if (done == width) return;
    narrow->lerp_emit(top, bottom, index + 2 * done, lerp + done, lerp_y, safe - done, width - done, e,
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
    if (done < width) narrow->nearest_emit(in, index + done, 0, width - done, e, out + done * e.pixel_step);
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

// The fourth lane of 3 channels is overwritten by the next pixel.
void store_lanes(float* const to[4], ptrdiff_t at, __m512 v) {
    _mm_storeu_ps(to[0] + at, _mm512_castps512_ps128(v));
    _mm_storeu_ps(to[1] + at, _mm512_extractf32x4_ps(v, 1));
    _mm_storeu_ps(to[2] + at, _mm512_extractf32x4_ps(v, 2));
    _mm_storeu_ps(to[3] + at, _mm512_extractf32x4_ps(v, 3));
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
    store_lanes(to, i * kChannels, sum);
    store_lanes(to, next * kChannels, next_sum);
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
    if (channels == 1 || rows == 1) return narrow->tf_horizontal(in, rows, x, channels, out, out_stride);
    (channels == 3 ? tf_horizontal_of<3> : tf_horizontal_of<4>)(in, rows, x, out, out_stride);
}

// ---- Area
// -----------------------------------------------------------------------------------------------------

// 4 pixels of four rows: row r in 128-bit lane r, of which pixel k becomes the floats of its channels.
template <int kChannels>
struct Quad {
    __m512i order[4];

    Quad() {
        const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 32, 33, 34, 35, 48, 49, 50, 51);
        for (int k = 0; k < 4; ++k) order[k] = _mm512_add_epi32(lane, _mm512_set1_epi32(k * kChannels));
    }
};

// 16 bytes of four rows, or the first of them that some names.
__m512i load_some(const uint8_t* const row[4], ptrdiff_t at, __mmask16 some) {
    __m512i v = _mm512_castsi128_si512(_mm_maskz_loadu_epi8(some, row[0] + at));
    v = _mm512_inserti32x4(v, _mm_maskz_loadu_epi8(some, row[1] + at), 1);
    v = _mm512_inserti32x4(v, _mm_maskz_loadu_epi8(some, row[2] + at), 2);
    return _mm512_inserti32x4(v, _mm_maskz_loadu_epi8(some, row[3] + at), 3);
}

// The fourth lane of 3 channels is overwritten by the next pixel; rows have room behind them.
void store_four(float* const to[4], ptrdiff_t at, __m512 v) {
    _mm_storeu_ps(to[0] + at, _mm512_castps512_ps128(v));
    _mm_storeu_ps(to[1] + at, _mm512_extractf32x4_ps(v, 1));
    _mm_storeu_ps(to[2] + at, _mm512_extractf32x4_ps(v, 2));
    _mm_storeu_ps(to[3] + at, _mm512_extractf32x4_ps(v, 3));
}

// A window of four rows.
template <int kChannels>
struct AreaSum {
    const float *weight, *lifted;
    ptrdiff_t at;
    __m512 sum = _mm512_setzero_ps();

    AreaSum(const Windows& x, int i)
        : weight(x.weight + static_cast<ptrdiff_t>(i) * x.taps),
          lifted(x.lifted + static_cast<ptrdiff_t>(i) * x.taps),
          at(static_cast<ptrdiff_t>(x.first[i]) * kChannels) {}

    void add(const Quad<kChannels>& quad, __m512i bytes) {
        for (int k = 0; k < 4; ++k) {
            const __m512 v = lift(quad.order[k], bytes);
            sum =
                _mm512_add_ps(sum, _mm512_fmadd_ps(_mm512_set1_ps(weight[k]), v, _mm512_set1_ps(lifted[k])));
        }
        weight += 4;
        lifted += 4;
        at += 4 * kChannels;
    }
    void store(float* const to[4], int i) const {
        store_four(to, static_cast<ptrdiff_t>(i) * kChannels, sum);
    }
};

template <int kChannels>
void area_horizontal_of(const uint8_t* in, ptrdiff_t in_stride, int rows, const Windows& x, int end_output,
                        float* out, ptrdiff_t out_stride) {
    const Quad<kChannels> quad;
    const ptrdiff_t end = static_cast<ptrdiff_t>(x.in) * kChannels;
    for (int y = 0; y < rows; y += 4) {
        const uint8_t* row[4];
        float* to[4];
        four_rows(in, in_stride, y, rows, row);
        four_rows(out, out_stride, y, rows, to);
        int i = 0;
        // Three windows side by side, so that their chains of sums overlap in time.
        for (; i + 2 < end_output && (x.first[i + 2] + x.taps - 4) * kChannels + 16 <= end; i += 3) {
            AreaSum<kChannels> a(x, i), b(x, i + 1), c(x, i + 2);
            for (int k = 0; k < x.taps; k += 4) {
                a.add(quad, load_four(row, a.at));
                b.add(quad, load_four(row, b.at));
                c.add(quad, load_four(row, c.at));
            }
            a.store(to, i);
            b.store(to, i + 1);
            c.store(to, i + 2);
        }
        for (; i < end_output; ++i) {
            AreaSum<kChannels> a(x, i);
            for (int k = 0; k < x.taps; k += 4) {
                const ptrdiff_t left = end - a.at;
                const __mmask16 some =
                    static_cast<__mmask16>(left < 16 ? first_bits(static_cast<int>(left)) : 0xFFFF);
                a.add(quad, load_some(row, a.at, some));
            }
            a.store(to, i);
        }
    }
}

// Windows by their fixed-point weights.
template <int kChannels, int kDigits>
void area_fixed_of(const uint8_t* in, ptrdiff_t in_stride, int rows, const Windows& x, float* out,
                   ptrdiff_t out_stride) {
    const __m512i front = tap_order<kChannels>(0), back = tap_order<kChannels>(4);
    const __m512 unit = _mm512_set1_ps(x.unit);
    for (int y = 0; y < rows; y += 4) {
        const uint8_t* row[4];
        float* to[4];
        four_rows(in, in_stride, y, rows, row);
        four_rows(out, out_stride, y, rows, to);
        const int8_t* digit = x.digits;
        for (int i = 0; i < x.out; ++i) {
            const ptrdiff_t first = x.wide_first[i];
            const bool skip = kChannels == 3 && first >= 2;
            const __m512i order = skip ? back : front;
            ptrdiff_t at = first * kChannels - (skip ? 4 : 0);
            Sums<kDigits> sums;
            for (int block = 0; block < x.blocks; ++block, at += 4 * kChannels) {
                const __m512i v = _mm512_shuffle_epi8(load_four(row, at), order);
                for (int d = 0; d < kDigits; ++d, digit += 4) {
                    sums.digit[d] = _mm512_dpbusd_epi32(sums.digit[d], v, _mm512_set1_epi32(word(digit)));
                }
            }
            const __m512 sum = _mm512_cvtepi32_ps(sums.joined(0));
            store_four(to, static_cast<ptrdiff_t>(i) * kChannels, _mm512_mul_ps(sum, unit));
        }
    }
}

void area_horizontal(const uint8_t* in, ptrdiff_t in_stride, int rows, const Windows& x, int safe,
                     int channels, float* out, ptrdiff_t out_stride) {
    if (x.digits != nullptr && channels != 1) {
        const bool one = x.digit_count == 1;
        const auto run = channels == 3 ? (one ? area_fixed_of<3, 1> : area_fixed_of<3, 3>)
                                       : (one ? area_fixed_of<4, 1> : area_fixed_of<4, 3>);
        return run(in, in_stride, rows, x, out, out_stride);
    }
    if (channels == 1)
        return narrow->area_horizontal(in, in_stride, rows, x, safe, channels, out, out_stride);
    const auto run = channels == 3 ? area_horizontal_of<3> : area_horizontal_of<4>;
    // Loads that would leave the row are masked, so only windows that repeat its last pixel are left over.
    while (safe < x.out && x.first[safe] + x.count[safe] <= x.in) ++safe;
    run(in, in_stride, rows, x, safe, out, out_stride);
    if (safe == x.out) return;
    Windows rest = x;
    rest.out = x.out - safe;
    rest.first += safe;
    rest.count += safe;
    rest.weight += static_cast<ptrdiff_t>(safe) * x.taps;
    narrow->area_horizontal(in, in_stride, rows, rest, 0, channels,
                            out + static_cast<ptrdiff_t>(safe) * channels, out_stride);
}

}  // namespace

const Kernels& avx512_kernels() {
    static const Kernels table = [] {
        narrow = &avx2_kernels();
        Kernels k = *narrow;
        k.name = "x86-64-v4-vnni";
        k.lerp_row = lerp_row;
        k.lerp_emit = lerp_emit;
        k.nearest_emit = nearest_emit;
        k.pil_horizontal = pil_horizontal;
        k.pil_vertical = pil_vertical;
        k.tf_vertical = tf_vertical;
        k.tf_horizontal = tf_horizontal;
        k.area_horizontal = area_horizontal;
        return k;
    }();
    return table;
}

}  // namespace edgecnn
