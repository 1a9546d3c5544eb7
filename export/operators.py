"""TensorFlow operators that tf2onnx doesn't know, written in ONNX's.

A handler gets tf2onnx's (ctx, node, name, args) and replaces the node's outputs; tf2onnx finds it by the
TensorFlow operator's name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .backend import require
from .colours import HANDLERS as COLOURS
from .recurrent import Registry, insert
from .resizing import HANDLERS as RESIZING
from .steps import Steps
from .text import HANDLERS as TEXT

Handler = Callable[..., Any]

_INT64, _BOOL = 7, 9
"""ONNX's numbers of types."""


def handlers(layers: Registry) -> dict[str, tuple[Handler, list[Any]]]:
    """TensorFlow operator -> (handler, extra arguments), as tf2onnx wants them.

    Args:
        layers: the marks of recurrent layers.
    """

    # tf2onnx would take a first extra argument for the name of an ONNX operator.
    def call(ctx: Any, node: Any, name: str, args: Any) -> None:
        insert(ctx, node, name, layers)

    calls = {name: (call, []) for name in ("PartitionedCall", "StatefulPartitionedCall")}
    return {name: (handler, []) for name, handler in (HANDLERS | COLOURS | RESIZING | TEXT).items()} | (
        calls if layers else {}
    )


def _erfc(ctx: Any, node: Any, name: str, args: Any) -> None:
    """erfc(x) = 1 - erf(x); inside gelu, the one place where Keras has it, nothing is lost."""
    shape, dtype = ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0])
    source = node.input[0]
    ctx.remove_node(name)
    erf = ctx.make_node("Erf", [source], name=name + "_erf", shapes=[shape], dtypes=[dtype])
    one = ctx.make_const(name + "_one", np.array(1, np.float32))
    ctx.make_node("Sub", [one.output[0], erf.output[0]], name=name, outputs=node.output, shapes=[shape], dtypes=[dtype])


def _expm1(ctx: Any, node: Any, name: str, args: Any) -> None:
    """exp(x) - 1; near zero this is off by 1e-7, as far as float32 outputs around 1 are anyway."""
    shape, dtype = ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0])
    source = node.input[0]
    ctx.remove_node(name)
    exp = ctx.make_node("Exp", [source], name=name + "_exp", shapes=[shape], dtypes=[dtype])
    one = ctx.make_const(name + "_one", np.array(1, np.float32))
    ctx.make_node("Sub", [exp.output[0], one.output[0]], name=name, outputs=node.output, shapes=[shape], dtypes=[dtype])


def _bucketize(ctx: Any, node: Any, name: str, args: Any) -> None:
    """The number of boundaries that are not above x (TensorFlow's std::upper_bound), whole numbers as float32."""
    shape, dtype = ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0])
    source, given = node.input[0], ctx.get_dtype(node.input[0])
    kind = np.float64 if given == 11 else np.float32
    bounds = ctx.make_const(name + "_bounds", np.array(node.get_attr_value("boundaries"), np.float32).astype(kind))
    ctx.remove_node(name)
    if not _is_float(given):
        source = ctx.make_node("Cast", [source], name=name + "_float", attr={"to": 1}, dtypes=[1]).output[0]
    last = ctx.make_const(name + "_last", np.array([-1], np.int64))
    wide = ctx.make_node("Unsqueeze", [source, last.output[0]], name=name + "_wide")
    above = ctx.make_node("GreaterOrEqual", [wide.output[0], bounds.output[0]], name=name + "_above")
    ones = ctx.make_node("Cast", [above.output[0]], name=name + "_ones", attr={"to": dtype})
    ctx.make_node(
        "ReduceSum",
        [ones.output[0], last.output[0]],
        name=name,
        outputs=node.output,
        attr={"keepdims": 0},
        shapes=[shape],
        dtypes=[dtype],
    )


def _bias_add(ctx: Any, node: Any, name: str, args: Any) -> None:
    """x + bias, with the channels second where data_format says so; tf2onnx asks for a rank that loops don't know."""
    shape, dtype = ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0])
    (x, bias), outputs = node.input, node.output
    first = node.get_attr_value("data_format") in (b"NCHW", "NCHW")
    rank = len(ctx.get_shape(x) or range(4))
    ctx.remove_node(name)
    if first:
        sizes = ctx.make_const(name + "_sizes", np.array([1, -1] + [1] * (rank - 2), np.int64))
        bias = ctx.make_node("Reshape", [bias, sizes.output[0]], name=name + "_bias").output[0]
    ctx.make_node("Add", [x, bias], name=name, outputs=outputs, shapes=[shape], dtypes=[dtype])


def _log1p(ctx: Any, node: Any, name: str, args: Any) -> None:
    """log(1 + x); near zero this is off by 1e-7, as far as float32 outputs around 1 are anyway."""
    shape, dtype = ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0])
    source = node.input[0]
    ctx.remove_node(name)
    one = ctx.make_const(name + "_one", np.array(1, np.float32))
    sum_ = ctx.make_node("Add", [source, one.output[0]], name=name + "_sum", shapes=[shape], dtypes=[dtype])
    ctx.make_node("Log", [sum_.output[0]], name=name, outputs=node.output, shapes=[shape], dtypes=[dtype])


def _bitcast(ctx: Any, node: Any, name: str, args: Any) -> None:
    """The bits of a float32 as int32, as far as its sign: all that Keras (ops.argmax, ops.signbit) looks at.

    -1 where the sign is set, also for -0.0, which only its reciprocal gives away; else 0.
    """
    shape, dtype = ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0])
    if (ctx.get_dtype(node.input[0]), dtype) != (1, 6) or not _only_sign_matters(ctx, node):
        return
    source, outputs = node.input[0], node.output
    ctx.remove_node(name)
    zero = ctx.make_const(name + "_zero", np.array(0, np.float32)).output[0]
    reciprocal = ctx.make_node("Reciprocal", [source], name=name + "_reciprocal").output[0]
    is_zero = ctx.make_node("Equal", [source, zero], name=name + "_equal").output[0]
    signed = ctx.make_node("Where", [is_zero, reciprocal, source], name=name + "_signed").output[0]
    negative = ctx.make_node("Less", [signed, zero], name=name + "_negative").output[0]
    number = ctx.make_node("Cast", [negative], name=name + "_number", attr={"to": dtype}, dtypes=[dtype]).output[0]
    ctx.make_node("Neg", [number], name=name, outputs=outputs, shapes=[shape], dtypes=[dtype])


def _only_sign_matters(ctx: Any, node: Any) -> bool:
    """Whether all that reads the node takes only the highest bit of it."""
    readers = ctx.find_output_consumers(node.output[0])
    masks = [i for r in readers for i in r.inputs if r.type == "BitwiseAnd" and i.is_const()]
    return len(masks) == len(readers) and all(m.get_tensor_value() == np.iinfo(np.int32).min for m in masks)


def _floor_mod(ctx: Any, node: Any, name: str, args: Any) -> None:
    """The remainder with the divisor's sign; tf2onnx's has the dividend's for whole numbers."""
    shape, dtype = ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0])
    (x, y), outputs = node.input, node.output
    ctx.remove_node(name)
    if not _is_float(dtype):
        ctx.make_node("Mod", [x, y], name=name, outputs=outputs, shapes=[shape], dtypes=[dtype])
        return
    rest = ctx.make_node("Mod", [x, y], name=name + "_rest", attr={"fmod": 1}).output[0]
    signs = [ctx.make_node("Sign", [v], name=name + s).output[0] for v, s in ((rest, "_of_rest"), (y, "_of_divisor"))]
    product = ctx.make_node("Mul", signs, name=name + "_signs").output[0]
    zero = ctx.make_const(name + "_zero", _array(0, dtype)).output[0]
    other = ctx.make_node("Less", [product, zero], name=name + "_other").output[0]
    moved = ctx.make_node("Add", [rest, y], name=name + "_moved").output[0]
    ctx.make_node("Where", [other, moved, rest], name=name, outputs=outputs, shapes=[shape], dtypes=[dtype])


def _floor_div(ctx: Any, node: Any, name: str, args: Any) -> None:
    """The quotient rounded down; tf2onnx rounds whole numbers towards zero."""
    shape, dtype = ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0])
    (x, y), outputs = node.input, node.output
    ctx.remove_node(name)
    if _is_float(dtype):
        quotient = ctx.make_node("Div", [x, y], name=name + "_quotient").output[0]
        ctx.make_node("Floor", [quotient], name=name, outputs=outputs, shapes=[shape], dtypes=[dtype])
        return
    rest = ctx.make_node("Mod", [x, y], name=name + "_rest").output[0]
    whole = ctx.make_node("Sub", [x, rest], name=name + "_whole").output[0]
    ctx.make_node("Div", [whole, y], name=name, outputs=outputs, shapes=[shape], dtypes=[dtype])


def _is_float(dtype: int) -> bool:
    return _array(0, dtype).dtype.kind == "f"


def _array(value: float, dtype: int) -> Any:
    """A number in one of ONNX's element types."""
    return np.array(value, require("onnx").helper.tensor_dtype_to_np_dtype(dtype))


def _one_hot(ctx: Any, node: Any, name: str, args: Any) -> None:
    """1 where an index equals a position: a negative one is nowhere, where ONNX's OneHot counts from the end."""
    shape, dtype = ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0])
    indices, depth, on, off = node.input
    given, kind = ctx.get_shape(indices), ctx.get_dtype(indices)
    if given is None:
        return
    rank, axis, outputs = len(given), node.get_attr_value("axis"), node.output
    behind = rank - axis % (rank + 1)
    ctx.remove_node(name)
    bounds = [ctx.make_const(f"{name}_{n}", _array(n, kind)).output[0] for n in (0, 1)]
    depth = ctx.make_node("Cast", [depth], name=name + "_depth", attr={"to": kind}, dtypes=[kind]).output[0]
    positions = ctx.make_node("Range", [bounds[0], depth, bounds[1]], name=name + "_positions", dtypes=[kind]).output[0]
    if behind:
        axes = ctx.make_const(name + "_behind", np.arange(1, behind + 1)).output[0]
        positions = ctx.make_node("Unsqueeze", [positions, axes], name=name + "_aligned").output[0]
    where = ctx.make_const(name + "_axis", np.array([axis], np.int64)).output[0]
    wide = ctx.make_node("Unsqueeze", [indices, where], name=name + "_wide").output[0]
    equal = ctx.make_node("Equal", [wide, positions], name=name + "_equal").output[0]
    ctx.make_node("Where", [equal, on, off], name=name, outputs=outputs, shapes=[shape], dtypes=[dtype])


def _sparse_matmul(ctx: Any, node: Any, name: str, args: Any) -> None:
    """A product of matrices of which TensorFlow knows that many values are 0 (LocallyConnected, implementation 2)."""
    shape, dtype = ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0])
    turns = [node.get_attr_value(key) for key in ("transpose_a", "transpose_b")]
    factors = [_turned(ctx, f"{name}_{i}", node.input[i]) if turn else node.input[i] for i, turn in enumerate(turns)]
    outputs = node.output
    ctx.remove_node(name)
    ctx.make_node("MatMul", factors, name=name, outputs=outputs, shapes=[shape], dtypes=[dtype])


def _sparse_dense_matmul(ctx: Any, node: Any, name: str, args: Any) -> None:
    """A matrix given by its non-zero values, made whole and multiplied (LocallyConnected, implementation 3)."""
    shape, dtype = ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0])
    indices, values, sizes, dense = node.input
    zero = ctx.make_const(name + "_zero", np.array(0, np.float32)).output[0]
    zeros = ctx.make_node("Expand", [zero, sizes], name=name + "_zeros").output[0]
    whole = ctx.make_node("ScatterND", [zeros, indices, values], name=name + "_whole", dtypes=[dtype]).output[0]
    if node.get_attr_value("adjoint_a"):
        whole = _turned(ctx, name + "_a", whole)
    if node.get_attr_value("adjoint_b"):
        dense = _turned(ctx, name + "_b", dense)
    outputs = node.output
    ctx.remove_node(name)
    ctx.make_node("MatMul", [whole, dense], name=name, outputs=outputs, shapes=[shape], dtypes=[dtype])


def _select(ctx: Any, node: Any, name: str, args: Any) -> None:
    """tf.where; tf2onnx would add products with 0 and 1, which are no number where what is not taken is infinite."""
    if _is_float(ctx.get_dtype(node.output[0])):
        node.set_attr("handles_nan", True)
    require("tf2onnx.onnx_opset.controlflow").Select.version_9(ctx, node)


def _rfft(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Left for those below, which look through it, where they alone read it."""
    if any(reader.type not in _OF_SPECTRUM for reader in ctx.find_output_consumers(node.output[0])):
        require("tf2onnx.onnx_opset.signal").RFFTOp.version_13(ctx, node)


def _of_spectrum(ctx: Any, node: Any, name: str, args: Any) -> None:
    """What becomes of a Fourier transform's complex numbers; ONNX has both their parts on a last axis."""
    source = node.inputs[0]
    if source.type != "RFFT" and node.type == "ComplexAbs":  # of another transform
        require("tf2onnx.onnx_opset.signal").ComplexAbsOp.version_13(ctx, node)
    if source.type != "RFFT" or not source.inputs[1].is_const() or not (sizes := ctx.get_shape(source.input[0])):
        return
    shape, dtype, outputs = ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0]), node.output
    length = np.array(source.inputs[1].get_tensor_value(), np.int64).reshape(())
    ctx.remove_node(name)
    last = ctx.make_const(name + "_last", np.array([-1])).output[0]
    size = ctx.make_const(name + "_size", length).output[0]
    wide = ctx.make_node("Unsqueeze", [source.input[0], last], name=name + "_wide", dtypes=[dtype]).output[0]
    options = {"axis": len(sizes) - 1, "onesided": 1}
    parts = ctx.make_node("DFT", [wide, size], name=name + "_parts", attr=options, dtypes=[dtype]).output[0]
    to = {"name": name, "outputs": outputs, "shapes": [shape], "dtypes": [dtype]}
    if node.type == "ComplexAbs":
        ctx.make_node("ReduceL2", [parts, last], attr={"keepdims": 0}, **to)
    else:
        which = ctx.make_const(name + "_which", np.array(_OF_SPECTRUM.index(node.type))).output[0]
        ctx.make_node("Gather", [parts, which], attr={"axis": -1}, **to)


_OF_SPECTRUM = ("Real", "Imag", "ComplexAbs")
"""TensorFlow's operators on complex numbers that are known; the first two in the order of ONNX's axis."""


def _matrix_diag(ctx: Any, node: Any, name: str, args: Any) -> None:
    """A matrix with the values on its diagonal, by broadcasting; tf2onnx's loses the batch where it has one sample."""
    constants = [i.get_tensor_value(as_list=False) if i.is_const() else None for i in node.inputs[1:]]
    if any(c is None or c.size != 1 for c in constants) or [int(c) for c in constants[:3]] not in ([], [0, -1, -1]):
        require("tf2onnx.onnx_opset.tensor").MatrixDiag.version_12(ctx, node)
        return
    shape, dtype, outputs = ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0]), node.output
    source = node.input[0]
    ctx.remove_node(name)
    do = Steps(ctx, name, _INT64)
    padding = constants[3].reshape(()) if constants else np.zeros((), np.float32)
    first, last = do.constant([0]), do.constant([-1])
    length = do("Gather", do("Shape", source), do.constant(-1))
    places = do("Range", do.constant(0), length, do.constant(1))
    here = do("Equal", do("Unsqueeze", places, last), do("Unsqueeze", places, first), dtype=_BOOL)
    inputs = [here, do("Unsqueeze", source, last, dtype=dtype), do.constant(padding, padding.dtype)]
    ctx.make_node("Where", inputs, name=name, outputs=outputs, shapes=[shape], dtypes=[dtype])


def _turned(ctx: Any, name: str, matrix: str) -> str:
    """The transposed float32 matrix, by a node of that name."""
    return str(ctx.make_node("Transpose", [matrix], name=name, attr={"perm": [1, 0]}, dtypes=[1]).output[0])


def _batch_norm(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Also where the model calls it with training=True, as GANs do: by the mean and variance of the batch itself."""
    if node.get_attr_value("is_training", True):
        node.set_attr("exponential_avg_factor", 1.0)  # without which tf2onnx takes the stored ones
    require("tf2onnx.onnx_opset.nn").BatchNorm.version_9(ctx, node)


HANDLERS: dict[str, Handler] = {
    "BiasAdd": _bias_add,
    "Bitcast": _bitcast,
    "Bucketize": _bucketize,
    "ComplexAbs": _of_spectrum,
    "Erfc": _erfc,
    "Expm1": _expm1,
    "FloorDiv": _floor_div,
    "FloorMod": _floor_mod,
    "FusedBatchNorm": _batch_norm,
    "FusedBatchNormV2": _batch_norm,
    "FusedBatchNormV3": _batch_norm,
    "Imag": _of_spectrum,
    "Log1p": _log1p,
    "MatrixDiag": _matrix_diag,
    "MatrixDiagV2": _matrix_diag,
    "MatrixDiagV3": _matrix_diag,
    "OneHot": _one_hot,
    "RFFT": _rfft,
    "Real": _of_spectrum,
    "Select": _select,
    "SelectV2": _select,
    "SparseMatMul": _sparse_matmul,
    "SparseTensorDenseMatMul": _sparse_dense_matmul,
}
"""TensorFlow operator -> what replaces it."""
