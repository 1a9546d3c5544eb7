"""`edgecnn bench`: milliseconds of each stage of one model on this machine.

The picture is synthetic, 1920x1080, and its JPEG has quality 90: decode and preprocess depend on the size
far more than on the content.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from . import _core
from .decode import decode
from .predictor import Predictor, default_model
from .preprocess import preprocess
from .selftest import synthetic_image
from .session import DEVICES
from .terminal import say, show

_BATCHES = (1, 8)
_HEIGHT, _WIDTH = 1080, 1920


def measure(predictor: Predictor, *, seconds: float = 0.5) -> dict[str, dict[str, float]]:
    """Time every stage for about `seconds` each.

    Returns:
        Stage -> {"median_ms", "p95_ms", "runs"}; inference of a batch is per batch.
    """
    stages: dict[str, Callable[[], object]] = {}
    if predictor.spec.table is None:
        pixels = predictor.pixels
        image = synthetic_image(_HEIGHT, _WIDTH)
        jpeg = io.BytesIO()
        Image.fromarray(image).save(jpeg, "JPEG", quality=90)
        out = predictor.allocate(1)
        stages["decode 1920x1080 JPEG"] = lambda: decode(jpeg.getvalue(), pixels.decode)
        stages["preprocess 1920x1080"] = lambda: preprocess(image, pixels, out[0])
        stages["predict JPEG, all stages"] = lambda: predictor.predict(jpeg.getvalue())
    for n in _BATCHES:
        batch = _inputs(predictor, n)
        stages[f"inference, batch {n}"] = lambda batch=batch: predictor.infer(batch, [{}] * len(batch))  # type: ignore[misc]
    return {name: _time(run, seconds) for name, run in stages.items()}


def _inputs(predictor: Predictor, n: int) -> npt.NDArray[Any]:
    if predictor.spec.table is not None:
        return np.ones((n, predictor.spec.table.width), np.float32)
    batch = predictor.allocate(n)
    for slot in batch:
        predictor.prepare(synthetic_image(_HEIGHT // 4, _WIDTH // 4), slot)
    return batch


def _time(run: Callable[[], object], seconds: float) -> dict[str, float]:
    run()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return {
        "median_ms": statistics.median(times),
        "p95_ms": sorted(times)[int(0.95 * (len(times) - 1))],
        "runs": len(times),
    }


def main(argv: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="edgecnn bench", description=__doc__)
    parser.add_argument("model", nargs="?", metavar="MODEL.onnx", help="default: as edgecnn predict")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="default: auto")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of one inference (default: onnxruntime's)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    predictor = Predictor(args.model or default_model(), device=args.device, threads=args.threads)
    say("edgecnn: measuring, about 3 s")
    stages = measure(predictor)
    if args.json:
        print(
            json.dumps(
                {"model": str(predictor.path), "provider": predictor.provider, "isa": _core.isa(), "stages": stages},
                indent=2,
            )
        )
        return 0
    show(f"{predictor.path} on {predictor.provider}, kernel {_core.isa()}")
    for name, t in stages.items():
        print(f"  {name:26} {t['median_ms']:9.3f} ms   (95 % under {t['p95_ms']:.3f} ms)")
    return 0
