// Rows of values to the tensor: order, normalisation, layout.
#include "kernels256.hpp"
#include "normalise.hpp"
#include "vector.hpp"

namespace edgecnn {
namespace {

// The tensor's row holds the same values in the same order.
bool is_flat(const Emit& e) {
    if (e.in_channels != e.channels || e.plane_step != 1) return false;
    for (int c = 0; c < e.channels; ++c) {
        if (e.order[c] != c) return false;
    }
    return e.pixel_step == e.channels;
}

bool is_interleaved(const Emit& e) { return e.channels == 3 && e.plane_step == 1; }
bool is_planar(const Emit& e) { return e.channels == 3 && e.pixel_step == 1 && e.in_channels >= 3; }

void emit_f32_to_f32_flat(const float* row, int width, const Emit& e, float* out) {
    const Normalise normalise(e);
    const int n = width * e.channels;
    int i = 0;
    // 24 values: a whole number of pixels, so that each vector starts at a known channel.
    for (; i + 24 <= n; i += 24) {
        for (int j = 0; j < 3; ++j) {
            const int start = 8 * j % e.channels;
            _mm256_storeu_ps(out + i + 8 * j, normalise(_mm256_loadu_ps(row + i + 8 * j), start));
        }
    }
    if (i == n) return;
    narrow().emit_f32_to_f32(row + i, (n - i) / e.channels, e, out + i);
}

// Floats of 8 pixels, 3 channels -> 8 floats of channel c.
template <int kChannel>
__m256 plane_of(__m256 v0, __m256 v1, __m256 v2) {
    // Value i stands at 3 * i + channel: 0..7 in v0, 8..15 in v1, 16..23 in v2.
    constexpr int kFirst = (8 - kChannel + 2) / 3, kSecond = (16 - kChannel + 2) / 3;
    alignas(32) static const int32_t at[8] = {(kChannel + 0) % 8,  (kChannel + 3) % 8,  (kChannel + 6) % 8,
                                              (kChannel + 9) % 8,  (kChannel + 12) % 8, (kChannel + 15) % 8,
                                              (kChannel + 18) % 8, (kChannel + 21) % 8};
    const __m256i order = load32(at);
    constexpr int kFromV1 = 0xFF & ~((1 << kFirst) - 1), kFromV2 = 0xFF & ~((1 << kSecond) - 1);
    const __m256 a = _mm256_permutevar8x32_ps(v0, order), b = _mm256_permutevar8x32_ps(v1, order);
    return _mm256_blend_ps(_mm256_blend_ps(a, b, kFromV1), _mm256_permutevar8x32_ps(v2, order), kFromV2);
}

void emit_f32_to_f32_planar(const float* row, int width, const Emit& e, float* out) {
    int x = 0;
    const PixelNormalise normalise[3] = {channel_normalise(e, 0), channel_normalise(e, 1),
                                         channel_normalise(e, 2)};
    for (; x + 8 <= width; x += 8) {
        const __m256 v0 = _mm256_loadu_ps(row + 3 * x), v1 = _mm256_loadu_ps(row + 3 * x + 8);
        const __m256 v2 = _mm256_loadu_ps(row + 3 * x + 16);
        const __m256 planes[3] = {plane_of<0>(v0, v1, v2), plane_of<1>(v0, v1, v2), plane_of<2>(v0, v1, v2)};
        for (int c = 0; c < 3; ++c) {
            _mm256_storeu_ps(out + c * e.plane_step + x, normalise[c](planes[e.order[c]]));
        }
    }
    narrow().emit_f32_to_f32(row + 3 * x, width - x, e, out + x);
}

// Rows of floats have room for a wide load behind them.
void emit_f32_to_f32_interleaved(const float* row, int width, const Emit& e, float* out) {
    const PixelNormalise normalise(e);
    const __m256i order = _mm256_setr_epi32(e.order[0], e.order[1], e.order[2], e.order[0], e.order[0],
                                            e.order[1], e.order[2], e.order[0]);
    int x = 0;
    for (; x + 3 <= width; x += 2) {
        const float* pixel = row + static_cast<ptrdiff_t>(x) * e.in_channels;
        const __m256 v = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(pixel)),
                                              _mm_loadu_ps(pixel + e.in_channels), 1);
        const __m256 n = normalise(_mm256_permutevar_ps(v, order));
        _mm_storeu_ps(out + 3 * x, _mm256_castps256_ps128(n));
        _mm_storeu_ps(out + 3 * x + 3, _mm256_extractf128_ps(n, 1));
    }
    narrow().emit_f32_to_f32(row + static_cast<ptrdiff_t>(x) * e.in_channels, width - x, e, out + 3 * x);
}

void emit_f32_to_f32(const float* row, int width, const Emit& e, float* out) {
    if (is_flat(e)) return emit_f32_to_f32_flat(row, width, e, out);
    if (is_interleaved(e)) return emit_f32_to_f32_interleaved(row, width, e, out);
    if (is_planar(e) && e.in_channels == 3) return emit_f32_to_f32_planar(row, width, e, out);
    narrow().emit_f32_to_f32(row, width, e, out);
}

void emit_u8_to_f32_flat(const uint8_t* row, int width, const Emit& e, float* out) {
    const Normalise normalise(e);
    const int n = width * e.channels;
    int i = 0;
    for (; i + 24 <= n; i += 24) {
        for (int j = 0; j < 3; ++j) {
            const int start = 8 * j % e.channels;
            _mm256_storeu_ps(out + i + 8 * j, normalise(floats(row + i + 8 * j), start));
        }
    }
    if (i == n) return;
    narrow().emit_u8_to_f32(row + i, (n - i) / e.channels, e, out + i);
}

// 8 pixels from 32 bytes -> 8 bytes of one channel each.
void emit_u8_to_f32_planar(const uint8_t* row, int width, const Emit& e, float* out) {
    const PixelNormalise normalise[3] = {channel_normalise(e, 0), channel_normalise(e, 1),
                                         channel_normalise(e, 2)};
    const int half = 4 * e.in_channels;
    __m128i order[3];
    for (int c = 0; c < 3; ++c) {
        const int at = e.order[c], step = e.in_channels;
        const int32_t four = at | (at + step) << 8 | (at + 2 * step) << 16 | (at + 3 * step) << 24;
        order[c] = _mm_setr_epi32(four, -1, -1, -1);
    }
    int x = 0;
    // Two loads of 16 bytes hold 4 pixels each; the second ends 4 bytes past 8 pixels of 3 channels.
    for (; x + 10 <= width; x += 8) {
        const uint8_t* pixel = row + static_cast<ptrdiff_t>(x) * e.in_channels;
        const __m128i a = load16(pixel), b = load16(pixel + half);
        for (int c = 0; c < 3; ++c) {
            const __m128i bytes =
                _mm_unpacklo_epi32(_mm_shuffle_epi8(a, order[c]), _mm_shuffle_epi8(b, order[c]));
            const __m256 v = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
            _mm256_storeu_ps(out + c * e.plane_step + x, normalise[c](v));
        }
    }
    narrow().emit_u8_to_f32(row + static_cast<ptrdiff_t>(x) * e.in_channels, width - x, e, out + x);
}

void emit_u8_to_f32_interleaved(const uint8_t* row, int width, const Emit& e, float* out) {
    const PixelNormalise normalise(e);
    const int order[4] = {e.order[0], e.order[1], e.order[2], e.order[0]};
    const __m256i both = _mm256_blend_epi32(widen(0, order), widen(e.in_channels, order), 0xF0);
    int x = 0;
    // 8 bytes from pixel x on lie in the row, of 1, 3 or 4 channels.
    for (; x + 8 <= width; x += 2) {
        int64_t bytes;
        __builtin_memcpy(&bytes, row + static_cast<ptrdiff_t>(x) * e.in_channels, 8);
        const __m256 v = _mm256_cvtepi32_ps(_mm256_shuffle_epi8(_mm256_set1_epi64x(bytes), both));
        const __m256 n = normalise(v);
        _mm_storeu_ps(out + 3 * x, _mm256_castps256_ps128(n));
        _mm_storeu_ps(out + 3 * x + 3, _mm256_extractf128_ps(n, 1));
    }
    narrow().emit_u8_to_f32(row + static_cast<ptrdiff_t>(x) * e.in_channels, width - x, e, out + 3 * x);
}

void emit_u8_to_f32(const uint8_t* row, int width, const Emit& e, float* out) {
    if (is_flat(e)) return emit_u8_to_f32_flat(row, width, e, out);
    if (is_interleaved(e)) return emit_u8_to_f32_interleaved(row, width, e, out);
    if (is_planar(e)) return emit_u8_to_f32_planar(row, width, e, out);
    narrow().emit_u8_to_f32(row, width, e, out);
}

void emit_f32_to_u8(const float* row, int width, const Emit& e, uint8_t* out) {
    if (!is_flat(e)) return narrow().emit_f32_to_u8(row, width, e, out);
    const int n = width * e.channels;
    int i = 0;
    for (; i + 8 <= n; i += 8) store_ints_as_bytes(out + i, round_to_ints(_mm256_loadu_ps(row + i)));
    narrow().round_row(row + i, n - i, out + i);
}

void emit_u8_to_u8(const uint8_t* row, int width, const Emit& e, uint8_t* out) {
    if (!is_flat(e)) return narrow().emit_u8_to_u8(row, width, e, out);
    __builtin_memcpy(out, row, static_cast<size_t>(width) * e.channels);
}

}  // namespace

void add_tensor256(Kernels& k) {
    k.emit_f32_to_f32 = emit_f32_to_f32;
    k.emit_u8_to_f32 = emit_u8_to_f32;
    k.emit_f32_to_u8 = emit_f32_to_u8;
    k.emit_u8_to_u8 = emit_u8_to_u8;
}

}  // namespace edgecnn
