"""`edgecnn train cnn`, also `python train/cnn.py DIR`: a folder of class folders becomes a Keras model.

find -> split -> feed -> fit -> save, with the pixel recipe and the class names inside the file.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    # As a script, its own folder comes first on the path, where fit.py or images.py would hide other modules.
    sys.path.pop(0)
    try:
        import edgecnn.train.cnn as _installed
    except ImportError as _e:
        from pathlib import Path as _Path

        _root = _Path(__file__).resolve().parent.parent
        _hint = f"run: {sys.executable} -m pip install '{_root}[cpu,train]'"
        print(f"edgecnn is not installed ({_e}); {_hint}", file=sys.stderr)
        sys.exit(2)
    from edgecnn.cli import guard as _guard

    sys.exit(_guard(_installed.main))

import argparse
import functools
import math
from collections.abc import Sequence

import numpy as np

from edgecnn.cli import OK, SOME_FAILED
from edgecnn.errors import ImageError, InputError, SourceError
from edgecnn.presets import from_preset
from edgecnn.spec import ModelSpec, PixelSpec

from . import architectures, backend, config, digits
from .check import check_images
from .cnn_options import LEAST_STEPS, augmentation, parse
from .feed import MEMORY_LIMITS, Feed, ImageData, describe_failures, ordered_batches, training_batches
from .fit import FitOptions, Result, fit
from .image_report import write_report
from .images import ImageSet, find_images, find_sets
from .losses import class_weights
from .optimizers import OptimizerOptions
from .options import pick
from .progress import note
from .saving import check_output
from .split import split


def main(argv: Sequence[str]) -> int:
    """Train one image classifier; the path of the saved model goes to stdout.

    Raises:
        EdgeCNNError: wrong input, or a file that can't be written.
    """
    command, options = parse(argv)
    if options.write_dataset:
        return _write_dataset(options.write_dataset)
    output = check_output(options.output)
    found = _find(options)
    pixels = _recipe(options)
    backend.start(options.seed)
    data = _prepare(*found, pixels, options)
    findings = check_images(data)
    for line in findings:
        note(f"check: {line}")
    if options.check_only:
        print(f"{data.describe()}; {len(findings)} findings")
        return SOME_FAILED if findings or len(data.images) < len(found[0]) else OK
    steps = options.steps_per_epoch or max(LEAST_STEPS, math.ceil(len(data.chosen) / options.batch_size))
    note(data.describe())
    note(
        f"{options.architecture}: {pixels.describe()}; {options.epochs} epochs of {steps} steps of {options.batch_size}"
    )
    training = functools.partial(
        training_batches, data.feed, data.chosen, data.images.one_hot, batch_size=options.batch_size,
        seed=options.seed, augmentation=augmentation(options), spec=pixels,
    )  # fmt: skip
    validation = ordered_batches(data.held_feed, data.held, data.held_images.one_hot, batch_size=options.batch_size)
    classes = data.images.classes
    spec = ModelSpec(pixels=pixels, labels=classes, head="softmax", provenance=_provenance(options, len(data.chosen)))
    model = _build(options, pixels, len(classes))
    how = pick(
        FitOptions, options, steps_per_epoch=steps, output=output, optimizing=pick(OptimizerOptions, options),
        class_weight=class_weights(options.class_weight, data.images.indices[data.chosen], classes),
        identity=config.identity(options),
    )  # fmt: skip
    result = _fit(model, lambda start: training(start=start), validation, spec, how, data)
    config.write_config(output, command, options)
    _report_failures(data.images, data.feed)
    if options.report:
        write_report(output, model, spec, result, data, training(), validation)
    note(
        f"val accuracy {result.metrics['accuracy']:.4f} (epoch {result.best_epoch} of {result.epochs}), "
        f"{result.seconds:.0f} s, saved {output}"
    )
    print(output)
    return OK


def _fit(model, training, validation, spec: ModelSpec, how: FitOptions, data: ImageData) -> Result:
    """fit, with --strict's error of an image that is read during training as it was before TensorFlow wrapped it."""
    import tensorflow as tf

    try:
        return fit(model, training, validation, spec, how)
    except tf.errors.OpError:
        for line in describe_failures(data.feed, data.images) + describe_failures(data.held_feed, data.held_images):
            raise ImageError(line) from None
        raise


def _find(options: argparse.Namespace) -> tuple[ImageSet, ImageSet | None]:
    training, validation = (digits.load_digits(), None) if options.dataset else find_sets(options.folder)
    if options.validation_data:
        validation = find_images(options.validation_data, classes=training.classes)
    return training, validation


def _recipe(options: argparse.Namespace) -> PixelSpec:
    own = {name: getattr(options, name) for name in ("resize", "fit", "decode") if getattr(options, name)}
    height, width = options.image_size
    return from_preset(options.preset, height=height, width=width, **{"color": options.color, **own})


def _prepare(
    training: ImageSet, validation: ImageSet | None, pixels: PixelSpec, options: argparse.Namespace
) -> ImageData:
    """Decode what fits in memory, leave out what can't be read, split where there is no validation set."""
    training, feed = _readable(training, pixels, options)
    if validation is None:
        chosen, held = split(training.indices, training.classes, options.validation_split, options.seed)
        return ImageData(training, feed, chosen, training, feed, held)
    validation, held_feed = _readable(validation, pixels, options)
    return ImageData(training, feed, np.arange(len(training)), validation, held_feed, np.arange(len(validation)))


def _readable(images: ImageSet, pixels: PixelSpec, options: argparse.Namespace) -> tuple[ImageSet, Feed]:
    """The images without those that can't be read, which are named on stderr."""
    how = {"memory_limit": MEMORY_LIMITS[options.cache], "strict": options.strict}
    feed = Feed(images.sources, pixels, **how)
    if not feed.failed:
        return images, feed
    _report_failures(images, feed)
    kept = images.take([i for i in range(len(images)) if i not in feed.failed])
    if 0 in kept.counts.values():
        name = next(n for n, count in kept.counts.items() if not count)
        raise SourceError(f"class {name!r}: none of its images can be read", code="empty_folder")
    return kept, Feed(kept.sources, pixels, **how)


def _report_failures(images: ImageSet, feed: Feed) -> None:
    lines = describe_failures(feed, images)
    for line in lines[:10]:
        note(f"edgecnn: skipped {line}")
    if lines:
        note(f"edgecnn: {len(lines)} of {len(images)} images can't be read and are left out (--strict stops instead)")


def _build(options: argparse.Namespace, pixels: PixelSpec, classes: int):
    if options.architecture == "notebook":
        if min(pixels.height, pixels.width) < 44:
            raise InputError("notebook needs --image-size of at least 44: three 5x5 convolutions and poolings")
        return architectures.notebook_cnn(pixels.shape, classes, seed=options.seed)
    return architectures.edge_cnn(
        pixels.shape, classes, width=options.width * architectures.EDGES[options.architecture],
        dropout=options.dropout, kernels=pick(architectures.Kernels, options), seed=options.seed,
    )  # fmt: skip


def _provenance(options: argparse.Namespace, count: int) -> dict[str, str]:
    import keras

    return {
        "trained_by": f"edgecnn train cnn --architecture {options.architecture}",
        "keras": keras.__version__,
        "images": str(count),
        "seed": str(options.seed),
    }


def _write_dataset(folder: str) -> int:
    count = digits.write_digits(folder)
    note(f"{count} images")
    print(folder)
    return OK
