// Windows of taps by their fixed-point weights, for Pillow and the area methods.
#pragma once

#include "vector.hpp"

namespace edgecnn {
namespace {

// sum + pixels * weights of 4 taps: bytes of v are 4 taps a 32-bit lane, digits[d] their weights' digits.
template <int kDigits>
__m256i add_taps(__m256i sum, __m256i v, const __m256i* digits) {
    const __m256i one = _mm256_set1_epi16(1);
    __m256i part = _mm256_madd_epi16(_mm256_maddubs_epi16(v, digits[0]), one);
    if (kDigits == 1) return _mm256_add_epi32(sum, part);
    part =
        _mm256_add_epi32(part, _mm256_madd_epi16(_mm256_maddubs_epi16(v, digits[1]), _mm256_set1_epi16(128)));
    sum = _mm256_add_epi32(
        sum, _mm256_madd_epi16(_mm256_maddubs_epi16(v, digits[2]), _mm256_set1_epi16(128 * 128)));
    if (kDigits == 4) {
        const __m256i top = _mm256_madd_epi16(_mm256_maddubs_epi16(v, digits[3]), one);
        part = _mm256_add_epi32(part, _mm256_slli_epi32(top, 21));
    }
    return _mm256_add_epi32(sum, part);
}

// Where the 4 taps of each channel stand in 16 bytes of pixels, the first `skip` of which belong to no tap.
template <int kChannels>
__m256i tap_order(int skip) {
    alignas(32) int8_t order[32];
    for (int lane = 0; lane < 32; ++lane) {
        const int channel = lane % 16 / 4, tap = lane % 4;
        order[lane] = static_cast<int8_t>(channel < kChannels ? skip + tap * kChannels + channel : -1);
    }
    return load32(order);
}

// Window i of two rows, by its fixed-point weights: for 3 and 4 channels a 32-bit lane is a channel, for gray
// all four are parts of one sum. Sums start at `start`.
template <int kChannels, int kDigits>
__m256i fixed_window(const uint8_t* a, const uint8_t* b, const Windows& x, int i, __m256i front, __m256i back,
                     int start) {
    const ptrdiff_t first = x.wide_first[i];
    const bool skip = kChannels == 3 && first >= 2;
    const __m256i order = skip ? back : front;
    const ptrdiff_t at = first * kChannels - (skip ? 4 : 0);
    constexpr int kStep = kChannels == 1 ? 16 : 4 * kChannels;
    constexpr int kTaps = kChannels == 1 ? 16 : 4;
    a += at;
    b += at;
    const int8_t* digit = x.digits + static_cast<ptrdiff_t>(i) * x.blocks * kDigits * kTaps;
    __m256i sum =
        kChannels == 1 ? _mm256_setr_epi32(start, 0, 0, 0, start, 0, 0, 0) : _mm256_set1_epi32(start);
    for (int block = 0; block < x.blocks; ++block, a += kStep, b += kStep) {
        __m256i v = load_pair(a, b);
        if (kChannels != 1) v = _mm256_shuffle_epi8(v, order);
        __m256i digits[kDigits];
        for (int d = 0; d < kDigits; ++d, digit += kTaps) {
            digits[d] =
                kChannels == 1 ? _mm256_broadcastsi128_si256(load16(digit)) : _mm256_set1_epi32(word(digit));
        }
        sum = add_taps<kDigits>(sum, v, digits);
    }
    return sum;
}

}  // namespace
}  // namespace edgecnn
