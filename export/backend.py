"""Imports the heavy packages of the export: quietly, once, and with the pip command where one is missing.

TensorFlow's C++ start-up messages go past every log level to file descriptor 2, so that descriptor is
set aside during the import and what was caught is shown only when the import fails.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from edgecnn.errors import EdgeCNNError, MissingDependencyError, ModelError
from edgecnn.session import import_onnxruntime

_Error = TypeVar("_Error", bound=BaseException)

INSTALL = 'python -m pip install "edgecnn[export]"'
"""What mends a missing package of the export; from a checkout: python -m pip install ".[export]"."""

_PASSENGERS = ("sklearn", "matplotlib")
"""Imported by Keras for its scikit-learn wrappers and plots, where they are installed: a third of its start
(1.5 of 4.3 s), and nothing that an export needs."""

_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "ABSL_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
"""Read by TensorFlow and Keras at import; a value that the user has set stays, save for the backend."""


def tensorflow() -> Any:
    """The tensorflow module, imported quietly, on the CPU (a GPU's TF32 would differ from any reference).

    Raises:
        MissingDependencyError: it isn't installed or won't load; the message is the pip command.
        ModelError: Keras already runs on another backend in this process.
    """
    first = "tensorflow" not in sys.modules
    for name, value in _QUIET.items():
        if name == "KERAS_BACKEND":
            os.environ[name] = value
        else:
            os.environ.setdefault(name, value)
    with stderr_aside() if first else contextlib.nullcontext(), _left_out(_PASSENGERS):
        tf = require("tensorflow")
        keras = require("keras")
    if not keras.__version__.startswith("2.") and keras.backend.backend() != "tensorflow":
        raise ModelError(
            f"Keras runs on {keras.backend.backend()} in this process; export in a process of its own, or set "
            "KERAS_BACKEND=tensorflow before keras is imported"
        )
    if first:
        tf.get_logger().setLevel(logging.ERROR)
        logging.getLogger("absl").setLevel(logging.ERROR)
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
    _compute_as_eagerly(tf)
    return tf


@functools.cache
def _compute_as_eagerly(tf: Any) -> None:
    """Let a traced function compute what its layers compute one by one.

    TensorFlow (2.21) fuses some otherwise: of NaN it makes 0 in a Dense with relu, which hides what the mean of a
    text without words is, and BatchNormalization before mish it can't compute at all.
    """
    tf.config.optimizer.set_experimental_options({"remapping": False})


@contextlib.contextmanager
def _left_out(names: Iterable[str]) -> Iterator[None]:
    """Let optional packages look uninstalled inside the block, save for those that are already imported."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def require(name: str) -> Any:
    """Import a module of the export extra.

    Raises:
        MissingDependencyError: it isn't installed or won't load.
    """
    if name.partition(".")[0] == "onnxruntime":
        import_onnxruntime()
    try:
        with warnings.catch_warnings():
            # Deprecations inside other people's packages are theirs to mend.
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError as e:
        raise MissingDependencyError(f"exporting needs {name.split('.')[0]} ({e}); install it: {INSTALL}") from e


def numbers(version: str | None) -> tuple[int, ...]:
    """(2, 2, 4) of '2.2.4-tf', to compare; () where there is none."""
    return tuple(int(n) for n in re.findall(r"\d+", version or "")[:3])


def versions(*names: str) -> dict[str, str]:
    """Distribution -> installed version, for those that are installed."""
    from importlib import metadata

    found = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def cause(error: BaseException, kind: type[_Error]) -> _Error | None:
    """The error of a kind that is behind an error, where the libraries between have wrapped it; the first one."""
    found, step = None, error
    seen: set[int] = set()
    while step is not None and id(step) not in seen:
        seen.add(id(step))
        found = step if isinstance(step, kind) else found
        step = step.__cause__ or step.__context__
    return found


def reason(error: BaseException) -> str:
    """What an error of TensorFlow, Keras or onnxruntime says, on one line: their texts hold whole tracebacks."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    if isinstance(error, EdgeCNNError):
        return text
    if "Table not initialized" in text:
        return "a lookup or text layer has lost its words, which HDF5 does not keep: save the model as .keras"
    if re.match(r"A total of \d+ objects could not be loaded[^\n]*\n\n[^\n]* received 0 variables", text):
        layers = list(dict.fromkeys(re.findall(r"<\w+ name=([^,>]+)", text)))
        more = f" and {len(layers) - 5} more" if len(layers) > 5 else ""
        return f"the file holds no weights for its layers {', '.join(layers[:5])}{more}"
    if revived := re.search(r"Unable to revive model from config.* to\s+<class '([\w.]+)'>", text, re.DOTALL):
        return f"the class {revived[1]} can't be made again from what the file stores of it"
    # "Exception encountered when calling layer ..." is only where; what happened stands behind an empty line.
    text = re.sub(r"^Exception encountered when calling [^\n]*\n\s*\n", "", text)
    inner = re.search(r"Exception encountered: *(.+)", text)
    if inner:
        text = inner[1]
    elif text.startswith("in user code:"):
        said = [line.strip() for line in text.splitlines() if re.match(r"\s*\w*(Error|Exception): ", line)]
        text = said[-1].removeprefix(f"{type(error).__name__}: ") if said else text
    elif node := re.match(r"Graph execution error:\s+Detected at node (\S+) .+\n\n(.+?)\n\s*\[\[", text, re.DOTALL):
        text = f"{node[2].splitlines()[-1]} (at {node[1]})"
    text = re.sub(r"\{\{function_node [^}]*\}\} *| *\[Op:\w+\]( name:.*)?", "", text)
    # An empty line ends what matters, save after a colon.
    line = " ".join(re.split(r"(?<!:)\n\s*\n|\n\s*\[\[", text)[0].split())
    return f"{type(error).__name__}: {line[:300]}" if line else type(error).__name__


@contextlib.contextmanager
def quiet_logs(*names: str, below: int = logging.ERROR) -> Iterator[None]:
    """Let nothing below a level of the named loggers through, and no warnings module noise, inside the block."""
    loggers = [logging.getLogger(n) for n in names]
    levels = [log.level for log in loggers]
    for log in loggers:
        log.setLevel(below)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(loggers, levels, strict=True):
            log.setLevel(level)


@contextlib.contextmanager
def stderr_aside() -> Iterator[None]:
    """Catch file descriptor 2 in a file; show what it caught only when the block raises."""
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
            os.dup2(saved, 2)
            caught.seek(0)
            os.write(2, caught.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
