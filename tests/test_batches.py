"""edgecnn.export.batches: a model whose batch is fixed is freed where its layers allow it, else padded and said so."""

from __future__ import annotations

import json

import keras
import numpy as np
import onnx
import pytest
from PIL import Image

import edgecnn
from edgecnn.cli import guard
from edgecnn.export.batches import run_in_batches
from edgecnn.export.load import load
from edgecnn.export.quantize import KINDS
from edgecnn.export.to_onnx import main
from edgecnn.export.verify import open_session

L = keras.layers
BATCH = 4


def test_every_sample_is_run_once_and_padding_is_dropped():
    seen = []

    def run(arrays):
        seen.append(arrays[0].tolist())
        return [arrays[0] * 10, arrays[1]]

    a, b = np.arange(5), np.arange(10).reshape(5, 2)
    tens, same = run_in_batches(run, [a, b], 3)
    assert seen == [[0, 1, 2], [3, 4, 0]]
    np.testing.assert_array_equal(tens, a * 10)
    np.testing.assert_array_equal(same, b)


@pytest.fixture
def baked(tmp_path):
    """An image model that holds its batch of 4 as a constant in a reshape."""
    keras.utils.set_random_seed(23)
    image = keras.Input(batch_shape=(BATCH, 8, 8, 3))
    x = L.Conv2D(3, 3, activation="relu")(image)
    x = keras.ops.reshape(x, (BATCH, 108))
    model = keras.Model(image, L.Dense(3, activation="softmax")(x))
    model.save(tmp_path / "m.keras")
    return model


def photos(folder, count):
    rng = np.random.default_rng(5)
    folder.mkdir()
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{i}.png")
    return sorted(folder.iterdir())


@pytest.mark.parametrize("quantize", [k for k in KINDS if k != "auto"])
def test_a_batch_that_the_layers_rely_on_is_kept_and_said(baked, tmp_path, capsys, quantize):
    files = photos(tmp_path / "photos", 6)
    options = ["--preset", "keras-flow", "--report", tmp_path / "r.json", "--calibration", tmp_path / "photos"]
    options += ["--quantize", quantize, "--max-drop", "1"]
    assert guard(main, [str(a) for a in (tmp_path / "m.keras", *options)]) == 0
    assert "the layers rely on a batch of 4" in capsys.readouterr().err
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["batch"] == BATCH
    assert report["inputs"][0]["shape"] == [BATCH, 8, 8, 3]
    predictor = edgecnn.Predictor(tmp_path / "m.onnx", device="cpu")
    assert predictor.input_shape == (BATCH, 8, 8, 3)
    assert "fixed at 4" in predictor.spec.provenance["batch"]
    x = np.stack([np.asarray(Image.open(f), np.float32) / 255 for f in files])
    filled = np.concatenate([x, np.zeros((2, 8, 8, 3), np.float32)])
    expected = baked.predict(filled, batch_size=BATCH, verbose=0)[: len(x)]
    tolerance = {"none": 1e-6, "fp16": 2e-3, "int8": 0.1}[quantize]
    got = [r.scores for r in predictor.predict_batch(files)]
    np.testing.assert_allclose(got, expected, atol=tolerance)
    np.testing.assert_allclose(predictor.predict(files[0]).scores, expected[0], atol=tolerance)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
@pytest.mark.parametrize(("steps", "sequences"), [(6, False), (None, True)])
@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_a_stateful_model_starts_from_zero_with_any_batch_and_length(tmp_path, library, steps, sequences):
    layers = pytest.importorskip(f"{library}.layers")
    size = {"batch_shape" if library == "keras" else "batch_input_shape": (BATCH, steps, 3)}
    lstm = layers.LSTM(5, stateful=True, return_sequences=sequences)
    model = pytest.importorskip(library).Sequential([layers.InputLayer(**size), lstm, layers.Dense(2)])
    path = tmp_path / ("m.keras" if library == "keras" else "m.h5")
    model.save(path)
    assert guard(main, [str(path)]) == 0
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    x = np.random.default_rng(0).normal(size=(BATCH, 6, 3)).astype(np.float32)
    model.predict(x, batch_size=BATCH, verbose=0)
    (lstm.reset_state if library == "keras" else lstm.reset_states)()
    expected = model.predict(x, batch_size=BATCH, verbose=0)
    session = open_session((tmp_path / "m.onnx").read_bytes())
    for n in (1, BATCH):
        (got,) = session.run(None, {graph.input[0].name: x[:n]})
        np.testing.assert_allclose(got, expected[:n], atol=1e-6)


def test_inputs_of_two_fixed_batches_are_refused_in_one_sentence(tmp_path):
    a, b = keras.Input(batch_shape=(2, 3)), keras.Input(batch_shape=(6, 3))
    model = keras.Model([a, b], keras.ops.reshape(keras.ops.reshape(a, (6, 1)) + b, (6, 3)))
    model.save(tmp_path / "m.keras")
    with pytest.raises(edgecnn.ModelError, match=r"inputs of several batch sizes, \[2, 6\]"):
        load(tmp_path / "m.keras", free_batch=False)
