// What the files of this folder add to the table: one function a file.
#pragma once

#include "../kernels.hpp"

namespace edgecnn {

void add_area128(Kernels& k);
void add_color128(Kernels& k);
void add_opencv128(Kernels& k);
void add_pillow128(Kernels& k);
void add_tensor128(Kernels& k);
void add_tensorflow128(Kernels& k);

}  // namespace edgecnn
