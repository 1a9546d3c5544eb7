"""edgecnn.export.proof.locate: a failed verification names the layer where it begins."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edgecnn.cli import guard
from edgecnn.export.graph import operators
from edgecnn.export.to_onnx import main

L = keras.layers


def wrong_erfc(ctx, node, name, args):
    shape, dtype = ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0])
    source = node.input[0]
    ctx.remove_node(name)
    half = ctx.make_const(name + "_half", np.array(0.5, np.float32))
    ctx.make_node("Mul", [source, half.output[0]], name=name, outputs=node.output, shapes=[shape], dtypes=[dtype])


@pytest.mark.parametrize("position", [0, 2, 3])
def test_the_layer_is_named(tmp_path, monkeypatch, capsys, position):
    """gelu is the one function with erfc, so a wrong erfc makes exactly that layer differ."""
    keras.utils.set_random_seed(17)
    layers = [L.Dense(5, activation="gelu" if i == position else "tanh", name=f"dense_{i}") for i in range(4)]
    keras.Sequential([L.Input((4,)), *layers]).save(tmp_path / "m.keras")
    assert guard(main, [str(tmp_path / "m.keras")]) == 0
    (tmp_path / "m.onnx").unlink()
    monkeypatch.setitem(operators.HANDLERS, "Erfc", wrong_erfc)
    assert guard(main, [str(tmp_path / "m.keras")]) == 1
    assert f"the first layer whose output differs is dense_{position} (Dense)" in capsys.readouterr().err
    assert not (tmp_path / "m.onnx").exists()
