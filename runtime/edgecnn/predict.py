"""`edgecnn predict`: sources in, one result a line out, in the order of the input."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from typing import TextIO

from .cli import OK, SOME_FAILED
from .errors import InputError, ModelError, SourceError
from .pipeline import check_limits, run, run_live
from .predictor import Prediction, Predictor, default_model, embedded_model
from .presets import add_recipe_options, assumed, recipe_from_options, states_recipe, whole_recipe_from_options
from .session import DEVICES, Session
from .sinks import FORMATS, Result, Sink, Stderr, VideoFile, Window, write_results
from .sources import Failure, read_sources
from .spec import SCALED_INSIDE, PixelSpec
from .terminal import say

_CHANNELS = (1, 3)
"""Sizes of the axis that must be the channels, where a model without a recipe leaves its layout open."""

_ROWS = 1024
"""Rows of one inference by default: they come in blocks, so that waiting for more costs nothing."""


def main(argv: Sequence[str]) -> int:
    """The command."""
    args = _parser().parse_args(argv)
    if not args.sources and args.camera is None:
        raise InputError("nothing to predict; name images, folders, videos or .csv files, or --camera 0")
    check_limits(args.max_age_ms, args.max_frames)
    _keep_sources(args)
    predictor = _load(args)
    if args.camera is not None:
        predictor.pixels  # noqa: B018 - a table model has none and says so before a camera is opened
    started = time.monotonic()
    counts: Counter[str] = Counter()
    with contextlib.ExitStack() as stack:
        sinks = _open_sinks(args, stack)
        for result in _results(predictor, args):
            counts["failed" if isinstance(result, Failure) else "predicted"] += 1
            for sink in sinks:
                sink.write(result)
            if any(isinstance(s, Window) and s.stopped for s in sinks):
                break
    seconds = time.monotonic() - started
    say(
        f"{counts['predicted']} predicted, {counts['failed']} failed in {seconds:.1f} s "
        f"({counts['predicted'] / max(seconds, 1e-9):.0f} a second) on {predictor.provider}",
    )
    return SOME_FAILED if counts["failed"] else OK


def _keep_sources(args: argparse.Namespace) -> None:
    """Refuse to write over what is still to be read."""
    for option, path in (("--output", args.output), ("--save-video", args.save_video)):
        for source in args.sources:
            if path and os.path.exists(path) and os.path.exists(source) and os.path.samefile(path, source):
                raise InputError(f"{option} {path}: would be written over the source {source}; name another file")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edgecnn predict",
        description="Classify images, folders, videos, a camera or table rows.",
        epilog="Without --model: $EDGECNN_MODEL, else ./model.onnx, else the built-in classifier of digits.",
    )
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="image, folder (recursive), glob, video, .csv, or - for paths, one a line, on stdin",
    )
    parser.add_argument("--camera", metavar="N|URL", help="a camera's index, or a stream such as rtsp://...")
    parser.add_argument("--model", metavar="FILE", help="an ONNX file written by edgecnn export")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="default: auto")
    parser.add_argument("--top-k", type=int, default=3, metavar="K", help="classes listed (default: 3)")
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.0,
        metavar="T",
        help="leave out classes that score under T; a result without one has no label (default: 0)",
    )
    parser.add_argument("--format", choices=FORMATS, default="text", help="default: text")
    parser.add_argument("--output", metavar="FILE", help="write the results there instead of to stdout")
    parser.add_argument(
        "--batch-size", type=int, metavar="B", help="inputs of one inference (default: 1, of a table 1024)"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="threads that decode (default: the processors, <= 8)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of one inference (default: onnxruntime's)")
    parser.add_argument("--max-frames", type=int, metavar="N", help="stop a camera or a video after N frames")
    parser.add_argument("--frames", choices=("all", "latest"), help="camera: every frame, or the newest (default)")
    parser.add_argument("--max-age-ms", type=float, metavar="MS", help="camera: drop frames that are older")
    parser.add_argument("--show", action="store_true", help="show frames of a camera or video in a window (q ends)")
    parser.add_argument("--save-video", metavar="FILE", help="write those frames with their results to a video")
    add_recipe_options(parser)
    return parser


def _load(args: argparse.Namespace) -> Predictor:
    path = args.model or default_model()
    pixels = _override(path, args)
    predictor = Predictor(path, device=args.device, threads=args.threads, pixels=pixels)
    if predictor.spec.table is None:
        _ = predictor.pixels  # asked for before any input is looked at
    if args.model is None:
        which = "the built-in digits classifier" if predictor.path == embedded_model() else str(predictor.path)
        say(f"edgecnn: no --model given, using {which}")
    if pixels is None and predictor.spec.pixels is not None and predictor.spec.pixels.decode == "fast":
        say("edgecnn: the model's recipe decodes JPEGs fast, not exactly")
    if args.device == "auto":
        say(f"edgecnn: running on {predictor.provider}")
    return predictor


def _override(path: str | os.PathLike[str], args: argparse.Namespace) -> PixelSpec | None:
    """The recipe that the options ask for; None where the model's own is to be used."""
    if not states_recipe(args):
        return None
    session = Session(path, device="cpu")
    spec = session.read_spec()
    if spec is not None and spec.table is not None:
        raise InputError(f"{path}: the model takes table rows; --preset and the recipe's options are for images")
    if spec is None or spec.pixels is None:
        pixels = whole_recipe_from_options(args, _unstated(session))
        taken = "".join(f" (not stated: {option})" for option in assumed(args, pixels))
        say(f"edgecnn: recipe: {pixels.describe()}{taken}")
        inside = None if spec is None else spec.provenance.get(SCALED_INSIDE)
        if inside is not None and pixels.scales:
            twice = f"this recipe scales the pixels, and so does the model itself ({inside}): is that meant?"
            say(f"edgecnn: {twice}")
        return pixels
    pixels = recipe_from_options(args, spec.pixels)
    say(f"edgecnn: recipe overridden: {pixels.describe()}")
    return pixels


def _unstated(session: Session) -> PixelSpec:
    """Size, layout and dtype as the graph has them; the rest is for the options to say."""
    shape = session.inputs[0].shape
    sizes = [s if isinstance(s, int) else 0 for s in shape]
    if len(shape) == 4 and sizes[3] in _CHANNELS:
        layout, height, width, channels = "nhwc", sizes[1], sizes[2], sizes[3]
    elif len(shape) == 4 and sizes[1] in _CHANNELS:
        layout, height, width, channels = "nchw", sizes[2], sizes[3], sizes[1]
    else:
        raise ModelError(f"{session.path}: an input of shape {shape} is no image (batch, height, width, 1 or 3)")
    if not height or not width:
        raise ModelError(f"{session.path}: the input {shape} leaves the image size free; export it with a fixed size")
    dtype = "uint8" if session.inputs[0].dtype == "tensor(uint8)" else "float32"
    color = "gray" if channels == 1 else "rgb"
    return PixelSpec(height=height, width=width, layout=layout, dtype=dtype, color=color)


def _results(predictor: Predictor, args: argparse.Namespace) -> Iterator[Result]:
    keep_images = args.show or args.save_video is not None
    if args.sources:
        items = read_sources(args.sources, predictor.spec.table, max_frames=args.max_frames)
        size = args.batch_size if args.batch_size is not None else _ROWS if predictor.spec.table is not None else 1
        yield from run(predictor, items, batch_size=size, workers=args.workers, keep_images=keep_images)
    if args.camera is not None:
        yield from _live(predictor, args)


def _live(predictor: Predictor, args: argparse.Namespace) -> Generator[Prediction | Failure, None, None]:
    source = int(args.camera) if args.camera.isdecimal() else args.camera
    try:
        yield from run_live(
            predictor, source, frames=args.frames, max_age_ms=args.max_age_ms, max_frames=args.max_frames
        )
    except SourceError as e:
        yield Failure(str(source), e)


def _open_sinks(args: argparse.Namespace, stack: contextlib.ExitStack) -> list[Sink]:
    stream: TextIO = sys.stdout
    if args.output:
        try:
            file = open(args.output, "w", encoding="utf-8", errors="backslashreplace", newline="")  # noqa: SIM115
        except OSError as e:
            raise InputError(f"--output {args.output}: can't be written: {e.strerror}") from None
        stream = stack.enter_context(file)
    sinks: list[Sink] = [
        write_results(args.format, stream, top_k=args.top_k, threshold=args.threshold),
        Stderr(),
    ]
    if args.show:
        sinks.append(Window())
    if args.save_video:
        sinks.append(VideoFile(args.save_video))
    for sink in sinks:
        stack.callback(sink.close)
    return sinks
