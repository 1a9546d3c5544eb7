// Which part of the source goes where in the tensor, and what the axes of all libraries share.
#include "plan.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace edgecnn {
namespace {

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

}  // namespace

int clamp_index(int64_t i, int size) {
    return static_cast<int>(std::min<int64_t>(std::max<int64_t>(i, 0), size - 1));
}

bool whole(float v) { return v == std::floor(v); }

void start_axis(Axis& a, int taps) {
    a.taps = taps;
    a.first.assign(a.out, 0);
    a.count.assign(a.out, taps);
}

void copy_axis(Axis& a, int offset) {
    start_axis(a, 1);
    for (int i = 0; i < a.out; ++i) a.first[i] = offset + i;
    a.index = a.first;
}

Windows Axis::windows() const {
    Windows w{};
    w.in = in;
    w.out = out;
    w.taps = taps;
    w.first = first.data();
    w.count = count.data();
    w.weight = weight.data();
    w.lifted = lifted.data();
    w.fixed = fixed.data();
    w.ones = ones;
    w.wide_first = wide_first.data();
    w.digits = digits.empty() ? nullptr : digits.data();
    w.blocks = blocks;
    w.block_taps = block_taps;
    w.digit_count = digit_count;
    w.unit = unit;
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
    // Three digits of base 128, -64 to 63, hold up to 63 * (1 + 128 + 128 * 128); one alone may be 64 too.
    a.digit_count = largest <= 64 ? 1 : largest <= 63 * (1 + 128 + 16384) ? 3 : 4;
    a.wide_first = a.first;
    a.digits.assign(static_cast<size_t>(a.out) * a.blocks * a.digit_count * a.block_taps, 0);
    for (int i = 0; i < a.out; ++i) {
        if (shift) a.wide_first[i] = std::min(a.first[i], a.in - reach);
        const int lead = a.first[i] - a.wide_first[i];
        for (int k = 0; k < a.count[i]; ++k) {
            const int block = (k + lead) / a.block_taps, lane = (k + lead) % a.block_taps;
            int32_t rest = a.fixed[static_cast<size_t>(i) * a.taps + k];
            for (int d = 0; d < a.digit_count; ++d) {
                const int32_t digit = a.digit_count == 1 ? rest : ((rest + 64) & 127) - 64;
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

}  // namespace edgecnn
