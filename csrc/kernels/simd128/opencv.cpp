// OpenCV's fixed-point methods: weights of 11 bits fit the 16-bit products of pairs.
#include "kernels128.hpp"
#include "vector.hpp"

namespace edgecnn {
namespace {

void cv_horizontal(const uint8_t* in, const int32_t* index, const int32_t* weight, int safe, int width,
                   int channels, int32_t* out) {
    const int step = channels == 1 ? 4 : 2, done = safe / step * step;
    // Byte c of the left pixel and of the right one as the two halves of lane c.
    const U8x16 order = channels == 1 ? pair_order(0, 2, 1) : pair_order(0, 1, channels);
    for (int x = 0; x < done; x += step) {
        const int32_t* const at = index + 2 * x;
        if (channels == 1) {
            U16x8 v = {};
            for (int j = 0; j < 4; ++j) v[j] = load<uint16_t>(in + at[2 * j]);
            const I16x8 w = narrow(load<I32x4>(weight + 2 * x), load<I32x4>(weight + 2 * x + 4));
            store(out + x, dot_pairs(as<I16x8>(shuffle(as<U8x16>(v), order)), w));
            continue;
        }
        const I32x4 both = load<I32x4>(weight + 2 * x);
        const I16x8 w = narrow(both, both);
        const U8x16 a = load8(in + static_cast<ptrdiff_t>(at[0]) * channels);
        const U8x16 b = load8(in + static_cast<ptrdiff_t>(at[2]) * channels);
        // The fourth lane of 3 channels is overwritten by the next store; the row has room behind it.
        int32_t* const to = out + static_cast<ptrdiff_t>(x) * channels;
        store(to, dot_pairs(as<I16x8>(shuffle(a, order)), spread<0>(w)));
        store(to + channels, dot_pairs(as<I16x8>(shuffle(b, order)), spread<1>(w)));
    }
    if (done == width) return;
    scalar_kernels().cv_horizontal(in, index + 2 * done, weight + 2 * done, 0, width - done, channels,
                                   out + static_cast<ptrdiff_t>(done) * channels);
}

void cv_vertical(const int32_t* top, const int32_t* bottom, int32_t weight_top, int32_t weight_bottom, int n,
                 uint8_t* out) {
    const auto wt = static_cast<int16_t>(weight_top), wb = static_cast<int16_t>(weight_bottom);
    const I16x8 tops = {wt, wt, wt, wt, wt, wt, wt, wt}, bottoms = {wb, wb, wb, wb, wb, wb, wb, wb};
    // Sums are at most 255 * 2048, so that sum >> 4 fits 16 bits.
    const auto shorts = [](const int32_t* p) { return narrow(load<I32x4>(p) >> 4, load<I32x4>(p + 4) >> 4); };
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        const I16x8 v = multiply_high(shorts(top + i), tops) + multiply_high(shorts(bottom + i), bottoms);
        const I16x8 rounded = (v + 2) >> 2;
        store8(out + i, narrow(rounded, rounded));
    }
    scalar_kernels().cv_vertical(top + i, bottom + i, weight_top, weight_bottom, n - i, out + i);
}

void cubic_gray(const uint8_t* in, const int32_t* index, const int32_t* weight, int from, int to,
                int32_t* out) {
    const U8x16 first = pair_order(0, 4, 1), second = pair_order(2, 4, 1);
    for (int x = from; x < to; x += 4) {
        U32x4 v = {};
        for (int j = 0; j < 4; ++j) v[j] = load<uint32_t>(in + index[4 * (x + j)]);
        const int32_t* const w = weight + 4 * x;
        const I16x8 w01 = narrow(load<I32x4>(w), load<I32x4>(w + 4));
        const I16x8 w23 = narrow(load<I32x4>(w + 8), load<I32x4>(w + 12));
        const I32x4 a = dot_pairs(as<I16x8>(shuffle(as<U8x16>(v), first)), even_lanes(w01, w23));
        const I32x4 b = dot_pairs(as<I16x8>(shuffle(as<U8x16>(v), second)), odd_lanes(w01, w23));
        store(out + x, a + b);
    }
}

void cubic_color(const uint8_t* in, const int32_t* index, const int32_t* weight, int from, int to,
                 int channels, int32_t* out) {
    const U8x16 first = pair_order(0, 1, channels);
    const U8x16 second = pair_order(2 * channels, 1, channels);
    for (int x = from; x < to; ++x) {
        const U8x16 v = load<U8x16>(in + static_cast<ptrdiff_t>(index[4 * x]) * channels);
        const I32x4 four = load<I32x4>(weight + 4 * x);
        const I16x8 w = narrow(four, four);
        const I32x4 a = dot_pairs(as<I16x8>(shuffle(v, first)), spread<0>(w));
        const I32x4 b = dot_pairs(as<I16x8>(shuffle(v, second)), spread<1>(w));
        // The fourth lane of 3 channels is overwritten by the next store; the row has room behind it.
        store(out + static_cast<ptrdiff_t>(x) * channels, a + b);
    }
}

void cv_cubic_horizontal(const uint8_t* in, const int32_t* index, const int32_t* weight, int from, int to,
                         int width, int channels, int32_t* out) {
    const Kernels& scalar = scalar_kernels();
    scalar.cv_cubic_horizontal(in, index, weight, 0, 0, from == to ? width : from, channels, out);
    if (from == to) return;
    if (channels == 1) {
        to = from + (to - from) / 4 * 4;
        cubic_gray(in, index, weight, from, to, out);
    } else {
        cubic_color(in, index, weight, from, to, channels, out);
    }
    scalar.cv_cubic_horizontal(in, index + 4 * to, weight + 4 * to, 0, 0, width - to, channels,
                               out + static_cast<ptrdiff_t>(to) * channels);
}

// Groups of 8, as scalar.cpp has them.
void cv_cubic_vertical(const int32_t* const rows[4], const int32_t weight[4], int n, uint8_t* out) {
    constexpr float scale = 1.0f / (2048.0f * 2048.0f);
    F32x4 w[4];
    for (int k = 0; k < 4; ++k) w[k] = all(static_cast<float>(weight[k]) * scale);
    const auto sums = [&](int i) {
        F32x4 sum = to_floats(load<I32x4>(rows[3] + i)) * w[3];
        for (int k = 2; k >= 0; --k) sum = to_floats(load<I32x4>(rows[k] + i)) * w[k] + sum;
        return sum;
    };
    int i = 0;
    for (; i + 8 <= n; i += 8) store8(out + i, round_to_bytes(sums(i), sums(i + 4)));
    const int32_t* const rest[4] = {rows[0] + i, rows[1] + i, rows[2] + i, rows[3] + i};
    scalar_kernels().cv_cubic_vertical(rest, weight, n - i, out + i);
}

}  // namespace

void add_opencv128(Kernels& k) {
    k.cv_horizontal = cv_horizontal;
    k.cv_vertical = cv_vertical;
    k.cv_cubic_horizontal = cv_cubic_horizontal;
    k.cv_cubic_vertical = cv_cubic_vertical;
}

}  // namespace edgecnn
