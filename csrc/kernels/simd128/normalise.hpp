// The normalisation of a tensor's values, as vectors. Which operations there are is fixed for a plan.
#pragma once

#include "../kernels.hpp"
#include "vector.hpp"

namespace edgecnn {
namespace {

struct Normalise {
    bool has_scale, has_divisor, has_offset, has_mean;
    F32x4 scale, divisor, offset, mean, std;

    // Lane 0 is of the tensor's channel `first`, and so on around.
    Normalise(const Emit& e, int first)
        : has_scale(e.has_scale),
          has_divisor(e.has_divisor),
          has_offset(e.has_offset),
          has_mean(e.has_mean),
          scale(all(e.scale)),
          divisor(all(e.divisor)),
          offset(all(e.offset)) {
        const int last = e.channels - 1;
        for (int i = 0, c = first; i < 4; ++i, c = c < last ? c + 1 : 0) {
            mean[i] = e.mean[c];
            std[i] = e.std[c];
        }
    }

    F32x4 operator()(F32x4 v) const {
        if (has_scale) v = v * scale;
        if (has_divisor) v = v / divisor;
        if (has_offset) v = v + offset;
        if (has_mean) v = (v - mean) / std;
        return v;
    }
};

// All lanes are of channel c.
inline Normalise normalise_plane(const Emit& e, int c) {
    Normalise n(e, 0);
    n.mean = all(e.mean[c]);
    n.std = all(e.std[c]);
    return n;
}

}  // namespace
}  // namespace edgecnn
