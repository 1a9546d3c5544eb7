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
import dataclasses
import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecnn.cli import OK, SOME_FAILED
from edgecnn.errors import EdgeCNNError, ImageError, InputError, SourceError
from edgecnn.spec import ModelSpec, PixelSpec
from edgecnn.terminal import say

from . import architectures, backend, config, devices, digits
from .check import check_images, describe_sizes
from .cnn_options import augmentation, parse, recipe, set_length
from .compare import Comparison, compare_resizes
from .feed import Feed, ImageData, Subset, describe_failures, training_batches
from .fit import FitOptions, Result, fit
from .image_report import write_report
from .images import ImageSet, Sets, find_images, find_sets
from .losses import class_weights
from .optimizers import OptimizerOptions
from .options import pick
from .pretrained import BACKBONES, build_backbone, unfreezing
from .progress import counted
from .saving import check_output
from .split import split
from .workers import find_worker, own_output, share, wait_for_all

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def main(argv: Sequence[str]) -> int:
    """Train one image classifier; the path of the saved model goes to stdout.

    Raises:
        EdgeCNNError: wrong input, or a file that can't be written.
    """
    command, options = parse(argv)
    if options.write_dataset:
        return _write_dataset(options.write_dataset)
    worker, workers = find_worker() if options.strategy == "multiworker" else (0, 1)
    output = own_output(check_output(options.output), worker)
    if worker:
        options.checkpoints = options.tensorboard = False
    if workers > 1 and options.compare_training:
        raise InputError("--compare-training is for one worker; train without it, or on one machine")
    if options.tensorboard:
        devices.require_tensorboard()
    sets, pixels = _find(options), recipe(options)
    backend.start(options.seed)
    if workers > 1:
        wait_for_all(worker, workers)
    strategy = devices.distribute(options.strategy)
    precision = f" in {devices.use_mixed_precision()}" if options.mixed_precision else ""
    data = _prepare(sets, pixels, options, output)
    findings = check_images(data, weighted=options.class_weight != "none")
    for line in findings:
        say(f"check: {line}")
    if options.check_only:
        unreadable = sum(map(len, filter(None, sets))) - data.count()
        print(
            f"{data.describe()}; {describe_sizes(data.training)}; {unreadable} unreadable; "
            f"{counted(len(findings), 'finding')}"
        )
        return SOME_FAILED if findings or unreadable else OK
    steps = set_length(options, len(data.training))
    say(data.describe())
    say(
        f"{options.architecture}{precision}: {pixels.describe()}; {counted(options.epochs, 'epoch')} of "
        f"{counted(steps, 'step')} of {options.batch_size}"
    )
    if options.batch_size % strategy.num_replicas_in_sync:
        raise InputError(f"--batch-size {options.batch_size}: {strategy.num_replicas_in_sync} devices can't share it")
    model, spec, result = _train(options, data, pixels, strategy, steps_per_epoch=steps, output=output)
    _report_failures(data.training)
    if not data.is_split:
        _report_failures(data.validation)
    if worker:
        output.unlink()
        say(f"worker {worker} of {workers} is done; the first one leaves the model")
        return OK
    config.write_config(output, command, options)
    compared = _compare(options, sets, data, model, pixels, strategy, steps, output)
    if options.report:
        write_report(output, model, spec, result, data, _batches(options, data.training, pixels), compared)
    say(
        f"val accuracy {result.metrics['accuracy']:.4f} (epoch {result.best_epoch} of {result.epochs}), "
        f"{result.seconds:.0f} s, saved {output}"
    )
    print(output)
    return OK


def _train(
    options: argparse.Namespace, data: ImageData, pixels: PixelSpec, strategy: tf.distribute.Strategy, **how: Any
) -> tuple[keras.Model, ModelSpec, Result]:
    """Build the network for these pixels and fit it; `how` are fields of FitOptions that are not options."""
    training = data.training
    classes = training.images.classes
    spec = ModelSpec(pixels=pixels, labels=classes, head="softmax", provenance=_provenance(options, len(training)))
    with strategy.scope():
        model, callbacks = _build(options, pixels, len(classes))
        if options.strategy == "multiworker" and find_worker()[1] > 1:
            model = share(model)
    how = pick(
        FitOptions, options, optimizing=pick(OptimizerOptions, options),
        class_weight=class_weights(options.class_weight, training.truth, classes), identity=config.identity(options),
        **how,
    )  # fmt: skip
    result = _fit(model, functools.partial(_batches, options, training, pixels), spec, how, data, callbacks)
    return devices.as_plain(model), spec, result


def _batches(options: argparse.Namespace, training: Subset, pixels: PixelSpec, start: int = 0) -> tf.data.Dataset:
    return training_batches(
        training.feed, training.positions, training.images.one_hot, batch_size=options.batch_size, seed=options.seed,
        augmentation=augmentation(options), spec=pixels, start=start,
    )  # fmt: skip


def _compare(
    options: argparse.Namespace, sets: Sets, data: ImageData, model: keras.Model, pixels: PixelSpec,
    strategy: tf.distribute.Strategy, steps: int, output: Path,
) -> Sequence[Comparison]:  # fmt: skip
    """What --compare-resizes and --compare-training ask for."""
    if not (options.compare_resizes or options.compare_training):
        return ()

    def train(other: PixelSpec) -> float:
        """The accuracy of a model of these pixels, of which no file is left."""
        with tempfile.TemporaryDirectory(prefix=f".{output.stem}.compare-", dir=output.parent) as folder:
            once = {"checkpoints": False, "tensorboard": False, "resume": False, "quiet": True}
            here = Path(folder, output.name)
            others = _prepare(sets, other, options, here)
            result = _train(options, others, other, strategy, steps_per_epoch=steps, output=here, **once)[2]
        return result.metrics["accuracy"]

    return compare_resizes(model, pixels, data.validation, train if options.compare_training else None)


def _fit(model, training, spec: ModelSpec, how: FitOptions, data: ImageData, callbacks: Sequence) -> Result:
    """fit, with its errors as they were before TensorFlow wrapped them: an image with --strict, a lost worker."""
    import tensorflow as tf

    held = data.validation
    # Keras 3.15 can't validate with batches that the devices don't share equally; the report does all of them.
    replicas = model.distribute_strategy.num_replicas_in_sync
    whole = len(held) // replicas * replicas
    if not whole:
        raise InputError(f"{len(held)} images for validation on {replicas} devices; add some, or use fewer devices")
    held = dataclasses.replace(held, positions=held.positions[:whole])
    try:
        return fit(model, training, held.batches(min(how.batch_size, whole)), spec, how, callbacks)
    except tf.errors.OpError as e:
        for subset in (data.training, data.validation):
            for line in describe_failures(subset.feed, subset.images):
                raise ImageError(line) from None
        if isinstance(model.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy):
            lost = f"a worker stopped or can't be reached ({type(e).__name__})"
            raise EdgeCNNError(f"{lost}; start all of them again with --resume") from None
        raise


def _find(options: argparse.Namespace) -> Sets:
    sets = Sets(digits.load_digits()) if options.dataset else find_sets(options.folder)
    if options.validation_data:
        return sets._replace(validation=find_images(options.validation_data, classes=sets.training.classes))
    return sets


def _prepare(sets: Sets, pixels: PixelSpec, options: argparse.Namespace, output: Path) -> ImageData:
    """Decode what can be kept, leave out what can't be read, split where there is no validation set."""

    def read(images: ImageSet) -> Subset:
        return _readable(images, pixels, cache=options.cache, folder=output.parent, strict=options.strict)

    training = read(sets.training)
    test = read(sets.test) if sets.test else None
    if sets.validation is not None:
        return ImageData(training, read(sets.validation), test)
    images, feed = training.images, training.feed
    chosen, held = split(images.indices, images.classes, options.validation_split, options.seed)
    return ImageData(Subset(images, feed, chosen), Subset(images, feed, held), test)


def _readable(images: ImageSet, pixels: PixelSpec, **how) -> Subset:
    """The images without those that can't be read, which are named on stderr."""
    feed = Feed(images.sources, pixels, **how)
    whole = Subset(images, feed, np.arange(len(images)))
    if not feed.failed:
        return whole
    _report_failures(whole)
    kept = images.take(np.flatnonzero(whole.readable))
    if 0 in kept.counts.values():
        name = next(n for n, count in kept.counts.items() if not count)
        raise SourceError(f"class {name!r}: none of its images can be read", code="empty_folder")
    return Subset(kept, Feed(kept.sources, pixels, **how), np.arange(len(kept)))


def _report_failures(subset: Subset) -> None:
    lines = describe_failures(subset.feed, subset.images)
    for line in lines[:10]:
        say(f"edgecnn: skipped {line}")
    if lines:
        count = f"{len(lines)} of {len(subset.images)} images"
        say(f"edgecnn: {count} can't be read and are left out (--strict stops instead)")


def _build(options: argparse.Namespace, pixels: PixelSpec, classes: int) -> tuple[keras.Model, list]:
    """The network, and the callbacks that belong to it."""
    if options.architecture in BACKBONES:
        model, layers = build_backbone(
            options.architecture, options.weights, pixels.shape, classes, dropout=options.dropout, seed=options.seed
        )
        if options.weights == "none":
            return model, []
        return model, [unfreezing(layers, options.unfreeze, options.epochs)]
    if options.architecture == "notebook":
        if min(pixels.height, pixels.width) < 44:
            raise InputError("notebook needs --image-size of at least 44: three 5x5 convolutions and poolings")
        return architectures.notebook_cnn(pixels.shape, classes, seed=options.seed), []
    model = architectures.edge_cnn(
        pixels.shape, classes, width=options.width * architectures.EDGES[options.architecture],
        dropout=options.dropout, kernels=pick(architectures.Kernels, options), seed=options.seed,
    )  # fmt: skip
    return model, []


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
    say(f"{count} images")
    print(folder)
    return OK
