"""The `edgecnn` command: parses arguments, calls one function a subcommand, turns errors into exit statuses.

Nothing heavy is imported before its subcommand runs, so `edgecnn --help` needs neither onnxruntime nor cv2.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from .errors import EdgeCNNError, VerificationError

OK, SOME_FAILED, UNUSABLE = 0, 1, 2
"""Exit statuses: all good; some input or a verification failed; wrong usage, model or device."""


def guard(main: Callable[[Sequence[str]], int], argv: Sequence[str] | None = None) -> int:
    """Run a command's main and return its exit status; no traceback reaches the user.

    EDGECNN_DEBUG=1 in the environment lets the traceback through.
    """
    try:
        return main(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has gone (`| head`); keep Python from complaining when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except EdgeCNNError as e:
        if os.environ.get("EDGECNN_DEBUG"):
            raise
        print(f"edgecnn: {e}", file=sys.stderr)
        return SOME_FAILED if isinstance(e, VerificationError) else UNUSABLE
    except Exception as e:
        if os.environ.get("EDGECNN_DEBUG"):
            raise
        print(
            f"edgecnn: unexpected {type(e).__name__}: {e} (EDGECNN_DEBUG=1 shows where; please report it)",
            file=sys.stderr,
        )
        return UNUSABLE
