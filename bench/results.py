"""Writes what was measured: bench/RESULTS.md for people and for the README, bench/results.png for the eye."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
from peers import installed

from edgecnn import __version__, _core

Rows = list[dict[str, Any]]


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


def write_results(found: dict[str, Rows], photographs: str, path: Path) -> None:
    """The tables, in Markdown."""
    lines = [
        "# The kernel beside its peers",
        "",
        "Made by `make bench`; not edited by hand. One thread, plan and output reused, medians of paired runs: the two",
        "that are compared take turns, each right after a run of its own (hot caches), and ours stands beside each",
        "peer as it was in that race. Ratio: the peer's time over ours.",
        "",
        *environment(),
        "",
        "## Every resize method",
        "",
        "From a 1920x1080 RGB frame to a float32 tensor scaled to 0..1; beside OpenCV both work on one BGR frame.",
        "Differ: share of values that are not the same bits, and by how many of 255 levels at most; **bold** is the",
        "library that the method must reproduce",
        "(cv2_cubic: OpenCV's own code, without Intel's IPP). Floor: our time over the time to read the source once.",
        "",
        "| method | size | ours, us | floor | peer | peer, us | ratio | differ |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in found["kernel"]:
        peer = f"**{r['peer']}**" if r["oracle"] else r["peer"]
        differ = "exact" if r["differ"] == 0 else f"{r['differ']:.1%}, up to {r['largest']:.2g}"
        lines.append(
            f"| {r['method']} | {r['size']} | {r['us']:.1f} | {r['us'] / r['floor']:.2f} | {peer} | "
            f"{r['peer_us']:.1f} | {r['ratio']:.2f} | {differ} |"
        )
    lines += [
        "",
        "## Camera frames",
        "",
        "1280x720 to 64x64, cv2_linear, scaled to 0..1, beside cv2.cvtColor (cvtColorTwoPlane), cv2.resize, astype and",
        "multiply.",
        "",
        "| frame | ours, us | OpenCV, us | ratio | answer |",
        "|---|---|---|---|---|",
        *(
            f"| {r['what']} | {r['us']:.1f} | {r['peer_us']:.1f} | {r['ratio']:.2f} | "
            f"{'exact' if r['exact'] else 'DIFFERS'} |"
            for r in found["frames"]
        ),
        "",
        "## From JPEG bytes to the tensor",
        "",
        "A 1920x1080 JPEG (quality 90, 4:2:0) to 64x64, beside the bare decode of the same bytes by simplejpeg; here",
        "the ratio is ours over the bare decode. `fast` shrinks in the DCT and is not exact.",
        "",
        "| recipe, decoder | ours, us | bare decode, us | ratio |",
        "|---|---|---|---|",
        *(f"| {r['what']} | {r['us']:.0f} | {r['peer_us']:.0f} | {r['ratio']:.3f} |" for r in found["jpeg"]),
        "",
        f'What `decode="fast"` changes in the 64x64 tensor, on {photographs}, in levels of 255:',
        "",
        "| recipe | largest error | mean error |",
        "|---|---|---|",
        *(f"| {r['what']} | {r['largest']:.1f} | {r['mean']:.2f} |" for r in found["errors"]),
        "",
        "## Two threads beside one",
        "",
        "| 1920x1080 to 64x64 | two, us | one, us | ratio |",
        "|---|---|---|---|",
        *(f"| by {r['what']} | {r['us']:.0f} | {r['peer_us']:.0f} | {r['ratio']:.2f} |" for r in found["threads"]),
        "",
        "## The call itself",
        "",
        "From one pixel to a tensor of one, plan and output reused.",
        "",
        "| | us |",
        "|---|---|",
        *(f"| {r['what']} | {r['us']:.2f} |" for r in found["calls"]),
    ]
    path.write_text("\n".join(lines) + "\n")


COLORS = {
    "Pillow": "#4c78a8", "OpenCV": "#59a14f", "TensorFlow": "#e68a2e", "kornia-rs": "#b07aa1", "ncnn": "#9c755f",
    "libvips": "#e15759", "pillow-simd": "#76b7b2", "torchvision": "#d4a6c8",
}  # fmt: skip


def draw(rows: Rows, path: Path) -> None:
    """How many times faster, a group of bars a method, a colour a peer; pale where the peer gives other pixels."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    size = rows[0]["size"]
    chosen = [r for r in rows if r["size"] == size]
    methods = list(dict.fromkeys(r["method"] for r in chosen))
    figure, axes = plt.subplots(figsize=(9, 0.2 * len(chosen) + 0.16 * len(methods) + 1.4), layout="constrained")
    at, ticks = 0.0, []
    for method in methods:
        group = sorted((r for r in chosen if r["method"] == method), key=lambda r: not r["oracle"])
        for k, r in enumerate(group):
            axes.barh(
                at + k,
                r["ratio"] - 1,
                left=1,
                height=0.82,
                color=COLORS[r["peer"]],
                alpha=1 if r["differ"] == 0 else 0.4,
            )
            side = "left" if r["ratio"] >= 1 else "right"
            axes.annotate(
                f"{r['ratio']:.1f}", (r["ratio"], at + k), (4 if side == "left" else -4, 0), textcoords="offset points",
                va="center", ha=side, fontsize=7.5, color="#333",
            )  # fmt: skip
        ticks.append((at + (len(group) - 1) / 2, method))
        at += len(group) + 0.8
    axes.set_yticks([t for t, _ in ticks], [m for _, m in ticks], fontsize=9, family="monospace")
    axes.set_ylim(at - 0.6, -0.8)
    axes.set_xscale("log")
    low, high = min(r["ratio"] for r in chosen), max(r["ratio"] for r in chosen)
    axes.set_xlim(min(0.9, low / 1.3), high * 1.25)
    marks = [m for m in (0.5, 1, 2, 3, 5, 10, 20, 30, 50) if axes.get_xlim()[0] <= m <= axes.get_xlim()[1]]
    axes.set_xticks(marks, [f"{m:g}x" for m in marks], fontsize=8)
    axes.minorticks_off()
    axes.grid(axis="x", color="#ddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.axvline(1, color="#333", linewidth=1)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)
    axes.set_title(
        f"Times faster than the peer, 1920x1080 to {size}x{size} float32, one thread", fontsize=10, loc="left"
    )
    peers = [p for p in COLORS if any(r["peer"] == p for r in chosen)]
    handles = [Patch(color=COLORS[p], label=p) for p in peers]
    handles += [Patch(color="#888", label="same pixels"), Patch(color="#888", alpha=0.4, label="other pixels")]
    axes.legend(handles=handles, fontsize=8, frameon=False, ncols=4, loc="upper center", bbox_to_anchor=(0.45, -0.05))
    figure.savefig(path, dpi=120)
