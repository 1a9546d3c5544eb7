"""edgecnn.export.reading.decoded: bytecode of Lambda layers is read, whichever Python wrote it, and never run."""

from __future__ import annotations

import base64
import marshal
import struct

import keras
import numpy as np
import pytest
import tf_keras

from edgecnn import ModelError
from edgecnn.export.load import load
from edgecnn.export.reading.decoded import expression


def stored(function):
    """A lambda as Keras 1 and 2 store it."""
    cells = [c.cell_contents for c in function.__closure__ or ()]
    code = base64.encodebytes(marshal.dumps(function.__code__)).decode()
    return [code, function.__defaults__, cells or None]


OF_OTHERS = {
    "x[:, :, :, ::-1]": (  # 3.7
        "4wEAAAAAAAAAAQAAAAcAAABDAAAAcyIAAAB8AGQAZACFAmQAZACFAmQAZACFAmQAZABkAYUDZgQZAFMAKQJO6f////+pACkB2gF4cgIA"
        "AAByAgAAANoIPHN0cmluZz7aCDxsYW1iZGE+AQAAAPMAAAAA"
    ),
    "K.batch_dot(K.l2_normalize(x[0], axis=-1), K.l2_normalize(x[1], axis=-1), axes=1)": (  # 3.6
        "4wEAAAAAAAAAAQAAAAYAAABDAAAAcywAAAB0AGoBdABqAnwAZAEZAGQCZAONAnQAagJ8AGQEGQBkAmQDjQJkBGQFjQNTACkGTukAAAAA"
        "6f////8pAdoEYXhpc+kBAAAAKQHaBGF4ZXMpA9oBS9oJYmF0Y2hfZG902gxsMl9ub3JtYWxpemUpAdoBeKkAcgoAAADaCDxzdHJpbmc+"
        "2gg8bGFtYmRhPgEAAADzAAAAAA=="
    ),
    'tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT")': (  # 3.7
        "4wEAAAAAAAAAAQAAAAgAAABDAAAAcyYAAAB0AKABfABkAWQBZwJkAmQCZwJkAmQCZwJkAWQBZwJnBGQDoQNTACkETukAAAAA6QEAAADa"
        "B1JFRkxFQ1QpAtoCdGbaA3BhZCkB2gF4qQByBwAAANoIPHN0cmluZz7aCDxsYW1iZGE+AQAAAPMAAAAA"
    ),
    "tf.norm(x[0] - x[1], axis=-1, keepdims=True)": (  # 3.10
        "4wEAAAAAAAAAAAAAAAEAAAAFAAAAQwAAAHMcAAAAdABqAXwAZAEZAHwAZAIZABgAZANkBGQFjQNTACkGTukAAAAA6QEAAADp/////1Qp"
        "AtoEYXhpc9oIa2VlcGRpbXMpAtoCdGbaBG5vcm0pAdoBeKkAcgkAAADaCDxzdHJpbmc+2gg8bGFtYmRhPgEAAABzAgAAABwA"
    ),
    "tf.clip_by_value(x, 0.1, 0.6)": (  # 3.12
        "4wEAAAAAAAAAAAAAAAUAAAADAAAA8zAAAACXAHQAAAAAAAAAAABqAwAAAAAAAAAAAAAAAAAAAAAAAHwAZAFkAqsDAAAAAAAAUwApA05n"
        "mpmZmZmZuT9nMzMzMzMz4z8pAtoCdGbaDWNsaXBfYnlfdmFsdWUpAdoBeHMBAAAAIPoIPHN0cmluZz76CDxsYW1iZGE+cgYAAAABAAAA"
        "cxUAAACAAIwi1woa0QoamDGYY6Az0wongADzAAAAAA=="
    ),
    "tf.reduce_sum(x, axis=-2)": (  # 3.12
        "4wEAAAAAAAAAAAAAAAQAAAADAAAA8zAAAACXAHQAAAAAAAAAAABqAwAAAAAAAAAAAAAAAAAAAAAAAHwAZAGsAqsCAAAAAAAAUwApA07p"
        "/v///ykB2gRheGlzKQLaAnRm2gpyZWR1Y2Vfc3VtKQHaAXhzAQAAACD6CDxzdHJpbmc++gg8bGFtYmRhPnIIAAAAAQAAAHMTAAAAgACM"
        "Io8tiS2YAaACiC3TCiOAAPMAAAAA"
    ),
}
"""What lambdas compute -> their code, as Keras stored it."""


@pytest.mark.parametrize("said", OF_OTHERS)
def test_code_of_other_pythons(said):
    assert expression([OF_OTHERS[said], None, None]) == said


def test_code_of_python_2():
    def text(kind, value):
        return kind + struct.pack("<I", len(value)) + value

    code = text(b"s", bytes([124, 0, 0, 100, 1, 0, 21, 100, 2, 0, 24, 83]))
    consts = b"(" + struct.pack("<I", 3) + b"N" + b"g" + struct.pack("<d", 127.5) + b"i" + struct.pack("<i", 1)
    empty, names = b"(" + struct.pack("<I", 0), b"(" + struct.pack("<I", 1) + text(b"t", b"x")
    file, name, lines = text(b"s", b"<stdin>"), text(b"t", b"<lambda>"), text(b"s", b"")
    data = b"c" + struct.pack("<4i", 1, 1, 2, 67) + code + consts + empty + names + empty + empty + file + name
    data += struct.pack("<i", 1) + lines
    assert expression([data.decode("raw_unicode_escape"), None, None]) == "x / 127.5 - 1"


def resized(x):
    from keras.backend import tf as ktf

    return ktf.image.resize_images(x, (64, 64), align_corners=True)


def grey(x):
    import tensorflow as tf

    return tf.image.rgb_to_grayscale(x)


def squared(x):
    from tensorflow.keras import backend

    return backend.square(x)


def listed(x):
    import os

    return os.listdir(x)


rate = 3
FUNCTIONS = {
    "lambda a, b: K.abs(a - b)": lambda a, b: K.abs(a - b),  # noqa: F821
    "lambda x, i=2: x[:, i:i + 1]": lambda x, i=2: x[:, i : i + 1],
    "-(x + 1) * 2 ** (x / 3)": lambda x: -(x + 1) * 2 ** (x / 3),
    "(x - 1) % 2 - (3 - x)": lambda x: (x - 1) % 2 - (3 - x),
    "float(x.shape[1]) * x": lambda x: float(x.shape[1]) * x,
    "1": lambda x: 1,
    "tf.image.resize_images(x, (64, 64), align_corners=True)": resized,
    "tf.image.rgb_to_grayscale(x)": grey,
    "K.square(x)": squared,
}


@pytest.mark.parametrize("said", FUNCTIONS)
def test_code_of_this_python(said):
    assert expression(stored(FUNCTIONS[said])) == said


def test_what_surrounds_a_lambda():
    two, layer = 2, object()
    assert expression(stored(lambda x: x * two)) == "x * 2"
    assert expression(stored(lambda x: x * layer)) is None


@pytest.mark.parametrize(
    "function",
    [
        lambda x: rate * x,
        lambda x: relu(x),  # noqa: F821
        lambda x: x if x else 1,
        lambda x: [y * 2 for y in x],
        lambda x: print(x),
        lambda x: os.system("true"),  # noqa: F821
        lambda x: x.__class__,
        lambda *x: x,
        listed,
    ],
)
def test_what_stays_untold(function):
    """A function of the author's may have the name of a known one."""
    assert expression(stored(function)) is None


def test_code_that_would_fill_the_memory():
    scope = {}
    exec("def f(x):\n" + " x = (x, x)\n" * 60 + " return x\n", scope)
    assert expression(stored(scope["f"])) is None
    for cut in range(0, 140, 7):
        assert expression([OF_OTHERS["x[:, :, :, ::-1]"][:cut], None, None]) is None


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["Keras", "tf-keras"])
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
def test_what_is_proposed_computes_the_same(tmp_path, library, suffix):
    row = library.layers.Input((4,))
    model = library.Model(row, library.layers.Lambda(lambda x: x[:, 1:] / 2 - 1, name="half")(row))
    model.save(tmp_path / f"m{suffix}")
    with pytest.raises(ModelError) as told:
        load(tmp_path / f"m{suffix}")
    assert "pass what it computes by its bytecode: --lambda half='x[:, 1:] / 2 - 1', or pass --allow" in str(told.value)
    x = np.random.default_rng(50).normal(size=(3, 4)).astype(np.float32)
    source = load(tmp_path / f"m{suffix}", lambdas={"half": "x[:, 1:] / 2 - 1"})
    np.testing.assert_allclose(source([x])[0], np.asarray(model(x)), atol=1e-6)
