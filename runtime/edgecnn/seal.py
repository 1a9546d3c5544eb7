"""The seal of a model file: a digest over graph and recipe, appended by export and checked before every use.

A protobuf message may be extended by appending fields, so the seal is one more metadata_props entry at the end of
the file, and the digest is over every byte before it. That needs no ONNX parser on the device.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

from .errors import ModelError
from .wire import references

KEY = "edgecnn_digest"
"""Key in metadata_props; the value is the SHA-256 of the file without this entry, in hex."""

_HEX = 64

_ENTRY = bytes([0x0A, len(KEY)]) + KEY.encode() + bytes([0x12, _HEX])
_SEAL = bytes([0x72, len(_ENTRY) + _HEX]) + _ENTRY
"""By onnx.proto: ModelProto.metadata_props is field 14, an entry's key 1 and its value 2, all of wire type 2."""


def seal(content: bytes) -> bytes:
    """A serialized model with its digest appended."""
    return content + _SEAL + hashlib.sha256(content).hexdigest().encode()


def check_seal(content: bytes, path: Path) -> bool:
    """Hold a model file against its seal.

    Returns:
        Whether the file carries a seal at all; files of other exporters don't.

    Raises:
        ModelError: it carries one, and something was changed since.
    """
    start = len(content) - len(_SEAL) - _HEX
    if start >= 0 and content[start : start + len(_SEAL)] == _SEAL:
        digest = content[-_HEX:].decode("ascii", "replace")
        if hashlib.sha256(content[:start]).hexdigest() == digest:
            return True
    elif _ENTRY not in content:
        return False
    raise ModelError(
        f"{path}: the file was changed after its export (its digest doesn't fit), so its verification says nothing "
        "any more; copy it again, or export it again"
    )


_OPERATORS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Domains whose operators are part of every onnxruntime; any other needs code that comes from elsewhere."""


def check_references(content: bytes, path: Path) -> None:
    """Refuse weights outside the model's folder and custom operators, whatever the onnxruntime at hand would do.

    Raises:
        ModelError: the model names such a file or operator, or is no ONNX file.
    """
    try:
        found = list(references(content))
    except ValueError as e:
        raise ModelError(f"{path}: not a usable ONNX model: {e}") from None
    defined = {strings.get("domain", "") for kind, strings in found if kind == "function"}
    for kind, strings in found:
        if kind == "external" and strings.get("key") == "location":
            _check_location(strings.get("value", ""), path)
        domain = strings.get("domain", "")
        if kind == "node" and domain not in _OPERATORS and domain not in defined:
            raise ModelError(
                f"{path}: not a usable ONNX model: it needs the custom operator {strings.get('op', '')[:80]!r} of "
                f"{domain[:80]!r}, which no onnxruntime brings along; refused"
            )


def _check_location(name: str, path: Path) -> None:
    """A link may lead elsewhere only together with the model itself, as in a cache of downloads."""
    parts = PurePosixPath(name.replace("\\", "/"))
    inside = not parts.is_absolute() and ".." not in parts.parts and ":" not in name and "\0" not in name
    if inside:
        try:
            target = (path.parent / name).resolve()
        except OSError:
            inside = False
        else:
            folders = (path.parent.resolve(), path.resolve().parent)
            inside = any(target.is_relative_to(folder) for folder in folders)
    if not inside:
        raise ModelError(f"{path}: the model names weights outside its own folder ({name[:80]!r}); refused")
