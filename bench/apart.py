"""Peers that can't be installed beside the others, each in a virtual environment and a process of its own.

pillow-simd replaces the package PIL; torchvision brings gigabytes of PyTorch. `make bench-peers` makes the
environments under build/peers; those that are not there are left out. A job is timed in the process that does it and
takes turns with ours over a pipe, so that the protocol is the same as for the peers beside us.

Run as a script it is that process: a pickled case on stdin, then a line for each run.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

PLACE = Path(__file__).parents[1] / "build" / "peers"
NAMES = {"pillow-simd": "pillow-simd", "torchvision": "torchvision"}
"""Name of the environment -> package on PyPI."""


def python_of(name: str) -> Path:
    """The interpreter of a peer's environment, there or not."""
    return PLACE / name / "bin" / "python"


def versions() -> dict[str, str]:
    """Name -> version of every peer whose environment is there."""
    found = {}
    for name, package in NAMES.items():
        if python_of(name).exists():
            ask = f"import importlib.metadata as m; print(m.version({package!r}))"
            done = subprocess.run([python_of(name), "-c", ask], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                found[name] = done.stdout.strip()
    return found


class ApartJob:
    """A job in a peer's process: call it for the answer, `clock` it for the seconds that it took there."""

    def __init__(self, name: str, case: Any) -> None:
        self._process = subprocess.Popen(
            [python_of(name), __file__, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        pickle.dump((case.resize, case.height, case.width, case.source), self._pipe)
        self._pipe.flush()

    def __del__(self) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait()

    @property
    def _pipe(self) -> Any:
        return self._process.stdin

    def _ask(self, what: bytes) -> Any:
        self._pipe.write(what)
        self._pipe.flush()
        return pickle.load(self._process.stdout)  # type: ignore[arg-type]

    def __call__(self) -> Any:
        return self._ask(b"a\n")

    def clock(self) -> float:
        """Seconds of one run in the peer's process."""
        return float(self._ask(b"t\n"))


def pillow_simd(resize: str, height: int, width: int, source: Any) -> Any:
    """Image.resize, then NumPy, exactly as for Pillow."""
    import numpy as np
    from PIL import Image

    method = getattr(Image.Resampling, resize.removeprefix("pil_").upper())
    image = Image.fromarray(source)
    return lambda: np.asarray(image.resize((width, height), method)).astype(np.float32) * np.float32(1 / 255)


def torchvision(resize: str, height: int, width: int, source: Any) -> Any:
    """transforms.v2.functional.resize of a uint8 tensor, then float: what its users write; one thread."""
    import numpy as np
    import torch
    from torchvision.transforms.v2 import functional

    torch.set_num_threads(1)
    bicubic = resize.endswith("bicubic")
    mode = functional.InterpolationMode.BICUBIC if bicubic else functional.InterpolationMode.BILINEAR
    antialias = resize != "tf_bilinear"
    tensor = torch.from_numpy(np.ascontiguousarray(source.transpose(2, 0, 1)))

    def job() -> Any:
        small = functional.resize(tensor, [height, width], mode, antialias=antialias)
        return small.permute(1, 2, 0).to(torch.float32).mul_(1 / 255).numpy()

    return job


def serve(name: str) -> None:
    """Answer the lines that ApartJob writes: the array for a, the seconds of a run for t."""
    import time

    make = {"pillow-simd": pillow_simd, "torchvision": torchvision}[name]
    job = make(*pickle.load(sys.stdin.buffer))
    for line in sys.stdin.buffer:
        start = time.perf_counter()
        answer = job()
        took = time.perf_counter() - start
        pickle.dump(answer if line == b"a\n" else took, sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
