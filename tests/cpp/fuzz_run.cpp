// libFuzzer: any source shape, format, stride and recipe, in buffers of exactly the right size.
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
    int side() {
        const int v = next() | next() << 8;
        return 1 + v % 700;
    }
    float number() {
        int32_t v = 0;
        for (int i = 0; i < 4; ++i) v = static_cast<int32_t>(static_cast<uint32_t>(v) << 8 | next());
        float f;
        std::memcpy(&f, &v, 4);
        return f == f ? f : 0.0f;
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Bytes in{data, size};
    Source source{in.side(), in.side(), static_cast<Format>(in.below(10))};
    if (is_yuv(source.format)) {
        source.height += source.height % 2;
        source.width += source.width % 2;
    }
    if (in.below(2)) {
        source.region.width = 1 + (in.side() - 1) % source.width;
        source.region.height = 1 + (in.side() - 1) % source.height;
        source.region.x = (in.side() - 1) % (source.width - source.region.width + 1);
        source.region.y = (in.side() - 1) % (source.height - source.region.height + 1);
    }
    Recipe r;
    r.height = 1 + (in.side() - 1) % 150;
    r.width = 1 + (in.side() - 1) % 150;
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
    const int row = source.width * channels_of(source.format);
    const int padding = in.below(9);
    const bool backwards = in.below(2);
    const int rows = is_planar(source.format) ? source.height / 2 * 3 : source.height;
    const size_t bytes = static_cast<size_t>(row + padding) * (rows - 1) + row;
    std::vector<uint8_t> pixels(bytes);
    pixels.shrink_to_fit();
    for (size_t i = 0; i < bytes; ++i)
        pixels[i] = in.size > in.at ? in.data[in.at + i % (in.size - in.at)] : 0;
    const ptrdiff_t stride = row + padding;
    try {
        const Plan plan(source, r);
        std::vector<uint8_t> out(plan.output_bytes());
        void* scratch = std::aligned_alloc(64, plan.scratch_bytes() + 64);
        const uint8_t* first = pixels.data() + (backwards ? stride * (rows - 1) : 0);
        plan.run(first, backwards ? -stride : stride, out.data(), scratch);
        std::free(scratch);
    } catch (const std::invalid_argument&) {
        if (r.fit != Fit::pad) std::abort();
    }
    return 0;
}
