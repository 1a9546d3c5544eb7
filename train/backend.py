"""Starts TensorFlow for training: quietly, on Keras's TensorFlow backend, and so that a seed decides everything.

TensorFlow's C++ start-up notes pass every log level on their way to file descriptor 2, so that descriptor is set
aside during the import; what was caught is shown only where the import fails.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator

from edgecnn.errors import EdgeCNNError, MissingDependencyError

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
        with _stderr_aside() if first else contextlib.nullcontext(), warnings.catch_warnings():
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


@contextlib.contextmanager
def _stderr_aside() -> Iterator[None]:
    """Catch file descriptor 2 in a file; show what it caught only where the block raises."""
    sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:
        yield
        return
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        except BaseException:
            caught.seek(0)
            os.write(saved, caught.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
