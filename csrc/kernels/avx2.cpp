// x86-64-v3 (AVX2). Equal to scalar.cpp bit for bit: every float32 operation is the same one in the same
// order, and sums of integers are exact in any order.
#include <immintrin.h>

#include "kernels.hpp"

namespace edgecnn {
namespace {

const Kernels* narrow = nullptr;  // the kernels of 128 bits: gray images, and what is left at a row's end

__m256i load32(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
__m128i load16(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
__m128i load8(const void* p) { return _mm_loadl_epi64(static_cast<const __m128i*>(p)); }

// 16 bytes of two rows, one a 128-bit lane.
__m256i load_pair(const uint8_t* a, const uint8_t* b) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(load16(a)), load16(b), 1);
}

__m256 floats(const uint8_t* p) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(load8(p))); }

int32_t word(const int8_t* p) {
    int32_t v;
    __builtin_memcpy(&v, p, 4);
    return v;
}

int least(int a, int b) { return a < b ? a : b; }

// ---- Pillow
// ---------------------------------------------------------------------------------------------------

constexpr int kPilBits = 32 - 8 - 2;
constexpr int kPilHalf = 1 << (kPilBits - 1);

// sum + pixels * weights of 4 taps: bytes of v are 4 taps a 32-bit lane, digits[d] their weights' digits.
template <int kDigits>
__m256i add_taps(__m256i sum, __m256i v, const __m256i* digits) {
    const __m256i one = _mm256_set1_epi16(1);
    __m256i part = _mm256_madd_epi16(_mm256_maddubs_epi16(v, digits[0]), one);
    if (kDigits == 1) return _mm256_add_epi32(sum, part);
    part =
        _mm256_add_epi32(part, _mm256_madd_epi16(_mm256_maddubs_epi16(v, digits[1]), _mm256_set1_epi16(128)));
    sum = _mm256_add_epi32(
        sum, _mm256_madd_epi16(_mm256_maddubs_epi16(v, digits[2]), _mm256_set1_epi16(128 * 128)));
    if (kDigits == 4) {
        const __m256i top = _mm256_madd_epi16(_mm256_maddubs_epi16(v, digits[3]), one);
        part = _mm256_add_epi32(part, _mm256_slli_epi32(top, 21));
    }
    return _mm256_add_epi32(sum, part);
}

// Where the 4 taps of each channel stand in 16 bytes of pixels, the first `skip` of which belong to no tap.
template <int kChannels>
__m256i tap_order(int skip) {
    alignas(32) int8_t order[32];
    for (int lane = 0; lane < 32; ++lane) {
        const int channel = lane % 16 / 4, tap = lane % 4;
        order[lane] = static_cast<int8_t>(channel < kChannels ? skip + tap * kChannels + channel : -1);
    }
    return load32(order);
}

// Window i of two rows, by its fixed-point weights: for 3 and 4 channels a 32-bit lane is a channel, for gray
// all four are parts of one sum. Sums start at `start`.
template <int kChannels, int kDigits>
__m256i fixed_window(const uint8_t* a, const uint8_t* b, const Windows& x, int i, __m256i front, __m256i back,
                     int start) {
    const ptrdiff_t first = x.wide_first[i];
    const bool skip = kChannels == 3 && first >= 2;
    const __m256i order = skip ? back : front;
    const ptrdiff_t at = first * kChannels - (skip ? 4 : 0);
    constexpr int kStep = kChannels == 1 ? 16 : 4 * kChannels;
    constexpr int kTaps = kChannels == 1 ? 16 : 4;
    a += at;
    b += at;
    const int8_t* digit = x.digits + static_cast<ptrdiff_t>(i) * x.blocks * kDigits * kTaps;
    __m256i sum =
        kChannels == 1 ? _mm256_setr_epi32(start, 0, 0, 0, start, 0, 0, 0) : _mm256_set1_epi32(start);
    for (int block = 0; block < x.blocks; ++block, a += kStep, b += kStep) {
        __m256i v = load_pair(a, b);
        if (kChannels != 1) v = _mm256_shuffle_epi8(v, order);
        __m256i digits[kDigits];
        for (int d = 0; d < kDigits; ++d, digit += kTaps) {
            digits[d] =
                kChannels == 1 ? _mm256_broadcastsi128_si256(load16(digit)) : _mm256_set1_epi32(word(digit));
        }
        sum = add_taps<kDigits>(sum, v, digits);
    }
    return sum;
}

void store_bytes(uint8_t* to, __m128i v, int n) {
    alignas(16) uint8_t bytes[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(bytes), v);
    for (int i = 0; i < n; ++i) to[i] = bytes[i];
}

template <int kChannels, int kDigits>
void pil_horizontal_of(const uint8_t* in, ptrdiff_t in_stride, int rows, const Windows& x, uint8_t* out,
                       ptrdiff_t out_stride) {
    const __m256i front = tap_order<kChannels>(0), back = tap_order<kChannels>(4);
    // Results of 4 outputs as bytes, 4 a output -> kChannels a output.
    const __m256i pack = kChannels == 3 ? _mm256_broadcastsi128_si256(_mm_setr_epi8(
                                              0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1))
                                        : _mm256_broadcastsi128_si256(_mm_setr_epi8(
                                              0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    for (int y = 0; y < rows; y += 2) {
        const int other = least(y + 1, rows - 1);
        const uint8_t *a = in + y * in_stride, *b = in + other * in_stride;
        uint8_t *out_a = out + y * out_stride, *out_b = out + other * out_stride;
        for (int i = 0; i < x.out; i += 4) {
            __m256i sum[4];
            for (int j = 0; j < 4; ++j) {
                sum[j] =
                    fixed_window<kChannels, kDigits>(a, b, x, least(i + j, x.out - 1), front, back, kPilHalf);
            }
            if (kChannels == 1) {
                // Four partial sums of four outputs -> four sums.
                sum[0] =
                    _mm256_hadd_epi32(_mm256_hadd_epi32(sum[0], sum[1]), _mm256_hadd_epi32(sum[2], sum[3]));
                sum[1] = sum[2] = sum[3] = sum[0];
            }
            for (int j = 0; j < 4; ++j) sum[j] = _mm256_srai_epi32(sum[j], kPilBits);
            __m256i v =
                _mm256_packus_epi16(_mm256_packs_epi32(sum[0], sum[1]), _mm256_packs_epi32(sum[2], sum[3]));
            if (kChannels == 3) v = _mm256_shuffle_epi8(v, pack);
            const __m128i va = _mm256_castsi256_si128(v), vb = _mm256_extracti128_si256(v, 1);
            if (kChannels == 4 && i + 4 <= x.out) {
                _mm_storeu_si128(reinterpret_cast<__m128i*>(out_a + 4 * i), va);
                _mm_storeu_si128(reinterpret_cast<__m128i*>(out_b + 4 * i), vb);
            } else if (kChannels == 3 && i + 4 <= x.out) {
                _mm_storeu_si128(reinterpret_cast<__m128i*>(out_a + 3 * i), va);
                _mm_storeu_si128(reinterpret_cast<__m128i*>(out_b + 3 * i), vb);
            } else {
                const int n = least(4, x.out - i) * kChannels;
                store_bytes(out_a + kChannels * i, va, n);
                store_bytes(out_b + kChannels * i, vb, n);
            }
        }
    }
}

void pil_horizontal(const uint8_t* in, ptrdiff_t in_stride, int rows, const Windows& x, int channels,
                    uint8_t* out, ptrdiff_t out_stride) {
    if (x.digits == nullptr) return narrow->pil_horizontal(in, in_stride, rows, x, channels, out, out_stride);
    const bool three = x.digit_count == 3;
    switch (channels) {
        case 1:
            return (three ? pil_horizontal_of<1, 3> : pil_horizontal_of<1, 4>)(in, in_stride, rows, x, out,
                                                                               out_stride);
        case 3:
            return (three ? pil_horizontal_of<3, 3> : pil_horizontal_of<3, 4>)(in, in_stride, rows, x, out,
                                                                               out_stride);
        default:
            return (three ? pil_horizontal_of<4, 3> : pil_horizontal_of<4, 4>)(in, in_stride, rows, x, out,
                                                                               out_stride);
    }
}

template <int kDigits>
void pil_vertical_of(const uint8_t* in, ptrdiff_t stride, const Windows& y, int i, int n, uint8_t* out) {
    const int8_t* const first_digit = y.digits + static_cast<ptrdiff_t>(i) * y.blocks * kDigits * 4;
    const int count = y.count[i];
    for (int x = 0; x < n; x += 32) {
        const int at = least(x, n - 32);  // the last columns are done twice
        __m256i sum[4];
        for (__m256i& s : sum) s = _mm256_set1_epi32(kPilHalf);
        const int8_t* digit = first_digit;
        for (int k = 0; k < count; k += 4) {
            __m256i row[4];
            // Rows past the window weigh 0; the last one stands in for them.
            for (int j = 0; j < 4; ++j) row[j] = load32(in + least(k + j, count - 1) * stride + at);
            const __m256i low01 = _mm256_unpacklo_epi8(row[0], row[1]),
                          high01 = _mm256_unpackhi_epi8(row[0], row[1]);
            const __m256i low23 = _mm256_unpacklo_epi8(row[2], row[3]),
                          high23 = _mm256_unpackhi_epi8(row[2], row[3]);
            __m256i digits[kDigits];
            for (int d = 0; d < kDigits; ++d, digit += 4) digits[d] = _mm256_set1_epi32(word(digit));
            sum[0] = add_taps<kDigits>(sum[0], _mm256_unpacklo_epi16(low01, low23), digits);
            sum[1] = add_taps<kDigits>(sum[1], _mm256_unpackhi_epi16(low01, low23), digits);
            sum[2] = add_taps<kDigits>(sum[2], _mm256_unpacklo_epi16(high01, high23), digits);
            sum[3] = add_taps<kDigits>(sum[3], _mm256_unpackhi_epi16(high01, high23), digits);
        }
        for (__m256i& s : sum) s = _mm256_srai_epi32(s, kPilBits);
        const __m256i v =
            _mm256_packus_epi16(_mm256_packs_epi32(sum[0], sum[1]), _mm256_packs_epi32(sum[2], sum[3]));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + at), v);
    }
}

void pil_vertical(const uint8_t* in, ptrdiff_t stride, const Windows& y, int i, int n, uint8_t* out) {
    if (n < 32) return narrow->pil_vertical(in, stride, y, i, n, out);
    (y.digit_count == 3 ? pil_vertical_of<3> : pil_vertical_of<4>)(in, stride, y, i, n, out);
}

// ---- TensorFlow
// -----------------------------------------------------------------------------------------------

// Shuffle that widens bytes to 32 bits: lane j of each 128 bits takes the byte at + order[j].
__m256i widen(int at, const int order[4]) {
    // Only the lowest byte of a lane is taken; the others have their highest bit set, which gives 0.
    const int32_t rest = static_cast<int32_t>(0xFFFFFF00);
    return _mm256_broadcastsi128_si256(_mm_setr_epi32(rest | (at + order[0]), rest | (at + order[1]),
                                                      rest | (at + order[2]), rest | (at + order[3])));
}

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

// 8 bytes at each of 4 columns: pixels 0 and 1 in the low lane, 2 and 3 in the high one.
__m256i load_columns(const uint8_t* row, const ptrdiff_t at[4]) {
    const __m128i low = _mm_unpacklo_epi64(load8(row + at[0]), load8(row + at[1]));
    const __m128i high = _mm_unpacklo_epi64(load8(row + at[2]), load8(row + at[3]));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

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
    narrow->lerp_row(top, bottom, index + 2 * done, lerp + done, lerp_y, safe - done, width - done, channels,
                     out + static_cast<ptrdiff_t>(done) * channels);
}

// Normalisation of pixels that have a 128-bit lane each. Which operations there are is fixed for a plan.
struct PixelNormalise {
    bool has_scale, has_divisor, has_offset, has_mean;
    __m256 scale, divisor, offset, mean, std;

    explicit PixelNormalise(const Emit& e)
        : has_scale(e.has_scale),
          has_divisor(e.has_divisor),
          has_offset(e.has_offset),
          has_mean(e.has_mean),
          scale(_mm256_set1_ps(e.scale)),
          divisor(_mm256_set1_ps(e.divisor)),
          offset(_mm256_set1_ps(e.offset)),
          mean(_mm256_setr_ps(e.mean[0], e.mean[1], e.mean[2], 0, e.mean[0], e.mean[1], e.mean[2], 0)),
          std(_mm256_setr_ps(e.std[0], e.std[1], e.std[2], 1, e.std[0], e.std[1], e.std[2], 1)) {}

    __m256 operator()(__m256 v) const {
        if (has_scale) v = _mm256_mul_ps(v, scale);
        if (has_divisor) v = _mm256_div_ps(v, divisor);
        if (has_offset) v = _mm256_add_ps(v, offset);
        if (has_mean) v = _mm256_div_ps(_mm256_sub_ps(v, mean), std);
        return v;
    }
};

void lerp_emit(const uint8_t* top, const uint8_t* bottom, const int32_t* index, const float* lerp,
               float lerp_y, int safe, int width, const Emit& e, float* out) {
    // Not the last pixel: its fourth lane would fall past the row.
    const int done = e.in_channels == 1 || e.channels == 1 ? 0 : least(safe, width - 1) / 4 * 4;
    const int order[4] = {e.order[0], e.order[1], e.order[2], e.order[0]};
    lerp_pixels(top, bottom, index, lerp, lerp_y, done, e.in_channels, order, 3, out, PixelNormalise(e));
    narrow->lerp_emit(top, bottom, index + 2 * done, lerp + done, lerp_y, safe - done, width - done, e,
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
    narrow->nearest_emit(in, index + done, safe - done, width - done, e, out + done * e.pixel_step);
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
        narrow->tf_vertical(in + i, stride, count, weight_a, weight_b, n - i, sum_a + i,
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
    if (channels == 1) return narrow->tf_horizontal(in, rows, x, channels, out, out_stride);
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
        return narrow->tf_cubic_row(rows, weight_y, index, weight, from, to, width, channels, out);
    }
    narrow->tf_cubic_row(rows, weight_y, index, weight, 0, 0, from, channels, out);
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
    narrow->tf_cubic_row(rows, weight_y, index + 4 * to, weight + 4 * to, 0, 0, width - to, channels,
                         out + static_cast<ptrdiff_t>(to) * channels);
}

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
        return narrow->area_horizontal(in, in_stride, rows, x, safe, channels, out, out_stride);
    const auto run = channels == 3 ? (x.ones ? area_horizontal_of<3, true> : area_horizontal_of<3, false>)
                                   : (x.ones ? area_horizontal_of<4, true> : area_horizontal_of<4, false>);
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

// ---- OpenCV
// ---------------------------------------------------------------------------------------------------

// Bytes l, r of each channel as 16-bit pairs times the pair of weights.
void cv_horizontal(const uint8_t* in, const int32_t* index, const int32_t* weight, int safe, int width,
                   int channels, int32_t* out) {
    const int done = channels == 1 ? 0 : safe / 4 * 4;
    // Byte c of the left pixel and byte c of the right one as the two 16-bit halves of lane c.
    const int32_t pair = static_cast<int32_t>(0xFF00FF00) | channels << 16;
    const __m128i even = _mm_setr_epi32(pair, pair + 0x10001, pair + 0x20002, pair + 0x30003);
    const __m256i order[2] = {_mm256_broadcastsi128_si256(even),
                              _mm256_broadcastsi128_si256(_mm_add_epi32(even, _mm_set1_epi32(0x80008)))};
    const __m256i spread[2] = {_mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4),
                               _mm256_setr_epi32(1, 1, 1, 1, 5, 5, 5, 5)};
    for (int x = 0; x < done; x += 4, out += 4 * channels) {
        ptrdiff_t at[4];
        for (int j = 0; j < 4; ++j) at[j] = static_cast<ptrdiff_t>(index[2 * (x + j)]) * channels;
        const __m256i v = load_columns(in, at);
        // 8 weights as 16 bits: pixels 0 and 1 in the low lane's first 8 bytes, 2 and 3 in the high one's.
        const __m256i all = load32(weight + 2 * x);
        const __m256i pairs = _mm256_packs_epi32(all, all);
        const __m256i v02 = _mm256_madd_epi16(_mm256_shuffle_epi8(v, order[0]),
                                              _mm256_permutevar8x32_epi32(pairs, spread[0]));
        const __m256i v13 = _mm256_madd_epi16(_mm256_shuffle_epi8(v, order[1]),
                                              _mm256_permutevar8x32_epi32(pairs, spread[1]));
        // The fourth lane of 3 channels is overwritten by the next store; the row has room behind it.
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm256_castsi256_si128(v02));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + channels), _mm256_castsi256_si128(v13));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 2 * channels), _mm256_extracti128_si256(v02, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 3 * channels), _mm256_extracti128_si256(v13, 1));
    }
    if (done == width) return;
    narrow->cv_horizontal(in, index + 2 * done, weight + 2 * done, safe - done, width - done, channels, out);
}

void cv_vertical(const int32_t* top, const int32_t* bottom, int32_t weight_top, int32_t weight_bottom, int n,
                 uint8_t* out) {
    const __m256i wt = _mm256_set1_epi16(static_cast<int16_t>(weight_top));
    const __m256i wb = _mm256_set1_epi16(static_cast<int16_t>(weight_bottom));
    const __m256i two = _mm256_set1_epi16(2);
    int i = 0;
    for (; i + 16 <= n; i += 16) {
        // Sums are at most 255 * 2048, so sum >> 4 fits 16 bits and mulhi is (weight * (sum >> 4)) >> 16.
        const __m256i t = _mm256_packs_epi32(_mm256_srai_epi32(load32(top + i), 4),
                                             _mm256_srai_epi32(load32(top + i + 8), 4));
        const __m256i b = _mm256_packs_epi32(_mm256_srai_epi32(load32(bottom + i), 4),
                                             _mm256_srai_epi32(load32(bottom + i + 8), 4));
        __m256i v = _mm256_add_epi16(_mm256_mulhi_epi16(t, wt), _mm256_mulhi_epi16(b, wb));
        v = _mm256_srai_epi16(_mm256_add_epi16(v, two), 2);
        v = _mm256_permute4x64_epi64(_mm256_packus_epi16(v, v), 0x08);  // lanes 0 and 2
        v = _mm256_permutevar8x32_epi32(v, _mm256_setr_epi32(0, 2, 1, 3, 4, 5, 6, 7));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), _mm256_castsi256_si128(v));
    }
    if (i == n) return;
    narrow->cv_vertical(top + i, bottom + i, weight_top, weight_bottom, n - i, out + i);
}

__m256i round_to_ints(__m256 v) { return _mm256_cvtps_epi32(v); }

void store_ints_as_bytes(uint8_t* out, __m256i v) {
    const __m128i shorts = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out), _mm_packus_epi16(shorts, shorts));
}

// Taps 0 and 1, then 2 and 3, of each channel as 16-bit pairs times the pair of weights.
void cv_cubic_horizontal(const uint8_t* in, const int32_t* index, const int32_t* weight, int from, int to,
                         int width, int channels, int32_t* out) {
    if (channels == 1) {
        return narrow->cv_cubic_horizontal(in, index, weight, from, to, width, channels, out);
    }
    narrow->cv_cubic_horizontal(in, index, weight, 0, 0, from, channels, out);
    const int32_t pair = static_cast<int32_t>(0xFF00FF00) | channels << 16;
    const __m128i first =
        _mm_setr_epi32(pair, pair + 0x10001, pair + 0x20002, pair + (channels == 4 ? 0x30003 : 0));
    const __m128i second = _mm_add_epi32(first, _mm_set1_epi32(2 * channels * 0x10001));
    for (int x = from; x < to; ++x) {
        const __m128i v = load16(in + static_cast<ptrdiff_t>(index[4 * x]) * channels);
        const __m128i all = load16(weight + 4 * x);
        const __m128i pairs = _mm_packs_epi32(all, all);
        const __m128i a = _mm_madd_epi16(_mm_shuffle_epi8(v, first), _mm_shuffle_epi32(pairs, 0x00));
        const __m128i b = _mm_madd_epi16(_mm_shuffle_epi8(v, second), _mm_shuffle_epi32(pairs, 0x55));
        // The fourth lane of 3 channels is overwritten by the next store; the row has room behind it.
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + static_cast<ptrdiff_t>(x) * channels),
                         _mm_add_epi32(a, b));
    }
    narrow->cv_cubic_horizontal(in, index + 4 * to, weight + 4 * to, 0, 0, width - to, channels,
                                out + static_cast<ptrdiff_t>(to) * channels);
}

void cv_cubic_vertical(const int32_t* const rows[4], const int32_t weight[4], int n, uint8_t* out) {
    constexpr float scale = 1.0f / (2048.0f * 2048.0f);
    __m256 w[4];
    for (int k = 0; k < 4; ++k) w[k] = _mm256_set1_ps(static_cast<float>(weight[k]) * scale);
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 sum = _mm256_mul_ps(_mm256_cvtepi32_ps(load32(rows[3] + i)), w[3]);
        for (int k = 2; k >= 0; --k) {
            sum = _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(load32(rows[k] + i)), w[k]), sum);
        }
        store_ints_as_bytes(out + i, round_to_ints(sum));
    }
    const int32_t* const rest[4] = {rows[0] + i, rows[1] + i, rows[2] + i, rows[3] + i};
    narrow->cv_cubic_vertical(rest, weight, n - i, out + i);
}

void round_row(const float* in, int n, uint8_t* out) {
    int i = 0;
    for (; i + 8 <= n; i += 8) store_ints_as_bytes(out + i, round_to_ints(_mm256_loadu_ps(in + i)));
    narrow->round_row(in + i, n - i, out + i);
}

// ---- The tensor
// -----------------------------------------------------------------------------------------------

struct Normalise {
    bool has_scale, has_divisor, has_offset, has_mean;
    __m256 scale, divisor, offset;
    // Mean and std of 8 consecutive values that start at channel 0, 1, 2 of an interleaved row.
    __m256 mean[3] = {}, std[3] = {};

    explicit Normalise(const Emit& e)
        : has_scale(e.has_scale),
          has_divisor(e.has_divisor),
          has_offset(e.has_offset),
          has_mean(e.has_mean),
          scale(_mm256_set1_ps(e.scale)),
          divisor(_mm256_set1_ps(e.divisor)),
          offset(_mm256_set1_ps(e.offset)) {
        if (!has_mean) return;
        for (int start = 0; start < 3; ++start) {
            alignas(32) float m[8], s[8];
            for (int i = 0; i < 8; ++i) {
                m[i] = e.mean[(start + i) % e.channels];
                s[i] = e.std[(start + i) % e.channels];
            }
            mean[start] = _mm256_load_ps(m);
            std[start] = _mm256_load_ps(s);
        }
    }
    __m256 operator()(__m256 v, int start) const {
        if (has_scale) v = _mm256_mul_ps(v, scale);
        if (has_divisor) v = _mm256_div_ps(v, divisor);
        if (has_offset) v = _mm256_add_ps(v, offset);
        if (has_mean) v = _mm256_div_ps(_mm256_sub_ps(v, mean[start]), std[start]);
        return v;
    }
};

// The tensor's row holds the same values in the same order.
bool is_flat(const Emit& e) {
    if (e.in_channels != e.channels || e.plane_step != 1) return false;
    for (int c = 0; c < e.channels; ++c) {
        if (e.order[c] != c) return false;
    }
    return e.pixel_step == e.channels;
}

bool is_interleaved(const Emit& e) { return e.channels == 3 && e.plane_step == 1; }
bool is_planar(const Emit& e) { return e.channels == 3 && e.pixel_step == 1 && e.in_channels >= 3; }

// One channel of a planar tensor: the mean and std of all lanes are that channel's.
PixelNormalise channel_normalise(const Emit& e, int c) {
    PixelNormalise n(e);
    n.mean = _mm256_set1_ps(e.mean[c]);
    n.std = _mm256_set1_ps(e.std[c]);
    return n;
}

void emit_f32_to_f32_flat(const float* row, int width, const Emit& e, float* out) {
    const Normalise normalise(e);
    const int n = width * e.channels;
    int i = 0;
    // 24 values: a whole number of pixels, so that each vector starts at a known channel.
    for (; i + 24 <= n; i += 24) {
        for (int j = 0; j < 3; ++j) {
            const int start = 8 * j % e.channels;
            _mm256_storeu_ps(out + i + 8 * j, normalise(_mm256_loadu_ps(row + i + 8 * j), start));
        }
    }
    if (i == n) return;
    narrow->emit_f32_to_f32(row + i, (n - i) / e.channels, e, out + i);
}

// Floats of 8 pixels, 3 channels -> 8 floats of channel c.
template <int kChannel>
__m256 plane_of(__m256 v0, __m256 v1, __m256 v2) {
    // Value i stands at 3 * i + channel: 0..7 in v0, 8..15 in v1, 16..23 in v2.
    constexpr int kFirst = (8 - kChannel + 2) / 3, kSecond = (16 - kChannel + 2) / 3;
    alignas(32) static const int32_t at[8] = {(kChannel + 0) % 8,  (kChannel + 3) % 8,  (kChannel + 6) % 8,
                                              (kChannel + 9) % 8,  (kChannel + 12) % 8, (kChannel + 15) % 8,
                                              (kChannel + 18) % 8, (kChannel + 21) % 8};
    const __m256i order = load32(at);
    constexpr int kFromV1 = 0xFF & ~((1 << kFirst) - 1), kFromV2 = 0xFF & ~((1 << kSecond) - 1);
    const __m256 a = _mm256_permutevar8x32_ps(v0, order), b = _mm256_permutevar8x32_ps(v1, order);
    return _mm256_blend_ps(_mm256_blend_ps(a, b, kFromV1), _mm256_permutevar8x32_ps(v2, order), kFromV2);
}

void emit_f32_to_f32_planar(const float* row, int width, const Emit& e, float* out) {
    int x = 0;
    const PixelNormalise normalise[3] = {channel_normalise(e, 0), channel_normalise(e, 1),
                                         channel_normalise(e, 2)};
    for (; x + 8 <= width; x += 8) {
        const __m256 v0 = _mm256_loadu_ps(row + 3 * x), v1 = _mm256_loadu_ps(row + 3 * x + 8);
        const __m256 v2 = _mm256_loadu_ps(row + 3 * x + 16);
        const __m256 planes[3] = {plane_of<0>(v0, v1, v2), plane_of<1>(v0, v1, v2), plane_of<2>(v0, v1, v2)};
        for (int c = 0; c < 3; ++c) {
            _mm256_storeu_ps(out + c * e.plane_step + x, normalise[c](planes[e.order[c]]));
        }
    }
    narrow->emit_f32_to_f32(row + 3 * x, width - x, e, out + x);
}

// Rows of floats have room for a wide load behind them.
void emit_f32_to_f32_interleaved(const float* row, int width, const Emit& e, float* out) {
    const PixelNormalise normalise(e);
    const __m256i order = _mm256_setr_epi32(e.order[0], e.order[1], e.order[2], e.order[0], e.order[0],
                                            e.order[1], e.order[2], e.order[0]);
    int x = 0;
    for (; x + 3 <= width; x += 2) {
        const float* pixel = row + static_cast<ptrdiff_t>(x) * e.in_channels;
        const __m256 v = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(pixel)),
                                              _mm_loadu_ps(pixel + e.in_channels), 1);
        const __m256 n = normalise(_mm256_permutevar_ps(v, order));
        _mm_storeu_ps(out + 3 * x, _mm256_castps256_ps128(n));
        _mm_storeu_ps(out + 3 * x + 3, _mm256_extractf128_ps(n, 1));
    }
    narrow->emit_f32_to_f32(row + static_cast<ptrdiff_t>(x) * e.in_channels, width - x, e, out + 3 * x);
}

void emit_f32_to_f32(const float* row, int width, const Emit& e, float* out) {
    if (is_flat(e)) return emit_f32_to_f32_flat(row, width, e, out);
    if (is_interleaved(e)) return emit_f32_to_f32_interleaved(row, width, e, out);
    if (is_planar(e) && e.in_channels == 3) return emit_f32_to_f32_planar(row, width, e, out);
    narrow->emit_f32_to_f32(row, width, e, out);
}

void emit_u8_to_f32_flat(const uint8_t* row, int width, const Emit& e, float* out) {
    const Normalise normalise(e);
    const int n = width * e.channels;
    int i = 0;
    for (; i + 24 <= n; i += 24) {
        for (int j = 0; j < 3; ++j) {
            const int start = 8 * j % e.channels;
            _mm256_storeu_ps(out + i + 8 * j, normalise(floats(row + i + 8 * j), start));
        }
    }
    if (i == n) return;
    narrow->emit_u8_to_f32(row + i, (n - i) / e.channels, e, out + i);
}

// 8 pixels from 32 bytes -> 8 bytes of one channel each.
void emit_u8_to_f32_planar(const uint8_t* row, int width, const Emit& e, float* out) {
    const PixelNormalise normalise[3] = {channel_normalise(e, 0), channel_normalise(e, 1),
                                         channel_normalise(e, 2)};
    const int half = 4 * e.in_channels;
    __m128i order[3];
    for (int c = 0; c < 3; ++c) {
        const int at = e.order[c], step = e.in_channels;
        const int32_t four = at | (at + step) << 8 | (at + 2 * step) << 16 | (at + 3 * step) << 24;
        order[c] = _mm_setr_epi32(four, -1, -1, -1);
    }
    int x = 0;
    // Two loads of 16 bytes hold 4 pixels each; the second ends 4 bytes past 8 pixels of 3 channels.
    for (; x + 10 <= width; x += 8) {
        const uint8_t* pixel = row + static_cast<ptrdiff_t>(x) * e.in_channels;
        const __m128i a = load16(pixel), b = load16(pixel + half);
        for (int c = 0; c < 3; ++c) {
            const __m128i bytes =
                _mm_unpacklo_epi32(_mm_shuffle_epi8(a, order[c]), _mm_shuffle_epi8(b, order[c]));
            const __m256 v = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
            _mm256_storeu_ps(out + c * e.plane_step + x, normalise[c](v));
        }
    }
    narrow->emit_u8_to_f32(row + static_cast<ptrdiff_t>(x) * e.in_channels, width - x, e, out + x);
}

void emit_u8_to_f32_interleaved(const uint8_t* row, int width, const Emit& e, float* out) {
    const PixelNormalise normalise(e);
    const int order[4] = {e.order[0], e.order[1], e.order[2], e.order[0]};
    const __m256i both = _mm256_blend_epi32(widen(0, order), widen(e.in_channels, order), 0xF0);
    int x = 0;
    // 8 bytes from pixel x on lie in the row, of 1, 3 or 4 channels.
    for (; x + 8 <= width; x += 2) {
        int64_t bytes;
        __builtin_memcpy(&bytes, row + static_cast<ptrdiff_t>(x) * e.in_channels, 8);
        const __m256 v = _mm256_cvtepi32_ps(_mm256_shuffle_epi8(_mm256_set1_epi64x(bytes), both));
        const __m256 n = normalise(v);
        _mm_storeu_ps(out + 3 * x, _mm256_castps256_ps128(n));
        _mm_storeu_ps(out + 3 * x + 3, _mm256_extractf128_ps(n, 1));
    }
    narrow->emit_u8_to_f32(row + static_cast<ptrdiff_t>(x) * e.in_channels, width - x, e, out + 3 * x);
}

void emit_u8_to_f32(const uint8_t* row, int width, const Emit& e, float* out) {
    if (is_flat(e)) return emit_u8_to_f32_flat(row, width, e, out);
    if (is_interleaved(e)) return emit_u8_to_f32_interleaved(row, width, e, out);
    if (is_planar(e)) return emit_u8_to_f32_planar(row, width, e, out);
    narrow->emit_u8_to_f32(row, width, e, out);
}

void emit_f32_to_u8(const float* row, int width, const Emit& e, uint8_t* out) {
    if (!is_flat(e)) return narrow->emit_f32_to_u8(row, width, e, out);
    const int n = width * e.channels;
    int i = 0;
    for (; i + 8 <= n; i += 8) store_ints_as_bytes(out + i, round_to_ints(_mm256_loadu_ps(row + i)));
    narrow->round_row(row + i, n - i, out + i);
}

void emit_u8_to_u8(const uint8_t* row, int width, const Emit& e, uint8_t* out) {
    if (!is_flat(e)) return narrow->emit_u8_to_u8(row, width, e, out);
    __builtin_memcpy(out, row, static_cast<size_t>(width) * e.channels);
}

// The middle weight does not fit 16 signed bits, so it is halved and its byte taken twice: (0, 1) and (1, 2).
void gray_row(const uint8_t* in, int width, int channels, const GrayRule& rule, uint8_t* out) {
    const int32_t half = rule.weight[1] / 2;
    const __m256i weights = _mm256_set1_epi64x(static_cast<int64_t>(
        static_cast<uint64_t>(rule.weight[2]) << 48 | static_cast<uint64_t>(half) << 32 |
        static_cast<uint64_t>(rule.weight[1] - half) << 16 | static_cast<uint64_t>(rule.weight[0])));
    // Pixel at byte `at` -> bytes 0, 1, 1, 2 as 16 bits.
    const auto pixel = [](int at) {
        const int64_t base = static_cast<int64_t>(0xFF02FF01FF01FF00ull);
        return base + static_cast<int64_t>(at) * 0x0001000100010001ll;
    };
    const __m256i first = _mm256_broadcastsi128_si256(_mm_set_epi64x(pixel(channels), pixel(0)));
    const __m256i second =
        _mm256_broadcastsi128_si256(_mm_set_epi64x(pixel(3 * channels), pixel(2 * channels)));
    const __m256i round = _mm256_set1_epi32(rule.round);
    int x = 0;
    // 4 pixels a lane; the last load ends 4 bytes past 8 pixels of 3 channels.
    for (; x + 10 <= width; x += 8) {
        const uint8_t* at = in + static_cast<ptrdiff_t>(x) * channels;
        const __m256i v = load_pair(at, at + 4 * channels);
        const __m256i a = _mm256_madd_epi16(_mm256_shuffle_epi8(v, first), weights);
        const __m256i b = _mm256_madd_epi16(_mm256_shuffle_epi8(v, second), weights);
        __m256i sum = _mm256_add_epi32(_mm256_hadd_epi32(a, b), round);
        sum = _mm256_srl_epi32(sum, _mm_cvtsi32_si128(rule.shift));
        store_ints_as_bytes(out + x, sum);
    }
    narrow->gray_row(in + static_cast<ptrdiff_t>(x) * channels, width - x, channels, rule, out + x);
}

// 8 pixels a step: where their luma and chroma bytes stand differs by format, the rest is the same.
void yuv_row(const YuvRow& in, int first, const int32_t* columns, int width, uint8_t* out) {
    if (columns != nullptr) return narrow->yuv_row(in, first, columns, width, out);
    int x = 0;
    if (first % 2 != 0 && width > 0) {
        narrow->yuv_row(in, first, nullptr, 1, out);
        x = 1;
    }
    const auto shifted = [](__m128i order, ptrdiff_t by) {
        return _mm_add_epi8(order, _mm_set1_epi8(static_cast<char>(by)));
    };
    const bool packed = in.y_step == 2, planes = in.uv_step == 1;
    const bool v_first = !planes && in.v < in.u;
    // Packed pixels are 4 bytes a pair, from here on.
    const uint8_t* const pairs = in.y < in.u ? in.y : in.u;
    const uint8_t* const chroma = v_first ? in.v : in.u;
    const __m128i luma_order =
        shifted(_mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 0, 0, 0, 0, 0, 0, 0, 0), in.y - pairs);
    // Each chroma byte serves two pixels. low: which of the two comes first in memory; of i420 u, then v.
    const __m128i low =
        planes   ? _mm_setr_epi8(0, 0, 1, 1, 2, 2, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0)
        : packed ? shifted(_mm_setr_epi8(0, 0, 4, 4, 8, 8, 12, 12, 0, 0, 0, 0, 0, 0, 0, 0), in.u - pairs)
                 : _mm_setr_epi8(0, 0, 2, 2, 4, 4, 6, 6, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m128i high = shifted(low, planes ? 4 : packed ? 2 : 1);
    const __m256i order =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11, -1, -1, -1, -1));
    const __m256i half = _mm256_set1_epi32(1 << 19), middle = _mm256_set1_epi32(128);
    // A store ends 4 bytes past 8 pixels.
    for (; x + 10 <= width; x += 8) {
        const ptrdiff_t at = first + x;
        __m128i luma, uv;
        if (packed) {
            uv = load16(pairs + at * 2);
            luma = _mm_shuffle_epi8(uv, luma_order);
        } else {
            luma = load8(in.y + at);
            uv = planes ? _mm_setr_epi32(word(reinterpret_cast<const int8_t*>(in.u + at / 2)),
                                         word(reinterpret_cast<const int8_t*>(in.v + at / 2)), 0, 0)
                        : load8(chroma + at);
        }
        const __m128i lows = _mm_shuffle_epi8(uv, low), highs = _mm_shuffle_epi8(uv, high);
        const __m256i u = _mm256_sub_epi32(_mm256_cvtepu8_epi32(v_first ? highs : lows), middle);
        const __m256i v = _mm256_sub_epi32(_mm256_cvtepu8_epi32(v_first ? lows : highs), middle);
        const __m256i above = _mm256_cvtepu8_epi32(_mm_subs_epu8(luma, _mm_set1_epi8(16)));
        const __m256i y = _mm256_add_epi32(_mm256_mullo_epi32(above, _mm256_set1_epi32(1220542)), half);
        const __m256i r = _mm256_add_epi32(y, _mm256_mullo_epi32(v, _mm256_set1_epi32(1673527)));
        const __m256i g =
            _mm256_add_epi32(y, _mm256_add_epi32(_mm256_mullo_epi32(v, _mm256_set1_epi32(-852492)),
                                                 _mm256_mullo_epi32(u, _mm256_set1_epi32(-409993))));
        const __m256i b = _mm256_add_epi32(y, _mm256_mullo_epi32(u, _mm256_set1_epi32(2116026)));
        const __m256i rg = _mm256_packs_epi32(_mm256_srai_epi32(r, 20), _mm256_srai_epi32(g, 20));
        const __m256i b0 = _mm256_packs_epi32(_mm256_srai_epi32(b, 20), _mm256_setzero_si256());
        const __m256i rgb = _mm256_shuffle_epi8(_mm256_packus_epi16(rg, b0), order);
        uint8_t* const to = out + 3 * static_cast<ptrdiff_t>(x);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(rgb));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 12), _mm256_extracti128_si256(rgb, 1));
    }
    narrow->yuv_row(in, first + x, nullptr, width - x, out + 3 * static_cast<ptrdiff_t>(x));
}

}  // namespace

const Kernels& avx2_kernels() {
    static const Kernels table = [] {
        narrow = &simd128_kernels();
        Kernels k = *narrow;
        k.name = "x86-64-v3";
        k.lerp_row = lerp_row;
        k.lerp_emit = lerp_emit;
        k.lerp_exact_emit = lerp_exact_emit;
        k.nearest_emit = nearest_emit;
        k.cv_horizontal = cv_horizontal;
        k.pil_horizontal = pil_horizontal;
        k.pil_vertical = pil_vertical;
        k.tf_vertical = tf_vertical;
        k.tf_horizontal = tf_horizontal;
        k.area_horizontal = area_horizontal;
        k.area_by_fixed = true;
        k.area_add = area_add;
        k.scale_row = scale_row;
        k.cv_vertical = cv_vertical;
        k.cv_cubic_horizontal = cv_cubic_horizontal;
        k.cv_cubic_vertical = cv_cubic_vertical;
        k.tf_cubic_row = tf_cubic_row;
        k.round_row = round_row;
        k.emit_f32_to_f32 = emit_f32_to_f32;
        k.emit_u8_to_f32 = emit_u8_to_f32;
        k.emit_f32_to_u8 = emit_f32_to_u8;
        k.emit_u8_to_u8 = emit_u8_to_u8;
        k.gray_row = gray_row;
        k.yuv_row = yuv_row;
        return k;
    }();
    return table;
}

}  // namespace edgecnn
