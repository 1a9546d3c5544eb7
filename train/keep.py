"""The callback that holds the best weights, in memory and on the disk, averaged over the last steps.

An average of the weights is steadier than the weights of one step: with a few dozen validation images the
best epoch is partly luck, and less so with averages (ants and bees, 3 seeds, accuracy of the kept epoch on
photographs that took no part: 0.715 without, 0.723 with).
"""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from keras.callbacks import Callback

from edgecnn.errors import ModelError
from edgecnn.spec import ModelSpec
from edgecnn.terminal import say

from .saving import checkpoint_path, save

_EVERY = 5
"""Steps between two updates of the average."""

_SAVE_EVERY = 5.0
"""Seconds between two writes to the disk at least: an epoch of a small table takes less than a write."""

_RISE = 20
"""The average follows closely at first: its momentum is at most n / (n + _RISE) after n steps."""


def higher_is_better(monitor: str) -> bool:
    """Whether a metric, by its Keras name, is better when it is higher."""
    return monitor.removeprefix("val_") in ("accuracy", "auc", "r2")


class KeepBest(Callback):
    """Validates, keeps and saves the averaged weights; training goes on with its own.

    Args:
        monitor: the value that decides: of a loss the lowest, of any other metric the highest; of equal ones
            the later, whose learning rate is lower. With "none" the last.
        path: where the best weights are saved as an epoch ends, but not more often than every _SAVE_EVERY.
        spec: stored beside them.
        momentum: of the exponential average, a step; 0 is none.
        each_epoch: keep every epoch too, at saving.checkpoint_path.
    """

    def __init__(
        self, monitor: str, path: Path, spec: ModelSpec, momentum: float = 0.0, *, each_epoch: bool = False
    ) -> None:
        super().__init__()
        self.epoch = 0
        """The best so far, counted from 1."""
        self.saved = False
        """Whether it is on the disk."""
        self._monitor, self._path, self._spec, self._momentum = monitor, path, spec, momentum
        self._each_epoch = each_epoch
        self._steps = 0
        self._saved_at = -math.inf
        self._value = math.inf
        self._best: list[np.ndarray] | None = None
        self._average: list[np.ndarray] | None = None
        self._own: list[np.ndarray] | None = None

    def on_train_batch_end(self, batch, logs=None):
        """Update the average."""
        self._steps += 1
        if not self._momentum or self._steps % _EVERY:
            return
        weights = self.model.get_weights()
        if self._average is None:
            self._average = [np.array(w) for w in weights]
            return
        share = min(self._momentum**_EVERY, self._steps / (self._steps + _RISE))
        for average, now in zip(self._average, weights, strict=True):
            # Counters and the state of random generators are whole numbers: they go along as they are.
            is_float = np.issubdtype(average.dtype, np.floating)
            average[...] = average + average.dtype.type(1 - share) * (now - average) if is_float else now

    def on_test_begin(self, logs=None):
        """Validate the average."""
        if self._average is not None and self._own is None and self._steps:
            self._own = [np.array(w) for w in self.model.get_weights()]
            self.model.set_weights(self._average)

    def on_epoch_end(self, epoch, logs=None):
        """Keep the epoch if it is the best, then go back to the weights that are trained."""
        self.on_test_begin()
        logs = logs or {}
        value = 0.0 if self._monitor == "none" else float(logs[self._monitor])
        if higher_is_better(self._monitor):
            value = -value
        if self._best is None or value <= self._value:
            self._value, self.epoch = value if math.isfinite(value) else math.inf, epoch + 1
            self._best = [np.array(w) for w in self.model.get_weights()]
            self.saved = False
            if time.monotonic() - self._saved_at >= _SAVE_EVERY:
                self._write()
        # After the best one: where the disk is nearly full, that is the one to have.
        if self._each_epoch:
            self._try_to_save(checkpoint_path(self._path, epoch + 1, logs.get("val_loss", logs["loss"])))
        if self._own is not None:
            self.model.set_weights(self._own)
            self._own = None

    @property
    def state(self) -> dict[str, Any]:
        """What the next epoch depends on: numbers, and lists of arrays under best and average."""
        return {
            "epoch": self.epoch,
            "saved": self.saved,
            "steps": self._steps,
            "value": self._value,
            "best": self._best,
            "average": self._average,
        }

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self.epoch, self.saved, self._steps = state["epoch"], state["saved"], state["steps"]
        self._value, self._best, self._average = state["value"], state["best"], state["average"]

    def flush(self) -> None:
        """Put the best weights on the disk if they are not there; what can't be written is told."""
        if self._best is not None and not self.saved:
            try:
                self.restore()
            except ModelError as e:
                say(f"edgecnn: {e}")

    def _write(self) -> None:
        """Save the best epoch, whose weights are in the model now."""
        self.saved = self._try_to_save(self._path)
        self._saved_at = time.monotonic()

    def _try_to_save(self, path: Path) -> bool:
        try:
            save(self.model, path, self._spec)
            return True
        except ModelError as e:
            say(f"edgecnn: {e}; training goes on")
            return False

    def restore(self) -> None:
        """Put the best weights into the model, and on the disk if they are not there.

        Raises:
            ModelError: the file can't be written; the message tells where else the model is, if anywhere.
        """
        self.model.set_weights(self._best)
        if not self.saved:
            try:
                save(self.model, self._path, self._spec)
            except ModelError as e:
                raise ModelError(f"{e}{self._rescue()}") from None
            self.saved = True

    def _rescue(self) -> str:
        """Save the model where temporary files go: hours of training may be in it."""
        try:
            folder = Path(tempfile.mkdtemp(prefix="edgecnn-"))
        except OSError:
            return ""
        try:
            save(self.model, folder / self._path.name, self._spec)
        except ModelError:
            shutil.rmtree(folder, ignore_errors=True)
            return ""
        return f"; epoch {self.epoch}, the best one, is in {folder / self._path.name}"
