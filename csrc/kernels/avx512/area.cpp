// The area methods of TensorFlow and OpenCV, across a row.
#include "kernels512.hpp"
#include "windows.hpp"

namespace edgecnn {
namespace {

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
        return narrow().area_horizontal(in, in_stride, rows, x, safe, channels, out, out_stride);
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
    narrow().area_horizontal(in, in_stride, rows, rest, 0, channels,
                             out + static_cast<ptrdiff_t>(safe) * channels, out_stride);
}

}  // namespace

void add_area512(Kernels& k) { k.area_horizontal = area_horizontal; }

}  // namespace edgecnn
