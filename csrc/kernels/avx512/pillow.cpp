// Pillow's windows in 22-bit fixed point.
#include "kernels512.hpp"
#include "windows.hpp"

namespace edgecnn {
namespace {

constexpr int kLine = 64, kLinesWorthFetching = 4;

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
    // Lines of the next four rows to fetch a step. A frame is seldom in the cache when it comes from a
    // decoder or a camera; where the windows are narrow, arithmetic takes longer than memory and hides it
    // anyway.
    const int lines = x.in * kChannels / kLine / ((x.out + 3) / 4) + 1;
    const bool fetch = lines >= kLinesWorthFetching;
    for (int y = 0; y < rows; y += 4) {
        const uint8_t *row[4], *next[4];
        uint8_t* to[4];
        four_rows(in, in_stride, y, rows, row);
        four_rows(in, in_stride, y + 4, rows, next);
        four_rows(out, out_stride, y, rows, to);
        for (int i = 0; i < x.out; i += 4) {
            for (int k = 0; fetch && k < lines; ++k) {
                for (int j = 0; j < 4; ++j) __builtin_prefetch(next[j] + (i / 4 * lines + k) * kLine, 0, 2);
            }
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
        return narrow().pil_horizontal(in, in_stride, rows, x, channels, out, out_stride);
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

}  // namespace

void add_pillow512(Kernels& k) {
    k.pil_horizontal = pil_horizontal;
    k.pil_vertical = pil_vertical;
}

}  // namespace edgecnn
