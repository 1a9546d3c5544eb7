"""A model that multi_gpu_model spread over several GPUs, as the one model that it repeats on each.

Such a file cuts the batch into parts with Lambda layers, calls the model on each part, and joins what comes out.

Source: keras/utils/multi_gpu_utils.py of Keras 2.1 to 2.3.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

from .stored import Stored


def joined(stored: Stored) -> tuple[Stored, list[str]]:
    """(The file with the model on the whole batch, what a user should know about that)."""
    with contextlib.suppress(AttributeError, IndexError, KeyError, TypeError, ValueError):  # for the library to tell
        return _joined(stored)
    return stored, []


def _joined(stored: Stored) -> tuple[Stored, list[str]]:
    inner = stored.config.get("config")
    layers = inner.get("layers") if isinstance(inner, Mapping) else None
    if stored.generation == 3 or not isinstance(layers, list) or "input_layers" not in inner:
        return stored, []
    cuts = [layer for layer in layers if _cuts(layer)]
    if not cuts:
        return stored, []
    sources = {layer["name"]: layer["inbound_nodes"][0][0] for layer in cuts}
    gpus = cuts[0]["config"]["arguments"]["parts"]
    config = copy.deepcopy(stored.config)
    kept = [layer for layer in config["config"]["layers"] if layer.get("name") not in sources]
    repeated: set[str] = set()
    for layer in kept:
        calls = layer.get("inbound_nodes") or []
        takes = {reference[0] for call in calls for reference in call}
        if takes and takes <= sources.keys():
            layer["inbound_nodes"] = [[sources[reference[0]] for reference in calls[0]]]
            repeated.add(layer["name"])
        elif layer["class_name"] == "Concatenate" and layer["config"]["axis"] == 0 and takes and takes <= repeated:
            layer |= {"class_name": "Activation", "inbound_nodes": [[calls[0][0]]]}
            layer["config"] = {"name": layer["config"]["name"], "activation": "linear"}
    config["config"]["layers"] = kept
    told = f"made for {gpus} GPUs at once, each with the same model; that model is exported"
    return dataclasses.replace(stored, config=config), [told]


def _cuts(layer: Mapping[str, Any]) -> bool:
    """Whether a layer takes a part of the batch, as only multi_gpu_model makes one."""
    inner = layer.get("config")
    if layer.get("class_name") != "Lambda" or not isinstance(inner, Mapping):
        return False
    arguments, function = inner.get("arguments"), inner.get("function")
    if not isinstance(arguments, Mapping) or arguments.keys() != {"i", "parts"} or not isinstance(function, list):
        return False
    return b"get_slice" in base64.b64decode(str(function[0]))
