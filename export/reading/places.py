"""Keras and TensorFlow with the names that they once had, for code written against older ones."""

from __future__ import annotations

import importlib
import re
import types
from collections.abc import Callable
from typing import Any

from ..backend import numbers, require, tensorflow
from .stored import Stored

_GONE = re.compile(
    r"engine(\.\w+)?|legacy(\.interfaces)?|utils\.\w+_utils|backend\.\w+_backend|layers\.(core|normalization|noise|"
    r"convolutional|convolutional_recurrent|recurrent|merge|advanced_activations|pooling|embeddings|wrappers|local|"
    r"cudnn_recurrent)"
)
"""Modules of Keras up to 2.12 that are none today."""

_PLACES = ("", "layers", "models", "utils", "backend", "initializers", "regularizers", "constraints", "activations")
"""Where today's Keras has what those held."""

_RENAMED = {"_obtain_input_shape": "obtain_input_shape", "Network": "Model", "Container": "Model"}


class Keras(types.ModuleType):
    """A module of Keras under the name that it once had; what it lacks today is looked up where it is now."""

    def __init__(self, name: str, root: str, library: str, path: str = "") -> None:
        """path: its place below the root, which is the module of the library that stands for keras."""
        super().__init__(name)
        self.__path__: list[str] = []
        self._root, self._library, self._at = root, library, path
        self._below: dict[str, Keras] = {}
        dot = "." if path else ""
        places = [f"{root}{dot}{path}", f"{library}.src{dot}{path}"]
        if path == "backend":
            places.append(f"{library}.src.utils.conv_utils")
        if _GONE.fullmatch(path):
            first = path.split(".")[0]
            places += [f"{root}.{place}".rstrip(".") for place in (first, *_PLACES)]
        self._found = [module for module in map(_imported, places) if module is not None]

    def below(self, path: str) -> Keras | None:
        """The module at a path below this one; None where no Keras had it."""
        first, _, rest = path.partition(".")
        if not first:
            return self
        if first not in self._below:
            at = f"{self._at}.{first}".strip(".")
            module = Keras(f"{self.__name__}.{first}", self._root, self._library, at)
            if not module._found:
                return None
            self._below[first] = module
        return self._below[first].below(rest)

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":
            return [n for n in dir(self) if not n.startswith("_")]
        special = _special(self._at, name, self._library)
        if special is not None:
            return special
        for place in self._found:
            for called in (name, _RENAMED.get(name, name)):
                if hasattr(place, called):
                    value = getattr(place, called)
                    inside = isinstance(value, types.ModuleType) and self.below(name)
                    return inside or value
        module = self.below(name) if not name.startswith("__") else None
        if module is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return module

    def __dir__(self) -> list[str]:
        return sorted({n for place in self._found[:1] or () for n in dir(place)})


class _Merged(types.ModuleType):
    """Modules as one, the first of them that has a name giving it."""

    def __init__(self, *modules: Any) -> None:
        super().__init__("tensorflow")
        self._modules = modules

    def __getattr__(self, name: str) -> Any:
        modules = [tensorflow()] if name == "keras" else self._modules
        found = [getattr(module, name) for module in modules if hasattr(module, name)]
        if not found:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        whole = len(found) > 1 and all(isinstance(f, types.ModuleType) for f in found)
        return _Merged(*found) if whole else found[0]


def tensorflow_of(stored: Stored | None) -> Any:
    """TensorFlow with the names and the keywords that it had for code of that time.

    Keras before 2.3 ran on TensorFlow 1 alone, 2.3 on both.
    """
    tf = tensorflow()
    if stored is None or not (stored.generation == 1 or stored.before_tensorflow_2):
        return tf
    return _Merged(tf, tf.compat.v1) if numbers(stored.keras_version) >= (2, 3) else _Merged(tf.compat.v1, tf)


def _special(path: str, name: str, library: str) -> Any:
    """What Keras has nowhere any more, or only without the options that old code gives it."""
    if path == "optimizers" and library == "tf_keras":
        return getattr(require(library).optimizers.legacy, name, None)  # with lr and decay
    if path == "legacy.interfaces":
        return (lambda **_: _unchanged) if name.startswith("generate_") else _unchanged
    if name == "image_dim_ordering" and path.startswith("backend"):
        return lambda: "th" if tensorflow().keras.backend.image_data_format() == "channels_first" else "tf"
    if name == "tf" and path.startswith("backend"):
        return tensorflow()
    return None


def _unchanged(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def _imported(name: str) -> types.ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
