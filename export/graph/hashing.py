"""TensorFlow's operators that hash text (Hashing, HashedCrossing, StringLookup with several unknown words) as ONNX's.

Each hash is a function of the domain below; a text's bytes, which ONNX has no operator for, are looked up by character.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..backend import require
from .fingerprints import Texts, cross, farm, sip
from .steps import INT32, INT64, STRING, UINT64
from .terms import Graph, Term

DOMAIN = "edgecnn.hash"

_OPSETS = {"": 20, "ai.onnx.ml": 2, "com.microsoft": 1, DOMAIN: 1}

_PAD = 72
"""Zeros behind every text, so that eight bytes can be read at any place of it."""

_UNKNOWN = 2**40
"""No character's number."""


def _words(graph: Graph, text: Term, *, characters: Callable[[], Iterable[str]]) -> tuple[Term, Term]:
    """The eight bytes at each place of n texts and an empty one, (n + 1, places), and how long each is, (n + 1, 1).

    The empty one lets there be no texts at all.
    """
    text = graph.op("Concat", text, graph.op("Constant", value_strings=[""]), axis=0)
    padded = graph.op(
        "Tokenizer", text, domain="com.microsoft", mark=0, mincharnum=1, pad_value="", separators=[""]
    )  # the characters, each alone
    none = graph.op("Constant", value_string="")
    table = graph.op("StringConcat", none, padded)  # whose type is known
    known = ["", *characters()]
    # The bytes of each in UTF-8, the first one lowest, and above 32 bits how many there are.
    packed = [int.from_bytes(c.encode(), "little") | len(c.encode()) << 32 for c in known]
    attributes = {"keys_strings": known, "values_int64s": packed, "default_int64": _UNKNOWN}
    bits = graph.op("LabelEncoder", table, domain="ai.onnx.ml", **attributes).cast(UINT64)
    # A character that isn't known is looked up where there is nothing, and so has no hash.
    bits = bits + graph.op("Gather", graph.constant([0]), (bits // _UNKNOWN).cast(INT64))
    counts = (bits >> 32).cast(INT64)
    one = graph.constant([1], np.int64)
    ends = graph.op("CumSum", counts, graph.constant(1, np.int64))
    starts = graph.op("Sub", ends, counts)
    length = graph.op("ReduceSum", counts, one, keepdims=1)
    width = graph.op("Reshape", graph.op("ReduceMax", length, keepdims=0), one)
    height = graph.op("Shape", text)
    sizes = graph.op("Concat", height, graph.op("Add", width, graph.constant([_PAD + 8], np.int64)), axis=0)
    row = graph.op("Expand", graph.constant(0), sizes)
    for i in range(4):
        # Of a character with fewer bytes a zero is added.
        place = graph.op("Add", starts, graph.constant(i, np.int64))
        row = graph.op("ScatterElements", row, place, (bits >> 8 * i) & 255, axis=1, reduction="add")
    end = graph.op("Add", width, graph.constant([_PAD], np.int64))
    parts = []
    for i in range(8):
        shifted = [graph.op("Add", t, graph.constant([i], np.int64)) for t in (graph.constant([0], np.int64), end)]
        parts.append(graph.op("Slice", row, *shifted, one) << 8 * i)
    return functools.reduce(Term.__xor__, parts), length.cast(UINT64)


def _letters() -> Iterable[str]:
    """Of the languages in use, and their signs, and pictures."""
    return map(chr, (*range(0xD800), *range(0xE000, 0x10000), *range(0x1F000, 0x1FB00)))


def _digits() -> Iterable[str]:
    return "-0123456789"


def _hash(write: Callable[..., Term], words: str, graph: Graph, text: Term, *key: Term) -> Term:
    """A hash of n texts, (n,)."""
    found, length = graph.op(words, text, outputs=2, domain=DOMAIN)
    hashed = write(Texts(graph, found, length), *key)  # (n + 1, 1)
    flat = graph.op("Reshape", hashed, graph.constant([-1], np.int64))
    made: Term = graph.op("Slice", flat, graph.constant([0], np.int64), graph.constant([-1], np.int64))
    return made


def _column(graph: Graph, values: Term) -> tuple[Term, Term, Term]:
    """n values as a sparse (n, 1): their places, themselves, its size."""
    zero, one = graph.constant(0, np.int64), graph.constant(1, np.int64)
    size = graph.op("Shape", values)
    rows = graph.op("Range", zero, graph.op("Squeeze", size), one)
    column, ones = graph.op("Unsqueeze", rows, graph.constant([1], np.int64)), graph.constant([1], np.int64)
    places = graph.op("Concat", column, graph.op("Sub", column, column), axis=1)
    return places, graph.op("Identity", values), graph.op("Concat", size, ones, axis=0)


_FUNCTIONS: dict[str, tuple[Callable[..., Any], int]] = {
    "Words": (functools.partial(_words, characters=_letters), 1),
    "Digits": (functools.partial(_words, characters=_digits), 1),
    "Fingerprint": (functools.partial(_hash, farm, "Words"), 1),
    "FingerprintOfDigits": (functools.partial(_hash, farm, "Digits"), 1),
    "Sip": (functools.partial(_hash, sip, "Words"), 2),
    "SipOfDigits": (functools.partial(_hash, sip, "Digits"), 2),
    "Cross": (lambda graph, one, other: cross(one, other), 2),
    "Column": (_column, 1),
}
"""Name -> what writes it, and how many inputs it has."""


def functions(nodes: Iterable[Any]) -> list[Any]:
    """Those that onnx.NodeProtos of our domain need, as onnx.FunctionProto."""
    helper, made = require("onnx").helper, {}
    ahead = [node.op_type for node in nodes if node.domain == DOMAIN]
    while ahead:
        name = ahead.pop()
        if name in made:
            continue
        write, count = _FUNCTIONS[name]
        graph = Graph()
        inputs = [Term(graph, f"input{i}") for i in range(count)]
        outputs = write(graph, *inputs)
        names = [t.name for t in (outputs if isinstance(outputs, tuple) else (outputs,))]
        opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()]
        made[name] = helper.make_function(DOMAIN, name, [i.name for i in inputs], names, graph.nodes, opsets)
        ahead += [node.op_type for node in graph.nodes if node.domain == DOMAIN]
    return list(made.values())


def _bucket(ctx: Any, node: Any, name: str, args: Any) -> None:
    """StringToHashBucketFast, and with a key StringToHashBucketStrong."""
    text, outputs, shape = node.input[0], node.output, ctx.get_shape(node.output[0])
    buckets, key = node.get_attr_value("num_buckets"), node.get_attr_value("key")
    of_digits = "OfDigits" if node.inputs[0].type == "Cast" else ""  # the AsString of a whole number
    ctx.remove_node(name)
    inputs = [_flattened(ctx, name, text)]
    if key:
        inputs.append(_const(ctx, name + "/key", [k % 2**64 for k in key]))
    found = _make(ctx, name + "/hash", ("Sip" if key else "Fingerprint") + of_digits, inputs)
    within = _rest(ctx, name, found, buckets)
    sizes = ctx.make_node("Shape", [text], name=name + "/sizes", shapes=[[-1]], dtypes=[INT64]).output[0]
    to = {"name": name, "outputs": outputs, "shapes": [shape], "dtypes": [INT64]}
    ctx.make_node("Reshape", [within, sizes], **to)


def _sparse_cross(ctx: Any, node: Any, name: str, args: Any) -> None:
    """The hash of each row of several columns (HashedCrossing), as a sparse tensor."""
    columns, outputs = node.input, node.output
    if (
        not node.get_attr_value("hashed_output")
        or node.get_attr_value("N")
        or any((ctx.get_shape(c) or [])[1:] != [1] for c in columns)
    ):
        return
    buckets, key = node.get_attr_value("num_buckets"), node.get_attr_value("hash_key")
    ctx.remove_node(name)
    found = _const(ctx, name + "/key", [key % 2**64])
    for i, column in enumerate(columns):
        flat = _flattened(ctx, f"{name}/{i}", column)
        if ctx.get_dtype(column) == STRING:
            number = _make(ctx, f"{name}/{i}/hash", "Fingerprint", [flat])
        else:
            options = {"attr": {"to": UINT64}, "shapes": [[-1]], "dtypes": [UINT64]}
            number = ctx.make_node("Cast", [flat], name=f"{name}/{i}/number", **options).output[0]
        found = _make(ctx, f"{name}/{i}/cross", "Cross", [found, number])
    values = _rest(ctx, name, found, buckets or 2**63 - 1)
    dtypes = {"shapes": [[-1, 2], [-1], [2]], "dtypes": [INT64] * 3}
    ctx.make_node("Column", [values], name=name, outputs=outputs, domain=DOMAIN, **dtypes)


def _as_string(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Whole numbers as text."""
    if ctx.get_dtype(node.input[0]) in (INT32, INT64) and node.get_attr_value("width") == -1:
        source, outputs, shape = node.input[0], node.output, ctx.get_shape(node.output[0])
        ctx.remove_node(name)
        to = {"name": name, "outputs": outputs, "shapes": [shape], "dtypes": [STRING]}
        ctx.make_node("Cast", [source], attr={"to": STRING}, **to)


def _make(ctx: Any, name: str, kind: str, inputs: Sequence[str]) -> str:
    made = ctx.make_node(kind, inputs, name=name, domain=DOMAIN, shapes=[[-1]], dtypes=[UINT64])
    return str(made.output[0])


def _const(ctx: Any, name: str, values: Sequence[int]) -> str:
    return str(ctx.make_const(name, np.array(values, np.uint64)).output[0])


def _flattened(ctx: Any, name: str, tensor: str) -> str:
    all_ = ctx.make_const(name + "/all", np.array([-1], np.int64)).output[0]
    dtype = ctx.get_dtype(tensor)
    made = ctx.make_node("Reshape", [tensor, all_], name=name + "/flat", shapes=[[-1]], dtypes=[dtype])
    return str(made.output[0])


def _rest(ctx: Any, name: str, number: str, buckets: int) -> str:
    """Numbers modulo how many buckets there are, as int64."""
    inputs = [number, _const(ctx, name + "/buckets", [buckets])]
    rest = ctx.make_node("Mod", inputs, name=name + "/rest", shapes=[[-1]], dtypes=[UINT64]).output[0]
    options = {"attr": {"to": INT64}, "shapes": [[-1]], "dtypes": [INT64]}
    return str(ctx.make_node("Cast", [rest], name=name + "/long", **options).output[0])


HASHES = frozenset({"SparseCross", "StringToHashBucketFast", "StringToHashBucketStrong"})
"""Those of TensorFlow's operators that hash text."""

HANDLERS: dict[str, Callable[..., None]] = {
    "AsString": _as_string,
    "SparseCross": _sparse_cross,
    "StringToHashBucketFast": _bucket,
    "StringToHashBucketStrong": _bucket,
}
"""TensorFlow operator -> what replaces it, as in operators.py."""
