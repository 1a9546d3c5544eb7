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
    """The strategy in whose scope a model is built: one of STRATEGIES.

    A batch is shared out among the devices; multiworker reads the workers from $TF_CONFIG, as TensorFlow does,
    and must be called before anything is computed.

    Raises:
        InputError: $TF_CONFIG is no such description, or the workers can't be reached.
    """
    import tensorflow as tf

    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    if name == "multiworker":
        worker_index()
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        except (ValueError, RuntimeError, tf.errors.OpError) as e:
            raise InputError(f"--strategy multiworker: {' '.join(str(e).split()):.300}") from None
    return tf.distribute.get_strategy()


def worker_index() -> int:
    """The number of this worker in $TF_CONFIG; 0, the chief, where there is none.

    Raises:
        InputError: $TF_CONFIG is no such description.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        return 0
    try:
        config = json.loads(text)
        task, workers = config["task"], config["cluster"]["worker"]
        index = int(task["index"])
        if task["type"] != "worker" or not 0 <= index < len(workers):
            raise ValueError(f"there is no {task['type']} {index} among {len(workers)} workers")
    except (ValueError, KeyError, TypeError) as e:
        raise InputError(
            '$TF_CONFIG: expected {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}; '
            f"{type(e).__name__}: {e}"
        ) from None
    return index


def worker_output(output: Path) -> Path:
    """Where this worker writes: the chief at `output`, each other beside it, for --resume."""
    index = worker_index()
    return output.with_name(f"{output.stem}.worker{index}{output.suffix}") if index else output


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


def as_float32(model: keras.Model) -> keras.Model:
    """The model without mixed precision, with the same weights: what is saved, exported and reported."""
    import keras

    if all(layer.compute_dtype == "float32" for layer in model.layers):
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
