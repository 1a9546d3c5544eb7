"""Text that a model splits into words: TensorFlow's words, in ONNX's operators."""

import re
import string

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from edgecnn import ModelError
from edgecnn.cli import main
from edgecnn.export.convert import OPSETS, convert, opset_of
from edgecnn.export.graph.text import OPSET, _parts
from edgecnn.export.load import load

from .test_convert import run, source_of

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")

LEARNED = ["The cat sat on the mat.", "A dog's life: it's GOOD!", "cat & dog (again), good-bye", "Ärger à gogo"]

LETTERS = [
    *string.punctuation,
    *"\t\n\v\f\r  \u00a0\u2028aÄßé😀’",
    "the ",
    "cat",
    "Dog",
    "good",
    " a ",
    "Ärger",
    "<br />",
]


def texts(count: int = 300) -> list[str]:
    """Words, known and not, with anything between them; some without any word."""
    rng = np.random.default_rng(0)
    made = ["".join(rng.choice(LETTERS, rng.integers(1, 30))) for _ in range(count)]
    return [*made, "", " ", "?!", "cat", " a  b\tc\nd\ve\ff\rg", "the cat " * 40]


def words_of(library, **options):
    words = library.layers.TextVectorization(**options)
    words.adapt(LEARNED)
    return words


@pytest.mark.parametrize(
    "options",
    [
        {}, {"output_sequence_length": 5}, {"output_sequence_length": 50, "standardize": "lower"},
        {"standardize": "strip_punctuation"}, {"standardize": None}, {"split": None},
        {"output_mode": "multi_hot"}, {"output_mode": "count", "max_tokens": 30, "pad_to_max_tokens": True},
        {"output_mode": "tf_idf"}, {"output_mode": "multi_hot", "split": None},
        {"split": "character"}, {"split": "character", "output_mode": "count"},
        {"ngrams": 2}, {"ngrams": 3, "output_mode": "tf_idf"}, {"ngrams": (1, 3), "output_sequence_length": 7},
    ],
)  # fmt: skip
@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])
def test_text_has_kerass_numbers(tmp_path, library, options):
    model = library.Sequential([library.layers.Input((1,), dtype="string"), words_of(library, **options)])
    graph = convert(source_of(model, tmp_path))
    x = np.array(texts(), object)[:, np.newaxis]
    np.testing.assert_allclose(run(graph, x)[0], np.asarray(model(tf.constant(x))), atol=1e-6)
    for row in x[-6:]:
        np.testing.assert_allclose(run(graph, row[None])[0], np.asarray(model(tf.constant(row[None]))), atol=1e-6)


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])
def test_a_classifier_of_text_is_exported_and_proved(tmp_path, capsys, library):
    layers = library.layers
    text, age = layers.Input((), dtype="string", name="text"), layers.Input((1,), name="age")
    x = layers.Embedding(40, 8, mask_zero=True)(words_of(library)(text))
    x = layers.Concatenate()([layers.Bidirectional(layers.LSTM(6))(x), age])
    library.Model([text, age], layers.Dense(2, activation="softmax")(x)).save(tmp_path / "m.keras")
    assert main(["export", str(tmp_path / "m.keras"), "--golden", "2"]) == 0
    assert f"opset {OPSET}" in capsys.readouterr().err
    assert main(["selftest", str(tmp_path / "m.onnx")]) == 0
    assert "golden 1 output: within" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "m.onnx"), "--against", str(tmp_path / "m.keras")]) == 0


@pytest.mark.parametrize("kind", ["int8", "fp16"])
def test_it_is_quantised(tmp_path, capsys, kind):
    words = words_of(keras, output_sequence_length=9)
    layers = [keras.Input((1,), dtype="string", name="text"), words, keras.layers.Embedding(40, 8)]
    model = keras.Sequential([*layers, keras.layers.Conv1D(8, 3), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "t.npz", text=np.array(LEARNED * 4)[:, np.newaxis])
    data = ["--calibration", str(tmp_path / "t.npz"), "--max-drop", "1"]
    assert main(["export", str(tmp_path / "m.keras"), "--quantize", kind, *data]) == 0
    (tmp_path / "t.csv").write_text("text\nthe cat\n")
    assert main(["export", str(tmp_path / "m.keras"), "--data", str(tmp_path / "t.csv")]) == 2
    assert "takes text string [batch, 1]; give" in capsys.readouterr().err
    compared = ["--against", str(tmp_path / "m.keras"), "--data", str(tmp_path / "t.npz"), "--max-drop", "1"]
    assert main(["verify", str(tmp_path / "m.onnx"), *compared]) == 0


@keras.saving.register_keras_serializable("mine")
def plain_text(text):
    """As in TensorFlow's tutorial on text classification."""
    text = tf.strings.regex_replace(tf.strings.lower(text), "<br />", " ")
    return tf.strings.regex_replace(text, f"[{re.escape(string.punctuation)}]", "")


def test_a_function_of_ones_own_is_named_and_taken_from_a_file(tmp_path):
    words = words_of(keras, standardize=plain_text, output_sequence_length=20)
    model = keras.Sequential([keras.Input((1,), dtype="string"), words])
    model.save(tmp_path / "m.keras")
    x = np.array(texts(), object)[:, np.newaxis]
    expected = np.asarray(model(tf.constant(x)))
    registered = keras.saving.get_custom_objects()
    kept = registered.pop("mine>plain_text")
    try:
        with pytest.raises(ModelError, match=r"needs the function mine>plain_text, whose code is not in the file"):
            load(tmp_path / "m.keras")
        (tmp_path / "mine.py").write_text(
            "import re, string\nimport tensorflow as tf\n\n\ndef plain_text(text):\n"
            "    text = tf.strings.regex_replace(tf.strings.lower(text), '<br />', ' ')\n"
            "    return tf.strings.regex_replace(text, '[%s]' % re.escape(string.punctuation), '')\n"
        )
        graph = convert(load(tmp_path / "m.keras", custom=tmp_path / "mine.py"))
    finally:
        registered["mine>plain_text"] = kept
    np.testing.assert_array_equal(run(graph, x)[0], expected)


def test_an_exported_model_splits_as_well(tmp_path):
    words = words_of(keras, output_sequence_length=6)
    model = keras.Sequential([keras.Input((1,), dtype="string", name="text"), words, keras.layers.Embedding(40, 3)])
    model.export(tmp_path / "m", verbose=False)
    x = np.array(texts(), object)[:, np.newaxis]
    np.testing.assert_allclose(run(convert(load(tmp_path / "m")), x)[0], np.asarray(model(tf.constant(x))), atol=1e-6)


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])
def test_rows_of_different_lengths_and_sparse_tensors_within_a_model(tmp_path, library):
    layers = library.layers
    text = layers.Input((1,), dtype="string")
    rows = layers.Embedding(40, 3)(words_of(library, ragged=True)(text))
    parts = [
        layers.GlobalAveragePooling1D()(rows),
        layers.Dense(2)(words_of(library, output_mode="count", sparse=True)(text)),
    ]
    model = library.Model(text, parts)
    x = np.array([t for t in texts() if "cat" in t], object)[:, np.newaxis]
    for got, expected in zip(run(convert(source_of(model, tmp_path)), x), model(tf.constant(x)), strict=True):
        np.testing.assert_allclose(got, np.asarray(expected), atol=1e-6)
    library.Model(text, rows).save(tmp_path / "rows.keras")
    with pytest.raises(ModelError, match="gives rows of different lengths"):
        load(tmp_path / "rows.keras")


def test_another_encoding_is_split_as_well(tmp_path):
    words = words_of(keras, standardize="lower", encoding="latin-1")
    assert opset_of(convert(source_of(keras.Sequential([keras.Input((1,), dtype="string"), words]), tmp_path))) == OPSET


def test_what_onnx_has_no_operator_for_is_named(tmp_path):
    module = tf.Module()
    module.measure = tf.function(lambda x: {"y": tf.strings.length(x)}, [tf.TensorSpec((None, 1), tf.string, name="x")])
    tf.saved_model.save(module, tmp_path / "m", signatures={"serving_default": module.measure})
    with pytest.raises(ModelError, match=r"uses operators that ONNX opset 18 doesn't have: StringLength"):
        convert(load(tmp_path / "m"))


def test_models_without_text_keep_their_operator_set(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    assert opset_of(convert(source_of(model, tmp_path))) == OPSETS[-1]


@pytest.mark.parametrize(
    ("pattern", "rewrite"),
    [
        ("<br />", " "), ("a", "aa"), (r"\.", "!"), (r"[!?]", ""), (r"[!?]", "x"), ("[a-c]+", ""), (r"[\[\]\\]", " "),
        ("[[x]", ""), (r'[!"#$%&()\*\+,-\./:;<=>?@\[\\\]^_`{|}~\']', ""), ("=-", ""),
    ],
)  # fmt: skip
def test_expressions_that_can_be_written(pattern, rewrite):
    found = _parts(pattern, rewrite)
    for text in ["a.b!?c[d]\\x aa<br />bb<br /><br />", "", "!", "caab--=-=", string.printable]:
        expected = tf.strings.regex_replace(text, pattern, rewrite).numpy().decode()
        got = text
        for part in found:
            got = rewrite.join(got.split(part))
        assert got == expected


@pytest.mark.parametrize(
    ("pattern", "rewrite"),
    [
        ("a|b", ""), ("a+", ""), (r"\s", " "), ("[^a]", ""), ("[[:alpha:]]", ""), ("[ab]+", "x"), ("[ab]", "b"),
        ("(a)", r"\1"), (".", ""), ("ä", "a"), ("", "x"), (r"[\d]", ""), ("^a", ""), ("a{2}", ""), ("[a]?", ""),
    ],
)  # fmt: skip
def test_other_expressions_are_not(pattern, rewrite):
    assert _parts(pattern, rewrite) == []
