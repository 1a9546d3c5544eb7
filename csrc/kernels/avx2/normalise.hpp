// The normalisation of a tensor's values. Which operations there are is fixed for a plan.
#pragma once

#include "vector.hpp"

namespace edgecnn {
namespace {

// Of pixels that have a 128-bit lane each.
struct PixelNormalise {
    bool has_scale, has_divisor, has_offset, has_mean;
    __m256 scale, divisor, offset, mean, std;

    explicit PixelNormalise(const Emit& e)
        : has_scale(e.has_scale),
          has_divisor(e.has_divisor),
          has_offset(e.has_offset),
          has_mean(e.has_mean),
          scale(_mm256_set1_ps(e.scale)),
          divisor(_mm256_set1_ps(e.divisor)),
          offset(_mm256_set1_ps(e.offset)),
          mean(_mm256_setr_ps(e.mean[0], e.mean[1], e.mean[2], 0, e.mean[0], e.mean[1], e.mean[2], 0)),
          std(_mm256_setr_ps(e.std[0], e.std[1], e.std[2], 1, e.std[0], e.std[1], e.std[2], 1)) {}

    __m256 operator()(__m256 v) const {
        if (has_scale) v = _mm256_mul_ps(v, scale);
        if (has_divisor) v = _mm256_div_ps(v, divisor);
        if (has_offset) v = _mm256_add_ps(v, offset);
        if (has_mean) v = _mm256_div_ps(_mm256_sub_ps(v, mean), std);
        return v;
    }
};

// One channel of a planar tensor: the mean and std of all lanes are that channel's.
inline PixelNormalise channel_normalise(const Emit& e, int c) {
    PixelNormalise n(e);
    n.mean = _mm256_set1_ps(e.mean[c]);
    n.std = _mm256_set1_ps(e.std[c]);
    return n;
}

// Of 8 consecutive values of an interleaved row.
struct Normalise {
    bool has_scale, has_divisor, has_offset, has_mean;
    __m256 scale, divisor, offset;
    // Of values that start at channel 0, 1, 2.
    __m256 mean[3] = {}, std[3] = {};

    explicit Normalise(const Emit& e)
        : has_scale(e.has_scale),
          has_divisor(e.has_divisor),
          has_offset(e.has_offset),
          has_mean(e.has_mean),
          scale(_mm256_set1_ps(e.scale)),
          divisor(_mm256_set1_ps(e.divisor)),
          offset(_mm256_set1_ps(e.offset)) {
        if (!has_mean) return;
        for (int start = 0; start < 3; ++start) {
            alignas(32) float m[8], s[8];
            for (int i = 0; i < 8; ++i) {
                m[i] = e.mean[(start + i) % e.channels];
                s[i] = e.std[(start + i) % e.channels];
            }
            mean[start] = _mm256_load_ps(m);
            std[start] = _mm256_load_ps(s);
        }
    }
    __m256 operator()(__m256 v, int start) const {
        if (has_scale) v = _mm256_mul_ps(v, scale);
        if (has_divisor) v = _mm256_div_ps(v, divisor);
        if (has_offset) v = _mm256_add_ps(v, offset);
        if (has_mean) v = _mm256_div_ps(_mm256_sub_ps(v, mean[start]), std[start]);
        return v;
    }
};

}  // namespace
}  // namespace edgecnn
