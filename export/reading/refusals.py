"""Why a file can't be opened: one sentence, with what to do about it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from edgecnn.errors import MissingDependencyError, ModelError

from ..backend import reason, require
from . import author
from .names import has
from .stored import Stored

_UNKNOWN = re.compile(r"(?:Unknown|Could not locate) (\w[\w ]*?):? (?=['\"])['\"](?:\{.*?'config': ')?([\w>]+)")
"""How Keras names a class or function that it doesn't have."""

_REFUSED = re.compile(
    r"(?:Keyword argument not understood:'?,?|unexpected keyword argument|Unrecognized keyword arguments? passed to "
    r"\w+:) \W*(?P<key>\w+)|(?P<kind>\w+) layer must be called on"
)
"""How Keras refuses what a file stores for one of its layers."""

INSTALL_LEGACY = "python -m pip install tf-keras"
"""What opens the files of Keras 1 and 2 with their own meaning."""


def refusal(
    stored: Stored,
    errors: Sequence[tuple[str, Exception]],
    own: str,
    given: Mapping[str, Any],
    custom: str | os.PathLike[str] | None,
    script: author.Script | None,
) -> ModelError:
    """What to tell of a file that no attempt could open.

    Args:
        stored: the file.
        errors: the title of the library of each attempt, and what it said.
        own: the library of the generation that wrote the file.
        given: what stands for names in the file.
        custom: the author's script, where there is one.
        script: the same, opened.
    """
    name, error = errors[0]
    if isinstance(error, MissingDependencyError):
        others = "; ".join(f"{n}: {reason(e)}" for n, e in errors[1:2])
        return ModelError(
            f"{stored.path} was written by Keras {stored.keras_version or '1'}, which needs tf-keras: "
            f"{INSTALL_LEGACY} ({others})"
        )
    unknown = _UNKNOWN.search(str(error))
    if unknown and unknown[1] == "activation function":
        functions = [c["config"] for c in stored.layers() if c["class_name"] == "function"] or [unknown[2]]
        called = next((f for f in functions if not has(require(own), f) and f not in given), unknown[2])
        return ModelError(needs(stored, custom, f"activation function {called!r}"))
    if unknown:
        return ModelError(needs(stored, custom, f"{unknown[1]} {unknown[2]}"))
    if script is not None and (line := script.line(error)) is not None:
        return ModelError(f"{name} can't open {stored.path}: line {line} of {custom}: {reason(error)}")
    hint = _hint(error) or ("" if custom is not None else _perhaps_own(stored, str(error)))
    return ModelError(f"{name} can't open {stored.path}: {reason(error)}{hint}")


def needs(stored: Stored, custom: str | os.PathLike[str] | None, what: str, count: int = 1) -> str:
    """What to tell of a file that names code of its author's, so many things of it."""
    each = "it" if count == 1 else "them"
    if custom is not None:
        return f"{stored.path} needs the {what}, whose code is neither in the file nor in {os.fspath(custom)}"
    return f"{stored.path} needs the {what}, whose code is not in the file; pass --custom FILE.py that defines {each}"


def title(library: str) -> str:
    """What people call the library."""
    return {"keras": "Keras", "tf_keras": "tf-keras"}[library]


def _perhaps_own(stored: Stored, error: str) -> str:
    """A hint where one of Keras's layers refuses what the file stores: it may be another of the same name."""
    refused = _REFUSED.search(error)
    if not refused:
        return ""
    of_key = (c["class_name"] for c in stored.layers() if refused["key"] in (c.get("config") or ()))
    kind = refused["kind"] or next(of_key, "a layer")
    return f"; if {kind} is a layer of its author's own, pass --custom FILE.py that defines it"


def _hint(error: Exception) -> str:
    if isinstance(error, (EOFError, SystemError)) or "bad marshal" in str(error):
        return "; a Lambda's bytecode from another Python can't run here: say what it computes with --lambda NAME=EXPR"
    if "Unable to revive model" in str(error):
        return "; give a function that makes the model, with --architecture FILE.py:function"
    return ""
