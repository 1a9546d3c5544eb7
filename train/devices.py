"""What a training computes on: several devices or workers through tf.distribute, and 16-bit arithmetic."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

STRATEGIES = ("none", "mirrored", "multiworker")


def distribute(name: str) -> tf.distribute.Strategy:
    """The strategy in whose scope a model is built: one of STRATEGIES; a batch is shared out among the devices.

    multiworker reads $TF_CONFIG as TensorFlow does, and must be called before anything is computed. One worker is what
    Keras 3 can: with two, its trainer fails to reduce what they return (Keras 3.15, TensorFlow 2.21).

    Raises:
        InputError: $TF_CONFIG is no such description, or names several workers.
    """
    import tensorflow as tf

    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    if name == "multiworker":
        workers = count_workers()
        if workers > 1:
            raise InputError(
                f"--strategy multiworker: $TF_CONFIG names {workers} workers, and Keras 3 can train on one only; "
                "use --strategy mirrored on the machine with the most GPUs"
            )
        return tf.distribute.MultiWorkerMirroredStrategy()
    return tf.distribute.get_strategy()


def count_workers() -> int:
    """The workers in $TF_CONFIG; 1 where there is none.

    Raises:
        InputError: $TF_CONFIG is no such description.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        return 1
    try:
        config = json.loads(text)
        task, workers = config["task"], config["cluster"]["worker"]
        if task["type"] != "worker" or not 0 <= int(task["index"]) < len(workers):
            raise ValueError(f"there is no {task['type']} {task['index']} among {len(workers)} workers")
    except (ValueError, KeyError, TypeError) as e:
        raise InputError(
            '$TF_CONFIG: expected {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}; '
            f"{type(e).__name__}: {e}"
        ) from None
    return len(workers)


def use_mixed_precision() -> str:
    """Compute in 16 bits from here on, weights stay float32; float16 on a GPU, bfloat16 elsewhere.

    Returns:
        Keras's name of the policy.
    """
    import keras
    import tensorflow as tf

    policy = "mixed_float16" if tf.config.list_physical_devices("GPU") else "mixed_bfloat16"
    keras.mixed_precision.set_global_policy(policy)
    return policy


def as_plain(model: keras.Model) -> keras.Model:
    """The model on one device and in float32, with the same weights: what is saved, exported and reported."""
    import keras
    import tensorflow as tf

    is_alone = model.distribute_strategy is tf.distribute.get_strategy()
    if is_alone and all(layer.compute_dtype == "float32" for layer in model.layers):
        return model

    def plain(layer: keras.Layer) -> keras.Layer:
        return type(layer).from_config({**layer.get_config(), "dtype": "float32"})

    copy = keras.models.clone_model(model, clone_function=plain)
    copy.set_weights(model.get_weights())
    return copy


def tensorboard(folder: Path) -> keras.callbacks.Callback:
    """Keras's TensorBoard callback: `tensorboard --logdir FOLDER` shows the curves while training.

    Raises:
        MissingDependencyError: the package is not installed.
    """
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        raise MissingDependencyError(
            "--tensorboard needs tensorboard; python -m pip install 'edgecnn[tensorboard]'"
        ) from None
    from keras.callbacks import TensorBoard

    return TensorBoard(folder)
