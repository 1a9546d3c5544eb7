// TensorFlow's float32 methods: a lane is a channel of one pixel, or of gray images a pixel.
#include "kernels128.hpp"
#include "normalise.hpp"
#include "vector.hpp"

namespace edgecnn {
namespace {

// ---- Bilinear and nearest

// One pixel of one row from the 8 bytes at its left column, joined by t.
struct Lerp {
    U8x16 left, right;

    Lerp(int channels, const int order[4])
        : left(widen_order(order[0], order[1], order[2], order[3])),
          right(left + as<U8x16>(all(int32_t{channels}))) {}

    F32x4 operator()(const uint8_t* at, F32x4 t) const {
        const U8x16 v = load8(at);
        const F32x4 l = floats(v, left), r = floats(v, right);
        return l + (r - l) * t;
    }
};

// Pixels 0 .. count - 1, `step` floats apart; the last lanes of a store are overwritten by the next one.
template <typename Finish>
void lerp_pixels(const uint8_t* top, const uint8_t* bottom, const int32_t* index, const float* lerp,
                 float lerp_y, int count, int channels, const int order[4], int step, float* out,
                 Finish finish) {
    const Lerp row(channels, order);
    const F32x4 ty = all(lerp_y);
    for (int x = 0; x < count; ++x, out += step) {
        const ptrdiff_t at = static_cast<ptrdiff_t>(index[2 * x]) * channels;
        const F32x4 t = all(lerp[x]);
        const F32x4 upper = row(top + at, t), lower = row(bottom + at, t);
        store(out, finish(upper + (lower - upper) * ty));
    }
}

// 4 gray pixels: a byte and its neighbour each.
U8x16 load_pairs(const uint8_t* row, const int32_t* index) {
    U16x8 v = {};
    for (int j = 0; j < 4; ++j) v[j] = load<uint16_t>(row + index[2 * j]);
    return as<U8x16>(v);
}

F32x4 lerp_gray(const uint8_t* top, const uint8_t* bottom, const int32_t* index, const float* lerp,
                float lerp_y) {
    const U8x16 left = widen_order(0, 2, 4, 6), right = widen_order(1, 3, 5, 7);
    const U8x16 upper = load_pairs(top, index), lower = load_pairs(bottom, index);
    const F32x4 t = load<F32x4>(lerp), ul = floats(upper, left), ll = floats(lower, left);
    const F32x4 u = ul + (floats(upper, right) - ul) * t, l = ll + (floats(lower, right) - ll) * t;
    return u + (l - u) * all(lerp_y);
}

void lerp_row(const uint8_t* top, const uint8_t* bottom, const int32_t* index, const float* lerp,
              float lerp_y, int safe, int width, int channels, float* out) {
    int done = safe;
    if (channels == 1) {
        done = safe / 4 * 4;
        for (int x = 0; x < done; x += 4) {
            store(out + x, lerp_gray(top, bottom, index + 2 * x, lerp + x, lerp_y));
        }
    } else {
        const int order[4] = {0, 1, 2, channels == 4 ? 3 : 0};
        lerp_pixels(top, bottom, index, lerp, lerp_y, done, channels, order, channels, out,
                    [](F32x4 v) { return v; });
    }
    if (done == width) return;
    scalar_kernels().lerp_row(top, bottom, index + 2 * done, lerp + done, lerp_y, 0, width - done, channels,
                              out + static_cast<ptrdiff_t>(done) * channels);
}

void lerp_emit(const uint8_t* top, const uint8_t* bottom, const int32_t* index, const float* lerp,
               float lerp_y, int safe, int width, const Emit& e, float* out) {
    // Not the last pixel of three values: its fourth lane would fall past the row.
    int done = e.channels == 3 ? least(safe, width - 1) : safe;
    if (done < 2) return scalar_kernels().lerp_emit(top, bottom, index, lerp, lerp_y, 0, width, e, out);
    const Normalise normalise(e, 0);
    if (e.in_channels == 1) {
        done = done / 4 * 4;
        for (int x = 0; x < done; x += 4) {
            const F32x4 v = lerp_gray(top, bottom, index + 2 * x, lerp + x, lerp_y);
            if (e.channels == 1) {
                store(out + x, normalise(v));
                continue;
            }
            store(out + 3 * x, normalise(spread<0>(v)));
            store(out + 3 * x + 3, normalise(spread<1>(v)));
            store(out + 3 * x + 6, normalise(spread<2>(v)));
            store(out + 3 * x + 9, normalise(spread<3>(v)));
        }
    } else {
        const int order[4] = {e.order[0], e.order[1], e.order[2], e.order[0]};
        lerp_pixels(top, bottom, index, lerp, lerp_y, done, e.in_channels, order, 3, out, normalise);
    }
    if (done == width) return;
    scalar_kernels().lerp_emit(top, bottom, index + 2 * done, lerp + done, lerp_y, 0, width - done, e,
                               out + done * e.pixel_step);
}

template <int kChannels>
void copy_pixels(const uint8_t* in, const int32_t* index, int width, uint8_t* out) {
    for (int x = 0; x < width; ++x, out += kChannels) {
        __builtin_memcpy(out, in + static_cast<ptrdiff_t>(index[x]) * kChannels, kChannels);
    }
}

void nearest_row(const uint8_t* in, const int32_t* index, int width, int channels, uint8_t* out) {
    const auto copy = channels == 1 ? copy_pixels<1> : channels == 3 ? copy_pixels<3> : copy_pixels<4>;
    copy(in, index, width, out);
}

void nearest_emit(const uint8_t* in, const int32_t* index, int safe, int width, const Emit& e, float* out) {
    const int done = least(safe, width - 1);
    if (e.in_channels == 1 || done < 4) return scalar_kernels().nearest_emit(in, index, 0, width, e, out);
    const U8x16 order = widen_order(e.order[0], e.order[1], e.order[2], e.order[0]);
    const Normalise normalise(e, 0);
    for (int x = 0; x < done; ++x) {
        const U8x16 v = load4(in + static_cast<ptrdiff_t>(index[x]) * e.in_channels);
        store(out + 3 * x, normalise(floats(v, order)));
    }
    scalar_kernels().nearest_emit(in, index + done, 0, width - done, e, out + done * e.pixel_step);
}

// ---- Antialias

// kBoth: two sums at once. 16 columns stay in registers over all rows.
template <bool kBoth>
void tf_vertical_of(const uint8_t* in, ptrdiff_t stride, int count, const float* weight_a,
                    const float* weight_b, int n, float* sum_a, float* sum_b) {
    int i = 0;
    for (; i + 16 <= n; i += 16) {
        F32x4 a[4], b[4] = {};
        for (int j = 0; j < 4; ++j) a[j] = load<F32x4>(sum_a + i + 4 * j);
        const uint8_t* row = in + i;
        for (int k = 0; k < count; ++k, row += stride) {
            const F32x4 wa = all(weight_a[k]), wb = kBoth ? all(weight_b[k]) : wa;
            F32x4 v[4];
            floats(row, v);
            for (int j = 0; j < 4; ++j) {
                a[j] = a[j] + wa * v[j];
                if (kBoth) b[j] = b[j] + wb * v[j];
            }
        }
        for (int j = 0; j < 4; ++j) {
            store(sum_a + i + 4 * j, a[j]);
            if (kBoth) store(sum_b + i + 4 * j, b[j]);
        }
    }
    if (i == n) return;
    scalar_kernels().tf_vertical(in + i, stride, count, weight_a, weight_b, n - i, sum_a + i,
                                 kBoth ? sum_b + i : nullptr);
}

void tf_vertical(const uint8_t* in, ptrdiff_t stride, int count, const float* weight_a, const float* weight_b,
                 int n, float* sum_a, float* sum_b) {
    (sum_b != nullptr ? tf_vertical_of<true> : tf_vertical_of<false>)(in, stride, count, weight_a, weight_b,
                                                                      n, sum_a, sum_b);
}

// kPixels outputs side by side, so that their chains of sums overlap in time. The fourth lane of 3 channels
// reads into the next pixel, for which the row of sums has room, and is overwritten by the next store.
template <typename V, int kPixels>
void tf_outputs(const float* in, const Windows& x, int i, int channels, float* out) {
    V sum[kPixels] = {};
    const float *pixel[kPixels], *weight[kPixels];
    int common = x.count[i];
    for (int j = 0; j < kPixels; ++j) {
        pixel[j] = in + static_cast<ptrdiff_t>(x.first[i + j]) * channels;
        weight[j] = x.weight + static_cast<ptrdiff_t>(i + j) * x.taps;
        common = least(common, x.count[i + j]);
    }
    const auto add = [&](int j, int k) {
        const V v = load<V>(pixel[j] + static_cast<ptrdiff_t>(k) * channels);
        sum[j] = sum[j] + weight[j][k] * v;
    };
    for (int k = 0; k < common; ++k) {
        for (int j = 0; j < kPixels; ++j) add(j, k);
    }
    for (int j = 0; j < kPixels; ++j) {
        for (int k = common; k < x.count[i + j]; ++k) add(j, k);
        store(out + static_cast<ptrdiff_t>(i + j) * channels, sum[j]);
    }
}

template <typename V>
void tf_horizontal_of(const float* in, const Windows& x, int channels, float* out) {
    int i = 0;
    for (; i + 4 <= x.out; i += 4) tf_outputs<V, 4>(in, x, i, channels, out);
    for (; i < x.out; ++i) tf_outputs<V, 1>(in, x, i, channels, out);
}

void tf_horizontal(const float* const* in, int rows, const Windows& x, int channels, float* out,
                   ptrdiff_t out_stride) {
    for (int y = 0; y < rows; ++y, out += out_stride) {
        (channels == 1 ? tf_horizontal_of<float> : tf_horizontal_of<F32x4>)(in[y], x, channels, out);
    }
}

// ---- Bicubic

struct Cubic {
    const uint8_t* const* rows;
    F32x4 weight[4];

    Cubic(const uint8_t* const r[4], const float w[4])
        : rows(r), weight{all(w[0]), all(w[1]), all(w[2]), all(w[3])} {}

    // The four rows joined, for the bytes that `order` takes.
    template <typename Load>
    F32x4 column(Load row, U8x16 order) const {
        F32x4 sum = floats(row(0), order) * weight[0];
        for (int k = 1; k < 4; ++k) sum = sum + floats(row(k), order) * weight[k];
        return sum;
    }
};

void cubic_gray(const Cubic& cubic, const int32_t* index, const float* weight, int from, int to, float* out) {
    const U8x16 order = widen_order(0, 1, 2, 3);
    for (int x = from; x < to; x += 4) {
        F32x4 tap[4];
        for (int j = 0; j < 4; ++j) {
            const int at = index[4 * (x + j)];
            tap[j] = cubic.column([&](int k) { return load4(cubic.rows[k] + at); }, order) *
                     load<F32x4>(weight + 4 * (x + j));
        }
        transpose(tap);
        store(out + x, tap[0] + tap[1] + tap[2] + tap[3]);
    }
}

void cubic_color(const Cubic& cubic, const int32_t* index, const float* weight, int from, int to,
                 int channels, float* out) {
    U8x16 order[4];
    for (int k = 0; k < 4; ++k) {
        const int at = k * channels;
        order[k] = widen_order(at, at + 1, at + 2, channels == 4 ? at + 3 : at);
    }
    for (int x = from; x < to; ++x) {
        const ptrdiff_t at = static_cast<ptrdiff_t>(index[4 * x]) * channels;
        U8x16 v[4];
        for (int k = 0; k < 4; ++k) v[k] = load<U8x16>(cubic.rows[k] + at);
        const auto row = [&](int k) { return v[k]; };
        F32x4 sum = cubic.column(row, order[0]) * all(weight[4 * x]);
        for (int k = 1; k < 4; ++k) sum = sum + cubic.column(row, order[k]) * all(weight[4 * x + k]);
        // The fourth lane of 3 channels is overwritten by the next store; the row has room behind it.
        store(out + static_cast<ptrdiff_t>(x) * channels, sum);
    }
}

void tf_cubic_row(const uint8_t* const rows[4], const float weight_y[4], const int32_t* index,
                  const float* weight, int from, int to, int width, int channels, float* out) {
    const Kernels& scalar = scalar_kernels();
    scalar.tf_cubic_row(rows, weight_y, index, weight, 0, 0, from == to ? width : from, channels, out);
    if (from == to) return;
    const Cubic cubic(rows, weight_y);
    if (channels == 1) {
        to = from + (to - from) / 4 * 4;
        cubic_gray(cubic, index, weight, from, to, out);
    } else {
        cubic_color(cubic, index, weight, from, to, channels, out);
    }
    scalar.tf_cubic_row(rows, weight_y, index + 4 * to, weight + 4 * to, 0, 0, width - to, channels,
                        out + static_cast<ptrdiff_t>(to) * channels);
}

}  // namespace

void add_tensorflow128(Kernels& k) {
    k.lerp_row = lerp_row;
    k.lerp_emit = lerp_emit;
    k.nearest_row = nearest_row;
    k.nearest_emit = nearest_emit;
    k.tf_vertical = tf_vertical;
    k.tf_horizontal = tf_horizontal;
    k.tf_cubic_row = tf_cubic_row;
}

}  // namespace edgecnn
