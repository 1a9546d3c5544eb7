"""edgecnn.export.reading.generations: a file is read with the semantics of the Keras that wrote it."""

from __future__ import annotations

import importlib
import io
import json
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from edgecnn import InputError, ModelError, ModelSpec
from edgecnn.cli import guard
from edgecnn.export.convert import convert
from edgecnn.export.load import load
from edgecnn.export.reading import repair
from edgecnn.export.to_onnx import main
from edgecnn.export.verify import verify

# tf-keras finds its own HDF5 old-fashioned.
pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")

L2, L3 = tf_keras.layers, keras.layers
STEPS = np.random.default_rng(10).normal(size=(3, 6, 2)).astype(np.float32)


def lstm(library, **options):
    library.utils.set_random_seed(11)
    layers = library.layers
    hidden = layers.LSTM(4, recurrent_activation="hard_sigmoid", **options)
    return library.Sequential([layers.Input((6, 2)), hidden, layers.Dense(2)])


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_keras_2_files_keep_keras_2s_hard_sigmoid(tmp_path, suffix):
    model = lstm(tf_keras)
    model.save(tmp_path / f"m{suffix}")
    source = load(tmp_path / f"m{suffix}")
    assert source.loaded_by == f"tf-keras {tf_keras.__version__}"
    np.testing.assert_allclose(source([STEPS])[0], model(STEPS), atol=1e-6)
    other = lstm(keras)
    other.set_weights(model.get_weights())
    assert np.abs(other(STEPS) - source([STEPS])[0]).max() > 1e-3, "Keras 3 computes something else"


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_keras_3_files_keep_keras_3s(tmp_path, suffix):
    model = lstm(keras)
    model.save(tmp_path / f"m{suffix}")
    source = load(tmp_path / f"m{suffix}")
    assert source.loaded_by == f"Keras {keras.__version__}"
    np.testing.assert_allclose(source([STEPS])[0], model(STEPS), atol=1e-6)


def test_without_tf_keras_the_fallback_still_means_keras_2(tmp_path, monkeypatch):
    model = lstm(tf_keras)
    model.save(tmp_path / "m.h5")
    monkeypatch.setitem(sys.modules, "tf_keras", None)
    source = load(tmp_path / "m.h5")
    assert source.loaded_by == f"Keras {keras.__version__}"
    assert "opened by Keras" in source.notes[-1]
    np.testing.assert_allclose(source([STEPS])[0], model(STEPS), atol=1e-6)


@pytest.mark.parametrize("stateful", [True, -1])  # -True is what a public script says, and Keras stores as it is
def test_dropout_in_cells_state_and_fixed_batch_go(tmp_path, stateful):
    tf_keras.utils.set_random_seed(12)
    recurrent = L2.GRU(3, stateful=stateful, dropout=0.3, recurrent_dropout=0.2, batch_input_shape=(2, 6, 2))
    model = tf_keras.Sequential([recurrent, L2.Dense(1)])
    model.save(tmp_path / "m.h5")
    source = load(tmp_path / "m.h5")
    assert source.inputs[0].shape == (None, 6, 2)
    assert any("batch of 2" in n for n in source.notes)
    assert any("reset_states" in n for n in source.notes)
    np.testing.assert_allclose(source([STEPS[:2]])[0], model(STEPS[:2], training=False), atol=1e-6)
    verify(convert(source).SerializeToString(), source, spec=ModelSpec(head="regression"))


@pytest.mark.parametrize(("library", "suffix"), [(tf_keras, ".h5"), (tf_keras, ".keras"), (keras, ".keras")])
def test_half_precision_is_computed_in_float32(tmp_path, library, suffix):
    layers, half = library.layers, {"dtype": "float16"}
    first = [layers.Input((6, 2), **half), layers.LSTM(4, **half), layers.BatchNormalization(**half)]
    model = library.Sequential([*first, layers.Dense(2, **half)])
    model.save(tmp_path / f"m{suffix}")
    source = load(tmp_path / f"m{suffix}")
    assert any("half precision" in n for n in source.notes)
    np.testing.assert_allclose(source([STEPS])[0], model(STEPS.astype(np.float16)), atol=1e-2)
    verify(convert(source).SerializeToString(), source, spec=ModelSpec(head="regression"))


def test_mixed_precision_is_computed_in_float32(tmp_path):
    model = tf_keras.Sequential([L2.Input((4,)), L2.Dense(3, dtype="mixed_float16"), L2.Dense(1, dtype="float32")])
    model.save(tmp_path / "m.keras")
    source = load(tmp_path / "m.keras")
    assert any("mixed precision" in n for n in source.notes)
    verify(convert(source).SerializeToString(), source, spec=ModelSpec(head="regression"))


def test_cudnn_layers_run_anywhere(tmp_path):
    """CuDNNLSTM holds twice the biases of LSTM, half of them for the recurrent part: they add up."""
    model = tf_keras.Sequential([L2.Input((6, 2)), L2.LSTM(4, name="lstm")])
    model.save(tmp_path / "m.h5")
    bias = np.random.default_rng(13).normal(size=32).astype(np.float32)
    with h5py.File(tmp_path / "m.h5", "r+") as f:
        text = f.attrs["model_config"].replace('"class_name": "LSTM"', '"class_name": "CuDNNLSTM"')
        config = json.loads(text)
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "CuDNNLSTM":
                for key in ("activation", "recurrent_activation", "use_bias", "unroll", "implementation"):
                    layer["config"].pop(key, None)
        f.attrs["model_config"] = json.dumps(config)
        group = f["model_weights/lstm"]
        path = next(n for n in group.attrs["weight_names"] if "bias" in str(n))
        path = path.decode() if isinstance(path, bytes) else path
        del group[path]
        group[path] = bias
        # cuDNN keeps the kernels of each gate transposed.
        kernels = [n.decode() if isinstance(n, bytes) else n for n in group.attrs["weight_names"]][:2]
        inputs, recurrent = (group[k][()] for k in kernels)
        group[kernels[0]][...] = np.hstack([g.T.reshape(g.shape) for g in np.hsplit(inputs, 4)])
        group[kernels[1]][...] = np.hstack([g.T for g in np.hsplit(recurrent, 4)])
    weights = model.get_weights()
    model.set_weights([weights[0], weights[1], bias[:16] + bias[16:]])
    (got,) = load(tmp_path / "m.h5")([STEPS])
    np.testing.assert_allclose(got, model(STEPS), atol=1e-6)


@pytest.mark.filterwarnings("ignore:Layer .twice. .of type Lambda.:UserWarning")
@pytest.mark.parametrize("ending", ["h5", "keras"])
@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])
def test_an_expression_takes_the_mask_and_hands_none_on(tmp_path, library, ending):
    layers = library.layers
    inputs = layers.Input((5,), dtype="int32")
    x = layers.Embedding(9, 3, mask_zero=True)(inputs)
    x = layers.Lambda(lambda x: x * 2, output_shape=(5, 3), name="twice")(x)
    model = library.Model(inputs, layers.LSTM(4)(x))
    model.save(tmp_path / f"m.{ending}")
    ids = np.array([[1, 2, 0, 0, 0], [0, 3, 0, 8, 1]], np.int32)
    (got,) = load(tmp_path / f"m.{ending}", lambdas={"twice": "x * 2"})([ids])
    np.testing.assert_allclose(got, model(ids), atol=1e-6)


def test_normalization_over_several_devices_is_ordinary_on_one(tmp_path):
    model = tf_keras.Sequential([L2.Input((6, 2)), L2.BatchNormalization(synchronized=True)])
    model.set_weights([np.array(w, np.float32) for w in ([1, 2], [3, 4], [5, 6], [7, 8])])
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as f:
        text = f.attrs["model_config"].replace('"class_name": "Batch', '"class_name": "SyncBatch')
        f.attrs["model_config"] = text.replace(', "synchronized": true', "")
        assert "SyncBatchNormalization" in text
    np.testing.assert_allclose(load(tmp_path / "m.h5")([STEPS])[0], model(STEPS), atol=1e-6)


def rewrite_weights(path, rename):
    """Give the datasets inside a .keras archive other paths."""
    with zipfile.ZipFile(path) as old:
        members = {n: old.read(n) for n in old.namelist()}
    buffer = io.BytesIO()
    with h5py.File(io.BytesIO(members["model.weights.h5"])) as source, h5py.File(buffer, "w") as target:

        def copy(name, item):
            if isinstance(item, h5py.Dataset):
                target.create_dataset(rename(name), data=item[()])

        source.visititems(copy)
    members["model.weights.h5"] = buffer.getvalue()
    with zipfile.ZipFile(path, "w") as new:
        for name, content in members.items():
            new.writestr(name, content)


def two_convolutions():
    tf_keras.utils.set_random_seed(14)
    layers = [L2.Conv2D(2, 3), L2.BatchNormalization(), L2.Conv2D(3, 3), L2.Flatten(), L2.Dense(2), L2.Dense(1)]
    return tf_keras.Sequential([L2.Input((8, 8, 1)), *layers])


IMAGES = np.random.default_rng(15).normal(size=(2, 8, 8, 1)).astype(np.float32)


def windows(name):
    head, _, tail = name.partition("/vars/")
    return head.replace("/", "\\") + "/vars/" + tail if tail else name


def keras_2_12(name):
    """Keras 2.12 counted layers with weights twice: conv2d, conv2d_2; dense, dense_2."""
    name = name.replace("layers/", "_layer_checkpoint_dependencies/")
    return name.replace("/conv2d_1/", "/conv2d_2/").replace("/dense_1/", "/dense_2/")


def test_a_layer_that_stands_in_two_models_of_an_archive(tmp_path):
    """Every VAE with add_loss has such ones. It is stored once but made twice, and tf-keras can't read its own file."""
    row = tf_keras.Input((4,))
    shared = tf_keras.layers.Dense(3, activation="tanh", name="shared")
    inner = tf_keras.Model(row, tf_keras.layers.Dense(2)(shared(row)), name="inner")
    last = tf_keras.layers.Reshape((2, 1))(tf_keras.layers.Activation("tanh")(inner(row)))
    model = tf_keras.Model(row, [last, shared(row)])
    model.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="received 0 variables"):
        tf_keras.models.load_model(tmp_path / "m.keras")
    rows = np.random.default_rng(8).normal(size=(3, 4)).astype(np.float32)
    for got, expected in zip(load(tmp_path / "m.keras")([rows]), model(rows), strict=True):
        np.testing.assert_allclose(got, np.asarray(expected), atol=1e-6)


def test_a_layer_stored_before_others_of_its_class_is_refused(tmp_path):
    """Of the inner model's two layers the file has the second alone, whose values would go to the first."""
    row = tf_keras.Input((3,))
    shared = tf_keras.layers.Dense(3, name="shared")
    inner = tf_keras.Model(row, tf_keras.layers.Dense(3, name="own")(shared(row)), name="inner")
    before = shared(row)
    model = tf_keras.Model(row, [before, inner(before)])
    model.save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match=r"the archive holds no values for own/kernel"):
        load(tmp_path / "m.keras")


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_function_whose_inputs_are_not_stored(tmp_path, suffix):
    row = tf_keras.Input((4, 5))
    product = tf.einsum("bij,bkj->bik", row, 2.0 - tf_keras.layers.Dense(5)(row))
    tf_keras.Model(row, product).save(tmp_path / f"m{suffix}")
    with pytest.raises(ModelError, match=r"doesn't hold what its layer 'tf.einsum.*' takes: Keras 2 didn't store that"):
        load(tmp_path / f"m{suffix}")


def test_an_archive_of_keras_3_without_some_weights(tmp_path):
    model = keras.Sequential([L3.Input((4,)), L3.Dense(3, name="a"), L3.BatchNormalization(name="b"), L3.Dense(2)])
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    content = io.BytesIO(members["model.weights.h5"])
    with h5py.File(content, "r+") as f:
        del f["layers/dense"], f["layers/batch_normalization"]
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as part:
        for name, data in {**members, "model.weights.h5": content.getvalue()}.items():
            part.writestr(name, data)
    with pytest.raises(ModelError, match=r"m.keras: the file holds no weights for its layers a, b$"):
        load(tmp_path / "m.keras")


@pytest.mark.parametrize("rename", [windows, keras_2_12])
def test_archives_of_other_writers(tmp_path, rename):
    model = two_convolutions()
    model.save(tmp_path / "m.keras")
    rewrite_weights(tmp_path / "m.keras", rename)
    source = load(tmp_path / "m.keras")
    assert source.loaded_by.startswith("tf-keras")
    np.testing.assert_allclose(source([IMAGES])[0], model(IMAGES), atol=1e-6)


@pytest.mark.parametrize("windows", [False, True])
def test_vocabularies_beside_the_weights(tmp_path, windows):
    """What adapt() learned stands in a file of its own in the archive."""
    kind, code = L2.Input((2,), name="kind", dtype="string"), L2.Input((1,), name="code", dtype="int64")
    kinds, codes = L2.StringLookup(output_mode="tf_idf"), L2.IntegerLookup(output_mode="one_hot")
    kinds.adapt(np.array([["cat", "dog"], ["cat", "Großmaul"]]))
    codes.adapt(np.array([5, -7, 5]))
    model = tf_keras.Model([kind, code], L2.Dense(2)(L2.Concatenate()([kinds(kind), codes(code)])))
    model.save(tmp_path / "m.keras")
    if windows:
        with zipfile.ZipFile(tmp_path / "m.keras") as old:
            members = {n.replace("assets/layers/", "assets\\layers\\"): old.read(n) for n in old.namelist()}
        with zipfile.ZipFile(tmp_path / "m.keras", "w") as new:
            for name, content in members.items():
                new.writestr(name, content)
    x = [np.array([["cat", "Großmaul"], ["fish", "dog"]], object), np.array([[-7], [9]])]
    expected = model([tf.constant(a) for a in x])
    np.testing.assert_allclose(load(tmp_path / "m.keras")(x)[0], expected, atol=1e-6)


def test_an_archive_without_a_weight_is_refused(tmp_path):
    two_convolutions().save(tmp_path / "m.keras")
    rewrite_weights(tmp_path / "m.keras", lambda name: name.replace("dense_1", "elsewhere"))
    with pytest.raises(ModelError, match=r"no values for|can't open"):
        load(tmp_path / "m.keras")


@keras.saving.register_keras_serializable("edgecnn_generations")
class Doubling(L3.Layer):
    def call(self, x):
        return x * 2


def test_a_custom_class_is_named_and_taken_from_a_file(tmp_path):
    path = tmp_path / "m.keras"
    model = keras.Sequential([L3.Input((2,)), Doubling(name="twice")])
    model.save(path)
    registered = keras.saving.get_custom_objects()
    kept = registered.pop("edgecnn_generations>Doubling")
    try:
        with pytest.raises(ModelError, match="needs the class Doubling, whose code is not in the file"):
            load(path)
        code = "import keras\nclass Doubling(keras.layers.Layer):\n    def call(self, x):\n        return x * 2\n"
        (tmp_path / "mine.py").write_text(code)
        (y,) = load(path, custom=tmp_path / "mine.py")([np.ones((1, 2), np.float32)])
    finally:
        registered["edgecnn_generations>Doubling"] = kept
    np.testing.assert_array_equal(y, [[2, 2]])


@pytest.mark.parametrize("library", [tf_keras, keras])
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_lambda_as_an_expression(tmp_path, library, suffix):
    layers = library.layers
    scale = layers.Lambda(lambda x: x / 127.5 - 1, name="scale", output_shape=(3,))
    model = library.Sequential([layers.Input((3,)), scale, layers.Dense(2)])
    path = tmp_path / f"m{suffix}"
    model.save(path)
    with pytest.raises(ModelError, match="Lambda layer 'scale'"):
        load(path)
    with pytest.raises(InputError, match="no Lambda layer 'other'"):
        load(path, lambdas={"other": "x"})
    x = np.array([[0, 100, 255]], np.float32)
    (y,) = load(path, lambdas={"scale": "x / 127.5 - 1"})([x])
    np.testing.assert_allclose(y, model(x), atol=1e-6)


@pytest.mark.parametrize("library", [tf_keras, keras])
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_lambda_of_several_inputs_and_another_type(tmp_path, library, suffix):
    layers = library.layers
    first, second = layers.Input((3,)), layers.Input((3,))
    nearer = layers.Lambda(lambda x: x[0], output_shape=(3,), name="nearer")([first, second])
    library.Model([first, second], layers.Activation("linear")(nearer)).save(tmp_path / f"m{suffix}")
    source = load(tmp_path / f"m{suffix}", lambdas={"nearer": "K.cast(x[0] < x[1], 'float32') * x[1]"})
    x = [np.random.default_rng(i).normal(size=(4, 3)).astype(np.float32) for i in (1, 2)]
    np.testing.assert_array_equal(source(x)[0], (x[0] < x[1]) * x[1])
    verify(convert(source).SerializeToString(), source, spec=ModelSpec(head="regression"))


def test_lambda_on_the_command_line(tmp_path):
    model = keras.Sequential([L3.Input((3,)), L3.Lambda(lambda x: x * 2, name="two"), L3.Dense(2)])
    model.save(tmp_path / "m.keras")
    assert guard(main, [str(tmp_path / "m.keras")]) == 2
    assert guard(main, [str(tmp_path / "m.keras"), "--lambda", "two=x * 2"]) == 0


def test_weights_with_an_architecture(tmp_path):
    model = two_convolutions()
    model.save_weights(tmp_path / "w.h5")
    with pytest.raises(ModelError, match="--architecture"):
        load(tmp_path / "w.h5")
    (tmp_path / "model.json").write_text(model.to_json())
    source = load(tmp_path / "w.h5", architecture=str(tmp_path / "model.json"))
    np.testing.assert_allclose(source([IMAGES])[0], model(IMAGES), atol=1e-6)
    code = (
        "from tf_keras import Sequential, layers as L\n"
        "def make():\n"
        "    return Sequential([L.Input((8, 8, 1)), L.Conv2D(2, 3), L.BatchNormalization(), L.Conv2D(3, 3),\n"
        "                       L.Flatten(), L.Dense(2), L.Dense(1)])\n"
    )
    (tmp_path / "net.py").write_text(code)
    source = load(tmp_path / "w.h5", architecture=f"{tmp_path / 'net.py'}:make")
    np.testing.assert_allclose(source([IMAGES])[0], model(IMAGES), atol=1e-6)


def test_a_free_time_dimension_survives_time_distributed(tmp_path):
    model = keras.Sequential([L3.Input((None, 2)), L3.LSTM(3, return_sequences=True), L3.TimeDistributed(L3.Dense(2))])
    model.save(tmp_path / "m.keras")
    source = load(tmp_path / "m.keras")
    assert source([STEPS])[0].shape == (3, 6, 2)
    verify(convert(source).SerializeToString(), source, spec=ModelSpec(head="regression"))


def attention_model():
    x = L3.Input((5, 4))
    hidden = L3.MultiHeadAttention(2, 3)(x, x)
    return keras.Model(x, L3.GlobalAveragePooling1D()(L3.LayerNormalization()(x + hidden)))


def operations_model():
    x = L3.Input((5, 4))
    return keras.Model(x, L3.Dense(2)(keras.ops.relu(x * 2.0 - 1.0)[:, 1:, :]))


@pytest.mark.parametrize("make", [attention_model, operations_model])
def test_keras_3_hdf5_that_keras_3_itself_does_not_reopen(tmp_path, make):
    keras.utils.set_random_seed(23)
    model = make()
    model.save(tmp_path / "m.h5")
    source = load(tmp_path / "m.h5")
    x = np.random.default_rng(24).normal(size=(2, 5, 4)).astype(np.float32)
    np.testing.assert_allclose(source([x])[0], model(x), atol=1e-6)


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["Keras", "tf-keras"])
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_layers_of_keras_own_applications(tmp_path, library, suffix):
    """InceptionResNetV2 and ConvNeXt bring layers that neither Keras finds again by itself."""
    name = library.__name__
    scale = importlib.import_module(f"{name}.src.applications.inception_resnet_v2").CustomScaleLayer(0.17)
    gamma = importlib.import_module(f"{name}.src.applications.convnext").LayerScale(0.5, 3)
    x = library.layers.Input((4, 3))
    model = library.Model(x, gamma(scale([x, library.layers.Dense(3)(x)])))
    model.save(tmp_path / f"m{suffix}")
    sample = np.random.default_rng(2).normal(size=(2, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(load(tmp_path / f"m{suffix}")([sample])[0], model(sample), atol=1e-6)


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["Keras", "tf-keras"])
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_functions_of_tensorflow_as_activations(tmp_path, library, suffix):
    """Keras stores them by name; its own load_model finds few of them again."""
    model = library.Sequential([library.layers.Input((4,))])
    of_math = (tf.sin, tf.abs, tf.sqrt, tf.identity, tf.exp, tf.square, tf.negative, tf.round, tf.math.reciprocal)
    for function in (*of_math, tf.nn.swish, tf.nn.softmax, tf.nn.log_softmax):
        model.add(library.layers.Dense(4, activation=function))
    model.save(tmp_path / f"m{suffix}")
    sample = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)
    loaded = load(tmp_path / f"m{suffix}")
    np.testing.assert_array_equal(loaded([sample])[0], model(sample))
    assert not loaded.notes


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_what_is_called_as_a_function_of_tensorflow(tmp_path, suffix):
    """tf-keras would put a function that it is given by a name wherever a layer's configuration has that text."""
    given = L2.Input((3,), name="square")
    model = tf_keras.Model(given, L2.Dense(2, activation=tf.abs, name="log")(tf.identity(given)))
    model.save(tmp_path / f"m{suffix}")
    sample = np.ones((1, 3), np.float32)
    np.testing.assert_array_equal(load(tmp_path / f"m{suffix}")([sample])[0], model(sample))


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_an_input_made_of_a_specification(tmp_path, suffix):
    """Keras 2 stores no shape then, and gives such an input no name."""
    tokens = L2.Input(type_spec=tf.TensorSpec((None, 3), tf.int32))
    model = tf_keras.Model(tokens, L2.Flatten()(L2.Embedding(5, 2)(tokens)))
    model.save(tmp_path / f"m{suffix}")
    loaded, sample = load(tmp_path / f"m{suffix}"), np.array([[0, 4, 2]], np.int32)
    assert [(t.shape, t.dtype) for t in loaded.inputs] == [((None, 3), "int32")]
    np.testing.assert_array_equal(loaded([sample])[0], model(sample))


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_experimental_layers_of_keras_2(tmp_path, suffix):
    model = tf_keras.Sequential([L2.Input((3,)), L2.experimental.RandomFourierFeatures(8), L2.Dense(2)])
    model.save(tmp_path / f"m{suffix}")
    sample = np.random.default_rng(2).normal(size=(2, 3)).astype(np.float32)
    source = load(tmp_path / f"m{suffix}")
    verify(convert(source).SerializeToString(), source, spec=ModelSpec(head="regression"))
    np.testing.assert_allclose(source([sample])[0], model(sample), atol=1e-6)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_normalization_that_saw_its_sizes_first_in_fit(tmp_path, suffix):
    rows = np.random.default_rng(12).normal(3, 2, (64, 9)).astype(np.float32)
    normalization = L2.Normalization(axis=-1)
    normalization.adapt(rows)
    model = tf_keras.Sequential([normalization, L2.Dense(4, activation="relu"), L2.Dense(1)])
    model.compile("sgd", "mae")
    model.fit(rows, rows[:, 0], verbose=0)
    model.save(tmp_path / f"m{suffix}")
    with pytest.raises(ValueError, match="must have known shape"):
        tf_keras.models.load_model(tmp_path / f"m{suffix}")
    source = load(tmp_path / f"m{suffix}")
    assert source.inputs[0].shape == (None, 9)
    np.testing.assert_allclose(source([rows])[0], model(rows), atol=1e-5)


def test_casts_of_mixed_precision_go_with_it():
    """Keras 3.6 stored them between the layers; a cast that a model in float32 makes itself stays."""
    cast = {"class_name": "Cast", "module": "keras.src.ops.core", "config": {"dtype": "float16", "name": "cast"}}
    for policy, dtype in (("mixed_float16", "float32"), ("float32", "float16")):
        dense = {"class_name": "Dense", "config": {"name": "d", "dtype": policy}}
        stored = {"class_name": "Functional", "config": {"layers": [dense, cast]}}
        mended, _ = repair.for_inference(stored, free_batch=True, single=False)
        assert [layer["config"]["dtype"] for layer in mended["config"]["layers"]] == ["float32", dtype]


def test_an_operator_after_a_constant(tmp_path):
    inputs = tf_keras.Input((2,))
    model = tf_keras.Model(inputs, tf.constant([1.0, 2.0]) + L2.Dense(2)(inputs))
    model.save(tmp_path / "m.h5")
    x = np.random.default_rng(13).normal(size=(3, 2)).astype(np.float32)
    np.testing.assert_allclose(load(tmp_path / "m.h5")([x])[0], model(x), atol=1e-6)


def written_by(path, version):
    """Let a .keras archive say that another Keras wrote it."""
    with zipfile.ZipFile(path) as old:
        members = {n: old.read(n) for n in old.namelist()}
    members["metadata.json"] = json.dumps({**json.loads(members["metadata.json"]), "keras_version": version})
    with zipfile.ZipFile(path, "w") as new:
        for name, content in members.items():
            new.writestr(name, content)


def test_codes_of_keras_before_3_12_drop_the_fraction(tmp_path):
    """In fit and predict, whose graph casts to the type int64 that such a layer then had; called eagerly it did not."""
    codes = L3.Discretization([-0.5, 0.0, 0.5], dtype="int64", name="codes")
    keras.Sequential([L3.Input((4,)), codes, L3.Rescaling(1.0)]).save(tmp_path / "m.keras")
    written_by(tmp_path / "m.keras", "3.11.3")
    source = load(tmp_path / "m.keras")
    x = np.array([[-1.2, -0.3, 0.3, 0.7], [-0.5, 0.0, 1.5, 2.5]], np.float32)
    expected = [[0, 2, 2, 2], [2, 2, 3, 3]]  # what Keras 3.0 to 3.11 predict
    np.testing.assert_array_equal(source([x])[0], expected)
    np.testing.assert_array_equal(source.eager([x])[0], expected)
    verify(convert(source).SerializeToString(), source, spec=ModelSpec())


def test_boundaries_learned_from_data_are_those_of_the_writer(tmp_path):
    x = np.random.default_rng(31).normal(size=(200, 1)).astype(np.float32)
    layer = L2.Discretization(num_bins=5)
    layer.adapt(x)
    model = tf_keras.Sequential([L2.Input((1,)), layer, L2.Rescaling(0.5)])
    model.save(tmp_path / "m.keras")
    (got,) = load(tmp_path / "m.keras")([x])
    np.testing.assert_array_equal(got, 0.5 * np.digitize(x, layer.bin_boundaries))
    assert len(np.unique(got)) == 5


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_losses_and_metrics_inside_a_model_are_left_out(tmp_path, suffix):
    """As in a variational autoencoder of Keras 2."""
    image = L2.Input((6,))
    mean, spread = L2.Dense(2)(image), L2.Dense(2)(image)
    model = tf_keras.Model(image, L2.Dense(6, activation="sigmoid")(mean))
    model.add_loss(-tf.reduce_mean(1 + spread - tf.square(mean) - tf.exp(spread)))
    model.add_metric(tf.reduce_mean(spread), name="spread")
    model.save(tmp_path / f"m{suffix}")
    source = load(tmp_path / f"m{suffix}")
    x = np.random.default_rng(18).normal(size=(3, 6)).astype(np.float32)
    np.testing.assert_allclose(source([x])[0], model(x), atol=1e-6)
    verify(convert(source).SerializeToString(), source, spec=ModelSpec())


def block_of(library, name):
    """A layer of one's own that owns others, as code in a file, whose author calls its library keras."""
    return f"""
import tensorflow as tf
from {name}.layers import Dense, Layer


class Block(Layer):
    def __init__(self, units, **options):
        super().__init__(**options)
        self.units, self.a, self.b = units, Dense(units), {library}.layers.Dense(units)

    def call(self, x):
        return self.a(x) + {library}.activations.tanh(self.b(x))

    def get_config(self):
        return {{**super().get_config(), "units": self.units}}
"""


@pytest.mark.parametrize("name", ["tensorflow.keras", "keras"])
def test_code_of_ones_own_finds_the_keras_of_its_file(tmp_path, name):
    (tmp_path / "custom.py").write_text(block_of("tf.keras", name))
    keras_3 = sys.modules["keras"]
    x = np.random.default_rng(19).normal(size=(3, 5)).astype(np.float32)
    for library in (keras, tf_keras, keras):
        scope = {"tf": tf}
        own = library.__name__
        exec(block_of(own, own).replace("import tensorflow as tf", f"import {own}"), scope)
        row = library.layers.Input((5,))
        model = library.Model(row, scope["Block"](4)(row))
        model.save(tmp_path / "m.keras")
        source = load(tmp_path / "m.keras", custom=tmp_path / "custom.py")
        assert type(source.model).__module__.startswith(own)
        np.testing.assert_allclose(source([x])[0], np.asarray(model(x)), atol=1e-6)
        assert sys.modules["keras"] is keras_3


class TestLostShapes:
    """Keras 2.2 and 2.3 stored a Sequential without the InputLayer that it begins with."""

    @staticmethod
    def lost(path, layers):
        """A file as those wrote it, and the model."""
        tf_keras.utils.set_random_seed(5)
        model = tf_keras.Sequential(layers)
        model.save(path)
        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            kept = [y for y in config["config"]["layers"] if y["class_name"] != "InputLayer"]
            for layer in kept:
                layer["config"].pop("batch_input_shape", None)
            config["config"] = {"name": "sequential_1", "layers": kept}
            file.attrs["model_config"] = json.dumps(config)
            file.attrs["keras_version"] = "2.2.4"
        return model

    @pytest.mark.parametrize(
        ("layers", "shape", "found"),
        [
            (lambda k: [k.Input((6,)), k.layers.Dense(4), k.layers.Dense(2)], (6,), (6,)),
            (lambda k: [k.Input((8, 8, 3)), k.layers.ZeroPadding2D(), k.layers.Conv2D(4, 3),
                        k.layers.GlobalMaxPooling2D()], (8, 8, 3), (None, None, 3)),
            (lambda k: [k.Input((5, 4)), k.layers.LSTM(3), k.layers.Dense(2)], (5, 4), (None, 4)),
            (lambda k: [k.Input((5, 4)), k.layers.Bidirectional(k.layers.GRU(3))], (5, 4), (None, 4)),
            (lambda k: [k.Input((5, 4)), k.layers.TimeDistributed(k.layers.Dense(3))], (5, 4), (None, 4)),
            (lambda k: [k.Input((7, 7, 2)), k.layers.Conv2DTranspose(3, 2)], (7, 7, 2), (None, None, 2)),
            (lambda k: [k.Input((9,)), k.layers.Embedding(20, 3), k.layers.LSTM(2)], (9,), (None,)),
        ],
    )  # fmt: skip
    def test_the_first_kernel_tells_them(self, tmp_path, layers, shape, found):
        model = self.lost(tmp_path / "m.h5", layers(tf_keras))
        source = load(tmp_path / "m.h5")
        assert source.inputs[0].shape == (None, *found)
        assert any("has lost the shape of its input" in note for note in source.notes)
        x = np.random.default_rng(0).integers(0, 9, (2, *shape)).astype(np.float32)
        np.testing.assert_allclose(source([x])[0], model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)

    def test_a_picture_that_is_flattened_first_comes_flat(self, tmp_path):
        layers = [tf_keras.Input((4, 5)), tf_keras.layers.Flatten(), tf_keras.layers.Dense(3)]
        model = self.lost(tmp_path / "m.h5", layers)
        x = np.random.default_rng(0).normal(size=(2, 4, 5)).astype(np.float32)
        (got,) = load(tmp_path / "m.h5")([x.reshape(2, 20)])
        np.testing.assert_allclose(got, model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)

    def test_a_size_that_nothing_tells(self, tmp_path):
        k = tf_keras.layers
        self.lost(tmp_path / "m.h5", [tf_keras.Input((8, 8, 3)), k.Conv2D(4, 3), k.Flatten(), k.Dense(2)])
        with pytest.raises(ModelError, match="its weights don't tell it"):
            load(tmp_path / "m.h5")


def test_a_shell_around_a_savedmodel_names_that(tmp_path):
    inner = keras.Sequential([L3.Input((3,)), L3.Dense(2)])
    inner.export(tmp_path / "inner", verbose=False)
    x = keras.Input((3,))
    called = L3.TFSMLayer(str(tmp_path / "inner"), call_endpoint="serving_default", name="shell")
    keras.Model(x, called(x)).save(tmp_path / "m.keras")
    with pytest.raises(
        ModelError, match=r"layer 'shell' than that it calls the SavedModel '.*inner': export that folder"
    ):
        load(tmp_path / "m.keras")
