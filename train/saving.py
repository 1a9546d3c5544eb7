"""Keras files written whole or not at all, with the recipe inside.

A model is saved without its optimizer: the file is a third of the size and loads without the training code.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn.errors import InputError, ModelError
from edgecnn.spec import ModelSpec

from .devices import as_plain

if TYPE_CHECKING:
    import keras

SUFFIXES = (".keras", ".h5")


def check_output(path: str | os.PathLike[str]) -> Path:
    """The path to write to, or the reason why not, before hours of training.

    Raises:
        InputError: another suffix, or a folder that can't be written to.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputError(f"-o {path}: the suffix decides the format; use .keras or .h5")
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"-o {path}: {folder} is no folder that can be written to, or {path.name} is a folder")
    return path


def checkpoint_path(output: Path, epoch: int, loss: float) -> Path:
    """Where an epoch, counted from 1, is kept: model.checkpoints/model.{epoch:02d}-{val_loss:.2f}.keras."""
    return output.with_name(f"{output.stem}.checkpoints") / f"{output.stem}.{epoch:02d}-{loss:.2f}{output.suffix}"


def save(model: keras.Model, path: Path, spec: ModelSpec) -> None:
    """Write the model and its recipe, replacing the file in one step.

    Raises:
        ModelError: the disk is full or the file can't be written; an older file is untouched.
    """
    import keras
    from absl import logging

    from edgecnn.export.stamp import write_stamp

    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    plain = as_plain(model)
    bare = keras.Model(plain.inputs, plain.outputs, name=model.name)
    shown = logging.get_verbosity()
    try:
        path.parent.mkdir(exist_ok=True)
        # Keras calls HDF5 a legacy format in a log line at every save; it was asked for.
        logging.set_verbosity(logging.ERROR)
        bare.save(partial)
        write_stamp(partial, spec)
        os.replace(partial, path)
    except (OSError, ModelError) as e:
        reason = e if isinstance(e, OSError) else e.__cause__  # the stamp's error names the partial file
        if not isinstance(reason, OSError):
            raise
        text = reason.strerror or reason
        raise ModelError(f"{path} can't be written: {text}; what was saved before is kept") from None
    finally:
        logging.set_verbosity(shown)
        partial.unlink(missing_ok=True)
