"""edgecnn.export.backend: TensorFlow starts without what an export doesn't need, and nothing stays changed."""

from __future__ import annotations

import subprocess
import sys

import pytest
import tensorflow as tf
import tf_keras

from edgecnn.export.backend import reason


def test_tensorflow_starts_without_plots_and_they_still_work_afterwards():
    code = (
        "import sys\n"
        "from edgecnn.export.backend import tensorflow\n"
        "tensorflow()\n"
        "print([m for m in ('sklearn', 'matplotlib') if m in sys.modules])\n"
        "import sklearn, matplotlib.pyplot, keras\n"
        "print(keras.Sequential.__name__, sklearn.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "Sequential sklearn"]
    assert done.stderr == ""


def test_a_reason_is_what_happened_not_where():
    embedding = tf_keras.layers.Embedding(10, 2)
    graph = tf.function(tf_keras.Sequential([embedding]))
    for call in (graph, embedding):
        with pytest.raises(tf.errors.InvalidArgumentError, match="is not in") as caught:
            call(tf.constant([[1, 99]]))
        assert "indices[0,1] = 99 is not in [0, 10)" in reason(caught.value)
        assert "File" not in reason(caught.value)
        assert len(reason(caught.value)) < 160
    with pytest.raises(ValueError, match="incompatible") as caught:
        tf_keras.layers.Dense(2)(tf_keras.layers.Input(()))
    assert reason(caught.value).startswith("ValueError: Input 0 of layer")


def test_a_reason_inside_a_layer_that_was_traced():
    class Failing(tf_keras.layers.Layer):
        def call(self, x):
            return tf.image.resize_bilinear(x)

    with pytest.raises(AttributeError) as caught:
        Failing()(tf_keras.layers.Input((2,)))
    assert (
        reason(caught.value) == "AttributeError: module 'tensorflow._api.v2.image' has no attribute 'resize_bilinear'"
    )
