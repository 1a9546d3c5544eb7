"""What does the call itself cost, and what do two threads gain?"""

from __future__ import annotations

from typing import Any

import numpy as np
from race import race

from edgecnn import PixelSpec, preprocess
from edgecnn.preprocess import _plan
from edgecnn.selftest import synthetic_image

THREADED = ("tf_bilinear_antialias", "tf_area", "pil_bilinear", "pil_lanczos", "cv2_area")


def measure(seconds: float) -> list[dict[str, Any]]:
    """A tensor of one pixel, where nothing but the call is left: of preprocess, and of the plan below it."""
    image = np.zeros((1, 1, 3), np.uint8)
    spec = PixelSpec(height=1, width=1)
    out = np.empty(spec.shape, np.float32)
    plan = _plan(spec, 1, 1, "rgb", None)

    def calls() -> None:
        for _ in range(100):
            preprocess(image, spec, out)

    def runs() -> None:
        for _ in range(100):
            plan.run(image, out, 1)

    whole, below, _ = race(calls, runs, seconds)
    return [{"what": "preprocess", "us": whole / 100}, {"what": "of that the binding and the core", "us": below / 100}]


def threads(seconds: float) -> list[dict[str, Any]]:
    """1920x1080 to 64x64 by two threads beside one."""
    image = synthetic_image(1080, 1920)
    rows = []
    for method in THREADED:
        spec = PixelSpec(height=64, width=64, resize=method, scale=1 / 255)
        out = np.empty(spec.shape, np.float32)
        two, one, ratio = race(
            lambda spec=spec, out=out: preprocess(image, spec, out, threads=2),
            lambda spec=spec, out=out: preprocess(image, spec, out),
            seconds,
        )
        rows.append({"what": method, "us": two, "peer_us": one, "ratio": ratio})
    return rows
