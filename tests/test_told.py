"""edgecnn.export.proof.told: what stands beside the graph is compared too."""

from __future__ import annotations

import json
import re

import keras
import onnx
import pytest

from edgecnn import ModelSpec, TableSpec
from edgecnn.cli import guard
from edgecnn.export import to_onnx
from edgecnn.export import verify as module
from edgecnn.export.stamp import write_stamp
from edgecnn.golden import KEY
from edgecnn.seal import seal
from edgecnn.spec import METADATA_KEY, ColumnSpec

L = keras.layers
COLUMNS = (ColumnSpec(name="a", fill=1.5), ColumnSpec(name="b", kind="category", categories=("x", "y")))
SPEC = ModelSpec(table=TableSpec(fields=("a", "b", "c"), target="c", inputs=COLUMNS), labels=("no", "yes"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(ONNX, Keras) of a model with a recipe in both."""
    path = tmp_path_factory.mktemp("told") / "m.keras"
    keras.Sequential([L.Input((3,)), L.Dense(4, activation="tanh"), L.Dense(2, activation="softmax")]).save(path)
    write_stamp(path, SPEC)
    assert guard(to_onnx.main, [str(path)]) == 0
    return path.with_suffix(".onnx"), path


def replaced(path, out, key, change):
    """A copy whose metadata were changed, and sealed again."""
    model = onnx.load(path)
    (entry,) = [p for p in model.metadata_props if p.key == key]
    data = json.loads(entry.value)
    change(data)
    entry.value = json.dumps(data)
    kept = [p for p in model.metadata_props if p.key in (METADATA_KEY, KEY)]
    model.ClearField("metadata_props")
    model.metadata_props.extend(kept)
    out.write_bytes(seal(model.SerializeToString()))
    return str(out)


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        (
            METADATA_KEY,
            lambda d: d["labels"].reverse(),
            "the labels differ: class 0 is 'yes' in the model and 'no' for",
        ),
        (METADATA_KEY, lambda d: d["labels"].append("so"), "3 labels for a model with 2 classes"),
        (METADATA_KEY, lambda d: d.update(head="logits"), "recipe says logits, .* softmax"),
        (METADATA_KEY, lambda d: d["table"]["inputs"][0].update(fill=2), "fill of 'a' is 2.0 in the model and 1.5 for"),
        (METADATA_KEY, lambda d: d["table"]["inputs"][1]["categories"].reverse(), "categories of 'b' is"),
        (METADATA_KEY, lambda d: d["table"].update(missing=["?"]), "missing is"),
        (KEY, lambda d: d["samples"][1].update(tensor="0" * 16), "golden 1 tensor in the model's file: digest"),
        (KEY, lambda d: d["samples"][0].update(outputs=[0, 1]), "golden 0 output in the model's file: .* differ"),
    ],
)
def test_what_was_changed_beside_the_graph_is_found(exported, tmp_path, key, change, message, capsys):
    path, against = exported
    changed = replaced(path, tmp_path / "c.onnx", key, change)
    report = tmp_path / "r.json"
    assert guard(module.main, [changed, "--against", str(against), "--report", str(report)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(message, err)
    assert json.loads(report.read_text())["status"] == "failed"


def test_labels_that_are_stated_count(exported, tmp_path, capsys):
    path, against = exported
    (tmp_path / "l.txt").write_text("yes\nno\n")
    options = ["--against", str(against), "--labels", str(tmp_path / "l.txt")]
    assert guard(module.main, [str(path), *options]) == 1
    changed = replaced(path, tmp_path / "c.onnx", METADATA_KEY, lambda d: d["labels"].reverse())
    assert guard(module.main, [changed, *options]) == 0
    capsys.readouterr()


def test_what_only_one_file_tells_is_not_compared(exported, tmp_path, capsys):
    """The Keras file without a recipe, and the ONNX file of another exporter."""
    path, against = exported
    keras.models.load_model(against).save(tmp_path / "plain.keras")
    assert guard(module.main, [str(path), "--against", str(tmp_path / "plain.keras")]) == 0
    model = onnx.load(path)
    model.ClearField("metadata_props")
    onnx.save(model, tmp_path / "bare.onnx")
    assert guard(module.main, [str(tmp_path / "bare.onnx"), "--against", str(against)]) == 0
    assert guard(module.main, [str(path), "--against", str(tmp_path / "bare.onnx")]) == 0
    capsys.readouterr()


def test_a_teachable_machine_file_tells_its_recipe(tmp_path, monkeypatch):
    """As the export, verify needs no flag for it."""
    path = tmp_path / "m.keras"
    keras.Sequential([L.Input((224, 224, 3)), L.GlobalAveragePooling2D(), L.Dense(2, activation="softmax")]).save(path)
    monkeypatch.setattr("edgecnn.export.structure.is_teachable_machine", lambda source: source.stamp is None)
    (tmp_path / "labels.txt").write_text("0 one\n1 two\n")
    assert guard(to_onnx.main, [str(path)]) == 0
    onnx_file = path.with_suffix(".onnx")
    assert guard(module.main, [str(onnx_file), "--against", str(path)]) == 0
    changed = replaced(onnx_file, tmp_path / "c.onnx", METADATA_KEY, lambda d: d["pixels"].update(resize="pil_bicubic"))
    assert guard(module.main, [changed, "--against", str(path)]) == 1
    changed = replaced(onnx_file, tmp_path / "c.onnx", METADATA_KEY, lambda d: d["labels"].reverse())
    assert guard(module.main, [changed, "--against", str(path)]) == 1
