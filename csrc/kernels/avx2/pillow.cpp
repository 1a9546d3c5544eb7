// Pillow's windows in 22-bit fixed point.
#include "kernels256.hpp"
#include "windows.hpp"

namespace edgecnn {
namespace {

constexpr int kPilBits = 32 - 8 - 2;
constexpr int kPilHalf = 1 << (kPilBits - 1);

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
    if (x.digits == nullptr)
        return narrow().pil_horizontal(in, in_stride, rows, x, channels, out, out_stride);
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
    if (n < 32) return narrow().pil_vertical(in, stride, y, i, n, out);
    (y.digit_count == 3 ? pil_vertical_of<3> : pil_vertical_of<4>)(in, stride, y, i, n, out);
}

}  // namespace

void add_pillow256(Kernels& k) {
    k.pil_horizontal = pil_horizontal;
    k.pil_vertical = pil_vertical;
}

}  // namespace edgecnn
