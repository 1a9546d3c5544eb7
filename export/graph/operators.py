"""TensorFlow operators that tf2onnx doesn't know, written in ONNX's.

A handler gets tf2onnx's (ctx, node, name, args) and replaces the node's outputs; tf2onnx finds it by the
TensorFlow operator's name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import require
from .colours import HANDLERS as COLOURS
from .recurrent import Registry, insert
from .resizing import HANDLERS as RESIZING
from .steps import BOOL, DOUBLE, FLOAT, INT32, INT64, Steps
from .text import HANDLERS as TEXT

Handler = Callable[..., Any]


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
    do = Steps(ctx, node)
    do.last("Sub", do.constant(1), do("Erf", node.input[0]))


def _expm1(ctx: Any, node: Any, name: str, args: Any) -> None:
    """exp(x) - 1; near zero this is off by 1e-7, as far as float32 outputs around 1 are anyway."""
    do = Steps(ctx, node)
    do.last("Sub", do("Exp", node.input[0]), do.constant(1))


def _log1p(ctx: Any, node: Any, name: str, args: Any) -> None:
    """log(1 + x); near zero this is off by 1e-7, as far as float32 outputs around 1 are anyway."""
    do = Steps(ctx, node)
    do.last("Log", do("Add", node.input[0], do.constant(1)))


def _bucketize(ctx: Any, node: Any, name: str, args: Any) -> None:
    """The number of boundaries that are not above x (TensorFlow's std::upper_bound), whole numbers as float32."""
    given = ctx.get_dtype(node.input[0])
    kind = np.float64 if given == DOUBLE else np.float32
    do = Steps(ctx, node)
    if _is_float(given):
        source, of_source = node.input[0], given
    else:
        source, of_source = do("Cast", node.input[0], dtype=FLOAT, to=FLOAT), FLOAT
    last = do.constant([-1], np.int64)
    bounds = do.constant(np.array(node.get_attr_value("boundaries"), np.float32), kind)
    above = do("GreaterOrEqual", do("Unsqueeze", source, last, dtype=of_source), bounds, dtype=BOOL)
    do.last("ReduceSum", do("Cast", above, to=do.dtype), last, keepdims=0)


def _bias_add(ctx: Any, node: Any, name: str, args: Any) -> None:
    """x + bias, with the channels second where data_format says so; tf2onnx asks for a rank that loops don't know."""
    x, bias = node.input
    rank = len(ctx.get_shape(x) or range(4))
    do = Steps(ctx, node)
    if node.get_attr_value("data_format") in (b"NCHW", "NCHW"):
        bias = do("Reshape", bias, do.constant([1, -1] + [1] * (rank - 2), np.int64))
    do.last("Add", x, bias)


def _bitcast(ctx: Any, node: Any, name: str, args: Any) -> None:
    """The bits of a float32 as int32, as far as its sign: all that Keras (ops.argmax, ops.signbit) looks at.

    -1 where the sign is set, also for -0.0, which only its reciprocal gives away; else 0.
    """
    x, types = node.input[0], (ctx.get_dtype(node.input[0]), ctx.get_dtype(node.output[0]))
    if types != (FLOAT, INT32) or not _only_sign_matters(ctx, node):
        return
    do = Steps(ctx, node)
    zero = do.constant(0, np.float32)
    signed = do("Where", do("Equal", x, zero, dtype=BOOL), do("Reciprocal", x, dtype=FLOAT), x, dtype=FLOAT)
    do.last("Neg", do("Cast", do("Less", signed, zero, dtype=BOOL), to=INT32))


def _only_sign_matters(ctx: Any, node: Any) -> bool:
    """Whether all that reads the node takes only the highest bit of it."""
    readers = ctx.find_output_consumers(node.output[0])
    masks = [i for r in readers for i in r.inputs if r.type == "BitwiseAnd" and i.is_const()]
    return len(masks) == len(readers) and all(m.get_tensor_value() == np.iinfo(np.int32).min for m in masks)


def _floor_mod(ctx: Any, node: Any, name: str, args: Any) -> None:
    """The remainder with the divisor's sign; tf2onnx's has the dividend's for whole numbers."""
    (x, y), do = node.input, Steps(ctx, node)
    if not _is_float(do.dtype):
        do.last("Mod", x, y)
        return
    rest = do("Mod", x, y, fmod=1)
    other = do("Less", do("Mul", do("Sign", rest), do("Sign", y)), do.constant(0), dtype=BOOL)
    do.last("Where", other, do("Add", rest, y), rest)


def _floor_div(ctx: Any, node: Any, name: str, args: Any) -> None:
    """The quotient rounded down; tf2onnx rounds whole numbers towards zero."""
    (x, y), do = node.input, Steps(ctx, node)
    if _is_float(do.dtype):
        do.last("Floor", do("Div", x, y))
    else:
        do.last("Div", do("Sub", x, do("Mod", x, y)), y)


def _is_float(dtype: int) -> bool:
    return require("onnx").helper.tensor_dtype_to_np_dtype(dtype).kind == "f"


def _one_hot(ctx: Any, node: Any, name: str, args: Any) -> None:
    """1 where an index equals a position: a negative one is nowhere, where ONNX's OneHot counts from the end."""
    indices, depth, on, off = node.input
    given, kind = ctx.get_shape(indices), ctx.get_dtype(indices)
    if given is None:
        return
    axis = node.get_attr_value("axis")
    behind = len(given) - axis % (len(given) + 1)
    do = Steps(ctx, node, kind)
    positions = do("Range", do.constant(0), do("Cast", depth, to=kind), do.constant(1))
    if behind:
        positions = do("Unsqueeze", positions, do.constant(np.arange(1, behind + 1), np.int64))
    wide = do("Unsqueeze", indices, do.constant([axis], np.int64))
    do.last("Where", do("Equal", wide, positions, dtype=BOOL), on, off)


def _sparse_matmul(ctx: Any, node: Any, name: str, args: Any) -> None:
    """A product of matrices of which TensorFlow knows that many values are 0 (LocallyConnected, implementation 2)."""
    (a, b), do = node.input, Steps(ctx, node)
    a = do("Transpose", a, perm=[1, 0]) if node.get_attr_value("transpose_a") else a
    b = do("Transpose", b, perm=[1, 0]) if node.get_attr_value("transpose_b") else b
    do.last("MatMul", a, b)


def _sparse_dense_matmul(ctx: Any, node: Any, name: str, args: Any) -> None:
    """A matrix given by its non-zero values, made whole and multiplied (LocallyConnected, implementation 3)."""
    (indices, values, sizes, b), do = node.input, Steps(ctx, node)
    a = do("ScatterND", do("Expand", do.constant(0), sizes), indices, values)
    a = do("Transpose", a, perm=[1, 0]) if node.get_attr_value("adjoint_a") else a
    b = do("Transpose", b, perm=[1, 0]) if node.get_attr_value("adjoint_b") else b
    do.last("MatMul", a, b)


def _scatter(ctx: Any, node: Any, name: str, args: Any) -> None:
    """tf.scatter_nd; values of one index are added up, where ONNX's own operator keeps one of them."""
    (indices, values, sizes), do = node.input, Steps(ctx, node)
    indices, sizes = (do("Cast", x, to=INT64, dtype=INT64) for x in (indices, sizes))
    added = {"reduction": "add"} if ctx.opset >= 16 else {}
    do.last("ScatterND", do("Expand", do.constant(0), sizes), indices, values, **added)


def _select(ctx: Any, node: Any, name: str, args: Any) -> None:
    """tf.where; tf2onnx would add products with 0 and 1, which are no number where what is not taken is infinite.

    Of whole numbers those would be right, but seven nodes: Keras 3 puts a tf.where before each Embedding.
    """
    if _is_float(dtype := ctx.get_dtype(node.output[0])) or dtype in (INT32, INT64):
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
    do = Steps(ctx, node)
    last = do.constant([-1], np.int64)
    length = do.constant(np.reshape(source.inputs[1].get_tensor_value(), ()), np.int64)
    wide = do("Unsqueeze", source.input[0], last)
    parts = do("DFT", wide, length, axis=len(sizes) - 1, onesided=1)
    if node.type == "ComplexAbs":
        do.last("ReduceL2", parts, last, keepdims=0)
    else:
        do.last("Gather", parts, do.constant(_OF_SPECTRUM.index(node.type), np.int64), axis=-1)


_OF_SPECTRUM = ("Real", "Imag", "ComplexAbs")
"""TensorFlow's operators on complex numbers that are known; the first two in the order of ONNX's axis."""


def _matrix_diag(ctx: Any, node: Any, name: str, args: Any) -> None:
    """A matrix with the values on its diagonal, by broadcasting; tf2onnx's loses the batch where it has one sample."""
    constants = [i.get_tensor_value(as_list=False) if i.is_const() else None for i in node.inputs[1:]]
    if any(c is None or c.size != 1 for c in constants) or [int(c) for c in constants[:3]] not in ([], [0, -1, -1]):
        require("tf2onnx.onnx_opset.tensor").MatrixDiag.version_12(ctx, node)
        return
    source, dtype = node.input[0], ctx.get_dtype(node.output[0])
    do = Steps(ctx, node, INT64)
    padding = constants[3].reshape(()) if constants else np.zeros((), np.float32)
    first, last = do.constant([0]), do.constant([-1])
    length = do("Gather", do("Shape", source), do.constant(-1))
    places = do("Range", do.constant(0), length, do.constant(1))
    here = do("Equal", do("Unsqueeze", places, last), do("Unsqueeze", places, first), dtype=BOOL)
    do.last("Where", here, do("Unsqueeze", source, last, dtype=dtype), do.constant(padding, padding.dtype))


def _batch_norm(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Also where the model calls it with training=True, as GANs do: by the mean and variance of the batch itself."""
    if node.get_attr_value("is_training", True):
        node.set_attr("exponential_avg_factor", 1.0)  # without which tf2onnx takes the stored ones
    require("tf2onnx.onnx_opset.nn").BatchNorm.version_9(ctx, node)


def _conv_transpose(ctx: Any, node: Any, name: str, args: Any) -> None:
    """With channels second also where the batch is free: tf2onnx then takes them for a side of the picture."""
    if node.data_format.startswith("NC"):
        rank = len(ctx.get_shape(node.input[2]))
        back, last = [0, rank - 1, *range(1, rank - 1)], [0, *range(2, rank), 1]
        for key in ("strides", "dilations"):
            if values := node.get_attr_value(key):
                node.set_attr(key, [values[axis] for axis in last])
        node.set_attr("data_format", "NDHWC" if rank == 5 else "NHWC")
        given, dtype = ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0])
        turned = [given[axis] for axis in last]
        if min(turned[1:]) > 0:
            sizes = ctx.make_const(f"{name}_sizes", np.array(turned, np.int32))
        else:
            order = ctx.make_const(f"{name}_order", np.array(last, np.int64)).output[0]
            sizes = ctx.make_node("Gather", [node.input[0], order], dtypes=[ctx.get_dtype(node.input[0])])
        taken = ctx.make_node("Transpose", [node.input[2]], attr={"perm": last}, dtypes=[dtype])
        ctx.set_shape(taken.output[0], [ctx.get_shape(node.input[2])[axis] for axis in last])
        ctx.replace_inputs(node, [sizes.output[0], node.input[1], taken.output[0]])
        ctx.set_shape(node.output[0], turned)
        readers = ctx.find_output_consumers(node.output[0])
        made = ctx.make_node("Transpose", [node.output[0]], attr={"perm": back}, shapes=[given], dtypes=[dtype])
        ctx.replace_all_inputs(node.output[0], made.output[0], ops=readers)
    require("tf2onnx.onnx_opset.nn").ConvTranspose.version_11(ctx, node)


HANDLERS: dict[str, Handler] = {
    "BiasAdd": _bias_add,
    "Bitcast": _bitcast,
    "Bucketize": _bucketize,
    "ComplexAbs": _of_spectrum,
    "Conv2DBackpropInput": _conv_transpose,
    "Conv3DBackpropInputV2": _conv_transpose,
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
    "ScatterNd": _scatter,
    "SparseMatMul": _sparse_matmul,
    "SparseTensorDenseMatMul": _sparse_dense_matmul,
}
"""TensorFlow operator -> what replaces it."""
