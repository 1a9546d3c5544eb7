// The functions that every instruction set provides, a row at a time. scalar.cpp says what each computes.
//
// No STL and no inline functions of other headers here: a translation unit compiled for a newer CPU must not
// leave a copy of a shared function that an older CPU then runs.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace edgecnn {

// Weights of red, green and blue in the source's channel order; gray = (sum + round) >> shift.
struct GrayRule {
    int32_t weight[3];
    int32_t round;
    int32_t shift;
};

// A row of a camera's frame: pixel x has its luma at y[x * y_step], its chroma at u[x / 2 * uv_step] and v
// likewise.
struct YuvRow {
    const uint8_t *y, *u, *v;
    int y_step, uv_step;
};

// How a resized row becomes a row of the tensor.
struct Emit {
    int in_channels;       // interleaved channels of the resized row: 1, 3 or 4
    int channels;          // of the tensor: 1 or 3
    int order[3];          // for each channel of the tensor the channel of the row
    ptrdiff_t pixel_step;  // elements from a pixel to the next in the tensor
    ptrdiff_t plane_step;  // elements from a channel to the next in the tensor
    const float* table;    // table[c * 256 + v]: the normalised uint8 value v of the tensor's channel c
    // Normalisation of float rows; see Recipe.
    bool has_scale, has_divisor, has_offset, has_mean;
    float scale, divisor, offset, mean[3], std[3];
};

// One axis of a resize by windows: output i sums `count[i]` source pixels from `first[i]` on, with the
// weights at i * taps.
struct Windows {
    int in, out, taps;
    const int32_t* first;
    const int32_t* count;
    const float* weight;   // float32 methods
    const float* lifted;   // weight * -2^23, for wide kernels of the area methods
    const int32_t* fixed;  // Pillow, 22-bit fixed point
    bool ones;             // every weight but a window's first and last is 1
    // Fixed-point weights for wide kernels, absent (nullptr) where the image is too small for their loads:
    // output i sums `blocks` blocks of `block_taps` pixels from wide_first[i] on. A weight is the sum of
    // digit_count digits of base 128, each -64 to 63 (one alone: to 64) so that pmaddubsw can't saturate:
    // digits[((i * blocks + b) * digit_count + d) * block_taps + k]. Pillow: 3 or 4 digits. Area: 1 or 3
    // digits in parts of `unit`; see Plan::State::doubt.
    const int32_t* wide_first;
    const int8_t* digits;
    int blocks, block_taps, digit_count;
    float unit;
};

// Weights of a bilinear resize that are whole numbers of 1 / kLerpX and 1 / kLerpY bring no product or sum of
// bytes over 24 bits: float32 rounds nothing, and integers give the same values. So for any source of even
// width when the tensor's sides are powers of two up to 64.
constexpr int kLerpX = 64, kLerpY = 128;

// Rows of sums that tf_horizontal takes at once, and the floats behind each, in and out, that it may touch.
constexpr int kSumRows = 4, kSumSlack = 4;

struct Kernels {
    const char* name;

    // rgb-like pixels of `channels` bytes -> one byte each.
    void (*gray_row)(const uint8_t* in, int width, int channels, const GrayRule& rule, uint8_t* out);

    // ITU-R BT.601 of limited range, as OpenCV computes it -> RGB of `width` pixels: columns[i], or first + i
    // where columns is nullptr.
    void (*yuv_row)(const YuvRow& in, int first, const int32_t* columns, int width, uint8_t* out);

    // out[x] = in[index[x]], whole pixels.
    void (*nearest_row)(const uint8_t* in, const int32_t* index, int width, int channels, uint8_t* out);

    // tf.image bilinear. index: two source columns a pixel; lerp: weight of the second. For the first `safe`
    // pixels the two are neighbours, or lerp is 0, and 8 bytes (2 for gray) from the left one lie in the row.
    void (*lerp_row)(const uint8_t* top, const uint8_t* bottom, const int32_t* index, const float* lerp,
                     float lerp_y, int safe, int width, int channels, float* out);

    // The same straight into an interleaved float32 tensor; emit.plane_step is 1.
    void (*lerp_emit)(const uint8_t* top, const uint8_t* bottom, const int32_t* index, const float* lerp,
                      float lerp_y, int safe, int width, const Emit& emit, float* out);
    // The first `count` (even) of these pixels where every weight is a few bits, so that integers give the
    // same float32: in parts of kLerpX and kLerpY. pairs: 16 bytes a pixel, the weights of the left and the
    // right column eight times; pair_y: the weight of the bottom row. nullptr where lerp_emit is as good.
    void (*lerp_exact_emit)(const uint8_t* top, const uint8_t* bottom, const int32_t* index,
                            const int8_t* pairs, int pair_y, int count, const Emit& emit, float* out);
    // nearest_row likewise. For the first `safe` pixels 4 bytes from the pixel on lie in the row.
    void (*nearest_emit)(const uint8_t* in, const int32_t* index, int safe, int width, const Emit& emit,
                         float* out);

    // Pillow, along x: `rows` rows, in_stride bytes apart, to rows out_stride bytes apart; up to 16 bytes
    // past the end of a row of out are overwritten.
    void (*pil_horizontal)(const uint8_t* in, ptrdiff_t in_stride, int rows, const Windows& x, int channels,
                           uint8_t* out, ptrdiff_t out_stride);
    // Pillow, along y: output row i of n bytes; `in` is source row y.first[i].
    void (*pil_vertical)(const uint8_t* in, ptrdiff_t stride, const Windows& y, int i, int n, uint8_t* out);

    // OpenCV linear, pass 1: 11-bit weights, two columns a pixel, sums of 19 bits; pass 2 joins two such
    // rows.
    void (*cv_horizontal)(const uint8_t* in, const int32_t* index, const int32_t* weight, int safe, int width,
                          int channels, int32_t* out);
    void (*cv_vertical)(const int32_t* top, const int32_t* bottom, int32_t weight_top, int32_t weight_bottom,
                        int n, uint8_t* out);

    // OpenCV cubic: four columns a pixel; then four such rows. For pixels from .. to - 1 the four are
    // neighbours and 16 bytes from the first lie in the row.
    void (*cv_cubic_horizontal)(const uint8_t* in, const int32_t* index, const int32_t* weight, int from,
                                int to, int width, int channels, int32_t* out);
    void (*cv_cubic_vertical)(const int32_t* const rows[4], const int32_t weight[4], int n, uint8_t* out);
    // OpenCV area by whole numbers: means of boxes of step_x x step_y pixels.
    void (*cv_box_row)(const uint8_t* in, ptrdiff_t stride, int step_x, int step_y, int width, int channels,
                       uint8_t* out);
    // Round half to even and saturate.
    void (*round_row)(const float* in, int n, uint8_t* out);

    // tf.image antialias, pass 1: for each of n columns the sum of weight[k] * row k in source order, two
    // sums at a time: sum_a (with the weights a) goes on from what it holds, sum_b (which may be nullptr)
    // begins.
    void (*tf_vertical)(const uint8_t* in, ptrdiff_t stride, int count, const float* weight_a,
                        const float* weight_b, int n, float* sum_a, float* sum_b);
    // Pass 2: the windows of 1 to kSumRows rows of sums; out_stride in floats.
    void (*tf_horizontal)(const float* const* in, int rows, const Windows& x, int channels, float* out,
                          ptrdiff_t out_stride);

    // tf.image bicubic: four rows, then four columns a pixel.
    void (*tf_cubic_row)(const uint8_t* const rows[4], const float weight_y[4], const int32_t* index,
                         const float* weight, int from, int to, int width, int channels, float* out);

    // Area: weighted float32 sums of each row's windows in source order; columns past the last repeat it.
    // The first `safe` windows can be read in steps of 4 pixels, 16 bytes each, without leaving the row.
    void (*area_horizontal)(const uint8_t* in, ptrdiff_t in_stride, int rows, const Windows& x, int safe,
                            int channels, float* out, ptrdiff_t out_stride);
    // Whether it sums by the fixed-point weights where there are any.
    bool area_by_fixed;
    // sum += in * weight, or sum = in * weight for the first row.
    void (*area_add)(const float* in, float weight, bool first, int n, float* sum);
    void (*scale_row)(float* row, float scale, int n);

    // A resized row -> the tensor.
    void (*emit_u8_to_f32)(const uint8_t* row, int width, const Emit& emit, float* out);
    void (*emit_u8_to_u8)(const uint8_t* row, int width, const Emit& emit, uint8_t* out);
    void (*emit_f32_to_f32)(const float* row, int width, const Emit& emit, float* out);
    void (*emit_f32_to_u8)(const float* row, int width, const Emit& emit, uint8_t* out);
};

const Kernels& scalar_kernels();
const Kernels& simd128_kernels();  // x86-64-v2 or aarch64-neon
const Kernels& avx2_kernels();
const Kernels& avx512_kernels();

// The table of that name, or the one chosen for this process.
const Kernels& kernels(const char* isa = nullptr);

}  // namespace edgecnn
