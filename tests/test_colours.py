"""edgecnn.export.graph.colours: hue, saturation and value as TensorFlow has them."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
import tensorflow as tf
import tf_keras

from edgecnn import ModelSpec
from edgecnn.export.convert import convert
from edgecnn.export.load import load
from edgecnn.export.verify import verify

LEVELS = np.array([0, 1 / 255, 0.25, 0.5, 128 / 255, 1], np.float32)
CUBE = np.stack(np.meshgrid(LEVELS, LEVELS, LEVELS), -1).reshape(1, 36, 6, 3)
RANDOM = np.random.default_rng(0).uniform(0, 1, (2, 36, 6, 3)).astype(np.float32)


@pytest.mark.parametrize(
    "function",
    [
        tf.image.rgb_to_hsv,
        tf.image.hsv_to_rgb,
        lambda x: tf.image.adjust_saturation(x, 1.7),
        lambda x: tf.image.adjust_hue(x, 0.3),
        tf.image.sobel_edges,
        tf.image.rgb_to_yuv,
    ],
)
def test_colours_are_tensorflows(tmp_path, function):
    inputs = tf_keras.Input((36, 6, 3))
    tf_keras.Model(inputs, function(inputs)).save(tmp_path / "m.keras")
    source = load(tmp_path / "m.keras")
    graph = convert(source).SerializeToString()
    x = np.concatenate([CUBE, RANDOM])
    (got,) = ort.InferenceSession(graph).run(None, {source.inputs[0].name: x})
    np.testing.assert_allclose(got, function(tf.constant(x)).numpy(), atol=2e-6)
    verify(graph, source, spec=ModelSpec())
