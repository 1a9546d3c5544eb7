// OpenCV's index arithmetic and weights, in the types and the order of modules/imgproc/src/resize.cpp.
//
// cv2.resize has several implementations of one method. Of those that opencv-python 5.0 (x86-64) picks for
// uint8:
// - nearest, linear, area: its own code, whose results do not depend on the CPU, with or without IPP and with
// any
//   number of threads (the bit-exact variants are other methods: INTER_LINEAR_EXACT, INTER_NEAREST_EXACT).
// - linear at exactly half the size goes through the 2x2 mean of INTER_AREA, which gives the same values.
// - area is a mean of whole boxes, a weighted sum, or where it enlarges a side a linear resize of its own
// offsets.
// - cubic: Intel's IPP for sources of at least 4x4 pixels unless cv2.ipp.setUseIPP(False), else its own code.
// IPP is
//   closed, computes in float32 by kernels that depend on the CPU, and differs from OpenCV's own code by 1 in
//   about 4 % of the values of a noise image. The reference here is OpenCV's own code.
#include <algorithm>
#include <cmath>

#include "plan.hpp"

namespace edgecnn {
namespace {

constexpr int kCvOne = 2048;  // INTER_RESIZE_COEF_SCALE

// modules/imgproc/src/resize.cpp throughout. There inv_scale = out / in and scale = 1 / inv_scale, in double.
double cv_scale(const Axis& a) { return 1.0 / (static_cast<double>(a.out) / a.in); }

int32_t cv_fixed(float weight) { return static_cast<int32_t>(std::nearbyint(weight * kCvOne)); }

// resizeNN.
void cv_nearest_axis(Axis& a) {
    start_axis(a, 1);
    const double scale = cv_scale(a);
    for (int i = 0; i < a.out; ++i)
        a.first[i] = clamp_index(static_cast<int64_t>(std::floor(i * scale)), a.in);
    a.index = a.first;
}

// x repeats the edge pixel with weight 1, y clamps both rows. area: INTER_AREA where it enlarges.
void cv_linear_axis(Axis& a, bool horizontal, bool area) {
    start_axis(a, 2);
    a.index.resize(2 * static_cast<size_t>(a.out));
    a.fixed.resize(2 * static_cast<size_t>(a.out));
    const double scale = cv_scale(a), inverse = static_cast<double>(a.out) / a.in;
    for (int i = 0; i < a.out; ++i) {
        float at;
        int low;
        if (area) {
            low = static_cast<int>(std::floor(i * scale));
            at = static_cast<float>((i + 1) - (low + 1) * inverse);
            at = at <= 0 ? 0.0f : at - std::floor(at);
        } else {
            at = static_cast<float>((i + 0.5) * scale - 0.5);
            low = static_cast<int>(std::floor(at));
            at -= static_cast<float>(low);
        }
        if (horizontal && (low < 0 || low >= a.in - 1)) {
            at = 0;
            low = clamp_index(low, a.in);
        }
        a.index[2 * i] = clamp_index(low, a.in);
        a.index[2 * i + 1] = clamp_index(static_cast<int64_t>(low) + 1, a.in);
        a.fixed[2 * i] = cv_fixed(1.0f - at);
        a.fixed[2 * i + 1] = cv_fixed(at);
    }
}

// interpolateCubic, A = -0.75.
void cv_cubic_axis(Axis& a) {
    start_axis(a, 4);
    a.index.resize(4 * static_cast<size_t>(a.out));
    a.fixed.resize(4 * static_cast<size_t>(a.out));
    constexpr float A = -0.75f;
    const double scale = cv_scale(a);
    for (int i = 0; i < a.out; ++i) {
        float x = static_cast<float>((i + 0.5) * scale - 0.5);
        const int low = static_cast<int>(std::floor(x));
        x -= static_cast<float>(low);
        float c[4];
        c[0] = ((A * (x + 1) - 5 * A) * (x + 1) + 8 * A) * (x + 1) - 4 * A;
        c[1] = ((A + 2) * x - (A + 3)) * x * x + 1;
        c[2] = ((A + 2) * (1 - x) - (A + 3)) * (1 - x) * (1 - x) + 1;
        c[3] = 1.0f - c[0] - c[1] - c[2];
        for (int k = 0; k < 4; ++k) {
            a.index[4 * i + k] = clamp_index(static_cast<int64_t>(low) - 1 + k, a.in);
            a.fixed[4 * i + k] = cv_fixed(c[k]);
        }
    }
}

// computeResizeAreaTab: parts below a thousandth of a pixel are left out.
void cv_area_axis(Axis& a) {
    const double scale = cv_scale(a);
    start_axis(a, whole_blocks(static_cast<int>(std::ceil(scale)) + 2));
    a.weight.assign(static_cast<size_t>(a.out) * a.taps, 0.0f);
    for (int i = 0; i < a.out; ++i) {
        const double from = i * scale, to = from + scale;
        const double cell = std::min(scale, a.in - from);
        const int high = std::min(static_cast<int>(std::floor(to)), a.in - 1);
        const int low = std::min(static_cast<int>(std::ceil(from)), high);
        float* const weight = &a.weight[static_cast<size_t>(i) * a.taps];
        int n = 0;
        a.first[i] = low;
        if (low - from > 1e-3) {
            a.first[i] = low - 1;
            weight[n++] = static_cast<float>((low - from) / cell);
        }
        for (int k = low; k < high; ++k) weight[n++] = static_cast<float>(1.0 / cell);
        if (to - high > 1e-3) {
            weight[n++] = static_cast<float>(std::min(std::min(to - high, 1.0), cell) / cell);
        }
        a.count[i] = n;
    }
}

// The weights of a row's windows in fixed point: all 1 where they are equal, else as fine as 32-bit sums
// allow. Returns how far such a row's sum may lie from the weights' own, levels.
double add_fixed_weights(Axis& a) {
    float largest = 0, smallest = 1;
    for (int i = 0; i < a.out; ++i) {
        for (int k = 0; k < a.count[i]; ++k) {
            largest = std::max(largest, a.weight[static_cast<size_t>(i) * a.taps + k]);
            smallest = std::min(smallest, a.weight[static_cast<size_t>(i) * a.taps + k]);
        }
    }
    // The weights of a window sum up to 1, so 2^22 parts of 255 levels stay below 2^31, and three digits hold
    // each.
    a.unit = largest == smallest ? largest : std::max(1.0f / (1 << 22), largest / 1000000);
    double worst = 0;
    for (int i = 0; i < a.out; ++i) {
        double off = 0;
        for (int k = 0; k < a.taps; ++k) {
            const float w = a.weight[static_cast<size_t>(i) * a.taps + k];
            a.fixed.push_back(static_cast<int32_t>(std::lrint(w / a.unit)));
            off += std::fabs(static_cast<double>(a.fixed.back()) * a.unit - w);
        }
        worst = std::max(worst, off * 255);
    }
    return worst;
}

// How far the sums by fixed-point weights may lie from OpenCV's float32 ones, levels: what the weights bring,
// and for each rounding, of n products and sums along an axis at the most, 2^-24 of 255 levels; both ways of
// summing round.
float area_doubt(const Axis& x, const Axis& y, double weights_off) {
    const double roundings = (x.taps + 4.0) + 2 * (y.taps + 2.0);
    return static_cast<float>(1.1 * (weights_off + roundings * 255 / (1 << 24)));
}

bool whole_ratio(const Axis& a) { return a.in % a.out == 0; }

// Boxes of whole pixels: first[i] is where box i begins.
void cv_box_axis(Axis& a) {
    start_axis(a, a.in / a.out);
    for (int i = 0; i < a.out; ++i) a.first[i] = i * a.taps;
}

}  // namespace

void plan_cv2(Plan::State& s) {
    if (s.x.in == s.x.out && s.y.in == s.y.out) {
        s.kind = Kind::nearest;
        copy_axis(s.x, 0);
        copy_axis(s.y, 0);
        return;
    }
    switch (s.recipe.resize) {
        case Resize::cv2_nearest:
            s.kind = Kind::nearest;
            cv_nearest_axis(s.x);
            cv_nearest_axis(s.y);
            return;
        case Resize::cv2_cubic:
            s.kind = Kind::cv_cubic;
            cv_cubic_axis(s.x);
            cv_cubic_axis(s.y);
            return;
        case Resize::cv2_area: {
            const bool shrinks = s.x.in >= s.x.out && s.y.in >= s.y.out;
            if (shrinks && whole_ratio(s.x) && whole_ratio(s.y)) {
                s.kind = Kind::cv_box;
                cv_box_axis(s.x);
                cv_box_axis(s.y);
            } else if (shrinks) {
                s.kind = Kind::cv_area;
                cv_area_axis(s.x);
                cv_area_axis(s.y);
                s.doubt = area_doubt(s.x, s.y, add_fixed_weights(s.x));
            } else {
                s.kind = Kind::cv_linear;
                cv_linear_axis(s.x, true, true);
                cv_linear_axis(s.y, false, true);
            }
            return;
        }
        default:
            s.kind = Kind::cv_linear;
            cv_linear_axis(s.x, true, false);
            cv_linear_axis(s.y, false, false);
            return;
    }
}

}  // namespace edgecnn
