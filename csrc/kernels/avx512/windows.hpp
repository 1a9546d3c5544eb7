// Windows of taps by their fixed-point weights, for Pillow and the area methods.
#pragma once

#include "vector.hpp"

namespace edgecnn {
namespace {

constexpr int kPilBits = 32 - 8 - 2;
constexpr int kPilHalf = 1 << (kPilBits - 1);

// One sum a digit: vpdpbusd adds the products of 4 taps to each 32-bit lane without saturation.
template <int kDigits>
struct Sums {
    __m512i digit[kDigits];

    Sums() {
        for (__m512i& d : digit) d = _mm512_setzero_si512();
    }
    __m512i joined(int start) const {
        __m512i sum = _mm512_add_epi32(_mm512_set1_epi32(start), digit[0]);
        for (int d = 1; d < kDigits; ++d) sum = _mm512_add_epi32(sum, _mm512_slli_epi32(digit[d], 7 * d));
        return sum;
    }
    __m512i total() const { return _mm512_srai_epi32(joined(kPilHalf), kPilBits); }
};

template <int kChannels>
__m512i tap_order(int skip) {
    alignas(64) int8_t order[64];
    for (int lane = 0; lane < 64; ++lane) {
        const int channel = lane % 16 / 4, tap = lane % 4;
        order[lane] = static_cast<int8_t>(channel < kChannels ? skip + tap * kChannels + channel : -1);
    }
    return load64(order);
}

}  // namespace
}  // namespace edgecnn
