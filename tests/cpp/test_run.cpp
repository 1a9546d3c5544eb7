// Running plans: properties that need no library, in every method, and equality with the scalar kernels'
// bits.
//
// Sources are allocated to the byte and stand at odd addresses, so that AddressSanitizer sees a read past
// their end.
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.hpp"
#include "preprocess.hpp"

using namespace edgecnn;

namespace {

constexpr int kSkip = 77;  // ctest's SKIP_RETURN_CODE
constexpr int kMethods = static_cast<int>(Resize::cv2_cubic) + 1;

struct Random {
    uint64_t state;
    uint32_t next() {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return static_cast<uint32_t>(state >> 33);
    }
    int below(int n) { return static_cast<int>(next() % static_cast<uint32_t>(n)); }
};

// Exactly height rows, stride bytes apart, without the last row's padding.
struct Image {
    Source source;
    ptrdiff_t stride;
    std::vector<uint8_t> bytes;

    int rows() const { return is_planar(source.format) ? source.height / 2 * 3 : source.height; }

    Image(Source s, int padding, Random& random) : source(s) {
        const int row = s.width * channels_of(s.format);
        stride = row + padding;
        bytes.resize(static_cast<size_t>(stride) * (rows() - 1) + row);
        bytes.shrink_to_fit();
        for (uint8_t& b : bytes) b = static_cast<uint8_t>(random.next());
    }
};

std::vector<uint8_t> run(const Plan& plan, const Pixels& pixels, int threads = 1) {
    const size_t scratch_bytes = threads * plan.scratch_bytes();
    void* scratch = scratch_bytes ? std::aligned_alloc(64, scratch_bytes) : nullptr;
    // Canaries on both sides of the output; what scratch held before must not matter.
    if (scratch_bytes) std::memset(scratch, 0xA5, scratch_bytes);
    std::vector<uint8_t> out(plan.output_bytes() + 128, 0xEE);
    thread_local Crew crew;
    plan.run(pixels, out.data() + 64, scratch, threads, crew);
    std::free(scratch);
    for (size_t i = 0; i < 64; ++i) CHECK(out[i] == 0xEE && out[out.size() - 1 - i] == 0xEE);
    return std::vector<uint8_t>(out.begin() + 64, out.end() - 64);
}

std::vector<uint8_t> run(const Plan& plan, const Image& image, int threads = 1) {
    return run(plan, Pixels{{{image.bytes.data(), image.stride}, {}, {}}}, threads);
}

Recipe random_recipe(Random& random) {
    Recipe r;
    r.height = 1 + random.below(90);
    r.width = 1 + random.below(90);
    r.resize = static_cast<Resize>(random.below(kMethods));
    r.fit = static_cast<Fit>(random.below(3));
    r.pillow = 12 + random.below(2);
    r.color = static_cast<Color>(random.below(3));
    r.layout = static_cast<Layout>(random.below(2));
    r.dtype = static_cast<DType>(random.below(2));
    r.pad_value = static_cast<uint8_t>(random.next());
    if (r.dtype == DType::float32) {
        r.has_divisor = random.below(2);
        r.divisor = 127.5f;
        r.scale = random.below(2) ? 1.0f / 255 : 1.0f;
        r.offset = random.below(2) ? -1.0f : 0.0f;
        r.has_mean = random.below(2);
        for (int c = 0; c < 3; ++c) {
            r.mean[c] = 0.1f * static_cast<float>(c + 1);
            r.std[c] = 0.2f * static_cast<float>(c + 1);
        }
    }
    return r;
}

// Any sizes, formats and recipes: nothing outside the buffers is touched and equal input gives equal output.
void anything_runs() {
    Random random{1};
    int ran = 0;
    for (int turn = 0; turn < 4000; ++turn) {
        Source source{1 + random.below(120), 1 + random.below(120), static_cast<Format>(random.below(10))};
        if (is_yuv(source.format)) {
            source.height += source.height % 2;
            source.width += source.width % 2;
        }
        if (random.below(3) == 0) {
            source.region.width = 1 + random.below(source.width);
            source.region.height = 1 + random.below(source.height);
            source.region.x = random.below(source.width - source.region.width + 1);
            source.region.y = random.below(source.height - source.region.height + 1);
        }
        const Recipe r = random_recipe(random);
        const Image image(source, random.below(2) * random.below(40), random);
        try {
            const Plan plan(source, r);
            CHECK(run(plan, image) == run(plan, image));
            ++ran;
        } catch (const std::invalid_argument&) {
            CHECK(r.fit == Fit::pad);
        }
    }
    CHECK(ran > 3000);
}

// A constant image stays constant, whatever the method.
void constant_stays_constant() {
    Random random{2};
    for (int method = 0; method < kMethods; ++method) {
        for (int turn = 0; turn < 60; ++turn) {
            Recipe r;
            r.height = 1 + random.below(60);
            r.width = 1 + random.below(60);
            r.resize = static_cast<Resize>(method);
            r.dtype = DType::uint8;
            Image image(Source{1 + random.below(200), 1 + random.below(200), Format::rgb}, 0, random);
            const uint8_t value = static_cast<uint8_t>(random.next());
            std::memset(image.bytes.data(), value, image.bytes.size());
            bool same = true;
            for (const uint8_t b : run(Plan(image.source, r), image)) same = same && b == value;
            CHECK(same);
        }
    }
}

void rows_may_run_backwards() {
    Random random{3};
    const Image image(Source{40, 30, Format::rgb}, 5, random);
    Image flipped = image;
    for (int y = 0; y < 40; ++y) {
        std::memcpy(&flipped.bytes[y * image.stride], &image.bytes[(39 - y) * image.stride], 90);
    }
    Recipe r;
    r.height = 17;
    r.width = 19;
    const Plan plan(image.source, r);
    std::vector<uint8_t> scratch(plan.scratch_bytes() + 64), out(plan.output_bytes());
    void* aligned = scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64) % 64;
    plan.run(image.bytes.data() + 39 * image.stride, -image.stride, out.data(), aligned);
    CHECK(out == run(plan, flipped));
}

// The planes of a frame in buffers of their own, as cameras give them, each exactly as large as its rows.
struct Planes {
    std::vector<uint8_t> bytes[3];
    Pixels pixels{};

    Planes(const Image& frame, Random& random) {
        const Source& s = frame.source;
        const int half = s.width / 2;
        const auto fill = [&](int plane, int rows, int width, const auto& row_of) {
            const int stride = width + random.below(30);
            std::vector<uint8_t>& to = bytes[plane];
            to.resize(static_cast<size_t>(stride) * (rows - 1) + width);
            to.shrink_to_fit();
            for (int y = 0; y < rows; ++y) std::memcpy(&to[y * stride], row_of(y), width);
            pixels.plane[plane] = {to.data(), stride};
        };
        const auto row = [&frame](int y) { return frame.bytes.data() + y * frame.stride; };
        const auto half_row = [&](int i) { return row(s.height + i / 2) + i % 2 * half; };
        fill(0, s.height, s.width, row);
        if (s.format == Format::i420) {
            fill(1, s.height / 2, half, half_row);
            fill(2, s.height / 2, half, [&](int i) { return half_row(s.height / 2 + i); });
        } else {
            fill(1, s.height / 2, s.width, [&](int i) { return row(s.height + i); });
        }
    }
};

void planes_may_lie_apart() {
    Random random{6};
    for (int turn = 0; turn < 300; ++turn) {
        const Format formats[] = {Format::nv12, Format::nv21, Format::i420};
        const Source source{2 + 2 * random.below(40), 2 + 2 * random.below(40), formats[turn % 3]};
        const Image image(source, random.below(20), random);
        const Planes planes(image, random);
        Recipe r = random_recipe(random);
        r.fit = Fit::stretch;
        const Plan plan(source, r);
        CHECK(run(plan, planes.pixels) == run(plan, image));
    }
}

// Four threads on one Plan at the same time, each of which shares its rows among `each` more.
void threads_share_a_plan(Resize method, const Source& source, int each) {
    Random random{4};
    const Image image(source, 0, random);
    Recipe r;
    r.height = r.width = 64;
    r.resize = method;
    const Plan plan(image.source, r);
    CHECK(plan.threads(each) == each);
    const std::vector<uint8_t> expected = run(plan, image);
    std::vector<std::thread> threads;
    std::vector<int> wrong(4, 0);
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (int turn = 0; turn < 8; ++turn) wrong[t] += run(plan, image, each) != expected;
        });
    }
    for (std::thread& t : threads) t.join();
    for (const int w : wrong) CHECK(w == 0);
}

// Parts of the rows, each by a thread of its own, are the bits of one thread.
void threads_share_an_image() {
    Random random{5};
    int split = 0;
    for (int turn = 0; turn < 60; ++turn) {
        Recipe r = random_recipe(random);
        const Resize methods[] = {Resize::tf_bilinear_antialias, Resize::tf_area, Resize::pil_lanczos,
                                  Resize::pil_box, Resize::cv2_area};
        r.resize = methods[turn % 5];
        const Source source{600 + 2 * random.below(50), 700 + 2 * random.below(50),
                            static_cast<Format>(random.below(10))};
        const Image image(source, random.below(40), random);
        const Plan plan(source, r);
        const int threads = plan.threads(2 + random.below(2));
        if (threads == 1) continue;
        ++split;
        CHECK(run(plan, image, threads) == run(plan, image));
    }
    CHECK(split > 20);
    Recipe small;
    small.height = small.width = 64;
    small.resize = Resize::pil_box;
    CHECK(Plan(Source{200, 200, Format::rgb}, small).threads(8) == 1);
    CHECK(Plan(Source{1080, 1920, Format::rgb}, small).threads(2) == 2);
    small.resize = Resize::tf_bilinear;
    CHECK(Plan(Source{1080, 1920, Format::rgb}, small).threads(2) == 1);
}

bool available(const std::string& name) {
    for (const char* const* n = available_isas(); *n != nullptr; ++n) {
        if (name == *n) return true;
    }
    return false;
}

}  // namespace

int main() {
    const char* wanted = std::getenv("EDGECNN_ISA");
    if (wanted != nullptr && !available(wanted)) {
        std::printf("this CPU or build has no %s\n", wanted);
        return kSkip;
    }
    std::printf("isa: %s\n", isa());
    anything_runs();
    constant_stays_constant();
    rows_may_run_backwards();
    planes_may_lie_apart();
    threads_share_a_plan(Resize::pil_lanczos, Source{300, 200, Format::bgr}, 1);
    threads_share_a_plan(Resize::tf_bilinear_antialias, Source{720, 1280, Format::rgb}, 3);
    threads_share_a_plan(Resize::cv2_area, Source{720, 1280, Format::nv12}, 2);
    threads_share_an_image();
    return check_result();
}
