// Pillow's boxes and windows, in the types and the order of src/libImaging/Resample.c and Geometry.c.
#include <algorithm>
#include <cmath>

#include "plan.hpp"

namespace edgecnn {
namespace {

constexpr double kPi = 3.14159265358979323846;

using Filter = double (*)(double);

double pil_bilinear(double x) {
    x = std::fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

double pil_box(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }

double pil_hamming(double x) {
    x = std::fabs(x);
    if (x == 0.0) return 1.0;
    if (x >= 1.0) return 0.0;
    x *= kPi;
    // 0.54 and 0.46 are float there.
    return std::sin(x) / x * (0.54f + 0.46f * std::cos(x));
}

double pil_bicubic(double x) {
    constexpr double a = -0.5;
    x = std::fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    return x < 2.0 ? (((x - 5) * x + 8) * x - 4) * a : 0.0;
}

double sinc(double x) { return x == 0.0 ? 1.0 : std::sin(x * kPi) / (x * kPi); }

double pil_lanczos(double x) { return -3.0 <= x && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0; }

struct PilFilter {
    Filter value;
    double support;
};

PilFilter pil_filter(Resize r) {
    switch (r) {
        case Resize::pil_box:
            return {pil_box, 0.5};
        case Resize::pil_hamming:
            return {pil_hamming, 1.0};
        case Resize::pil_bicubic:
            return {pil_bicubic, 2.0};
        case Resize::pil_lanczos:
            return {pil_lanczos, 3.0};
        default:
            return {pil_bilinear, 1.0};
    }
}

// src/libImaging/Geometry.c, ImagingScaleAffine: the coordinate is accumulated in double.
void pil_nearest_axis(Axis& a, float from, float to) {
    start_axis(a, 1);
    const double step = static_cast<double>(to - from) / a.out;
    double at = from + step * 0.5;
    for (int i = 0; i < a.out; ++i, at += step) a.first[i] = clamp_index(static_cast<int64_t>(at), a.in);
    a.index = a.first;
}

// src/libImaging/Resample.c: precompute_coeffs and normalize_coeffs_8bpc.
void pil_window_axis(Axis& a, const PilFilter& filter, float from, float to) {
    const double scale = static_cast<double>(to - from) / a.out;
    const double filter_scale = std::max(scale, 1.0);
    const double support = filter.support * filter_scale;
    const double inverse = 1.0 / filter_scale;
    start_axis(a, static_cast<int>(std::ceil(support)) * 2 + 1);
    a.fixed.assign(static_cast<size_t>(a.out) * a.taps, 0);
    std::vector<double> weight(a.taps);
    for (int i = 0; i < a.out; ++i) {
        const double center = from + (i + 0.5) * scale;
        const int low = std::max(static_cast<int>(center - support + 0.5), 0);
        const int high = std::min(static_cast<int>(center + support + 0.5), a.in);
        double sum = 0.0;
        for (int k = 0; k < high - low; ++k) {
            weight[k] = filter.value((k + low - center + 0.5) * inverse);
            sum += weight[k];
        }
        a.first[i] = low;
        a.count[i] = high - low;
        for (int k = 0; k < high - low; ++k) {
            const double w = (sum != 0.0 ? weight[k] / sum : weight[k]) * (1 << (32 - 8 - 2));
            a.fixed[static_cast<size_t>(i) * a.taps + k] = static_cast<int32_t>(w < 0 ? w - 0.5 : w + 0.5);
        }
    }
}

// Pillow 13 (pull request 9549) resizes y first where the height shrinks more than twice as much as the
// width, in pixels; Pillow 12 and older start with x (but for 12.2 and 12.3, whose Image.resize starts with y
// where the source is more than 100 times as tall as wide; no recipe stands for that). Which comes first
// matters, since the result of the first pass is rounded to uint8 (1 for the filters without negative
// weights) and clipped to it (bicubic and lanczos: up to 42 on noise).
bool pil_y_first(const Plan::State& s) {
    if (s.recipe.pillow < 13 || s.x.identity || s.y.identity) return false;
    return s.y.in > s.y.out && s.y.in - s.y.out > 2 * (s.x.in - s.x.out);
}

}  // namespace

void plan_pil(Plan::State& s) {
    const float* box = s.geometry.box;
    const bool copies_x = whole(box[0]) && box[2] - box[0] == s.x.out;
    const bool copies_y = whole(box[1]) && box[3] - box[1] == s.y.out;
    if (copies_x && copies_y) {
        // _imaging.c, _resize: a box in whole pixels of the wanted size is a crop.
        s.kind = Kind::nearest;
        copy_axis(s.x, static_cast<int>(box[0]));
        copy_axis(s.y, static_cast<int>(box[1]));
        return;
    }
    if (s.recipe.resize == Resize::pil_nearest) {
        s.kind = Kind::nearest;
        pil_nearest_axis(s.x, box[0], box[2]);
        pil_nearest_axis(s.y, box[1], box[3]);
        return;
    }
    s.kind = Kind::pil_window;
    const PilFilter filter = pil_filter(s.recipe.resize);
    pil_window_axis(s.x, filter, box[0], box[2]);
    pil_window_axis(s.y, filter, box[1], box[3]);
    // ImagingResample leaves a pass out when the axis keeps its size and the box is the whole of it.
    s.x.identity = s.x.out == s.x.in && box[0] == 0 && box[2] == s.x.out;
    s.y.identity = s.y.out == s.y.in && box[1] == 0 && box[3] == s.y.out;
    s.y_first = pil_y_first(s);
}

}  // namespace edgecnn
