"""`make bench`: the kernel beside its peers, answers checked, into bench/RESULTS.md and bench/results.png.

Every time is the median of runs in this process on one thread, the two that are compared taking turns; every
answer is held against the library whose bits the recipe names.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import platform
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from peers import ORACLES, PEERS, SCALE, Case, Job, installed

from edgecnn import PixelSpec, __version__, _core, preprocess
from edgecnn.selftest import synthetic_image

HERE = Path(__file__).parent

SOURCE = (1080, 1920)
SIZES = (64, 224)
METHODS = (
    "tf_bilinear", "tf_bilinear_antialias", "tf_area", "tf_bicubic", "tf_nearest", "pil_nearest", "pil_box",
    "pil_bilinear", "pil_hamming", "pil_bicubic", "pil_lanczos", "cv2_nearest", "cv2_linear", "cv2_area", "cv2_cubic",
)  # fmt: skip


def ours(case: Case) -> Job:
    """The kernel with a reused plan and output buffer."""
    spec = PixelSpec(height=case.height, width=case.width, resize=case.resize, scale=1 / 255)
    out = np.empty(spec.shape, np.float32)
    return lambda: preprocess(case.source, spec, out)


def read_floor(image: np.ndarray) -> Job:
    """Read every byte of the source once, as fast as NumPy can."""
    words = image.reshape(-1).view(np.uint64)
    return lambda: np.bitwise_or.reduce(words)


def race(a: Job, b: Job, seconds: float) -> tuple[float, float, float]:
    """Median microseconds of a and of b, and the median of the pairwise ratios b / a, taking turns."""
    for job in (a, b):
        job()
    times: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    while len(times) < 7 or time.perf_counter() < end:
        t0 = time.perf_counter()
        a()
        t1 = time.perf_counter()
        b()
        times.append((t1 - t0, time.perf_counter() - t1))
    first, second = zip(*times, strict=True)
    ratio = statistics.median(y / x for x, y in times)
    return statistics.median(first) * 1e6, statistics.median(second) * 1e6, ratio


def measure(seconds: float) -> list[dict[str, object]]:
    """One row a method, size and peer."""
    image = synthetic_image(*SOURCE)
    versions = installed()
    rows: list[dict[str, object]] = []
    for method in METHODS:
        for size in SIZES:
            case = Case(method, size, size, image)
            mine = ours(case)
            answer = mine().copy()
            floor = race(mine, read_floor(image), seconds)[1]
            for peer in versions:
                job = PEERS[peer][0](case)
                if job is None:
                    continue
                theirs = job()
                us, other, ratio = race(mine, job, seconds)
                row = {
                    "method": method, "size": size, "us": us, "floor": floor, "peer": peer, "peer_us": other,
                    "ratio": ratio, "differ": float(np.mean(answer != theirs)),
                    "largest": float(np.abs(answer - theirs).max() / SCALE),
                    "oracle": ORACLES[method.partition("_")[0]] == peer,
                }  # fmt: skip
                rows.append(row)
                print(
                    f"{method:22} {size:4}  {us:9.1f} us  {peer:11} {other:10.1f} us  x{ratio:6.2f}  "
                    f"{row['differ']:7.2%} differ, by up to {row['largest']:.2f} levels",
                    file=sys.stderr,
                )
    return rows


def environment() -> list[str]:
    """Where and with what this was measured."""
    cpu = platform.processor() or platform.machine()
    flags = ""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text().splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
        found = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
        flags = ", ".join(f for f in ("avx2", "fma", "avx512f", "avx512_vnni") if f in found)
    peers = ", ".join(f"{name} {version}" for name, version in installed().items())
    return [
        f"- processor: {cpu} ({os.cpu_count()} cores; {flags})",
        f"- edgecnn {__version__}, kernel {_core.isa()}; Python {platform.python_version()}, NumPy {np.__version__}",
        f"- compiler: {_core.compiler}" if hasattr(_core, "compiler") else f"- {platform.platform()}",
        f"- {peers}",
    ]


def write_results(rows: list[dict[str, object]], path: Path) -> None:
    """The table, in Markdown."""
    lines = [
        "# The kernel beside its peers",
        "",
        "Made by `make bench`; not edited by hand. From a 1920x1080 RGB frame to a float32 tensor scaled to 0..1, one",
        "thread, plan and output reused, medians of paired runs in one process. Ratio: the peer's time over ours.",
        "Differ: share of values that are not the same bits, and by how many of 255 levels at most; **bold** is the",
        "library that the method must reproduce (cv2_cubic: OpenCV's own code, without Intel's IPP). Floor: our time",
        "over the time to read the source once.",
        "",
        *environment(),
        "",
        "| method | size | ours, us | floor | peer | peer, us | ratio | differ |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        peer = f"**{r['peer']}**" if r["oracle"] else r["peer"]
        differ = "exact" if r["differ"] == 0 else f"{r['differ']:.1%}, up to {r['largest']:.2g}"
        lines.append(
            f"| {r['method']} | {r['size']} | {r['us']:.1f} | {r['us'] / r['floor']:.2f} | {peer} | "  # type: ignore[operator]
            f"{r['peer_us']:.1f} | {r['ratio']:.2f} | {differ} |"
        )
    path.write_text("\n".join(lines) + "\n")


def draw(rows: list[dict[str, object]], path: Path) -> None:
    """Bars of the ratios at the first size, on a logarithmic axis."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    chosen = [r for r in rows if r["size"] == SIZES[0]][::-1]
    figure, axes = plt.subplots(figsize=(8, 0.24 * len(chosen) + 1), layout="constrained")
    names = [f"{r['method']} / {r['peer']}" for r in chosen]
    bars = axes.barh(names, [r["ratio"] for r in chosen], color=["#1f77b4" if r["oracle"] else "#bbb" for r in chosen])
    axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=7)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.tick_params(labelsize=7)
    axes.set_xlabel(f"times faster than the peer, 1920x1080 to {SIZES[0]}x{SIZES[0]} (blue: the library reproduced)")
    figure.savefig(path, dpi=110)


def main() -> int:
    """Measure, write, and fail where an answer is not the oracle's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.3, help="for each pair (default: 0.3)")
    parser.add_argument("--output", type=Path, default=HERE / "RESULTS.md", help="default: bench/RESULTS.md")
    args = parser.parse_args()
    rows = measure(args.seconds)
    write_results(rows, args.output)
    draw(rows, args.output.with_name("results.png"))
    wrong = [f"{r['method']} {r['size']}" for r in rows if r["oracle"] and r["differ"]]
    if wrong:
        print(f"not the oracle's bits: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
