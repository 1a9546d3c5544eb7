// Gray of colour pixels, and RGB of a camera's YUV.
#include "kernels128.hpp"
#include "vector.hpp"

namespace edgecnn {
namespace {

// The middle weight does not fit 16 signed bits, so it is halved and its byte taken twice: (0, 1) and (2, 1).
void gray_row(const uint8_t* in, int width, int channels, const GrayRule& rule, uint8_t* out) {
    const int32_t half = rule.weight[1] / 2;
    const I16x8 w01 = as<I16x8>(all(rule.weight[0] | half << 16));
    const I16x8 w21 = as<I16x8>(all(rule.weight[2] | (rule.weight[1] - half) << 16));
    const U8x16 order01 = pair_order(0, channels, 1), order21 = pair_order(2, channels, -1);
    const auto four = [&](const uint8_t* at) {
        const U8x16 v = load<U8x16>(at);
        const I32x4 sum =
            dot_pairs(as<I16x8>(shuffle(v, order01)), w01) + dot_pairs(as<I16x8>(shuffle(v, order21)), w21);
        return (sum + rule.round) >> rule.shift;
    };
    int x = 0;
    // The second load ends 4 bytes past 8 pixels of 3 channels.
    for (; x + 10 <= width; x += 8) {
        const uint8_t* const at = in + static_cast<ptrdiff_t>(x) * channels;
        const I16x8 v = narrow(four(at), four(at + 4 * channels));
        store8(out + x, narrow(v, v));
    }
    scalar_kernels().gray_row(in + static_cast<ptrdiff_t>(x) * channels, width - x, channels, rule, out + x);
}

// RGB of 4 pixels and 4 bytes of 0.
U8x16 rgb_of(I32x4 luma, I32x4 u, I32x4 v) {
    u -= 128;
    v -= 128;
    const I32x4 y = ((luma - 16) & (luma > 16)) * 1220542 + (1 << 19);
    const I16x8 rg = narrow((y + v * 1673527) >> 20, (y - v * 852492 - u * 409993) >> 20);
    const I32x4 b = (y + u * 2116026) >> 20;
    return shuffle(narrow(rg, narrow(b, b)), U8x16{0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11, 255, 255, 255, 255});
}

// Any columns, 4 a step; a store ends 4 bytes past them.
int yuv_columns(const YuvRow& in, const int32_t* columns, int width, uint8_t* out) {
    int x = 0;
    for (; x + 6 <= width; x += 4) {
        I32x4 luma = {}, u = {}, v = {};
        for (int j = 0; j < 4; ++j) {
            const ptrdiff_t at = columns[x + j], chroma = at / 2 * in.uv_step;
            luma[j] = in.y[at * in.y_step];
            u[j] = in.u[chroma];
            v[j] = in.v[chroma];
        }
        store(out + 3 * static_cast<ptrdiff_t>(x), rgb_of(luma, u, v));
    }
    return x;
}

// All columns from an even one on, 8 a step; a store ends 4 bytes past them. Where their luma and chroma
// bytes stand differs by format, the rest is the same.
int yuv_run(const YuvRow& in, int first, int width, uint8_t* out) {
    const bool packed = in.y_step == 2, planes = in.uv_step == 1;
    // Packed pixels are 4 bytes a pair, from here on; nv12 and nv21 have pairs of chroma bytes.
    const uint8_t* const pairs = in.y < in.u ? in.y : in.u;
    const uint8_t* const chroma = in.u < in.v ? in.u : in.v;
    const int luma_at = packed ? static_cast<int>(in.y - pairs) : 0;
    // The v bytes of i420 are loaded behind its 4 u bytes.
    const int u_at = planes ? 0 : static_cast<int>(in.u - (packed ? pairs : chroma));
    const int v_at = planes ? 4 : static_cast<int>(in.v - (packed ? pairs : chroma));
    // Each chroma byte serves two pixels.
    const auto twice = [&](int at) { return widen_order(at, at, at + in.uv_step, at + in.uv_step); };
    U8x16 luma_order[2], u_order[2], v_order[2];
    for (int h = 0; h < 2; ++h) {
        const int at = luma_at + 4 * h * in.y_step, step = in.y_step;
        luma_order[h] = widen_order(at, at + step, at + 2 * step, at + 3 * step);
        u_order[h] = twice(u_at + 2 * h * in.uv_step);
        v_order[h] = twice(v_at + 2 * h * in.uv_step);
    }
    int x = 0;
    for (; x + 10 <= width; x += 8) {
        const ptrdiff_t at = first + x;
        U8x16 luma, uv;
        if (packed) {
            luma = uv = load<U8x16>(pairs + at * 2);
        } else {
            luma = load8(in.y + at);
            uv = planes ? as<U8x16>(U32x4{load<uint32_t>(in.u + at / 2), load<uint32_t>(in.v + at / 2), 0, 0})
                        : load8(chroma + at);
        }
        for (int h = 0; h < 2; ++h) {
            store(out + 3 * static_cast<ptrdiff_t>(x) + 12 * h,
                  rgb_of(as<I32x4>(shuffle(luma, luma_order[h])), as<I32x4>(shuffle(uv, u_order[h])),
                         as<I32x4>(shuffle(uv, v_order[h]))));
        }
    }
    return x;
}

void yuv_row(const YuvRow& in, int first, const int32_t* columns, int width, uint8_t* out) {
    const Kernels& scalar = scalar_kernels();
    int done = 0;
    if (columns != nullptr) {
        done = yuv_columns(in, columns, width, out);
        columns += done;
    } else {
        if (first % 2 != 0 && width > 0) {
            scalar.yuv_row(in, first, nullptr, 1, out);
            done = 1;
        }
        done += yuv_run(in, first + done, width - done, out + 3 * done);
    }
    scalar.yuv_row(in, first + done, columns, width - done, out + 3 * static_cast<ptrdiff_t>(done));
}

}  // namespace

void add_color128(Kernels& k) {
    k.gray_row = gray_row;
    k.yuv_row = yuv_row;
}

}  // namespace edgecnn
