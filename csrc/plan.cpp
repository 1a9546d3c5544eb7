// Sizes and a recipe -> taps and weights per axis. Here exactness is decided: one function a library, each
// doing the index arithmetic of that library's source in the same types and the same order.
#include "plan.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <stdexcept>
#include <string>

namespace edgecnn {
namespace {

int clamp_index(int64_t i, int size) {
    return static_cast<int>(std::min<int64_t>(std::max<int64_t>(i, 0), size - 1));
}

// Python's round(): half to even.
int python_round(double v) { return static_cast<int>(std::nearbyint(v)); }

// Side of the centre crop (or of the padded canvas) that has the target's aspect:
// keras/src/backend/tensorflow/image.py, resize(), where product and quotient are float32 and the cast
// truncates.
int keras_side(int other_side, int target, int other_target) {
    const float product = static_cast<float>(static_cast<int64_t>(other_side) * target);
    return static_cast<int>(product / static_cast<float>(other_target));
}

int keras_half(int difference) { return static_cast<int>(static_cast<float>(difference) / 2.0f); }

void crop_as_keras(const Source& s, const Recipe& r, Geometry& g) {
    g.height = std::max(std::min(s.height, keras_side(s.width, r.height, r.width)), 1);
    g.width = std::max(std::min(s.width, keras_side(s.height, r.width, r.height)), 1);
    g.y = keras_half(s.height - g.height);
    g.x = keras_half(s.width - g.width);
}

void pad_as_keras(const Source& s, const Recipe& r, Geometry& g) {
    g.border_y = keras_half(std::max(s.height, keras_side(s.width, r.height, r.width)) - s.height);
    g.border_x = keras_half(std::max(s.width, keras_side(s.height, r.width, r.height)) - s.width);
    // tf.image.resize has no bound on the canvas; ours keeps products of sides in 32 bits.
    if (s.height + 2 * g.border_y > kMaxSourceSide || s.width + 2 * g.border_x > kMaxSourceSide) {
        throw std::invalid_argument("fit 'pad' would need a canvas of " +
                                    std::to_string(s.width + 2 * g.border_x) + "x" +
                                    std::to_string(s.height + 2 * g.border_y) + " pixels, more than " +
                                    std::to_string(kMaxSourceSide) + " on a side");
    }
}

// PIL.ImageOps.fit: the crop box is computed in double and handed to the resize as float32.
void crop_as_pil(const Source& s, const Recipe& r, Geometry& g) {
    const double live = static_cast<double>(s.width) / s.height;
    const double wanted = static_cast<double>(r.width) / r.height;
    double width = s.width, height = s.height;
    if (live != wanted) {
        if (live >= wanted) {
            width = wanted * s.height;
        } else {
            height = s.width / wanted;
        }
    }
    const double left = (s.width - width) * 0.5, top = (s.height - height) * 0.5;
    g.box[0] = static_cast<float>(left);
    g.box[1] = static_cast<float>(top);
    g.box[2] = static_cast<float>(left + width);
    g.box[3] = static_cast<float>(top + height);
}

// PIL.ImageOps.pad: contain, then paste into the middle.
void pad_as_pil(const Source& s, const Recipe& r, Geometry& g) {
    const double live = static_cast<double>(s.width) / s.height;
    const double wanted = static_cast<double>(r.width) / r.height;
    if (live > wanted) {
        g.out_height = python_round(static_cast<double>(s.height) / s.width * r.width);
    } else if (live < wanted) {
        g.out_width = python_round(static_cast<double>(s.width) / s.height * r.height);
    }
    if (g.out_width < 1 || g.out_height < 1) {
        throw std::invalid_argument("an image of " + std::to_string(s.width) + "x" +
                                    std::to_string(s.height) +
                                    " leaves no pixel when fit 'pad' shrinks it into " +
                                    std::to_string(r.width) + "x" + std::to_string(r.height));
    }
    if (g.out_width != r.width) {
        g.out_x = python_round((r.width - g.out_width) * 0.5);
    } else {
        g.out_y = python_round((r.height - g.out_height) * 0.5);
    }
}

void start_axis(Axis& a, int taps) {
    a.taps = taps;
    a.first.assign(a.out, 0);
    a.count.assign(a.out, taps);
}

// A crop in whole pixels: output i is source pixel i + offset.
void copy_axis(Axis& a, int offset) {
    start_axis(a, 1);
    for (int i = 0; i < a.out; ++i) a.first[i] = offset + i;
    a.index = a.first;
}

// ---- TensorFlow
// -----------------------------------------------------------------------------------------------

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
    start_axis(a, static_cast<int>(std::ceil(scale)) + 2);
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

// ---- Pillow
// ---------------------------------------------------------------------------------------------------

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
// width, in pixels; Pillow 12 and older always start with x. Which comes first changes single values by 1,
// since the result of the first pass is rounded to uint8.
bool pil_y_first(const Plan::State& s) {
    if (s.x.identity || s.y.identity) return false;
    return s.y.in > s.y.out && s.y.in - s.y.out > 2 * (s.x.in - s.x.out);
}

bool whole(float v) { return v == std::floor(v); }

// ---- OpenCV
// ---------------------------------------------------------------------------------------------------

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
    start_axis(a, static_cast<int>(std::ceil(scale)) + 2);
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

bool whole_ratio(const Axis& a) { return a.in % a.out == 0; }

// Boxes of whole pixels: first[i] is where box i begins.
void cv_box_axis(Axis& a) {
    start_axis(a, a.in / a.out);
    for (int i = 0; i < a.out; ++i) a.first[i] = i * a.taps;
}

}  // namespace

Windows Axis::windows() const {
    Windows w{};
    w.in = in;
    w.out = out;
    w.taps = taps;
    w.first = first.data();
    w.count = count.data();
    w.weight = weight.data();
    w.fixed = fixed.data();
    w.wide_first = wide_first.data();
    w.digits = digits.empty() ? nullptr : digits.data();
    w.blocks = blocks;
    w.block_taps = block_taps;
    w.digit_count = digit_count;
    return w;
}

void add_digits(Axis& a, int channels, bool shift) {
    // A block is 16 bytes: 4 pixels of 3 (with 4 bytes unused) or 4 channels, 16 of gray; rows go 4 by 4.
    a.block_taps = shift && channels == 1 ? 16 : 4;
    const int most = *std::max_element(a.count.begin(), a.count.end());
    a.blocks = (most + a.block_taps - 1) / a.block_taps;
    const int reach = a.blocks * a.block_taps;
    // 16 bytes of 3 channels hold 4 bytes more than the 4 pixels: those before them, or at the left edge
    // (wide_first 0 and 1) those after them.
    if (shift && reach + (channels == 3 ? 3 : 0) > a.in) return;
    int32_t largest = 0;
    for (const int32_t w : a.fixed) largest = std::max(largest, std::abs(w));
    // Three digits of base 128, -64 to 63, hold up to 63 * (1 + 128 + 128 * 128).
    a.digit_count = largest <= 63 * (1 + 128 + 16384) ? 3 : 4;
    a.wide_first = a.first;
    a.digits.assign(static_cast<size_t>(a.out) * a.blocks * a.digit_count * a.block_taps, 0);
    for (int i = 0; i < a.out; ++i) {
        if (shift) a.wide_first[i] = std::min(a.first[i], a.in - reach);
        const int lead = a.first[i] - a.wide_first[i];
        for (int k = 0; k < a.count[i]; ++k) {
            const int block = (k + lead) / a.block_taps, lane = (k + lead) % a.block_taps;
            int32_t rest = a.fixed[static_cast<size_t>(i) * a.taps + k];
            for (int d = 0; d < a.digit_count; ++d) {
                const int32_t digit = ((rest + 64) & 127) - 64;
                rest = (rest - digit) / 128;
                a.digits[((static_cast<size_t>(i) * a.blocks + block) * a.digit_count + d) * a.block_taps +
                         lane] = static_cast<int8_t>(digit);
            }
        }
    }
}

Geometry plan_geometry(const Source& s, const Recipe& r) {
    Geometry g;
    g.width = s.width;
    g.height = s.height;
    g.out_width = r.width;
    g.out_height = r.height;
    const bool pil = library_of(r.resize) == Library::pil;
    g.box[2] = static_cast<float>(s.width);
    g.box[3] = static_cast<float>(s.height);
    if (r.fit == Fit::crop) {
        pil ? crop_as_pil(s, r, g) : crop_as_keras(s, r, g);
    } else if (r.fit == Fit::pad) {
        pil ? pad_as_pil(s, r, g) : pad_as_keras(s, r, g);
    }
    return g;
}

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
