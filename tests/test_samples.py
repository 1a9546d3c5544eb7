"""edgecnn.export.proof.samples: real inputs for models of several inputs and for sequences come from an .npz file."""

from __future__ import annotations

import json
import pickle

import keras
import numpy as np
import onnx
import onnxruntime
import pytest

from edgecnn import ModelSpec, PixelSpec, SourceError
from edgecnn.cli import guard
from edgecnn.export.proof.samples import MAX_BYTES, read_samples, within_memory
from edgecnn.export.source import Tensor
from edgecnn.export.to_onnx import main

L = keras.layers
INPUTS = (Tensor("steps", (None, None, 2), "float32"), Tensor("ids", (None, 3), "int32"))
N = 40


def arrays():
    rng = np.random.default_rng(2)
    return {"steps": rng.normal(size=(N, 5, 2)).astype(np.float32), "ids": rng.integers(0, 9, (N, 3))}


def test_each_input_gets_its_array_in_its_type(tmp_path):
    given = arrays()
    np.savez(tmp_path / "a.npz", **given, classes=np.arange(N) % 3, more=np.ones(7))
    samples = read_samples(tmp_path / "a.npz", ModelSpec(), INPUTS, limit=10)
    assert len(samples) == 10
    np.testing.assert_array_equal(samples.inputs[0], given["steps"][::4])
    np.testing.assert_array_equal(samples.inputs[1], given["ids"][::4])
    assert [a.dtype for a in samples.inputs] == [np.float32, np.int32]
    np.testing.assert_array_equal(samples.classes, (np.arange(N) % 3)[::4])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": None}, r"lacks the array ids int32 \[batch, 3\]; it holds steps"),
        ({"ids": np.zeros((N, 4), int)}, r"ids is int64 \[40, 4\], the model takes ids int32 \[batch, 3\]"),
        ({"ids": np.zeros((N, 3))}, r"ids is float64 \[40, 3\], the model takes"),
        ({"ids": np.zeros((N + 1, 3), int)}, "the same number of samples"),
        ({"classes": np.zeros(3, int)}, "the same number of samples"),
        ({"ids": np.array([["a"] * 3] * N, object)}, "can't be read as an .npz file"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, message):
    found = {k: v for k, v in {**arrays(), **change}.items() if v is not None}
    np.savez(tmp_path / "a.npz", **found)
    with pytest.raises(SourceError, match=message):
        read_samples(tmp_path / "a.npz", ModelSpec(), INPUTS)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", pickle.dumps([1])])
def test_what_is_no_npz_file_is_said_and_never_unpickled(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(SourceError, match=r"can't be read as an \.npz file"):
        read_samples(tmp_path / "a.npz", ModelSpec(), INPUTS)


def test_other_data_for_several_inputs_asks_for_npz(tmp_path):
    with pytest.raises(SourceError, match=r"2 inputs; give an .npz file with the arrays steps, ids"):
        read_samples(tmp_path, ModelSpec(), INPUTS)


@pytest.mark.parametrize("side", [8, 224, 4096])
def test_large_inputs_are_fewer(side):
    pixels = PixelSpec(height=side, width=side)
    count = within_memory(512, pixels)
    assert 1 <= count <= 512
    assert count * side * side * 3 * 4 <= MAX_BYTES
    assert count == 512 or (count + 1) * side * side * 3 * 4 > MAX_BYTES


@pytest.fixture
def two(tmp_path):
    """A model with two inputs and two outputs, and its data."""
    keras.utils.set_random_seed(31)
    left, right = L.Input((16,), name="left"), L.Input((8,), name="right")
    x = L.Dense(64, activation="relu")(L.Concatenate()([left, right]))
    x = L.Dense(64, activation="relu")(x)
    outputs = {"kind": L.Dense(3, activation="softmax", name="kind")(x), "size": L.Dense(1, name="size")(x)}
    model = keras.Model([left, right], list(outputs.values()))
    model.save(tmp_path / "m.keras")
    rng = np.random.default_rng(4)
    data = {"left": rng.normal(size=(300, 16)).astype(np.float32), "right": rng.normal(size=(300, 8))}
    np.savez(tmp_path / "d.npz", **data)
    return model, data


@pytest.mark.parametrize("kind", ["int8", "fp16", "auto"])
def test_a_model_with_several_inputs_is_quantised_on_its_data(two, tmp_path, kind):
    model, data = two
    options = ["--quantize", kind, "--calibration", tmp_path / "d.npz", "--report", tmp_path / "r.json"]
    assert guard(main, [str(a) for a in (tmp_path / "m.keras", *options, "--max-drop", "0.05")]) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    q = report["quantization"]
    assert (q["requested"], q["kind"]) == (kind, "fp16" if kind == "fp16" else "int8")
    assert q["quantized_bytes"] < 0.7 * q["float32_bytes"]
    assert q["calibration_samples"] == (0 if kind == "fp16" else 256)
    assert 0 <= q["drop"] <= 0.05
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert [v.name for v in graph.input] == ["left", "right"]
    assert [v.name for v in graph.output] == ["kind", "size"]
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    feed = {k: v.astype(np.float32) for k, v in data.items()}
    classes, values = session.run(None, feed)
    expected, sizes = model.predict(list(feed.values()), verbose=0)
    agreement = np.mean(classes.argmax(1) == expected.argmax(1))
    lost = np.mean((values - sizes) ** 2) / np.var(sizes)
    assert q["top1_agreement"] == pytest.approx(agreement, abs=0.01)
    assert q["drop"] == pytest.approx(max(1 - agreement, lost), abs=0.01)
