"""What a class of layers meant to the Keras that wrote a file, where the Keras that opens it means something else.

A stand-in's own name is that of the class it stands for, so every other part of the export meets what it knows.

Sources: keras/layers/wrappers.py, recurrent.py, advanced_activations.py and backend/tensorflow_backend.py of Keras
1.2.2 to 2.3.1; python/keras/layers/preprocessing of TensorFlow 2.3 to 2.6; layers/attention of Keras 2.9 and 2.10;
src/layers/merging and preprocessing and src/layers/layer.py of Keras 3.0 to 3.13.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from ..backend import numbers, require, tensorflow
from .retired import matrix_dot
from .stored import Stored, class_configs

PREFIX = "Edge"
"""Before a class's name in an architecture: its stand-in."""

_KEEPING = f"{PREFIX}Keeping"
"""Before the name of a class that was called with a mask."""

KERAS, TF_KERAS = "keras", "tf.keras"
"""The two lines of versions: Keras on its own, and TensorFlow's up to Keras 2, which took other paths."""


def layers(keras: Any, stored: Stored) -> dict[str, type]:
    """Name -> class of this Keras with the meaning that it had when the file was written, where it changed since."""
    line, version = _writer(stored)
    found = {}
    for kind, of, first, end, make in _CHANGED:
        if of == line and first <= version < end and hasattr(keras.layers, kind):
            found[PREFIX + kind] = make(keras)
    if line == TF_KERAS and version < (2, 4) and not _names_cells(stored):
        # TensorFlow 1.13 to 2.0 say 2.2.4-tf; those before 2.0 wrote another implementation than 2 by default.
        implementations = (1, 2) if version >= (2, 3) else (2,)
        found |= {PREFIX + kind: _repeating(kind, implementations, keras) for kind in ("LSTM", "GRU")}
    if line == KERAS and (3,) <= version < (3, 11):
        for kind in _given_masks(stored):
            if base := found.get(PREFIX + kind, getattr(keras.layers, kind, None)):
                found[_KEEPING + kind] = _keeping_its_mask(base, keras)
    for name, cls in found.items():  # that of a class may be another than what the file has
        kind = name.removeprefix(_KEEPING).removeprefix(PREFIX)
        cls.__name__ = cls.__qualname__ = getattr(keras.layers, kind).__name__
    return found


def _names_cells(stored: Stored) -> bool:
    """Whether weights have the cell of their recurrent layer in their names, which TensorFlow 2.2 is known by.

    It says 2.3.0-tf, as 2.1 does.
    """
    if stored.kind != "hdf5":
        return False
    with require("h5py").File(stored.path) as file:
        return file.visit(lambda name: re.search(r"/(lstm|gru)_cell(_\d+)?/", name)) is not None


def _given_masks(stored: Stored) -> set[str]:
    """Classes of layers that were called with a mask as an argument."""
    return {layer["class_name"] for layer in stored.layers() if _is_given_mask(layer)}


def _is_given_mask(layer: Mapping[str, Any]) -> bool:
    nodes = (node for node in layer.get("inbound_nodes") or () if isinstance(node, Mapping))
    return any(isinstance(node.get("kwargs"), Mapping) and node["kwargs"].get("mask") for node in nodes)


def named(config: Any, stand_ins: Mapping[str, type]) -> Any:
    """The architecture with the names of these classes."""
    config = copy.deepcopy(config)
    for layer in class_configs(config):
        name = f"{PREFIX}{layer['class_name']}"
        # Not every layer of that class: Bidirectional can't make a second one of a class that Keras doesn't have.
        if (keeping := f"{_KEEPING}{layer['class_name']}") in stand_ins and _is_given_mask(layer):
            name = keeping
        stands_for = getattr(stand_ins.get(name), "stands_for", _any)
        if name in stand_ins and not _is_operation(layer) and stands_for(layer):
            layer["class_name"] = name  # type: ignore[index]
            if "module" in layer:
                layer |= {"module": None, "registered_name": name}  # type: ignore[operator]
    return config


def _any(layer: Mapping[str, Any]) -> bool:
    return True


def _is_operation(layer: Mapping[str, Any]) -> bool:
    """Whether it is a function of keras.ops, some of which have the names of layers."""
    known = {"trainable", "layer", "cells", "dtype"}
    of_operations = str(layer.get("module")).startswith("keras.src.ops")
    return of_operations or ("module" in layer and not known & layer["config"].keys())


def _writer(stored: Stored) -> tuple[str, tuple[int, ...]]:
    """(line, version) of the Keras that wrote the file."""
    text = stored.keras_version or str(stored.generation)
    version = numbers(text)
    plain = stored.generation == 1 or stored.before_tensorflow_2 or stored.generation == 3
    return KERAS if plain else TF_KERAS, version


# What a mask does.


def _bidirectional(keras: Any) -> type:
    class Bidirectional(keras.layers.Bidirectional):  # type: ignore[misc, name-defined]
        """Repeats the last output at masked steps, where it gives zeros today."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            for layer in (self.forward_layer, self.backward_layer):
                if hasattr(layer, "zero_output_for_mask"):
                    layer.zero_output_for_mask = False

    return Bidirectional


def _repeating(kind: str, implementations: tuple[int, ...], keras: Any) -> type:
    class Repeating(getattr(keras.layers, kind)):  # type: ignore[misc]
        """Repeats the last output at masked steps, also where a Bidirectional asks for zeros, as it always does.

        So did TensorFlow's code for CPUs. On a GPU the steps after the end of a sequence were zeros, those before
        its start weren't.
        """

        zero_output_for_mask = property(lambda self: False, lambda self, zeros: None)

        @staticmethod
        def stands_for(layer: Mapping[str, Any]) -> bool:
            """Whether cuDNN could compute it: such layers had code of their own, which gave zeros since 2.2."""
            config = layer["config"]
            return (
                (config.get("activation"), config.get("recurrent_activation")) == ("tanh", "sigmoid")
                and config.get("implementation") in implementations
                and not config.get("recurrent_dropout")
                and not config.get("unroll")
                and config.get("use_bias", True)
                and config.get("reset_after", True)
            )

    return Repeating


def _keeping_its_mask(base: type, keras: Any) -> type:
    class Keeping(base):  # type: ignore[misc, valid-type]
        """Hands on the mask that its input has, and not one that it was called with, as all layers do today."""

        def _set_mask_metadata(self, inputs: Any, outputs: Any, previous_mask: Any) -> None:
            of_inputs = keras.tree.map_structure(lambda x: getattr(x, "_keras_mask", None), inputs)
            super()._set_mask_metadata(inputs, outputs, of_inputs)

    return Keeping


def _time_distributed(keras: Any) -> type:
    class TimeDistributed(keras.layers.TimeDistributed):  # type: ignore[misc, name-defined]
        """Neither asks the layer inside for a mask, nor hands it one."""

        def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
            return super().call(inputs, training=training)

        def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
            return mask

    return TimeDistributed


def _softmax(keras: Any) -> type:
    class Softmax(keras.layers.Softmax):  # type: ignore[misc, name-defined]
        """Takes no mask; today it wants one of the shape of its input."""

        def call(self, inputs: Any, mask: Any = None) -> Any:
            return super().call(inputs)

        @staticmethod
        def stands_for(layer: Mapping[str, Any]) -> bool:
            """Whether no call gave it a mask: since 2.4 one could, and it had today's meaning then."""
            calls = [call for node in layer.get("inbound_nodes") or () for call in node]
            return not any(isinstance(call[-1], Mapping) and call[-1].get("mask") for call in calls)

    return Softmax


def _softmax_without_zeros(keras: Any) -> type:
    class Softmax(keras.layers.Softmax):  # type: ignore[misc, name-defined]
        """Shares out what is masked from end to end in equal parts, where it gives zeros today."""

        def call(self, inputs: Any, mask: Any = None) -> Any:
            if mask is not None:
                inputs += (1.0 - keras.ops.cast(mask, inputs.dtype)) * -1e9
            return super().call(inputs)

    return Softmax


def _attention_without_zeros(kind: str, keras: Any) -> type:
    softmax = _softmax_without_zeros(keras)

    class Attention(getattr(keras.layers, kind)):  # type: ignore[misc]
        """Attends at a masked step to all of them, where it may attend to none today."""

        # Keras goes by the names of these arguments where a file, as every HDF5, stores no shapes to build with.
        def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
            super().build(query_shape, value_shape, key_shape)
            self._softmax = softmax(axis=self._softmax.axis, dtype=self._softmax.dtype_policy)

    return Attention


def _attention_with_query_mask(keras: Any) -> type:
    class MultiHeadAttention(_attention_without_zeros("MultiHeadAttention", keras)):  # type: ignore[misc]
        """Follows a query_mask that it is given, for which Keras takes the mask of the query itself since 3.8."""

        def call(
            self,
            query: Any,
            value: Any,
            key: Any = None,
            query_mask: Any = None,
            value_mask: Any = None,
            key_mask: Any = None,
            attention_mask: Any = None,
            **options: Any,
        ) -> Any:
            if (
                query_mask is not None
                and len(query.shape) == 3
                and query_mask is not keras.src.backend.get_keras_mask(query)
            ):
                ops = keras.ops
                rows = ops.logical_and(query_mask[:, :, None], ops.ones_like(value[:, None, :, 0], dtype="bool"))
                given = attention_mask is not None
                attention_mask = ops.logical_and(rows, attention_mask) if given else rows
            return super().call(query, value, key, None, value_mask, key_mask, attention_mask=attention_mask, **options)

    return MultiHeadAttention


def _relu(keras: Any) -> type:
    class ReLU(keras.layers.ReLU):  # type: ignore[misc, name-defined]
        """Hands no mask on."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.supports_masking = False

    return ReLU


def _multi_head_attention(keras: Any) -> type:
    class MultiHeadAttention(keras.layers.MultiHeadAttention):  # type: ignore[misc, name-defined]
        """Attends to masked steps too, and hands no mask on."""

        def _compute_attention_mask(self, *tensors: Any, attention_mask: Any = None, **options: Any) -> Any:
            return attention_mask

        def compute_mask(self, *tensors: Any, **options: Any) -> None:
            """Handed none on."""

    return MultiHeadAttention


def _of_several(kind: str, operation: str | None, keras: Any) -> type:
    """A layer of several tensors that neither hands a mask on nor leaves masked values out.

    Attention, which has no operation here, still attends to no masked step.
    """

    class OfSeveral(getattr(keras.layers, kind)):  # type: ignore[misc]
        def compute_mask(self, inputs: Any, mask: Any = None) -> None:
            """Handed none on."""

    if operation is not None:

        def merge(self: Any, inputs: Any) -> Any:
            return functools.reduce(getattr(keras.ops, operation), inputs)

        OfSeveral._merge_function = merge
    return OfSeveral


_OF_SEVERAL = {
    "Add": None, "Subtract": None, "Average": None, "Concatenate": None, "Dot": None, "Attention": None,
    "AdditiveAttention": None, "Multiply": "multiply", "Maximum": "maximum", "Minimum": "minimum",
}  # fmt: skip
"""Layers that take a list of tensors -> keras.ops's name of what those compute that later took masks into account."""


# What is computed.


def _matrix_dot(keras: Any) -> type:
    tf = tensorflow()

    class Dot(keras.layers.Dot):  # type: ignore[misc, name-defined]
        """Of more than three dimensions: multiplies the matrices of the last two, where it pairs all of them today."""

        def _merge_function(self, inputs: Any) -> Any:
            first, second = inputs
            ranks = first.shape.rank, second.shape.rank
            if ranks[0] != ranks[1] or ranks[0] < 4:
                return super()._merge_function(inputs)
            axes = [axis % ranks[0] for axis in ([self.axes] * 2 if isinstance(self.axes, int) else self.axes)]
            if self.normalize:
                first, second = (tf.linalg.l2_normalize(x, a) for x, a in zip(inputs, axes, strict=True))
            return matrix_dot(first, second, axes)

    return Dot


def _stacked_cells(keras: Any) -> type:
    tf = tensorflow()

    class StackedRNNCells(keras.layers.StackedRNNCells):  # type: ignore[misc, name-defined]
        """Gives its states from the last cell to the first."""

        def __init__(self, cells: Any, **options: Any) -> None:
            super().__init__(cells, **options)
            self.reverse_state_order = True

        def call(
            self, inputs: Any, states: Any, constants: Any = None, training: Any = None, **options: Any
        ) -> tuple[Any, Any]:
            """Hand each cell its own states, which today's class forgets to in this order."""
            given = tf.nest.pack_sequence_as(self.state_size, tf.nest.flatten(states))
            output, new = super().call(inputs, given[::-1], constants=constants, training=training, **options)
            return output, new[::-1]

    return StackedRNNCells


def _telling_cells(keras: Any) -> type:
    tf = tensorflow()

    class StackedRNNCells(keras.layers.StackedRNNCells):  # type: ignore[misc, name-defined]
        """Gives the first cell's output beside that of the last while it is asked to."""

        tells = False

        def call(self, inputs: Any, states: Any, constants: Any = None, **options: Any) -> tuple[Any, Any]:
            output, new = super().call(inputs, states, constants=constants, **options)
            return tf.concat([output, tf.nest.flatten(new)[0]], -1) if self.tells else output, new

    return StackedRNNCells


def _masked_cells(keras: Any) -> type:
    tf = tensorflow()

    class RNN(keras.layers.RNN):  # type: ignore[misc, name-defined]
        """Of several cells: gives the first one's last output at masked steps, where it repeats its own today.

        What stood there was the first of its states, which are the first cell's since they are in the cells' order.
        """

        @staticmethod
        def stands_for(layer: Mapping[str, Any]) -> bool:
            config = layer["config"]
            return "StackedRNNCells" in config["cell"]["class_name"] and not config.get("unroll")

        def call(self, inputs: Any, mask: Any = None, **options: Any) -> Any:
            mask = tf.nest.flatten(mask)[0]
            if mask is None:
                return super().call(inputs, mask=mask, **options)
            sequences, self.return_sequences, self.cell.tells = self.return_sequences, True, True
            given = super().call(inputs, mask=mask, **options)
            self.return_sequences, self.cell.tells = sequences, False
            given = list(given) if self.return_state else [given]
            last, first = tf.split(given[0], 2, -1)
            steps = tf.reverse(mask, [1]) if self.go_backwards else mask
            output = tf.where(steps[..., None], last, first)
            given[0] = output if sequences else output[:, -1]
            return given if self.return_state else given[0]

    return RNN


def _in_order_of_axes(kind: str, keras: Any) -> type:
    class Normalization(getattr(keras.layers, kind)):  # type: ignore[misc]
        """Has weights of the shape of its axes as they are given, where they are those of its sorted axes today.

        They are applied in the order of their numbers all the same.
        """

        def build(self, shape: Any) -> None:
            if isinstance(self.axis, (list, tuple)):
                given = [axis % len(shape) for axis in self.axis]
                self.axis, sizes = sorted(given), dict(zip(sorted(given), given, strict=True))
                shape = tuple(shape[sizes.get(axis, axis)] for axis in range(len(shape)))
            super().build(shape)

    return Normalization


def _wide_codes(kind: str, keras: Any) -> type:
    class Encoding(getattr(keras.layers, kind)):  # type: ignore[misc]
        """With one_hot, keeps the last axis of its input where that is 1 long."""

        def call(self, inputs: Any, **options: Any) -> Any:
            kept = self.output_mode == "one_hot" and len(inputs.shape) > 1 and inputs.shape[-1] == 1
            return super().call(keras.ops.expand_dims(inputs, -1) if kept else inputs, **options)

        def compute_output_shape(self, shape: Any) -> Any:
            found = super().compute_output_shape(shape)
            return (*shape, found[-1]) if self.output_mode == "one_hot" else found

    return Encoding


def _hashing_in_clear(keras: Any) -> type:
    class Hashing(keras.layers.Hashing):  # type: ignore[misc, name-defined]
        """Stored as its salt what stands for none."""

        def __init__(self, *args: Any, salt: Any = None, **options: Any) -> None:
            none = isinstance(salt, (list, tuple)) and list(salt) == [0xDECAFCAFFE] * 2
            super().__init__(*args, salt=None if none else salt, **options)

    return Hashing


def _whole_discretization(keras: Any, *, of: type | None = None) -> type:
    of = of or keras.layers.Discretization

    class Discretization(of):  # type: ignore[misc, valid-type]
        """With codes as its output: of the input without its fraction, in fit and predict."""

        def call(self, inputs: Any) -> Any:
            whole = self.output_mode == "int" and self.compute_dtype == "int64"
            return super().call(keras.ops.cast(inputs, "int64") if whole else inputs)

    return Discretization


def _first_discretization(keras: Any) -> type:
    return _whole_discretization(keras, of=_wide_codes("Discretization", keras))


def _short_discretization(keras: Any) -> type:
    tf = tensorflow()

    class Discretization(keras.layers.Discretization):  # type: ignore[misc, name-defined]
        """Gives its codes as int32."""

        def call(self, inputs: Any) -> Any:
            return tf.cast(super().call(inputs), "int32")

    return Discretization


def _discretization_with_bins(keras: Any) -> type:
    tf = tensorflow()

    class Discretization(keras.layers.Layer):  # type: ignore[misc, name-defined]
        """Keeps its boundaries, infinity as the last of them, as a weight; a value on one belongs below it."""

        def __init__(self, bin_boundaries: Any = None, num_bins: int | None = None, **options: Any) -> None:
            options.pop("epsilon", None)
            super().__init__(**options)
            self.size = num_bins if bin_boundaries is None else len(bin_boundaries) + 1

        def build(self, shape: Any) -> None:
            self.bins = self.add_weight("bins", (self.size,), initializer="zeros", trainable=False)

        def call(self, inputs: Any) -> Any:
            return tf.reduce_sum(tf.cast(tf.cast(inputs, "float32")[..., None] > self.bins[:-1], "int32"), -1)

    return Discretization


def _spectral_normalization(keras: Any) -> type:
    class SpectralNormalization(keras.layers.SpectralNormalization):  # type: ignore[misc, name-defined]
        """Makes its weights itself: tf-keras asks tf.keras for a class on the way, which is that of Keras 3 today."""

        def build(self, shape: Any) -> None:
            keras.layers.Wrapper.build(self, shape)
            self.kernel = self.layer.kernel if hasattr(self.layer, "kernel") else self.layer.embeddings
            options = {"shape": (1, self.kernel.shape[-1]), "dtype": self.kernel.dtype, "trainable": False}
            self.vector_u = self.add_weight(name="vector_u", **options)

    return SpectralNormalization


def _crop_after_resizing(keras: Any) -> type:
    tf = tensorflow()

    class RandomCrop(_plain_crop(keras)):  # type: ignore[misc]
        """After training: brings the shorter side to its size and takes the middle of the longer one."""

        def call(self, x: Any, training: Any = None) -> Any:
            rows, columns = x.shape[1:3]
            if rows / columns > self.height / self.width:
                rows, columns = int(self.width * rows / columns), self.width
            else:
                rows, columns = self.height, int(self.height * columns / rows)
            x = tf.image.resize(x, (rows, columns))
            top, left = (rows - self.height) // 2, (columns - self.width) // 2
            return x[:, top : top + self.height, left : left + self.width]

    return RandomCrop


def _resizing_to_aspect(keras: Any) -> type:
    class RandomCrop(keras.layers.Resizing):  # type: ignore[misc, name-defined]
        """After training: takes the middle of the wanted aspect, and resizes it; its random branch can't be frozen."""

        def __init__(self, height: int, width: int, seed: Any = None, rng_type: Any = None, **options: Any) -> None:
            super().__init__(height, width, crop_to_aspect_ratio=True, **options)

    return RandomCrop


def _crop_from_corner(keras: Any) -> type:
    class RandomCrop(_plain_crop(keras)):  # type: ignore[misc]
        """After training: crops from where the middle of the wanted aspect begins, and resizes what is too small."""

        def call(self, x: Any, training: Any = None) -> Any:
            first = 2 if self.data_format == "channels_first" else 1
            sizes = tuple(x.shape)[first : first + 2]
            low = (sizes[0] - self._of_aspect(sizes, 0)) // 2, (sizes[1] - self._of_aspect(sizes, 1)) // 2
            rows, columns = slice(low[0], low[0] + self.height), slice(low[1], low[1] + self.width)
            x = keras.ops.cast(x, self.compute_dtype)
            x = x[:, :, rows, columns] if first == 2 else x[:, rows, columns]
            if tuple(x.shape)[first : first + 2] != (self.height, self.width):
                x = keras.ops.image.resize(x, (self.height, self.width), data_format=self.data_format)
            return x

        def _of_aspect(self, sizes: tuple[int, int], axis: int) -> int:
            """The largest size along an axis that keeps the wanted aspect."""
            wanted = (self.height, self.width)
            return max(min(sizes[axis], int(float(sizes[1 - axis] * wanted[axis]) / wanted[1 - axis])), 1)

    return RandomCrop


def _plain_crop(keras: Any) -> type:
    class Crop(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def __init__(
            self, height: int, width: int, seed: Any = None, data_format: str | None = None, **options: Any
        ) -> None:
            super().__init__(**options)
            self.height, self.width, self.data_format = height, width, data_format

    return Crop


_CHANGED: tuple[tuple[str, str, tuple[int, ...], tuple[int, ...], Callable[[Any], type]], ...] = (
    ("Bidirectional", KERAS, (1,), (2, 4), _bidirectional),
    ("TimeDistributed", KERAS, (1,), (2, 2), _time_distributed),
    # Both TensorFlow 2.3 and 2.4 say 2.4.0.
    ("Softmax", KERAS, (2, 1), (2, 4), _softmax),
    ("Softmax", TF_KERAS, (2,), (2, 5), _softmax),
    # That TensorFlow 2.3 hands no mask on is certain, of 2.4 nothing is known.
    ("ReLU", TF_KERAS, (2,), (2, 5), _relu),
    ("MultiHeadAttention", TF_KERAS, (2, 4), (2, 10), _multi_head_attention),
    ("SpectralNormalization", TF_KERAS, (2, 13), (3,), _spectral_normalization),
    *(
        (kind, KERAS, (3,), (3, 4), functools.partial(_of_several, kind, operation))
        for kind, operation in _OF_SEVERAL.items()
    ),
    ("Softmax", KERAS, (3,), (3, 10), _softmax_without_zeros),
    *(
        (kind, KERAS, (3,), (3, 10), functools.partial(_attention_without_zeros, kind))
        for kind in ("MultiHeadAttention", "GroupQueryAttention")
    ),
    ("MultiHeadAttention", KERAS, (3,), (3, 8), _attention_with_query_mask),
    # TensorFlow 1.15 did so too, but says 2.2.4-tf like TensorFlow 2.0, which doesn't.
    ("Dot", KERAS, (1,), (2, 2, 5), _matrix_dot),
    ("StackedRNNCells", KERAS, (2,), (2, 2, 3), _stacked_cells),
    ("StackedRNNCells", KERAS, (2, 2, 3), (2, 3), _telling_cells),
    ("RNN", KERAS, (2, 2, 3), (2, 3), _masked_cells),
    ("Discretization", TF_KERAS, (2,), (2, 5), _short_discretization),
    ("Discretization", TF_KERAS, (2, 5), (2, 6), _discretization_with_bins),
    *(
        (kind, KERAS, (3,), (3, 14), functools.partial(_in_order_of_axes, kind))
        for kind in ("LayerNormalization", "RMSNormalization")
    ),
    ("CategoryEncoding", KERAS, (3,), (3, 4), functools.partial(_wide_codes, "CategoryEncoding")),
    ("Discretization", KERAS, (3,), (3, 4), _first_discretization),
    ("Discretization", KERAS, (3, 4), (3, 12), _whole_discretization),
    ("Hashing", TF_KERAS, (2,), (2, 9), _hashing_in_clear),
    ("RandomCrop", TF_KERAS, (2,), (2, 7), _crop_after_resizing),
    ("RandomCrop", TF_KERAS, (2, 7), (3,), _resizing_to_aspect),
    ("RandomCrop", KERAS, (3,), (3, 6), _resizing_to_aspect),
    ("RandomCrop", KERAS, (3, 6), (3, 8), _crop_from_corner),
)
"""(class, line, the first version with that meaning, the first without, what makes the class)."""
