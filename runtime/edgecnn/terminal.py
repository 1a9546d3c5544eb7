"""What a terminal is told: lines that it shows, whatever the names in a model, a file or a table would have it do."""

from __future__ import annotations

import contextlib
import sys


def printable(text: str) -> str:
    """Text with what a terminal would obey, such as an escape sequence in a model's labels, written out."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def show(line: str) -> None:
    """A line of results for people, on stdout, printable."""
    print(printable(line))


def say(text: str) -> None:
    """Lines on stderr, printable; where nobody reads them any more, the work goes on."""
    with contextlib.suppress(BrokenPipeError):
        print("\n".join(printable(line) for line in text.split("\n")), file=sys.stderr, flush=True)
