"""Hashes of text and of whole numbers: TensorFlow's own, in ONNX's operators."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from edgecnn.cli import main
from edgecnn.export.convert import convert
from edgecnn.export.load import load
from edgecnn.export.verify import verify
from edgecnn.spec import ModelSpec

from .test_convert import run, source_of

BOTH = pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])


def texts():
    """Of every length up to 200 bytes, and long ones, with letters of one to four bytes."""
    letters = np.array([*"abcXYZ019 -_\0", "\u00e4", "\u6f22", "\uffff", "\U0001f600"], object)
    rng = np.random.default_rng(0)
    made = ["x" * n for n in range(200)] + ["".join(rng.choice(letters, n)) for n in range(120)]
    return np.array([*made, "y" * 1000], object)[:, np.newaxis]


def numbers():
    rng = np.random.default_rng(1)
    ends = np.iinfo(np.int64)
    found = [*rng.integers(ends.min, ends.max, 200), *rng.integers(-1000, 1000, 100), ends.min, ends.max, 0]
    return np.array(found, np.int64)[:, np.newaxis]


def check(model, tmp_path, *arrays):
    graph = convert(source_of(model, tmp_path))
    for rows in (slice(None), slice(0, 1), slice(40, 41)):
        given = [a[rows] for a in arrays]
        expected = np.asarray(model([tf.constant(a) for a in given] if len(given) > 1 else tf.constant(given[0])))
        np.testing.assert_array_equal(run(graph, *given)[0], expected)
    return graph


@BOTH
@pytest.mark.parametrize(
    "options",
    [
        {}, {"salt": [133, -5]}, {"mask_value": "xxxx"}, {"salt": 7, "output_mode": "one_hot"},
    ],
)  # fmt: skip
def test_text_of_every_length(tmp_path, library, options):
    x = library.layers.Input((1,), dtype="string")
    check(library.Model(x, library.layers.Hashing(1000, **options)(x)), tmp_path, texts())


@BOTH
@pytest.mark.parametrize("options", [{}, {"salt": 133}, {"mask_value": 0}])
def test_whole_numbers_take_a_small_table(tmp_path, library, options):
    x = library.layers.Input((1,), dtype="int64")
    graph = check(library.Model(x, library.layers.Hashing(1000, **options)(x)), tmp_path, numbers())
    assert len(graph.SerializeToString()) < 50_000


@BOTH
def test_several_columns_of_text(tmp_path, library):
    x = library.layers.Input((3,), dtype="string")
    check(library.Model(x, library.layers.Hashing(50)(x)), tmp_path, np.hstack([texts(), texts()[::-1], texts()]))


@BOTH
@pytest.mark.parametrize("options", [{}, {"output_mode": "one_hot"}])
def test_crossed_columns(tmp_path, library, options):
    a, b, c = (library.layers.Input((1,), dtype=t) for t in ("string", "int64", "string"))
    crossed = library.layers.HashedCrossing
    x, n = texts()[:300], numbers()[:300]
    check(library.Model([a, b], crossed(300, **options)((a, b))), tmp_path, x, n)
    check(library.Model([a, c], crossed(300, **options)((a, c))), tmp_path, x, x[::-1])
    check(library.Model(b, crossed(300, **options)((b, b))), tmp_path, n)


@BOTH
def test_words_without_a_place_share_several(tmp_path, library):
    x = library.layers.Input((1,), dtype="string")
    lookup = library.layers.StringLookup(vocabulary=["xxxx", "\u6f22"], num_oov_indices=5)
    check(library.Model(x, lookup(x)), tmp_path, texts())


def test_a_table_of_tensorflows_own(tmp_path):
    class Looked(tf.Module):
        def __init__(self):
            super().__init__()
            known = tf.lookup.KeyValueTensorInitializer(tf.constant(["cat", "dog"]), tf.constant([0, 1], tf.int64))
            self.table = tf.lookup.StaticVocabularyTable(known, 4)

        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.string, name="x")])
        def serve(self, x):
            return {"y": tf.cast(self.table.lookup(x), tf.float32)}

    module = Looked()
    tf.saved_model.save(module, tmp_path / "m", signatures={"serving_default": module.serve})
    graph = convert(load(tmp_path / "m"))
    x = np.array([["cat", "dog"], ["bird", ""], ["ant", "x" * 90]], object)
    np.testing.assert_array_equal(run(graph, x)[0], module.serve(tf.constant(x))["y"])


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
def test_hashed_feature_columns(tmp_path):
    columns = tf.feature_column
    city = columns.categorical_column_with_hash_bucket("city", 20)
    job = columns.categorical_column_with_vocabulary_list("job", ["cook", "poet"], num_oov_buckets=3)
    kinds = [columns.indicator_column(city), columns.embedding_column(city, 4), columns.indicator_column(job)]
    inputs = {name: tf_keras.layers.Input((1,), name=name, dtype="string") for name in ("city", "job")}
    tf_keras.Model(list(inputs.values()), tf_keras.layers.DenseFeatures(kinds)(inputs)).save(tmp_path / "m.h5")
    source = load(tmp_path / "m.h5")
    graph = convert(source)
    verify(graph.SerializeToString(), source, spec=ModelSpec(head="regression"))
    empty = [np.array([[""]], object)] * 2  # which TensorFlow leaves out
    np.testing.assert_array_equal(run(graph, *empty)[0], source(empty)[0])


def test_what_no_table_holds_has_no_hash(tmp_path):
    x = keras.Input((1,), dtype="string")
    graph = convert(source_of(keras.Model(x, keras.layers.Hashing(9)(x)), tmp_path))
    with pytest.raises(Exception, match="out of data bounds"):
        run(graph, np.array([["\U00020000"]], object))


def test_functions_are_written_the_same_again(tmp_path):
    x = keras.Input((1,), dtype="string")
    source = source_of(keras.Model(x, keras.layers.Hashing(9)(x)), tmp_path)
    first, second = ([f.SerializeToString() for f in convert(source).functions] for _ in range(2))
    assert first
    assert first == second


@pytest.mark.parametrize("kind", ["none", "int8", "fp16"])
def test_a_model_of_hashed_columns_is_exported(tmp_path, capsys, kind):
    layers = keras.layers
    city, code = keras.Input((1,), dtype="string", name="city"), keras.Input((1,), dtype="int64", name="code")
    hashed = [layers.Embedding(32, 4)(layers.Hashing(32, salt=salt)(city)) for salt in (None, 5)]
    crossed = layers.HashedCrossing(64, output_mode="one_hot")((city, code))
    x = layers.Concatenate()([*map(layers.Flatten(), hashed), crossed])
    y = layers.Dense(3, activation="softmax")(layers.Dense(64, activation="relu")(x))
    keras.Model([city, code], y).save(tmp_path / "m.keras")
    data = tmp_path / "d.npz"
    np.savez(data, city=texts()[:250].astype(str), code=numbers()[:250])
    arguments = ["--quantize", kind, "--data", str(data), "--calibration", str(data), "--max-drop", "0.2"]
    assert main(["export", str(tmp_path / "m.keras"), *arguments]) == 0
    assert main(["selftest", str(tmp_path / "m.onnx")]) == 0
    assert "golden 1 output: within" in capsys.readouterr().out
    assert (tmp_path / "m.onnx").stat().st_size < 1_000_000
