// x86-64-v2 and aarch64. Equal to scalar.cpp bit for bit: every float32 operation is the same one in the same
// order, and sums of integers are exact in any order.
#include "kernels128.hpp"
#include "vector.hpp"

namespace edgecnn {

const Kernels& simd128_kernels() {
    static const Kernels table = [] {
        Kernels k = scalar_kernels();
        k.name = kName;
        add_area128(k);
        add_color128(k);
        add_opencv128(k);
        add_pillow128(k);
        add_tensor128(k);
        add_tensorflow128(k);
        return k;
    }();
    return table;
}

}  // namespace edgecnn
