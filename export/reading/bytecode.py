"""The Python code of Lambda layers: whether this Python can run it, looked at before it is run.

A file doesn't tell which Python wrote its code. That of old ones can't be unmarshalled here, but that of a neighbouring
version can, and then ends the process.
"""

from __future__ import annotations

import binascii
import codecs
import dis
import marshal
import sys
import types
from collections.abc import Collection, Iterator
from typing import Any

from edgecnn.errors import ModelError

from .screen import is_lambda
from .stored import Stored, layer_configs


def check(stored: Stored, *, replaced: Collection[str]) -> None:
    """Look at all code of a file that the user trusts, save in the Lambda layers that are replaced.

    Raises:
        ModelError: it is of another Python; the message names the layer and the way out.
    """
    for layer, inner in layer_configs(stored.config):
        for text in _codes(inner) if is_lambda(layer) else ():
            name = str(inner.get("name"))
            if name not in replaced and not _fits(text):
                raise ModelError(
                    f"{stored.path} holds bytecode of another Python in the Lambda layer {name!r}, which Python "
                    f"{sys.version_info[0]}.{sys.version_info[1]} can't run: say what it computes with "
                    f"--lambda {name}=EXPR"
                )


def _codes(inner: dict[str, Any]) -> Iterator[str]:
    """Code as Keras 1 and 2 store it, [code, defaults, closure], and as Keras 3 does."""
    for key in ("function", "mode", "output_shape", "mask"):
        value = inner.get(key)
        if isinstance(value, dict) and value.get("class_name") == "__lambda__":
            value = [value["config"]["code"]]
        if isinstance(value, list) and value and isinstance(value[0], str):
            yield value[0]


def _fits(text: str) -> bool:
    try:
        try:
            raw = codecs.decode(text.encode("ascii"), "base64")
        except (UnicodeEncodeError, binascii.Error):
            raw = text.encode("raw_unicode_escape")
        code = marshal.loads(raw)
    except Exception:
        return False
    return isinstance(code, types.CodeType) and _is_of_this_python(code)


def _is_of_this_python(code: types.CodeType) -> bool:
    """Whether the operations are ones of this Python, and the caches behind them as long as here."""
    if not all(_is_of_this_python(c) for c in code.co_consts if isinstance(c, types.CodeType)):
        return False
    operations = code.co_code[::2]
    if sys.version_info < (3, 11):
        return set(operations) <= set(dis.opmap.values())
    caches: Any = getattr(dis, "_inline_cache_entries", None)
    if caches is None:
        return True
    found, at = [], 0
    while at < len(operations):
        number = operations[at]
        name = dis.opname[number]
        if name.startswith("<") or name == "CACHE":
            return False
        found.append(name)
        at += 1 + (caches.get(name, 0) if isinstance(caches, dict) else caches[number])
    calls = [i for i, name in enumerate(found) if name == "CALL"]
    # In 3.11 alone each call is prepared first.
    prepared = all((found[i - 1] == "PRECALL") == (sys.version_info < (3, 12)) for i in calls)
    return "RESUME" in found and prepared
