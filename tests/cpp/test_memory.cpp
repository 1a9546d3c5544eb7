// Plan::run on one thread allocates nothing: every allocation of the process is counted while plans of all
// methods, fits, formats and instruction sets run. The counting is a sanitizer's, so that a build without one
// skips this.
#include <cstdlib>
#include <stdexcept>
#include <vector>

#include "check.hpp"
#include "preprocess.hpp"

using namespace edgecnn;

extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*malloc_hook)(const volatile void*, size_t),
                                                         void (*free_hook)(const volatile void*))
    __attribute__((weak));

namespace {

constexpr int kSkip = 77;  // ctest's SKIP_RETURN_CODE
int allocations = 0;

void count_allocation(const volatile void*, size_t) { ++allocations; }
void ignore_free(const volatile void*) {}

void runs_without_allocating(const Source& source, const Recipe& recipe, const char* isa) {
    const Plan plan(source, recipe, isa);
    const int rows = is_planar(source.format) ? source.height / 2 * 3 : source.height;
    const ptrdiff_t stride = static_cast<ptrdiff_t>(source.width) * channels_of(source.format);
    std::vector<uint8_t> pixels(stride * rows, 100), out(plan.output_bytes());
    void* scratch = std::aligned_alloc(64, plan.scratch_bytes() + 64);
    const int before = allocations;
    plan.run(pixels.data(), stride, out.data(), scratch);
    CHECK(allocations == before);
    std::free(scratch);
}

}  // namespace

int main() {
    if (__sanitizer_install_malloc_and_free_hooks == nullptr ||
        !__sanitizer_install_malloc_and_free_hooks(count_allocation, ignore_free)) {
        std::printf("counting allocations needs a build with EDGECNN_SANITIZE=address\n");
        return kSkip;
    }
    int ran = 0;
    for (int method = 0; method <= static_cast<int>(Resize::cv2_cubic); ++method) {
        for (int format = 0; format <= static_cast<int>(Format::i420); ++format) {
            for (int fit = 0; fit < 3; ++fit) {
                Recipe r;
                r.height = 40;
                r.width = 50;
                r.resize = static_cast<Resize>(method);
                r.fit = static_cast<Fit>(fit);
                r.color = fit == 1 ? Color::gray : Color::rgb;
                for (const char* const* isa = available_isas(); *isa != nullptr; ++isa) {
                    runs_without_allocating({90, 120, static_cast<Format>(format)}, r, *isa);
                    ++ran;
                }
            }
        }
    }
    CHECK(allocations > ran);  // the hook works: each plan allocated
    return check_result();
}
