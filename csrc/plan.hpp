// What a Plan holds: per axis the taps and weights, and how rows travel from the source to the tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/kernels.hpp"
#include "preprocess.hpp"

namespace edgecnn {

// The arithmetic that a resize method comes down to.
enum class Kind : uint8_t {
    nearest,     // one source pixel an output pixel
    tf_lerp,     // two taps an axis, float32, x then y
    tf_window,   // float32 windows, rows (y) first: antialias
    tf_area,     // float32 sums a row, then over the rows
    tf_cubic,    // four taps an axis, float32, y then x
    pil_window,  // 22-bit fixed point windows, uint8 in between; x first unless y_first
    cv_linear,   // two taps an axis, 11-bit fixed point
    cv_box,      // whole-number boxes, integer sums
    cv_area,     // fractional box, float32
    cv_cubic,    // four taps an axis, 11-bit fixed point
};

// One axis. Output i takes the source pixels first[i] .. first[i] + count[i] - 1 with the weights at i *
// taps. Which of the weight arrays is filled, and whether the taps are consecutive, is the Kind's matter.
struct Axis {
    int in = 0;    // source pixels
    int out = 0;   // output pixels
    int taps = 1;  // weights reserved per output
    bool identity = false;
    bool ones = false;  // see Windows
    std::vector<int32_t> first, count;
    std::vector<int32_t> index;  // clamped source index of each tap, i * taps + k
    std::vector<float> weight;   // float32 kinds
    std::vector<float> lifted;   // see Windows
    std::vector<int32_t> fixed;  // fixed-point kinds
    std::vector<int32_t> wide_first;
    std::vector<int8_t> digits;
    int blocks = 0, block_taps = 0, digit_count = 0;
    float unit = 0;     // area kinds: what fixed counts
    int safe_from = 0;  // four-tap kinds: outputs safe_from .. safe - 1 instead
    int safe = 0;       // leading outputs whose wide loads stay in the row; see kernels.hpp

    Windows windows() const;
};

struct Geometry {
    // Part of the source that is resized, pixels.
    int x = 0, y = 0, width = 0, height = 0;
    // Border added around that part before the resize (TensorFlow, OpenCV), pixels on each side.
    int border_x = 0, border_y = 0;
    // Where the resized part lies in the tensor (Pillow pads after the resize), pixels.
    int out_x = 0, out_y = 0, out_width = 0, out_height = 0;
    // Pillow's crop box in pixels of the source: x0, y0, x1, y1. Empty for the other libraries.
    float box[4] = {0, 0, 0, 0};
};

struct Plan::State {
    Source source;
    Recipe recipe;
    Geometry geometry;
    Kind kind = Kind::nearest;
    Axis x, y;
    bool y_first = false;  // pil_window
    float area_scale = 1;  // tf_area: 1 / (scale_y * scale_x)
    int canvas_width = 0;  // pixels a row that the resize sees
    int canvas_height = 0;
    int channels = 0;               // bytes a pixel that the resize sees
    bool materialise = false;       // rows are copied to scratch first: another colour, or a border
    std::vector<int32_t> columns;   // the columns of a YUV source that the canvas holds; empty: all, in order
    std::vector<uint8_t> row_used;  // canvas rows that the resize touches
    std::vector<int8_t> pairs;  // tf_lerp: see Kernels::lerp_exact_emit; empty where weights are not exact
    GrayRule gray{};
    Emit emit{};
    std::vector<float> table;  // 256 normalised values a channel
    const Kernels* kernels = nullptr;
    // Offsets into scratch, bytes.
    size_t canvas_at = 0, rgb_at = 0, temp_at = 0, row_at = 0, scratch = 0;
    int temp_first = 0, temp_rows = 0;  // pil_window: canvas rows that pass 1 resizes
    ptrdiff_t temp_stride = 0;          // bytes from one intermediate row to the next
    // cv_area by fixed-point weights: how far a sum may lie from OpenCV's, levels; closer to a half than
    // that, it is done again in OpenCV's own order. 0 where sums are exact.
    float doubt = 0;
    int ring_rows = 0;  // area kinds: row sums kept, whole batches
};

// Where every weight of tf_area is a whole number of these parts, sums of up to 1,000 pixels are exact in
// float32.
constexpr int kAreaOne = 64;

// Floats from a row's sum of one window to the next: a pixel, and room for a wide store.
constexpr int kDoubtStep = 8;

// Area kinds: source rows that are summed along x in one go, for kernels that take several side by side.
constexpr int kAreaBatch = 16;

Geometry plan_geometry(const Source& source, const Recipe& recipe);

// Pillow's weights as digits for the wide kernels, where the image is large enough for their loads. shift:
// move a window left where its last block would reach past the row (along x; rows are addressed one by one).
void add_digits(Axis& a, int channels, bool shift);

int clamp_index(int64_t i, int size);

bool whole(float v);

// Sizes an axis's arrays for `taps` taps an output.
void start_axis(Axis& a, int taps);

// Taps of the area kinds: wide kernels take 4 at a time, those past a window with weight 0.
constexpr int whole_blocks(int taps) { return (taps + 3) / 4 * 4; }

// A crop in whole pixels: output i is source pixel i + offset.
void copy_axis(Axis& a, int offset);

// Here exactness is decided: one function and one file a library, sizes -> taps and weights. They set kind, x
// and y of the state.
void plan_tf(Plan::State& s);
void plan_pil(Plan::State& s);
void plan_cv2(Plan::State& s);

// Plan::run; see preprocess.hpp. crew: nullptr for one thread.
void run_rows(const Plan::State& s, const Pixels& pixels, void* out, void* scratch, int threads, Crew* crew);

}  // namespace edgecnn
