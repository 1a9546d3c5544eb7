"""Layers that a later Keras dropped or changed, with their own arithmetic and order of weights.

Sources: keras/layers/core.py, advanced_activations.py, normalization.py and convolutional.py of Keras 1.2.2, and
resize_images of keras/backend/tensorflow_backend.py of Keras 2.3.1; python/keras/layers/recurrent.py of TensorFlow
2.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..backend import tensorflow

NAMES = frozenset(
    {
        "Highway", "MaxoutDense", "SReLU", "ParametricSoftplus", "SampleNormalization", "BatchStatistics",
        "CosineMerge", "Deconvolution2D", "CornerUpSampling2D", "PeepholeLSTMCell",
    }
)  # fmt: skip
"""Class names of layers()."""


def matrix_dot(first: Any, second: Any, axes: Sequence[int]) -> Any:
    """A product along an axis of each, of two tensors of one rank above 3: of the matrices in their last two axes."""
    last = first.shape.rank - 1
    return tensorflow().matmul(first, second, transpose_a=axes[0] != last, transpose_b=axes[1] == last)


def layers(keras: Any) -> dict[str, type]:
    """Name -> layer class of this tf-keras."""
    tf = tensorflow()
    base = keras.layers.Layer

    class Retired(base):  # type: ignore[misc, valid-type]
        """Keeps what the file stores, and makes weights by name."""

        def __init__(self, **config: Any) -> None:
            own = {
                k: config.pop(k) for k in list(config) if k not in ("name", "trainable", "dtype", "batch_input_shape")
            }
            super().__init__(**config)
            self.stored, self.supports_masking = own, True

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), **self.stored}

        def weight(self, name: str, shape: Any) -> Any:
            return self.add_weight(name=name, shape=shape, initializer="zeros")

        def parameter(self, name: str, shape: Any) -> Any:
            """A weight for every value of the input, save along shared axes."""
            sizes = list(shape[1:])
            for axis in self.stored.get("shared_axes") or ():
                sizes[axis - 1] = 1
            return self.weight(name, sizes)

    class Highway(Retired):
        def build(self, shape: Any) -> None:
            size = int(shape[-1])
            self.kernels = [self.weight(n, (size, size)) for n in ("W", "W_carry")]
            bias = self.stored.get("use_bias", True)
            self.biases = [self.weight(n, (size,)) for n in ("b", "b_carry")] if bias else [0.0, 0.0]

        def call(self, x: Any) -> Any:
            value, gate = (tf.matmul(x, w) + b for w, b in zip(self.kernels, self.biases, strict=True))
            gate = tf.sigmoid(gate)
            return keras.activations.get(self.stored.get("activation"))(value) * gate + (1 - gate) * x

    class MaxoutDense(Retired):
        def build(self, shape: Any) -> None:
            features, units = self.stored["nb_feature"], self.stored["output_dim"]
            self.kernel = self.weight("W", (features, int(shape[-1]), units))
            self.bias = self.weight("b", (features, units)) if self.stored.get("use_bias", True) else 0.0

        def call(self, x: Any) -> Any:
            return tf.reduce_max(tf.einsum("ni,fio->nfo", x, self.kernel) + self.bias, 1)

    class SReLU(Retired):
        def build(self, shape: Any) -> None:
            names = ("t_left", "a_left", "t_right", "a_right")
            self.parameters = [self.parameter(n, shape) for n in names]

        def call(self, x: Any) -> Any:
            t_left, a_left, t_right, a_right = self.parameters
            width = tf.abs(t_right)
            left = x - t_left
            centre = tf.clip_by_value(left, 0.0, width) - a_left * tf.nn.relu(-left)
            return t_left + centre + a_right * tf.nn.relu(left - width)

    class ParametricSoftplus(Retired):
        def build(self, shape: Any) -> None:
            self.parameters = [self.parameter(n, shape) for n in ("alphas", "betas")]

        def call(self, x: Any) -> Any:
            alpha, beta = self.parameters
            return alpha * tf.math.softplus(beta * x)

    class Normalization(Retired):
        def build(self, shape: Any) -> None:
            names = ("gamma", "beta", "running_mean", "running_std")
            size = int(shape[self.stored.get("axis", -1)])
            self.gamma, self.beta, *_ = (self.weight(n, (size,)) for n in names)

    class SampleNormalization(Normalization):
        """mode=1, whose axis is always the last."""

        def call(self, x: Any) -> Any:
            epsilon = self.stored["epsilon"]
            mean, variance = tf.nn.moments(x, [-1], keepdims=True)
            return self.gamma * (x - mean) / (tf.sqrt(variance + epsilon) + epsilon) + self.beta

    class BatchStatistics(Normalization):
        """mode=2: the statistics of the batch at hand, also in inference."""

        def call(self, x: Any) -> Any:
            axis = self.stored.get("axis", -1) % x.shape.rank
            mean, variance = tf.nn.moments(x, [i for i in range(x.shape.rank) if i != axis], keepdims=True)
            gamma, beta = (
                tf.reshape(w, [-1 if i == axis else 1 for i in range(x.shape.rank)]) for w in (self.gamma, self.beta)
            )
            return (x - mean) * tf.math.rsqrt(variance + self.stored["epsilon"]) * gamma + beta

    class CosineMerge(Retired):
        def call(self, pair: Any) -> Any:
            first, second = pair
            axes = self.stored.get("axes", -1)
            if isinstance(axes, int):
                axes = [axes % first.shape.rank] * 2

            def dot(a: Any, b: Any) -> Any:
                if a.shape.rank == b.shape.rank >= 4:
                    return matrix_dot(a, b, axes)
                return keras.backend.batch_dot(a, b, tuple(axes))

            squares = tf.maximum(dot(first, first) * dot(second, second), 0.0)
            scale = tf.maximum(tf.sqrt(squares), keras.backend.epsilon())
            return tf.expand_dims(dot(first, second) / scale, 1)

    class Deconvolution2D(keras.layers.Conv2DTranspose):  # type: ignore[misc, name-defined]
        """Keras 1 stored the whole output shape where Keras 2 pads."""

        def __init__(self, *, output_shape: Any = None, **config: Any) -> None:
            super().__init__(**config)
            self.stored_shape = output_shape

        def build(self, shape: Any) -> None:
            super().build(shape)
            first = self.data_format == "channels_first"
            given, wanted = (list(s)[2:] if first else list(s)[1:3] for s in (shape, self.stored_shape or shape))
            if self.stored_shape is None or None in given or None in wanted:
                return
            self.output_padding = tuple(
                out - (size - 1) * stride - kernel + (2 * (kernel // 2) if self.padding == "same" else 0)
                for size, out, stride, kernel in zip(given, wanted, self.strides, self.kernel_size, strict=True)
            )

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "output_shape": self.stored_shape}

    class CornerUpSampling2D(keras.layers.UpSampling2D):  # type: ignore[misc, name-defined]
        """Bilinear from the pixels' corners, as TensorFlow 1 resized; since TensorFlow 2 from their centres."""

        def call(self, x: Any) -> Any:
            first = self.data_format == "channels_first"
            x = tf.transpose(x, (0, 2, 3, 1)) if first else x
            size = [n if n is not None else tf.shape(x)[i] for i, n in enumerate(x.shape[1:3], 1)]
            y = tf.compat.v1.image.resize_bilinear(x, [n * f for n, f in zip(size, self.size, strict=True)])
            return tf.transpose(y, (0, 3, 1, 2)) if first else y

    class PeepholeLSTMCell(keras.layers.LSTMCell):  # type: ignore[misc, name-defined]
        """Whose gates see the cell's state too: those of input and forgetting the last one, that of output the new."""

        def build(self, shape: Any) -> None:
            super().build(shape)
            names = [f"{gate}_gate_peephole_weights" for gate in ("input", "forget", "output")]
            self.peepholes = [self.add_weight(name=name, shape=(self.units,)) for name in names]

        def call(self, x: Any, states: Any, training: Any = None) -> Any:
            (hidden, old), gate = states, self.recurrent_activation
            z = tf.matmul(x, self.kernel) + tf.matmul(hidden, self.recurrent_kernel)
            into, forget, candidate, out = tf.split(z + self.bias if self.use_bias else z, 4, -1)
            seen_in, seen_forget, seen_out = self.peepholes
            new = gate(forget + seen_forget * old) * old + gate(into + seen_in * old) * self.activation(candidate)
            hidden = gate(out + seen_out * new) * self.activation(new)
            return hidden, [hidden, new]

    made = (
        Highway, MaxoutDense, SReLU, ParametricSoftplus, SampleNormalization, BatchStatistics, CosineMerge,
        Deconvolution2D, CornerUpSampling2D, PeepholeLSTMCell,
    )  # fmt: skip
    return {cls.__name__: cls for cls in made}
