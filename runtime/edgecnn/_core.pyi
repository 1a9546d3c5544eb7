"""Types of the C++ core (csrc/bindings.cpp)."""

import numpy as np
from numpy.typing import NDArray

from .spec import PixelSpec

__version__: str

class Plan:
    """Taps and weights for one recipe and one source shape; read only, so any number of threads may run it.

    Raises:
        ImageError: a side of the source is 0 or above 32768, roi (x, y, width, height) leaves it, or the fit
            leaves no pixel.
    """

    def __init__(
        self, spec: PixelSpec, height: int, width: int, color: str, roi: tuple[int, int, int, int] | None = None
    ) -> None: ...
    def run(self, image: NDArray[np.uint8], out: NDArray[np.float32] | NDArray[np.uint8], threads: int = 1) -> None:
        """Write the tensor of image to out, without the GIL.

        Raises:
            ImageError: image or out doesn't fit the plan; out is untouched.
        """

    def run_planes(
        self, planes: tuple[NDArray[np.uint8], ...], out: NDArray[np.float32] | NDArray[np.uint8], threads: int = 1
    ) -> None:
        """The same for a planar frame in arrays of their own: (y, uv) of nv12 and nv21, (y, u, v) of i420."""

    def empty(self) -> NDArray[np.float32] | NDArray[np.uint8]:
        """An uninitialised array that fits run's out."""

def isa() -> str:
    """Name of the instruction set whose kernels run in this process; EDGECNN_ISA chooses another."""

def available_isas() -> tuple[str, ...]:
    """The instruction sets that this build has and this CPU runs, best last."""
