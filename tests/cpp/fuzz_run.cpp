// libFuzzer: any source shape, format, stride, plane and recipe, in buffers of exactly the right size.
// Threads and every instruction set must give the bits of the scalar kernels on one thread.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "preprocess.hpp"

using namespace edgecnn;

namespace {

// The head of the input, a byte a choice; what follows are the pixels, repeated as needed.
struct Bytes {
    const uint8_t* data;
    size_t size, at = 0;

    uint8_t next() { return at < size ? data[at++] : 0; }
    int below(int n) { return next() % n; }
    // Mostly small, for many runs a second; sometimes enough for threads.
    int side(int most) {
        const int v = next() | next() << 8;
        return 1 + v % (v % 8 != 0 && most > 80 ? 80 : most);
    }
    float number() {
        int32_t v = 0;
        for (int i = 0; i < 4; ++i) v = static_cast<int32_t>(static_cast<uint32_t>(v) << 8 | next());
        float f;
        std::memcpy(&f, &v, 4);
        return std::isfinite(f) ? f : 0.0f;
    }
    // The pixels of one plane.
    uint8_t pixel(size_t i) const { return size > at ? data[at + i % (size - at)] : static_cast<uint8_t>(i); }
};

Source read_source(Bytes& in) {
    Source source{in.side(900), in.side(900), static_cast<Format>(in.below(10))};
    if (is_yuv(source.format)) {
        source.height += source.height % 2;
        source.width += source.width % 2;
    }
    if (in.below(2)) {
        source.region.width = in.side(source.width);
        source.region.height = in.side(source.height);
        source.region.x = in.side(source.width - source.region.width + 1) - 1;
        source.region.y = in.side(source.height - source.region.height + 1) - 1;
    }
    return source;
}

Recipe read_recipe(Bytes& in) {
    Recipe r;
    r.height = in.side(150);
    r.width = in.side(150);
    r.resize = static_cast<Resize>(in.below(static_cast<int>(Resize::cv2_cubic) + 1));
    r.fit = static_cast<Fit>(in.below(3));
    r.pillow = 12 + in.below(2);
    r.color = static_cast<Color>(in.below(3));
    r.layout = static_cast<Layout>(in.below(2));
    r.dtype = static_cast<DType>(in.below(2));
    r.pad_value = in.next();
    if (r.dtype == DType::float32) {
        r.has_divisor = in.below(2);
        r.has_mean = in.below(2);
        r.scale = in.number();
        r.divisor = in.number();
        r.offset = in.number();
    }
    return r;
}

// One plane's rows, each at its stride, in memory that ends with the last row's last byte.
struct Rows {
    std::vector<uint8_t> bytes;
    Pixels::Plane plane;

    Rows(Bytes& in, int rows, int width) {
        const int stride = width + in.below(9);
        const bool backwards = in.below(2);
        bytes.resize(static_cast<size_t>(stride) * (rows - 1) + width);
        bytes.shrink_to_fit();
        for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = in.pixel(i);
        plane = {bytes.data() + (backwards ? static_cast<size_t>(stride) * (rows - 1) : 0),
                 backwards ? -stride : stride};
    }
};

std::vector<Rows> read_planes(Bytes& in, const Source& s) {
    std::vector<Rows> planes;
    const bool planar = is_planar(s.format), apart = planar && in.below(2);
    const int rows = planar && !apart ? s.height / 2 * 3 : s.height;
    planes.emplace_back(in, rows, s.width * channels_of(s.format));
    for (int i = 1; apart && i < planes_of(s.format); ++i) {
        planes.emplace_back(in, s.height / 2, s.format == Format::i420 ? s.width / 2 : s.width);
    }
    return planes;
}

std::vector<uint8_t> run(const Plan& plan, const Pixels& pixels, int threads) {
    std::vector<uint8_t> out(plan.output_bytes());
    void* scratch = std::aligned_alloc(64, threads * plan.scratch_bytes());
    std::memset(scratch, 0xA5, threads * plan.scratch_bytes());
    thread_local Crew crew;
    plan.run(pixels, out.data(), scratch, threads, crew);
    std::free(scratch);
    return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Bytes in{data, size};
    const Source source = read_source(in);
    const Recipe r = read_recipe(in);
    const int wanted = 1 + in.below(4);
    const std::vector<Rows> planes = read_planes(in, source);
    Pixels pixels{};
    for (size_t i = 0; i < planes.size(); ++i) pixels.plane[i] = planes[i].plane;
    try {
        const std::vector<uint8_t> expected = run(Plan(source, r, "scalar"), pixels, 1);
        for (const char* const* isa = available_isas() + 1; *isa != nullptr; ++isa) {
            const Plan plan(source, r, *isa);
            if (run(plan, pixels, plan.threads(wanted)) != expected) std::abort();
        }
    } catch (const std::invalid_argument&) {
        if (r.fit != Fit::pad) std::abort();
    }
    return 0;
}
