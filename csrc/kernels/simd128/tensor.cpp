// Resized rows into the tensor.
#include "kernels128.hpp"
#include "normalise.hpp"
#include "vector.hpp"

namespace edgecnn {
namespace {

// The tensor's row holds the same values in the same order.
bool is_flat(const Emit& e) {
    if (e.in_channels != e.channels || e.pixel_step != e.channels) return false;
    if (e.channels == 1) return true;
    return e.plane_step == 1 && e.order[0] == 0 && e.order[1] == 1 && e.order[2] == 2;
}

bool is_interleaved(const Emit& e) { return e.channels == 3 && e.plane_step == 1; }
bool is_planar(const Emit& e) { return e.channels == 3 && e.pixel_step == 1 && e.in_channels >= 3; }

// Bytes of channel c of 4 pixels, a 32-bit lane each.
U8x16 plane_order(const Emit& e, int c) {
    const int at = e.order[c], step = e.in_channels;
    return widen_order(at, at + step, at + 2 * step, at + 3 * step);
}

// ---- float32 to float32. Rows of floats have room for a wide load behind them.

void f32_flat(const float* row, int width, const Emit& e, float* out) {
    // 12 values: a whole number of pixels, so that each vector starts at a known channel.
    const int step = e.channels == 3 ? 1 : 0;  // 4 modulo 3
    const Normalise normalise[3] = {Normalise(e, 0), Normalise(e, step), Normalise(e, 2 * step)};
    const int n = width * e.channels;
    int i = 0;
    for (; i + 12 <= n; i += 12) {
        for (int j = 0; j < 3; ++j) store(out + i + 4 * j, normalise[j](load<F32x4>(row + i + 4 * j)));
    }
    scalar_kernels().emit_f32_to_f32(row + i, (n - i) / e.channels, e, out + i);
}

void f32_planar(const float* row, int width, const Emit& e, float* out) {
    const Normalise normalise[3] = {normalise_plane(e, 0), normalise_plane(e, 1), normalise_plane(e, 2)};
    int x = 0;
    for (; x + 4 <= width; x += 4) {
        F32x4 v[4];
        for (int j = 0; j < 4; ++j) {
            v[j] = load<F32x4>(row + static_cast<ptrdiff_t>(x + j) * e.in_channels);
        }
        transpose(v);
        for (int c = 0; c < 3; ++c) store(out + c * e.plane_step + x, normalise[c](v[e.order[c]]));
    }
    scalar_kernels().emit_f32_to_f32(row + static_cast<ptrdiff_t>(x) * e.in_channels, width - x, e, out + x);
}

void f32_interleaved(const float* row, int width, const Emit& e, float* out) {
    const Normalise normalise(e, 0);
    // Bytes of a float, for the three that are taken.
    const auto lane = [&](int c) { return static_cast<int32_t>(0x03020100 + e.order[c] * 0x04040404); };
    const U8x16 order = as<U8x16>(I32x4{lane(0), lane(1), lane(2), lane(0)});
    int x = 0;
    for (; x + 2 <= width; ++x) {
        const U8x16 v = load<U8x16>(row + static_cast<ptrdiff_t>(x) * e.in_channels);
        store(out + 3 * x, normalise(as<F32x4>(shuffle(v, order))));
    }
    scalar_kernels().emit_f32_to_f32(row + static_cast<ptrdiff_t>(x) * e.in_channels, width - x, e,
                                     out + 3 * x);
}

constexpr int kLeast = 6;  // shorter rows, and what is left of one, are no work for vectors

void emit_f32_to_f32(const float* row, int width, const Emit& e, float* out) {
    if (width < kLeast) return scalar_kernels().emit_f32_to_f32(row, width, e, out);
    if (is_flat(e)) return f32_flat(row, width, e, out);
    if (is_interleaved(e)) return f32_interleaved(row, width, e, out);
    if (is_planar(e)) return f32_planar(row, width, e, out);
    scalar_kernels().emit_f32_to_f32(row, width, e, out);
}

// ---- uint8 to float32. Rows of bytes may be the caller's own, without room.

void u8_flat(const uint8_t* row, int width, const Emit& e, float* out) {
    const int step = e.channels == 3 ? 1 : 0;  // 4 modulo 3
    const Normalise normalise[3] = {Normalise(e, 0), Normalise(e, step), Normalise(e, 2 * step)};
    const int n = width * e.channels;
    int i = 0;
    for (; i + 16 <= n; i += 12) {
        F32x4 v[4];
        floats(row + i, v);
        for (int j = 0; j < 3; ++j) store(out + i + 4 * j, normalise[j](v[j]));
    }
    scalar_kernels().emit_u8_to_f32(row + i, (n - i) / e.channels, e, out + i);
}

void u8_planar(const uint8_t* row, int width, const Emit& e, float* out) {
    const Normalise normalise[3] = {normalise_plane(e, 0), normalise_plane(e, 1), normalise_plane(e, 2)};
    const U8x16 order[3] = {plane_order(e, 0), plane_order(e, 1), plane_order(e, 2)};
    int x = 0;
    for (; (width - x) * e.in_channels >= 16; x += 4) {
        const U8x16 v = load<U8x16>(row + static_cast<ptrdiff_t>(x) * e.in_channels);
        for (int c = 0; c < 3; ++c) {
            store(out + c * e.plane_step + x, normalise[c](floats(v, order[c])));
        }
    }
    scalar_kernels().emit_u8_to_f32(row + static_cast<ptrdiff_t>(x) * e.in_channels, width - x, e, out + x);
}

void u8_interleaved(const uint8_t* row, int width, const Emit& e, float* out) {
    const Normalise normalise(e, 0);
    U8x16 order[4];
    for (int j = 0; j < 4; ++j) {
        const int at = j * e.in_channels;
        order[j] = widen_order(at + e.order[0], at + e.order[1], at + e.order[2], at + e.order[0]);
    }
    int x = 0;
    // 16 bytes from pixel x on lie in the row, and a fifth pixel takes the fourth one's last lane.
    for (; (width - x) * e.in_channels >= 16 && x + 5 <= width; x += 4) {
        const U8x16 v = load<U8x16>(row + static_cast<ptrdiff_t>(x) * e.in_channels);
        for (int j = 0; j < 4; ++j) store(out + 3 * (x + j), normalise(floats(v, order[j])));
    }
    scalar_kernels().emit_u8_to_f32(row + static_cast<ptrdiff_t>(x) * e.in_channels, width - x, e,
                                    out + 3 * x);
}

void emit_u8_to_f32(const uint8_t* row, int width, const Emit& e, float* out) {
    if (width < kLeast) return scalar_kernels().emit_u8_to_f32(row, width, e, out);
    if (is_flat(e)) return u8_flat(row, width, e, out);
    if (is_interleaved(e)) return u8_interleaved(row, width, e, out);
    if (is_planar(e)) return u8_planar(row, width, e, out);
    scalar_kernels().emit_u8_to_f32(row, width, e, out);
}

// ---- To uint8

void emit_u8_to_u8(const uint8_t* row, int width, const Emit& e, uint8_t* out) {
    if (is_flat(e)) {
        __builtin_memcpy(out, row, static_cast<size_t>(width) * e.channels);
        return;
    }
    int x = 0;
    const int step = e.in_channels;
    if (is_planar(e)) {
        // 4 bytes of each channel.
        U32x4 order = {};
        for (int c = 0; c < 3; ++c)
            order[c] = static_cast<uint32_t>(e.order[c] * 0x01010101 + step * 0x03020100);
        for (; (width - x) * step >= 16; x += 4) {
            const U8x16 v = load<U8x16>(row + static_cast<ptrdiff_t>(x) * step);
            const U32x4 planes = as<U32x4>(shuffle(v, as<U8x16>(order)));
            for (int c = 0; c < 3; ++c) store(out + c * e.plane_step + x, planes[c]);
        }
    } else if (is_interleaved(e)) {
        U8x16 order = {};
        for (int i = 0; i < 12; ++i) order[i] = static_cast<uint8_t>(i / 3 * step + e.order[i % 3]);
        // 16 bytes lie in the row, and behind 4 pixels of the tensor there are 4 bytes more.
        for (; (width - x) * step >= 16 && x + 6 <= width; x += 4) {
            const U8x16 v = load<U8x16>(row + static_cast<ptrdiff_t>(x) * step);
            store(out + 3 * x, shuffle(v, order));
        }
    }
    scalar_kernels().emit_u8_to_u8(row + static_cast<ptrdiff_t>(x) * step, width - x, e,
                                   out + x * e.pixel_step);
}

// In parts that fit the stack.
void emit_f32_to_u8(const float* row, int width, const Emit& e, uint8_t* out) {
    constexpr int kPart = 64;
    uint8_t bytes[kPart * 4];
    for (int x = 0; x < width; x += kPart) {
        const int pixels = least(kPart, width - x), n = pixels * e.in_channels;
        const float* const in = row + static_cast<ptrdiff_t>(x) * e.in_channels;
        int i = 0;
        for (; i + 8 <= n; i += 8) {
            store8(bytes + i, round_to_bytes(load<F32x4>(in + i), load<F32x4>(in + i + 4)));
        }
        scalar_kernels().round_row(in + i, n - i, bytes + i);
        emit_u8_to_u8(bytes, pixels, e, out + x * e.pixel_step);
    }
}

}  // namespace

void add_tensor128(Kernels& k) {
    k.emit_f32_to_f32 = emit_f32_to_f32;
    k.emit_u8_to_f32 = emit_u8_to_f32;
    k.emit_u8_to_u8 = emit_u8_to_u8;
    k.emit_f32_to_u8 = emit_f32_to_u8;
}

}  // namespace edgecnn
