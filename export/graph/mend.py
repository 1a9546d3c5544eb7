"""Puts right what tf2onnx 1.17 writes wrongly, or so that onnxruntime computes it coarsely."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backend import require

_LARGE_AREA = 256
"""Values from which a mean is taken axis by axis."""


def mend(model: Any) -> None:
    """Mend an onnx.ModelProto in place.

    A transposed convolution whose output is larger than its input explains gets negative pads, where ONNX has
    output_padding; a grouped Conv3D keeps the one group of an ordinary one; nearest neighbours get a rule that was
    taken out of ONNX, of which onnxruntime warns at each load; a resize to a size gets empty scales; and means of
    large areas are taken at once, see _mean_axis_by_axis.
    """
    onnx = require("onnx")
    constants = {t.name: t for t in model.graph.initializer}
    weights = {name: tuple(t.dims) for name, t in constants.items()}
    shapes: dict[str, Any] = {}
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    for node in model.graph.node:
        attributes = {a.name: a for a in node.attribute}
        pads = attributes.get("pads")
        if node.op_type == "ConvTranspose" and pads is not None and any(p < 0 for p in pads.ints):
            # tf2onnx spreads what is missing over both ends; TensorFlow adds it behind.
            half = len(pads.ints) // 2
            total = [before + behind for before, behind in zip(pads.ints[:half], pads.ints[half:], strict=True)]
            added = [max(0, -t) for t in total]
            pads.ints[:] = [0 if total[i % half] <= 0 else p for i, p in enumerate(pads.ints)]
            node.attribute.append(onnx.helper.make_attribute("output_padding", added))
        rule = attributes.get("coordinate_transformation_mode")
        if node.op_type == "Resize" and rule is not None and rule.s == b"tf_half_pixel_for_nn":
            scales = constants.get(node.input[2]) if len(node.input) == 3 else None
            if scales is not None and not np.any(onnx.numpy_helper.to_array(scales) % 1):
                rule.s = b"asymmetric"  # the same pixels at whole multiples
        if node.op_type == "Resize" and len(node.input) == 4:
            # An input that is there and empty would be one more number to convert, for fp16.
            node.input[1:3] = ["" if weights.get(name) == (0,) else name for name in node.input[1:3]]
        if node.op_type == "Conv" and len(weights.get(node.input[1], ())) == 5:
            shapes = shapes or _shapes(model)
            inputs, of_one_group = shapes.get(node.input[0], (0, 0))[1], weights[node.input[1]][1]
            if inputs > of_one_group:
                if "group" in attributes:
                    node.attribute.remove(attributes["group"])
                node.attribute.append(onnx.helper.make_attribute("group", inputs // of_one_group))
    _mean_axis_by_axis(model, constants, shapes, opset)


def _mean_axis_by_axis(model: Any, constants: Mapping[str, Any], shapes: Mapping[str, Any], opset: int) -> None:
    """Take the mean of a large area of each row first: onnxruntime (1.31) adds the values up in one go.

    Of 49,284 equal ones its sum is off by 1e-4, Keras's by 1e-5.
    """
    onnx = require("onnx")
    kinds = ("GlobalAveragePool", "ReduceMean")
    for place, node in reversed([(i, n) for i, n in enumerate(model.graph.node) if n.op_type in kinds]):
        shapes = shapes or _shapes(model)
        sizes, keep = shapes.get(node.input[0], ()), 1
        if node.op_type == "GlobalAveragePool":
            axes = list(range(2, len(sizes)))
        else:
            attributes = {a.name: a for a in node.attribute}
            keep = attributes["keepdims"].i if "keepdims" in attributes else 1
            given = constants.get(node.input[1]) if len(node.input) > 1 else None
            axes = list(attributes["axes"].ints) if "axes" in attributes else []
            axes = axes if given is None else onnx.numpy_helper.to_array(given).tolist()
        axes = sorted((a % len(sizes) for a in axes), reverse=True) if sizes else []
        if len(axes) < 2 or np.prod([sizes[a] for a in axes], dtype=np.int64) <= _LARGE_AREA:
            continue
        tensors = [node.input[0], *(f"{node.output[0]}_of_axis_{a}" for a in axes[:-1]), node.output[0]]
        for number, axis in enumerate(axes):
            name = f"{node.name}_axis_{axis}"
            options = {"axes": [axis]} if opset < 18 else {}
            inputs = [tensors[number], *([name] if opset >= 18 else [])]
            step = onnx.helper.make_node("ReduceMean", inputs, [tensors[number + 1]], name, keepdims=keep, **options)
            model.graph.node.insert(place + number, step)
            if opset >= 18:
                model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([axis]), name))
        model.graph.node.remove(node)


def _shapes(model: Any) -> dict[str, list[int]]:
    """Name of a tensor -> its shape, 0 where free, as far as ONNX infers it."""
    inferred = require("onnx").shape_inference.infer_shapes(model).graph
    values = [*inferred.value_info, *inferred.input]
    return {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}
