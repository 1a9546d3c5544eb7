"""edgecnn.export.graph.recurrent: recurrent layers become ONNX operators that compute the same, or stay loops."""

from __future__ import annotations

import keras
import numpy as np
import onnxruntime as ort
import pytest
import tf_keras

from edgecnn.export.convert import convert
from edgecnn.export.load import load
from edgecnn.export.optimize import count_nodes, optimize

OPERATORS = {"LSTM": "LSTM", "GRU": "GRU", "SimpleRNN": "RNN"}
OPTIONS = {
    "plain": {},
    "all steps": {"return_sequences": True},
    "backwards": {"go_backwards": True, "return_sequences": True},
    "without bias": {"use_bias": False},
    "other activation": {"activation": "relu"},
    "hard sigmoid": {"recurrent_activation": "hard_sigmoid"},
    "reset before": {"reset_after": False},
}
CASES = [
    (kind, name)
    for kind in OPERATORS
    for name in OPTIONS
    if not (name == "reset before" and kind != "GRU") and not (name == "hard sigmoid" and kind == "SimpleRNN")
]


def compare(model, tmp_path, *arrays):
    """The node counts of the exported model, whose outputs are Keras's."""
    rng = np.random.default_rng(18)
    model.set_weights([rng.normal(size=w.shape).astype(np.float32) / 2 for w in model.get_weights()])
    model.save(tmp_path / "m.keras")
    source = load(tmp_path / "m.keras")
    onnx_model = optimize(convert(source))
    session = ort.InferenceSession(onnx_model.SerializeToString(), providers=["CPUExecutionProvider"])
    got = session.run(None, {i.name: a for i, a in zip(session.get_inputs(), arrays, strict=True)})
    for g, expected in zip(got, source.eager(list(arrays)), strict=True):
        np.testing.assert_allclose(g, expected, atol=2e-6)
    return count_nodes(onnx_model)


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])
@pytest.mark.parametrize(("kind", "options"), CASES)
def test_layers(tmp_path, library, kind, options):
    layers = library.layers
    layer = getattr(layers, kind)(4, **OPTIONS[options])
    x = np.random.default_rng(19).normal(size=(3, 5, 2)).astype(np.float32)
    nodes = compare(library.Sequential([layers.Input((None, 2)), layer]), tmp_path, x)
    assert nodes[OPERATORS[kind]] == 1
    assert "Loop" not in nodes


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])
def test_states_pass_from_layer_to_layer(tmp_path, library):
    layers = library.layers
    a, b = layers.Input((None, 2), name="a"), layers.Input((None, 3), name="b")
    _, *states = layers.LSTM(4, return_state=True)(a)
    steps, hidden, cell = layers.LSTM(4, return_sequences=True, return_state=True)(b, initial_state=states)
    rng = np.random.default_rng(20)
    arrays = [rng.normal(size=(3, 5, 2)).astype(np.float32), rng.normal(size=(3, 7, 3)).astype(np.float32)]
    nodes = compare(library.Model([a, b], [steps, hidden, cell]), tmp_path, *arrays)
    assert "Loop" not in nodes


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])
def test_bidirectional(tmp_path, library):
    layers = library.layers
    layer = layers.Bidirectional(layers.GRU(3, return_sequences=True))
    x = np.random.default_rng(21).normal(size=(2, 6, 2)).astype(np.float32)
    nodes = compare(library.Sequential([layers.Input((6, 2)), layer]), tmp_path, x)
    assert nodes["GRU"] == 2


MASKED_OPTIONS = {
    "last step": {},
    "all steps": {"return_sequences": True},
    "backwards": {"return_sequences": True, "go_backwards": True},
    "last step backwards": {"go_backwards": True},
    "states": {"return_state": True},
    "all steps and states": {"return_sequences": True, "return_state": True},
}


def with_gaps():
    """Sequences that end early, begin late, have gaps, hold nothing at all, and are whole."""
    x = np.random.default_rng(22).normal(size=(5, 6, 2)).astype(np.float32)
    x[0, 3:] = x[1, :2] = x[2, [1, 3, 5]] = x[3] = 0
    return x


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])
@pytest.mark.parametrize("options", MASKED_OPTIONS)
@pytest.mark.parametrize("kind", OPERATORS)
def test_masked_steps_are_passed_over(tmp_path, library, kind, options):
    layers = library.layers
    inputs = layers.Input((6, 2))
    outputs = getattr(layers, kind)(3, **MASKED_OPTIONS[options])(layers.Masking()(inputs))
    nodes = compare(library.Model(inputs, outputs), tmp_path, with_gaps())
    assert nodes[OPERATORS[kind]] == 1
    assert "Loop" not in nodes


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])
@pytest.mark.parametrize("sequences", [False, True])
def test_both_directions_of_masked_steps(tmp_path, library, sequences):
    layers = library.layers
    layer = layers.Bidirectional(layers.LSTM(3, return_sequences=sequences))
    nodes = compare(library.Sequential([layers.Input((None, 2)), layers.Masking(), layer]), tmp_path, with_gaps())
    assert nodes["LSTM"] == 2


def test_given_states_outlast_a_sequence_without_steps(tmp_path):
    layers = tf_keras.layers
    inputs, *states = layers.Input((6, 2)), layers.Input((3,)), layers.Input((3,))
    outputs = layers.LSTM(3, return_sequences=True, return_state=True)(layers.Masking()(inputs), initial_state=states)
    given = np.random.default_rng(23).normal(size=(2, 5, 3)).astype(np.float32)
    nodes = compare(tf_keras.Model([inputs, *states], outputs), tmp_path, with_gaps(), *given)
    assert nodes["LSTM"] == 1
