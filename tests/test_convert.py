"""edgecnn.export.convert: the ONNX graph has the promised names and shapes and Keras's values."""

from __future__ import annotations

import inspect
import subprocess
import sys

import keras
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import tensorflow as tf
import tf_keras

from edgecnn import ModelError, ModelSpec, Predictor, VerificationError
from edgecnn.cli import main
from edgecnn.export.convert import OPSETS, convert
from edgecnn.export.load import load
from edgecnn.export.proof.synthetic import random_inputs
from edgecnn.export.verify import verify

L = keras.layers


def source_of(model, tmp_path):
    model.save(tmp_path / "m.keras")
    return load(tmp_path / "m.keras")


def run(model, *arrays):
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {i.name: a for i, a in zip(session.get_inputs(), arrays, strict=True)})


def cnn():
    keras.utils.set_random_seed(2)
    return keras.Sequential(
        [
            L.Input((12, 10, 3), name="image"),
            L.Rescaling(1 / 127.5, offset=-1),
            L.Conv2D(4, 3, padding="same", use_bias=False),
            L.BatchNormalization(),
            L.ReLU(),
            L.DepthwiseConv2D(3, strides=2),
            L.Activation("swish"),
            L.GlobalAveragePooling2D(),
            L.Dropout(0.5),
            L.Dense(3, activation="softmax", name="scores"),
        ]
    )


@pytest.mark.parametrize("opset", [OPSETS[0], OPSETS[-1]])
def test_cnn(tmp_path, opset):
    source = source_of(cnn(), tmp_path)
    model = convert(source, opset=opset)
    assert [o.version for o in model.opset_import if o.domain == ""] == [opset]
    x = np.random.default_rng(0).uniform(0, 255, (3, 12, 10, 3)).astype(np.float32)
    np.testing.assert_allclose(run(model, x)[0], source([x])[0], atol=1e-6)


def test_names_and_dimensions(tmp_path):
    model = convert(source_of(cnn(), tmp_path))
    (image,), (scores,) = model.graph.input, model.graph.output
    assert (image.name, scores.name) == ("image", "scores")
    dims = [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim]
    assert dims == ["batch", 12, 10, 3]
    assert scores.type.tensor_type.shape.dim[0].dim_param == "batch"


def test_several_inputs_and_outputs_keep_their_order(tmp_path):
    b, a = L.Input((2,), name="b"), L.Input((3,), name="a")
    joined = L.Concatenate()([b, a])
    z, y = L.Dense(1, name="z")(joined), L.Dense(2, name="y")(joined)
    source = source_of(keras.Model([b, a], [z, y]), tmp_path)
    model = convert(source)
    assert [v.name for v in model.graph.input] == ["b", "a"]
    assert [v.name for v in model.graph.output] == ["z", "y"]
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=(4, 2)).astype(np.float32), rng.normal(size=(4, 3)).astype(np.float32)]
    for got, expected in zip(run(model, *arrays), source(arrays), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_normalization_statistics_become_constants(tmp_path):
    layer = L.Normalization()
    layer.adapt(np.array([[1, 200], [3, 600], [4, 100]], np.float32))
    outputs = [L.Dense(1, name="b"), L.Dense(1, name="a")]
    x = L.Input((2,), name="row")
    source = source_of(keras.Model(x, [d(layer(x)) for d in outputs]), tmp_path)
    model = convert(source)
    assert [v.name for v in model.graph.input] == ["row"]
    data = np.array([[2, 300], [0, 0]], np.float32)
    for got, expected in zip(run(model, data), source([data]), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("size", [(2, 2), (3, 2)], ids=["doubled", "by weights"])
@pytest.mark.parametrize("way", ["bilinear", "bicubic", "area"])
def test_bytes_are_resized_as_numbers(tmp_path, way, size):
    x = tf_keras.layers.Input((5, 6, 3), dtype="uint8")
    wanted = [5 * size[0], 6 * size[1]]
    y = tf_keras.layers.Lambda(lambda x: tf.image.resize(x, wanted, way), name="resize")(x)
    tf_keras.Model(x, y).save(tmp_path / "m.keras")
    source = load(tmp_path / "m.keras", lambdas={"resize": f"tf.image.resize(x, {wanted}, '{way}')"})
    data = np.random.default_rng(9).integers(0, 256, (2, 5, 6, 3)).astype(np.uint8)
    (y,) = run(convert(source), data)
    np.testing.assert_allclose(y, tf.image.resize(data, wanted, way), atol=1e-4)


def test_a_square_between_convolution_and_pooling(tmp_path):
    """As in networks for EEG, whose images are one pixel high by then."""
    x = tf_keras.Input((8, 40, 1))
    y = tf_keras.layers.BatchNormalization()(tf_keras.layers.Conv2D(4, (8, 5))(x))
    y = tf_keras.layers.AveragePooling2D((1, 9), (1, 3))(tf.square(y))
    model = tf_keras.Model(x, tf_keras.layers.Dense(2)(tf_keras.layers.Flatten()(y)))
    model.save(tmp_path / "m.keras")
    source = load(tmp_path / "m.keras")
    verify(convert(source).SerializeToString(), source, spec=ModelSpec())


def test_uint8_and_free_length_inputs(tmp_path):
    x = L.Input((None, 2), dtype="uint8", name="steps")
    source = source_of(keras.Model(x, L.GlobalMaxPooling1D()(L.Rescaling(0.5)(x))), tmp_path)
    model = convert(source)
    dims = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert dims == ["batch", "steps_1", 2]
    data = np.arange(20, dtype=np.uint8).reshape(2, 5, 2)
    np.testing.assert_array_equal(run(model, data)[0], source([data])[0])


def test_an_operator_without_onnx_counterpart_is_named(tmp_path):
    @keras.saving.register_keras_serializable("edgecnn_test")
    class Bessel(L.Layer):
        def call(self, x):
            import tensorflow as tf

            return tf.math.special.bessel_i0e(x)

    source = source_of(keras.Sequential([L.Input((2,)), Bessel()]), tmp_path)
    with pytest.raises(ModelError, match=r"m\.keras uses operators .*BesselI0e"):
        convert(source)


class Odd(L.Layer):
    def call(self, x):
        return keras.ops.cholesky(x)


def test_an_operator_that_onnx_lacks_is_named_with_its_layer(tmp_path):
    inner = keras.Sequential([L.Input((4, 4)), L.Dense(4), Odd(name="odd_one")], name="inside")
    keras.Sequential([L.Input((4, 4)), inner, L.Flatten()]).save(tmp_path / "m.keras")
    (tmp_path / "odd.py").write_text(f"import keras\n\nL = keras.layers\n\n{inspect.getsource(Odd)}")
    source = load(tmp_path / "m.keras", custom=tmp_path / "odd.py")
    with pytest.raises(ModelError, match=r"doesn't have: Cholesky \(in the layer odd_one \(Odd\)\)$"):
        convert(source)


@pytest.mark.parametrize(
    ("shape", "layer"),
    [
        pytest.param((7, 6, 2), lambda: L.Conv2DTranspose(3, 3, 2, "same", output_padding=1), id="output_padding"),
        pytest.param((7, 6, 2), lambda: L.Conv2DTranspose(3, 3, 3, output_padding=2), id="output_padding of valid"),
        pytest.param((5, 6, 4, 4), lambda: L.Conv3D(6, 2, groups=2), id="groups"),
        pytest.param((9, 8, 3), lambda: L.RandomRotation(0.2), id="RandomRotation"),
        pytest.param((9, 8, 3), lambda: L.RandomShear(0.3, 0.3), id="RandomShear"),
        pytest.param((9, 8, 3), lambda: L.Equalization(), id="Equalization"),
        pytest.param((6, 4), lambda: L.LayerNormalization(axis=[1, 2]), id="axes"),
    ],
)
@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
def test_layers_that_a_library_gets_wrong_on_the_way(tmp_path, shape, layer, name):
    model = keras.Sequential([L.Input(shape), layer(), L.Flatten(), L.Dense(2)])
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.3, weight.shape))
    x = rng.uniform(0, 1, (2, *shape)).astype(np.float32)
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / name)
    np.testing.assert_allclose(run(convert(load(tmp_path / name)), x)[0], expected, atol=1e-5)


def test_operators_that_only_keras_3_writes(tmp_path):
    """ops.argmax takes -0.0 for less than 0.0 by its sign bit, which no operator of ONNX shows."""
    x = keras.Input((4,))
    keras.Model(x, [keras.ops.argmax(x, -1), keras.ops.log1p(keras.ops.abs(x))]).save(tmp_path / "m.keras")
    source = load(tmp_path / "m.keras")
    zeros = np.array([[-0.0, -1, 0.0, -2], [0.0, -0.0, 0.0, 0.0], [3, 1, 4, 1]], np.float32)
    got = run(convert(source), zeros)
    for g, e in zip(got, source.eager([zeros]), strict=True):
        np.testing.assert_allclose(g, e, atol=1e-6)
    assert got[0].tolist() == [2, 0, 2]


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_dicts_name_inputs_and_outputs(tmp_path, library):
    """By their keys, as predict() takes and gives them, and not by the layers that are behind."""
    library = pytest.importorskip(library)
    a, b = library.Input((3,), name="numbers"), library.Input((2,), name="flags")
    joined = library.layers.Concatenate()([library.layers.Dense(2)(a), b])
    outputs = {"sex": library.layers.Dense(2)(joined), "age": library.layers.Dense(1)(joined)}
    whole = library.Model({"numbers": a, "flags": b}, outputs)
    source = source_of(whole, tmp_path)
    rng = np.random.default_rng(14)
    given = {"numbers": rng.normal(size=(3, 3)).astype(np.float32), "flags": np.ones((3, 2), np.float32)}
    session = ort.InferenceSession(convert(source).SerializeToString(), providers=["CPUExecutionProvider"])
    got = dict(zip([o.name for o in session.get_outputs()], session.run(None, given), strict=True))
    eager = source.eager([given[t.name] for t in source.inputs])
    assert sorted(got) == ["age", "sex"]
    for name, values in whole.predict(given, verbose=0).items():
        np.testing.assert_allclose(got[name], values, atol=1e-6)
        np.testing.assert_allclose(eager[[t.name for t in source.outputs].index(name)], values, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "layer"),
    [
        pytest.param((2, 7), lambda **o: L.Conv1DTranspose(3, 3, strides=2, **o), id="row"),
        pytest.param((2, 7), lambda **o: L.Conv1DTranspose(3, 3, dilation_rate=2, **o), id="row of dilation 2"),
        pytest.param((2, None), lambda **o: L.Conv1DTranspose(3, 3, strides=2, **o), id="row of any length"),
        pytest.param((2, 6, 5), lambda **o: L.Conv2DTranspose(5, 3, strides=(3, 2), **o), id="picture"),
        pytest.param((2, None, None), lambda **o: L.Conv2DTranspose(5, 3, strides=2, **o), id="picture of any size"),
        pytest.param(
            (2, None, None, None), lambda **o: L.Conv3DTranspose(3, 3, strides=2, **o), id="space of any size"
        ),
    ],
)
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_transposed_convolutions_with_channels_first(tmp_path, shape, layer, padding):
    model = keras.Sequential([L.Input(shape), layer(padding=padding, data_format="channels_first")])
    source = source_of(model, tmp_path)
    x = np.random.default_rng(16).normal(size=(2, *(n or 4 for n in shape))).astype(np.float32)
    np.testing.assert_allclose(run(convert(source), x)[0], source([x])[0], atol=1e-5)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_upsampling_at_a_free_size(tmp_path, interpolation):
    model = keras.Sequential([L.Input((None, None, 2)), L.UpSampling2D((2, 3), interpolation=interpolation)])
    source = source_of(model, tmp_path)
    x = np.random.default_rng(15).normal(size=(1, 5, 4, 2)).astype(np.float32)
    np.testing.assert_allclose(run(convert(source), x)[0], np.asarray(model(x)), atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"interpolation": "area"}, {"interpolation": "lanczos3"}, {"interpolation": "lanczos5"},
        {"interpolation": "bilinear", "antialias": True}, {"interpolation": "bicubic", "antialias": True},
    ],
)  # fmt: skip
def test_resizes_that_onnx_has_none_like(tmp_path, options):
    model = keras.Sequential([L.Input((20, 7, 3)), L.Resizing(9, 11, **options)])
    source = source_of(model, tmp_path)
    x = np.random.default_rng(16).uniform(0, 255, (2, 20, 7, 3)).astype(np.float32)
    np.testing.assert_allclose(run(convert(source), x)[0], np.asarray(model(x)), atol=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"output_mode": "int", "mask_token": 0}, {"output_mode": "int", "num_oov_indices": 3},
        {"output_mode": "multi_hot"}, {"output_mode": "count", "num_oov_indices": 2},
        {"output_mode": "tf_idf", "idf_weights": [0.5, 1.0, 2.0]},
    ],
)  # fmt: skip
@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])
def test_a_table_of_numbers_is_compared_entry_by_entry(tmp_path, library, options):
    lookup = library.layers.IntegerLookup(vocabulary=[50, -7, 9], **options)
    model = library.Sequential([library.layers.Input((4,), dtype="int64"), lookup])
    source = source_of(model, tmp_path)
    x = np.array([[50, -7, 9, 0], [9, 9, 1, 2], [2**40, -5, 50, 50]])
    np.testing.assert_allclose(run(convert(source), x)[0], np.asarray(model(x)), atol=1e-6)
    (drawn,) = random_inputs(source, ModelSpec())[2]
    assert {-7, 9, 50} & set(drawn.ravel())
    assert drawn.max() > 50


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
def test_remainders_have_the_sign_of_the_divisor(tmp_path, dtype):
    inputs = L.Input((6,), dtype=dtype)
    parts = [keras.ops.mod(inputs, 3), keras.ops.mod(inputs, -3), keras.ops.floor_divide(inputs, 3), inputs // -4]
    model = keras.Model(inputs, keras.ops.concatenate(parts, -1))
    x = np.array([[-7, -6, -1, 0, 4, 9], [1, 2, 3, -2, -3, -4]], dtype) * (1 if dtype[0] == "i" else 1.25)
    np.testing.assert_array_equal(run(convert(source_of(model, tmp_path)), x.astype(dtype))[0], np.asarray(model(x)))


def test_long_einsum_equations_take_no_longer(tmp_path):
    """Of eight letters there are 40,320 orders, which tf2onnx would try."""
    inputs = L.Input((2, 3, 2, 3, 4))
    model = keras.Model(inputs, keras.ops.einsum("abcdef,abcghf->abcdegh", inputs, inputs))
    x = np.random.default_rng(20).normal(size=(2, 2, 3, 2, 3, 4)).astype(np.float32)
    np.testing.assert_allclose(run(convert(source_of(model, tmp_path)), x)[0], np.asarray(model(x)), atol=1e-5)


@pytest.mark.parametrize("size", [(5, 9), (24, 12), (4, 3), (16, 12)])
@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])
def test_bicubic_resizes_have_tensorflows_weights(tmp_path, library, size):
    inputs, resizing = library.layers.Input((8, 6, 2)), library.layers.Resizing(*size, interpolation="bicubic")
    model = library.Sequential([inputs, resizing])
    x = np.random.default_rng(21).uniform(0, 255, (3, 8, 6, 2)).astype(np.float32)
    np.testing.assert_allclose(run(convert(source_of(model, tmp_path)), x)[0], np.asarray(model(x)), atol=1e-3)


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])
def test_nearest_neighbours_load_without_a_warning(tmp_path, capfd, library):
    layers = [library.layers.Input((5, 7, 2)), library.layers.UpSampling2D((2, 3)), library.layers.UpSampling2D(5)]
    model = library.Sequential(layers)
    x = np.random.default_rng(22).normal(size=(2, 5, 7, 2)).astype(np.float32)
    graph = convert(source_of(model, tmp_path))
    capfd.readouterr()
    np.testing.assert_array_equal(run(graph, x)[0], np.asarray(model(x)))
    assert "deprecated" not in capfd.readouterr().err


def test_spectra_of_sound(tmp_path):
    inputs = L.Input((2000,), name="sound")
    mel = L.MelSpectrogram(num_mel_bins=16, sampling_rate=8000, sequence_stride=128, fft_length=256)(inputs)
    real, imaginary = keras.ops.stft(inputs, 100, 50, 128)
    model = keras.Model(inputs, [mel, keras.ops.concatenate([real, imaginary], -1)])
    source = source_of(model, tmp_path)
    graph = convert(source)
    verify(graph.SerializeToString(), source, spec=ModelSpec())
    x = np.sin(np.arange(4000).reshape(2, 2000) ** 1.3 / 50).astype(np.float32)
    for got, expected in zip(run(graph, x), model(x), strict=True):
        np.testing.assert_allclose(got, np.asarray(expected), rtol=1e-4, atol=1e-3)


def test_magnitudes_of_sound(tmp_path):
    inputs = tf_keras.layers.Input((500,))
    model = tf_keras.Model(inputs, tf.abs(tf.signal.stft(inputs, 120, 64)))
    source = source_of(model, tmp_path)
    graph = convert(source)
    verify(graph.SerializeToString(), source, spec=ModelSpec())
    x = np.sin(np.arange(1000).reshape(2, 500) ** 1.3 / 50).astype(np.float32)
    np.testing.assert_allclose(run(graph, x)[0], np.asarray(model(x)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("axis", [-1, 1, 2])
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_negative_indices_are_nowhere_hot(tmp_path, axis, dtype):
    inputs = L.Input((2, 3), dtype=dtype)
    model = keras.Model(inputs, keras.ops.one_hot(inputs, 4, axis=axis))
    x = np.array([[[0, 1, 2], [3, 4, 5]], [[-1, -4, -9], [1, 1, 3]]]).astype(dtype)
    np.testing.assert_array_equal(run(convert(source_of(model, tmp_path)), x)[0], np.asarray(model(x)))


@pytest.mark.parametrize(
    "options",
    [
        {"output_mode": "int"}, {"output_mode": "int", "mask_token": "", "num_oov_indices": 0},
        {"output_mode": "one_hot"}, {"output_mode": "multi_hot", "mask_token": "none"}, {"output_mode": "count"},
        {"output_mode": "tf_idf", "idf_weights": [0.5, 1.0, 2.0]},
    ],
)  # fmt: skip
@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])
def test_a_table_of_text_is_looked_up(tmp_path, library, options):
    lookup = library.layers.StringLookup(vocabulary=["cat", "Großmaul", 'a "b"\n'], **options)
    width = 1 if options["output_mode"] == "one_hot" else 4
    inputs = library.layers.Input((width,), dtype="string")
    model = library.Sequential([inputs, lookup, library.layers.Dense(2)])
    source = source_of(model, tmp_path)
    words = ["cat", "Großmaul", 'a "b"\n', "cat"] if options.get("num_oov_indices") == 0 else ["cat", "none", "", "Cat"]
    x = np.array([words, words[::-1], [words[1]] * 4], object)[:, :width]
    graph = convert(source)
    verify(graph.SerializeToString(), source, spec=ModelSpec())
    np.testing.assert_allclose(run(graph, x)[0], np.asarray(model(tf.constant(x))), atol=1e-6)
    (drawn,) = random_inputs(source, ModelSpec())[2]
    assert {"cat", "Großmaul"} & set(drawn.ravel())


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
def test_feature_columns_look_words_and_numbers_up(tmp_path):
    columns = tf.feature_column
    kind = columns.categorical_column_with_vocabulary_list("kind", ["cat", "dog", "Großmaul"])
    code = columns.categorical_column_with_vocabulary_list("code", [5, 7])
    inputs = {n: tf_keras.layers.Input((1,), name=n, dtype=t) for n, t in (("kind", "string"), ("code", "int64"))}
    layer = tf_keras.layers.DenseFeatures([columns.indicator_column(kind), columns.embedding_column(code, 3)])
    model = tf_keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "m.h5")
    source = load(tmp_path / "m.h5")
    graph = convert(source)
    verify(graph.SerializeToString(), source, spec=ModelSpec(head="regression"))
    kinds, codes = np.array([["dog"], ["fish"], [""], ["Großmaul"]], object), np.array([[7], [5], [6], [-1]])
    expected = np.asarray(model({"kind": tf.constant(kinds), "code": codes}))
    np.testing.assert_allclose(run(graph, codes, kinds)[0], expected, atol=1e-6)
    assert np.abs(expected[0] - expected[1]).max() > 0.1


@pytest.mark.parametrize("folder", ["keras", "tf_keras"])
def test_the_tables_of_a_savedmodel(tmp_path, folder):
    library = {"keras": keras, "tf_keras": tf_keras}[folder]
    words = library.layers.StringLookup(vocabulary=["cat", "dog"], output_mode="one_hot", mask_token="")
    model = library.Sequential(
        [library.layers.Input((1,), dtype="string", name="kind"), words, library.layers.Dense(2)]
    )
    (model.export if folder == "keras" else model.save)(tmp_path / "m")
    source = load(tmp_path / "m")
    graph = convert(source)
    verify(graph.SerializeToString(), source, spec=ModelSpec())
    x = np.array([["dog"], ["fish"], [""], ["cat"]], object)
    np.testing.assert_allclose(run(graph, x)[0], np.asarray(model(tf.constant(x))), atol=1e-6)
    (drawn,) = random_inputs(source, ModelSpec())[2]
    assert {"cat", "dog"} & set(drawn.ravel())


def test_a_table_inside_a_loop_is_refused(tmp_path):
    class Looped(tf.Module):
        def __init__(self):
            entries = tf.lookup.KeyValueTensorInitializer(tf.constant(["a", "b"]), tf.constant([1, 2], tf.int64))
            self.table = tf.lookup.StaticHashTable(entries, -1)

        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.string, name="x")])
        def serve(self, x):
            found = tf.map_fn(lambda row: self.table.lookup(row), x, fn_output_signature=tf.int64)
            return {"y": tf.cast(found, tf.float32)}

    module = Looped()
    tf.saved_model.save(module, tmp_path / "m", signatures={"serving_default": module.serve})
    with pytest.raises(ModelError, match=r"looks values up in a table in a way for which ONNX has no operator"):
        convert(load(tmp_path / "m"))


@pytest.mark.parametrize("implementation", [1, 2, 3])
def test_convolutions_without_shared_weights(tmp_path, implementation):
    layers = tf_keras.layers
    first = layers.LocallyConnected2D(3, 3, implementation=implementation, input_shape=(7, 6, 2))
    model = tf_keras.Sequential(
        [first, layers.Reshape((20, 3)), layers.LocallyConnected1D(2, 4, strides=2, implementation=implementation)]
    )
    x = np.random.default_rng(19).normal(size=(3, 7, 6, 2)).astype(np.float32)
    np.testing.assert_allclose(run(convert(source_of(model, tmp_path)), x)[0], np.asarray(model(x)), atol=1e-6)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
def test_feature_columns_get_codes_that_they_have(tmp_path):
    columns = tf.feature_column
    code = columns.categorical_column_with_identity("code", 5)
    kinds = [columns.numeric_column("age"), columns.indicator_column(code), columns.embedding_column(code, 3)]
    inputs = {n: tf_keras.layers.Input((1,), name=n, dtype=t) for n, t in (("age", "float32"), ("code", "int64"))}
    model = tf_keras.Model(list(inputs.values()), tf_keras.layers.DenseFeatures(kinds)(inputs))
    model.save(tmp_path / "m.h5")
    source = load(tmp_path / "m.h5")
    verify(convert(source).SerializeToString(), source, spec=ModelSpec(head="regression"))


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])
def test_text_outputs_are_compared(tmp_path, capsys, library):
    code, x = library.layers.Input((1,), dtype="int64", name="code"), library.layers.Input((3,), name="x")
    words = library.layers.StringLookup(vocabulary=["ant", "b\u00e9e"], invert=True, name="words")(code)
    source = source_of(library.Model([code, x], [library.layers.Dense(2, name="y")(x), words]), tmp_path)
    graph = convert(source)
    got = run(graph, np.array([[1], [2], [0], [7]]), np.zeros((4, 3), np.float32))[1]
    assert got.tolist() == [["ant"], ["b\u00e9e"], ["[UNK]"], ["[UNK]"]]
    verify(graph.SerializeToString(), source, spec=ModelSpec(head="regression"))
    (table,) = (n for n in graph.graph.node if n.op_type == "LabelEncoder")
    (texts,) = (a for a in table.attribute if a.name == "values_strings")
    texts.strings[1] = b"bee"
    with pytest.raises(VerificationError, match=r"output words on random inputs at batch \d+ differs from Keras"):
        verify(graph.SerializeToString(), source, spec=ModelSpec(head="regression"))
    assert main(["export", str(tmp_path / "m.keras")]) == 0
    assert main(["selftest", str(tmp_path / "m.onnx")]) == 0
    assert "golden 2 output: within" in capsys.readouterr().out


def test_a_predictor_gives_no_text(tmp_path):
    words = keras.layers.StringLookup(vocabulary=["ant", "bee"], invert=True)
    keras.Sequential([keras.Input((1,), dtype="int64"), words]).save(tmp_path / "m.keras")
    assert main(["export", str(tmp_path / "m.keras")]) == 0
    with pytest.raises(ModelError, match=r"gives text, edgecnn predicts numbers"):
        Predictor(tmp_path / "m.onnx")


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize(
    ("given", "wanted"), [((10, 10), (9, 7)), ((182, 284), (7, 139)), ((256, 30), (224, 30)), ((5, 64), (13, 150))]
)
@pytest.mark.parametrize(("library", "opset"), [(keras, 18), (tf_keras, 13)], ids=["keras", "tf_keras"])
def test_resizes_to_a_size_that_is_no_multiple(tmp_path, library, opset, given, wanted, interpolation):
    image = library.layers.Input((*given, 3))
    model = library.Model(image, library.layers.Resizing(*wanted, interpolation=interpolation)(image))
    graph = convert(source_of(model, tmp_path), opset=opset)
    x = np.random.default_rng(20).random((2, *given, 3)).astype(np.float32)
    np.testing.assert_allclose(run(graph, x)[0], np.asarray(model(x)), atol=2e-7)


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])
def test_what_is_not_selected_may_be_infinite(tmp_path, library):
    x = library.layers.Input((4,))
    if library is keras:
        y = keras.ops.where(x > 20.0, x, keras.ops.log(1.0 + keras.ops.exp(x)))
    else:
        y = tf.where(x > 20.0, x, tf.math.log(1.0 + tf.exp(x)))
    model = library.Model(x, y)
    values = np.array([[-5.0, 0.0, 20.0, 1000.0]], np.float32)
    np.testing.assert_allclose(
        run(convert(source_of(model, tmp_path)), values)[0], np.asarray(model(values)), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("size", "stride", "rate", "padding"),
    [(6, 6, 1, "VALID"), (3, 2, 2, "SAME"), (5, 3, 1, "SAME"), (4, 1, 2, "VALID")],
)
def test_patches_of_images(tmp_path, size, stride, rate, padding):
    module = tf.Module()

    def serve(x):
        each = [[1, n, n, 1] for n in (size, stride, rate)]
        found = tf.image.extract_patches(x, *each, padding=padding)
        return {"y": tf.reshape(found, [tf.shape(x)[0], -1, found.shape[-1]])}

    module.serve = tf.function(serve, [tf.TensorSpec((None, 13, 12, 3), name="x")])
    tf.saved_model.save(module, tmp_path / "m", signatures={"serving_default": module.serve})
    x = np.random.default_rng(21).random((2, 13, 12, 3)).astype(np.float32)
    np.testing.assert_array_equal(run(convert(load(tmp_path / "m")), x)[0], serve(x)["y"])


@pytest.mark.parametrize(
    ("size", "stride", "rate", "padding"), [(4, 4, 1, "VALID"), (5, 3, 1, "SAME"), (3, 1, 2, "VALID")]
)
def test_patches_of_images_of_any_size(tmp_path, size, stride, rate, padding):
    module = tf.Module()

    def serve(x):
        return {"y": tf.image.extract_patches(x, *([1, n, n, 1] for n in (size, stride, rate)), padding=padding)}

    module.serve = tf.function(serve, [tf.TensorSpec((None, None, None, 3), name="x")])
    tf.saved_model.save(module, tmp_path / "m", signatures={"serving_default": module.serve})
    graph, rng = convert(load(tmp_path / "m")), np.random.default_rng(22)
    for shape in ((2, 13, 12, 3), (1, 16, 9, 3)):
        x = rng.random(shape).astype(np.float32)
        np.testing.assert_array_equal(run(graph, x)[0], serve(x)["y"])


def test_a_table_that_refuses_words_is_given_its_own(tmp_path):
    a, b = L.Input((1,), dtype="string"), L.Input((1,), dtype="string")
    lookup = L.StringLookup(vocabulary=["TER", "MET"], num_oov_indices=0, output_mode="one_hot")
    crossed = L.HashedCrossing(16, output_mode="one_hot")((a, b))
    source = source_of(keras.Model([a, b], L.Concatenate()([lookup(a), lookup(b), crossed])), tmp_path)
    verify(convert(source).SerializeToString(), source, spec=ModelSpec(head="regression"))


@pytest.mark.parametrize("batch", [1, 3])
def test_diagonal_matrices_keep_the_batch(tmp_path, batch):
    """tf2onnx's own lose it where it is 1."""
    x = tf_keras.Input((5, 2))
    shape = tf.shape(tf_keras.layers.Dense(3)(x))
    eye = tf.eye(shape[1], batch_shape=[shape[0]])
    model = tf_keras.Model(x, tf.cumsum(eye, 1) * 0.5 + tf.linalg.diag(tf.reduce_sum(x, -1)))
    model.save(tmp_path / "m.keras")
    graph = convert(load(tmp_path / "m.keras"))
    values = np.random.default_rng(0).normal(size=(batch, 5, 2)).astype(np.float32)
    np.testing.assert_allclose(run(graph, values)[0], model.predict(values, verbose=0), rtol=1e-6)


@pytest.mark.parametrize("size", [(2, 2), (3, 1)])
def test_pixels_of_free_sizes_are_repeated_by_a_rule_that_onnx_has(tmp_path, size):
    layers = [tf_keras.Input((None, None, 3)), tf_keras.layers.UpSampling2D(size), tf_keras.layers.Conv2D(2, 1)]
    model = tf_keras.Sequential(layers)
    model.save(tmp_path / "m.keras")
    graph = convert(load(tmp_path / "m.keras"))
    (resize,) = [node for node in graph.graph.node if node.op_type == "Resize"]
    assert b"asymmetric" in [a.s for a in resize.attribute]
    x = np.random.default_rng(0).normal(size=(2, 5, 7, 3)).astype(np.float32)
    np.testing.assert_allclose(run(graph, x)[0], model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(6, 5, 3), (4,)])
def test_batch_normalization_of_the_batch_itself(tmp_path, shape):
    """As the generators of GANs have it, which are called with training=True; Keras 3 overrides that in predict."""
    x = tf_keras.Input(shape)
    y = tf_keras.layers.BatchNormalization(momentum=0.9)(x * 3 + 1, training=True)
    model = tf_keras.Model(x, tf_keras.layers.Dense(2)(y))
    model.save(tmp_path / "m.keras")
    source = load(tmp_path / "m.keras")
    graph = convert(source)
    values = np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)
    np.testing.assert_allclose(run(graph, values)[0], model.predict(values, verbose=0), rtol=1e-4, atol=1e-5)
    verify(graph.SerializeToString(), source, spec=ModelSpec())


def test_a_sequence_without_a_step_is_nan_in_both(tmp_path):
    """TensorFlow fuses the relu behind the mean of no steps in a way that hides the NaN, which its eager mode shows."""
    layers = [L.Input((30,)), L.Embedding(20, 4, mask_zero=True), L.GlobalAveragePooling1D(), L.Dense(5, "relu")]
    path = tmp_path / "m.keras"
    keras.Sequential([*layers, L.Dense(2, "sigmoid")]).save(path)
    assert main(["export", str(path)]) == 0


def test_mish_behind_batch_normalization(tmp_path):
    """TensorFlow 2.21 takes it for one operator that it doesn't have."""
    x = L.Input((8, 8, 3))
    y = L.BatchNormalization()(L.Conv2D(4, 3, use_bias=False)(x))
    path = tmp_path / "m.keras"
    keras.Model(x, L.Multiply()([y, L.Activation("tanh")(L.Activation("softplus")(y))])).save(path)
    assert main(["export", str(path)]) == 0


def test_weights_are_in_memory_few_times(tmp_path):
    code = f"""
import resource, tf_keras
from edgecnn.export import to_onnx
def peak(width):
    layers = [tf_keras.Input((width,)), tf_keras.layers.Dense(width), tf_keras.layers.Dense(2)]
    tf_keras.Sequential(layers).save(r"{tmp_path}/m.h5")
    to_onnx.main([r"{tmp_path}/m.h5"])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
small, large = peak(8), peak(3500)
print("times", (large - small) * 1024 / (4 * 3500**2))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # tf2onnx by itself takes 60 times their size.
    assert float(done.stdout.split("times")[1]) < 20


def test_several_of_an_operator_in_one_scope(tmp_path):
    """TensorFlow numbers the second one as we might number the nodes that stand for the first."""
    module = tf.Module()

    def serve(codes, image):
        hot = sum(tf.one_hot(codes + i, 4) for i in range(3))
        hues = sum(tf.image.rgb_to_hsv(image / (i + 1)) for i in range(3))
        return {"hot": hot, "hues": hues}

    signature = [tf.TensorSpec((None, 3), tf.int32, name="codes"), tf.TensorSpec((None, 4, 4, 3), name="image")]
    module.serve = tf.function(serve, signature)
    tf.saved_model.save(module, tmp_path / "m", signatures={"serving_default": module.serve})
    codes = np.array([[0, 1, 2], [3, -1, 0]], np.int32)
    image = np.random.default_rng(23).random((2, 4, 4, 3)).astype(np.float32)
    got = run(convert(load(tmp_path / "m")), codes, image)
    for g, expected in zip(got, serve(codes, image).values(), strict=True):
        np.testing.assert_allclose(g, expected, atol=1e-6)
