"""What training says on stderr: Keras's bar on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

from edgecnn.terminal import say


def counted(number: int, noun: str) -> str:
    """'1 time', '3 times'."""
    return f"{number} {noun}{'s' * (number != 1)}"


@contextlib.contextmanager
def display(epochs: int, *, quiet: bool = False) -> Iterator[tuple[int, list]]:
    """What to pass to fit: verbose and callbacks. Keras's bar goes to stdout, which belongs to results."""
    if quiet:
        yield 0, []
    elif sys.stderr.isatty():
        with contextlib.redirect_stdout(sys.stderr):
            yield 1, []
    else:
        yield 0, [_line_an_epoch(epochs)]


def _line_an_epoch(epochs: int):
    from keras.callbacks import Callback

    class LineAnEpoch(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self._start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            values = "  ".join(f"{name} {value:.4f}" for name, value in (logs or {}).items() if name != "learning_rate")
            say(f"epoch {epoch + 1}/{epochs}  {values}  {time.perf_counter() - self._start:.1f} s")

    return LineAnEpoch()
