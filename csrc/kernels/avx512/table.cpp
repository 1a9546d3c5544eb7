// x86-64-v4 with VBMI and VNNI (Ice Lake, Zen 4 and newer); what is not here is taken from avx2/.
#include "kernels512.hpp"

namespace edgecnn {

const Kernels& avx512_kernels() {
    static const Kernels table = [] {
        Kernels k = avx2_kernels();
        k.name = "x86-64-v4-vnni";
        add_area512(k);
        add_pillow512(k);
        add_tensorflow512(k);
        return k;
    }();
    return table;
}

}  // namespace edgecnn
