"""The compiled core: every instruction set equals the scalar specification, and the choice can be forced."""

import os
import subprocess
import sys

import numpy as np
import pytest

from edgecnn import _core

# Run in a process of its own, since the table of kernels is chosen once; prints a digest of many tensors.
WORK = """
import hashlib, sys
import numpy as np
from edgecnn import _core
from edgecnn.preprocess import preprocess
from edgecnn.spec import RESIZES, PixelSpec

digest = {}
for method in RESIZES:
    rng = np.random.default_rng(7)
    h = hashlib.sha256()
    for turn in range(int(sys.argv[1])):
        height, width, out_h, out_w = (int(v) for v in rng.integers(1, [300, 300, 120, 120]))
        if turn % 5 == 0:
            height, width = out_h * int(rng.integers(1, 4)), out_w * int(rng.integers(1, 4))
        color = ("rgb", "bgr", "rgba", "bgra", "gray")[turn % 5 if turn % 3 else 0]
        channels = {"rgb": 3, "bgr": 3, "gray": 1}.get(color, 4)
        image = rng.integers(0, 256, (height + 2, width + 3, channels)).astype(np.uint8)[1:-1, 1:-2]
        if turn % 4 == 3:
            color = ("yuyv", "uyvy", "nv12", "nv21", "i420")[turn % 5]
            height, width = height + height % 2, width + width % 2
            shape = (height, width, 2) if turn % 5 < 2 else (height * 3 // 2, width)
            image = rng.integers(0, 256, shape).astype(np.uint8)
        target = ("rgb", "bgr", "gray")[turn % 7 % 3]
        float_out = bool(turn % 6)
        fields = {}
        if float_out and turn % 2:
            fields = {"scale": 1 / 255, "offset": -0.5}
        elif float_out and turn % 4 == 0:
            n = 1 if target == "gray" else 3
            fields = {"divisor": 255.0, "mean": (0.4, 0.5, 0.6)[:n], "std": (0.2, 0.3, 0.25)[:n]}
        spec = PixelSpec(
            height=out_h, width=out_w, resize=method, color=target, layout=("nhwc", "nchw")[turn % 11 % 2],
            dtype="float32" if float_out else "uint8", fit=("stretch", "stretch", "crop")[turn % 3], **fields,
        )
        h.update(preprocess(image, spec, color=color).tobytes())
    digest[method] = h.hexdigest()
print(_core.isa(), *[f"{k}={v}" for k, v in digest.items()])
"""


def run_with(isa: str | None, turns: int = 60) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k != "EDGECNN_ISA"}
    if isa is not None:
        env["EDGECNN_ISA"] = isa
    command = [sys.executable, "-c", WORK, str(turns)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def scalar() -> list[str]:
    done = run_with("scalar")
    assert done.returncode == 0, done.stderr
    name, *digests = done.stdout.split()
    assert name == "scalar"
    return digests


@pytest.mark.parametrize("isa", _core.available_isas())
def test_every_instruction_set_equals_scalar(isa, scalar):
    done = run_with(isa)
    assert done.returncode == 0, done.stderr
    name, *digests = done.stdout.split()
    assert name == isa
    assert [d for d in digests if d not in scalar] == []


def test_best_one_is_the_default():
    assert _core.available_isas()[0] == "scalar"
    done = run_with(None, turns=1)
    assert done.stdout.split()[0] == _core.available_isas()[-1]


def test_unknown_instruction_set_is_refused():
    done = run_with("pdp-11", turns=1)
    assert done.returncode != 0
    assert "EDGECNN_ISA is 'pdp-11'" in done.stderr


def test_plan_refuses_what_is_no_spec():
    with pytest.raises(AttributeError):
        _core.Plan(object(), 4, 4, "rgb")


def test_plan_empty_fits_run():
    from edgecnn.spec import PixelSpec

    plan = _core.Plan(PixelSpec(height=3, width=5, layout="nchw", dtype="uint8"), 4, 4, "rgb")
    out = plan.empty()
    assert out.shape == (3, 3, 5)
    assert out.dtype == np.uint8
    plan.run(np.zeros((4, 4, 3), np.uint8), out)
    assert not out.any()
