// Loads, conversions and stores that the kernels of this folder share.
#pragma once

#include <immintrin.h>

#include "../kernels.hpp"

namespace edgecnn {
namespace {

// The kernels of 256 bits: gray images, and what is left at a row's end.
inline const Kernels& narrow() { return avx2_kernels(); }

inline __m128i load8(const void* p) { return _mm_loadl_epi64(static_cast<const __m128i*>(p)); }
inline __m128i load16(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
inline __m512i load64(const void* p) { return _mm512_loadu_si512(p); }

// 16 bytes of four rows, one a 128-bit lane.
inline __m512i load_four(const uint8_t* const row[4], ptrdiff_t at) {
    __m512i v = _mm512_castsi128_si512(load16(row[0] + at));
    v = _mm512_mask_broadcast_i32x4(v, 0x00F0, load16(row[1] + at));
    v = _mm512_mask_broadcast_i32x4(v, 0x0F00, load16(row[2] + at));
    return _mm512_mask_broadcast_i32x4(v, 0xF000, load16(row[3] + at));
}

inline int32_t word(const int8_t* p) {
    int32_t v;
    __builtin_memcpy(&v, p, 4);
    return v;
}

inline int least(int a, int b) { return a < b ? a : b; }

// Rows y .. y + 3 of `rows`; past the last one, that one again.
template <typename T>
inline void four_rows(T* first, ptrdiff_t stride, int y, int rows, T* row[4]) {
    for (int j = 0; j < 4; ++j) row[j] = first + least(y + j, rows - 1) * stride;
}

inline __mmask64 first_bits(int n) { return n >= 64 ? ~0ull : n <= 0 ? 0 : (1ull << n) - 1; }

// The fourth lane of 3 channels is overwritten by the next pixel; rows have room behind them.
inline void store_four(float* const to[4], ptrdiff_t at, __m512 v) {
    _mm_storeu_ps(to[0] + at, _mm512_castps512_ps128(v));
    _mm_storeu_ps(to[1] + at, _mm512_extractf32x4_ps(v, 1));
    _mm_storeu_ps(to[2] + at, _mm512_extractf32x4_ps(v, 2));
    _mm_storeu_ps(to[3] + at, _mm512_extractf32x4_ps(v, 3));
}

// 2^23 as float32 has the bits 4B 00 00 00, so 2^23 + v for a byte v has 4B 00 00 v: shuffled into place
// instead of converted. Differences of two such floats, and less 2^23, are exact.
constexpr int32_t kMagic = 0x4B000000;
constexpr __mmask64 kLowBytes = 0x1111111111111111ull;

inline __m512i magic() { return _mm512_set1_epi32(kMagic); }
inline __m512 two23() { return _mm512_castsi512_ps(magic()); }

// 2^23 + the byte order[lane] of bytes, for each lane.
inline __m512 lift(__m512i order, __m512i bytes) {
    return _mm512_castsi512_ps(_mm512_mask_permutexvar_epi8(magic(), kLowBytes, order, bytes));
}

// Products with a lifted byte are rounded once: fma(w, 2^23 + v, -w * 2^23), where the last product is exact.
constexpr float kLifted = -8388608.0f;

}  // namespace
}  // namespace edgecnn
