"""A training that was cut off goes on where its last whole epoch ended, to the same result.

Beside the model lies NAME.resume.npz with everything that the next step depends on: weights, optimizer,
random generators, the average, the best epoch and what early stopping counts. It is plain arrays and JSON,
rewritten after each epoch and removed at the end.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from keras.callbacks import Callback

from edgecnn.errors import InputError
from edgecnn.terminal import say

from .keep import KeepBest

_COUNTERS = ("wait", "best", "best_epoch", "cooldown_counter")
"""What keras.callbacks.EarlyStopping and ReduceLROnPlateau remember between epochs."""


def resume_path(output: Path) -> Path:
    """Where the state of a training is kept."""
    return output.with_name(f"{output.stem}.resume.npz")


class Resume(Callback):
    """Saves the state after each epoch; must be the last callback.

    Args:
        output: the model's file.
        options: identify the training: only the same ones may go on.
        best: the callback that keeps the best weights.
        others: callbacks with counters.
        go_on: start from the saved state if there is one.

    Raises:
        InputError: the state is damaged or belongs to other options.
    """

    def __init__(
        self, output: Path, options: dict[str, Any], best: KeepBest, others: Sequence[Callback], *, go_on: bool
    ) -> None:
        super().__init__()
        self.epoch = 0
        """Whole epochs that were run."""
        self.history: dict[str, list[float]] = {}
        """Keras's History.history over all runs."""
        self._path, self._options, self._keep, self._others = resume_path(output), options, best, others
        self._state: dict[str, Any] | None = None
        if go_on and self._path.exists():
            self._read()

    def _read(self) -> None:
        try:
            with np.load(self._path, allow_pickle=False) as file:
                state = {name: file[name] for name in file.files}
            meta = json.loads(str(state.pop("meta")))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as e:
            raise InputError(f"{self._path}: can't be read ({e}); delete it to start anew") from None
        changed = sorted(k for k in self._options if meta["options"].get(k) != self._options[k])
        if changed:
            raise InputError(
                f"{self._path}: was begun with --{changed[0].replace('_', '-')} {meta['options'].get(changed[0])}, now "
                f"{self._options[changed[0]]}; use the same options, or delete it to start anew"
            )
        self.epoch, self.history = meta["epoch"], meta["history"]
        self._state = {"arrays": state, "meta": meta}

    def on_train_begin(self, logs=None):
        """Put the state back, after the other callbacks have reset theirs."""
        if self._state is None:
            return
        arrays, meta = self._state["arrays"], self._state["meta"]
        self.model.optimizer.build(self.model.trainable_variables)
        for name, variables in self._variables().items():
            for i, variable in enumerate(variables):
                variable.assign(arrays[f"{name}{i}"])
        self._keep.state = {
            **meta["keep"],
            "best": _numbered(arrays, "best"),
            "average": _numbered(arrays, "average") or None,
        }
        for callback, counters in zip(self._others, meta["counters"], strict=True):
            for name, value in counters.items():
                setattr(callback, name, value)
        self._state = None

    def on_epoch_end(self, epoch, logs=None):
        """Save the state."""
        self.epoch = epoch + 1
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        keep = dict(self._keep.state)
        arrays = {
            f"{name}{i}": np.asarray(v)
            for name, variables in self._variables().items()
            for i, v in enumerate(variables)
        }
        for name in ("best", "average"):
            arrays |= {f"{name}{i}": w for i, w in enumerate(keep.pop(name) or [])}
        counters = [{n: _plain(getattr(c, n)) for n in _COUNTERS if hasattr(c, n)} for c in self._others]
        meta = {
            "options": self._options, "epoch": self.epoch, "history": self.history, "keep": keep, "counters": counters,
        }  # fmt: skip
        partial = self._path.with_name(f".{self._path.name}.partial")
        try:
            with open(partial, "wb") as file:
                np.savez(file, meta=np.array(json.dumps(meta)), **arrays)
            os.replace(partial, self._path)
        except OSError as e:
            say(f"edgecnn: {self._path} can't be written: {e.strerror or e}; training goes on")
        finally:
            partial.unlink(missing_ok=True)

    def _variables(self) -> dict[str, list]:
        return {"model": self.model.variables, "optimizer": self.model.optimizer.variables}

    def finish(self) -> None:
        """The training is complete: nothing to go on with."""
        self._path.unlink(missing_ok=True)


def _numbered(arrays: dict[str, np.ndarray], name: str) -> list[np.ndarray]:
    count = sum(key.rstrip("0123456789") == name for key in arrays)
    return [arrays[f"{name}{i}"] for i in range(count)]


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, np.floating) else value
