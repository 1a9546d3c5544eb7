"""`edgecnn selftest`: prove kernel, decoders and model on the machine where they will run.

Needs neither TensorFlow nor OpenCV: what Pillow, TensorFlow and OpenCV computed from fixed pixels is kept
here as digests, so that one differing bit shows.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from . import _core, golden
from .decode import decode
from .errors import EdgeCNNError, VerificationError
from .predictor import Predictor, embedded_model
from .preprocess import preprocess
from .session import DEVICES, Session
from .spec import DECODES, ModelSpec, PixelSpec
from .terminal import say, show

SHAPES = (((37, 53), (24, 31)), ((5, 7), (16, 16)), ((300, 401), (20, 24)))
"""(source height, width), (target height, width): odd, enlarged, and reduced so far that filters are wide."""

KERNEL_DIGESTS = {
    "tf_nearest": "100693103e70f08b",
    "tf_bilinear": "90becdaf1c0b8ec7",
    "tf_bilinear_antialias": "e5f3b674c152683a",
    "tf_area": "4057ab076a09a3c0",
    "tf_bicubic": "e2cdf72191b47278",
    "pil_nearest": "100693103e70f08b",
    "pil_box": "d204f0cc1e063876",
    "pil_bilinear": "2c2b232a8b91913f",
    "pil_hamming": "1cf6cf1f89f7f806",
    "pil_bicubic": "6287f8a5d23439f0",
    "pil_lanczos": "8e89997113b01e62",
    "cv2_nearest": "3eb560d0b631d103",
    "cv2_linear": "3995d7d2950e6283",
    "cv2_area": "2b6cdde83bb8e38e",
    "cv2_cubic": "38ab56704672a80b",
}
"""Resize -> the first 16 hex digits of the SHA-256 of its results over SHAPES, from the library itself."""

DECODE_DIGESTS = {
    "pil": "181a9d4a4175d601",
    "tf": "a770189e1a715d9b",
    "fast": "bafb5cae2a0d7ce0",
}
"""Decoder -> the same of selftest.jpg, a 4:2:0 JPEG whose pixels differ between them; fast as Pillow's draft."""

_HALF = (26, 37)
"""A size for which fast decodes selftest.jpg at half of its own."""

_PARTS_TOLERANCE = 1e-4
"""Largest difference of a model's output between batch sizes, as a share of the output's scale."""


def synthetic_image(height: int, width: int) -> npt.NDArray[np.uint8]:
    """A smooth picture with noise, the same on every machine: (height, width, 3) uint8 RGB."""
    y, x = np.mgrid[0:height, 0:width].astype(np.uint32)
    # A multiplicative hash (Knuth's 2654435761) as noise: no generator whose stream a library may change.
    noise = ((x * 73856093 ^ y * 19349663) * np.uint32(2654435761)) >> np.uint32(27)
    planes = [x * 200 // width, y * 200 // height, (x + y) * 100 // (width + height)]
    return np.stack([(p + noise).astype(np.uint8) for p in planes], axis=-1)


def check_kernel(resize: str) -> str:
    """Compare one resize method with its library, bit for bit.

    Raises:
        VerificationError: a bit differs.
    """
    found = golden.digest(
        [
            preprocess(synthetic_image(*source), PixelSpec(height=target[0], width=target[1], resize=resize))
            for source, target in SHAPES
        ]
    )
    return _compare(found, KERNEL_DIGESTS[resize], f"kernel {resize} on {_core.isa()}")


def check_decoder(decoder: str) -> str:
    """Compare one decoder with its library, bit for bit.

    Raises:
        VerificationError: a bit differs.
    """
    size = _HALF if decoder == "fast" else None
    found = golden.digest([decode(Path(__file__).with_name("selftest.jpg"), decoder, size=size)])
    return _compare(found, DECODE_DIGESTS[decoder], f"decoder {decoder}")


def _compare(found: str, expected: str, what: str) -> str:
    if found != expected:
        raise VerificationError(f"{what} gives digest {found}, expected {expected}: its pixels are not exact here")
    return "exact"


def check_model(predictor: Predictor) -> str:
    """Run a model: finite outputs, the same alone as in a batch.

    Raises:
        VerificationError: an output is not finite, or depends on the batch.
    """
    batch = _inputs(predictor)
    together = np.stack([r.scores for r in predictor.infer(batch, [{}] * len(batch))])
    alone = np.stack([predictor.infer(batch[i : i + 1], [{}])[0].scores for i in range(len(batch))])
    if not np.isfinite(together).all():
        raise VerificationError(f"the model's outputs are not all finite: {together.ravel()[:8]}")
    difference = float(np.abs(together - alone).max() / max(1.0, float(np.abs(alone).max())))
    if difference > _PARTS_TOLERANCE:
        raise VerificationError(
            f"outputs differ between batch {len(batch)} and batch 1 by {difference:.2g}, more than {_PARTS_TOLERANCE}"
        )
    return f"{len(batch)} inputs on {predictor.provider}"


def _inputs(predictor: Predictor) -> npt.NDArray[np.float32]:
    if predictor.spec.table is not None:
        columns = predictor.spec.table.width
        return np.arange(3 * columns, dtype=np.float32).reshape(3, columns)
    batch = predictor.allocate(3)
    for slot, size in zip(batch, (17, 200, 640), strict=True):
        predictor.prepare(synthetic_image(size, size + 20), slot)
    return batch


def check_digits(predictor: Predictor) -> str:
    """Read the ten digits of digits.png, a strip of 0 to 9, with the built-in classifier.

    Raises:
        VerificationError: one is read wrongly.
    """
    strip = decode(Path(__file__).with_name("digits.png"))
    read = "".join(r.label for r in predictor.predict_batch(np.split(strip, 10, axis=1)))
    if read != "0123456789":
        raise VerificationError(f"the built-in classifier reads 0123456789 as {read}")
    return f"reads {read}"


def checks(session: Session, device: str) -> Iterator[tuple[str, Callable[[], str]]]:
    """Name and function of every check, in the order from pixels to answer."""
    path, spec = session.path, session.read_spec() or ModelSpec()
    predictor = functools.cache(lambda: Predictor(path, device=device))
    for decoder in DECODES:
        yield f"decode {decoder}", lambda d=decoder: check_decoder(d)  # type: ignore[misc]
    for resize in KERNEL_DIGESTS:
        yield f"kernel {resize}", lambda r=resize: check_kernel(r)  # type: ignore[misc]
    if len(session.inputs) == len(session.outputs) == 1 and (spec.pixels is not None or spec.table is not None):
        yield f"model {path.name}", lambda: check_model(predictor())
    yield from golden.checks(session, spec)
    if path == embedded_model():
        yield "handwritten digits", lambda: check_digits(predictor())


def main(argv: Sequence[str]) -> int:
    """The command; exit status 1 where a check fails."""
    parser = argparse.ArgumentParser(prog="edgecnn selftest", description=__doc__)
    parser.add_argument("model", nargs="?", metavar="MODEL.onnx", help="default: the built-in digits classifier")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="default: auto")
    args = parser.parse_args(argv)
    session = Session(args.model or embedded_model(), device=args.device, several=True)
    started, failed = time.monotonic(), 0
    for name, check in checks(session, args.device):
        try:
            show(f"ok      {name}: {check()}")
        except EdgeCNNError as e:
            failed += 1
            show(f"FAILED  {name}: {e}")
    if not golden.travels(session):
        why = "the file holds no golden samples, so its outputs were compared with nothing"
        say(f"note: {why}; export it with a recipe, and without --golden 0")
    say(
        f"{'all checks passed' if not failed else f'{failed} checks failed'} in {time.monotonic() - started:.1f} s "
        f"(kernel {_core.isa()}, {session.provider})",
    )
    return 1 if failed else 0
