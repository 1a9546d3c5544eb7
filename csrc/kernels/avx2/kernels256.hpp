// What the files of this folder add to the table: one function a file.
#pragma once

#include "../kernels.hpp"

namespace edgecnn {

void add_area256(Kernels& k);
void add_color256(Kernels& k);
void add_opencv256(Kernels& k);
void add_pillow256(Kernels& k);
void add_tensor256(Kernels& k);
void add_tensorflow256(Kernels& k);

}  // namespace edgecnn
