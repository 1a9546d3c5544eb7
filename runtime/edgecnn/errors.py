"""The exceptions that edgecnn raises.

EdgeCNNError
├── InputError (ValueError)         what the caller passed can't be used; other inputs may be fine
│   ├── ImageError                  an image that can't be read or decoded
│   ├── TableError                  a table or a row of it
│   ├── SourceError                 a file, folder, video or camera that isn't there or can't be opened
│   └── SpecError                   a recipe that contradicts itself or that this version doesn't know
├── ModelError                      a model file that can't be used
├── DeviceError                     a provider that was asked for and is not really there
├── MissingDependencyError (ImportError)
└── VerificationError               a converted model that differs from its source

Every class has a `code`, the short name that JSON results carry.
"""

from __future__ import annotations


class EdgeCNNError(Exception):
    """Base of every error that edgecnn raises on purpose."""

    code = "error"
    """Short stable name, as in `{"error": {"code": ...}}`."""


class InputError(EdgeCNNError, ValueError):
    """Wrong input: the message says what came, what was expected and what to do."""

    code = "bad_input"


class ImageError(InputError):
    """An image that can't be read or decoded, or whose shape or type doesn't fit."""

    code = "unreadable_image"


class TableError(InputError):
    """A CSV or a row of it that doesn't fit the model's columns."""

    code = "bad_row"


class SourceError(InputError):
    """A source that isn't there: a missing file, an empty folder, a camera that can't be opened.

    The place that raises may give a closer `code`, since a missing file and a busy camera need different care.
    """

    code = "missing_source"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class SpecError(InputError):
    """A recipe that contradicts itself, is out of range, or comes from a newer edgecnn."""

    code = "bad_recipe"


class ModelError(EdgeCNNError):
    """A model file that is missing, is no ONNX file, carries no recipe or can't be loaded."""

    code = "bad_model"


class DeviceError(EdgeCNNError):
    """The device that was asked for is not available, or onnxruntime fell back to another one."""

    code = "no_device"


class MissingDependencyError(EdgeCNNError, ImportError):
    """A package that this step needs is not installed; the message is the command that mends it."""

    code = "missing_dependency"


class VerificationError(EdgeCNNError):
    """A converted model whose outputs differ from its source by more than the tolerance."""

    code = "verification_failed"
