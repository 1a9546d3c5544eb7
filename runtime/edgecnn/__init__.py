"""edgecnn: image and table classifiers from Keras to a device, with the training pixels inside the model.

import edgecnn

predictor = edgecnn.Predictor("model.onnx")
result = predictor.predict("photo.jpg")
print(result.label, result.score)
"""

import importlib.util as _importlib_util
import sys as _sys

from ._core import __version__
from .decode import decode
from .errors import (
    DeviceError,
    EdgeCNNError,
    ImageError,
    InputError,
    MissingDependencyError,
    ModelError,
    SourceError,
    SpecError,
    TableError,
    VerificationError,
)
from .predictor import Prediction, Predictor
from .preprocess import preprocess, preprocess_batch
from .presets import PRESETS
from .session import INSTALL_HINT as _INSTALL_HINT
from .spec import ColumnSpec, ModelSpec, PixelSpec, TableSpec

__all__ = [
    "PRESETS",
    "ColumnSpec",
    "DeviceError",
    "EdgeCNNError",
    "ImageError",
    "InputError",
    "MissingDependencyError",
    "ModelError",
    "ModelSpec",
    "PixelSpec",
    "Prediction",
    "Predictor",
    "SourceError",
    "SpecError",
    "TableError",
    "TableSpec",
    "VerificationError",
    "__version__",
    "decode",
    "preprocess",
    "preprocess_batch",
]

if _importlib_util.find_spec("onnxruntime") is None:
    print(f"edgecnn: no onnxruntime found, so no model can run; {_INSTALL_HINT}", file=_sys.stderr)
