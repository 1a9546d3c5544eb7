// Gray and camera formats.
#include "kernels256.hpp"
#include "vector.hpp"

namespace edgecnn {
namespace {

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
    narrow().gray_row(in + static_cast<ptrdiff_t>(x) * channels, width - x, channels, rule, out + x);
}

// 8 pixels a step: where their luma and chroma bytes stand differs by format, the rest is the same.
void yuv_row(const YuvRow& in, int first, const int32_t* columns, int width, uint8_t* out) {
    if (columns != nullptr) return narrow().yuv_row(in, first, columns, width, out);
    int x = 0;
    if (first % 2 != 0 && width > 0) {
        narrow().yuv_row(in, first, nullptr, 1, out);
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
    narrow().yuv_row(in, first + x, nullptr, width - x, out + 3 * static_cast<ptrdiff_t>(x));
}

}  // namespace

void add_color256(Kernels& k) {
    k.gray_row = gray_row;
    k.yuv_row = yuv_row;
}

}  // namespace edgecnn
