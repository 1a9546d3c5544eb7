"""The libraries that the kernel is compared with: each does the same job, from a uint8 frame to a float32 tensor.

Each returns the tensor, (height, width, 3) float32 scaled to 0..1, and is written as its users write it, with what the
library offers to avoid work (output buffers where it has them). A peer that is not installed is left out.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Callable

import apart
import numpy as np
from race import Job


@dataclasses.dataclass(frozen=True)
class Case:
    """One line of the table: a resize method, a source and a target."""

    resize: str
    height: int
    width: int
    source: np.ndarray
    """(H, W, 3) uint8 RGB."""
    frame: np.ndarray
    """The same as BGR, what cameras and files give OpenCV's users; it and the kernel read the same bytes then."""


SCALE = np.float32(1 / 255)


def pillow(case: Case) -> Job | None:
    """Image.resize, then NumPy; the oracle of pil_*."""
    if not case.resize.startswith("pil_"):
        return None
    from PIL import Image

    method = getattr(Image.Resampling, case.resize.removeprefix("pil_").upper())
    image = Image.fromarray(case.source)
    size = (case.width, case.height)
    return lambda: np.asarray(image.resize(size, method)).astype(np.float32) * SCALE


def opencv(case: Case) -> Job | None:
    """cv2.resize with the nearest equivalent, astype, multiply; the oracle of cv2_*."""
    import cv2

    names = {
        "tf_nearest": "NEAREST", "pil_nearest": "NEAREST", "cv2_nearest": "NEAREST", "tf_bilinear": "LINEAR",
        "cv2_linear": "LINEAR", "tf_area": "AREA", "cv2_area": "AREA", "cv2_cubic": "CUBIC", "tf_bicubic": "CUBIC",
        "pil_box": "AREA", "pil_bilinear": "AREA", "tf_bilinear_antialias": "AREA",
    }  # fmt: skip
    if case.resize not in names:
        return None
    cv2.setNumThreads(1)
    method = getattr(cv2, f"INTER_{names[case.resize]}")
    # BGR has to become RGB somewhere: the small side is the cheap one.
    small = np.empty((case.height, case.width, 3), np.uint8)

    # The reference of cv2_cubic is OpenCV's own code; Intel's IPP, which its x86 wheel prefers, rounds otherwise.
    cv2.ipp.setUseIPP(case.resize != "cv2_cubic")

    def job() -> np.ndarray:
        cv2.resize(case.frame, (case.width, case.height), dst=small, interpolation=method)
        return cv2.cvtColor(small, cv2.COLOR_BGR2RGB).astype(np.float32) * SCALE

    return job


def tensorflow(case: Case) -> Job | None:
    """tf.image.resize in a compiled function on one thread; the oracle of tf_*."""
    if not case.resize.startswith("tf_"):
        return None
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    name = case.resize.removeprefix("tf_")
    method, antialias = name.removesuffix("_antialias"), name.endswith("_antialias")
    source = tf.constant(case.source)

    @tf.function
    def resize(image):  # type: ignore[no-untyped-def]
        small = tf.image.resize(image, (case.height, case.width), method, antialias=antialias)
        return tf.cast(small, tf.float32) * SCALE

    return lambda: resize(source).numpy()


def kornia_rs(case: Case) -> Job | None:
    """Its fused Preprocessor, which resizes bilinearly and normalises in one pass, into CHW."""
    if case.resize != "tf_bilinear":
        return None
    import kornia_rs as kornia

    fused = kornia.Preprocessor(mode="stretch", format="rgb", mean=[0.0] * 3, std=[1.0] * 3)
    flat = case.source.ravel()
    height, width = case.source.shape[:2]

    def job() -> np.ndarray:
        tensor = fused.run(flat, width=width, height=height, out_height=case.height, out_width=case.width)
        return np.asarray(tensor.numpy())[0].transpose(1, 2, 0)

    return job


def ncnn(case: Case) -> Job | None:
    """Mat.from_pixels_resize and substract_mean_normalize, bilinear in fixed point, into planes."""
    if case.resize != "tf_bilinear":
        return None
    import ncnn as library

    height, width = case.source.shape[:2]
    kind = library.Mat.PixelType.PIXEL_RGB

    def job() -> np.ndarray:
        mat = library.Mat.from_pixels_resize(case.source, kind, width, height, case.width, case.height)
        mat.substract_mean_normalize([], [float(SCALE)] * 3)
        return np.array(mat).transpose(1, 2, 0)

    return job


def libvips(case: Case) -> Job | None:
    """pyvips' resize with a linear or a Lanczos kernel; shrinks by boxes first."""
    if case.resize not in ("pil_bilinear", "pil_lanczos"):
        return None
    import pyvips

    pyvips.cache_set_max(0)
    pyvips.concurrency_set(1)
    height, width = case.source.shape[:2]
    kernel = "linear" if case.resize == "pil_bilinear" else "lanczos3"

    def job() -> np.ndarray:
        image = pyvips.Image.new_from_array(case.source)
        small = image.resize(case.width / width, vscale=case.height / height, kernel=kernel)
        return small.numpy().astype(np.float32) * SCALE

    return job


PEERS: dict[str, tuple[Callable[[Case], Job | None], str]] = {
    "Pillow": (pillow, "pillow"),
    "OpenCV": (opencv, "opencv-python"),
    "TensorFlow": (tensorflow, "tensorflow"),
    "kornia-rs": (kornia_rs, "kornia-rs"),
    "ncnn": (ncnn, "ncnn"),
    "libvips": (libvips, "pyvips-binary"),
}
"""Name -> (job of a case, package on PyPI)."""

APART = {
    "pillow-simd": tuple(f"pil_{m}" for m in ("box", "bilinear", "hamming", "bicubic", "lanczos")),
    "torchvision": ("tf_bilinear", "tf_bilinear_antialias", "pil_bilinear", "pil_bicubic"),
}
"""Peers in environments of their own -> the methods that they have (torchvision's antialias is like Pillow's)."""

ORACLES = {"pil": "Pillow", "cv2": "OpenCV", "tf": "TensorFlow"}
"""Prefix of a resize method -> the peer whose bits it must reproduce."""


def job_of(peer: str, case: Case) -> Job | None:
    """A peer's job of a case; None where it has none like it."""
    if peer in PEERS:
        return PEERS[peer][0](case)
    return apart.ApartJob(peer, case) if case.resize in APART[peer] else None


def installed() -> dict[str, str]:
    """Name -> version of every peer that is there."""
    found = {}
    for name, (_, package) in PEERS.items():
        for alternative in (package, f"{package}-cpu", f"{package}-headless"):
            try:
                found[name] = importlib.metadata.version(alternative)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return found | apart.versions()
