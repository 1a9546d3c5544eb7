// The specification: what every other file in this folder must equal bit for bit.
//
// float32 expressions are evaluated as written, each operation rounded (-ffp-contract=off).
#include <cmath>

#include "kernels.hpp"

namespace edgecnn {
namespace {

void gray_row(const uint8_t* in, int width, int channels, const GrayRule& rule, uint8_t* out) {
    for (int x = 0; x < width; ++x, in += channels) {
        const int32_t sum = in[0] * rule.weight[0] + in[1] * rule.weight[1] + in[2] * rule.weight[2];
        out[x] = static_cast<uint8_t>((sum + rule.round) >> rule.shift);
    }
}

uint8_t yuv_clip(int32_t v) {
    v >>= 20;
    return static_cast<uint8_t>(v < 0 ? 0 : v > 255 ? 255 : v);
}

// OpenCV's modules/imgproc/src/color_yuv.simd.hpp, uvToRGBuv and yRGBuvToRGBA: 20-bit fixed point.
void yuv_row(const YuvRow& in, int first, const int32_t* columns, int width, uint8_t* out) {
    for (int i = 0; i < width; ++i) {
        const ptrdiff_t x = columns != nullptr ? columns[i] : first + i;
        const ptrdiff_t at = x / 2 * in.uv_step;
        const int32_t luma = in.y[x * in.y_step], u = in.u[at] - 128, v = in.v[at] - 128;
        const int32_t y = (luma > 16 ? luma - 16 : 0) * 1220542 + (1 << 19);
        *out++ = yuv_clip(y + 1673527 * v);
        *out++ = yuv_clip(y - 852492 * v - 409993 * u);
        *out++ = yuv_clip(y + 2116026 * u);
    }
}

void nearest_row(const uint8_t* in, const int32_t* index, int width, int channels, uint8_t* out) {
    for (int x = 0; x < width; ++x) {
        const uint8_t* pixel = in + static_cast<ptrdiff_t>(index[x]) * channels;
        for (int c = 0; c < channels; ++c) *out++ = pixel[c];
    }
}

// tensorflow/core/kernels/image/resize_bilinear_op.cc, compute_lerp: x first, then y.
void lerp_row(const uint8_t* top, const uint8_t* bottom, const int32_t* index, const float* lerp,
              float lerp_y, int /*safe*/, int width, int channels, float* out) {
    for (int x = 0; x < width; ++x) {
        const ptrdiff_t left = static_cast<ptrdiff_t>(index[2 * x]) * channels;
        const ptrdiff_t right = static_cast<ptrdiff_t>(index[2 * x + 1]) * channels;
        for (int c = 0; c < channels; ++c) {
            const float top_left = top[left + c], top_right = top[right + c];
            const float bottom_left = bottom[left + c], bottom_right = bottom[right + c];
            const float upper = top_left + (top_right - top_left) * lerp[x];
            const float lower = bottom_left + (bottom_right - bottom_left) * lerp[x];
            *out++ = upper + (lower - upper) * lerp_y;
        }
    }
}

// Pillow's src/libImaging/Resample.c: sums start at one half, are shifted and clipped to 0..255.
constexpr int kPilBits = 32 - 8 - 2;

uint8_t pil_clip(int32_t sum) {
    const int32_t v = sum >> kPilBits;
    return static_cast<uint8_t>(v < 0 ? 0 : v > 255 ? 255 : v);
}

void pil_horizontal(const uint8_t* in, ptrdiff_t in_stride, int rows, const Windows& x, int channels,
                    uint8_t* out, ptrdiff_t out_stride) {
    for (int y = 0; y < rows; ++y, in += in_stride, out += out_stride) {
        uint8_t* to = out;
        for (int i = 0; i < x.out; ++i) {
            const uint8_t* pixel = in + static_cast<ptrdiff_t>(x.first[i]) * channels;
            const int32_t* weight = x.fixed + static_cast<ptrdiff_t>(i) * x.taps;
            for (int c = 0; c < channels; ++c) {
                int32_t sum = 1 << (kPilBits - 1);
                for (int k = 0; k < x.count[i]; ++k) sum += pixel[k * channels + c] * weight[k];
                *to++ = pil_clip(sum);
            }
        }
    }
}

void pil_vertical(const uint8_t* in, ptrdiff_t stride, const Windows& y, int i, int n, uint8_t* out) {
    const int32_t* weight = y.fixed + static_cast<ptrdiff_t>(i) * y.taps;
    for (int x = 0; x < n; ++x) {
        int32_t sum = 1 << (kPilBits - 1);
        for (int k = 0; k < y.count[i]; ++k) sum += in[k * stride + x] * weight[k];
        out[x] = pil_clip(sum);
    }
}

// OpenCV's modules/imgproc/src/resize.cpp, HResizeLinear and VResizeLinear of uchar.
void cv_horizontal(const uint8_t* in, const int32_t* index, const int32_t* weight, int /*safe*/, int width,
                   int channels, int32_t* out) {
    for (int x = 0; x < width; ++x) {
        const uint8_t* left = in + static_cast<ptrdiff_t>(index[2 * x]) * channels;
        const uint8_t* right = in + static_cast<ptrdiff_t>(index[2 * x + 1]) * channels;
        for (int c = 0; c < channels; ++c) *out++ = left[c] * weight[2 * x] + right[c] * weight[2 * x + 1];
    }
}

void cv_vertical(const int32_t* top, const int32_t* bottom, int32_t weight_top, int32_t weight_bottom, int n,
                 uint8_t* out) {
    for (int i = 0; i < n; ++i) {
        const int32_t t = (weight_top * (top[i] >> 4)) >> 16;
        const int32_t b = (weight_bottom * (bottom[i] >> 4)) >> 16;
        out[i] = static_cast<uint8_t>((t + b + 2) >> 2);
    }
}

// HResizeCubic.
void cv_cubic_horizontal(const uint8_t* in, const int32_t* index, const int32_t* weight, int /*from*/,
                         int /*to*/, int width, int channels, int32_t* out) {
    for (int x = 0; x < width; ++x, index += 4, weight += 4) {
        for (int c = 0; c < channels; ++c) {
            int32_t sum = 0;
            for (int k = 0; k < 4; ++k)
                sum += in[static_cast<ptrdiff_t>(index[k]) * channels + c] * weight[k];
            *out++ = sum;
        }
    }
}

uint8_t round_to_u8(float v) {
    const float r = std::nearbyint(v);
    return static_cast<uint8_t>(r < 0 ? 0 : r > 255 ? 255 : r);
}

// VResizeCubicVec_32s8u computes whole groups of 8 values in float32, last row first; the values that are
// left over go through VResizeCubic with FixedPtCast<int, uchar, 22>. That is OpenCV's x86-64 build, whose
// baseline (SSE3) has vectors of 8 shorts and no fused multiply-add.
void cv_cubic_vertical(const int32_t* const rows[4], const int32_t weight[4], int n, uint8_t* out) {
    constexpr float scale = 1.0f / (2048.0f * 2048.0f);
    const int grouped = n / 8 * 8;
    for (int i = 0; i < grouped; ++i) {
        float sum = static_cast<float>(rows[3][i]) * (static_cast<float>(weight[3]) * scale);
        for (int k = 2; k >= 0; --k) {
            sum = static_cast<float>(rows[k][i]) * (static_cast<float>(weight[k]) * scale) + sum;
        }
        out[i] = round_to_u8(sum);
    }
    for (int i = grouped; i < n; ++i) {
        int32_t sum = 1 << 21;
        for (int k = 0; k < 4; ++k) sum += rows[k][i] * weight[k];
        sum >>= 22;
        out[i] = static_cast<uint8_t>(sum < 0 ? 0 : sum > 255 ? 255 : sum);
    }
}

// ResizeAreaFast_Invoker; boxes of 2x2 have their own integer rounding (ResizeAreaFastVec).
void cv_box_row(const uint8_t* in, ptrdiff_t stride, int step_x, int step_y, int width, int channels,
                uint8_t* out) {
    const float scale = 1.0f / static_cast<float>(step_x * step_y);
    for (int x = 0; x < width; ++x, in += step_x * channels) {
        for (int c = 0; c < channels; ++c) {
            int32_t sum = 0;
            for (int j = 0; j < step_y; ++j) {
                for (int i = 0; i < step_x; ++i) sum += in[j * stride + i * channels + c];
            }
            if (step_x == 2 && step_y == 2) {
                *out++ = static_cast<uint8_t>((sum + 2) >> 2);
            } else {
                *out++ = round_to_u8(static_cast<float>(sum) * scale);
            }
        }
    }
}

void round_row(const float* in, int n, uint8_t* out) {
    for (int i = 0; i < n; ++i) out[i] = round_to_u8(in[i]);
}

// scale_and_translate_op.cc: GatherRows, then GatherColumns.
void tf_vertical(const uint8_t* in, ptrdiff_t stride, int count, const float* weight_a, const float* weight_b,
                 int n, float* sum_a, float* sum_b) {
    if (sum_b != nullptr) __builtin_memset(sum_b, 0, n * sizeof(float));
    for (int k = 0; k < count; ++k, in += stride) {
        for (int i = 0; i < n; ++i) {
            const float value = in[i];
            sum_a[i] += weight_a[k] * value;
            if (sum_b != nullptr) sum_b[i] += weight_b[k] * value;
        }
    }
}

void tf_horizontal(const float* const* in, int rows, const Windows& x, int channels, float* out,
                   ptrdiff_t out_stride) {
    for (int y = 0; y < rows; ++y, out += out_stride) {
        for (int i = 0; i < x.out; ++i) {
            const float* pixel = in[y] + static_cast<ptrdiff_t>(x.first[i]) * channels;
            const float* weight = x.weight + static_cast<ptrdiff_t>(i) * x.taps;
            for (int c = 0; c < channels; ++c) {
                float sum = 0;
                for (int k = 0; k < x.count[i]; ++k) sum += weight[k] * pixel[k * channels + c];
                out[i * channels + c] = sum;
            }
        }
    }
}

// resize_bicubic_op.cc: Interpolate1D over y, then over x.
float interpolate(const float weight[4], float a, float b, float c, float d) {
    return a * weight[0] + b * weight[1] + c * weight[2] + d * weight[3];
}

void tf_cubic_row(const uint8_t* const rows[4], const float weight_y[4], const int32_t* index,
                  const float* weight, int /*from*/, int /*to*/, int width, int channels, float* out) {
    for (int x = 0; x < width; ++x, index += 4, weight += 4) {
        for (int c = 0; c < channels; ++c) {
            float column[4];
            for (int k = 0; k < 4; ++k) {
                const ptrdiff_t at = static_cast<ptrdiff_t>(index[k]) * channels + c;
                column[k] = interpolate(weight_y, rows[0][at], rows[1][at], rows[2][at], rows[3][at]);
            }
            *out++ = interpolate(weight, column[0], column[1], column[2], column[3]);
        }
    }
}

// resize_area_op.cc: ComputePatchSum (a weight of 1 changes nothing); OpenCV's ResizeArea_Invoker sums
// likewise.
void area_horizontal(const uint8_t* in, ptrdiff_t in_stride, int rows, const Windows& x, int /*safe*/,
                     int channels, float* out, ptrdiff_t out_stride) {
    for (int y = 0; y < rows; ++y, in += in_stride, out += out_stride) {
        float* to = out;
        for (int i = 0; i < x.out; ++i) {
            const float* weight = x.weight + static_cast<ptrdiff_t>(i) * x.taps;
            for (int c = 0; c < channels; ++c) {
                float sum = 0;
                for (int k = 0; k < x.count[i]; ++k) {
                    const int column = x.first[i] + k < x.in ? x.first[i] + k : x.in - 1;
                    sum += static_cast<float>(in[static_cast<ptrdiff_t>(column) * channels + c]) * weight[k];
                }
                *to++ = sum;
            }
        }
    }
}

void area_add(const float* in, float weight, bool first, int n, float* sum) {
    for (int i = 0; i < n; ++i) sum[i] = (first ? 0.0f : sum[i]) + in[i] * weight;
}

void scale_row(float* row, float scale, int n) {
    for (int i = 0; i < n; ++i) row[i] *= scale;
}

template <typename In, typename Out, typename Map>
void emit_row(const In* row, int width, const Emit& e, Out* out, Map map) {
    for (int c = 0; c < e.channels; ++c) {
        const In* in = row + e.order[c];
        Out* to = out + c * e.plane_step;
        for (int x = 0; x < width; ++x) to[x * e.pixel_step] = map(in[x * e.in_channels], c);
    }
}

void emit_u8_to_f32(const uint8_t* row, int width, const Emit& e, float* out) {
    emit_row(row, width, e, out, [&e](uint8_t v, int c) { return e.table[c * 256 + v]; });
}

void emit_u8_to_u8(const uint8_t* row, int width, const Emit& e, uint8_t* out) {
    emit_row(row, width, e, out, [](uint8_t v, int) { return v; });
}

void emit_f32_to_f32(const float* row, int width, const Emit& e, float* out) {
    emit_row(row, width, e, out, [&e](float v, int c) {
        if (e.has_scale) v = v * e.scale;
        if (e.has_divisor) v = v / e.divisor;
        if (e.has_offset) v = v + e.offset;
        if (e.has_mean) {
            v = v - e.mean[c];
            v = v / e.std[c];
        }
        return v;
    });
}

// keras.ops.image.resize of integer images: round half to even, then saturate.
void emit_f32_to_u8(const float* row, int width, const Emit& e, uint8_t* out) {
    emit_row(row, width, e, out, [](float v, int) { return round_to_u8(v); });
}

// Rows in parts that fit the stack.
constexpr int kPart = 64;

void lerp_emit(const uint8_t* top, const uint8_t* bottom, const int32_t* index, const float* lerp,
               float lerp_y, int /*safe*/, int width, const Emit& e, float* out) {
    float row[kPart * 4];
    for (int x = 0; x < width; x += kPart) {
        const int n = width - x < kPart ? width - x : kPart;
        lerp_row(top, bottom, index + 2 * x, lerp + x, lerp_y, 0, n, e.in_channels, row);
        emit_f32_to_f32(row, n, e, out + x * e.pixel_step);
    }
}

void nearest_emit(const uint8_t* in, const int32_t* index, int /*safe*/, int width, const Emit& e,
                  float* out) {
    uint8_t row[kPart * 4];
    for (int x = 0; x < width; x += kPart) {
        const int n = width - x < kPart ? width - x : kPart;
        nearest_row(in, index + x, n, e.in_channels, row);
        emit_u8_to_f32(row, n, e, out + x * e.pixel_step);
    }
}

}  // namespace

const Kernels& scalar_kernels() {
    static const Kernels table = [] {
        Kernels k{};
        k.name = "scalar";
        k.gray_row = gray_row;
        k.yuv_row = yuv_row;
        k.nearest_row = nearest_row;
        k.lerp_row = lerp_row;
        k.lerp_emit = lerp_emit;
        k.nearest_emit = nearest_emit;
        k.pil_horizontal = pil_horizontal;
        k.pil_vertical = pil_vertical;
        k.cv_horizontal = cv_horizontal;
        k.cv_vertical = cv_vertical;
        k.cv_cubic_horizontal = cv_cubic_horizontal;
        k.cv_cubic_vertical = cv_cubic_vertical;
        k.cv_box_row = cv_box_row;
        k.round_row = round_row;
        k.tf_vertical = tf_vertical;
        k.tf_horizontal = tf_horizontal;
        k.tf_cubic_row = tf_cubic_row;
        k.area_horizontal = area_horizontal;
        k.area_add = area_add;
        k.scale_row = scale_row;
        k.emit_u8_to_f32 = emit_u8_to_f32;
        k.emit_u8_to_u8 = emit_u8_to_u8;
        k.emit_f32_to_f32 = emit_f32_to_f32;
        k.emit_f32_to_u8 = emit_f32_to_u8;
        return k;
    }();
    return table;
}

}  // namespace edgecnn
