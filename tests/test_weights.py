"""edgecnn.export.reading.weights: weights alone find their architecture, and the Keras that wrote them."""

from __future__ import annotations

import json
import os
import shutil

import h5py
import keras
import numpy as np
import pytest
import tf_keras

from edgecnn import InputError, ModelError
from edgecnn.export.load import load

# tf-keras finds its own HDF5 old-fashioned.
pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")

STEPS = np.random.default_rng(40).normal(size=(3, 6, 2)).astype(np.float32)
HARD = """
def build():
    model = Sequential()
    model.add(LSTM(4, recurrent_activation="hard_sigmoid", name="l", input_shape=(6, 2)))
    model.add(Dense(2, name="d"))
    return model
"""
OLD = """from keras.models import Sequential
from keras.layers.core import Dense
from keras.layers.recurrent import LSTM
"""
TODAY = "from tensorflow.keras.models import Sequential\nfrom tensorflow.keras.layers import *\n"
LIBRARIES = pytest.mark.parametrize("library", [keras, tf_keras], ids=["Keras", "tf-keras"])


def hard(library):
    """What HARD builds, whose hard_sigmoid is another one in Keras 2 and 3."""
    library.utils.set_random_seed(41)
    layers = library.layers
    lstm = layers.LSTM(4, recurrent_activation="hard_sigmoid", name="l")
    model = library.Sequential([layers.Input((6, 2)), lstm, layers.Dense(2, name="d")])
    model.set_weights([w * 2 for w in model.get_weights()])
    return model


def check(path, model, architecture):
    source = load(path, architecture=str(architecture))
    np.testing.assert_allclose(source([STEPS])[0], np.asarray(model(STEPS)), atol=1e-6)
    return source


@pytest.mark.parametrize("imports", [OLD, TODAY], ids=["old", "today"])
@pytest.mark.parametrize("ending", ["h5", "weights.h5"])
@LIBRARIES
def test_a_file_builds_with_the_keras_of_the_weights(tmp_path, library, ending, imports):
    model = hard(library)
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(STEPS, STEPS[:, 0], verbose=0)
    model.save_weights(tmp_path / ("w.weights.h5" if library is keras else f"w.{ending}"))
    if library is keras:
        os.rename(tmp_path / "w.weights.h5", tmp_path / f"w.{ending}")
    (tmp_path / "net.py").write_text(imports + HARD)
    source = check(tmp_path / f"w.{ending}", model, f"{tmp_path / 'net.py'}:build")
    assert source.loaded_by.startswith("tf-keras" if library is tf_keras else "Keras 3")
    assert source.notes == ()


@pytest.mark.parametrize(
    ("version", "gates", "after"),
    [("2.2.4", "hard_sigmoid", False), ("2.3.1", "sigmoid", False), ("2.2.4-tf", "sigmoid", True)],
)
def test_what_a_script_leaves_out_is_what_its_keras_took(tmp_path, version, gates, after):
    """Keras 2.3 and TensorFlow 2.0 changed the defaults; TensorFlow 1.15, which did not, says 2.2.4-tf as well."""
    tf_keras.utils.set_random_seed(43)
    layers = tf_keras.layers
    gru = layers.GRU(2, recurrent_activation=gates, reset_after=after)
    recurrent = [layers.LSTM(4, recurrent_activation=gates, return_sequences=True), gru]
    model = tf_keras.Sequential([layers.Input((6, 2)), *recurrent])
    model.set_weights([w * 3 for w in model.get_weights()])
    model.save_weights(tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "r+") as file:
        file.attrs["keras_version"] = version
    code = "def build():\n    return Sequential([LSTM(4, return_sequences=True, input_shape=(6, 2)), GRU(2)])\n"
    (tmp_path / "net.py").write_text(OLD + "from keras.layers import GRU\n" + code)
    check(tmp_path / "w.h5", model, f"{tmp_path / 'net.py'}:build")


@pytest.mark.parametrize("ending", ["h5", "weights.h5"])
@LIBRARIES
def test_a_layer_too_few_is_told(tmp_path, library, ending):
    """Keras itself takes the weights that it finds names for."""
    model = library.Sequential([library.layers.Input((3,)), *(library.layers.Dense(3, name=n) for n in "abc")])
    model.save_weights(tmp_path / ("w.weights.h5" if library is keras else f"w.{ending}"))
    if library is keras:
        os.rename(tmp_path / "w.weights.h5", tmp_path / f"w.{ending}")
    layers = "[layers.Input((3,)), layers.Dense(3, name='a'), layers.Dense(3, name='b')]"
    code = f"from {library.__name__} import Sequential, layers\ndef build(): return Sequential({layers})\n"
    (tmp_path / "net.py").write_text(code)
    with pytest.raises(ModelError, match=r"12 numbers more than the model|don't fit"):
        load(tmp_path / f"w.{ending}", architecture=f"{tmp_path / 'net.py'}:build")


def test_weights_that_do_not_tell_their_keras(tmp_path):
    model = hard(tf_keras)
    model.save_weights(tmp_path / "w.weights.h5")
    (tmp_path / "net.py").write_text(TODAY + HARD)
    source = load(tmp_path / "w.weights.h5", architecture=f"{tmp_path / 'net.py'}:build")
    assert source.loaded_by.startswith("Keras 3")
    assert "don't tell which Keras wrote them, so Keras 3 built the model" in source.notes[0]
    (tmp_path / "net.py").write_text(
        "import tf_keras\n"
        + HARD.replace("Seq", "tf_keras.Seq")
        .replace("LSTM", "tf_keras.layers.LSTM")
        .replace("Dense", "tf_keras.layers.Dense")
    )
    assert check(tmp_path / "w.weights.h5", model, f"{tmp_path / 'net.py'}:build").notes == ()
    model.save_weights(tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "r+") as f:
        del f.attrs["keras_version"]
    (tmp_path / "net.py").write_text(TODAY + HARD)
    check(tmp_path / "w.h5", model, f"{tmp_path / 'net.py'}:build")


def test_the_other_library_where_the_own_one_fails(tmp_path):
    model = hard(tf_keras)
    model.save_weights(tmp_path / "w.h5")
    (tmp_path / "net.py").write_text("import keras.ops\n" + TODAY + HARD)
    source = load(tmp_path / "w.h5", architecture=f"{tmp_path / 'net.py'}:build")
    assert source.loaded_by.startswith("Keras 3")
    assert "look like those of tf-keras, but the model was built by Keras, since tf-keras said" in source.notes[0]
    assert "No module named 'keras.ops'" in source.notes[0]


@pytest.mark.parametrize("ending", ["h5", "weights.h5"])
@LIBRARIES
def test_the_form_counts_and_not_the_name(tmp_path, library, ending):
    model = hard(library)
    (tmp_path / "model.json").write_text(model.to_json())
    model.save_weights(tmp_path / "w.weights.h5")
    shutil.copy(tmp_path / "w.weights.h5", tmp_path / f"copy.{ending}")
    assert check(tmp_path / f"copy.{ending}", model, tmp_path / "model.json").notes == ()
    if library is tf_keras:
        model.save_weights(tmp_path / "w.h5")
        shutil.copy(tmp_path / "w.h5", tmp_path / f"old.{ending}")
        check(tmp_path / f"old.{ending}", model, tmp_path / "model.json")


def test_an_architecture_of_another_keras(tmp_path):
    model, other = hard(tf_keras), hard(keras)
    (tmp_path / "model.json").write_text(other.to_json())
    model.save_weights(tmp_path / "w.h5")
    other.set_weights(model.get_weights())
    source = check(tmp_path / "w.h5", other, tmp_path / "model.json")
    assert source.loaded_by.startswith("Keras 3")
    assert "the weights are of Keras 2." in source.notes[0]


@pytest.mark.parametrize("ending", ["h5", "weights.h5"])
@LIBRARIES
def test_weights_of_another_model(tmp_path, library, ending):
    model = hard(library)
    model.save_weights(tmp_path / "w.weights.h5")
    if ending == "h5" and library is tf_keras:
        model.save_weights(tmp_path / "w.h5")
    path = tmp_path / f"w.{ending}" if library is tf_keras else tmp_path / "w.weights.h5"
    (tmp_path / "model.json").write_text(model.to_json().replace('"units": 2', '"units": 3'))
    (tmp_path / "net.py").write_text(TODAY + HARD.replace("Dense(2", "Dense(3"))
    for architecture in (tmp_path / "model.json", f"{tmp_path / 'net.py'}:build"):
        with pytest.raises(ModelError, match=r"\(4, 3\).*\(4, 2\)"):
            load(path, architecture=str(architecture))


def test_an_architecture_without_layers(tmp_path):
    hard(tf_keras).save_weights(tmp_path / "w.h5")
    (tmp_path / "model.json").write_text(
        json.dumps({"class_name": "Sequential", "config": {"name": "m", "layers": []}})
    )
    with pytest.raises(ModelError, match="expected 0 layers, found 2 saved layers"):
        load(tmp_path / "w.h5", architecture=str(tmp_path / "model.json"))


@pytest.mark.parametrize("name", ["build", "model", "Net.build", "Net.kept"])
def test_ways_to_name_a_model(tmp_path, monkeypatch, name):
    model = hard(tf_keras)
    model.save_weights(tmp_path / "w.h5")
    others = "model = build()\nclass Net:\n    kept = model\n    def build(n=3):\n        return build()\n"
    (tmp_path / "net.py").write_text("import os\nfrom parts import *\n" + HARD + others + "os.chdir('/')\n")
    (tmp_path / "parts.py").write_text(OLD)
    monkeypatch.chdir(tmp_path)
    check("w.h5", model, f"net.py:{name}")


WRONG = {
    "net.py:nope": "net.py has no nope; net.py defines build, nothing, needy: write net.py:build",
    "net.py": "names no function; net.py defines build, nothing, needy",
    "net.py:nothing": "nothing returns nothing; let it return the model",
    "net.py:needy": "needy is called without arguments, but is missing a required argument: 'width'",
    "net.py:SIZE": "SIZE is of type int, no function",
    "code.yaml": "can't be read: could not determine a constructor for the tag.*python/object/apply:os.system",
    "bomb.yaml": "can't be read: it stands for more values than any architecture has",
    "circle.yaml": "has models within models deeper than can be read",
    "deep.yaml": "can't be read|deeper than can be read",
    "deep.json": "deeper than can be read",
    "date.yaml": "can't be read: it holds a value of type date",
    "net.ipynb:build": "does not exist",
    "model.txt": r"is neither file.py:function nor an architecture as model.to_json\(\) writes it",
    "gone.txt": "can't be read: .*No such file",
    "gone.py:build": "gone.py does not exist",
    "empty.json": "is neither file.py:function nor",
}


TEXTS = {
    "code.yaml": "class_name: Sequential\nconfig: !!python/object/apply:os.system ['touch hacked']\n",
    "bomb.yaml": "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)),
    "circle.yaml": "class_name: Sequential\nconfig: &a [*a]\n",
    "deep.yaml": "class_name: Sequential\nconfig: " + "[" * 100_000,
    "deep.json": '{"class_name": ' * 100_000,
    "date.yaml": "class_name: Sequential\nconfig: 2020-01-01\n",
    "model.txt": "Sequential",
    "empty.json": '""',
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_architecture(tmp_path, monkeypatch, name):
    hard(tf_keras).save_weights(tmp_path / "w.h5")
    code = TODAY + "SIZE = 3" + HARD + "def nothing():\n    pass\ndef needy(width):\n    return build()\n"
    (tmp_path / "net.py").write_text(code)
    for file, text in TEXTS.items():
        (tmp_path / file).write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=WRONG[name]):
        load("w.h5", architecture=name)


def test_a_model_of_an_architecture_that_was_never_called(tmp_path):
    """As the VAE of Keras's examples, which has a train_step but no call; Keras 3 would take it, and know no inputs."""
    hard(tf_keras).save_weights(tmp_path / "w.h5")
    code = (
        TODAY
        + HARD
        + (
            "from keras import Model\nclass Net(Model):\n    def __init__(self):\n        super().__init__()\n"
            "        self.all = build().layers\ndef make():\n    return Net()\n"
        )
    )
    (tmp_path / "net.py").write_text(code)
    with pytest.raises(ModelError, match=r"the model of .*net\.py:make has no weights yet: let the function build"):
        load(tmp_path / "w.h5", architecture=f"{tmp_path / 'net.py'}:make")


def test_kernels_of_theano_are_turned_for_a_file_too(tmp_path):
    model = tf_keras.Sequential([tf_keras.layers.Input((6, 2)), tf_keras.layers.Conv1D(3, 3, name="c")])
    model.save_weights(tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "r+") as f:
        f.attrs["backend"] = "theano"
        kernel = f["c/c/kernel:0"]
        kernel[...] = kernel[()][::-1]
    code = TODAY + "def build():\n    return Sequential([Input((6, 2)), Conv1D(3, 3)])\n"
    (tmp_path / "net.py").write_text(code)
    check(tmp_path / "w.h5", model, f"{tmp_path / 'net.py'}:build")


def test_the_optimizers_that_old_files_build_with(tmp_path):
    """They take lr and decay, which those of today refuse."""
    model = hard(tf_keras)
    model.save_weights(tmp_path / "w.h5")
    compiled = (
        OLD
        + "from keras.optimizers import SGD\n"
        + HARD.replace(
            "    return", "    model.compile(SGD(lr=0.01, decay=1e-6, momentum=0.9, nesterov=True), 'mse')\n    return"
        )
    )
    (tmp_path / "net.py").write_text(compiled)
    check(tmp_path / "w.h5", model, f"{tmp_path / 'net.py'}:build")


CALLED = """
class Called(Model):
    def __init__(self, units):
        super().__init__()
        self.first, self.second = layers.Dense(units), layers.Dense(2)
    def call(self, x):
        return self.second(self.first(x)), self.first(x)
    def get_config(self):
        return {"name": self.name}
def build():
    model = Called(4)
    model(ROWS)
    return model
"""


@LIBRARIES
def test_a_class_of_model_that_was_never_called_has_no_weights_yet(tmp_path, library):
    scope = {"Model": library.Model, "layers": library.layers, "ROWS": np.zeros((1, 5), np.float32), "__name__": "net"}
    exec(CALLED, scope)
    scope["build"]().save(tmp_path / "m.keras")
    before = f"from {library.__name__} import Model, layers\n"
    (tmp_path / "net.py").write_text(before + CALLED.replace("    model(ROWS)\n", ""))
    with pytest.raises(
        ModelError, match=r"net.py:build has no weights yet: let the function build it from an Input, or call it"
    ):
        load(tmp_path / "m.keras", architecture=f"{tmp_path / 'net.py'}:build")


@pytest.mark.parametrize("ending", ["weights.h5", "h5", "keras"])
@LIBRARIES
def test_a_class_of_model_that_was_called(tmp_path, library, ending):
    """Its inputs have the shape of what it was called on; Keras can't read an archive of it, which holds no units."""
    rows = np.random.default_rng(40).normal(size=(3, 5)).astype(np.float32)
    scope = {"Model": library.Model, "layers": library.layers, "ROWS": rows, "__name__": "net"}
    exec(CALLED, scope)
    model = scope["build"]()
    model.set_weights([w + 0.1 for w in model.get_weights()])
    name = "w.weights.h5" if library is keras else "w.h5"
    model.save(tmp_path / "w.keras") if ending == "keras" else model.save_weights(tmp_path / name)
    os.rename(tmp_path / ("w.keras" if ending == "keras" else name), tmp_path / f"m.{ending}")
    before = f"import numpy as np\nfrom {library.__name__} import Model, layers\nROWS = np.zeros((1, 5), 'float32')\n"
    (tmp_path / "net.py").write_text(before + CALLED)
    if ending == "keras" and library is keras:
        with pytest.raises(
            ModelError, match=r"class [\w.]+ can't be made again.*; give a function that makes the model, with --arch"
        ):
            load(tmp_path / "m.keras", custom=tmp_path / "net.py")
    source = load(tmp_path / f"m.{ending}", architecture=f"{tmp_path / 'net.py'}:build")
    assert [t.shape for t in (*source.inputs, *source.outputs)] == [(None, 5), (None, 2), (None, 4)]
    for got, expected in zip(source([rows]), model(rows), strict=True):
        np.testing.assert_allclose(got, np.asarray(expected), atol=1e-6)
