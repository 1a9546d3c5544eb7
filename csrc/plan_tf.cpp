// TensorFlow's index arithmetic and weights, in the types and the order of tensorflow/core/kernels/image.
#include <algorithm>
#include <cmath>
#include <limits>

#include "plan.hpp"

namespace edgecnn {
namespace {

// tensorflow/core/util/image_resizer_state.h: CalculateResizeScale without align_corners.
float tf_scale(const Axis& a) { return static_cast<float>(a.in) / static_cast<float>(a.out); }

// image_resizer_state.h: HalfPixelScaler.
float tf_half_pixel(int i, float scale) { return (static_cast<float>(i) + 0.5f) * scale - 0.5f; }

// image_resizer_state.h: HalfPixelScalerForNN; resize_nearest_neighbor_op.cc.
void tf_nearest_axis(Axis& a) {
    start_axis(a, 1);
    const float scale = tf_scale(a);
    for (int i = 0; i < a.out; ++i) {
        const float at = (static_cast<float>(i) + 0.5f) * scale;
        a.first[i] = clamp_index(static_cast<int64_t>(std::floor(at)), a.in);
    }
    a.index = a.first;
}

// resize_bilinear_op.cc: compute_interpolation_weights.
void tf_lerp_axis(Axis& a) {
    start_axis(a, 2);
    a.index.resize(2 * static_cast<size_t>(a.out));
    a.weight.resize(a.out);
    const float scale = tf_scale(a);
    for (int i = 0; i < a.out; ++i) {
        const float at = tf_half_pixel(i, scale);
        const float below = std::floor(at);
        a.index[2 * i] = std::max(static_cast<int>(below), 0);
        a.index[2 * i + 1] = std::min(static_cast<int>(std::ceil(at)), a.in - 1);
        // Two taps on one pixel: its value whatever the weight, so the neighbour may be read instead.
        a.weight[i] = a.index[2 * i] == a.index[2 * i + 1] ? 0.0f : at - below;
    }
}

// image_resizer_state.h and scale_and_translate_op.cc: ComputeSpansCore with the triangle kernel, radius 1.
void tf_window_axis(Axis& a) {
    const float scale = static_cast<float>(a.out) / static_cast<float>(a.in);
    const float inverse = static_cast<float>(1.0 / scale);
    const float kernel_scale = std::max(inverse, 1.0f);
    const float one_over_kernel_scale = 1.0f / kernel_scale;
    start_axis(a, std::min(2 * static_cast<int>(std::ceil(kernel_scale)) + 1, a.in));
    a.weight.assign(static_cast<size_t>(a.out) * a.taps, 0.0f);
    for (int i = 0; i < a.out; ++i) {
        const float sample = (static_cast<float>(i) + 0.5f) * inverse;
        a.count[i] = 0;
        if (sample < 0 || sample > static_cast<float>(a.in)) continue;
        const int low = clamp_index(static_cast<int64_t>(std::ceil(sample - kernel_scale - 0.5f)), a.in);
        const int high =
            clamp_index(static_cast<int64_t>(std::floor(sample + kernel_scale - 0.5f)), a.in) + 1;
        float* const weight = &a.weight[static_cast<size_t>(i) * a.taps];
        float sum = 0.0f;
        for (int k = low; k < high; ++k) {
            const float at = std::fabs((static_cast<float>(k) + 0.5f - sample) * one_over_kernel_scale);
            weight[k - low] = at < 1.0f ? 1.0f - at : 0.0f;
            sum += weight[k - low];
        }
        const bool usable = std::fabs(sum) >= 1000.0f * std::numeric_limits<float>::min();
        const float one_over_sum = 1.0f / sum;
        for (int k = 0; k < high - low; ++k) weight[k] = usable ? weight[k] * one_over_sum : 0.0f;
        a.first[i] = low;
        a.count[i] = high - low;
    }
}

// resize_area_op.cc: the part of each source pixel that lies in the output pixel, in source pixels.
void tf_area_axis(Axis& a) {
    const float scale = tf_scale(a);
    a.ones = true;
    start_axis(a, whole_blocks(static_cast<int>(std::ceil(scale)) + 2));
    a.weight.assign(static_cast<size_t>(a.out) * a.taps, 0.0f);
    for (int i = 0; i < a.out; ++i) {
        const float from = static_cast<float>(i) * scale;
        const float to = static_cast<float>(i + 1) * scale;
        const int low = static_cast<int>(std::floor(from)), high = static_cast<int>(std::ceil(to));
        a.first[i] = low;
        a.count[i] = high - low;
        for (int k = low; k < high; ++k) {
            const float left = static_cast<float>(k), right = static_cast<float>(k + 1);
            float part;
            if (left < from) {
                part = right > to ? scale : right - from;
            } else {
                part = right > to ? to - left : 1.0f;
            }
            a.weight[static_cast<size_t>(i) * a.taps + (k - low)] = part;
        }
    }
}

// The weights as whole numbers of 1 / kAreaOne, where they are, all pixels lie in the row and no sum of
// theirs is rounded: so for any source when the tensor's side is a power of two up to 64.
void add_exact_weights(Axis& a) {
    if (a.taps * 255 * kAreaOne >= 1 << 24) return;
    for (int i = 0; i < a.out; ++i) {
        if (a.first[i] + a.count[i] > a.in) return;
    }
    for (const float w : a.weight) {
        if (!whole(w * kAreaOne)) return a.fixed.clear();
        a.fixed.push_back(static_cast<int32_t>(w * kAreaOne));
    }
    a.unit = 1.0f / kAreaOne;
}

// resize_bicubic_op.cc: Keys' cubic, a = -0.5, from a table of 1024 steps; taps outside the image weigh
// nothing.
struct TfCubicTable {
    static constexpr int kSteps = 1024;
    float near[kSteps + 1], far[kSteps + 1];

    TfCubicTable() {
        const double a = -0.5;
        for (int i = 0; i <= kSteps; ++i) {
            float x = static_cast<float>(i * 1.0 / kSteps);
            near[i] = static_cast<float>(((a + 2) * x - (a + 3)) * x * x + 1);
            x = static_cast<float>(x + 1.0);
            far[i] = static_cast<float>(((a * x - 5 * a) * x + 8 * a) * x - 4 * a);
        }
    }
};

void tf_cubic_axis(Axis& a) {
    start_axis(a, 4);
    const TfCubicTable table;
    const float scale = tf_scale(a);
    a.index.resize(4 * static_cast<size_t>(a.out));
    a.weight.resize(4 * static_cast<size_t>(a.out));
    for (int i = 0; i < a.out; ++i) {
        const float at = tf_half_pixel(i, scale);
        const int low = static_cast<int>(std::floor(at));
        const float delta = at - static_cast<float>(low);
        const int step = static_cast<int>(std::lrint(delta * TfCubicTable::kSteps));
        const float value[4] = {table.far[step], table.near[step], table.near[TfCubicTable::kSteps - step],
                                table.far[TfCubicTable::kSteps - step]};
        float* const weight = &a.weight[4 * static_cast<size_t>(i)];
        for (int k = 0; k < 4; ++k) {
            const int index = clamp_index(static_cast<int64_t>(low) - 1 + k, a.in);
            a.index[4 * i + k] = index;
            weight[k] = index == low - 1 + k ? value[k] : 0.0f;
        }
        const float sum = weight[0] + weight[1] + weight[2] + weight[3];
        if (std::fabs(sum) >= 1000.0f * std::numeric_limits<float>::min()) {
            const float one_over_sum = 1.0f / sum;
            for (int k = 0; k < 4; ++k) weight[k] *= one_over_sum;
        }
    }
}

}  // namespace

void plan_tf(Plan::State& s) {
    switch (s.recipe.resize) {
        case Resize::tf_nearest:
            s.kind = Kind::nearest;
            tf_nearest_axis(s.x);
            tf_nearest_axis(s.y);
            return;
        case Resize::tf_bilinear:
            s.kind = Kind::tf_lerp;
            tf_lerp_axis(s.x);
            tf_lerp_axis(s.y);
            return;
        case Resize::tf_bilinear_antialias:
            s.kind = Kind::tf_window;
            tf_window_axis(s.x);
            tf_window_axis(s.y);
            return;
        case Resize::tf_area:
            s.kind = Kind::tf_area;
            tf_area_axis(s.x);
            add_exact_weights(s.x);
            tf_area_axis(s.y);
            s.area_scale = static_cast<float>(1.0 / (tf_scale(s.y) * tf_scale(s.x)));
            return;
        default:
            s.kind = Kind::tf_cubic;
            tf_cubic_axis(s.x);
            tf_cubic_axis(s.y);
            return;
    }
}

}  // namespace edgecnn
