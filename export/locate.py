"""Finds the first layer whose converted output differs from Keras's, by halving the list of layers."""

from __future__ import annotations

import dataclasses
from typing import Any

from edgecnn.errors import EdgeCNNError, VerificationError
from edgecnn.spec import ModelSpec

from .backend import require
from .convert import convert
from .load import Source, tensor_of
from .optimize import optimize
from .samples import Samples
from .verify import verify


def first_difference(
    source: Source, *, spec: ModelSpec, opset: int, samples: Samples | None, atol: float
) -> str | None:
    """'conv2d_3 (Conv2D)', the first layer with another output; None where no part of the model shows it."""
    layers = [layer for layer in getattr(source.model, "layers", []) if _has_output(layer)]
    low, high = 0, len(layers) - 1
    found = None
    while low <= high:
        middle = (low + high) // 2
        if _agrees(_up_to(source, layers[middle]), spec, opset, samples, atol):
            low = middle + 1
        else:
            found, high = layers[middle], middle - 1
    return None if found is None else f"{found.name} ({type(found).__name__})"


def _has_output(layer: Any) -> bool:
    try:
        return layer.output is not None and type(layer).__name__ != "InputLayer"
    except (AttributeError, RuntimeError, ValueError):
        return False


def _up_to(source: Source, layer: Any) -> Source:
    """The part of the model that ends with a layer."""
    keras = require("tf_keras" if type(source.model).__module__.startswith("tf_keras") else "keras")
    outputs = layer.output if isinstance(layer.output, (list, tuple)) else [layer.output]
    used = {t.name for t in source.inputs}
    tensors = tuple(tensor_of(y, f"{layer.name}_output", used, source.batch) for y in outputs)
    part = keras.Model(source.model.inputs, list(outputs))
    # replace() makes a new object, without the cached function of the whole model.
    return dataclasses.replace(source, model=part, outputs=tensors)


def _agrees(part: Source, spec: ModelSpec, opset: int, samples: Samples | None, atol: float) -> bool:
    try:
        model = optimize(convert(part, opset=opset))
        verify(model.SerializeToString(), part, spec=spec, samples=samples, atol=atol)
    except VerificationError:
        return False
    except EdgeCNNError:
        # A part that can't stand alone says nothing about the difference.
        return True
    return True
