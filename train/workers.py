"""Several workers: one training, shared by processes on one machine or on several, as $TF_CONFIG describes them.

Each reads all images and takes its part of every batch; gradients and metrics are averaged. The first one leaves the
model. Keras 3.15 can't fit with MultiWorkerMirroredStrategy by itself (keras-team/keras, issue 20585): it averages the
first batch over the workers, which TensorFlow refuses, and metrics along an axis that they don't have. SharedModel
keeps it from both.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn.errors import InputError
from edgecnn.terminal import say

from .meeting import meet

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def find_worker() -> tuple[int, int]:
    """The number of this worker, from 0, and how many there are, from $TF_CONFIG; (0, 1) where there is none.

    Raises:
        InputError: $TF_CONFIG is no such description.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        return 0, 1
    try:
        config = json.loads(text)
        task, cluster = config["task"], config["cluster"]
        # A cluster may have a chief beside its workers; he is then the first of them.
        chiefs, workers = len(cluster.get("chief", ())), len(cluster["worker"])
        index, count = int(task["index"]), {"chief": chiefs, "worker": workers}[task["type"]]
        if not 0 <= index < count:
            raise ValueError(f"there is no {task['type']} {index} among {count}")
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise InputError(
            '$TF_CONFIG: expected {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}; '
            f"{type(e).__name__}: {e}"
        ) from None
    return index + chiefs * (task["type"] == "worker"), chiefs + workers


def wait_for_all(worker: int, workers: int) -> None:
    """Return when all workers are there; Ctrl-C and SIGTERM end it.

    Raises:
        InputError: $TF_CONFIG holds no address of the first one, or it can't listen there.
    """
    say(f"worker {worker} of {workers}: waiting for the others")
    cluster = json.loads(os.environ["TF_CONFIG"])["cluster"]
    meet(str([*cluster.get("chief", ()), *cluster["worker"]][0]), worker, workers)


def own_output(output: Path, worker: int) -> Path:
    """Where a worker keeps the best epoch and what --resume needs: the first one at the model's place."""
    return output if worker == 0 else output.with_name(f"{output.stem}.worker{worker}{output.suffix}")


def check_epochs(strategy: tf.distribute.Strategy, epoch: int) -> None:
    """That every worker goes on after the same epoch.

    Raises:
        InputError: one was cut off between the state of another and its own.
    """
    import tensorflow as tf

    @tf.function
    def gather() -> tf.Tensor:
        return strategy.gather(strategy.run(lambda: tf.constant([epoch])), axis=0)

    epochs = sorted(set(gather().numpy().tolist()))
    if len(epochs) > 1:
        raise InputError(
            f"--resume: the workers were cut off after different epochs, {' and '.join(map(str, epochs))}; "
            "delete their .resume.npz to start anew"
        )


def share(model: keras.Model) -> keras.Model:
    """The same model, with the same weights, that Keras can fit on several workers."""
    import keras
    import tensorflow as tf

    class SharedModel(keras.Model):
        """What is built already, and returns metrics of one axis."""

        def _maybe_symbolic_build(self, iterator=None, data_batch=None):
            pass

        def train_step(self, data):
            return _lift(super().train_step(data))

        def test_step(self, data):
            return _lift(super().test_step(data))

    def _lift(metrics: dict) -> dict:
        return {name: tf.reshape(value, (1,)) for name, value in metrics.items()}

    return SharedModel(model.inputs, model.outputs, name=model.name)
