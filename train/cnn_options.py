"""The command line of `edgecnn train cnn`, and the defaults of photographs and of digits."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from edgecnn.presets import add_recipe_options, from_preset, recipe_from_options
from edgecnn.spec import PixelSpec

from . import architectures, config
from .augment import FILL_MODES, Augmentation
from .cache import CACHES
from .devices import STRATEGIES
from .options import above_zero, add_fit_options, add_kernel_options, fraction, parser, part, positive, zero_or_more
from .pretrained import BACKBONES, backbone_recipe

FIT_DEFAULTS: dict[str, Any] = {
    "batch_size": 32, "validation_split": 0.2, "optimizer": "adamw", "learning_rate": 2e-3,
    "schedule": "cosine", "warmup": 0.1, "weight_decay": 0.05, "label_smoothing": 0.1,
    "monitor": "val_accuracy", "patience": 0, "ema_momentum": 0.98, "checkpoints": True,
}  # fmt: skip

PHOTOGRAPHS: dict[str, Any] = {
    "image_size": (64, 64), "width": 1.0,
    "horizontal_flip": True, "vertical_flip": False, "rotation_range": 25.0, "width_shift_range": 0.15,
    "height_shift_range": 0.15, "shear_range": 0.0, "zoom_range": [0.35], "stretch_range": 0.2,
    "fill_mode": "reflect", "brightness_range": 0.1, "contrast_range": 0.2, "saturation_range": 0.3,
    "invert": 0.0, "noise": 0.0, "cutout": 0.0, "mixup": 0.0, "cutmix": 0.5, "weight_decay": None,
}  # fmt: skip
"""Defaults for folders of photographs; measured on ants and bees and on clip art pasted on photographs, 64x64."""

DIGITS: dict[str, Any] = PHOTOGRAPHS | {
    "image_size": (32, 32), "color": "gray", "width": 0.5, "dropout": 0.1, "epochs": 30, "label_smoothing": 0.05,
    "horizontal_flip": False, "rotation_range": 10.0, "width_shift_range": 0.12, "height_shift_range": 0.12,
    "shear_range": 5.0, "zoom_range": [0.9, 1.5], "fill_mode": "constant", "brightness_range": 0.15,
    "contrast_range": 0.4, "saturation_range": 0.0, "invert": 0.5, "noise": 0.05,
    "cutmix": 0.0, "weight_decay": 0.05,
}  # fmt: skip
"""Defaults for --dataset digits: a mirrored digit is no digit, and a camera sees dark ink on light paper."""

PRETRAINED: dict[str, Any] = PHOTOGRAPHS | {
    "image_size": (160, 160), "epochs": 15, "learning_rate": 5e-4, "weight_decay": 0.05,
}  # fmt: skip
"""Defaults for networks of keras.applications: a size that they were trained at, and steps that forget little."""

LEAST_STEPS = 100
"""Steps an epoch has at least: a few hundred photographs are gone through several times, each time changed."""

LEAST_LOOKS, MOST_LOOKS = 75, 150
"""Times that a training shows each photograph. After more a small network knows 200 photographs by heart (ants and
bees, the 153 of val, seeds 0 and 1: cross-entropy 0.49 and 0.52 after 75 looks, 0.53 and 0.56 after 150); 1,440 it does
not (two kinds of clip art on photographs, 1,000 others to validate, with MOST_DECAY: 0.63 after 75, 0.60 after 150)."""

FEW, MANY = 500, 1000
"""Photographs up to which there are LEAST_LOOKS, and from which there are MOST_LOOKS; in between they rise evenly."""

FEWEST_EPOCHS, MOST_EPOCHS = 5, 75
"""Bounds of the epochs that follow: too few steps teach nothing, and 1,800 photographs should take minutes."""

MOST_DECAY, DECAYED_STEPS = 0.5, 6800
"""Weight decay of photographs, and the steps from which it falls as they grow more, so that it takes off as much in all
(Wang and Aitchison 2024, "How to set AdamW's weight decay as you scale model and dataset size"). Cross-entropy on that
clip art after 150 looks with 0.05, 0.5 and 2: 0.64, 0.60 and 0.68 (a second seed with 0.5: 0.62); ants and bees, three
folds, with 0.05 and 0.5: 0.527 and 0.525."""


def set_length(options: argparse.Namespace, images: int) -> int:
    """Steps an epoch for so many training images; sets options.epochs and options.weight_decay where nobody did."""
    # A backbone starts with most of what it needs, and its steps are long: one pass.
    least = 1 if options.architecture in BACKBONES else LEAST_STEPS
    steps = options.steps_per_epoch or max(least, math.ceil(images / options.batch_size))
    if options.epochs is None:
        rise = min(max((images - FEW) / (MANY - FEW), 0), 1)
        looks = LEAST_LOOKS + rise * (MOST_LOOKS - LEAST_LOOKS)
        epochs = round(looks * images / (steps * options.batch_size))
        options.epochs = min(max(epochs, FEWEST_EPOCHS), MOST_EPOCHS)
    if options.weight_decay is None:
        options.weight_decay = MOST_DECAY * min(1, DECAYED_STEPS / (steps * options.epochs))
    return steps


def parse(argv: Sequence[str]) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """The parser, and the options of a command line and its --config."""
    p = parser(
        "edgecnn train cnn",
        "DIR",
        "Train an image classifier on a folder of class folders; export reads the saved file without a flag.",
        "Architectures: edge, a small residual network with batch normalisation (edge-small, edge-large: 0.5 and "
        "1.5 times its channels); notebook, the tutorial's three 5x5 convolutions and six dense layers, which stays "
        "near chance (0.57 on cats and dogs) and is here to compare with; mobilenetv2 and efficientnetb0 of "
        "keras.applications, for transfer learning with --weights.",
    )
    p.add_argument(
        "folder",
        nargs="?",
        help="DIR/CLASS/*.jpg, or DIR/train/CLASS with DIR/val/CLASS and DIR/test/CLASS, or a CSV of path,label",
    )
    p.add_argument("--dataset", choices=("digits",), help="instead of a folder: scikit-learn's digits, no download")
    p.add_argument("--write-dataset", metavar="DIR", help="write the digits as DIR/CLASS/*.png and stop")
    p.add_argument(
        "--validation-data", metavar="DIR", help="folder of class folders to validate on, instead of a split"
    )
    p.add_argument(
        "--report", action=argparse.BooleanOptionalAction, default=True, help="NAME.report.html and .json by the model"
    )
    p.add_argument(
        "--compare-resizes",
        action="store_true",
        help="validate with the pixels of other loaders too, and report which of them would cost accuracy",
    )
    p.add_argument(
        "--compare-training", action="store_true",
        help="the same, and train anew with the pixels of each: as many trainings more, each as long as the first",
    )  # fmt: skip
    p.add_argument(
        "--cache",
        choices=CACHES,
        default="auto",
        help="where decoded images are kept; auto: in memory up to 1 GiB, else in a temporary file by the model if "
        "half of the free disk is enough, else they are decoded each epoch",
    )
    p.add_argument("--strict", action="store_true", help="stop at an image that can't be read instead of skipping it")
    p.add_argument(
        "--image-size", type=_size, metavar="N|HxW", help="model input, pixels (default 64, digits 32, backbones 160)"
    )
    add_recipe_options(p)
    group = p.add_argument_group("network")
    group.add_argument("--architecture", choices=(*architectures.CNNS, *BACKBONES), default="edge", help="the network")
    group.add_argument(
        "--weights",
        default="imagenet",
        metavar="imagenet|none|FILE",
        help="that mobilenetv2 or efficientnetb0 starts with (keras.applications: weights)",
    )
    group.add_argument(
        "--unfreeze",
        type=part,
        nargs="+",
        default=[0.0, 0.3, 1.0],
        metavar="SHARE",
        help="of their layers, from the end, that is trained in each equal part of the epochs",
    )
    group.add_argument("--width", type=above_zero, help="factor on the channels of edge; digits 0.5")
    add_kernel_options(group, "he_normal")
    group.add_argument("--dropout", type=fraction, default=0.2, help="before edge's last layer (Dropout: rate)")
    add_fit_options(
        p, FIT_DEFAULTS,
        f"; default as many as show each image {LEAST_LOOKS} to {MOST_LOOKS} times, the more images the more, "
        f"{FEWEST_EPOCHS} to {MOST_EPOCHS}; "
        f"digits {DIGITS['epochs']}, backbones {PRETRAINED['epochs']}",
        f"; default {MOST_DECAY}, less where there are more than {DECAYED_STEPS} steps; digits and backbones "
        f"{DIGITS['weight_decay']}",
    )  # fmt: skip
    p.add_argument(
        "--steps-per-epoch", type=positive,
        help=f"batches an epoch (fit: steps_per_epoch); default one pass over the images, but at least {LEAST_STEPS}",
    )  # fmt: skip
    p.add_argument(
        "--validation-steps", type=positive, help="batches validated on; default all (fit: validation_steps)"
    )
    _add_device_options(p)
    _add_augmentation_options(p)
    p.set_defaults(**PHOTOGRAPHS)
    first = config.parse(p, argv)
    if first.dataset == "digits":
        p.set_defaults(**DIGITS)
    elif first.architecture in BACKBONES:
        p.set_defaults(**PRETRAINED)
    options = config.parse(p, argv)
    if bool(options.folder) == bool(options.dataset) and not options.write_dataset:
        p.error("give a folder of class folders, or --dataset digits")
    zoom = options.zoom_range
    if len(zoom) > 2 or (len(zoom) == 1 and zoom[0] >= 1) or (len(zoom) == 2 and not 0 < zoom[0] <= zoom[1]):
        p.error(f"--zoom-range {' '.join(map(str, zoom))}: give Z below 1, or LOW HIGH, both above 0")
    return p, options


def _add_device_options(p: argparse.ArgumentParser) -> None:
    group = p.add_argument_group("devices")
    group.add_argument(
        "--strategy",
        choices=STRATEGIES,
        default="none",
        help="tf.distribute: MirroredStrategy over the GPUs, or MultiWorkerMirroredStrategy over the workers of "
        "$TF_CONFIG, each started with the same options and images; the first one leaves the model",
    )
    group.add_argument(
        "--mixed-precision",
        action="store_true",
        help="compute in 16 bits (mixed_float16 on a GPU, else mixed_bfloat16); the saved model is float32",
    )


def _add_augmentation_options(p: argparse.ArgumentParser) -> None:
    group = p.add_argument_group("augmentation (training only, never in the model; 0 is off)")
    on_off = argparse.BooleanOptionalAction
    group.add_argument("--horizontal-flip", action=on_off, help="mirror half of the images; digits: off")
    group.add_argument("--vertical-flip", action=on_off, help="turn half of the images upside down")
    for name, kind, text in (
        ("rotation-range", zero_or_more, "degrees to either side"),
        ("width-shift-range", fraction, "share of the width"),
        ("height-shift-range", fraction, "share of the height"),
        ("shear-range", zero_or_more, "degrees to either side"),
        ("stretch-range", zero_or_more, "change of the aspect ratio"),
        ("brightness-range", zero_or_more, "share of the full range"),
        ("contrast-range", fraction, "contrast from 1-c to 1+c"),
        ("saturation-range", zero_or_more, "saturation from 1-s to 1+s"),
        ("invert", zero_or_more, "probability of a negative"),
        ("noise", zero_or_more, "largest standard deviation of Gaussian noise, share of the full range"),
        ("cutout", zero_or_more, "largest side of a gray square, share of the image"),
        ("mixup", zero_or_more, "alpha of mixup"),
        ("cutmix", part, "probability that a rectangle comes from another image, labels alike"),
    ):
        group.add_argument(f"--{name}", type=kind, help=text)
    group.add_argument(
        "--zoom-range", type=zero_or_more, nargs="+", metavar="Z", help="from 1-Z to 1+Z, or LOW HIGH; above 1 shrinks"
    )
    group.add_argument("--fill-mode", choices=FILL_MODES, help="what is seen beyond the border; constant: black")


def _size(text: str) -> tuple[int, int]:
    """N or HxW as (height, width)."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdigit() and int(part) >= 8 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not N or HxW with sides of at least 8 pixels")
    return int(parts[0]), int(parts[-1])


def augmentation(options: argparse.Namespace) -> Augmentation:
    """What the options say about augmentation."""
    given = {f.name: getattr(options, f.name) for f in dataclasses.fields(Augmentation)}
    zoom = given["zoom_range"]
    return Augmentation(**given | {"zoom_range": (1 - zoom[0], 1 + zoom[0]) if len(zoom) == 1 else tuple(zoom)})


def recipe(options: argparse.Namespace) -> PixelSpec:
    """What the options say about pixels; without any, the preset edgecnn in colour.

    Raises:
        InputError: it contradicts itself or the architecture.
    """
    height, width = options.image_size
    pixels = recipe_from_options(options, from_preset("edgecnn", height=height, width=width))
    return backbone_recipe(options.architecture, pixels) if options.architecture in BACKBONES else pixels
