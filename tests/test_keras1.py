"""edgecnn.export.reading.keras1: files of Keras 1 open and compute what Keras 1 computed."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import tf_keras

from edgecnn.export.load import load

L = tf_keras.layers


def write(path, config, weights, *, backend="tensorflow", version="1.2.2"):
    """An HDF5 file as Keras 1.2.2's save_model lays it out: layer -> list of (name, array)."""
    with h5py.File(path, "w") as f:
        f.attrs["keras_version"] = version.encode()
        f.attrs["model_config"] = json.dumps(config).encode()
        group = f.create_group("model_weights")
        group.attrs["layer_names"] = [n.encode() for n in weights]
        group.attrs["backend"] = f.attrs["backend"] = backend.encode()
        for name, arrays in weights.items():
            layer = group.create_group(name)
            layer.attrs["weight_names"] = [n.encode() for n, _ in arrays]
            for n, array in arrays:
                layer[n] = array


def base(name, **rest):
    return {"name": name, "trainable": True, **rest}


CONV = {
    "init": "glorot_uniform", "border_mode": "same", "subsample": [2, 2], "dim_ordering": "tf", "bias": True,
    "W_regularizer": {"name": "WeightRegularizer", "l1": 0.0, "l2": 0.01}, "b_regularizer": None,
    "activity_regularizer": None, "W_constraint": None, "b_constraint": None, "activation": "relu",
}  # fmt: skip
DENSE = {
    "init": "uniform", "bias": True, "W_regularizer": None, "b_regularizer": None, "activity_regularizer": None,
    "W_constraint": None, "b_constraint": None, "input_dim": None,
}  # fmt: skip


def cnn_config():
    first = base("conv", nb_filter=4, nb_row=3, nb_col=5, batch_input_shape=[None, 8, 8, 2], input_dtype="float32")
    return {
        "class_name": "Sequential",
        "config": [
            {"class_name": "Convolution2D", "config": {**first, **CONV}},
            {"class_name": "BatchNormalization", "config": base(
                "bn", epsilon=0.01, mode=0, axis=-1, momentum=0.99, gamma_regularizer=None, beta_regularizer=None)},
            {"class_name": "MaxPooling2D", "config": base(
                "pool", pool_size=[2, 2], strides=[2, 2], border_mode="valid", dim_ordering="tf")},
            {"class_name": "Dropout", "config": base("drop", p=0.25)},
            {"class_name": "Flatten", "config": base("flat")},
            {"class_name": "Dense", "config": base("dense", output_dim=3, activation="softmax", **DENSE)},
        ],
    }  # fmt: skip


@pytest.mark.parametrize("backend", ["tensorflow", "theano"])
def test_convolutional_classifier(tmp_path, backend):
    rng = np.random.default_rng(7)
    kernel = rng.normal(size=(3, 5, 2, 4)).astype(np.float32)
    conv = [kernel, rng.normal(size=4).astype(np.float32)]
    norm = [rng.uniform(0.5, 2, 4).astype(np.float32) for _ in range(4)]
    dense = [rng.normal(size=(16, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32)]
    weights = {
        "conv": list(zip(["conv_W", "conv_b"], conv, strict=True)),
        "bn": list(zip(["bn_gamma", "bn_beta", "bn_running_mean", "bn_running_std"], norm, strict=True)),
        "pool": [], "drop": [], "flat": [],
        "dense": list(zip(["dense_W", "dense_b"], dense, strict=True)),
    }  # fmt: skip
    write(tmp_path / "m.h5", cnn_config(), weights, backend=backend)
    model = tf_keras.Sequential(
        [
            L.Input((8, 8, 2)),
            L.Conv2D(4, (3, 5), strides=2, padding="same", activation="relu"),
            L.BatchNormalization(epsilon=0.01),
            L.MaxPooling2D(),
            L.Flatten(),
            L.Dense(3, activation="softmax"),
        ]
    )
    if backend == "theano":
        # Theano mirrors kernels: what it computes with k, TensorFlow computes with k upside down.
        conv[0] = np.flip(kernel, (0, 1))
    model.set_weights([*conv, *norm, *dense])
    source = load(tmp_path / "m.h5")
    assert source.loaded_by.startswith("tf-keras")
    x = rng.normal(size=(3, 8, 8, 2)).astype(np.float32)
    np.testing.assert_allclose(source([x])[0], model(x), atol=1e-6)


def test_lstm_of_twelve_arrays_and_a_merge(tmp_path):
    rng = np.random.default_rng(8)
    gates = {k: [rng.normal(size=s).astype(np.float32) for s in ((2, 3), (3, 3), (3,))] for k in "icfo"}
    dense = [rng.normal(size=(5, 1)).astype(np.float32), rng.normal(size=1).astype(np.float32)]
    lstm = base(
        "lstm", output_dim=3, init="glorot_uniform", inner_init="orthogonal", forget_bias_init="one",
        activation="tanh", inner_activation="hard_sigmoid", W_regularizer=None, U_regularizer=None,
        b_regularizer=None, dropout_W=0.0, dropout_U=0.0, return_sequences=False, go_backwards=False,
        stateful=False, unroll=False, consume_less="cpu", input_dim=2, input_length=None,
    )  # fmt: skip
    merge = base("merge", mode="concat", concat_axis=-1, dot_axes=-1, mode_type="raw", output_shape=None,
                 output_shape_type="raw", output_mask=None, output_mask_type="raw", arguments={})  # fmt: skip
    del merge["trainable"]

    def entry(kind, config, *inbound):
        nodes = [[[n, 0, 0] for n in inbound]] if inbound else []
        return {"class_name": kind, "name": config["name"], "config": config, "inbound_nodes": nodes}

    inputs = [
        {"name": n, "batch_input_shape": s, "input_dtype": "float32", "sparse": False}
        for n, s in (("steps", [None, 4, 2]), ("more", [None, 2]))
    ]
    config = {
        "class_name": "Model",
        "config": {
            "name": "model_1",
            "layers": [
                *(entry("InputLayer", i) for i in inputs),
                entry("LSTM", lstm, "steps"),
                entry("Merge", merge, "lstm", "more"),
                entry("Dense", base("out", output_dim=1, activation="sigmoid", **DENSE), "merge"),
            ],
            "input_layers": [["steps", 0, 0], ["more", 0, 0]],
            "output_layers": [["out", 0, 0]],
        },
    }
    names = [f"lstm_{w}_{k}" for k in "icfo" for w in "WUb"]
    arrays = [a for k in "icfo" for a in gates[k]]
    weights = {"steps": [], "more": [], "lstm": list(zip(names, arrays, strict=True)), "merge": []}
    weights["out"] = list(zip(["out_W", "out_b"], dense, strict=True))
    write(tmp_path / "m.h5", config, weights)

    a, b = L.Input((4, 2)), L.Input((2,))
    hidden = L.LSTM(3, recurrent_activation="hard_sigmoid")(a)
    model = tf_keras.Model([a, b], L.Dense(1, activation="sigmoid")(L.Concatenate()([hidden, b])))
    joined = [np.concatenate([gates[k][i] for k in "ifco"], -1) for i in range(3)]
    model.set_weights([*joined, *dense])
    x = [rng.normal(size=(3, 4, 2)).astype(np.float32), rng.normal(size=(3, 2)).astype(np.float32)]
    source = load(tmp_path / "m.h5")
    assert [t.name for t in source.inputs] == ["steps", "more"]
    np.testing.assert_allclose(source(x)[0], model(x), atol=1e-6)
