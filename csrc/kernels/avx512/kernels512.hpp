// What the files of this folder add to the table: one function a file.
#pragma once

#include "../kernels.hpp"

namespace edgecnn {

void add_area512(Kernels& k);
void add_pillow512(Kernels& k);
void add_tensorflow512(Kernels& k);

}  // namespace edgecnn
