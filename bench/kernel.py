"""How fast is every resize method beside the libraries that have one like it, and are the answers theirs?

Every answer is held against the library whose bits the recipe names.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from peers import ORACLES, SCALE, Case, installed, job_of
from race import Job, race

from edgecnn import PixelSpec, preprocess
from edgecnn.selftest import synthetic_image

SOURCE = (1080, 1920)
SIZES = (64, 224)
METHODS = (
    "tf_bilinear", "tf_bilinear_antialias", "tf_area", "tf_bicubic", "tf_nearest", "pil_nearest", "pil_box",
    "pil_bilinear", "pil_hamming", "pil_bicubic", "pil_lanczos", "cv2_nearest", "cv2_linear", "cv2_area", "cv2_cubic",
)  # fmt: skip


def ours(case: Case, color: str = "rgb") -> Job:
    """The kernel with a reused plan and output buffer, on the case's RGB or BGR pixels."""
    spec = PixelSpec(height=case.height, width=case.width, resize=case.resize, scale=1 / 255)
    out = np.empty(spec.shape, np.float32)
    pixels = case.source if color == "rgb" else case.frame
    return lambda: preprocess(pixels, spec, out, color=color)


def read_floor(image: np.ndarray) -> Job:
    """Read every byte of the source once, as fast as NumPy can: a loop of AVX2 loads in C++ took the same time."""
    words = image.reshape(-1).view(np.uint64)
    return lambda: np.bitwise_or.reduce(words)


def measure(seconds: float) -> list[dict[str, Any]]:
    """One row a method, size and peer."""
    image = synthetic_image(*SOURCE)
    frame = np.ascontiguousarray(image[..., ::-1])
    versions = installed()
    rows: list[dict[str, Any]] = []
    for method in METHODS:
        for size in SIZES:
            case = Case(method, size, size, image, frame)
            mine = ours(case)
            answer = mine().copy()
            floor = race(mine, read_floor(image), seconds)[1]
            for peer in versions:
                job = job_of(peer, case)
                if job is None:
                    continue
                theirs = job()
                us, other, ratio = race(ours(case, "bgr") if peer == "OpenCV" else mine, job, seconds)
                row = {
                    "method": method, "size": size, "us": us, "floor": floor, "peer": peer, "peer_us": other,
                    "ratio": ratio, "differ": float(np.mean(answer != theirs)),
                    "largest": float(np.abs(answer - theirs).max() / SCALE),
                    "oracle": ORACLES[method.partition("_")[0]] == peer,
                }  # fmt: skip
                rows.append(row)
                print(
                    f"{method:22} {size:4}  {us:9.1f} us  {peer:11} {other:10.1f} us  x{ratio:6.2f}  "
                    f"{row['differ']:7.2%} differ, by up to {row['largest']:.2f} levels",
                    file=sys.stderr,
                )
    return rows
