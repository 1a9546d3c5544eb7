"""edgecnn.export.load: a Keras file becomes a Source, and what is none is named for what it is."""

from __future__ import annotations

import importlib
import pathlib
import pickle
import subprocess
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest

from edgecnn import InputError, ModelError, ModelSpec
from edgecnn.export.load import load
from edgecnn.export.reading.stored import sniff
from edgecnn.export.stamp import write_stamp

L = keras.layers


def small(path):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([L.Input((5,), name="row"), L.Dense(3, activation="softmax", name="scores")])
    model.save(path)
    return model


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "m.hdf5"])
def test_source_describes_the_model(tmp_path, name):
    model = small(tmp_path / name)
    source = load(tmp_path / name)
    assert [t.describe() for t in source.inputs] == ["row float32 [batch, 5]"]
    assert [t.describe() for t in source.outputs] == ["scores float32 [batch, 3]"]
    assert source.keras_version == keras.__version__
    assert len(source.sha256) == 64
    x = np.linspace(0, 1, 10, dtype=np.float32).reshape(2, 5)
    np.testing.assert_allclose(source([x])[0], model(x), atol=1e-7)


def test_inference_mode(tmp_path):
    model = keras.Sequential([L.Input((50,)), L.Dropout(0.5), L.BatchNormalization()])
    model.save(tmp_path / "m.keras")
    x = np.ones((1, 50), np.float32)
    (y,) = load(tmp_path / "m.keras")([x])
    np.testing.assert_allclose(y, model(x, training=False))


def test_stamp_and_loss_are_read(tmp_path):
    model = small(tmp_path / "m.keras")
    model.compile("adam", "categorical_crossentropy")
    model.save(tmp_path / "m.h5")
    write_stamp(tmp_path / "m.h5", ModelSpec(labels=("a", "b", "c")))
    source = load(tmp_path / "m.h5")
    assert source.stamp.labels == ("a", "b", "c")
    assert source.loss == "categorical_crossentropy"


def test_names_are_plain_and_unique(tmp_path):
    a, b = L.Input((2,), name="a"), L.Input((2,), name="b")
    joined = L.Concatenate()([a, b])
    model = keras.Model([a, b], [L.Dense(1, name="one")(joined), L.Dense(2, name="two")(joined)])
    model.save(tmp_path / "m.keras")
    source = load(tmp_path / "m.keras")
    assert [t.name for t in source.inputs] == ["a", "b"]
    assert [t.name for t in source.outputs] == ["one", "two"]
    y = source([np.zeros((4, 2), np.float32)] * 2)
    assert [v.shape for v in y] == [(4, 1), (4, 2)]


def test_hdf5_under_the_name_keras(tmp_path):
    small(tmp_path / "m.h5")
    path = (tmp_path / "m.h5").rename(tmp_path / "m.keras")
    assert sniff(path) == "hdf5"
    assert load(path).inputs[0].shape == (None, 5)


class Bomb:
    def __reduce__(self):
        return (sys.exit, ("the pickle ran",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(Bomb()), "Python pickle"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "HTML page"),
        (b"", "is empty"),
        (b"hello world", "a text and neither HDF5"),
        (b"PK\x03\x04 cut", "damaged or cut-off"),
        (b"\x89HDF\r\n\x1a\n cut", "damaged"),
    ],
)
def test_foreign_files_are_named(tmp_path, content, message):
    path = tmp_path / "m.h5"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        load(path)


def test_missing_file(tmp_path):
    with pytest.raises(ModelError, match="does not exist"):
        load(tmp_path / "m.h5")


def test_pytorch_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    with pytest.raises(ModelError, match="PyTorch"):
        load(tmp_path / "m.keras")


def test_cut_off_hdf5(tmp_path):
    small(tmp_path / "m.h5")
    (tmp_path / "m.h5").write_bytes((tmp_path / "m.h5").read_bytes()[:3000])
    with pytest.raises(ModelError, match="damaged"):
        load(tmp_path / "m.h5")


def test_weights_only(tmp_path):
    small(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as f:
        del f.attrs["model_config"]
    with pytest.raises(ModelError, match="weights without their architecture"):
        load(tmp_path / "m.h5")


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_lambda_is_refused_unless_allowed(tmp_path, name):
    model = keras.Sequential([L.Input((2,)), L.Lambda(lambda x: x * 3, name="triple")])
    model.save(tmp_path / name)
    with pytest.raises(ModelError, match=r"Lambda layer 'triple'.*--allow-lambda"):
        load(tmp_path / name)
    (y,) = load(tmp_path / name, allow_lambda=True)([np.ones((1, 2), np.float32)])
    np.testing.assert_array_equal(y, [[3, 3]])


def test_a_training_that_diverged_is_told(tmp_path):
    model = keras.Sequential([L.Input((2,)), L.Dense(2, name="lost")])
    assert load_of(model, tmp_path).notes == ()
    model.set_weights([np.full((2, 2), np.nan, np.float32), np.zeros(2, np.float32)])
    assert load_of(model, tmp_path).notes == ("1 of 2 weights hold NaN or infinity, kernel first",)


def load_of(model, folder):
    model.save(folder / "m.keras")
    return load(folder / "m.keras")


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_what_training_alone_needs_is_proposed_as_the_first_input(tmp_path, name):
    """A loss over what a reader of text gives, or noise on the mean of an autoencoder."""

    def sampling(given):
        return given[0] + keras.random.normal(keras.ops.shape(given[0])) * given[1]

    inputs = L.Input((3,))
    mean, spread = L.Dense(2)(inputs), L.Dense(2)(inputs)
    keras.Model(inputs, L.Lambda(sampling, name="z")([mean, spread])).save(tmp_path / name)
    with pytest.raises(ModelError, match=r"--lambda z='x\[0\]'"):
        load(tmp_path / name)
    x = np.ones((2, 3), np.float32)
    expected = keras.Model(inputs, mean)(x)
    np.testing.assert_allclose(load(tmp_path / name, lambdas={"z": "x[0]"})([x])[0], expected, atol=1e-6)


def test_importing_the_export_is_light():
    folder = pathlib.Path(__file__).parents[1] / "export"
    modules = [".".join(p.relative_to(folder).with_suffix("").parts) for p in folder.rglob("[a-z]*.py")]
    code = (
        "import sys, importlib\n"
        f"for m in {modules!r}: importlib.import_module('edgecnn.export.' + m)\n"
        "print([m for m in ('tensorflow', 'keras', 'onnx', 'tf2onnx', 'onnxruntime', 'h5py') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
@pytest.mark.parametrize("operation", [0, 255], ids=["a cache where none is", "one that no Python has"])
def test_bytecode_of_another_python_is_not_run(tmp_path, name, operation):
    def twice(x):
        return abs(x) * 2

    twice.__name__ = "<lambda>"
    there = twice.__code__.co_code
    twice.__code__ = twice.__code__.replace(co_code=there[:2] + bytes([operation, 0]) + there[2:])
    layer = L.Lambda(lambda x: x, output_shape=(2,), name="twice")
    layer.function = twice  # which would end this process if it were called
    keras.Sequential([L.Input((2,)), layer]).save(tmp_path / name)
    with pytest.raises(ModelError, match=r"bytecode of another Python in the Lambda layer 'twice'.* --lambda twice="):
        load(tmp_path / name, allow_lambda=True)


def test_an_output_for_all_samples_together_is_named(tmp_path):
    x = L.Input((3,))
    keras.Model(x, [L.Dense(2)(x), keras.ops.sum(x)]).save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match=r"gives one number for all samples together \(sum\), as a loss is"):
        load(tmp_path / "m.keras")


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`:UserWarning")
@pytest.mark.parametrize("library", ["tf_keras", "keras"])
class TestExpressions:
    """Lambda layers of both Kerases, replaced by expressions."""

    @staticmethod
    def file(library, tmp_path, layer, shape=(4, 3)):
        k = importlib.import_module(library)
        model = k.Sequential([k.Input(shape), layer(k), k.layers.Dense(2)])
        model.save(tmp_path / "m.h5")
        return model, tmp_path / "m.h5"

    def test_inside_of_time_distributed(self, library, tmp_path):
        wrapped = lambda k: k.layers.TimeDistributed(k.layers.Lambda(lambda x: x * 2, name="double"))  # noqa: E731
        model, path = self.file(library, tmp_path, wrapped)
        x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
        (got,) = load(path, lambdas={"double": "x * 2"})([x])
        np.testing.assert_allclose(got, model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)

    def test_what_fails_is_told_with_the_expression(self, library, tmp_path):
        _, path = self.file(library, tmp_path, lambda k: k.layers.Lambda(lambda x: x * 2, name="double"))
        with pytest.raises(InputError, match=r"^'K.permute_dimensions\(x, \(0, 1\)\)' can't be computed"):
            load(path, lambdas={"double": "K.permute_dimensions(x, (0, 1))"})

    def test_one_name_for_two_functions_is_refused(self, library, tmp_path):
        k = importlib.import_module(library)
        inner = [k.Sequential([k.Input((3,)), k.layers.Lambda(f, name="lam")], name=n)
                 for n, f in (("a", lambda x: x * 2), ("b", lambda x: x + 1))]  # fmt: skip
        k.Sequential([k.Input((3,)), *inner, k.layers.Dense(2)]).save(tmp_path / "m.h5")
        with pytest.raises(InputError, match="several Lambda layers called 'lam'"):
            load(tmp_path / "m.h5", lambdas={"lam": "x * 2"})
        with pytest.raises(ModelError, match="several Lambda layers called 'lam'"):
            load(tmp_path / "m.h5")

    def test_a_lambda_as_an_activation(self, library, tmp_path):
        wanted = {"kernel_initializer": "ones", "activation": lambda x: x * 2 + 1}
        model, path = self.file(library, tmp_path, lambda k: k.layers.Dense(3, name="odd", **wanted))
        with pytest.raises(
            ModelError, match=r"a lambda as the activation of the layer 'odd', .* --lambda odd='x \* 2'"
        ):
            load(path)
        x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
        (got,) = load(path, lambdas={"odd": "x * 2 + 1"})([x])
        np.testing.assert_allclose(got, model.predict(x, verbose=0), rtol=1e-5, atol=1e-5)

    @pytest.mark.filterwarnings("ignore::UserWarning")
    @pytest.mark.parametrize("suffix", [".h5", ".keras"])
    def test_lambdas_for_training_alone_are_dropped(self, library, suffix, tmp_path):
        """The weights are in the file, so nobody needs what they began with or were held to."""
        k = importlib.import_module(library)
        ones = k.ops.ones if library == "keras" else k.backend.ones
        code = {
            "kernel_initializer": lambda shape, dtype=None, **_: ones(shape),
            "kernel_regularizer": lambda w: 0.0,
            "bias_constraint": lambda w: w,
        }
        model = k.Sequential([k.Input((3,)), k.layers.Dense(4, **code), k.layers.Dense(2)])
        model.set_weights([np.full_like(w, i + 1) for i, w in enumerate(model.get_weights())])
        model.save(tmp_path / f"m{suffix}")
        x = np.ones((2, 3), np.float32)
        (got,) = load(tmp_path / f"m{suffix}")([x])
        np.testing.assert_allclose(got, model.predict(x, verbose=0))

    def test_a_file_without_any_needs_none(self, library, tmp_path):
        _, path = self.file(library, tmp_path, lambda k: k.layers.Dense(3))
        load(path, lambdas={"double": "x * 2"})


def twice_for_lambda(x):
    return x * 2


def test_a_function_that_a_lambda_only_names_is_told_so(tmp_path):
    path = tmp_path / "m.keras"
    keras.Sequential([L.Input((3,)), L.Lambda(twice_for_lambda, name="odd"), L.Dense(2)]).save(path)
    with pytest.raises(ModelError, match="calls twice_for_lambda in the Lambda layer 'odd'"):
        load(path)
