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

struct Kernels {
    const char* name;

    // rgb-like pixels of `channels` bytes -> one byte each.
    void (*gray_row)(const uint8_t* in, int width, int channels, const GrayRule& rule, uint8_t* out);

    // out[x] = in[index[x]], whole pixels.
    void (*nearest_row)(const uint8_t* in, const int32_t* index, int width, int channels, uint8_t* out);

    // tf.image bilinear. index: two source columns a pixel; lerp: weight of the second.
    void (*lerp_row)(const uint8_t* top, const uint8_t* bottom, const int32_t* index, const float* lerp,
                     float lerp_y, int width, int channels, float* out);

    // Pillow, pass 1. Column x sums count[x] pixels from first[x] with 22-bit weights at x * taps.
    void (*pil_horizontal)(const uint8_t* in, const int32_t* first, const int32_t* count,
                           const int32_t* weight, int taps, int width, int channels, uint8_t* out);
    // Pillow, pass 2: `count` rows, `stride` bytes apart, n bytes each.
    void (*pil_vertical)(const uint8_t* in, ptrdiff_t stride, int count, const int32_t* weight, int n,
                         uint8_t* out);

    // OpenCV linear, pass 1: 11-bit weights, two columns a pixel, sums of 19 bits; pass 2 joins two such
    // rows.
    void (*cv_horizontal)(const uint8_t* in, const int32_t* index, const int32_t* weight, int width,
                          int channels, int32_t* out);
    void (*cv_vertical)(const int32_t* top, const int32_t* bottom, int32_t weight_top, int32_t weight_bottom,
                        int n, uint8_t* out);

    // OpenCV cubic: four columns a pixel; then four such rows.
    void (*cv_cubic_horizontal)(const uint8_t* in, const int32_t* index, const int32_t* weight, int width,
                                int channels, int32_t* out);
    void (*cv_cubic_vertical)(const int32_t* const rows[4], const int32_t weight[4], int n, uint8_t* out);
    // OpenCV area by whole numbers: means of boxes of step_x x step_y pixels.
    void (*cv_box_row)(const uint8_t* in, ptrdiff_t stride, int step_x, int step_y, int width, int channels,
                       uint8_t* out);
    // Round half to even and saturate.
    void (*round_row)(const float* in, int n, uint8_t* out);

    // tf.image antialias, pass 1: sum of weighted rows in source order; pass 2: the columns of that sum.
    void (*tf_vertical)(const uint8_t* in, ptrdiff_t stride, int count, const float* weight, int n,
                        float* out);
    void (*tf_horizontal)(const float* in, const int32_t* first, const int32_t* count, const float* weight,
                          int taps, int width, int channels, float* out);

    // tf.image bicubic: four rows, then four columns a pixel.
    void (*tf_cubic_row)(const uint8_t* const rows[4], const float weight_y[4], const int32_t* index,
                         const float* weight, int width, int channels, float* out);

    // Area: weighted float32 sums of a row's windows in source order; columns past `limit` repeat the last.
    void (*area_horizontal)(const uint8_t* in, const int32_t* first, const int32_t* count,
                            const float* weight, int taps, int width, int channels, int limit, float* out);
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

// The table chosen for this process.
const Kernels& kernels();

}  // namespace edgecnn
