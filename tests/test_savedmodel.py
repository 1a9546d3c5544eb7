"""edgecnn.export.reading.savedmodel: a SavedModel's signature becomes ONNX; one that could do harm is refused."""

from __future__ import annotations

import keras
import numpy as np
import onnxruntime as ort
import pytest
import tensorflow as tf
import tf_keras

from edgecnn import ModelError
from edgecnn.cli import guard
from edgecnn.export.load import load
from edgecnn.export.stamp import read_stamp
from edgecnn.export.to_onnx import main

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
    with pytest.raises(ModelError, match="is an empty folder"):
        load(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff no proto")
    with pytest.raises(ModelError, match="damaged"):
        load(tmp_path)


def test_one_saved_without_traces_says_what_to_save_instead(tmp_path):
    model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,))])
    model.save(tmp_path / "saved", save_traces=False)
    with pytest.raises(ModelError, match=r"no serving signature, as save_traces=False .* save it as \.keras or \.h5"):
        load(tmp_path / "saved")


def test_one_whose_variables_are_missing_is_named(tmp_path):
    keras.Sequential([L.Input((3,)), L.Dense(2)]).export(tmp_path / "saved", verbose=False)
    for name in ("variables.data-00000-of-00001", "variables.index"):
        (tmp_path / "saved" / "variables" / name).unlink()
        with pytest.raises(ModelError, match="is a SavedModel whose variables are missing"):
            load(tmp_path / "saved")


@pytest.mark.filterwarnings("ignore:The structure of `inputs`:UserWarning")
def test_columns_of_a_feature_space(tmp_path):
    """As in Keras's example of structured data; its tables without a place for unknown values refuse those."""
    keras.utils.set_random_seed(17)
    rng = np.random.default_rng(17)
    rows = {
        "cp": rng.integers(2, 6, 60), "thal": rng.choice(["fixed", "normal", "reversible"], 60),
        "slope": rng.integers(1, 4, 60), "age": rng.uniform(20, 80, 60), "chol": rng.normal(240, 50, 60),
    }  # fmt: skip
    kind = keras.utils.FeatureSpace
    space = kind(
        features={
            "cp": kind.integer_categorical(num_oov_indices=0), "thal": kind.string_categorical(num_oov_indices=0),
            "slope": kind.integer_hashed(num_bins=8), "age": kind.float_discretized(num_bins=5),
            "chol": kind.float_normalized(),
        },
        crosses=[kind.cross(feature_names=("thal", "cp"), crossing_dim=16)], output_mode="concat",
    )  # fmt: skip
    space.adapt(tf.data.Dataset.from_tensor_slices(rows).batch(20))
    scores = L.Dense(2, activation="softmax")(space.get_encoded_features())
    model = keras.Model(space.get_inputs(), scores)
    model.save(tmp_path / "m.keras")
    model.export(tmp_path / "saved", verbose=False)
    given = {name: values[:, np.newaxis] for name, values in rows.items()}
    expected = model({name: tf.constant(v) for name, v in given.items()})
    for name in ("m.keras", "saved"):
        assert guard(main, [str(tmp_path / name), "-o", str(tmp_path / "m.onnx")]) == 0
        session = ort.InferenceSession(tmp_path / "m.onnx")
        dtypes = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(int64)": np.int64}
        feed = {i.name: given[i.name].astype(dtypes.get(i.type, object)) for i in session.get_inputs()}
        np.testing.assert_allclose(session.run(None, feed)[0], expected, atol=1e-6)


def test_one_that_counts_random_numbers(tmp_path):
    keras.utils.set_random_seed(18)
    model = keras.Sequential([L.Input((5, 3)), L.LSTM(4, dropout=0.2)])
    model.export(tmp_path / "saved", verbose=False)
    assert guard(main, [str(tmp_path / "saved")]) == 0
    x = np.random.default_rng(18).random((2, 5, 3)).astype(np.float32)
    session = ort.InferenceSession(tmp_path / "saved.onnx")
    np.testing.assert_allclose(session.run(None, {session.get_inputs()[0].name: x})[0], model(x), atol=1e-6)


def test_one_that_draws_them_is_named(tmp_path, capsys):
    keras.Sequential([L.Input((8, 8, 3)), L.RandomFlip(), L.Flatten()]).export(tmp_path / "saved", verbose=False)
    assert guard(main, [str(tmp_path / "saved")]) == 2
    assert "draws random numbers, as Keras's export() of a model does" in capsys.readouterr().err


def test_mixed_precision_has_the_tolerance_of_its_arithmetic(tmp_path):
    keras.utils.set_random_seed(19)
    image = L.Input((16, 16, 3))
    x = image
    for filters in (8, 16):
        x = L.BatchNormalization(dtype="mixed_float16")(L.Conv2D(filters, 3, dtype="mixed_float16")(x))
    scores = L.Dense(4, activation="softmax")(L.GlobalAveragePooling2D()(x))
    keras.Model(image, scores).export(tmp_path / "saved", verbose=False)
    assert guard(main, [str(tmp_path / "saved")]) == 0


def test_random_outputs_are_told(tmp_path, capsys):
    class Drawn(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 2), name="x")])
        def serve(self, x):
            return {"y": x + tf.random.normal(tf.shape(x))}

    module = Drawn()
    tf.saved_model.save(module, tmp_path / "saved", signatures={"serving_default": module.serve})
    assert guard(main, [str(tmp_path / "saved")]) == 1
    assert "gives other outputs each time it is run, for it draws random numbers" in capsys.readouterr().err
