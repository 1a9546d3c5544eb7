"""TensorFlow's operators on text and on rows of words (TextVectorization) in ONNX's.

While tf2onnx works, each is a node of the domain below; `write_out` puts ONNX's operators in its place.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .backend import require

OPSET = 20
"""The first operator set of ONNX that takes text apart."""

_IR_VERSION = 9
"""The first form of ONNX files with that operator set."""

_DOMAIN = "edgecnn.text"

_FUNCTIONS = (
    # ASCII letters in lower case; other locales than C know others too.
    """
    Lower (text) => (low)
    {
        all = Constant <value_ints = [-1]> ()
        flat = Reshape (text, all)
        flat_low = StringNormalizer <case_change_action = "LOWER", locale = "C"> (flat)
        sizes = Shape (text)
        low = Reshape (flat_low, sizes)
    }
    """,
    # Each part replaced: the text is taken apart there, and the pieces put together again.
    """
    Replace <part, rewrite> (text) => (replaced)
    {
        pieces, counts = StringSplit <delimiter: string = @part> (text)
        most = Shape <start = -1> (pieces)
        trips = Squeeze (most)
        go = Constant <value = bool {1}> ()
        none = Constant <value_string = ""> ()
        rewrite = Constant <value_string: string = @rewrite> ()
        zero = Constant <value_int = 0> ()
        sizes = Shape (text)
        start = Expand (none, sizes)
        replaced = Loop (trips, go, start) <
            body = append (int64 i, bool going, string[] before) => (bool on, string[] after)
            {
                on = Identity (going)
                piece = Gather <axis = -1> (pieces, i)
                is_first = Equal (i, zero)
                gap = Where (is_first, none, rewrite)
                more = StringConcat (gap, piece)
                longer = StringConcat (before, more)
                is_there = Less (i, counts)
                after = Where (is_there, longer, before)
            }
        >
    }
    """,
    # The words between blanks of n texts: where they stand in a table (m, 2), the words (m), the table's size (2).
    """
    Split (text) => (places, words, sizes)
    {
        table, counts = StringSplit <delimiter = ""> (text)
        sizes = Shape (table)
        width_row = Shape <start = 1> (table)
        width = Squeeze (width_row)
        zero = Constant <value_int = 0> ()
        one = Constant <value_int = 1> ()
        last = Constant <value_ints = [1]> ()
        columns = Range (zero, width, one)
        counts_column = Unsqueeze (counts, last)
        is_there = Less (columns, counts_column)
        found = NonZero (is_there)
        places = Transpose <perm = [1, 0]> (found)
        words = GatherND (table, places)
    }
    """,
    # Values and the row of each, ascending -> a table of `shape`, where -1 is as much as there is; more is cut off.
    """
    FillRows (shape, values, filler, count, row) => (table)
    {
        zero = Constant <value_int = 0> ()
        one = Constant <value_int = 1> ()
        zeros = Constant <value_ints = [0]> ()
        ones = Constant <value_ints = [1]> ()
        rows = Cast <to = 7> (row)
        count_long = Cast <to = 7> (count)
        height = Reshape (count_long, ones)
        none = Expand (zero, height)
        sizes = Shape (values)
        each = Expand (one, sizes)
        lengths = ScatterElements <axis = 0, reduction = "add"> (none, rows, each)
        ends = CumSum (lengths, zero)
        starts = Sub (ends, lengths)
        size = Squeeze (sizes)
        positions = Range (zero, size, one)
        start = Gather (starts, rows)
        columns = Sub (positions, start)
        at_least_one = Concat <axis = 0> (lengths, zeros)
        longest = ReduceMax <keepdims = 1> (at_least_one)
        shape_long = Cast <to = 7> (shape)
        wanted = Gather (shape_long, ones)
        is_free = Less (wanted, zeros)
        width = Where (is_free, longest, wanted)
        fits = Less (columns, width)
        rows_column = Unsqueeze (rows, ones)
        columns_column = Unsqueeze (columns, ones)
        places = Concat <axis = 1> (rows_column, columns_column)
        places_kept = Compress <axis = 0> (places, fits)
        values_kept = Compress <axis = 0> (values, fits)
        table_sizes = Concat <axis = 0> (height, width)
        empty = Expand (filler, table_sizes)
        table = ScatterND (empty, places_kept, values_kept)
    }
    """,
    # Whole numbers below `size`, in rows that end where the next one starts -> how often each is in each row.
    """
    CountInRows <reduction> (splits, values, size, weights) => (table)
    {
        zero = Constant <value_int = 0> ()
        one = Constant <value_int = 1> ()
        zeros = Constant <value_ints = [0]> ()
        ones = Constant <value_ints = [1]> ()
        last = Constant <value_ints = [-1]> ()
        inner = Slice (splits, ones, last)
        inner_sizes = Shape (inner)
        steps = Expand (one, inner_sizes)
        sizes = Shape (values)
        sizes_more = Add (sizes, ones)
        still = Expand (zero, sizes_more)
        changes = ScatterElements <axis = 0, reduction = "add"> (still, inner, steps)
        rows_more = CumSum (changes, zero)
        rows = Slice (rows_more, zeros, last)
        values_long = Cast <to = 7> (values)
        rows_column = Unsqueeze (rows, ones)
        values_column = Unsqueeze (values_long, ones)
        places = Concat <axis = 1> (rows_column, values_column)
        height = Add (inner_sizes, ones)
        size_long = Cast <to = 7> (size)
        width = Reshape (size_long, ones)
        table_sizes = Concat <axis = 0> (height, width)
        nothing = Constant <value_float = 0.0> ()
        unit = Constant <value_float = 1.0> ()
        empty = Expand (nothing, table_sizes)
        units = Expand (unit, sizes)
        counts = ScatterND <reduction: string = @reduction> (empty, places, units)
        table = CastLike (counts, weights)
    }
    """,
)
"""Model-local functions of ONNX, in its textual form."""

_BLANKS = "\t\n\v\f\r"
"""Where TensorFlow splits text, and ONNX, which does it at blanks, does not."""


def write_out(model: Any) -> None:
    """Write the nodes of a model that stand for operators on text in ONNX's own, in place."""
    if not any(node.domain == _DOMAIN for node in model.graph.node):
        return
    onnx, inliner = require("onnx"), require("onnx.inliner")
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx"):
            opset.version = max(opset.version, OPSET)
    model.ir_version = max(model.ir_version, _IR_VERSION)
    model.opset_import.add(domain=_DOMAIN, version=1)
    head = f'<domain: "{_DOMAIN}", opset_import: ["" : {OPSET}]>'
    model.functions.extend(onnx.parser.parse_function(head + text) for text in _FUNCTIONS)
    model.CopyFrom(inliner.inline_local_functions(model))


def _lower(ctx: Any, node: Any, name: str, args: Any) -> None:
    if not node.get_attr_value("encoding"):  # else letters beyond ASCII too
        _become(ctx, node, "Lower", node.input)


def _replace(ctx: Any, node: Any, name: str, args: Any) -> None:
    pattern, rewrite = (node.get_attr_value(key).decode() for key in ("pattern", "rewrite"))
    parts = _parts(pattern, rewrite)
    if parts and node.get_attr_value("replace_global"):
        _become(ctx, node, "Replace", node.input, _before(parts[:-1], rewrite), part=parts[-1], rewrite=rewrite)


def _split(ctx: Any, node: Any, name: str, args: Any) -> None:
    separator = node.inputs[1]
    if node.get_attr_value("maxsplit") == -1 and separator.is_const() and not separator.get_tensor_value(as_list=False):
        _become(ctx, node, "Split", node.input[:1], _before(_BLANKS, " "))


def _fill_rows(ctx: Any, node: Any, name: str, args: Any) -> None:
    types = node.get_attr_value("row_partition_types")
    if types == [b"FIRST_DIM_SIZE", b"VALUE_ROWIDS"] and [ctx.get_rank(i) for i in node.input[:2]] == [1, 1]:
        _become(ctx, node, "FillRows", node.input)
    else:
        require("tf2onnx.onnx_opset.tensor").RaggedTensorToTensor.version_11(ctx, node)


def _count_in_rows(ctx: Any, node: Any, name: str, args: Any) -> None:
    weights = node.inputs[3]
    if weights.is_const() and not len(weights.get_tensor_value()):
        _become(
            ctx, node, "CountInRows", node.input, reduction="none" if node.get_attr_value("binary_output") else "add"
        )


def _before(parts: Iterable[str], rewrite: str) -> list[dict[str, str]]:
    """Attributes of Replace for each part."""
    return [{"part": part, "rewrite": rewrite} for part in parts]


def _become(
    ctx: Any, node: Any, kind: str, inputs: Sequence[str], before: Sequence[dict[str, str]] = (), **attributes: str
) -> None:
    """Put a node of our domain in the place of one of TensorFlow's.

    Args:
        ctx: tf2onnx's graph.
        node: TensorFlow's.
        kind: name of the function.
        inputs: its inputs.
        before: the attributes of each Replace that its first input goes through.
        attributes: its own.
    """
    (text, *others), outputs, name = inputs, node.output, node.name
    of_text = {"shapes": [ctx.get_shape(text)], "dtypes": [ctx.get_dtype(text)]}
    of_outputs = {"shapes": [ctx.get_shape(o) for o in outputs], "dtypes": [ctx.get_dtype(o) for o in outputs]}
    ctx.remove_node(name)
    for i, replace in enumerate(before):
        made = ctx.make_node("Replace", [text], name=f"{name}_{i}", attr=replace, domain=_DOMAIN, **of_text)
        text = made.output[0]
    ctx.make_node(kind, [text, *others], name=name, outputs=outputs, attr=attributes, domain=_DOMAIN, **of_outputs)


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
    "StringSplitV2": _split,
}
"""TensorFlow operator -> what replaces it, as in operators.py."""
