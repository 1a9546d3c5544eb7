// Plan: checks the sizes, lays out the scratch memory, and runs the rows through the kernels.
#include "preprocess.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

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

// What the wide kernels need beside the scalar plan.
void add_wide_forms(Plan::State& s) {
    if (s.kind == Kind::pil_window) {
        add_digits(s.x, s.channels, true);
        add_digits(s.y, s.channels, false);
    } else if (s.kind == Kind::nearest) {
        while (s.x.safe < s.x.out && s.x.index[s.x.safe] * s.channels + 4 <= s.x.in * s.channels) ++s.x.safe;
    } else if (s.kind == Kind::tf_lerp || s.kind == Kind::cv_linear) {
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
    }
    s.row_at = reserve(row_values * sizeof(float));
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
        s.temp_at = reserve(2 * s.temp_stride);
    } else if (s.kind == Kind::tf_area || s.kind == Kind::cv_area) {
        s.temp_stride = static_cast<ptrdiff_t>(align_up(row_values * sizeof(float) + kSlack));
        s.ring_rows = s.y.taps + 1;
        s.temp_at = reserve(s.ring_rows * s.temp_stride);
    } else {
        // Up to four int32 rows, with room for a wide store behind each.
        s.temp_stride = static_cast<ptrdiff_t>(align_up((row_values + 4) * sizeof(int32_t)));
        s.temp_at = reserve(4 * s.temp_stride);
    }
    s.scratch = at;
}

// What the resize reads: rows of canvas_width * channels bytes.
struct View {
    const uint8_t* data;
    ptrdiff_t stride;

    const uint8_t* row(int y) const { return data + y * stride; }
};

// Writes the resized rows of one image into its tensor.
struct Sink {
    const Plan::State& s;
    uint8_t* out;

    size_t item() const { return s.recipe.dtype == DType::uint8 ? 1 : sizeof(float); }

    uint8_t* at(int y) const {
        const ptrdiff_t pixel =
            static_cast<ptrdiff_t>(s.geometry.out_y + y) * s.recipe.width + s.geometry.out_x;
        return out + pixel * s.emit.pixel_step * static_cast<ptrdiff_t>(item());
    }
    void row(int y, const uint8_t* values) const {
        if (s.recipe.dtype == DType::uint8) {
            s.kernels->emit_u8_to_u8(values, s.x.out, s.emit, at(y));
        } else {
            s.kernels->emit_u8_to_f32(values, s.x.out, s.emit, reinterpret_cast<float*>(at(y)));
        }
    }
    void row(int y, const float* values) const {
        if (s.recipe.dtype == DType::uint8) {
            s.kernels->emit_f32_to_u8(values, s.x.out, s.emit, at(y));
        } else {
            s.kernels->emit_f32_to_f32(values, s.x.out, s.emit, reinterpret_cast<float*>(at(y)));
        }
    }
    // The tensor's row itself, where rows are interleaved float32: a kernel may write it in one go.
    float* direct(int y) const {
        const bool interleaved = s.recipe.dtype == DType::float32 && s.emit.plane_step == 1;
        return interleaved ? reinterpret_cast<float*>(at(y)) : nullptr;
    }
    // Pillow's padding: the whole tensor in the border's colour.
    void fill() const {
        const size_t pixels = static_cast<size_t>(s.recipe.height) * s.recipe.width;
        for (int c = 0; c < s.emit.channels; ++c) {
            uint8_t* plane = out + c * s.emit.plane_step * static_cast<ptrdiff_t>(item());
            for (size_t i = 0; i < pixels; ++i) {
                if (s.recipe.dtype == DType::uint8) {
                    plane[i * s.emit.pixel_step] = s.recipe.pad_value;
                } else {
                    reinterpret_cast<float*>(plane)[i * s.emit.pixel_step] =
                        s.table[256 * c + s.recipe.pad_value];
                }
            }
        }
    }
};

// The used rows of the canvas: source pixels as they are or as gray, inside the border.
void materialise(const Plan::State& s, const View& part, uint8_t* canvas) {
    const Geometry& g = s.geometry;
    const size_t row_bytes = static_cast<size_t>(s.canvas_width) * s.channels;
    const int source_channels = channels_of(s.source.format);
    for (int y = 0; y < s.canvas_height; ++y, canvas += row_bytes) {
        if (!s.row_used[y]) continue;
        const int from = y - g.border_y;
        if (from < 0 || from >= g.height) {
            std::memset(canvas, s.recipe.pad_value, row_bytes);
            continue;
        }
        const size_t border = static_cast<size_t>(g.border_x) * s.channels;
        const size_t inside = static_cast<size_t>(g.width) * s.channels;
        std::memset(canvas, s.recipe.pad_value, border);
        std::memset(canvas + border + inside, s.recipe.pad_value, border);
        if (source_channels == s.channels) {
            std::memcpy(canvas + border, part.row(from), inside);
        } else {
            s.kernels->gray_row(part.row(from), g.width, source_channels, s.gray, canvas + border);
        }
    }
}

void run_nearest(const Plan::State& s, const View& in, const Sink& sink, uint8_t* row) {
    for (int y = 0; y < s.y.out; ++y) {
        if (float* const out = sink.direct(y)) {
            s.kernels->nearest_emit(in.row(s.y.index[y]), s.x.index.data(), s.x.safe, s.x.out, s.emit, out);
            continue;
        }
        s.kernels->nearest_row(in.row(s.y.index[y]), s.x.index.data(), s.x.out, s.channels, row);
        sink.row(y, row);
    }
}

void run_tf_lerp(const Plan::State& s, const View& in, const Sink& sink, float* row) {
    for (int y = 0; y < s.y.out; ++y) {
        if (float* const out = sink.direct(y)) {
            s.kernels->lerp_emit(in.row(s.y.index[2 * y]), in.row(s.y.index[2 * y + 1]), s.x.index.data(),
                                 s.x.weight.data(), s.y.weight[y], s.x.safe, s.x.out, s.emit, out);
            continue;
        }
        s.kernels->lerp_row(in.row(s.y.index[2 * y]), in.row(s.y.index[2 * y + 1]), s.x.index.data(),
                            s.x.weight.data(), s.y.weight[y], s.x.safe, s.x.out, s.channels, row);
        sink.row(y, row);
    }
}

void run_pil_window(const Plan::State& s, const View& in, const Sink& sink, uint8_t* row, uint8_t* temp) {
    const int n = s.x.out * s.channels;
    const Windows x = s.x.windows(), y = s.y.windows();
    if (s.y_first) {
        for (int i = 0; i < s.y.out; ++i) {
            s.kernels->pil_vertical(in.row(s.y.first[i]), in.stride, y, i, s.x.in * s.channels, temp);
            s.kernels->pil_horizontal(temp, 0, 1, x, s.channels, row, 0);
            sink.row(i, row);
        }
        return;
    }
    View between = in;
    if (!s.x.identity) {
        s.kernels->pil_horizontal(in.row(s.temp_first), in.stride, s.temp_rows, x, s.channels, temp,
                                  s.temp_stride);
        between = View{temp - s.temp_first * s.temp_stride, s.temp_stride};
    }
    for (int i = 0; i < s.y.out; ++i) {
        if (s.y.identity) {
            sink.row(i, between.row(i));
            continue;
        }
        s.kernels->pil_vertical(between.row(s.y.first[i]), between.stride, y, i, n, row);
        sink.row(i, row);
    }
}

void run_cv_linear(const Plan::State& s, const View& in, const Sink& sink, uint8_t* row, int32_t* temp) {
    const int n = s.x.out * s.channels;
    const ptrdiff_t step = s.temp_stride / static_cast<ptrdiff_t>(sizeof(int32_t));
    int32_t* sums[2] = {temp, temp + step};
    int held[2] = {-1, -1};
    for (int y = 0; y < s.y.out; ++y) {
        const int32_t* need = &s.y.index[2 * y];
        if (held[1] == need[0]) {
            std::swap(sums[0], sums[1]);
            std::swap(held[0], held[1]);
        }
        for (int k = 0; k < 2; ++k) {
            if (held[k] == need[k]) continue;
            s.kernels->cv_horizontal(in.row(need[k]), s.x.index.data(), s.x.fixed.data(), s.x.safe, s.x.out,
                                     s.channels, sums[k]);
            held[k] = need[k];
        }
        s.kernels->cv_vertical(sums[0], sums[1], s.y.fixed[2 * y], s.y.fixed[2 * y + 1], n, row);
        sink.row(y, row);
    }
}

void run_cv_cubic(const Plan::State& s, const View& in, const Sink& sink, uint8_t* row, int32_t* temp) {
    const int n = s.x.out * s.channels;
    const ptrdiff_t step = s.temp_stride / static_cast<ptrdiff_t>(sizeof(int32_t));
    int32_t* sums[4] = {temp, temp + step, temp + 2 * step, temp + 3 * step};
    int held[4] = {-1, -1, -1, -1};
    for (int y = 0; y < s.y.out; ++y) {
        const int32_t* need = &s.y.index[4 * y];
        for (int k = 0; k < 4; ++k) {
            for (int j = k; j < 4; ++j) {
                if (held[j] != need[k]) continue;
                std::swap(held[j], held[k]);
                std::swap(sums[j], sums[k]);
                break;
            }
            if (held[k] == need[k]) continue;
            s.kernels->cv_cubic_horizontal(in.row(need[k]), s.x.index.data(), s.x.fixed.data(), s.x.safe_from,
                                           s.x.safe, s.x.out, s.channels, sums[k]);
            held[k] = need[k];
        }
        s.kernels->cv_cubic_vertical(sums, &s.y.fixed[4 * y], n, row);
        sink.row(y, row);
    }
}

void run_cv_box(const Plan::State& s, const View& in, const Sink& sink, uint8_t* row) {
    for (int y = 0; y < s.y.out; ++y) {
        s.kernels->cv_box_row(in.row(s.y.first[y]), in.stride, s.x.taps, s.y.taps, s.x.out, s.channels, row);
        sink.row(y, row);
    }
}

// Rows are read once for the two outputs that overlap in them: from where the next window starts, each row
// also goes into that window's sum. Rows outside a window have weight 0 there, which changes no sum.
void run_tf_window(const Plan::State& s, const View& in, const Sink& sink, float* row, uint8_t* temp) {
    const int n = s.x.in * s.channels;
    const Windows x = s.x.windows();
    const auto weight = [&s](int i, int source_row) {
        return s.y.weight.data() + static_cast<size_t>(i) * s.y.taps + (source_row - s.y.first[i]);
    };
    float* sum = reinterpret_cast<float*>(temp);
    float* next_sum = reinterpret_cast<float*>(temp + s.temp_stride);
    std::memset(sum, 0, n * sizeof(float));
    int from = s.y.first[0];  // source rows of window i below are already in sum
    for (int i = 0; i < s.y.out; ++i) {
        const int end = s.y.first[i] + s.y.count[i];
        // Rows shared..both go into both sums. They end where window i + 2 begins, so that it can be shared
        // too.
        int shared = end, both = end;
        if (i + 1 < s.y.out && s.y.first[i + 1] >= from) {
            shared = std::min(s.y.first[i + 1], end);
            both = std::min(end, s.y.first[i + 1] + s.y.count[i + 1]);
            if (i + 2 < s.y.out) both = std::min(both, s.y.first[i + 2]);
            both = std::max(both, shared);
        }
        const auto add = [&](int first, int last, bool to_next) {
            if (last <= first) return;
            s.kernels->tf_vertical(in.row(first), in.stride, last - first, weight(i, first),
                                   to_next ? weight(i + 1, first) : nullptr, n, sum,
                                   to_next ? next_sum : nullptr);
        };
        std::memset(next_sum, 0, n * sizeof(float));
        add(from, shared, false);
        add(shared, both, true);
        add(both, end, false);
        if (i + 1 < s.y.out) from = both > shared ? both : s.y.first[i + 1];
        s.kernels->tf_horizontal(sum, x, s.channels, row);
        sink.row(i, row);
        std::swap(sum, next_sum);
    }
}

void run_tf_cubic(const Plan::State& s, const View& in, const Sink& sink, float* row) {
    for (int y = 0; y < s.y.out; ++y) {
        const uint8_t* rows[4];
        for (int k = 0; k < 4; ++k) rows[k] = in.row(s.y.index[4 * y + k]);
        s.kernels->tf_cubic_row(rows, &s.y.weight[4 * y], s.x.index.data(), s.x.weight.data(), s.x.safe_from,
                                s.x.safe, s.x.out, s.channels, row);
        sink.row(y, row);
    }
}

// Both libraries: sums along each row, then over the rows. TensorFlow scales the float sum, OpenCV rounds it.
void run_area(const Plan::State& s, const View& in, const Sink& sink, float* row, uint8_t* temp) {
    const int n = s.x.out * s.channels;
    const Windows x = s.x.windows();
    const auto sums = [&](int source_row) {
        return reinterpret_cast<float*>(temp + source_row % s.ring_rows * s.temp_stride);
    };
    int done = 0;  // source rows below are summed along x
    for (int y = 0; y < s.y.out; ++y) {
        const int end = std::min(s.y.first[y] + s.y.count[y], s.y.in);
        for (int from = std::max(done, s.y.first[y]); from < end;) {
            const int rows = std::min(end - from, s.ring_rows - from % s.ring_rows);
            s.kernels->area_horizontal(in.row(from), in.stride, rows, x, s.x.safe, s.channels, sums(from),
                                       s.temp_stride / static_cast<ptrdiff_t>(sizeof(float)));
            from += rows;
        }
        done = std::max(done, end);
        for (int k = 0; k < s.y.count[y]; ++k) {
            const int from = std::min(s.y.first[y] + k, s.y.in - 1);
            s.kernels->area_add(sums(from), s.y.weight[static_cast<size_t>(y) * s.y.taps + k], k == 0, n,
                                row);
        }
        if (s.kind == Kind::tf_area) {
            s.kernels->scale_row(row, s.area_scale, n);
            sink.row(y, row);
        } else {
            uint8_t* const bytes = reinterpret_cast<uint8_t*>(row);
            s.kernels->round_row(row, n, bytes);
            sink.row(y, bytes);
        }
    }
}

}  // namespace

Plan::Plan(const Source& source, const Recipe& recipe) {
    check_side("source height", source.height, kMaxSourceSide);
    check_side("source width", source.width, kMaxSourceSide);
    check_side("height", recipe.height, kMaxTensorSide);
    check_side("width", recipe.width, kMaxTensorSide);
    auto s = std::make_unique<State>();
    s->source = source;
    s->recipe = recipe;
    s->kernels = &kernels();
    s->geometry = plan_geometry(source, recipe);
    const Geometry& g = s->geometry;
    s->canvas_width = g.width + 2 * g.border_x;
    s->canvas_height = g.height + 2 * g.border_y;
    const bool to_gray = recipe.color == Color::gray && source.format != Format::gray;
    s->channels = to_gray ? 1 : channels_of(source.format);
    s->materialise = to_gray || g.border_x > 0 || g.border_y > 0;
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

void Plan::run(const uint8_t* pixels, ptrdiff_t row_stride, void* out, void* scratch) const {
    const State& s = *state_;
    const Geometry& g = s.geometry;
    uint8_t* const memory = static_cast<uint8_t*>(scratch);
    View in{pixels + g.y * row_stride + static_cast<ptrdiff_t>(g.x) * channels_of(s.source.format),
            row_stride};
    if (s.materialise) {
        materialise(s, in, memory + s.canvas_at);
        in = View{memory + s.canvas_at, static_cast<ptrdiff_t>(s.canvas_width) * s.channels};
    }
    const Sink sink{s, static_cast<uint8_t*>(out)};
    if (g.out_width != s.recipe.width || g.out_height != s.recipe.height) sink.fill();
    uint8_t* const row = memory + s.row_at;
    uint8_t* const temp = memory + s.temp_at;
    float* const float_row = reinterpret_cast<float*>(row);
    int32_t* const int_temp = reinterpret_cast<int32_t*>(temp);
    switch (s.kind) {
        case Kind::nearest:
            return run_nearest(s, in, sink, row);
        case Kind::tf_lerp:
            return run_tf_lerp(s, in, sink, float_row);
        case Kind::tf_window:
            return run_tf_window(s, in, sink, float_row, temp);
        case Kind::tf_cubic:
            return run_tf_cubic(s, in, sink, float_row);
        case Kind::pil_window:
            return run_pil_window(s, in, sink, row, temp);
        case Kind::cv_linear:
            return run_cv_linear(s, in, sink, row, int_temp);
        case Kind::cv_cubic:
            return run_cv_cubic(s, in, sink, row, int_temp);
        case Kind::cv_box:
            return run_cv_box(s, in, sink, row);
        case Kind::tf_area:
        case Kind::cv_area:
            return run_area(s, in, sink, float_row, temp);
    }
}

}  // namespace edgecnn
