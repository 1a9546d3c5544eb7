// The same bits everywhere: every instruction set and architecture must give these digests, of every method,
// format, region, fit, layout and normalisation, at odd sizes.
//
// They were taken from the scalar kernels on x86-64 when the Python tests had found those equal to
// TensorFlow 2.21, Pillow 13 and OpenCV 5; a change of one means that a library is followed differently.
// `test_digest print` prints the table.
#include <cinttypes>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.hpp"
#include "preprocess.hpp"

using namespace edgecnn;

namespace {

constexpr int kSkip = 77;  // ctest's SKIP_RETURN_CODE
constexpr int kMethods = static_cast<int>(Resize::cv2_cubic) + 1;

const uint64_t kExpected[kMethods] = {
#include "digests.inc"
};

struct Random {
    uint64_t state;
    uint32_t next() {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return static_cast<uint32_t>(state >> 33);
    }
    int below(int n) { return static_cast<int>(next() % static_cast<uint32_t>(n)); }
};

// FNV-1a.
void mix(uint64_t& digest, const uint8_t* bytes, size_t n) {
    for (size_t i = 0; i < n; ++i) digest = (digest ^ bytes[i]) * 1099511628211u;
}

// Most sides are short, so that every remainder of a vector's width occurs; some are long.
int side(Random& random, int most) { return 1 + random.below(random.below(8) ? most : 4 * most); }

Source random_source(Random& random, const Recipe& recipe) {
    Source source{side(random, 200), side(random, 200), static_cast<Format>(random.below(10))};
    const bool whole_ratio = random.below(5) == 0;
    if (whole_ratio) {
        source.height = recipe.height * (1 + random.below(5));
        source.width = recipe.width * (1 + random.below(5));
    }
    if (is_yuv(source.format)) {
        source.height += source.height % 2;
        source.width += source.width % 2;
    }
    if (!whole_ratio && random.below(4) == 0) {
        source.region.width = 1 + random.below(source.width);
        source.region.height = 1 + random.below(source.height);
        source.region.x = random.below(source.width - source.region.width + 1);
        source.region.y = random.below(source.height - source.region.height + 1);
    }
    return source;
}

Recipe random_recipe(Random& random, Resize method) {
    Recipe r;
    r.height = side(random, 70);
    r.width = side(random, 70);
    r.resize = method;
    r.fit = static_cast<Fit>(random.below(3));
    r.pillow = 12 + random.below(2);
    r.color = static_cast<Color>(random.below(3));
    r.layout = static_cast<Layout>(random.below(2));
    r.dtype = random.below(3) ? DType::float32 : DType::uint8;
    r.pad_value = static_cast<uint8_t>(random.next());
    if (r.dtype == DType::float32) {
        r.has_divisor = random.below(3) == 0;
        r.divisor = 127.5f;
        r.scale = random.below(2) ? 1.0f / 255 : 1.0f;
        r.offset = random.below(2) ? -0.5f : 0.0f;
        r.has_mean = random.below(2);
        for (int c = 0; c < 3; ++c) {
            r.mean[c] = 0.1f * static_cast<float>(c + 1);
            r.std[c] = 0.2f * static_cast<float>(c + 1);
        }
    }
    return r;
}

// Noise, or smooth rows with edges of full contrast, which overshoot.
void fill(std::vector<uint8_t>& pixels, Random& random) {
    const bool noise = random.below(2);
    for (size_t i = 0; i < pixels.size(); ++i) {
        const uint8_t flat = i / 37 % 2 ? 255 : 0;
        pixels[i] = noise ? static_cast<uint8_t>(random.next()) : flat;
    }
}

uint64_t digest_of(Resize method) {
    Random random{5};
    uint64_t digest = 14695981039346656037u;
    for (int turn = 0; turn < 250; ++turn) {
        const Recipe recipe = random_recipe(random, method);
        const Source source = random_source(random, recipe);
        const ptrdiff_t stride = static_cast<ptrdiff_t>(source.width) * channels_of(source.format);
        const int rows = is_planar(source.format) ? source.height / 2 * 3 : source.height;
        std::vector<uint8_t> pixels(static_cast<size_t>(stride) * rows);
        fill(pixels, random);
        try {
            const Plan plan(source, recipe);
            void* scratch = std::aligned_alloc(64, plan.scratch_bytes() + 64);
            std::vector<uint8_t> out(plan.output_bytes());
            plan.run(pixels.data(), stride, out.data(), scratch);
            std::free(scratch);
            mix(digest, out.data(), out.size());
        } catch (const std::invalid_argument&) {  // padding a thin image may leave no pixel
            CHECK(recipe.fit == Fit::pad);
        }
    }
    return digest;
}

bool available(const std::string& name) {
    for (const char* const* n = available_isas(); *n != nullptr; ++n) {
        if (name == *n) return true;
    }
    return false;
}

}  // namespace

int main(int argc, char** argv) {
    const char* wanted = std::getenv("EDGECNN_ISA");
    if (wanted != nullptr && !available(wanted)) {
        std::printf("this CPU or build has no %s\n", wanted);
        return kSkip;
    }
    const bool print = argc > 1 && std::strcmp(argv[1], "print") == 0;
    for (int m = 0; m < kMethods; ++m) {
        const uint64_t digest = digest_of(static_cast<Resize>(m));
        if (print) {
            std::printf("0x%016" PRIx64 ",\n", digest);
        } else {
            CHECK(digest == kExpected[m]);
        }
    }
    return print ? 0 : check_result();
}
