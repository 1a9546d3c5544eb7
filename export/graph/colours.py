"""TensorFlow's conversions of colours in ONNX's operators: RGB to HSV and back, hue and saturation.

As in TensorFlow's kernels, all of hue, saturation and value lie in [0, 1], and gray has the hue 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .steps import BOOL, Steps

Handler = Callable[..., None]


def _channel(do: Steps, image: str, index: int) -> str:
    return do("Gather", image, do.constant([index], np.int64), axis=-1)


def _to_hsv(do: Steps, image: str) -> tuple[str, str, str]:
    """Hue, saturation and value of (..., 3) RGB, each (..., 1)."""
    red, green, blue = (_channel(do, image, i) for i in range(3))
    zero, one = do.constant(0), do.constant(1)
    value = do("Max", red, green, blue)
    spread = do("Sub", value, do("Min", red, green, blue))
    coloured = do("Greater", spread, zero, dtype=BOOL)
    saturation = do("Where", do("Greater", value, zero, dtype=BOOL), do("Div", spread, value), zero)
    sixth = do("Div", do.constant(1 / 6), do("Where", coloured, spread, one))

    def hue(first: str, second: str, offset: float) -> str:
        return do("Add", do("Mul", sixth, do("Sub", first, second)), do.constant(offset))

    of_green = do("Where", do("Equal", green, value, dtype=BOOL), hue(blue, red, 2 / 6), hue(red, green, 4 / 6))
    turned = do("Where", do("Equal", red, value, dtype=BOOL), hue(green, blue, 0), of_green)
    turned = do("Where", coloured, turned, zero)
    turned = do("Where", do("Less", turned, zero, dtype=BOOL), do("Add", turned, one), turned)
    return turned, saturation, value


def _shares(do: Steps, hue: str) -> list[str]:
    """How much of the way from the least to the most each channel has, by the hue."""
    sixths = do("Mul", hue, do.constant(6))
    shares = []
    for centre, sign, offset in ((3, 1, -1), (2, -1, 2), (4, -1, 2)):
        away = do("Mul", do("Abs", do("Sub", sixths, do.constant(centre))), do.constant(sign))
        shares.append(do("Clip", do("Add", away, do.constant(offset)), do.constant(0), do.constant(1)))
    return shares


def _to_rgb(do: Steps, hue: str, saturation: str, value: str) -> str:
    """(..., 3) RGB of hue, saturation and value."""
    gray = do("Sub", do.constant(1), saturation)
    channels = [do("Mul", do("Add", gray, do("Mul", saturation, s)), value) for s in _shares(do, hue)]
    return do("Concat", *channels, axis=-1)


def _handler(compute: Callable[[Steps, list[str]], str]) -> Handler:
    def handle(ctx: Any, node: Any, name: str, args: Any) -> None:
        do = Steps(ctx, node)
        do.last("Identity", compute(do, list(node.input)))

    return handle


def _adjust_saturation(do: Steps, inputs: list[str]) -> str:
    hue, saturation, value = _to_hsv(do, inputs[0])
    scaled = do("Clip", do("Mul", saturation, inputs[1]), do.constant(0), do.constant(1))
    return _to_rgb(do, hue, scaled, value)


def _adjust_hue(do: Steps, inputs: list[str]) -> str:
    """Between the least and the most of each pixel, which stay as they are, below zero too."""
    hue, _, most = _to_hsv(do, inputs[0])
    least = do("Min", *(_channel(do, inputs[0], i) for i in range(3)))
    moved = do("Add", hue, inputs[1])
    spread, turned = do("Sub", most, least), do("Sub", moved, do("Floor", moved))
    return do("Concat", *(do("Add", least, do("Mul", spread, s)) for s in _shares(do, turned)), axis=-1)


HANDLERS: dict[str, Handler] = {
    "AdjustHue": _handler(_adjust_hue),
    "AdjustSaturation": _handler(_adjust_saturation),
    "HSVToRGB": _handler(lambda do, inputs: _to_rgb(do, *(_channel(do, inputs[0], i) for i in range(3)))),
    "RGBToHSV": _handler(lambda do, inputs: do("Concat", *_to_hsv(do, inputs[0]), axis=-1)),
}
"""TensorFlow operator -> what replaces it, as in operators.py."""
