// Pillow's windows: sums of bytes times weights of 22 bits, two taps at a time.
#include "kernels128.hpp"
#include "vector.hpp"

namespace edgecnn {
namespace {

constexpr int kPilBits = 32 - 8 - 2;
constexpr int32_t kPilHalf = 1 << (kPilBits - 1);

// The bytes of 4 values, twice.
U8x16 clip(I32x4 a, I32x4 b) {
    const I16x8 v = narrow((a + kPilHalf) >> kPilBits, (b + kPilHalf) >> kPilBits);
    return narrow(v, v);
}

// a[0] + a[1], a[2] + a[3], then likewise of b.
I32x4 add_neighbours(I32x4 a, I32x4 b) { return even_lanes(a, b) + odd_lanes(a, b); }

// v without its first n bytes; the last n are anything.
U8x16 drop(U8x16 v, int n) {
    const U8x16 places = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return shuffle(v, places + static_cast<uint8_t>(n));
}

// The bytes from p on that are before end, and anything. 16 bytes lie before end.
U8x16 bytes_at(const uint8_t* p, const uint8_t* end) {
    return end - p < 16 ? drop(load<U8x16>(end - 16), static_cast<int>(16 - (end - p))) : load<U8x16>(p);
}

// The first `count` of 4 weights, and zeros. end: of all windows' weights, which are 4 or more.
I32x4 weights_at(const int32_t* w, int count, const int32_t* end) {
    const auto* const bytes = reinterpret_cast<const uint8_t*>(w);
    const I32x4 four = as<I32x4>(bytes_at(bytes, reinterpret_cast<const uint8_t*>(end)));
    return four & (I32x4{0, 1, 2, 3} < all(count));
}

// Where 4 taps stand in 16 bytes, two and two; a 32-bit lane is a channel.
template <int kChannels>
struct Taps {
    U8x16 first = pair_order(0, 1, kChannels), second = pair_order(2 * kChannels, 1, kChannels);

    // 4 taps of each row's pixels v.
    template <int kRows>
    void add(FixedSum (&sum)[kRows], const U8x16 (&v)[kRows], I32x4 weights) const {
        const PairWeights pairs(weights, weights);
        const PairWeights w01 = spread_pair<0>(pairs), w23 = spread_pair<1>(pairs);
        for (int r = 0; r < kRows; ++r) {
            sum[r].add(shuffle(v[r], first), w01);
            sum[r].add(shuffle(v[r], second), w23);
        }
    }
};

template <int kChannels, int kRows>
void color_rows(const uint8_t* in, ptrdiff_t in_stride, const Windows& x, uint8_t* out,
                ptrdiff_t out_stride) {
    const Taps<kChannels> taps;
    const uint8_t* const row_end = in + static_cast<ptrdiff_t>(x.in) * kChannels;
    const int32_t* const end = x.fixed + static_cast<ptrdiff_t>(x.out) * x.taps;
    for (int i = 0; i < x.out; ++i) {
        const int32_t* weight = x.fixed + static_cast<ptrdiff_t>(i) * x.taps;
        const uint8_t* pixel = in + static_cast<ptrdiff_t>(x.first[i]) * kChannels;
        FixedSum sum[kRows];
        int left = x.count[i];
        // Blocks of 4 taps, but for those whose 16 bytes would leave the row.
        for (; left >= 4 && row_end - pixel >= 16; left -= 4, weight += 4, pixel += 4 * kChannels) {
            U8x16 v[kRows];
            for (int r = 0; r < kRows; ++r) v[r] = load<U8x16>(pixel + r * in_stride);
            taps.add(sum, v, load<I32x4>(weight));
        }
        for (; left > 0; left -= 4, weight += 4, pixel += 4 * kChannels) {
            U8x16 v[kRows];
            for (int r = 0; r < kRows; ++r) {
                v[r] = bytes_at(pixel + r * in_stride, row_end + r * in_stride);
            }
            taps.add(sum, v, weights_at(weight, least(left, 4), end));
        }
        // The fourth byte of 3 channels is overwritten by the next output; rows have room behind them.
        for (int r = 0; r < kRows; ++r) {
            const I32x4 total = sum[r].total();
            store4(out + r * out_stride + static_cast<ptrdiff_t>(i) * kChannels, clip(total, total));
        }
    }
}

// 8 taps at a time, two a lane; an output is the sum of the lanes.
template <int kRows>
void gray_rows(const uint8_t* in, ptrdiff_t in_stride, const Windows& x, uint8_t* out, ptrdiff_t out_stride) {
    const int32_t* const end = x.fixed + static_cast<ptrdiff_t>(x.out) * x.taps;
    for (int i = 0; i < x.out; ++i) {
        const int32_t* weight = x.fixed + static_cast<ptrdiff_t>(i) * x.taps;
        const uint8_t* pixel = in + x.first[i];
        FixedSum sum[kRows];
        int left = x.count[i];
        for (; left >= 8; left -= 8, weight += 8, pixel += 8) {
            const PairWeights w(load<I32x4>(weight), load<I32x4>(weight + 4));
            for (int r = 0; r < kRows; ++r) {
                sum[r].add(zip_low(load8(pixel + r * in_stride), U8x16{}), w);
            }
        }
        if (left > 0) {
            const PairWeights w(weights_at(weight, least(left, 4), end),
                                left > 4 ? weights_at(weight + 4, left - 4, end) : I32x4{});
            for (int r = 0; r < kRows; ++r) {
                const uint8_t* const p = pixel + r * in_stride;
                sum[r].add(zip_low(bytes_at(p, in + r * in_stride + x.in), U8x16{}), w);
            }
        }
        I32x4 lanes[4] = {};
        for (int r = 0; r < kRows; ++r) lanes[r] = sum[r].total();
        const I32x4 totals =
            add_neighbours(add_neighbours(lanes[0], lanes[1]), add_neighbours(lanes[2], lanes[3]));
        const U8x16 bytes = clip(totals, totals);
        for (int r = 0; r < kRows; ++r) out[r * out_stride + i] = bytes[r];
    }
}

template <int kRows>
void rows_of(const uint8_t* in, ptrdiff_t in_stride, const Windows& x, int channels, uint8_t* out,
             ptrdiff_t out_stride) {
    const auto run = channels == 1   ? gray_rows<kRows>
                     : channels == 3 ? color_rows<3, kRows>
                                     : color_rows<4, kRows>;
    run(in, in_stride, x, out, out_stride);
}

// Rows share what it costs to prepare the weights.
void pil_horizontal(const uint8_t* in, ptrdiff_t in_stride, int rows, const Windows& x, int channels,
                    uint8_t* out, ptrdiff_t out_stride) {
    if (x.in * channels < 16 || x.out * x.taps < 4) {
        return scalar_kernels().pil_horizontal(in, in_stride, rows, x, channels, out, out_stride);
    }
    int y = 0;
    for (; y + 4 <= rows; y += 4) {
        rows_of<4>(in + y * in_stride, in_stride, x, channels, out + y * out_stride, out_stride);
    }
    for (; y < rows; ++y) {
        rows_of<1>(in + y * in_stride, in_stride, x, channels, out + y * out_stride, out_stride);
    }
}

void pil_vertical(const uint8_t* in, ptrdiff_t stride, const Windows& y, int i, int n, uint8_t* out) {
    if (n < 16) return scalar_kernels().pil_vertical(in, stride, y, i, n, out);
    const int32_t* const weight = y.fixed + static_cast<ptrdiff_t>(i) * y.taps;
    const int count = y.count[i];
    const U8x16 zero = {};
    for (int x = 0; x < n; x += 16) {
        const int at = least(x, n - 16);  // the last columns are done twice
        FixedSum sum[4];
        const uint8_t* row = in + at;
        for (int k = 0; k < count; k += 2, row += 2 * stride) {
            const bool both = k + 1 < count;
            const int32_t a = weight[k], b = both ? weight[k + 1] : 0;
            const I32x4 ab = {a, b, a, b};
            const PairWeights w(ab, ab);
            const U8x16 v = load<U8x16>(row), next = load<U8x16>(both ? row + stride : row);
            const U8x16 low = zip_low(v, next), high = zip_high(v, next);
            sum[0].add(zip_low(low, zero), w);
            sum[1].add(zip_high(low, zero), w);
            sum[2].add(zip_low(high, zero), w);
            sum[3].add(zip_high(high, zero), w);
        }
        const U8x16 first = clip(sum[0].total(), sum[1].total());
        store(out + at, join_low(first, clip(sum[2].total(), sum[3].total())));
    }
}

}  // namespace

void add_pillow128(Kernels& k) {
    k.pil_horizontal = pil_horizontal;
    k.pil_vertical = pil_vertical;
}

}  // namespace edgecnn
