"""Models and files that several tests need, built in code with fixed values."""

from __future__ import annotations

import os
import pathlib

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # several tests import onnxruntime before edgecnn

import numpy as np
import pytest
from PIL import Image

from edgecnn import ModelSpec, PixelSpec, TableSpec

COLORS = {"red": (250, 5, 5), "green": (5, 250, 5), "blue": (5, 5, 250)}


def save_model(path, node_specs, inputs, outputs, initializers=(), spec=None):
    """An ONNX file from (op, inputs, outputs, attributes) tuples, stamped with spec."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kinds = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}
    graph = helper.make_graph(
        [helper.make_node(op, i, o, **a) for op, i, o, a in node_specs],
        "test",
        [helper.make_tensor_value_info(n, kinds[t], s) for n, t, s in inputs],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in initializers],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if spec is not None:
        text = spec if isinstance(spec, str) else spec.to_json()
        helper.set_model_props(model, {"edgecnn": text})
    onnx.save(model, path)
    return path


def color_model(path, *, spec="default", size=8, layout="nhwc", batch="batch"):
    """A classifier whose three scores are the softmax of the mean red, green and blue, times 10."""
    if spec == "default":
        pixels = PixelSpec(height=size, width=size, resize="pil_bilinear", scale=1 / 255, layout=layout)
        spec = ModelSpec(pixels=pixels, labels=tuple(COLORS))
    axes = [1, 2] if layout == "nhwc" else [2, 3]
    shape = [batch, size, size, 3] if layout == "nhwc" else [batch, 3, size, size]
    return save_model(
        path,
        [
            ("ReduceMean", ["image", "axes"], ["mean"], {"keepdims": 0}),
            ("Mul", ["mean", "ten"], ["logits"], {}),
            ("Softmax", ["logits"], ["scores"], {"axis": -1}),
        ],
        [("image", "float32", shape)],
        [("scores", [batch, 3])],
        [("axes", np.array(axes, np.int64)), ("ten", np.float32(10))],
        spec,
    )


def table_model(path, *, head="sigmoid", spec="default"):
    """Three columns a, b, c: sigmoid(a + 2b - c), or for a regression a + 2b - c itself."""
    if spec == "default":
        table = TableSpec(fields=("a", "b", "c", "y"), target="y", header=True)
        spec = ModelSpec(table=table, head=head, labels=("no", "yes") if head == "sigmoid" else None)
    last = ("Sigmoid", ["sum"], ["out"], {}) if head == "sigmoid" else ("Identity", ["sum"], ["out"], {})
    return save_model(
        path,
        [("MatMul", ["row", "weights"], ["sum"], {}), last],
        [("row", "float32", ["batch", 3])],
        [("out", ["batch", 1])],
        [("weights", np.array([[1], [2], [-1]], np.float32))],
        spec,
    )


@pytest.fixture
def make_model():
    """save_model, for a test that needs another graph."""
    return save_model


@pytest.fixture
def make_color_model():
    """color_model, for a test that needs another recipe."""
    return color_model


@pytest.fixture
def image_model(tmp_path) -> pathlib.Path:
    """A stamped classifier of red, green and blue, 8x8."""
    return color_model(tmp_path / "colors.onnx")


@pytest.fixture
def rows_model(tmp_path) -> pathlib.Path:
    """A stamped binary table classifier."""
    return table_model(tmp_path / "rows.onnx")


@pytest.fixture
def regression_model(tmp_path) -> pathlib.Path:
    """A stamped regression on the same columns."""
    return table_model(tmp_path / "regression.onnx", head="regression")


@pytest.fixture
def photos(tmp_path) -> pathlib.Path:
    """A folder with one image a colour (PNG, JPEG, BMP) in subfolders, of odd sizes."""
    folder = tmp_path / "photos"
    for (name, color), suffix, size in zip(
        COLORS.items(), (".png", ".jpg", ".bmp"), ((9, 7), (64, 33), (3, 50)), strict=True
    ):
        (folder / name).mkdir(parents=True)
        Image.new("RGB", size, color).save(folder / name / f"one{suffix}")
    return folder


@pytest.fixture
def video(tmp_path) -> pathlib.Path:
    """An AVI of 12 frames, 32x24: four red, four green, four blue."""
    import cv2

    path = tmp_path / "colors.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (32, 24))
    assert writer.isOpened()
    for color in COLORS.values():
        for _ in range(4):
            writer.write(np.full((24, 32, 3), color[::-1], np.uint8))
    writer.release()
    return path
