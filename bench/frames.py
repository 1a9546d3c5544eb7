"""How fast does a camera's frame become a tensor, beside cv2.cvtColor, cv2.resize, astype and multiply?"""

from __future__ import annotations

from typing import Any

import numpy as np
from race import Job, race

from edgecnn import PixelSpec, preprocess

SOURCE = (720, 1280)
SIZE = 64
RESIZE = "cv2_linear"


def measure(seconds: float) -> list[dict[str, Any]]:
    """One row a format; NV12 also in two planes. The answers must be OpenCV's."""
    import cv2

    cv2.setNumThreads(1)
    height, width = SOURCE
    rng = np.random.default_rng(0)
    spec = PixelSpec(height=SIZE, width=SIZE, resize=RESIZE, scale=1 / 255)
    out = np.empty(spec.shape, np.float32)
    rows = []
    for color in ("nv12", "nv12 in planes", "i420", "yuyv"):
        name = color.split()[0]
        shape = (height, width, 2) if name == "yuyv" else (height * 3 // 2, width)
        frame = rng.integers(0, 256, shape).astype(np.uint8)
        rgb, small = np.empty((height, width, 3), np.uint8), np.empty((SIZE, SIZE, 3), np.uint8)
        code = getattr(cv2, f"COLOR_YUV2RGB_{name.upper()}")
        planes = (frame[:height], frame[height:].reshape(height // 2, width // 2, 2)) if "planes" in color else None

        def theirs(frame=frame, code=code, planes=planes, rgb=rgb, small=small) -> np.ndarray:
            if planes:
                cv2.cvtColorTwoPlane(*planes, code, dst=rgb)
            else:
                cv2.cvtColor(frame, code, dst=rgb)
            cv2.resize(rgb, (SIZE, SIZE), dst=small)
            return small.astype(np.float32) * np.float32(1 / 255)

        image = planes or frame
        mine: Job = lambda image=image, name=name: preprocess(image, spec, out, color=name)  # noqa: E731
        exact = bool(np.array_equal(mine(), theirs()))
        us, other, ratio = race(mine, theirs, seconds)
        rows.append({"what": color, "us": us, "peer_us": other, "ratio": ratio, "exact": exact})
    return rows
