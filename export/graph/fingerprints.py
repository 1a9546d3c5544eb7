"""The hashes that TensorFlow uses, FarmHash, SipHash and its own of several columns, in ONNX's operators.

All texts of a batch are hashed at once, a row of bytes each; where a text's length decides, every way is taken and the
right one kept. Sources: Google's FarmHash (farmhashna, its 64-bit fingerprint), Aumasson and Bernstein's SipHash-2-4,
and TensorFlow's FingerprintCat64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..backend import require
from .steps import BOOL, INT64, UINT64
from .terms import Graph, Term

_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F
"""FarmHash's primes."""

_KMUL = 0xC6A4A7935BD1E995
"""TensorFlow's, for fingerprints of several columns."""


class Texts:
    """Texts as rows of eight bytes from each place on, and their lengths."""

    def __init__(self, graph: Graph, words: Term, length: Term) -> None:
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
        """The eight bytes that begin so many before the end of each text."""
        return self.at(self.length - bytes_before)


def _hash_16(u: Term, v: Term, mul: Term) -> Term:
    a = ((u ^ v) * mul).shift_mixed()
    return ((v ^ a) * mul).shift_mixed() * mul


def _farm_up_to_16(s: Texts) -> Term:
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


def _farm_up_to_32(s: Texts) -> Term:
    mul = s.length * 2 + _K2
    a, b, c, d = s.at(0) * _K1, s.at(8), s.from_end(8) * mul, s.from_end(16) * _K2
    return _hash_16((a + b).rotated(43) + c.rotated(30) + d, a + (b + _K2).rotated(18) + c, mul)


def _farm_up_to_64(s: Texts) -> Term:
    mul = s.length * 2 + _K2
    a, b, c, d = s.at(0) * _K2, s.at(8), s.from_end(8) * mul, s.from_end(16) * _K2
    y = (a + b).rotated(43) + c.rotated(30) + d
    z = _hash_16(y, a + (b + _K2).rotated(18) + c, mul)
    e, f = s.at(16) * mul, s.at(24)
    g, h = (y + s.from_end(32)) * mul, (z + s.from_end(24)) * mul
    return _hash_16((e + f).rotated(43) + g.rotated(30) + h, e + (f + a).rotated(18) + g, mul)


def _weak_hash(s: Texts, place: Term, a: Term, b: Term) -> tuple[Term, Term]:
    """Of 32 bytes and two seeds."""
    w, x, y, z = (s.at(place + 8 * i) for i in range(4))
    a = a + w
    b = (b + a + z).rotated(21)
    c = a
    a = a + x + y
    return a + z, b + a.rotated(44) + c


def _farm_round(s: Texts, at: Term, state: Sequence[Term], mul: Term, nine: int) -> list[Term]:
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


def _farm_longer(s: Texts) -> Term:
    n, zeros = s.length, s.zeros
    seed = 81
    y = zeros + (seed * _K1 + 113) % 2**64
    z = (y * _K2 + 113).shift_mixed() * _K2
    start = [s.at(0) + seed * _K2 % 2**64, y, z, zeros, zeros, zeros, zeros]
    blocks = (n - 1) // 64  # of texts without a byte very many, but those are not looped over
    blocks = blocks.or_if(n < 1, zeros)

    def take(body: Texts, number: Term, state: Sequence[Term]) -> list[Term]:
        return _farm_round(body, number * 64, state, body.graph.constant(_K1), 1)

    x, y, z, v0, v1, w0, w1 = _for_each(s, blocks, start, take)
    mul = ((z & 255) << 1) + _K1
    w0 = w0 + ((n - 1) & 63)
    v0 = v0 + w0
    w0 = w0 + v0
    x, y, z, v0, v1, w0, w1 = _farm_round(s, n - 64, [x, y, z, v0, v1, w0, w1], mul, 9)
    return _hash_16(_hash_16(v0, w0, mul) + y.shift_mixed() * _K0 + z, _hash_16(v1, w1, mul) + x, mul)


def farm(s: Texts) -> Term:
    """FarmHash's fingerprint of each text."""
    short = _farm_up_to_32(s).or_if(s.length < 17, _farm_up_to_16(s))
    return _farm_longer(s).or_if(s.length < 65, _farm_up_to_64(s)).or_if(s.length < 33, short)


def sip(s: Texts, key: Term) -> Term:
    """SipHash-2-4 of each text, with a key of two numbers."""
    k0, k1 = (s.graph.op("Gather", key, s.graph.constant(i, np.int64)) for i in range(2))
    zeros = s.zeros
    start = [
        zeros ^ k ^ letters
        for k, letters in (
            (k0, 0x736F6D6570736575), (k1, 0x646F72616E646F6D), (k0, 0x6C7967656E657261), (k1, 0x7465646279746573),
        )
    ]  # fmt: skip
    last = s.length // 8

    def take(body: Texts, number: Term, state: Sequence[Term]) -> list[Term]:
        v0, v1, v2, v3 = state
        is_last = body.graph.op("Equal", number, body.length // 8)
        block = body.at(number * 8)
        block = block.or_if(is_last, block ^ (body.length << 56))
        v0, v1, v2, v3 = _sip_rounds(v0, v1, v2, v3 ^ block, 2)
        return [v0 ^ block, v1, v2, v3]

    v0, v1, v2, v3 = _for_each(s, last + 1, start, take)
    v0, v1, v2, v3 = _sip_rounds(v0, v1, v2 ^ 255, v3, 4)
    return v0 ^ v1 ^ v2 ^ v3


def _sip_rounds(v0: Term, v1: Term, v2: Term, v3: Term, count: int) -> tuple[Term, Term, Term, Term]:
    for _ in range(count):
        v0, v2 = v0 + v1, v2 + v3
        v1, v3 = v1.rotated(64 - 13) ^ v0, v3.rotated(64 - 16) ^ v2
        v0 = v0.rotated(64 - 32)
        v2, v0 = v2 + v1, v0 + v3
        v1, v3 = v1.rotated(64 - 17) ^ v2, v3.rotated(64 - 21) ^ v0
        v2 = v2.rotated(64 - 32)
    return v0, v1, v2, v3


def cross(one: Term, other: Term) -> Term:
    """TensorFlow's fingerprint of two fingerprints."""
    found = (one ^ _KMUL) ^ (other * _KMUL).shift_mixed() * _KMUL
    return ((found * _KMUL).shift_mixed() * _KMUL).shift_mixed()


def _for_each(
    s: Texts, counts: Term, start: Sequence[Term], take: Callable[[Texts, Term, Sequence[Term]], list[Term]]
) -> list[Term]:
    """State after take was called with 0, 1 ... below each text's count."""
    onnx, graph, body = require("onnx"), s.graph, Graph(s.graph)
    number, going, *before = (Term(body, body.name(kind)) for kind in ("i", "g", *["s"] * len(start)))
    here = number.cast(UINT64) + s.zeros  # for each text
    after = take(Texts(body, s.words, s.length), here, before)
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
