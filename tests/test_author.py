"""edgecnn.export.reading.author: the user's own Python runs as its author would have run it."""

from __future__ import annotations

import json
import os
import sys

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from edgecnn import InputError, ModelError
from edgecnn.cli import guard
from edgecnn.export.load import load
from edgecnn.export.reading.author import Script
from edgecnn.export.to_onnx import main

# tf-keras finds its own HDF5 old-fashioned.
pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")

ROWS = np.random.default_rng(30).normal(size=(4, 5)).astype(np.float32)
SCALE = """
from tensorflow.keras.layers import Layer
class Scale(Layer):
    def call(self, x):
        return x * 2.0
"""
LIBRARIES = pytest.mark.parametrize("library", [keras, tf_keras], ids=["Keras", "tf-keras"])
SUFFIXES = pytest.mark.parametrize("suffix", [".h5", ".keras"])


def scaled(library):
    """A model with a layer that --custom must bring, and with functions of Keras's own."""
    scale = type("Scale", (library.layers.Layer,), {"call": lambda self, x: x * 2.0})
    row = library.layers.Input((5,))
    hidden = scale(name="s")(library.layers.Dense(4, activation="tanh")(row))
    return library.Model(row, library.layers.Dense(3, activation="softmax")(hidden))


@pytest.fixture
def saved(tmp_path):
    """m.h5, a scaled() of tf-keras, and its outputs on ROWS."""
    model = scaled(tf_keras)
    model.save(tmp_path / "m.h5")
    return tmp_path / "m.h5", np.asarray(model(ROWS))


def outputs(saved, code, **others):
    """The outputs with --custom code, beside which stand files of other names."""
    path, expected = saved
    for name, text in others.items():
        (path.parent / f"{name}.py").write_text(text)
    (path.parent / "mine.py").write_text(code)
    (got,) = load(path, custom=path.parent / "mine.py")([ROWS])
    np.testing.assert_allclose(got, expected, atol=1e-6)


@LIBRARIES
@SUFFIXES
@pytest.mark.parametrize(
    "before",
    [
        "import tensorflow as tf\ndef softmax(x):\n    return tf.exp(x) / tf.reduce_sum(tf.exp(x))",
        "def tanh(x):\n    return 1 - x**2",
        "from math import *",
        "from numpy import *",
        "from tensorflow.keras.layers import *\nfrom tensorflow.keras.models import *",
        "class Dense:\n    pass",
    ],
)
def test_what_keras_has_stays_keras_own(tmp_path, library, suffix, before):
    model = scaled(library)
    model.save(tmp_path / f"m{suffix}")
    (tmp_path / "mine.py").write_text(before + SCALE)
    source = load(tmp_path / f"m{suffix}", custom=tmp_path / "mine.py")
    np.testing.assert_allclose(source([ROWS])[0], np.asarray(model(ROWS)), atol=1e-6)
    assert any("softmax in the file is Keras's own" in n for n in source.notes) == ("def softmax" in before)


@LIBRARIES
@SUFFIXES
def test_a_layer_of_ones_own_may_have_a_name_of_keras(tmp_path, library, suffix):
    name = library.__name__
    code = (
        f"from {name} import layers\n"
        "class Attention(layers.Layer):\n"
        "    def __init__(self, step_dim, **options):\n"
        "        super().__init__(**options)\n"
        "        self.step_dim = step_dim\n"
        "    def call(self, x):\n"
        "        return x[:, self.step_dim] * 2\n"
        "    def get_config(self):\n"
        "        return {**super().get_config(), 'step_dim': self.step_dim}\n"
    )
    scope = {"__name__": "mine"}
    exec(code, scope)
    steps = library.layers.Input((5, 2))
    model = library.Model(steps, scope["Attention"](3)(library.layers.Dense(2)(steps)))
    model.save(tmp_path / f"m{suffix}")
    (tmp_path / "mine.py").write_text(code)
    x = np.random.default_rng(31).normal(size=(3, 5, 2)).astype(np.float32)
    (got,) = load(tmp_path / f"m{suffix}", custom=tmp_path / "mine.py")([x])
    np.testing.assert_allclose(got, np.asarray(model(x)), atol=1e-6)
    with pytest.raises(ModelError, match=r"Attention.*--custom FILE.py that defines it"):
        load(tmp_path / f"m{suffix}")


@SUFFIXES
@pytest.mark.parametrize(
    "imports", ["", "from tensorflow.keras.layers import Activation\n", "from keras.layers import *\n"]
)
def test_a_function_as_activation(tmp_path, suffix, imports):
    def odd_swish(x):
        return x * tf.nn.relu6(x + 2.5) / 5

    row = tf_keras.layers.Input((5,))
    model = tf_keras.Model(row, tf_keras.layers.Activation(odd_swish)(tf_keras.layers.Dense(3)(row)))
    model.save(tmp_path / f"m{suffix}")
    with pytest.raises(ModelError, match="needs the activation function 'odd_swish', whose code is not in the file"):
        load(tmp_path / f"m{suffix}")
    code = f"{imports}import tensorflow as tf\ndef odd_swish(x):\n    return x * tf.nn.relu6(x + 2.5) / 5\n"
    (tmp_path / "mine.py").write_text(code)
    source = load(tmp_path / f"m{suffix}", custom=tmp_path / "mine.py")
    assert source.loaded_by.startswith("tf-keras")
    np.testing.assert_allclose(source([ROWS])[0], np.asarray(model(ROWS)), atol=1e-6)


def test_a_registered_function_of_a_name_of_keras(tmp_path):
    @keras.saving.register_keras_serializable("author")
    def relu(x):
        return keras.ops.maximum(x, -1.0)

    row = keras.layers.Input((5,))
    model = keras.Model(row, keras.layers.Activation(relu)(keras.layers.Dense(3, activation="relu")(row)))
    model.save(tmp_path / "m.keras")
    del keras.saving.get_custom_objects()["author>relu"]
    code = "import keras\ndef relu(x):\n    return keras.ops.maximum(x, -1.0)\n"
    (tmp_path / "mine.py").write_text(code)
    source = load(tmp_path / "m.keras", custom=tmp_path / "mine.py")
    np.testing.assert_allclose(source([ROWS])[0], np.asarray(model(ROWS)), atol=1e-6)


OLD = """
from keras.engine.topology import Layer, InputSpec
from keras.engine import Layer as _Layer
from keras.engine.base_layer import Layer as _Base, InputSpec as _Spec
from keras.engine.training import Model
from keras.layers.core import Dense, Flatten
from keras.layers.normalization import BatchNormalization
from keras.layers.convolutional import Conv2D, MaxPooling2D
from keras.layers.recurrent import LSTM
from keras.layers.merge import concatenate
from keras.layers.advanced_activations import LeakyReLU
from keras.layers.pooling import GlobalAveragePooling2D
from keras.layers.embeddings import Embedding
from keras.layers.wrappers import TimeDistributed
from keras.layers.noise import GaussianNoise
from keras.layers.local import LocallyConnected1D
from keras.layers.core import *
from keras.utils import np_utils, conv_utils
from keras.utils.np_utils import to_categorical
from keras.utils.generic_utils import get_custom_objects
from keras.utils.vis_utils import plot_model
from keras.backend.tensorflow_backend import floatx
from keras.legacy import interfaces
from keras.preprocessing.image import ImageDataGenerator
from keras.applications.vgg16 import VGG16
from keras.applications.imagenet_utils import _obtain_input_shape
from tensorflow.keras.layers.core import Dropout
from tensorflow.python.keras.layers import Layer as _Python
from tensorflow.python.keras import backend as _backend
import keras.engine.topology as topology
import keras.backend as K
import tensorflow as tf

assert Layer is _Layer is _Base is _Python is tf.keras.layers.Layer is topology.Layer
assert InputSpec is _Spec and conv_utils.normalize_tuple(2, 2, "size") == (2, 2)
assert K.image_dim_ordering() == "tf" and BatchNormalization is tf.keras.layers.BatchNormalization

class Scale(Layer):
    @interfaces.legacy_dense_support
    def __init__(self, **options):
        super(Scale, self).__init__(**options)
        from keras.engine.topology import Layer
        self.kind = Layer

    def call(self, x):
        print("called")
        from keras import backend
        from keras.layers.core import Lambda
        from beside import two
        return x * backend.cast(two(), K.floatx()) + backend.sum(x * 0.0)
"""


def test_the_old_places_of_keras(saved, capsys):
    """Also in functions that run later, when the model is called and converted."""
    keras_3, paths, finders = sys.modules["keras"], sys.path[:], sys.meta_path[:]
    beside = "from keras.engine.topology import Layer\ndef two():\n    from keras.engine import Model\n    return 2\n"
    outputs(saved, OLD, beside=beside)
    path = saved[0]
    mine = path.parent / "mine.py"
    assert guard(main, [str(path), "-o", str(path.parent / "m.onnx"), "--custom", str(mine)]) == 0
    assert capsys.readouterr().out.strip() == str(path.parent / "m.onnx")
    assert sys.modules["keras"] is keras_3
    assert (sys.path, sys.meta_path) == (paths, finders)
    assert "beside" not in sys.modules


def test_what_keras_2_never_had_stays_missing(saved):
    for line in ("import keras.ops", "from keras import ops", "from keras.layers.core import Nonsense"):
        with pytest.raises(InputError, match=r"mine.py can't be run: line 1: \w*Error: .*(ops|Nonsense)"):
            outputs(saved, line)
    with pytest.raises(InputError, match="line 1: ModuleNotFoundError: No module named 'keras_contrib'; put the"):
        outputs(saved, "import keras_contrib")


def test_modules_beside_the_file(saved, tmp_path_factory):
    """Of a name that another folder has too."""
    outputs(saved, "from layers import Scale", layers=SCALE)
    other = tmp_path_factory.mktemp("other")
    (other / "layers.py").write_text("from math import sin\nHERE = 1\ndef own():\n    pass\n")
    (other / "mine.py").write_text("import layers\nfrom layers import *\n")
    found = Script("--custom", other / "mine.py", "tf_keras").definitions()
    assert set(found) == {"own"}
    assert not list(other.glob("**/*.pyc"))


def test_the_command_line_is_the_files_own(saved, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["edgecnn", "export", "--nonsense"])
    parse = "import argparse, sys\np = argparse.ArgumentParser()\np.add_argument({})\np.parse_args()\n"
    outputs(saved, parse.format("'--epochs'") + SCALE)
    assert sys.argv == ["edgecnn", "export", "--nonsense"]
    with pytest.raises(InputError, match=r"mine.py ended itself \(SystemExit: 2\); put the definitions"):
        outputs(saved, parse.format("'data'") + SCALE)
    with pytest.raises(InputError, match=r"ended itself \(SystemExit: usage: train.py DATA\)"):
        outputs(saved, "import sys\nsys.exit('usage: train.py DATA')")
    with pytest.raises(KeyboardInterrupt):
        outputs(saved, "raise KeyboardInterrupt")


def test_what_a_file_prints_and_warns(saved, capsys):
    code = "import logging, sys, warnings\nprint('loading')\nsys.stdout.write('data')\nwarnings.warn('old')\n"
    outputs(saved, code + "logging.basicConfig(level=1)\n" + SCALE)
    said = capsys.readouterr()
    assert said.out == ""
    assert "loading\ndata" in said.err


@pytest.mark.parametrize("function", ["disable_v2_behavior", "disable_eager_execution"])
def test_a_file_changes_neither_the_folder_nor_tensorflow(saved, monkeypatch, function):
    path, expected = saved
    monkeypatch.chdir(path.parent)
    before = f"import os\nos.chdir('/')\nimport tensorflow.compat.v1 as tf\ntf.{function}()\n"
    (path.parent / "mine.py").write_text(before + SCALE)
    np.testing.assert_allclose(load("m.h5", custom="mine.py")([ROWS])[0], expected, atol=1e-6)
    assert os.getcwd() == str(path.parent)
    assert tf.executing_eagerly()
    assert getattr(tf.compat.v1, function).__name__ == function


@LIBRARIES
def test_what_a_file_registers_is_forgotten(tmp_path, library):
    model = scaled(library)
    model.save(tmp_path / "m.h5")
    code = "from tensorflow import keras\nkeras.utils.get_custom_objects()['tanh'] = lambda x: x\n"
    (tmp_path / "mine.py").write_text("import tensorflow as tf\n@tf.keras.utils.register_keras_serializable()" + SCALE)
    (tmp_path / "mine.py").write_text(
        (code + SCALE).replace("class", "@keras.utils.register_keras_serializable()\nclass")
    )
    for _ in range(2):
        load(tmp_path / "m.h5", custom=tmp_path / "mine.py")
    assert not {"tanh", "Custom>Scale"} & set(library.saving.get_custom_objects())


def test_files_that_are_no_python(saved):
    path = saved[0]
    (path.parent / "mine.ipynb").write_text(json.dumps({"cells": []}))
    with pytest.raises(InputError, match=r"mine.ipynb is a Jupyter notebook; save the cells"):
        load(path, custom=path.parent / "mine.ipynb")
    with pytest.raises(InputError, match="is a folder"):
        load(path, custom=path.parent)
    with pytest.raises(InputError, match=r"nothing.py does not exist"):
        load(path, custom=path.parent / "nothing.py")
    with pytest.raises(InputError, match=r"mine.py is no Python that runs here: line 2: Missing parentheses"):
        outputs(saved, "import os\nprint 'hello'\n")
    with pytest.raises(InputError, match=r"mine.py can't be run: line 3: NameError: name 'y' is not defined; put the"):
        outputs(saved, "def f(x):\n    x += 1\n    return x + y\nf(1)\n")


def test_several_missing_classes(tmp_path):
    one, two = (type(n, (tf_keras.layers.Layer,), {"call": lambda self, x: x}) for n in ("One", "Two"))
    row = tf_keras.layers.Input((5,))
    tf_keras.Model(row, two()(one()(tf_keras.layers.Dense(2)(row)))).save(tmp_path / "m.h5")
    with pytest.raises(ModelError, match=r"needs the classes One, Two, whose code is not in the file; .* defines them"):
        load(tmp_path / "m.h5")
    (tmp_path / "mine.py").write_text("from tf_keras.layers import Layer\nclass One(Layer):\n    pass\n")
    with pytest.raises(ModelError, match=r"needs the class Two, whose code is neither in the file nor in .*mine\.py$"):
        load(tmp_path / "m.h5", custom=tmp_path / "mine.py")


TRAINING = {
    "kernel_initializer": ("initializers.Initializer", "def __call__(self, shape, dtype=None): return ones(shape)"),
    "kernel_regularizer": ("regularizers.Regularizer", "def __call__(self, x): return sum_of(x * x)"),
    "kernel_constraint": ("constraints.Constraint", "def __call__(self, w): return w * 0.5"),
}


@LIBRARIES
@SUFFIXES
@pytest.mark.parametrize("option", TRAINING)
def test_what_only_training_needs_is_not_asked_for(tmp_path, library, suffix, option):
    base, call = TRAINING[option]
    code = f"class Mine({library.__name__}.{base}):\n    {call}\n    def get_config(self): return {{'a': 1}}\n"
    code += "    def __init__(self, a=1): self.a = a\n"
    scope = {library.__name__: library, "__name__": "mine", "sum_of": tf.reduce_sum, "ones": tf.ones}
    exec(code, scope)
    row = library.layers.Input((5,))
    model = library.Model(row, library.layers.Dense(3, **{option: scope["Mine"]()})(row))
    model.save(tmp_path / f"m{suffix}")
    source = load(tmp_path / f"m{suffix}")
    assert source.loaded_by.startswith("tf-keras" if library is tf_keras else "Keras")
    np.testing.assert_allclose(source([ROWS])[0], np.asarray(model(ROWS)), atol=1e-6)


@LIBRARIES
@SUFFIXES
@pytest.mark.parametrize("option", TRAINING)
@pytest.mark.filterwarnings("ignore::UserWarning")  # that such a function is stored at all
def test_lambdas_that_only_training_needs_are_never_run(tmp_path, library, suffix, option):
    ran = []

    def anything(*given, **options):
        ran.append(given)
        return library.ops.ones(given[0]) if library is not tf_keras else tf.ones(given[0])

    function = {
        "kernel_initializer": lambda shape, dtype=None: anything(shape),
        "kernel_regularizer": lambda w: anything((1,))[0] * 0,
        "kernel_constraint": lambda w: w * anything((1,)),
    }[option]
    row = library.layers.Input((5,))
    model = library.Model(row, library.layers.Dense(3, **{option: function})(row))
    expected = np.asarray(model(ROWS))
    model.save(tmp_path / f"m{suffix}")
    ran.clear()
    source = load(tmp_path / f"m{suffix}")
    assert source.loaded_by.startswith("tf-keras" if library is tf_keras else "Keras")
    np.testing.assert_allclose(source([ROWS])[0], expected, atol=1e-6)
    assert not ran


@LIBRARIES
def test_a_model_class_of_ones_own(tmp_path, library):
    """It has no inputs before it is called, but its archive stores the shape that it was built with."""
    code = f"""
import {library.__name__} as k
class Own(k.Model):
    def __init__(self, n=3, **options):
        super().__init__(**options)
        self.n, self.a, self.b = n, k.layers.Dense(4), k.layers.Dense(n)
    def call(self, x):
        return self.b(self.a(x))
    def get_config(self):
        return {{"n": self.n}}
"""
    scope = {"__name__": "mine"}
    exec(code, scope)
    model = scope["Own"](2)
    expected = np.asarray(model(ROWS))
    model.save(tmp_path / "m.keras")
    (tmp_path / "mine.py").write_text(code.replace(library.__name__, "tensorflow.keras"))
    source = load(tmp_path / "m.keras", custom=tmp_path / "mine.py")
    assert [t.shape for t in (*source.inputs, *source.outputs)] == [(None, 5), (None, 2)]
    np.testing.assert_allclose(source([ROWS])[0], expected, atol=1e-6)
    argv = [str(tmp_path / "m.keras"), "-o", str(tmp_path / "m.onnx"), "--custom", str(tmp_path / "mine.py")]
    assert guard(main, argv) == 0


OF_ONCE = """
from keras import backend as K
from keras.engine.topology import Layer
class Weighted(Layer):
    def build(self, input_shape):
        self.w = self.add_weight((input_shape[-1],), initializer="uniform", name="w")
        self.gamma = K.variable([1.0] * input_shape[-1], name="gamma")
        self.trainable_weights = [self.w, self.gamma]
        super(Weighted, self).build(input_shape)
    def call(self, x):
        return x * self.w * self.gamma
"""


def test_weights_as_layers_of_keras_1_and_2_made_them(tmp_path):
    """By shape first, and as an attribute that tf-keras lets nobody set: the L2Normalization of every SSD does."""

    class Weighted(tf_keras.layers.Layer):
        def build(self, shape):
            self.w = self.add_weight("w", (shape[-1],), initializer="uniform")
            self.gamma = self.add_weight("gamma", (shape[-1],), initializer="uniform")

        def call(self, x):
            return x * self.w * self.gamma

    model = tf_keras.Sequential([tf_keras.Input((5,)), Weighted()])
    model.save(tmp_path / "m.h5")
    outputs((tmp_path / "m.h5", np.asarray(model(ROWS))), OF_ONCE)


def test_code_that_fails_while_the_model_is_made(saved):
    """The message says where, not only what: TensorFlow's own words name neither the layer nor the file."""
    path, _ = saved
    (path.parent / "mine.py").write_text(SCALE.replace("x * 2.0", "x.no_attribute_of_tensors"))
    with pytest.raises(ModelError, match=r"line 5 of .*mine\.py: AttributeError: .* 'no_attribute_of_tensors'"):
        load(path, custom=path.parent / "mine.py")


BOXES = """
import numpy as np
from keras import backend as K
from keras.engine.topology import Layer
class Boxes(Layer):
    def call(self, x, mask=None):
        batch, width = x._keras_shape
        out = K.tile(K.constant(np.arange(width)[None]), (K.shape(x)[0], 1)) + K.repeat_elements(x, 1, 1)
        out._keras_shape = (batch, width)
        return out
"""


def test_the_shape_of_a_tensor_as_keras_told_it_up_to_2_2(tmp_path):
    """The AnchorBoxes of every SSD asks for it whenever it is called, so when the graph is made too."""

    class Boxes(tf_keras.layers.Layer):
        def call(self, x):
            return x + tf.range(5.0)

    model = tf_keras.Sequential([tf_keras.Input((5,)), Boxes()])
    model.save(tmp_path / "m.h5")
    outputs((tmp_path / "m.h5", np.asarray(model(ROWS))), BOXES)
    assert main([str(tmp_path / "m.h5"), "-o", str(tmp_path / "m.onnx"), "--custom", str(tmp_path / "mine.py")]) == 0


@LIBRARIES
@SUFFIXES
def test_parts_of_weights_that_a_layer_took_when_it_was_built(tmp_path, library, suffix):
    """They are those of the weights that were read, not of the first values that a new layer has."""
    code = f"""
from {library.__name__} import layers
class Halves(layers.Layer):
    def build(self, input_shape):
        self.both = self.add_weight(shape=(input_shape[-1], 4), initializer="uniform", name="both")
        self.left, self.right = self.both[:, :2], self.both[:, 2:]
        self.built = True
    def call(self, x):
        return x @ self.left - x @ self.right
"""
    scope = {"__name__": "mine"}
    exec(code, scope)
    row = library.layers.Input((5,))
    model = library.Model(row, scope["Halves"]()(row))
    model.save(tmp_path / f"m{suffix}")
    (tmp_path / "mine.py").write_text(code)
    source = load(tmp_path / f"m{suffix}", custom=tmp_path / "mine.py")
    np.testing.assert_allclose(source([ROWS])[0], np.asarray(model(ROWS)), atol=1e-6)


OF_TENSORFLOW_1 = """
import tensorflow as tf
from keras import backend as K
from keras.layers import Layer
class Softest(Layer):
    def __init__(self, **options):
        super(Softest, self).__init__(**options)
        self.alpha = K.variable(2.0)
    def call(self, x, **options):
        assert "training" not in options
        return tf.log(tf.reduce_sum(tf.exp(x), -1, keep_dims=True)) * self.alpha
"""


def test_code_of_the_time_of_tensorflow_1(tmp_path):
    """By its names; a variable was no weight before Keras 2.3, and no call got `training` that does not name it."""

    class Softest(tf_keras.layers.Layer):
        def call(self, x):
            return tf.reduce_logsumexp(x, -1, keepdims=True) * 2

    row = tf_keras.layers.Input((5,))
    model = tf_keras.Model(row, Softest()(tf_keras.layers.Dense(3)(row)))
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as f:
        f.attrs["keras_version"] = "2.2.4"
    (tmp_path / "mine.py").write_text(OF_TENSORFLOW_1)
    source = load(tmp_path / "m.h5", custom=tmp_path / "mine.py")
    np.testing.assert_allclose(source([ROWS])[0], np.asarray(model(ROWS)), atol=1e-5)


def test_a_file_of_a_package(saved):
    folder = saved[0].parent / "own"
    folder.mkdir()
    (folder / "__init__.py").write_text("from .parts import Scale\n")
    (folder / "two.py").write_text("TWO = 2.0\n")
    (folder / "parts.py").write_text("from .two import TWO\n" + SCALE)
    for name in ("parts", "__init__"):
        source = load(saved[0], custom=folder / f"{name}.py")
        np.testing.assert_allclose(source([ROWS])[0], saved[1], atol=1e-6)
    assert not {"own", "own.parts", "own.two", "parts"} & set(sys.modules)


def test_classes_that_a_file_imports_from_elsewhere(saved, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "with_scale.py").write_text("import tensorflow as tf\n" + SCALE)
    monkeypatch.syspath_prepend(elsewhere)
    outputs(saved, "from with_scale import Scale\n")
    del sys.modules["with_scale"]


@SUFFIXES
def test_a_function_that_was_registered_as_a_layer(tmp_path, suffix):
    def odd_tanh(x):
        return tf.tanh(x) * 1.5

    with tf_keras.saving.custom_object_scope({"odd_tanh": tf_keras.layers.Activation(odd_tanh)}):
        row = tf_keras.layers.Input((5,))
        model = tf_keras.Model(row, tf_keras.layers.Dense(3, activation="odd_tanh")(row))
        model.save(tmp_path / f"m{suffix}")
    (tmp_path / "mine.py").write_text("import tensorflow as tf\ndef odd_tanh(x):\n    return tf.tanh(x) * 1.5\n")
    source = load(tmp_path / f"m{suffix}", custom=tmp_path / "mine.py")
    np.testing.assert_allclose(source([ROWS])[0], np.asarray(model(ROWS)), atol=1e-6)
    with pytest.raises(ModelError, match="needs the activation function 'odd_tanh', whose code is not in the file"):
        load(tmp_path / f"m{suffix}")


def test_numbers_that_are_positions(tmp_path):
    """What is made up for them is as small as they must be; values of one position are added up."""
    code = """
import tensorflow as tf
class Sums(tf.keras.layers.Layer):
    def call(self, inputs):
        values, places = inputs
        rows = tf.repeat(tf.range(tf.shape(values)[0])[:, None], 4, 1)
        return tf.scatter_nd(tf.stack([rows, places], -1), tf.gather(values, places, batch_dims=1), tf.shape(values))
"""
    (tmp_path / "mine.py").write_text(code)
    scope = {}
    exec(code.replace("tf.keras", "tf_keras").replace("import tensorflow", "import tf_keras, tensorflow"), scope)
    values, places = tf_keras.Input((3,)), tf_keras.Input((4,), dtype="int32")
    tf_keras.Model([values, places], scope["Sums"]()([values, places])).save(tmp_path / "m.h5")
    argv = [str(tmp_path / "m.h5"), "-o", str(tmp_path / "m.onnx"), "--custom", str(tmp_path / "mine.py")]
    assert guard(main, argv) == 0
