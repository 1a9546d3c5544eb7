// The same bits everywhere: every instruction set and architecture must give these digests.
//
// They were taken from the scalar kernels on x86-64 when the Python tests had found those equal to
// TensorFlow 2.21, Pillow 13 and OpenCV 5; a change of one means that a library is followed differently.
// `test_digest print` prints the table.
#include <cinttypes>
#include <cstdlib>
#include <cstring>
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

uint64_t digest_of(Resize method) {
    Random random{5};
    uint64_t digest = 14695981039346656037u;
    for (int turn = 0; turn < 150; ++turn) {
        const Source source{1 + random.below(250), 1 + random.below(250),
                            static_cast<Format>(random.below(5))};
        Recipe r;
        r.height = 1 + random.below(80);
        r.width = 1 + random.below(80);
        r.resize = method;
        r.fit = random.below(3) ? Fit::stretch : Fit::crop;
        r.color = static_cast<Color>(random.below(3));
        r.layout = static_cast<Layout>(random.below(2));
        r.dtype = random.below(3) ? DType::float32 : DType::uint8;
        if (r.dtype == DType::float32) {
            r.scale = random.below(2) ? 1.0f / 255 : 1.0f;
            r.offset = random.below(2) ? -0.5f : 0.0f;
            r.has_mean = random.below(2);
            for (int c = 0; c < 3; ++c) {
                r.mean[c] = 0.1f * static_cast<float>(c + 1);
                r.std[c] = 0.2f * static_cast<float>(c + 1);
            }
        }
        std::vector<uint8_t> pixels(static_cast<size_t>(source.height) * source.width *
                                    channels_of(source.format));
        for (uint8_t& p : pixels) p = static_cast<uint8_t>(random.next());
        const Plan plan(source, r);
        void* scratch = std::aligned_alloc(64, plan.scratch_bytes() + 64);
        std::vector<uint8_t> out(plan.output_bytes());
        plan.run(pixels.data(), static_cast<ptrdiff_t>(source.width) * channels_of(source.format), out.data(),
                 scratch);
        std::free(scratch);
        mix(digest, out.data(), out.size());
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
