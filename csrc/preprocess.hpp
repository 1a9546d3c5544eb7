// The contract of the core: uint8 pixels in, the model's input tensor out, as the training library computed
// it.
//
// A Plan is built once for a source shape and a recipe and then only read: any number of threads may run one
// Plan at the same time, each with its own scratch memory and output. Nothing here allocates after the Plan
// is built; threads that share one image wait in a Crew of their caller's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "crew.hpp"

namespace edgecnn {

// Named library_filter. The order is that of edgecnn.spec.RESIZES.
enum class Resize : uint8_t {
    tf_nearest,
    tf_bilinear,
    tf_bilinear_antialias,
    tf_area,
    tf_bicubic,
    pil_nearest,
    pil_box,
    pil_bilinear,
    pil_hamming,
    pil_bicubic,
    pil_lanczos,
    cv2_nearest,
    cv2_linear,
    cv2_area,
    cv2_cubic,
};
enum class Library : uint8_t { tf, pil, cv2 };
enum class Fit : uint8_t { stretch, crop, pad };
enum class Color : uint8_t { rgb, bgr, gray };
enum class Layout : uint8_t { nhwc, nchw };
enum class DType : uint8_t { float32, uint8 };

// Channel order of the source; the number of interleaved bytes a pixel follows from it. The last five are
// what cameras give, of even sides: 4:2:2 packed in 2 bytes a pixel, or 4:2:0 in planes; see Pixels.
enum class Format : uint8_t { rgb, bgr, rgba, bgra, gray, yuyv, uyvy, nv12, nv21, i420 };

constexpr bool is_yuv(Format f) { return f >= Format::yuyv; }
constexpr bool is_planar(Format f) { return f >= Format::nv12; }
constexpr int channels_of(Format f) {
    return f == Format::gray || is_planar(f) ? 1 : is_yuv(f) ? 2 : f <= Format::bgr ? 3 : 4;
}
constexpr int planes_of(Format f) { return f == Format::i420 ? 3 : is_planar(f) ? 2 : 1; }
constexpr int channels_of(Color c) { return c == Color::gray ? 1 : 3; }
constexpr Library library_of(Resize r) {
    return r < Resize::pil_nearest ? Library::tf : r < Resize::cv2_nearest ? Library::pil : Library::cv2;
}

// Largest side of a source or a tensor, pixels. Products of two sides stay below 2^31.
constexpr int kMaxSourceSide = 32768;
constexpr int kMaxTensorSide = 16384;

struct Recipe {
    int height = 0;  // rows of the tensor, 1 to kMaxTensorSide
    int width = 0;   // columns of the tensor
    Resize resize = Resize::tf_bilinear;
    Fit fit = Fit::stretch;
    Color color = Color::rgb;
    Layout layout = Layout::nhwc;
    DType dtype = DType::float32;
    int pillow = 13;  // pil_*: whose order of the two passes, 13, or 12 for that and older: x always first
    uint8_t pad_value = 0;  // border of Fit::pad, before normalisation
    // Normalisation of float32: x / divisor or x * scale, then + offset, then (x - mean) / std; each
    // operation is rounded by itself, and one that changes nothing (scale 1, offset 0) is left out.
    bool has_divisor = false;
    bool has_mean = false;
    float scale = 1, divisor = 1, offset = 0;
    float mean[3] = {0, 0, 0}, std[3] = {1, 1, 1};
};

struct Source {
    int height = 0;  // rows, 1 to kMaxSourceSide
    int width = 0;   // columns
    Format format = Format::rgb;
    // The region that is resized, as if it were the whole image; width 0 stands for all of it.
    struct Region {
        int x, y, width, height;
    } region = {0, 0, 0, 0};
};

// Where a source lies: row y of a plane starts at first + y * stride (bytes; may be negative or 0).
struct Pixels {
    struct Plane {
        const uint8_t* first;
        ptrdiff_t stride;
    };
    // Planar formats: luma, height rows of width bytes; then height / 2 rows of chroma, width bytes of u, v
    // (v, u in nv21) or two planes of width / 2 bytes, u and v. Where plane[1].first is nullptr the chroma
    // lies below the luma in the same array, as in OpenCV; in i420 each row of that array then holds two rows
    // of chroma. The other formats have plane[0] alone.
    Plane plane[3];
};

class Plan {
  public:
    // Throws std::invalid_argument when a size is out of range, a region leaves its source, or the fit leaves
    // no pixel. isa: one of available_isas() instead of the process's, for tests.
    Plan(const Source& source, const Recipe& recipe, const char* isa = nullptr);
    ~Plan();
    Plan(const Plan&) = delete;
    Plan& operator=(const Plan&) = delete;

    // Bytes of scratch memory that run() needs, aligned to 64; 0 when it needs none.
    size_t scratch_bytes() const;
    // Bytes that run() writes.
    size_t output_bytes() const;
    const Source& source() const;
    const Recipe& recipe() const;

    // How many of `wanted` threads (1 or more) run() is worth: 1 unless the work is over about 100 us.
    int threads(int wanted) const;

    // out: output_bytes() bytes, aligned for its type; must overlap neither pixels nor scratch.
    // scratch: scratch_bytes().
    // Reads no byte outside the bytes of the rows.
    void run(const Pixels& pixels, void* out, void* scratch) const;
    void run(const uint8_t* pixels, ptrdiff_t row_stride, void* out, void* scratch) const {
        run(Pixels{{{pixels, row_stride}, {}, {}}}, out, scratch);
    }
    // The same bits by as many threads as threads() said, each of which computes some rows of the tensor.
    // scratch: scratch_bytes() for each of them.
    void run(const Pixels& pixels, void* out, void* scratch, int threads, Crew& crew) const;

    struct State;

  private:
    std::unique_ptr<const State> state_;
};

// Name of the instruction set whose kernels run in this process: scalar, x86-64-v3, ...
// Chosen once, at the first call; the environment variable EDGECNN_ISA names another one for tests.
// Throws std::invalid_argument when EDGECNN_ISA names none that this CPU has.
const char* isa();

// The instruction sets that this build holds and this CPU runs, best last, ended by nullptr.
const char* const* available_isas();

}  // namespace edgecnn
