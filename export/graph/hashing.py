"""TensorFlow's hashes of text (Hashing, HashedCrossing, StringLookup with several unknown words) in ONNX's operators.

Each hash is a function of the domain below, written with Python's own operators over whole numbers of 64 bits, which
onnxruntime has since 1.22. All texts of a batch are hashed at once, a row of bytes each; where a text's length decides,
every way is taken and the right one kept. Sources: Google's FarmHash (farmhashna, its 64-bit fingerprint), Aumasson and
Bernstein's SipHash-2-4, and TensorFlow's FingerprintCat64.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..backend import require
from .steps import BOOL, INT32, INT64, STRING, UINT64

DOMAIN = "edgecnn.hash"

_OPSETS = {"": 20, "ai.onnx.ml": 2, "com.microsoft": 1, DOMAIN: 1}

_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F
"""FarmHash's primes."""

_KMUL = 0xC6A4A7935BD1E995
"""TensorFlow's, for fingerprints of several columns."""

_PAD = 72
"""Zeros behind every text, so that eight bytes can be read at any place of it."""


class _Graph:
    """The nodes of a function, or of a loop in one, as they are written down."""

    def __init__(self, around: _Graph | None = None) -> None:
        """around: what a loop's body stands in, where its names are known as well."""
        self.nodes: list[Any] = []
        self._numbers: Iterator[int] = itertools.count() if around is None else around._numbers

    def name(self, kind: str = "n") -> str:
        """A new name, the same in every export."""
        return f"{kind}{next(self._numbers)}"

    def constant(self, value: int | Sequence[int], dtype: Any = np.uint64) -> Term:
        tensor = require("onnx").numpy_helper.from_array(np.array(value, dtype))
        return self.op("Constant", value=tensor)

    def op(self, kind: str, *inputs: Term, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        """A node; its output, or all where there are several."""
        names = [self.name() for _ in range(outputs)]
        node = require("onnx").helper.make_node(kind, [i.name for i in inputs], names, domain=domain, **attributes)
        self.nodes.append(node)
        made = [Term(self, name) for name in names]
        return made if outputs > 1 else made[0]


class Term:
    """A tensor of uint64 in a graph, with Python's operators as in C."""

    def __init__(self, graph: _Graph, name: str) -> None:
        self.graph, self.name = graph, name

    def _with(self, kind: str, other: Term | int, **attributes: Any) -> Term:
        term = self.graph.constant(other) if isinstance(other, int) else other
        made: Term = self.graph.op(kind, self, term, **attributes)
        return made

    def __add__(self, other: Term | int) -> Term:
        return self._with("Add", other)

    def __sub__(self, other: Term | int) -> Term:
        return self._with("Sub", other)

    def __mul__(self, other: Term | int) -> Term:
        return self._with("Mul", other)

    def __floordiv__(self, other: Term | int) -> Term:
        return self._with("Div", other)

    def __xor__(self, other: Term | int) -> Term:
        return self._with("BitwiseXor", other)

    def __and__(self, other: Term | int) -> Term:
        return self._with("BitwiseAnd", other)

    def __lshift__(self, bits: int) -> Term:
        return self._with("BitShift", bits, direction="LEFT")

    def __rshift__(self, bits: int) -> Term:
        return self._with("BitShift", bits, direction="RIGHT")

    def __lt__(self, other: Term | int) -> Term:
        return self._with("Less", other)

    def rotated(self, bits: int) -> Term:
        """To the right."""
        return (self >> bits) ^ (self << (64 - bits))

    def shift_mixed(self) -> Term:
        """FarmHash's ShiftMix."""
        return self ^ (self >> 47)

    def cast(self, to: int) -> Term:
        """As another of ONNX's types."""
        made: Term = self.graph.op("Cast", self, to=to)
        return made

    def or_if(self, condition: Term, other: Term) -> Term:
        """This, or the other where the condition holds; onnxruntime's Where does not take uint64."""
        return self ^ (self ^ other) * condition.cast(UINT64)


class _Texts:
    """Texts as rows of eight bytes from each place on, and their lengths."""

    def __init__(self, graph: _Graph, words: Term, length: Term) -> None:
        self.graph, self.words, self.length = graph, words, length

    @property
    def zeros(self) -> Term:
        """One of each text, (n, 1)."""
        return self.length ^ self.length

    def at(self, place: Term | int) -> Term:
        """The eight bytes at a place of each text, (n, 1); of places before it something."""
        if isinstance(place, int):
            place = self.zeros + place
        place = place.cast(INT64)
        zero = self.graph.constant(0, np.int64)
        return self.graph.op("GatherElements", self.words, self.graph.op("Max", place, zero), axis=1)

    def from_end(self, bytes_before: int) -> Term:
        return self.at(self.length - bytes_before)


def _hash_16(u: Term, v: Term, mul: Term) -> Term:
    a = ((u ^ v) * mul).shift_mixed()
    return ((v ^ a) * mul).shift_mixed() * mul


def _farm_up_to_16(s: _Texts) -> Term:
    n = s.length
    mul = n * 2 + _K2
    a, b = s.at(0) + _K2, s.from_end(8)
    long = _hash_16(b.rotated(37) * mul + a, (a.rotated(25) + b) * mul, mul)
    low = 0xFFFFFFFF
    middle = _hash_16(((s.at(0) & low) << 3) + n, s.from_end(4) & low, mul)
    y = (s.at(0) & 255) + ((s.at(n >> 1) & 255) << 8)
    z = n + ((s.from_end(1) & 255) << 2)
    short = (y * _K2 ^ z * _K0).shift_mixed() * _K2
    nothing = s.graph.constant(_K2)
    return long.or_if(n < 8, middle).or_if(n < 4, short).or_if(n < 1, nothing)


def _farm_up_to_32(s: _Texts) -> Term:
    mul = s.length * 2 + _K2
    a, b, c, d = s.at(0) * _K1, s.at(8), s.from_end(8) * mul, s.from_end(16) * _K2
    return _hash_16((a + b).rotated(43) + c.rotated(30) + d, a + (b + _K2).rotated(18) + c, mul)


def _farm_up_to_64(s: _Texts) -> Term:
    mul = s.length * 2 + _K2
    a, b, c, d = s.at(0) * _K2, s.at(8), s.from_end(8) * mul, s.from_end(16) * _K2
    y = (a + b).rotated(43) + c.rotated(30) + d
    z = _hash_16(y, a + (b + _K2).rotated(18) + c, mul)
    e, f = s.at(16) * mul, s.at(24)
    g, h = (y + s.from_end(32)) * mul, (z + s.from_end(24)) * mul
    return _hash_16((e + f).rotated(43) + g.rotated(30) + h, e + (f + a).rotated(18) + g, mul)


def _weak_hash(s: _Texts, place: Term, a: Term, b: Term) -> tuple[Term, Term]:
    """Of 32 bytes and two seeds."""
    w, x, y, z = (s.at(place + 8 * i) for i in range(4))
    a = a + w
    b = (b + a + z).rotated(21)
    c = a
    a = a + x + y
    return a + z, b + a.rotated(44) + c


def _farm_round(s: _Texts, at: Term, state: Sequence[Term], mul: Term, nine: int) -> list[Term]:
    """64 bytes taken in; the last ones with another factor, and nine times some."""
    x, y, z, v0, v1, w0, w1 = state
    x = (x + y + v0 + s.at(at + 8)).rotated(37) * mul
    y = (y + v1 + s.at(at + 48)).rotated(42) * mul
    x = x ^ w1 * nine
    y = y + v0 * nine + s.at(at + 40)
    z = (z + w0).rotated(33) * mul
    v0, v1 = _weak_hash(s, at, v1 * mul, x + w0)
    w0, w1 = _weak_hash(s, at + 32, z + w1, y + s.at(at + 16))
    return [z, y, x, v0, v1, w0, w1]


def _farm_longer(s: _Texts) -> Term:
    n, zeros = s.length, s.zeros
    seed = 81
    y = zeros + (seed * _K1 + 113) % 2**64
    z = (y * _K2 + 113).shift_mixed() * _K2
    start = [s.at(0) + seed * _K2 % 2**64, y, z, zeros, zeros, zeros, zeros]
    blocks = (n - 1) // 64  # of texts without a byte very many, but those are not looped over
    blocks = blocks.or_if(n < 1, zeros)

    def take(body: _Texts, number: Term, state: Sequence[Term]) -> list[Term]:
        return _farm_round(body, number * 64, state, body.graph.constant(_K1), 1)

    x, y, z, v0, v1, w0, w1 = _for_each(s, blocks, start, take)
    mul = ((z & 255) << 1) + _K1
    w0 = w0 + ((n - 1) & 63)
    v0 = v0 + w0
    w0 = w0 + v0
    x, y, z, v0, v1, w0, w1 = _farm_round(s, n - 64, [x, y, z, v0, v1, w0, w1], mul, 9)
    return _hash_16(_hash_16(v0, w0, mul) + y.shift_mixed() * _K0 + z, _hash_16(v1, w1, mul) + x, mul)


def _fingerprint(graph: _Graph, text: Term, *, words: str) -> Term:
    """FarmHash's fingerprint of n texts, (n,)."""
    s = _texts(graph, text, words)
    short = _farm_up_to_32(s).or_if(s.length < 17, _farm_up_to_16(s))
    found = _farm_longer(s).or_if(s.length < 65, _farm_up_to_64(s)).or_if(s.length < 33, short)
    return _of_each(found)


def _sip(graph: _Graph, text: Term, key: Term, *, words: str) -> Term:
    """SipHash-2-4 of n texts with a key of two numbers, (n,)."""
    s = _texts(graph, text, words)
    k0, k1 = (graph.op("Gather", key, graph.constant(i, np.int64)) for i in range(2))
    zeros = s.zeros
    start = [
        zeros ^ k ^ letters
        for k, letters in (
            (k0, 0x736F6D6570736575), (k1, 0x646F72616E646F6D), (k0, 0x6C7967656E657261), (k1, 0x7465646279746573),
        )
    ]  # fmt: skip
    last = s.length // 8

    def take(body: _Texts, number: Term, state: Sequence[Term]) -> list[Term]:
        v0, v1, v2, v3 = state
        is_last = body.graph.op("Equal", number, body.length // 8)
        block = body.at(number * 8)
        block = block.or_if(is_last, block ^ (body.length << 56))
        v0, v1, v2, v3 = _sip_rounds(v0, v1, v2, v3 ^ block, 2)
        return [v0 ^ block, v1, v2, v3]

    v0, v1, v2, v3 = _for_each(s, last + 1, start, take)
    v0, v1, v2, v3 = _sip_rounds(v0, v1, v2 ^ 255, v3, 4)
    return _of_each(v0 ^ v1 ^ v2 ^ v3)


def _sip_rounds(v0: Term, v1: Term, v2: Term, v3: Term, count: int) -> tuple[Term, Term, Term, Term]:
    for _ in range(count):
        v0, v2 = v0 + v1, v2 + v3
        v1, v3 = v1.rotated(64 - 13) ^ v0, v3.rotated(64 - 16) ^ v2
        v0 = v0.rotated(64 - 32)
        v2, v0 = v2 + v1, v0 + v3
        v1, v3 = v1.rotated(64 - 17) ^ v2, v3.rotated(64 - 21) ^ v0
        v2 = v2.rotated(64 - 32)
    return v0, v1, v2, v3


def _cross(graph: _Graph, one: Term, other: Term) -> Term:
    """TensorFlow's fingerprint of two fingerprints."""
    found = (one ^ _KMUL) ^ (other * _KMUL).shift_mixed() * _KMUL
    return ((found * _KMUL).shift_mixed() * _KMUL).shift_mixed()


def _for_each(
    s: _Texts, counts: Term, start: Sequence[Term], take: Callable[[_Texts, Term, Sequence[Term]], list[Term]]
) -> list[Term]:
    """State after take was called with 0, 1 ... below each text's count."""
    onnx, graph, body = require("onnx"), s.graph, _Graph(s.graph)
    number, going, *before = (Term(body, body.name(kind)) for kind in ("i", "g", *["s"] * len(start)))
    here = number.cast(UINT64) + s.zeros  # for each text
    after = take(_Texts(body, s.words, s.length), here, before)
    is_there = here < counts
    kept = [b.or_if(is_there, a) for b, a in zip(before, after, strict=True)]
    goes_on = body.op("Identity", going)
    info = onnx.helper.make_tensor_value_info
    inputs = [info(number.name, INT64, []), info(going.name, BOOL, [])]
    loop = onnx.helper.make_graph(
        body.nodes,
        "body",
        [*inputs, *(info(b.name, UINT64, None) for b in before)],
        [info(goes_on.name, BOOL, []), *(info(k.name, UINT64, None) for k in kept)],
    )
    most = graph.op("ReduceMax", counts.cast(INT64), keepdims=0)
    always = graph.op("Constant", value=onnx.numpy_helper.from_array(np.array(True)))
    found: list[Term] = graph.op("Loop", most, always, *start, outputs=len(start), body=loop)
    return found


def _texts(graph: _Graph, text: Term, words: str) -> _Texts:
    found, length = graph.op(words, text, outputs=2, domain=DOMAIN)
    return _Texts(graph, found, length)


def _of_each(found: Term) -> Term:
    """(n + 1, 1) -> (n,)."""
    graph = found.graph
    flat = graph.op("Reshape", found, graph.constant([-1], np.int64))
    made: Term = graph.op("Slice", flat, graph.constant([0], np.int64), graph.constant([-1], np.int64))
    return made


def _words(graph: _Graph, text: Term, *, characters: Callable[[], Iterable[str]]) -> tuple[Term, Term]:
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


_UNKNOWN = 2**40
"""No character's number."""


def _letters() -> Iterable[str]:
    """Of the languages in use, and their signs, and pictures."""
    return map(chr, (*range(0xD800), *range(0xE000, 0x10000), *range(0x1F000, 0x1FB00)))


def _digits() -> Iterable[str]:
    return "-0123456789"


def _column(graph: _Graph, values: Term) -> tuple[Term, Term, Term]:
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
    "Fingerprint": (functools.partial(_fingerprint, words="Words"), 1),
    "FingerprintOfDigits": (functools.partial(_fingerprint, words="Digits"), 1),
    "Sip": (functools.partial(_sip, words="Words"), 2),
    "SipOfDigits": (functools.partial(_sip, words="Digits"), 2),
    "Cross": (_cross, 2),
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
        graph = _Graph()
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
