"""Whose preprocess_input a Lambda layer calls: that of one of the networks of keras.applications.

Files of Keras 1 and 2 hold its code, and with it where that came from; those of Keras 3 only say what it's called, but
mostly hold the network that it prepares images for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_MODULES = (
    "inception_resnet_v2", "inception_v3", "efficientnet_v2", "efficientnet", "mobilenet_v3", "mobilenet_v2",
    "mobilenet", "resnet_v2", "resnet50", "resnet", "convnext", "densenet", "xception", "nasnet", "vgg16", "vgg19",
)  # fmt: skip
"""Modules of keras.applications; where the name of one begins with another's, the longer is first."""

_DEPTH = re.compile(r"(?<=resnet)\d+(?=v2)")
"""What stands within the name of a network, as in resnet50v2."""

_SOURCE = re.compile(rb"applications[/\\](\w+)\.py")
"""Where code is from."""

_FUNCTION = "preprocess_input"
"""What they all call it."""


def by_code(codes: Iterable[bytes]) -> str | None:
    """'vgg16.preprocess_input(x)' where that function itself is a Lambda layer's code; None for others."""
    sources = [found[1].decode() for code in codes if _FUNCTION.encode() in code and (found := _SOURCE.search(code))]
    return next((f"{source}.{_FUNCTION}(x)" for source in sources if source in _MODULES), None)


def by_name(codes: Iterable[bytes], names: Iterable[str]) -> str | None:
    """'vgg16.preprocess_input(x)' for a Lambda layer that calls such a function; None for others.

    Args:
        codes: the layer's bytecode, or the name of its function.
        names: those of the layer and of the models in the file.
    """
    if not any(_FUNCTION.encode() in code for code in codes):
        return None
    plain = [_DEPTH.sub("", name.lower().replace("_", "")) for name in names]
    built = [m for name in plain for m in _MODULES if name.startswith(m.replace("_", ""))]
    return f"{[*built, 'vgg16'][0]}.{_FUNCTION}(x)"
