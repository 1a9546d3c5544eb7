// Loads, conversions and stores that the kernels of this folder share.
#pragma once

#include <immintrin.h>

#include "../kernels.hpp"

namespace edgecnn {
namespace {

// The kernels of 128 bits: gray images, and what is left at a row's end.
inline const Kernels& narrow() { return simd128_kernels(); }

inline __m256i load32(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline __m128i load16(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
inline __m128i load8(const void* p) { return _mm_loadl_epi64(static_cast<const __m128i*>(p)); }

// 16 bytes of two rows, one a 128-bit lane.
inline __m256i load_pair(const uint8_t* a, const uint8_t* b) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(load16(a)), load16(b), 1);
}

inline __m256 floats(const uint8_t* p) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(load8(p))); }

inline int32_t word(const int8_t* p) {
    int32_t v;
    __builtin_memcpy(&v, p, 4);
    return v;
}

inline int least(int a, int b) { return a < b ? a : b; }

// Shuffle that widens bytes to 32 bits: lane j of each 128 bits takes the byte at + order[j].
inline __m256i widen(int at, const int order[4]) {
    // Only the lowest byte of a lane is taken; the others have their highest bit set, which gives 0.
    const int32_t rest = static_cast<int32_t>(0xFFFFFF00);
    return _mm256_broadcastsi128_si256(_mm_setr_epi32(rest | (at + order[0]), rest | (at + order[1]),
                                                      rest | (at + order[2]), rest | (at + order[3])));
}

// 8 bytes at each of 4 columns: pixels 0 and 1 in the low lane, 2 and 3 in the high one.
inline __m256i load_columns(const uint8_t* row, const ptrdiff_t at[4]) {
    const __m128i low = _mm_unpacklo_epi64(load8(row + at[0]), load8(row + at[1]));
    const __m128i high = _mm_unpacklo_epi64(load8(row + at[2]), load8(row + at[3]));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

inline __m256i round_to_ints(__m256 v) { return _mm256_cvtps_epi32(v); }

inline void store_ints_as_bytes(uint8_t* out, __m256i v) {
    const __m128i shorts = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out), _mm_packus_epi16(shorts, shorts));
}

}  // namespace
}  // namespace edgecnn
