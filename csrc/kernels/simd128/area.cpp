// Means over areas: TensorFlow's and OpenCV's share their sums, but for OpenCV's boxes of whole pixels.
#include "kernels128.hpp"
#include "vector.hpp"

namespace edgecnn {
namespace {

// Of 3 and 4 channels a vector is one row's pixel, of gray 4 rows' pixels: kVectors of them side by side, so
// that their chains of sums overlap in time.
template <int kChannels, int kRows>
struct AreaRows {
    static constexpr int kVectors = kChannels == 1 ? 1 : kRows;
    const uint8_t* row[kRows];
    float* to[kRows];
    U8x16 order[4];

    AreaRows() {
        for (int k = 0; k < 4; ++k) {
            const int at = k * kChannels;
            order[k] = kChannels == 1 ? widen_order(k, 4 + k, 8 + k, 12 + k)
                                      : widen_order(at, at + 1, at + 2, kChannels == 4 ? at + 3 : at);
        }
    }
    // 4 pixels of each row.
    void load_four(ptrdiff_t at, U8x16 v[kVectors]) const {
        if (kChannels == 1) {
            U32x4 four = {};
            for (int r = 0; r < kRows; ++r) four[r] = load<uint32_t>(row[r] + at);
            v[0] = as<U8x16>(four);
        } else {
            for (int r = 0; r < kRows; ++r) v[r] = load<U8x16>(row[r] + at);
        }
    }
    // The fourth lane of 3 channels is overwritten by the next pixel; rows have room behind them.
    void put(int i, const F32x4 sum[kVectors]) const {
        for (int r = 0; r < kRows; ++r) {
            if (kChannels == 1) {
                to[r][i] = sum[0][r];
            } else {
                store(to[r] + static_cast<ptrdiff_t>(i) * kChannels, sum[r]);
            }
        }
    }
    void windows(const Windows& x, int safe) const {
        for (int i = 0; i < safe; ++i) {
            ptrdiff_t at = static_cast<ptrdiff_t>(x.first[i]) * kChannels;
            const float* weight = x.weight + static_cast<ptrdiff_t>(i) * x.taps;
            const int count = x.count[i];
            F32x4 sum[kVectors] = {};
            U8x16 v[kVectors];
            int k = 0;
            for (; k + 4 <= count; k += 4, at += 4 * kChannels, weight += 4) {
                load_four(at, v);
                if (x.ones && k > 0 && k + 4 < count) {
                    for (int j = 0; j < 4; ++j) {
                        for (int n = 0; n < kVectors; ++n) sum[n] = sum[n] + floats(v[n], order[j]);
                    }
                    continue;
                }
                for (int j = 0; j < 4; ++j) {
                    const F32x4 w = all(weight[j]);
                    for (int n = 0; n < kVectors; ++n) sum[n] = sum[n] + floats(v[n], order[j]) * w;
                }
            }
            if (k < count) {
                load_four(at, v);
                for (int j = 0; k < count; ++k, ++j) {
                    const F32x4 w = all(weight[j]);
                    for (int n = 0; n < kVectors; ++n) sum[n] = sum[n] + floats(v[n], order[j]) * w;
                }
            }
            put(i, sum);
        }
    }
};

template <int kChannels, int kRows>
void area_rows(const uint8_t* in, ptrdiff_t in_stride, const Windows& x, int safe, float* out,
               ptrdiff_t out_stride) {
    AreaRows<kChannels, kRows> rows;
    for (int r = 0; r < kRows; ++r) {
        rows.row[r] = in + r * in_stride;
        rows.to[r] = out + r * out_stride;
    }
    rows.windows(x, safe);
}

template <int kChannels>
void area_horizontal_of(const uint8_t* in, ptrdiff_t in_stride, int rows, const Windows& x, int safe,
                        float* out, ptrdiff_t out_stride) {
    int y = 0;
    for (; y + 4 <= rows; y += 4) {
        area_rows<kChannels, 4>(in + y * in_stride, in_stride, x, safe, out + y * out_stride, out_stride);
    }
    for (; y < rows; ++y) {
        area_rows<kChannels, 1>(in + y * in_stride, in_stride, x, safe, out + y * out_stride, out_stride);
    }
}

void area_horizontal(const uint8_t* in, ptrdiff_t in_stride, int rows, const Windows& x, int safe,
                     int channels, float* out, ptrdiff_t out_stride) {
    const auto run = channels == 1   ? area_horizontal_of<1>
                     : channels == 3 ? area_horizontal_of<3>
                                     : area_horizontal_of<4>;
    run(in, in_stride, rows, x, safe, out, out_stride);
    if (safe == x.out) return;
    Windows rest = x;
    rest.out = x.out - safe;
    rest.first += safe;
    rest.count += safe;
    rest.weight += static_cast<ptrdiff_t>(safe) * x.taps;
    scalar_kernels().area_horizontal(in, in_stride, rows, rest, 0, channels,
                                     out + static_cast<ptrdiff_t>(safe) * channels, out_stride);
}

void area_add(const float* in, float weight, bool first, int n, float* sum) {
    int i = 0;
    for (; i + 4 <= n; i += 4) {
        const F32x4 start = first ? all(0.0f) : load<F32x4>(sum + i);
        store(sum + i, start + load<F32x4>(in + i) * all(weight));
    }
    for (; i < n; ++i) sum[i] = (first ? 0.0f : sum[i]) + in[i] * weight;
}

void scale_row(float* row, float scale, int n) {
    int i = 0;
    for (; i + 4 <= n; i += 4) store(row + i, load<F32x4>(row + i) * all(scale));
    for (; i < n; ++i) row[i] *= scale;
}

// Means of boxes, of the sums of their columns; `pixels` columns of kChannels values are a box.
struct Boxes {
    int pixels;
    float scale;
    bool two_by_two;

    U8x16 mean(I32x4 sum) const {
        const I32x4 v = two_by_two ? (sum + 2) >> 2 : round_to_ints(to_floats(sum) * scale);
        const I16x8 shorts = narrow(v, v);
        return narrow(shorts, shorts);
    }
    // A lane is a channel. The fourth of 3 is overwritten by the next output; the row has room behind it.
    template <int kChannels>
    void color(const uint16_t* column, int boxes, uint8_t* out) const {
        for (int i = 0; i < boxes; ++i, out += kChannels) {
            I32x4 sum = {};
            for (int k = 0; k < pixels; ++k, column += kChannels) {
                sum += as<I32x4>(shuffle(
                    load8(column), U8x16{0, 1, 255, 255, 2, 3, 255, 255, 4, 5, 255, 255, 6, 7, 255, 255}));
            }
            store4(out, mean(sum));
        }
    }
    void gray(const uint16_t* column, int boxes, uint8_t* out) const {
        for (int i = 0; i < boxes; ++i) {
            int32_t sum = 0;
            for (int k = 0; k < pixels; ++k) sum += *column++;
            out[i] = mean(all(sum))[0];
        }
    }
};

void add_columns(const uint8_t* in, ptrdiff_t stride, int rows, int n, uint16_t* column) {
    int i = 0;
    for (; i + 16 <= n; i += 16) {
        U16x8 low = {}, high = {};
        for (int j = 0; j < rows; ++j) {
            const U8x16 v = load<U8x16>(in + j * stride + i);
            low += as<U16x8>(zip_low(v, U8x16{}));
            high += as<U16x8>(zip_high(v, U8x16{}));
        }
        store(column + i, low);
        store(column + i + 8, high);
    }
    for (; i < n; ++i) {
        int sum = 0;
        for (int j = 0; j < rows; ++j) sum += in[j * stride + i];
        column[i] = static_cast<uint16_t>(sum);
    }
}

// Columns first, as sums of 16 bits, for some whole boxes at a time.
void cv_box_row(const uint8_t* in, ptrdiff_t stride, int step_x, int step_y, int width, int channels,
                uint8_t* out) {
    constexpr int kColumns = 768, kRows = 65535 / 255;
    const int box = step_x * channels;
    if (box > kColumns || step_y > kRows) {
        return scalar_kernels().cv_box_row(in, stride, step_x, step_y, width, channels, out);
    }
    const Boxes boxes{step_x, 1.0f / static_cast<float>(step_x * step_y), step_x == 2 && step_y == 2};
    uint16_t column[kColumns + 4] = {};  // a load of 4 may begin at the last value
    const int most = kColumns / box;
    for (int x = 0; x < width; x += most) {
        const int n = least(most, width - x);
        const ptrdiff_t at = static_cast<ptrdiff_t>(x) * channels;
        add_columns(in + at * step_x, stride, step_y, n * box, column);
        if (channels == 1) {
            boxes.gray(column, n, out + at);
        } else if (channels == 3) {
            boxes.color<3>(column, n, out + at);
        } else {
            boxes.color<4>(column, n, out + at);
        }
    }
}

void round_row(const float* in, int n, uint8_t* out) {
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        store8(out + i, round_to_bytes(load<F32x4>(in + i), load<F32x4>(in + i + 4)));
    }
    scalar_kernels().round_row(in + i, n - i, out + i);
}

}  // namespace

void add_area128(Kernels& k) {
    k.area_horizontal = area_horizontal;
    k.area_add = area_add;
    k.scale_row = scale_row;
    k.cv_box_row = cv_box_row;
    k.round_row = round_row;
}

}  // namespace edgecnn
