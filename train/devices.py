"""What a training computes on: several devices or workers through tf.distribute, and 16-bit arithmetic."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn.errors import MissingDependencyError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

STRATEGIES = ("none", "mirrored", "multiworker")


def distribute(name: str) -> tf.distribute.Strategy:
    """The strategy in whose scope a model is built: one of STRATEGIES; a batch is shared out among the devices.

    multiworker reads $TF_CONFIG as TensorFlow does, waits for the other workers, and must be called before anything is
    computed.
    """
    import tensorflow as tf

    if name == "multiworker":
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        # TensorFlow only notes SIGTERM, for checkpoints that it doesn't make here; it shall end the process.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return strategy
    return tf.distribute.MirroredStrategy() if name == "mirrored" else tf.distribute.get_strategy()


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
    """Keras's TensorBoard callback: `tensorboard --logdir FOLDER` shows the curves while training."""
    from keras.callbacks import TensorBoard

    return TensorBoard(folder)


def require_tensorboard() -> None:
    """To be asked before anything takes long.

    Raises:
        MissingDependencyError: the package is not installed.
    """
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        raise MissingDependencyError(
            "--tensorboard needs tensorboard; python -m pip install 'edgecnn[tensorboard]'"
        ) from None
