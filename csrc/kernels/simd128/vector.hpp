// Vectors of 128 bits, for SSE4.1 and for NEON: the kernels of this folder are written once, on these.
//
// The types are GCC's and clang's own, with operators lane by lane. A shuffle's order is a byte's place, or
// 255 for zero. All of it has internal linkage, so that no copy can be linked into code for another CPU.
#pragma once

#if defined(__aarch64__)
#include <arm_neon.h>
#else
#include <smmintrin.h>
#endif
#include <stddef.h>
#include <stdint.h>

namespace edgecnn {
namespace {

using U8x16 = uint8_t __attribute__((vector_size(16)));
using U16x8 = uint16_t __attribute__((vector_size(16)));
using I16x8 = int16_t __attribute__((vector_size(16)));
using I32x4 = int32_t __attribute__((vector_size(16)));
using U32x4 = uint32_t __attribute__((vector_size(16)));
using U64x2 = uint64_t __attribute__((vector_size(16)));
using F32x4 = float __attribute__((vector_size(16)));

// The same bits as another type.
template <typename To, typename From>
inline To as(From v) {
    return reinterpret_cast<To>(v);
}

// ---- What the two instruction sets do differently

#if defined(__aarch64__)

constexpr const char* kName = "aarch64-neon";

inline U8x16 shuffle(U8x16 v, U8x16 order) { return vqtbl1q_u8(v, order); }

// 32-bit lane kLane in all lanes.
template <int kLane, typename V>
inline V spread(V v) {
    return as<V>(vdupq_laneq_s32(as<int32x4_t>(v), kLane));
}

inline U8x16 zip_low(U8x16 a, U8x16 b) { return vzip1q_u8(a, b); }
inline U8x16 zip_high(U8x16 a, U8x16 b) { return vzip2q_u8(a, b); }
inline F32x4 zip_low(F32x4 a, F32x4 b) { return vzip1q_f32(a, b); }
inline F32x4 zip_high(F32x4 a, F32x4 b) { return vzip2q_f32(a, b); }

template <typename V>
inline V join_low(V a, V b) {
    return as<V>(vzip1q_u64(as<uint64x2_t>(a), as<uint64x2_t>(b)));
}
template <typename V>
inline V join_high(V a, V b) {
    return as<V>(vzip2q_u64(as<uint64x2_t>(a), as<uint64x2_t>(b)));
}

// 32-bit lanes 0 and 2, or 1 and 3, of a and then of b.
template <typename V>
inline V even_lanes(V a, V b) {
    return as<V>(vuzp1q_s32(as<int32x4_t>(a), as<int32x4_t>(b)));
}
template <typename V>
inline V odd_lanes(V a, V b) {
    return as<V>(vuzp2q_s32(as<int32x4_t>(a), as<int32x4_t>(b)));
}

// Half to even.
inline I32x4 round_to_ints(F32x4 v) { return vcvtnq_s32_f32(v); }

// Saturating.
inline I16x8 narrow(I32x4 a, I32x4 b) { return vqmovn_high_s32(vqmovn_s32(a), b); }
inline U8x16 narrow(I16x8 a, I16x8 b) { return vqmovun_high_s16(vqmovun_s16(a), b); }

// a[0] * b[0] + a[1] * b[1], and so on.
inline I32x4 dot_pairs(I16x8 a, I16x8 b) {
    return vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b));
}

// (a * b) >> 16.
inline I16x8 multiply_high(I16x8 a, I16x8 b) {
    const int32x4_t low = vmull_s16(vget_low_s16(a), vget_low_s16(b)), high = vmull_high_s16(a, b);
    return vuzp2q_s16(vreinterpretq_s16_s32(low), vreinterpretq_s16_s32(high));
}

// Weights of two taps a 32-bit lane, up to 30 bits with the sign.
struct PairWeights {
    I32x4 even, odd;

    // Lane by lane: a[0] and a[1], a[2] and a[3], b[0] and b[1], b[2] and b[3].
    PairWeights(I32x4 a, I32x4 b) : even(even_lanes(a, b)), odd(odd_lanes(a, b)) {}
};

// Sums of products of bytes, two taps at a time, exact modulo 2^32.
struct FixedSum {
    U32x4 sum = {};

    // pairs: 16-bit lanes.
    void add(U8x16 pairs, const PairWeights& w) {
        sum += (as<U32x4>(pairs) & 0xFFFF) * as<U32x4>(w.even);
        sum += (as<U32x4>(pairs) >> 16) * as<U32x4>(w.odd);
    }
    I32x4 total() const { return as<I32x4>(sum); }
};

template <int kLane>
inline PairWeights spread_pair(PairWeights w) {
    w.even = spread<kLane>(w.even);
    w.odd = spread<kLane>(w.odd);
    return w;
}

#else

constexpr const char* kName = "x86-64-v2";

inline U8x16 shuffle(U8x16 v, U8x16 order) {
    return as<U8x16>(_mm_shuffle_epi8(as<__m128i>(v), as<__m128i>(order)));
}

template <int kLane, typename V>
inline V spread(V v) {
    return as<V>(_mm_shuffle_epi32(as<__m128i>(v), kLane * 0x55));
}

inline U8x16 zip_low(U8x16 a, U8x16 b) {
    return as<U8x16>(_mm_unpacklo_epi8(as<__m128i>(a), as<__m128i>(b)));
}
inline U8x16 zip_high(U8x16 a, U8x16 b) {
    return as<U8x16>(_mm_unpackhi_epi8(as<__m128i>(a), as<__m128i>(b)));
}
inline F32x4 zip_low(F32x4 a, F32x4 b) { return _mm_unpacklo_ps(a, b); }
inline F32x4 zip_high(F32x4 a, F32x4 b) { return _mm_unpackhi_ps(a, b); }

template <typename V>
inline V join_low(V a, V b) {
    return as<V>(_mm_unpacklo_epi64(as<__m128i>(a), as<__m128i>(b)));
}
template <typename V>
inline V join_high(V a, V b) {
    return as<V>(_mm_unpackhi_epi64(as<__m128i>(a), as<__m128i>(b)));
}

template <typename V>
inline V even_lanes(V a, V b) {
    return as<V>(_mm_shuffle_ps(as<__m128>(a), as<__m128>(b), 0x88));
}
template <typename V>
inline V odd_lanes(V a, V b) {
    return as<V>(_mm_shuffle_ps(as<__m128>(a), as<__m128>(b), 0xDD));
}

inline I32x4 round_to_ints(F32x4 v) { return as<I32x4>(_mm_cvtps_epi32(v)); }

inline I16x8 narrow(I32x4 a, I32x4 b) { return as<I16x8>(_mm_packs_epi32(as<__m128i>(a), as<__m128i>(b))); }
inline U8x16 narrow(I16x8 a, I16x8 b) { return as<U8x16>(_mm_packus_epi16(as<__m128i>(a), as<__m128i>(b))); }

inline I32x4 dot_pairs(I16x8 a, I16x8 b) { return as<I32x4>(_mm_madd_epi16(as<__m128i>(a), as<__m128i>(b))); }

inline I16x8 multiply_high(I16x8 a, I16x8 b) {
    return as<I16x8>(_mm_mulhi_epi16(as<__m128i>(a), as<__m128i>(b)));
}

// As 15 bits without a sign and the bits above: pmaddwd takes two taps at once and pmulld is slow.
struct PairWeights {
    I16x8 low, high;

    PairWeights(I32x4 a, I32x4 b) : low(narrow(a & 0x7FFF, b & 0x7FFF)), high(narrow(a >> 15, b >> 15)) {}
};

struct FixedSum {
    U32x4 low = {}, high = {};

    void add(U8x16 pairs, const PairWeights& w) {
        low += as<U32x4>(dot_pairs(as<I16x8>(pairs), w.low));
        high += as<U32x4>(dot_pairs(as<I16x8>(pairs), w.high));
    }
    I32x4 total() const { return as<I32x4>(low + (high << 15)); }
};

template <int kLane>
inline PairWeights spread_pair(PairWeights w) {
    w.low = spread<kLane>(w.low);
    w.high = spread<kLane>(w.high);
    return w;
}

#endif

// ---- What follows from the above

template <typename V>
inline V load(const void* p) {
    V v;
    __builtin_memcpy(&v, p, sizeof(V));
    return v;
}

template <typename V>
inline void store(void* p, V v) {
    __builtin_memcpy(p, &v, sizeof(V));
}

inline U8x16 load8(const void* p) { return as<U8x16>(U64x2{load<uint64_t>(p), 0}); }
inline U8x16 load4(const void* p) { return as<U8x16>(U32x4{load<uint32_t>(p), 0, 0, 0}); }
inline void store8(void* p, U8x16 v) { store(p, as<U64x2>(v)[0]); }
inline void store4(void* p, U8x16 v) { store(p, as<U32x4>(v)[0]); }

inline F32x4 all(float v) { return F32x4{v, v, v, v}; }
inline I32x4 all(int32_t v) { return I32x4{v, v, v, v}; }

inline F32x4 to_floats(I32x4 v) { return __builtin_convertvector(v, F32x4); }

// Widens the bytes at a, b, c, d to a 32-bit lane each.
inline U8x16 widen_order(int a, int b, int c, int d) {
    const int32_t zeros = static_cast<int32_t>(0xFFFFFF00);
    return as<U8x16>(I32x4{zeros | a, zeros | b, zeros | c, zeros | d});
}

// Widens bytes to 16 bits; lane j of 32 bits takes those at first + j * step and at that + second.
inline U8x16 pair_order(int first, int step, int second) {
    const int32_t zeros = static_cast<int32_t>(0xFF00FF00), a = first | (first + second) << 16;
    const int32_t next = step * 0x10001;
    return as<U8x16>(I32x4{zeros | a, zeros | (a + next), zeros | (a + 2 * next), zeros | (a + 3 * next)});
}

inline F32x4 floats(U8x16 v, U8x16 order) { return to_floats(as<I32x4>(shuffle(v, order))); }

// 16 bytes as floats.
inline void floats(const uint8_t* p, F32x4 to[4]) {
    const U8x16 v = load<U8x16>(p);
    for (int j = 0; j < 4; ++j) to[j] = floats(v, widen_order(4 * j, 4 * j + 1, 4 * j + 2, 4 * j + 3));
}

// Rounded and saturated to a byte each; the last 8 bytes are the first ones again.
inline U8x16 round_to_bytes(F32x4 a, F32x4 b) {
    const I16x8 v = narrow(round_to_ints(a), round_to_ints(b));
    return narrow(v, v);
}

inline void transpose(F32x4 v[4]) {
    const F32x4 low01 = zip_low(v[0], v[1]), high01 = zip_high(v[0], v[1]);
    const F32x4 low23 = zip_low(v[2], v[3]), high23 = zip_high(v[2], v[3]);
    v[0] = join_low(low01, low23);
    v[1] = join_high(low01, low23);
    v[2] = join_low(high01, high23);
    v[3] = join_high(high01, high23);
}

inline int least(int a, int b) { return a < b ? a : b; }

}  // namespace
}  // namespace edgecnn
