"""The seal of a model file: a digest over graph and recipe, appended by export and checked before every use.

A protobuf message may be extended by appending fields, so the seal is one more metadata_props entry at the end of
the file, and the digest is over every byte before it. That needs no ONNX parser on the device.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

from .errors import ModelError

KEY = "edgecnn_digest"
"""Key in metadata_props; the value is the SHA-256 of the file without this entry, in hex."""

_HEX = 64

_ENTRY = bytes([0x0A, len(KEY)]) + KEY.encode() + bytes([0x12, _HEX])
_SEAL = bytes([0x72, len(_ENTRY) + _HEX]) + _ENTRY
"""By onnx.proto: ModelProto.metadata_props is field 14, an entry's key 1 and its value 2, all of wire type 2."""

_LOCATION = bytes([0x0A, 8]) + b"location" + bytes([0x12])
"""How TensorProto.external_data names a file: a StringStringEntryProto with the key 'location'."""


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


def check_external_data(content: bytes, path: Path) -> None:
    """Refuse weights in files outside the model's folder, whatever the onnxruntime at hand would do.

    Raises:
        ModelError: the model names such a file.
    """
    at = content.find(_LOCATION)
    while at >= 0:
        length = content[at + len(_LOCATION) : at + len(_LOCATION) + 1]
        start = at + len(_LOCATION) + 1
        name = content[start : start + (length[0] if length else 0)].decode("utf-8", "replace")
        parts = PurePosixPath(name.replace("\\", "/"))
        if not length or length[0] > 127 or parts.is_absolute() or ".." in parts.parts or ":" in name:
            raise ModelError(f"{path}: the model names weights outside its own folder ({name!r:.80}); refused")
        at = content.find(_LOCATION, start)
