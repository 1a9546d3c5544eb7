"""edgecnn.export.reading.savedmodel: a SavedModel's signature becomes ONNX; one that could do harm is refused."""

from __future__ import annotations

import keras
import numpy as np
import onnxruntime as ort
import pytest
import tensorflow as tf

from edgecnn import ModelError
from edgecnn.cli import guard
from edgecnn.export.load import load
from edgecnn.export.stamp import read_stamp
from edgecnn.export.to_onnx import main

# Keras itself calls numpy in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")

L = keras.layers


def test_export_of_two_inputs_and_outputs(tmp_path):
    keras.utils.set_random_seed(16)
    a, b = L.Input((3,), name="a"), L.Input((2,), name="b")
    joined = L.Concatenate()([a, b])
    model = keras.Model([a, b], [L.Dense(2, activation="softmax", name="p")(joined), L.Dense(1, name="q")(joined)])
    model.export(tmp_path / "saved", verbose=False)
    assert guard(main, [str(tmp_path / "saved")]) == 0
    session = ort.InferenceSession(tmp_path / "saved.onnx")
    x = {"a": np.ones((4, 3), np.float32), "b": np.full((4, 2), 2, np.float32)}
    for got, expected in zip(session.run(None, x), model([x["a"], x["b"]]), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)
    assert read_stamp(tmp_path / "saved.onnx").head == "softmax"


def test_one_that_reads_files_is_refused(tmp_path):
    class Reader(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 1))])
        def serve(self, x):
            tf.io.read_file("/etc/hostname")
            return {"y": x + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)}

    module = Reader()
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"serving_default": module.serve})
    with pytest.raises(ModelError, match="ReadFile"):
        load(tmp_path / "saved")


def test_other_folders(tmp_path):
    with pytest.raises(ModelError, match=r"folder without saved_model\.pb"):
        load(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff no proto")
    with pytest.raises(ModelError, match="damaged"):
        load(tmp_path)
