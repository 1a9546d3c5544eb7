"""Starts TensorFlow for training: quietly, on Keras's TensorFlow backend, and so that a seed decides everything.

What TensorFlow prints at its start is caught, and shown only where the import fails.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings

from edgecnn.errors import EdgeCNNError, MissingDependencyError
from edgecnn.export.backend import stderr_aside

INSTALL = "python -m pip install 'edgecnn[train]'"


def start(seed: int) -> None:
    """Import TensorFlow and Keras; same seed, same result on a CPU.

    Raises:
        MissingDependencyError: one of them is missing; the message is the pip command.
        EdgeCNNError: Keras already runs on another backend in this process.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    first = "tensorflow" not in sys.modules
    try:
        with stderr_aside() if first else contextlib.nullcontext(), warnings.catch_warnings():
            # Deprecations inside other people's packages are theirs to mend.
            warnings.simplefilter("ignore")
            import keras
            import sklearn.model_selection  # noqa: F401
            import tensorflow as tf

            tf.config.list_physical_devices()
    except ImportError as e:
        raise MissingDependencyError(f"training needs {e.name or 'TensorFlow'} ({e}); {INSTALL}") from e
    if keras.backend.backend() != "tensorflow":
        raise EdgeCNNError(f"Keras runs on {keras.backend.backend()} in this process; train in a process of its own")
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
