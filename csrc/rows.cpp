// One image through its plan: source rows, a resize a row at a time, the tensor's rows.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "plan.hpp"

namespace edgecnn {
namespace {

// What the resize reads: rows of canvas_width * channels bytes.
struct View {
    const uint8_t* data;
    ptrdiff_t stride;

    const uint8_t* row(int y) const { return data + y * stride; }
};

// Rows begin .. end - 1 of the resized image.
struct Part {
    int begin, end;
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

// The part of the first plane that is resized.
View view_of(const Plan::State& s, const Pixels& pixels) {
    const Geometry& g = s.geometry;
    const auto [first, stride] = pixels.plane[0];
    return {first + g.y * stride + static_cast<ptrdiff_t>(g.x) * channels_of(s.source.format), stride};
}

YuvRow yuv_row(const Source& source, const Pixels& pixels, int y) {
    const auto row_of = [&pixels](int plane, int i) {
        return pixels.plane[plane].first + i * pixels.plane[plane].stride;
    };
    const uint8_t* const row = row_of(0, y);
    if (source.format == Format::yuyv) return {row, row + 1, row + 3, 2, 4};
    if (source.format == Format::uyvy) return {row + 1, row, row + 2, 2, 4};
    const bool apart = pixels.plane[1].first != nullptr;
    if (source.format == Format::i420) {
        if (apart) return {row, row_of(1, y / 2), row_of(2, y / 2), 1, 1};
        // Rows of half the width, two in a row of the array; those of v follow those of u.
        const auto half_row = [&](int i) {
            return row_of(0, source.height + i / 2) + i % 2 * (source.width / 2);
        };
        return {row, half_row(y / 2), half_row(source.height / 2 + y / 2), 1, 1};
    }
    const uint8_t* const pairs = apart ? row_of(1, y / 2) : row_of(0, source.height + y / 2);
    const int u = source.format == Format::nv12 ? 0 : 1;
    return {row, pairs + u, pairs + 1 - u, 1, 2};
}

// The canvas rows that a part is made of.
Part rows_for(const Plan::State& s, Part part) {
    const Axis& y = s.y;
    Part rows{y.in, 0};
    const auto add = [&rows](int first, int last) {
        rows.begin = std::min(rows.begin, first);
        rows.end = std::max(rows.end, last + 1);
    };
    for (int i = part.begin; i < part.end; ++i) {
        if (y.index.empty()) {
            add(std::min(y.first[i], y.in - 1), std::min(y.first[i] + y.count[i], y.in) - 1);
        } else {
            for (int k = 0; k < y.taps; ++k) add(y.index[i * y.taps + k], y.index[i * y.taps + k]);
        }
    }
    return rows;
}

// The used rows of the canvas: source pixels as they are, as RGB or as gray, inside the border.
void materialise(const Plan::State& s, Part rows, const Pixels& pixels, uint8_t* canvas, uint8_t* rgb) {
    const Geometry& g = s.geometry;
    const View part = view_of(s, pixels);
    const bool yuv = is_yuv(s.source.format);
    const int width = s.columns.empty() ? g.width : s.canvas_width;
    const int32_t* const columns = s.columns.empty() ? nullptr : s.columns.data();
    const size_t row_bytes = static_cast<size_t>(s.canvas_width) * s.channels;
    const int source_channels = channels_of(s.source.format);
    canvas += rows.begin * row_bytes;
    for (int y = rows.begin; y < rows.end; ++y, canvas += row_bytes) {
        if (!s.row_used[y]) continue;
        const int from = y - g.border_y;
        if (from < 0 || from >= g.height) {
            std::memset(canvas, s.recipe.pad_value, row_bytes);
            continue;
        }
        const size_t border = static_cast<size_t>(g.border_x) * s.channels;
        const size_t inside = static_cast<size_t>(width) * s.channels;
        std::memset(canvas, s.recipe.pad_value, border);
        std::memset(canvas + border + inside, s.recipe.pad_value, border);
        if (yuv) {
            uint8_t* const to = s.channels == 3 ? canvas + border : rgb;
            s.kernels->yuv_row(yuv_row(s.source, pixels, g.y + from), g.x, columns, width, to);
            if (s.channels == 1) s.kernels->gray_row(rgb, width, 3, s.gray, canvas + border);
        } else if (source_channels == s.channels) {
            std::memcpy(canvas + border, part.row(from), inside);
        } else {
            s.kernels->gray_row(part.row(from), width, source_channels, s.gray, canvas + border);
        }
    }
}

void run_nearest(const Plan::State& s, Part part, const View& in, const Sink& sink, uint8_t* row) {
    for (int y = part.begin; y < part.end; ++y) {
        if (float* const out = sink.direct(y)) {
            s.kernels->nearest_emit(in.row(s.y.index[y]), s.x.index.data(), s.x.safe, s.x.out, s.emit, out);
            continue;
        }
        s.kernels->nearest_row(in.row(s.y.index[y]), s.x.index.data(), s.x.out, s.channels, row);
        sink.row(y, row);
    }
}

void run_tf_lerp(const Plan::State& s, Part part, const View& in, const Sink& sink, float* row) {
    for (int y = part.begin; y < part.end; ++y) {
        const uint8_t *top = in.row(s.y.index[2 * y]), *bottom = in.row(s.y.index[2 * y + 1]);
        const float weight = s.y.weight[y];
        if (float* const out = sink.direct(y)) {
            const int exact = s.pairs.empty() ? 0 : s.x.safe / 2 * 2;
            if (exact > 0) {
                s.kernels->lerp_exact_emit(top, bottom, s.x.index.data(), s.pairs.data(),
                                           static_cast<int>(weight * kLerpY), exact, s.emit, out);
            }
            if (exact == s.x.out) continue;
            s.kernels->lerp_emit(top, bottom, s.x.index.data() + 2 * exact, s.x.weight.data() + exact, weight,
                                 s.x.safe - exact, s.x.out - exact, s.emit, out + exact * s.emit.pixel_step);
            continue;
        }
        s.kernels->lerp_row(top, bottom, s.x.index.data(), s.x.weight.data(), weight, s.x.safe, s.x.out,
                            s.channels, row);
        sink.row(y, row);
    }
}

void run_pil_window(const Plan::State& s, Part part, const View& in, const Sink& sink, uint8_t* row,
                    uint8_t* temp) {
    const int n = s.x.out * s.channels;
    const Windows x = s.x.windows(), y = s.y.windows();
    if (s.y_first) {
        for (int i = part.begin; i < part.end; ++i) {
            s.kernels->pil_vertical(in.row(s.y.first[i]), in.stride, y, i, s.x.in * s.channels, temp);
            s.kernels->pil_horizontal(temp, 0, 1, x, s.channels, row, 0);
            sink.row(i, row);
        }
        return;
    }
    View between = in;
    if (!s.x.identity) {
        Part rows{s.temp_first, s.temp_first + s.temp_rows};
        if (part.end - part.begin < s.y.out) rows = s.y.identity ? part : rows_for(s, part);
        s.kernels->pil_horizontal(in.row(rows.begin), in.stride, rows.end - rows.begin, x, s.channels, temp,
                                  s.temp_stride);
        between = View{temp - rows.begin * s.temp_stride, s.temp_stride};
    }
    for (int i = part.begin; i < part.end; ++i) {
        if (s.y.identity) {
            sink.row(i, between.row(i));
            continue;
        }
        s.kernels->pil_vertical(between.row(s.y.first[i]), between.stride, y, i, n, row);
        sink.row(i, row);
    }
}

void run_cv_linear(const Plan::State& s, Part part, const View& in, const Sink& sink, uint8_t* row,
                   int32_t* temp) {
    const int n = s.x.out * s.channels;
    const ptrdiff_t step = s.temp_stride / static_cast<ptrdiff_t>(sizeof(int32_t));
    int32_t* sums[2] = {temp, temp + step};
    int held[2] = {-1, -1};
    for (int y = part.begin; y < part.end; ++y) {
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

void run_cv_cubic(const Plan::State& s, Part part, const View& in, const Sink& sink, uint8_t* row,
                  int32_t* temp) {
    const int n = s.x.out * s.channels;
    const ptrdiff_t step = s.temp_stride / static_cast<ptrdiff_t>(sizeof(int32_t));
    int32_t* sums[4] = {temp, temp + step, temp + 2 * step, temp + 3 * step};
    int held[4] = {-1, -1, -1, -1};
    for (int y = part.begin; y < part.end; ++y) {
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

void run_cv_box(const Plan::State& s, Part part, const View& in, const Sink& sink, uint8_t* row) {
    for (int y = part.begin; y < part.end; ++y) {
        s.kernels->cv_box_row(in.row(s.y.first[y]), in.stride, s.x.taps, s.y.taps, s.x.out, s.channels, row);
        sink.row(y, row);
    }
}

// Rows are read once for the two outputs that overlap in them: from where the next window starts, each row
// also goes into that window's sum. Rows outside a window have weight 0 there, which changes no sum.
void run_tf_window(const Plan::State& s, Part part, const View& in, const Sink& sink, float* row,
                   uint8_t* temp) {
    const int n = s.x.in * s.channels;
    const ptrdiff_t row_step = s.x.out * s.channels + kSumSlack;
    const Windows x = s.x.windows();
    const auto weight = [&s](int i, int source_row) {
        return s.y.weight.data() + static_cast<size_t>(i) * s.y.taps + (source_row - s.y.first[i]);
    };
    // Finished sums, the one in progress, and the next.
    float* sums[kSumRows + 1];
    for (int k = 0; k <= kSumRows; ++k) sums[k] = reinterpret_cast<float*>(temp + k * s.temp_stride);
    int finished = 0;
    std::memset(sums[0], 0, n * sizeof(float));
    int from = s.y.first[part.begin];  // source rows of window i below are already in sum
    for (int i = part.begin; i < part.end; ++i) {
        const int end = s.y.first[i] + s.y.count[i];
        // Rows shared..both go into both sums. They end where window i + 2 begins, so that it can be shared
        // too.
        int shared = end, both = end;
        if (i + 1 < part.end && s.y.first[i + 1] >= from) {
            shared = std::min(s.y.first[i + 1], end);
            both = std::min(end, s.y.first[i + 1] + s.y.count[i + 1]);
            if (i + 2 < part.end) both = std::min(both, s.y.first[i + 2]);
            both = std::max(both, shared);
        }
        float *const sum = sums[finished], *const next_sum = sums[finished + 1];
        const auto add = [&](int first, int last, bool to_next) {
            if (last <= first) return;
            s.kernels->tf_vertical(in.row(first), in.stride, last - first, weight(i, first),
                                   to_next ? weight(i + 1, first) : nullptr, n, sum,
                                   to_next ? next_sum : nullptr);
        };
        if (both == shared) std::memset(next_sum, 0, n * sizeof(float));
        add(from, shared, false);
        add(shared, both, true);
        add(both, end, false);
        if (i + 1 < part.end) from = both > shared ? both : s.y.first[i + 1];
        if (++finished < kSumRows && i + 1 < part.end) continue;
        s.kernels->tf_horizontal(sums, finished, x, s.channels, row, row_step);
        for (int k = 0; k < finished; ++k) sink.row(i + 1 - finished + k, row + k * row_step);
        std::swap(sums[0], sums[finished]);
        finished = 0;
    }
}

void run_tf_cubic(const Plan::State& s, Part part, const View& in, const Sink& sink, float* row) {
    for (int y = part.begin; y < part.end; ++y) {
        const uint8_t* rows[4];
        for (int k = 0; k < 4; ++k) rows[k] = in.row(s.y.index[4 * y + k]);
        s.kernels->tf_cubic_row(rows, &s.y.weight[4 * y], s.x.index.data(), s.x.weight.data(), s.x.safe_from,
                                s.x.safe, s.x.out, s.channels, row);
        sink.row(y, row);
    }
}

// Output i alone, by the float32 weights.
Windows one_window(const Axis& a, int i) {
    Windows w = a.windows();
    w.out = 1;
    w.first += i;
    w.count += i;
    w.weight += static_cast<ptrdiff_t>(i) * w.taps;
    w.lifted += static_cast<ptrdiff_t>(i) * w.taps;
    w.digits = nullptr;
    return w;
}

// Values of row y of cv_area that lie so close to a half that only OpenCV's own order of sums can tell where
// they round to: their windows again, without the fixed-point weights.
void settle_doubts(const Plan::State& s, int y, const View& in, float* row, float* sums) {
    const int count = s.y.count[y];
    const float* const weight = s.y.weight.data() + static_cast<size_t>(y) * s.y.taps;
    // Without a branch, which noise would mispredict.
    const auto doubtful = [&s](float v) {
        return static_cast<int>(std::fabs(v - static_cast<float>(static_cast<int>(v)) - 0.5f) <= s.doubt);
    };
    int doubts = 0;
    for (int i = 0; i < s.x.out * s.channels; ++i) doubts += doubtful(row[i]);
    for (int i = 0; i < s.x.out && doubts > 0; ++i) {
        float* const pixel = row + static_cast<ptrdiff_t>(i) * s.channels;
        int here = 0;
        for (int c = 0; c < s.channels; ++c) here += doubtful(pixel[c]);
        doubts -= here;
        if (here == 0) continue;
        const Windows one = one_window(s.x, i);
        s.kernels->area_horizontal(in.row(s.y.first[y]), in.stride, count, one, i < s.x.safe, s.channels,
                                   sums, kDoubtStep);
        for (int k = 0; k < count; ++k)
            s.kernels->area_add(sums + k * kDoubtStep, weight[k], k == 0, s.channels, pixel);
    }
}

// Both libraries: sums along each row, then over the rows. TensorFlow scales the float sum, OpenCV rounds it.
void run_area(const Plan::State& s, Part part, const View& in, const Sink& sink, float* row, uint8_t* temp) {
    const int n = s.x.out * s.channels;
    const Windows x = s.x.windows();
    const Part rows = rows_for(s, part);
    const auto sums = [&](int source_row) {
        return reinterpret_cast<float*>(temp + (source_row - rows.begin) % s.ring_rows * s.temp_stride);
    };
    float* const doubts = reinterpret_cast<float*>(temp + s.ring_rows * s.temp_stride);
    int done = rows.begin;  // source rows below are summed along x
    for (int y = part.begin; y < part.end; ++y) {
        const int end = std::min(s.y.first[y] + s.y.count[y], s.y.in);
        while (done < end) {
            const int batch = std::min(kAreaBatch, rows.end - done);
            s.kernels->area_horizontal(in.row(done), in.stride, batch, x, s.x.safe, s.channels, sums(done),
                                       s.temp_stride / static_cast<ptrdiff_t>(sizeof(float)));
            done += batch;
        }
        for (int k = 0; k < s.y.count[y]; ++k) {
            const int from = std::min(s.y.first[y] + k, s.y.in - 1);
            s.kernels->area_add(sums(from), s.y.weight[static_cast<size_t>(y) * s.y.taps + k], k == 0, n,
                                row);
        }
        if (s.kind == Kind::tf_area) {
            s.kernels->scale_row(row, s.area_scale, n);
            sink.row(y, row);
        } else {
            if (s.doubt > 0) settle_doubts(s, y, in, row, doubts);
            uint8_t* const bytes = reinterpret_cast<uint8_t*>(row);
            s.kernels->round_row(row, n, bytes);
            sink.row(y, bytes);
        }
    }
}

void run_part(const Plan::State& s, Part part, const Pixels& pixels, const Sink& sink, uint8_t* memory) {
    View in = view_of(s, pixels);
    if (s.materialise) {
        const bool all = part.end - part.begin == s.y.out;
        const Part rows = all ? Part{0, s.canvas_height} : rows_for(s, part);
        materialise(s, rows, pixels, memory + s.canvas_at, memory + s.rgb_at);
        in = View{memory + s.canvas_at, static_cast<ptrdiff_t>(s.canvas_width) * s.channels};
    }
    uint8_t* const row = memory + s.row_at;
    uint8_t* const temp = memory + s.temp_at;
    float* const float_row = reinterpret_cast<float*>(row);
    int32_t* const int_temp = reinterpret_cast<int32_t*>(temp);
    switch (s.kind) {
        case Kind::nearest:
            return run_nearest(s, part, in, sink, row);
        case Kind::tf_lerp:
            return run_tf_lerp(s, part, in, sink, float_row);
        case Kind::tf_window:
            return run_tf_window(s, part, in, sink, float_row, temp);
        case Kind::tf_cubic:
            return run_tf_cubic(s, part, in, sink, float_row);
        case Kind::pil_window:
            return run_pil_window(s, part, in, sink, row, temp);
        case Kind::cv_linear:
            return run_cv_linear(s, part, in, sink, row, int_temp);
        case Kind::cv_cubic:
            return run_cv_cubic(s, part, in, sink, row, int_temp);
        case Kind::cv_box:
            return run_cv_box(s, part, in, sink, row);
        case Kind::tf_area:
        case Kind::cv_area:
            return run_area(s, part, in, sink, float_row, temp);
    }
}

}  // namespace

void run_rows(const Plan::State& s, const Pixels& pixels, void* out, void* scratch, int threads, Crew* crew) {
    const Geometry& g = s.geometry;
    const Sink sink{s, static_cast<uint8_t*>(out)};
    if (g.out_width != s.recipe.width || g.out_height != s.recipe.height) sink.fill();
    uint8_t* const memory = static_cast<uint8_t*>(scratch);
    if (threads < 2) return run_part(s, {0, s.y.out}, pixels, sink, memory);
    const auto work = [&](int i) {
        const auto at = [&](int k) { return static_cast<int>(static_cast<int64_t>(s.y.out) * k / threads); };
        run_part(s, {at(i), at(i + 1)}, pixels, sink, memory + i * s.scratch);
    };
    crew->run(threads, work);
}

}  // namespace edgecnn
