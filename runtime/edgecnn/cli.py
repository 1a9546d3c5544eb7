"""The `edgecnn` command: finds the subcommand, turns errors into exit statuses.

Nothing heavy is imported before its subcommand runs, so `edgecnn --help` needs neither onnxruntime nor cv2.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence

from .errors import EdgeCNNError, MissingDependencyError, VerificationError
from .terminal import say

OK, SOME_FAILED, UNUSABLE = 0, 1, 2
"""Exit statuses: all good; some input or a verification failed; wrong usage, model or device."""

_INTERRUPTED, _PIPE_BROKEN = 130, 141
"""What shells report for Ctrl-C and for a reader that has gone: 128 + SIGINT, 128 + SIGPIPE."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Why a disk takes no more."""

_HELP = ("-h", "--help")

COMMANDS = {
    "predict": ("edgecnn.predict", "classify images, folders, videos, a camera or table rows"),
    "train cnn": ("edgecnn.train.cnn", "train an image classifier on a folder of class folders"),
    "train mlp": ("edgecnn.train.mlp", "train a network on the rows of a CSV"),
    "export": ("edgecnn.export.to_onnx", "Keras model -> verified ONNX file with its recipe inside"),
    "verify": ("edgecnn.export.verify", "compare an ONNX file with the Keras model it came from"),
    "selftest": ("edgecnn.selftest", "prove kernel, decoder and model on this machine"),
    "info": ("edgecnn.info", "show what a model takes, gives and was trained on"),
    "bench": ("edgecnn.bench", "time each stage of a model on this machine"),
    "doctor": ("edgecnn.doctor", "show versions, processor, providers and what is missing"),
}
"""Subcommand -> the module whose main(argv) runs it, and its line in --help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `edgecnn`; returns the exit status."""
    return guard(_dispatch, argv)


def predict_main(argv: Sequence[str] | None = None) -> int:
    """Run `edgecnn-predict`."""
    return guard(lambda args: _dispatch(["predict", *args]), argv)


def guard(command: Callable[[Sequence[str]], int], argv: Sequence[str] | None = None) -> int:
    """Run a command's main and return its exit status; no traceback reaches the user.

    EDGECNN_DEBUG=1 in the environment lets the traceback through.
    """
    _take_any_name()
    try:
        status = command(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        say("edgecnn: interrupted")
        return _INTERRUPTED
    except BrokenPipeError:
        _leave_stdout()  # the reader has gone (`| head`)
        return _PIPE_BROKEN
    except EdgeCNNError as e:
        if os.environ.get("EDGECNN_DEBUG"):
            raise
        say(f"edgecnn: {e}")
        return SOME_FAILED if isinstance(e, VerificationError) else UNUSABLE
    except Exception as e:
        if os.environ.get("EDGECNN_DEBUG"):
            raise
        if isinstance(e, OSError) and e.errno in _FULL:
            _leave_stdout()
            say(f"edgecnn: not all results could be written: {e.strerror}")
            return UNUSABLE
        say(f"edgecnn: unexpected {type(e).__name__}: {e} (EDGECNN_DEBUG=1 shows where; please report it)")
        return UNUSABLE


def _leave_stdout() -> None:
    """Keep Python from complaining when it flushes what can't be written at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _take_any_name() -> None:
    """Names of files need not be UTF-8: they come from stdin as from argv, and go out in JSON's form, \\udcff."""
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def _dispatch(argv: Sequence[str]) -> int:
    name, rest = (argv[0], argv[1:]) if argv else ("--help", [])
    if name == "train" and rest:
        name, rest = rest[0] if rest[0] in _HELP else f"train {rest[0]}", rest[1:]
    if name in _HELP:
        print(_help())
        return OK if argv else UNUSABLE
    if name in ("-V", "--version"):
        from ._core import __version__

        print(f"edgecnn {__version__}")
        return OK
    if name not in COMMANDS:
        say(f"edgecnn: no command {name!r}; there are {', '.join(COMMANDS)}")
        return UNUSABLE
    module = importlib.import_module(COMMANDS[name][0])
    run: Callable[[Sequence[str]], int] = module.main
    try:
        return run(rest)
    except ModuleNotFoundError as e:
        extra = {"train cnn": "train", "train mlp": "train", "export": "export", "verify": "export"}.get(name)
        if extra is None or (e.name or "").startswith("edgecnn"):
            raise
        raise MissingDependencyError(
            f"edgecnn {name} needs {e.name}, which is not installed; pip install 'edgecnn[{extra}]'"
        ) from None


def _help() -> str:
    lines = "\n".join(f"  {name:9} {text}" for name, (_, text) in COMMANDS.items())
    return (
        "usage: edgecnn COMMAND ...\n\n"
        "Image and table classifiers from Keras to a device, with the training pixels inside the model.\n\n"
        f"commands:\n{lines}\n\n"
        "edgecnn COMMAND --help tells more. Results go to stdout, everything else to stderr.\n"
        "Exit status: 0 all good; 1 some input or a verification failed; 2 wrong usage, model or device."
    )
