"""`make bench`: everything that is measured here, into bench/RESULTS.md and bench/results.png; about four minutes."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import sys
from pathlib import Path

import calls
import frames
import jpeg
import kernel
from results import draw, write_results


def main() -> int:
    """Measure, write, and fail where an answer is not the oracle's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.3, help="for each pair (default: 0.3)")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).with_name("RESULTS.md"), help="default: bench/RESULTS.md"
    )
    args = parser.parse_args()
    # A decode takes 10 ms and more, so that its races need longer for as many turns.
    photographs, errors = jpeg.errors()
    found = {
        "frames": frames.measure(args.seconds),
        "jpeg": jpeg.measure(10 * args.seconds),
        "errors": errors,
        "threads": calls.threads(3 * args.seconds),
        "calls": calls.measure(args.seconds),
        "kernel": kernel.measure(args.seconds),
    }
    write_results(found, photographs, args.output)
    draw(found["kernel"], args.output.with_name("results.png"))
    wrong = [f"{r['method']} {r['size']}" for r in found["kernel"] if r["oracle"] and r["differ"]]
    wrong += [r["what"] for r in found["frames"] if not r["exact"]]
    if wrong:
        print(f"not the oracle's bits: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
