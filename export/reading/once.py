"""Lets layers of an author's do what they could with the Keras of their time, while a file of that time is read."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ..backend import numbers, tensorflow
from .screen import is_keras
from .stored import Stored

_MADE, _BUILT = "_edge_made", "_edge_built"
"""Attributes of a layer: the weights that it made, in order, and what it was built with."""


class _Shape:
    """A tensor's shape, as a tensor had it up to Keras 2.2; as then, code may also say another one."""

    def __get__(self, tensor: Any, kind: type) -> Any:
        return self if tensor is None else tuple(tensor.shape)


def note_shapes(keras: Any) -> None:
    """Have tensors tell their shape to an author's code, for good: a layer is called again when it is converted.

    Args:
        keras: tf_keras.
    """
    for kind in (tensorflow().Tensor, keras.__internal__.KerasTensor):
        kind._keras_shape = _Shape()


def note_builds(defined: Iterable[Any]) -> None:
    """Have the layers among an author's definitions remember what they are built with, for renew()."""
    for kind in defined:
        build = vars(kind).get("build") if isinstance(kind, type) and hasattr(kind, "add_weight") else None
        if inspect.isfunction(build) and not hasattr(build, "__wrapped__"):
            kind.build = _noted(build)


def _noted(build: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(build)
    def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        vars(self)[_BUILT] = args, kwargs
        return build(self, *args, **kwargs)

    return noting


@contextlib.contextmanager
def as_once(keras: Any) -> Iterator[None]:
    """Let layers of an author's use tf-keras as they could Keras 1 and 2: weights by shape, and lists of them."""
    layer, of_keras_2 = keras.layers.Layer, keras.__name__ == "tf_keras"
    add_weight, assign = layer.add_weight, layer.__setattr__

    def by_shape(self: Any, *args: Any, **kwargs: Any) -> Any:
        if of_keras_2 and args and isinstance(args[0], (tuple, list)):
            kwargs["shape"], args = args[0], ()
        weight = add_weight(self, *args, **kwargs)
        vars(self).setdefault(_MADE, []).append(weight)
        return weight

    def listed(self: Any, name: str, value: Any) -> None:
        if of_keras_2 and name in ("trainable_weights", "non_trainable_weights"):
            object.__setattr__(self, f"_{name}", list(value))
        else:
            assign(self, name, value)

    layer.add_weight, layer.__setattr__ = by_shape, listed
    try:
        yield
    finally:
        layer.add_weight, layer.__setattr__ = add_weight, assign


def renew(model: Any) -> None:
    """Have layers of an author's that kept a part of a weight when they were built take it again, now that it is read.

    In the graph of TensorFlow 1 that part was an operation; today it is the numbers that the weight began with.

    Args:
        model: made inside at_work().
    """
    tf = tensorflow()
    for layer in model._flatten_layers():
        made, built = vars(layer).get(_MADE), vars(layer).get(_BUILT)
        kept = any(tf.is_tensor(v) and not isinstance(v, tf.Variable) for v in vars(layer).values())
        if made and kept and built is not None:
            again = iter(made)
            vars(layer)["add_weight"] = lambda *args, again=again, **kwargs: next(again)
            layer.build(*built[0], **built[1])
            del vars(layer)["add_weight"]


@contextlib.contextmanager
def at_work(keras: Any, stored: Stored) -> Iterator[None]:
    """Both of these: for layers of an author's that are made while a file is read."""
    with as_once(keras), as_written(keras, stored):
        yield


@contextlib.contextmanager
def as_written(keras: Any, stored: Stored) -> Iterator[None]:
    """Let code of an author's mean what it meant to the Keras that wrote the file, where that was one on its own."""
    with contextlib.ExitStack() as meant:
        if stored.generation == 1 or stored.before_tensorflow_2:
            meant.enter_context(_defaults(keras, stored))
            if keras.__name__ == "tf_keras":
                meant.enter_context(_untold(keras, counts=numbers(stored.keras_version) >= (2, 3)))
        yield


@contextlib.contextmanager
def _untold(keras: Any, *, counts: bool) -> Iterator[None]:
    """Hand a call that doesn't name it no `training`, and let attributes alone make no weights nor end any.

    Args:
        keras: tf_keras.
        counts: that Keras counted variables that are attributes among the weights, as it does since 2.3.
    """
    tf, layer = tensorflow(), keras.layers.Layer
    assign = layer.__setattr__

    def untold(self: Any, name: str, value: Any) -> None:
        if name == "_call_context_args" and "training" not in inspect.signature(self.call).parameters:
            value = value - {"training"}
        if not tf.is_tensor(value) or is_keras(type(self).__module__):
            assign(self, name, value)
            return
        object.__setattr__(self, name, value)
        own = getattr(self, "_trainable_weights", None) if counts and isinstance(value, tf.Variable) else None
        if own is not None and not any(value is weight for weight in (*own, *self._non_trainable_weights)):
            own.append(value)

    layer.__setattr__ = untold
    try:
        yield
    finally:
        layer.__setattr__ = assign


@contextlib.contextmanager
def _defaults(keras: Any, stored: Stored) -> Iterator[None]:
    """Let code leave out of recurrent layers what it could leave out with the Keras that wrote the file.

    Where nothing was said, a GRU reset its state before the product up to 2.3, and gates were hard_sigmoid up to 2.2.
    """
    gates = {"recurrent_activation": "hard_sigmoid"} if numbers(stored.keras_version) < (2, 3) else {}
    defaults = {"LSTM": gates, "LSTMCell": gates, "GRU": gates | {"reset_after": False}}
    defaults["GRUCell"] = defaults["GRU"]
    with contextlib.ExitStack() as replaced:
        for name, options in defaults.items():
            cls = getattr(keras.layers, name)
            replaced.callback(setattr, cls, "__init__", cls.__init__)
            cls.__init__ = _with_defaults(cls.__init__, options)
        yield


def _with_defaults(function: Any, options: Mapping[str, Any]) -> Any:
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind_partial(*args, **kwargs).arguments
        stated = given.keys() | given.get("kwargs", {}).keys()
        return function(*args, **kwargs, **{k: v for k, v in options.items() if k not in stated})

    return call
