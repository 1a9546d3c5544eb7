"""Reads the architecture that people keep beside a file of weights: model.to_json(), or model.to_yaml() of old."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn.errors import InputError

from ..backend import require
from .limits import MAX_CONFIG

OPTION = "--architecture"

_MAX_VALUES = 5_000_000
"""Values of an architecture in YAML, in which a few bytes can stand for any number of them."""


def is_code(architecture: str) -> bool:
    """Whether what the user gave is file.py:function, and not a file that only describes the model."""
    return re.search(r"\.(py|ipynb)(:[^/\\]*)?$", architecture) is not None


def read_architecture(path: Path) -> dict[str, Any]:
    """What a file of model.to_json() or model.to_yaml() (Keras 1 to 2.5) says.

    Raises:
        InputError: the file is missing, or holds no such text.
    """
    try:
        if path.stat().st_size > MAX_CONFIG:
            raise InputError(f"{OPTION} {path} is larger than any architecture ({MAX_CONFIG:,} bytes at most)")
        text = path.read_text(encoding="utf-8-sig")
        config = json.loads(text) if text.lstrip()[:1] in ("{", '"') else _of_yaml(text)
        if isinstance(config, str) and config[:1] == "{":  # dumped once more by its author
            config = json.loads(config)
        copy.deepcopy(config)
    except (OSError, ValueError) as e:
        raise InputError(f"{OPTION} {path} can't be read: {getattr(e, 'strerror', None) or e}") from None
    except RecursionError:
        raise InputError(f"{OPTION} {path} has models within models deeper than can be read") from None
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise InputError(
            f"{OPTION} {path} is neither file.py:function nor an architecture as model.to_json() writes it"
        )
    return config


def _of_yaml(text: str) -> Any:
    """YAML of plain values and of the tuples and NumPy's numbers that Keras left in it; anything else would be code.

    Raises:
        ValueError: there is something else in it.
    """
    yaml = require("yaml")

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        pass

    def number(loader: Any, node: Any) -> Any:
        kind, raw = loader.construct_sequence(node, deep=True)
        return np.frombuffer(raw, kind, 1)[0].item()

    def kind_of_number(loader: Any, node: Any) -> str:
        name = str(loader.construct_mapping(node, deep=True)["args"][0])
        if not re.fullmatch("[iuf][1248]|b1", name):
            raise ValueError(f"it holds a number of NumPy's type {name}")
        return f"<{name}"

    for tag, made in {
        "tuple": Loader.construct_sequence,
        "unicode": Loader.construct_scalar,
        "object/apply:numpy.core.multiarray.scalar": number,
        "object/apply:numpy.dtype": kind_of_number,
    }.items():
        Loader.add_constructor(f"tag:yaml.org,2002:python/{tag}", made)
    try:
        return _unshared(yaml.load(text, Loader), [_MAX_VALUES])
    except (yaml.YAMLError, TypeError, LookupError) as e:
        raise ValueError(" ".join(str(e).split())) from None


def _unshared(value: Any, left: list[int]) -> Any:
    """A copy in which nothing stands at two places at once, as an alias of YAML does."""
    left[0] -= 1
    if left[0] < 0:
        raise ValueError("it stands for more values than any architecture has")
    if isinstance(value, dict):
        return {str(key): _unshared(item, left) for key, item in value.items()}
    if isinstance(value, list):
        return [_unshared(item, left) for item in value]
    if value is not None and not isinstance(value, (str, int, float)):
        raise ValueError(f"it holds a value of type {type(value).__name__}")
    return value
