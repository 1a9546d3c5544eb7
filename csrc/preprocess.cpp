// Plan: checks the sizes, puts the parts of a plan together and lays out the scratch memory.
#include "preprocess.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "plan.hpp"

namespace edgecnn {
namespace {

constexpr size_t kAlign = 64;
// Wide kernels may read (never use) this many bytes past a row of scratch.
constexpr size_t kSlack = 64;

size_t align_up(size_t n) { return (n + kAlign - 1) / kAlign * kAlign; }

void check_side(const char* what, int value, int limit) {
    if (value < 1 || value > limit) {
        throw std::invalid_argument(std::string(what) + " must be 1 to " + std::to_string(limit) +
                                    " pixels, got " + std::to_string(value));
    }
}

// Which byte of a source pixel is red, green, blue.
void source_order(Format f, int order[3]) {
    const bool swapped = f == Format::bgr || f == Format::bgra;
    const bool gray = f == Format::gray;
    order[0] = gray ? 0 : swapped ? 2 : 0;
    order[1] = gray ? 0 : 1;
    order[2] = gray ? 0 : swapped ? 0 : 2;
}

// Pillow: src/libImaging/Convert.c, L24 with rounding. OpenCV: color_rgb.simd.hpp, RGB2Gray<uchar>, 15 bits.
GrayRule gray_rule(Library library, const int order[3]) {
    const int32_t pil[3] = {19595, 38470, 7471};
    const int32_t cv2[3] = {9798, 19235, 3735};
    GrayRule rule{};
    const bool opencv = library == Library::cv2;
    for (int c = 0; c < 3; ++c) rule.weight[order[c]] = opencv ? cv2[c] : pil[c];
    rule.shift = opencv ? 15 : 16;
    rule.round = 1 << (rule.shift - 1);
    return rule;
}

void fill_emit(Plan::State& s) {
    const Recipe& r = s.recipe;
    Emit& e = s.emit;
    int order[3];
    source_order(s.source.format, order);
    e.in_channels = s.channels;
    e.channels = channels_of(r.color);
    for (int c = 0; c < 3; ++c) {
        e.order[c] = s.channels == 1 ? 0 : order[r.color == Color::bgr ? 2 - c : c];
    }
    const ptrdiff_t plane = static_cast<ptrdiff_t>(r.height) * r.width;
    e.pixel_step = r.layout == Layout::nchw ? 1 : e.channels;
    e.plane_step = r.layout == Layout::nchw ? plane : 1;
    e.has_divisor = r.has_divisor;
    e.has_scale = !r.has_divisor && r.scale != 1.0f;
    e.has_offset = r.offset != 0.0f;
    e.has_mean = r.has_mean;
    e.scale = r.scale;
    e.divisor = r.divisor;
    e.offset = r.offset;
    for (int c = 0; c < 3; ++c) {
        e.mean[c] = r.mean[c];
        e.std[c] = r.std[c];
    }
    // The table comes from the float kernel itself, so both ways to the tensor do the same operations.
    s.table.resize(256 * static_cast<size_t>(e.channels));
    float values[256];
    for (int v = 0; v < 256; ++v) values[v] = static_cast<float>(v);
    for (int c = 0; c < e.channels; ++c) {
        Emit one = e;
        one.in_channels = one.channels = 1;
        one.order[0] = 0;
        one.pixel_step = one.plane_step = 1;
        one.mean[0] = e.mean[c];
        one.std[0] = e.std[c];
        scalar_kernels().emit_f32_to_f32(values, 256, one, s.table.data() + 256 * c);
    }
    e.table = s.table.data();
}

void mark_rows(Plan::State& s) {
    s.row_used.assign(s.canvas_height, 0);
    const Axis& y = s.y;
    for (const int32_t i : y.index) s.row_used[i] = 1;
    if (!y.index.empty()) return;
    for (int i = 0; i < y.out; ++i) {
        for (int k = 0; k < y.count[i]; ++k) s.row_used[std::min(y.first[i] + k, y.in - 1)] = 1;
    }
}

// See kLerpX.
void add_pairs(Plan::State& s) {
    if (s.kernels->lerp_exact_emit == nullptr || s.channels == 1) return;
    for (const float w : s.x.weight) {
        if (!whole(w * kLerpX)) return;
    }
    for (const float w : s.y.weight) {
        if (!whole(w * kLerpY)) return;
    }
    for (const float w : s.x.weight) {
        const int right = static_cast<int>(w * kLerpX);
        for (int k = 0; k < 8; ++k) {
            s.pairs.push_back(static_cast<int8_t>(kLerpX - right));
            s.pairs.push_back(static_cast<int8_t>(right));
        }
    }
}

// What the wide kernels need beside the scalar plan.
void add_wide_forms(Plan::State& s) {
    if (s.kind == Kind::pil_window) {
        add_digits(s.x, s.channels, true);
        add_digits(s.y, s.channels, false);
    } else if (s.kind == Kind::nearest) {
        while (s.x.safe < s.x.out && s.x.index[s.x.safe] * s.channels + 4 <= s.x.in * s.channels) ++s.x.safe;
    } else if (s.kind == Kind::tf_lerp || s.kind == Kind::cv_linear) {
        if (s.kind == Kind::tf_lerp) add_pairs(s);
        const int bytes = s.channels == 1 ? 2 : 8;
        while (s.x.safe < s.x.out && s.x.index[2 * s.x.safe] * s.channels + bytes <= s.x.in * s.channels)
            ++s.x.safe;
    } else if (s.kind == Kind::tf_cubic || s.kind == Kind::cv_cubic) {
        const auto fits = [&s](int i) {
            const int32_t* at = &s.x.index[4 * static_cast<size_t>(i)];
            return at[1] == at[0] + 1 && at[2] == at[0] + 2 && at[3] == at[0] + 3 &&
                   at[0] * s.channels + 16 <= s.x.in * s.channels;
        };
        while (s.x.safe_from < s.x.out && !fits(s.x.safe_from)) ++s.x.safe_from;
        s.x.safe = s.x.safe_from;
        while (s.x.safe < s.x.out && fits(s.x.safe)) ++s.x.safe;
    } else if (s.kind == Kind::tf_area || s.kind == Kind::cv_area) {
        const auto fits = [&s](int i) {
            const int steps = (s.x.count[i] + 3) / 4;
            const int end = (s.x.first[i] + 4 * (steps - 1)) * s.channels + 16;
            return end <= s.x.in * s.channels && s.x.first[i] + s.x.count[i] <= s.x.in;
        };
        while (s.x.safe < s.x.out && fits(s.x.safe)) ++s.x.safe;
        if (s.kernels->area_by_fixed && !s.x.fixed.empty()) add_digits(s.x, s.channels, true);
        if (s.x.digits.empty()) s.doubt = 0;
        for (const float w : s.x.weight) s.x.lifted.push_back(w * -8388608.0f);
    }
}

// Of a camera's frame only what the taps touch becomes RGB. Columns that are neighbours stay neighbours.
void keep_used_columns(Plan::State& s) {
    std::vector<int32_t> used = s.x.index;
    std::sort(used.begin(), used.end());
    used.erase(std::unique(used.begin(), used.end()), used.end());
    // Converting all of a row is done 8 columns at a time, about four times as fast.
    if (s.geometry.border_x > 0 || used.empty() || used.size() * 4 > static_cast<size_t>(s.x.in)) return;
    for (int32_t& i : s.x.index) {
        i = static_cast<int32_t>(std::lower_bound(used.begin(), used.end(), i) - used.begin());
    }
    s.canvas_width = s.x.in = static_cast<int>(used.size());
    for (int32_t& i : used) i += s.geometry.x;
    s.columns = std::move(used);
}

void check_source(const Source& s) {
    check_side("source height", s.height, kMaxSourceSide);
    check_side("source width", s.width, kMaxSourceSide);
    if (is_yuv(s.format) && (s.width % 2 != 0 || (is_planar(s.format) && s.height % 2 != 0))) {
        throw std::invalid_argument("a YUV frame has even sides, got " + std::to_string(s.width) + "x" +
                                    std::to_string(s.height));
    }
    const Source::Region& r = s.region;
    if (r.width == 0) return;
    if (r.x < 0 || r.y < 0 || r.width < 1 || r.height < 1 || r.width > s.width - r.x ||
        r.height > s.height - r.y) {
        throw std::invalid_argument("region " + std::to_string(r.width) + "x" + std::to_string(r.height) +
                                    " at " + std::to_string(r.x) + ", " + std::to_string(r.y) +
                                    " is not inside the image of " + std::to_string(s.width) + "x" +
                                    std::to_string(s.height));
    }
}

// Bytes of one resized row, and of the intermediate rows of the methods that have any.
void lay_out_scratch(Plan::State& s) {
    size_t at = 0;
    const size_t row_values = static_cast<size_t>(s.x.out) * s.channels;
    const auto reserve = [&at](size_t bytes) {
        const size_t here = at;
        at += align_up(bytes + kSlack);
        return here;
    };
    if (s.materialise) {
        s.canvas_at = reserve(static_cast<size_t>(s.canvas_height) * s.canvas_width * s.channels);
        s.rgb_at = reserve(static_cast<size_t>(s.canvas_width) * 3);
    }
    // The antialiased tf methods finish several rows at a time.
    const size_t row_floats = s.kind == Kind::tf_window ? kSumRows * (row_values + kSumSlack) : row_values;
    s.row_at = reserve(row_floats * sizeof(float));
    const size_t canvas_row = static_cast<size_t>(s.canvas_width) * s.channels;
    if (s.kind == Kind::pil_window && s.y_first) {
        s.temp_at = reserve(canvas_row);
    } else if (s.kind == Kind::pil_window && !s.x.identity) {
        s.temp_first = s.y.identity ? 0 : *std::min_element(s.y.first.begin(), s.y.first.end());
        int last = s.y.identity ? s.y.out : 0;
        for (int i = 0; !s.y.identity && i < s.y.out; ++i) last = std::max(last, s.y.first[i] + s.y.count[i]);
        s.temp_rows = last - s.temp_first;
        s.temp_stride = static_cast<ptrdiff_t>(align_up(row_values + 16));
        s.temp_at = reserve(static_cast<size_t>(s.temp_rows) * s.temp_stride);
    } else if (s.kind == Kind::tf_window) {
        s.temp_stride = static_cast<ptrdiff_t>(align_up(canvas_row * sizeof(float) + kSlack));
        s.temp_at = reserve((kSumRows + 1) * s.temp_stride);
    } else if (s.kind == Kind::tf_area || s.kind == Kind::cv_area) {
        s.temp_stride = static_cast<ptrdiff_t>(align_up(row_values * sizeof(float) + kSlack));
        s.ring_rows = (s.y.taps + 2 * kAreaBatch - 1) / kAreaBatch * kAreaBatch;
        s.temp_at = reserve(s.ring_rows * s.temp_stride + s.y.taps * kDoubtStep * sizeof(float));
    } else {
        // Up to four int32 rows, with room for a wide store behind each.
        s.temp_stride = static_cast<ptrdiff_t>(align_up((row_values + 4) * sizeof(int32_t)));
        s.temp_at = reserve(4 * s.temp_stride);
    }
    s.scratch = at;
}

}  // namespace

Plan::Plan(const Source& source, const Recipe& recipe, const char* isa) {
    check_source(source);
    check_side("height", recipe.height, kMaxTensorSide);
    check_side("width", recipe.width, kMaxTensorSide);
    if (recipe.pillow != 12 && recipe.pillow != 13) {
        throw std::invalid_argument("pillow must be 12 (and older) or 13, got " +
                                    std::to_string(recipe.pillow));
    }
    auto s = std::make_unique<State>();
    s->source = source;
    s->recipe = recipe;
    s->kernels = &kernels(isa);
    Source part = source;
    const Source::Region& region = source.region;
    if (region.width > 0) {
        part.width = region.width;
        part.height = region.height;
    }
    s->geometry = plan_geometry(part, recipe);
    s->geometry.x += region.x;
    s->geometry.y += region.y;
    const Geometry& g = s->geometry;
    s->canvas_width = g.width + 2 * g.border_x;
    s->canvas_height = g.height + 2 * g.border_y;
    const bool to_gray = recipe.color == Color::gray && source.format != Format::gray;
    s->channels = to_gray ? 1 : is_yuv(source.format) ? 3 : channels_of(source.format);
    s->materialise = to_gray || is_yuv(source.format) || g.border_x > 0 || g.border_y > 0;
    if (to_gray) {
        int order[3];
        source_order(source.format, order);
        s->gray = gray_rule(library_of(recipe.resize), order);
    }
    s->x.in = s->canvas_width;
    s->y.in = s->canvas_height;
    s->x.out = g.out_width;
    s->y.out = g.out_height;
    switch (library_of(recipe.resize)) {
        case Library::tf:
            plan_tf(*s);
            break;
        case Library::pil:
            plan_pil(*s);
            break;
        case Library::cv2:
            plan_cv2(*s);
            break;
    }
    if (is_yuv(source.format)) keep_used_columns(*s);
    add_wide_forms(*s);
    fill_emit(*s);
    mark_rows(*s);
    lay_out_scratch(*s);
    state_ = std::move(s);
}

Plan::~Plan() = default;

size_t Plan::scratch_bytes() const { return state_->scratch; }

size_t Plan::output_bytes() const {
    const Recipe& r = state_->recipe;
    return static_cast<size_t>(r.height) * r.width * channels_of(r.color) *
           (r.dtype == DType::uint8 ? 1 : sizeof(float));
}

const Source& Plan::source() const { return state_->source; }

const Recipe& Plan::recipe() const { return state_->recipe; }

int Plan::threads(int wanted) const {
    // The kinds that read all of the source, which takes 0.1 to 0.4 ns a byte (AVX2, measured); the others
    // are done in less than a thread takes to start.
    const State& s = *state_;
    const bool reads_all = s.kind == Kind::pil_window || s.kind == Kind::tf_window ||
                           s.kind == Kind::tf_area || s.kind == Kind::cv_area;
    constexpr int64_t kBytesEach = 1 << 19;
    const int64_t bytes = static_cast<int64_t>(s.canvas_height) * s.canvas_width * s.channels;
    if (wanted < 2 || !reads_all || bytes < 2 * kBytesEach) return 1;
    return static_cast<int>(std::min<int64_t>({wanted, bytes / kBytesEach, s.y.out}));
}

void Plan::run(const Pixels& pixels, void* out, void* scratch) const {
    run_rows(*state_, pixels, out, scratch, 1, nullptr);
}

void Plan::run(const Pixels& pixels, void* out, void* scratch, int threads, Crew& crew) const {
    run_rows(*state_, pixels, out, scratch, threads, &crew);
}

}  // namespace edgecnn
