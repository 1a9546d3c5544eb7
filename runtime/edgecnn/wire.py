"""What an ONNX file refers to, read from its protobuf before onnxruntime sees it: weights elsewhere, operators.

Field numbers are those of onnx.proto. Every part of a file that can hold a tensor or a node is visited, subgraphs and
functions too; nothing is decoded but the few strings that are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator

MAX_DEPTH = 64
"""Messages within messages; a Loop in a Loop takes three levels each."""

_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external"},
}
"""Message -> field number -> the message in it."""

_STRINGS = {"external": {1: "key", 2: "value"}, "node": {4: "op", 7: "domain"}, "function": {10: "domain"}}
"""Message -> field number -> the name under which its text is handed out."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types; groups are none of ONNX's."""


def references(content: bytes) -> Iterator[tuple[str, dict[str, str]]]:
    """('external', {key, value}), ('node', {op, domain}) and ('function', {domain}) of a serialized ModelProto.

    Raises:
        ValueError: the bytes are no such message.
    """
    yield from _visit(memoryview(content), "model", 0)


def _visit(message: memoryview, kind: str, depth: int) -> Iterator[tuple[str, dict[str, str]]]:
    if depth > MAX_DEPTH:
        raise ValueError(f"messages are nested more than {MAX_DEPTH} deep")
    children, strings = _CHILDREN.get(kind, {}), _STRINGS.get(kind, {})
    found: dict[str, str] = {}
    for number, value in fields(message):
        if number in children:
            yield from _visit(value, children[number], depth + 1)
        elif number in strings:
            # Of a field that is there twice, protobuf keeps the last.
            found[strings[number]] = bytes(value).decode("utf-8", "replace")
    if strings:
        yield kind, found


def fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(number, content) of every field; the content of numbers is empty."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        size = 0
        if tag & 7 == _VARINT:
            _, at = _varint(message, at)
        elif tag & 7 == _BYTES:
            size, at = _varint(message, at)
        elif tag & 7 in (_FIXED64, _FIXED32):
            at += 8 if tag & 7 == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {tag & 7}")
        if at + size > end:
            raise ValueError("a field ends behind its message")
        yield tag >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """(value, position behind it)."""
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("a number has no end")
