"""TensorFlow's operators on text and on rows of words (TextVectorization) in ONNX's.

While tf2onnx works, each is a node of the domain below; `write_out` puts ONNX's operators in its place.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..backend import require
from . import hashing
from .text_functions import FUNCTIONS

OPSET = 20
"""The first operator set of ONNX that takes text apart."""

_IR_VERSION = 9
"""The first form of ONNX files with that operator set."""

_DOMAIN = "edgecnn.text"

_RUNTIME = "com.microsoft"
"""Of onnxruntime's own operators."""

SPLITTING = frozenset({"StringSplitV2", "UnicodeDecode"})
"""TensorFlow's operators that take text apart."""

_BLANKS = "\t\n\v\f\r"
"""Where TensorFlow splits text, and ONNX, which does it at blanks, does not."""


def write_out(model: Any) -> None:
    """Write the nodes of a model that stand for operators on text in ONNX's own, in place."""
    used = {node.domain for node in model.graph.node}
    if used.isdisjoint((_DOMAIN, hashing.DOMAIN)):
        return
    onnx, inliner = require("onnx"), require("onnx.inliner")
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx"):
            opset.version = max(opset.version, OPSET)
    model.ir_version = max(model.ir_version, _IR_VERSION)
    model.opset_import.add(domain=_DOMAIN, version=1)
    model.opset_import.add(domain=_RUNTIME, version=1)
    head = f'<domain: "{_DOMAIN}", opset_import: ["" : {OPSET}, "{_DOMAIN}" : 1, "{_RUNTIME}" : 1]>'
    if _DOMAIN in used:
        model.functions.extend(onnx.parser.parse_function(head + text) for text in FUNCTIONS)
    if hashing.DOMAIN in used:
        model.opset_import.add(domain=hashing.DOMAIN, version=1)
        model.functions.extend(hashing.functions(model.graph.node))
    # A hash is long, and may be used for many columns: it stays a function of the file.
    kept = [(f.domain, f.name) for f in model.functions if f.domain == hashing.DOMAIN]
    model.CopyFrom(inliner.inline_selected_functions(model, kept, exclude=True))


def _lower(ctx: Any, node: Any, name: str, args: Any) -> None:
    if not node.get_attr_value("encoding"):  # else letters beyond ASCII too
        _become(ctx, node, "Lower", node.input)


def _replace(ctx: Any, node: Any, name: str, args: Any) -> None:
    pattern, rewrite = (node.get_attr_value(key).decode() for key in ("pattern", "rewrite"))
    parts = _parts(pattern, rewrite)
    if parts and node.get_attr_value("replace_global"):
        inputs = _replaced(ctx, node, parts[:-1], rewrite)
        _become(ctx, node, "Replace", inputs, part=parts[-1])


def _split(ctx: Any, node: Any, name: str, args: Any) -> None:
    separator = node.inputs[1]
    if node.get_attr_value("maxsplit") == -1 and separator.is_const() and not separator.get_tensor_value(as_list=False):
        _become(ctx, node, "Split", _replaced(ctx, node, _BLANKS, " ")[:1])


def _replaced(ctx: Any, node: Any, parts: Sequence[str], rewrite: str) -> list[str]:
    """A node's first input after each part was replaced, and the constant that was put in."""
    text, name = node.input[0], node.name
    kind = {"shapes": [ctx.get_shape(text)], "dtypes": [ctx.get_dtype(text)], "domain": _DOMAIN}
    put_in = ctx.make_const(name + "/rewrite", np.array(rewrite, object)).output[0]
    for i, part in enumerate(parts):
        text = ctx.make_node("Replace", [text, put_in], name=f"{name}/{i}", attr={"part": part}, **kind).output[0]
    return [text, put_in]


def _split_characters(ctx: Any, node: Any, name: str, args: Any) -> None:
    """tf.strings.unicode_split: characters as numbers, which become text again in an UnicodeEncode."""
    text, numbers = node.input[0], node.output[1]
    if node.get_attr_value("input_encoding") != b"UTF-8" or ctx.get_rank(text) != 1 or not _is_encoded(ctx, numbers):
        return
    outputs, dtypes = [*node.output, name + ":text"], [*map(ctx.get_dtype, node.output), ctx.get_dtype(text)]
    ctx.remove_node(name)
    made = {"dtypes": dtypes, "shapes": [[-1]] * 3, "domain": _DOMAIN}
    ctx.make_node(_CHARACTERS, [text], name=name, outputs=outputs, **made)


def _is_encoded(ctx: Any, numbers: str) -> bool:
    """Whether characters' numbers become text again, and nothing else is read but how many there are."""
    readers = ctx.find_output_consumers(numbers)
    passed = [r for r in readers if r.type in _PASSING]
    others = {r.type for r in readers if r not in passed}
    return others <= {"Shape", "UnicodeEncode"} and all(_is_encoded(ctx, r.output[0]) for r in passed)


def _encode(ctx: Any, node: Any, name: str, args: Any) -> None:
    characters = node.inputs[0]
    while characters.type in _PASSING:
        characters = characters.inputs[0]
    if characters.type == _CHARACTERS:
        kind = {"shapes": [[-1]], "dtypes": [ctx.get_dtype(node.output[0])]}
        outputs = node.output
        ctx.remove_node(name)
        ctx.make_node("Identity", [characters.output[2]], name=name, outputs=outputs, **kind)


_CHARACTERS = "SplitCharacters"

_PASSING = ("Cast", "ExpandDims", "Identity", "Reshape", "Unsqueeze")
"""Operators of TensorFlow and ONNX that leave values as they are."""


def _phrases(ctx: Any, node: Any, name: str, args: Any) -> None:
    """ngrams of words."""
    if node.get_attr_value("pad_width") or node.get_attr_value("preserve_short_sequences"):
        return
    (words, splits), outputs = node.input, node.output
    widths = [int(w) for w in node.get_attr_value("ngram_widths")]
    text, long = ctx.get_dtype(words), ctx.get_dtype(splits)
    separator = ctx.make_const(name + "/separator", np.array(node.get_attr_value("separator").decode(), object))
    ctx.remove_node(name)

    def make(kind: str, inputs: list[str], dtypes: list[int], domain: str = _DOMAIN, **options: Any) -> list[str]:
        count, shapes = len(dtypes), [[-1]] * len(dtypes)
        made = ctx.make_node(kind, inputs, output_count=count, dtypes=dtypes, shapes=shapes, domain=domain, **options)
        return list(made.output)

    (rows,) = make("RowOfEach", [words, splits], [long])
    phrases = [words]
    for _ in range(1, max(widths)):
        phrases += make("Longer", [phrases[-1], words, separator.output[0]], [text])
    kept = [make("WithinRows", [phrases[width - 1], rows], [text, long]) for width in widths]
    joined = [
        make("Concat", list(parts), [dtype], domain="", attr={"axis": 0})[0]
        for parts, dtype in zip(zip(*kept, strict=True), (text, long), strict=True)
    ]
    make("Sort", [*joined, splits], [text, long], name=name, outputs=outputs)


def _fill_rows(ctx: Any, node: Any, name: str, args: Any) -> None:
    kinds = {(b"FIRST_DIM_SIZE", b"VALUE_ROWIDS"): "FillRows", (b"ROW_SPLITS",): "FillSplitRows"}
    kind = kinds.get(tuple(node.get_attr_value("row_partition_types")))
    if kind and [ctx.get_rank(i) for i in node.input[:2]] == [1, 1]:
        _become(ctx, node, kind, node.input)
    else:  # tables of more dimensions
        require("tf2onnx.onnx_opset.tensor").RaggedTensorToTensor.version_11(ctx, node)


def _count_in_rows(ctx: Any, node: Any, name: str, args: Any) -> None:
    weights = node.inputs[3]
    if weights.is_const() and not len(weights.get_tensor_value()):
        reduction = "none" if node.get_attr_value("binary_output") else "add"
        _become(ctx, node, "CountInRows", node.input, reduction=reduction)


def _become(ctx: Any, node: Any, kind: str, inputs: Sequence[str], **attributes: str) -> None:
    """Put a node of our domain in the place of one of TensorFlow's."""
    outputs, name = node.output, node.name
    of_outputs = {"shapes": [ctx.get_shape(o) for o in outputs], "dtypes": [ctx.get_dtype(o) for o in outputs]}
    ctx.remove_node(name)
    ctx.make_node(kind, inputs, name=name, outputs=outputs, attr=attributes, domain=_DOMAIN, **of_outputs)


def _parts(pattern: str, rewrite: str) -> list[str]:
    """What a regular expression finds, where that is one text or single characters; else nothing."""
    if not pattern.isascii() or "\\" in rewrite:
        return []
    if re.fullmatch(r"([^\\.^$*+?{}\[\]|()]|\\[^A-Za-z0-9])+", pattern):
        return [re.sub(r"\\(.)", r"\1", pattern)]
    several = r"\+?" if rewrite == "" else ""
    if "[:" in pattern or not re.fullmatch(r"\[(?!\^)([^\]\\]|\\[^A-Za-z0-9])+\]" + several, pattern):
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # a [ inside, which means no more to TensorFlow either
        found = [c for c in map(chr, range(1, 128)) if re.fullmatch(pattern, c)]
    return [] if any(c in rewrite for c in found) else found  # what was put in would be replaced again


HANDLERS: dict[str, Callable[..., None]] = {
    "RaggedBincount": _count_in_rows,
    "RaggedTensorToTensor": _fill_rows,
    "StaticRegexReplace": _replace,
    "StringLower": _lower,
    "StringNGrams": _phrases,
    "StringSplitV2": _split,
    "UnicodeDecode": _split_characters,
    "UnicodeEncode": _encode,
    **hashing.HANDLERS,
}
"""TensorFlow operator -> what replaces it, as in operators.py."""
