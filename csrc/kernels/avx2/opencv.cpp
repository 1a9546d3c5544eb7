// cv2.resize: linear and cubic.
#include "kernels256.hpp"
#include "vector.hpp"

namespace edgecnn {
namespace {

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
    narrow().cv_horizontal(in, index + 2 * done, weight + 2 * done, safe - done, width - done, channels, out);
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
    narrow().cv_vertical(top + i, bottom + i, weight_top, weight_bottom, n - i, out + i);
}

// Taps 0 and 1, then 2 and 3, of each channel as 16-bit pairs times the pair of weights.
void cv_cubic_horizontal(const uint8_t* in, const int32_t* index, const int32_t* weight, int from, int to,
                         int width, int channels, int32_t* out) {
    if (channels == 1) {
        return narrow().cv_cubic_horizontal(in, index, weight, from, to, width, channels, out);
    }
    narrow().cv_cubic_horizontal(in, index, weight, 0, 0, from, channels, out);
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
    narrow().cv_cubic_horizontal(in, index + 4 * to, weight + 4 * to, 0, 0, width - to, channels,
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
    narrow().cv_cubic_vertical(rest, weight, n - i, out + i);
}

}  // namespace

void add_opencv256(Kernels& k) {
    k.cv_horizontal = cv_horizontal;
    k.cv_vertical = cv_vertical;
    k.cv_cubic_horizontal = cv_cubic_horizontal;
    k.cv_cubic_vertical = cv_cubic_vertical;
}

}  // namespace edgecnn
