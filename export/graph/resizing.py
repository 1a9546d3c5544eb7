"""TensorFlow's resizes of images, and patches of them, in ONNX's operators: to known sizes by its own weights."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from ..backend import require
from .steps import FLOAT, Steps


def _by_matrices(ctx: Any, node: Any, name: str, args: Any) -> None:
    """A resize that ONNX has none like (area, bicubic, Lanczos, antialiased) of known sizes, as a matrix for each axis.

    The matrices are what TensorFlow's own operator makes of the unit vectors.
    """
    shape, dtype = ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0])
    given, size = ctx.get_shape(node.input[0]), node.inputs[1]
    if not given or min(given[1:3]) < 1 or not size.is_const():
        return
    rows, columns = (
        ctx.make_const(f"{name}_{axis}", _matrix(node, old, int(new))).output[0]
        for axis, old, new in zip(("rows", "columns"), given[1:3], size.get_tensor_value(), strict=True)
    )
    columns = ctx.make_node("Transpose", [columns], name=name + "_turned", attr={"perm": [1, 0]}).output[0]
    source, outputs = node.input[0], node.output
    ctx.remove_node(name)
    planes = ctx.make_node("Transpose", [source], name=name + "_planes", attr={"perm": [0, 3, 1, 2]}).output[0]
    high = ctx.make_node("MatMul", [rows, planes], name=name + "_high").output[0]
    wide = ctx.make_node("MatMul", [high, columns], name=name + "_wide").output[0]
    back = {"perm": [0, 2, 3, 1]}
    ctx.make_node("Transpose", [wide], name=name, attr=back, outputs=outputs, shapes=[shape], dtypes=[dtype])


def _bicubic(ctx: Any, node: Any, name: str, args: Any) -> None:
    """TensorFlow takes the weights from a table of 1024 places; two, four or eight times as large they are ONNX's."""
    given, size = ctx.get_shape(node.input[0]), node.inputs[1]
    known = given and min(given[1:3]) > 0 and size.is_const()
    if known and any(
        new / old not in (1, 2, 4, 8) for old, new in zip(given[1:3], size.get_tensor_value(), strict=True)
    ):
        _by_matrices(ctx, node, name, args)
    else:
        _plain(ctx, node, name, args)


def _plain(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Bilinear and nearest neighbours, of known sizes by what TensorFlow's own operator takes from where.

    tf2onnx would write ONNX's Resize: its scales, rounded to float32, often lead to one pixel less, and its coordinates
    are off by some 1e-5, which in between two pixels takes the other one. Doubled sizes and the like are exact.
    """
    given, size = ctx.get_shape(node.input[0]), node.inputs[1]
    if not given or min(given[1:3]) < 1 or not size.is_const():
        times = _whole_times(node) if node.type == "ResizeNearestNeighbor" else None
        if times is None:
            require("tf2onnx.onnx_opset.nn").Resize.version_11(ctx, node)
        else:
            _repeat(ctx, node, name, times)
        return
    pairs = [(old, int(new)) for old, new in zip(given[1:3], size.get_tensor_value(), strict=True)]
    nearest = node.type == "ResizeNearestNeighbor"
    if all(new % old == 0 if nearest else new / old in (0.5, 1, 2, 4, 8) for old, new in pairs):
        require("tf2onnx.onnx_opset.nn").Resize.version_11(ctx, node)
        return
    matrices = [_matrix(node, *pair) for pair in pairs]
    x, outputs, shape, dtype = node.input[0], node.output, ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0])
    ctx.remove_node(name)
    sizes = list(given)
    for axis in (1, 2):  # rows first: whole ones are copied fast
        matrix = matrices[axis - 1]
        sizes[axis] = len(matrix)
        options = {"shapes": [list(sizes)], "dtypes": [dtype]}
        near, far = (matrix != 0).argmax(1), matrix.shape[1] - 1 - (matrix != 0)[:, ::-1].argmax(1)
        ends = [
            ctx.make_node("Gather", [x, ctx.make_const(f"{name}_{kind}_{axis}", index).output[0]],
                          name=f"{name}_at_{kind}_{axis}", attr={"axis": axis}, **options).output[0]
            for kind, index in (("near", near), ("far", far))[: 1 if nearest else 2]
        ]  # fmt: skip
        x = ends[0]
        if not nearest:
            weights = np.where(near == far, np.float32(0), matrix[np.arange(len(matrix)), far])
            # Of each channel: onnxruntime spreads numbers over few of them slowly.
            channels = given[3] if axis == 2 and given[3] > 0 else 1
            weights = weights.reshape((-1,) + (1,) * (3 - axis)).repeat(channels, -1)
            part = ctx.make_const(f"{name}_part_{axis}", weights).output[0]
            difference = ctx.make_node("Sub", ends[::-1], name=f"{name}_difference_{axis}", **options).output[0]
            moved = ctx.make_node("Mul", [difference, part], name=f"{name}_moved_{axis}", **options).output[0]
            x = ctx.make_node("Add", [x, moved], name=f"{name}_sum_{axis}", **options).output[0]
    ctx.make_node("Identity", [x], name=name, outputs=outputs, shapes=[shape], dtypes=[dtype])


def _whole_times(node: Any) -> list[int] | None:
    """How many times as high and wide a resize makes an image of free size, as UpSampling2D does; None for others."""
    size = _passing(node.inputs[1], ("Cast", "Identity"))
    constants = [i.get_tensor_value(as_list=False) for i in size.inputs if i.is_const()] if size.type == "Mul" else []
    if len(constants) != 1 or constants[0].shape != (2,) or constants[0].dtype.kind != "i":
        return None
    sizes = _passing(next(i for i in size.inputs if not i.is_const()), ("Cast", "Identity"))
    whole = _passing(sizes.inputs[0], ("Cast", "Identity")) if sizes.type == "Slice" else None
    if whole is None or whole.type != "Shape" or whole.input[0] != node.input[0]:
        return None
    first = sizes.inputs[1]
    rows_and_columns = first.is_const() and first.get_tensor_value(as_list=False).tolist() == [1]
    return [int(n) for n in constants[0]] if rows_and_columns else None


def _passing(node: Any, kinds: Collection[str]) -> Any:
    """Where a value comes from, through operators of these kinds."""
    while node.type in kinds:
        node = node.inputs[0]
    return node


def _repeat(ctx: Any, node: Any, name: str, times: list[int]) -> None:
    """Each pixel that many times, by ONNX's Resize; tf2onnx's has a rule of which onnxruntime warns at each load."""
    shape, dtype = ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0])
    source, outputs = node.input[0], node.output
    ctx.remove_node(name)
    planes = ctx.make_node("Transpose", [source], name=name + "_planes", attr={"perm": [0, 3, 1, 2]}).output[0]
    scales = ctx.make_const(name + "_scales", np.array([1, 1, *times], np.float32)).output[0]
    rule = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    large = ctx.make_node("Resize", [planes, "", scales], name=name + "_large", attr=rule, dtypes=[dtype]).output[0]
    back = {"perm": [0, 2, 3, 1]}
    ctx.make_node("Transpose", [large], name=name, attr=back, outputs=outputs, shapes=[shape], dtypes=[dtype])


def _matrix(node: Any, old: int, new: int) -> Any:
    """(new, old) float32: the node's weights along an axis."""
    tf = require("tensorflow")
    # tf2onnx works inside a graph, where nothing has a value.
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        units, size = np.eye(old, dtype=np.float32)[np.newaxis, :, np.newaxis, :], np.array([new, 1], np.int32)
        if node.type == "ResizeArea":
            corners = bool(node.get_attr_value("align_corners"))
            made = tf.raw_ops.ResizeArea(images=units, size=size, align_corners=corners)
        elif node.type != "ScaleAndTranslate":
            rules = {rule: bool(node.get_attr_value(rule)) for rule in ("align_corners", "half_pixel_centers")}
            made = getattr(tf.raw_ops, node.type)(images=units, size=size, **rules)
        else:
            made = tf.raw_ops.ScaleAndTranslate(
                images=units,
                size=size,
                scale=np.array([np.float32(new) / np.float32(old), 1], np.float32),
                translation=np.zeros(2, np.float32),
                kernel_type=node.get_attr_value("kernel_type").decode(),
                antialias=bool(node.get_attr_value("antialias")),
            )
        return session.run(made)[0, :, 0]


def _patches(ctx: Any, node: Any, name: str, args: Any) -> None:
    """ExtractImagePatches; tf2onnx reckons with sizes that are not known, as that of the batch, as -1."""
    given = ctx.get_shape(node.input[0])
    kernel, strides, rates = (node.get_attr_value(key)[1:3] for key in ("ksizes", "strides", "rates"))
    same = node.get_attr_value("padding") in (b"SAME", "SAME")
    if not given or min(given[1:]) < 1:
        # onnxruntime finds out no padding where steps are left out.
        if ctx.get_dtype(node.input[0]) == FLOAT and not (same and max(rates) > 1):
            _free_patches(ctx, node, kernel, strides, rates, same)
        else:
            require("tf2onnx.onnx_opset.nn").ExtractImagePatches.version_9(ctx, node)
        return
    shape, dtype, outputs, x = ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0]), node.output, node.input[0]
    places, before, behind = [], [0], [0]
    for size, width, stride, rate in zip(given[1:3], kernel, strides, rates, strict=True):
        reach = (width - 1) * rate + 1
        count = -(-size // stride) if same else (size - reach) // stride + 1
        missing = max(0, (count - 1) * stride + reach - size)
        before.append(missing // 2)
        behind.append(missing - missing // 2)
        places.append(np.arange(count)[:, np.newaxis] * stride + np.arange(width) * rate)
    ctx.remove_node(name)
    if any(before + behind):
        pads = ctx.make_const(name + "_pads", np.array([*before, 0, *behind, 0])).output[0]
        x = ctx.make_node("Pad", [x, pads], name=name + "_padded", dtypes=[dtype]).output[0]
    for axis, where in ((1, places[0]), (3, places[1])):
        at = ctx.make_const(f"{name}_places_{axis}", where).output[0]
        x = ctx.make_node("Gather", [x, at], name=f"{name}_at_{axis}", attr={"axis": axis}, dtypes=[dtype]).output[0]
    perm = {"perm": [0, 1, 3, 2, 4, 5]}
    x = ctx.make_node("Transpose", [x], name=name + "_together", attr=perm, dtypes=[dtype]).output[0]
    sizes = np.array([0, len(places[0]), len(places[1]), kernel[0] * kernel[1] * given[3]])
    wanted = ctx.make_const(name + "_sizes", sizes).output[0]
    ctx.make_node("Reshape", [x, wanted], name=name, outputs=outputs, shapes=[shape], dtypes=[dtype])


def _free_patches(ctx: Any, node: Any, kernel: list[int], strides: list[int], rates: list[int], same: bool) -> None:
    """ExtractImagePatches of images of any size, as a convolution that takes each pixel of a patch for a channel."""
    pixels = kernel[0] * kernel[1]
    channels = ctx.get_shape(node.output[0])[3] // pixels
    do = Steps(ctx, node)
    taking = do.constant(np.tile(np.eye(pixels).reshape(pixels, 1, *kernel), (channels, 1, 1, 1)))
    planes = do("Transpose", node.input[0], perm=[0, 3, 1, 2])
    padding = {"auto_pad": "SAME_UPPER" if same else "VALID"}
    taken = do("Conv", planes, taking, group=channels, strides=strides, dilations=rates, **padding)
    taken = do("Reshape", do("Transpose", taken, perm=[0, 2, 3, 1]), _sizes(do, channels, pixels))
    do.last("Reshape", do("Transpose", taken, perm=[0, 1, 2, 4, 3]), _sizes(do, channels * pixels))


def _sizes(do: Steps, *last: int) -> str:
    """The shape of rows and columns of any number, for Reshape."""
    return do.constant([0, 0, 0, *last], np.int64)


def _of_numbers(handler: Callable[..., None]) -> Callable[..., None]:
    """The handler, with whole numbers turned first into what the operator gives, as it does itself."""

    def handle(ctx: Any, node: Any, name: str, args: Any) -> None:
        x, dtype = node.input[0], ctx.get_dtype(node.output[0])
        if ctx.get_dtype(x) != dtype:
            options = {"attr": {"to": dtype}, "shapes": [ctx.get_shape(x)], "dtypes": [dtype]}
            ctx.replace_input(node, x, ctx.make_node("Cast", [x], name=name + "_float", **options).output[0], 0)
        handler(ctx, node, name, args)

    return handle


HANDLERS: dict[str, Callable[..., None]] = {
    "ExtractImagePatches": _patches,
    "ResizeArea": _of_numbers(_by_matrices),
    "ResizeBicubic": _of_numbers(_bicubic),
    "ResizeBilinear": _of_numbers(_plain),
    "ResizeNearestNeighbor": _plain,
    "ScaleAndTranslate": _of_numbers(_by_matrices),
}
"""TensorFlow operator -> what replaces it, as in operators.py."""
