"""Layers that stand where a stored one can't or needn't be: an expression for a Lambda, nothing for augmentation."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ..backend import require, tensorflow
from .expression import Expression
from .screen import is_lambda, lambda_activations
from .stored import layer_configs

NAMES = ("EdgeExpression", "EdgePassOn")
"""Class names of layers()."""

_ONLY_TRAINING = frozenset(
    {
        "RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomContrast", "RandomBrightness",
        "RandomHue", "RandomSaturation", "RandomSharpness", "RandomGrayscale", "RandomPosterization", "RandomShear",
        "RandomErasing", "RandomGaussianBlur", "RandomInvert", "RandomPerspective", "RandomColorDegeneration",
        "RandomColorJitter", "RandomElasticTransform", "MixUp", "CutMix", "RandAugment", "AugMix", "Equalization",
        "AddLoss", "AddMetric",
    }
)  # fmt: skip
"""What passes its input on after training, augmentation above all; some of it draws random numbers all the same, for
which ONNX has no counterpart, and Keras 3.15 can't read back its own RandomShear."""

_APART = {
    "CustomScaleLayer": "applications.inception_resnet_v2", "LayerScale": "applications.convnext",
    "StochasticDepth": "applications.convnext",
}  # fmt: skip
_ONLY_KERAS_2 = {"RandomFourierFeatures": "layers.kernelized"}

APART = frozenset({*_APART, *_ONLY_KERAS_2})
"""Layers that Keras defines beside an application of its own, or as an experiment: it doesn't find them by itself."""

_ACTIVATION = "edge_activation_"
"""How the name of a function begins that stands in for a lambda as an activation."""

_KEPT = ("name", "batch_input_shape", "dtype", "trainable")
"""What a stand-in takes over from the layer that it replaces."""


def replace(keras: Any, config: Any, expressions: Mapping[str, Expression]) -> Any:
    """The architecture with stand-ins.

    Args:
        keras: the Keras that reads it.
        config: the architecture.
        expressions: name of a Lambda layer, or of one with a lambda as its activation -> what it computes.
    """
    config = copy.deepcopy(config)
    for layer, inner in list(layer_configs(config)):
        expression = expressions.get(str(inner.get("name")))
        for key in lambda_activations(layer) if expression is not None else ():
            inner[key] = _ACTIVATION + str(inner.get("name"))
            if keras.__name__ != "tf_keras":
                function = {"module": "builtins", "class_name": "function", "registered_name": "function"}
                inner[key] = {**function, "config": inner[key]}
        kept: dict[str, Any] = {k: v for k, v in inner.items() if k in _KEPT}
        if expression is not None and is_lambda(layer):
            layer["class_name"] = "EdgeExpression"
            own = {"expression": expression.text, "arguments": expression.arguments, "early": expression.early}
            layer["config"] = {**kept, **own}
        elif layer["class_name"] in _ONLY_TRAINING:
            layer["class_name"], layer["config"] = "EdgePassOn", kept
        else:
            continue
        if "module" in layer:
            layer["module"], layer["registered_name"] = None, layer["class_name"]
    return config


def activations(expressions: Mapping[str, Expression]) -> dict[str, Any]:
    """Name that replace() gives -> function, for the expressions."""

    def function(name: str, expression: Expression) -> Any:
        def call(x: Any) -> Any:
            return expression(x)

        call.__name__ = name
        return call

    return {_ACTIVATION + name: function(_ACTIVATION + name, e) for name, e in expressions.items()}


def layers(keras: Any) -> dict[str, type]:
    """Name -> layer class of this Keras."""
    tf = tensorflow()

    class EdgeExpression(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def __init__(self, expression: str, arguments: dict[str, Any], early: bool = False, **options: Any) -> None:
            super().__init__(**options)
            self.expression = Expression(expression, arguments, keras, early=early)
            self.supports_masking = True

        def call(self, x: Any, mask: Any = None, training: Any = None) -> Any:
            """What a Lambda is called with, which a file may hold, though an expression needs none of it."""
            return self.expression(x)

        if hasattr(keras, "KerasTensor"):

            def compute_output_spec(self, x: Any, **options: Any) -> Any:
                """By tracing, with whatever types come out; compute_output_shape alone would stand for this too."""
                return keras.src.backend.compute_output_spec(self.call, x)

            def compute_output_shape(self, shape: Any) -> Any:
                """As TimeDistributed of Keras 3 asks for it."""
                return self.compute_output_spec(keras.KerasTensor(shape, self.compute_dtype)).shape

        def compute_mask(self, x: Any, mask: Any = None) -> None:
            """A Lambda hands no mask on."""

        def get_config(self) -> dict[str, Any]:
            e = self.expression
            own = {"expression": e.text, "arguments": e.arguments, "early": e.early}
            return {**super().get_config(), **own}

    class EdgePassOn(keras.layers.Layer):  # type: ignore[misc, name-defined]
        """Only casts, as every preprocessing layer does."""

        def call(self, x: Any, training: Any = None) -> Any:
            return tf.cast(x, self.compute_dtype)

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    modules = _APART | (_ONLY_KERAS_2 if keras.__name__ == "tf_keras" else {})
    own = {name: getattr(require(f"{keras.__name__}.src.{module}"), name) for name, module in modules.items()}
    return own | {cls.__name__: cls for cls in (EdgeExpression, EdgePassOn)}
