// x86-64-v3 (AVX2). Equal to scalar.cpp bit for bit: every float32 operation is the same one in the same
// order, and sums of integers are exact in any order.
#include "kernels256.hpp"

namespace edgecnn {

const Kernels& avx2_kernels() {
    static const Kernels table = [] {
        Kernels k = simd128_kernels();
        k.name = "x86-64-v3";
        add_area256(k);
        add_color256(k);
        add_opencv256(k);
        add_pillow256(k);
        add_tensor256(k);
        add_tensorflow256(k);
        return k;
    }();
    return table;
}

}  // namespace edgecnn
