"""Joins a file of weights alone with the architecture that the user gives."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path
from typing import Any

from edgecnn.errors import InputError, ModelError

from ..backend import quiet_logs, reason, require, tensorflow
from .generations import Opened
from .stored import Stored


def with_architecture(stored: Stored, path: Path) -> Stored:
    """stored with the architecture of a model.json (model.to_json()).

    Raises:
        InputError: the file is missing or no such JSON.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise InputError(f"--architecture {path} can't be read: {e}") from None
    if isinstance(config, str):
        config = json.loads(config)
    if not isinstance(config, dict) or "class_name" not in config:
        raise InputError(f"--architecture {path} is no architecture as model.to_json() writes it")
    version = stored.keras_version or config.get("keras_version")
    return dataclasses.replace(stored, config=config, keras_version=version)


def build(stored: Stored, architecture: str) -> Opened:
    """The model that file.py:function returns, with the weights of stored.

    Raises:
        InputError: the function can't be found or run.
        ModelError: the weights don't fit the model.
    """
    file, colon, function = architecture.rpartition(":")
    if not colon or not file.endswith(".py"):
        raise InputError(f"--architecture {architecture} is neither a .json file nor file.py:function")
    tensorflow()
    try:
        spec = importlib.util.spec_from_file_location("edgecnn_architecture", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        model: Any = getattr(module, function)()
    except Exception as e:
        raise InputError(f"--architecture {architecture} can't be run: {reason(e)}") from e
    try:
        with quiet_logs("absl", "tensorflow"):
            model.load_weights(stored.path)
    except Exception as e:
        raise ModelError(f"the weights of {stored.path} don't fit the model of {architecture}: {reason(e)}") from e
    name = "tf-keras" if type(model).__module__.startswith("tf_keras") else "Keras"
    version = require("tf_keras" if name == "tf-keras" else "keras").__version__
    return Opened(model, f"{name} {version}", ())
