"""What a user gets: the public names, the wheel's files, an import without the optional packages."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import edgecnn

ROOT = Path(__file__).parents[1]


def test_the_public_names_are_locked():
    assert sorted(edgecnn.__all__) == [
        "ColumnSpec", "DeviceError", "EdgeCNNError", "ImageError", "InputError", "MissingDependencyError", "ModelError",
        "ModelSpec", "PRESETS", "PixelSpec", "Prediction", "Predictor", "SourceError", "SpecError", "TableError",
        "TableSpec", "VerificationError", "__version__", "decode", "preprocess", "preprocess_batch",
    ]  # fmt: skip
    for name in edgecnn.__all__:
        assert getattr(edgecnn, name) is not None


def test_errors_have_one_base_and_wrong_input_is_a_value_error():
    errors = [getattr(edgecnn, n) for n in edgecnn.__all__ if n.endswith("Error")]
    assert all(issubclass(e, edgecnn.EdgeCNNError) for e in errors)
    wrong_input = [edgecnn.InputError, edgecnn.ImageError, edgecnn.TableError, edgecnn.SourceError, edgecnn.SpecError]
    assert all(issubclass(e, ValueError) for e in wrong_input)
    assert len({e.code for e in errors}) == len(errors)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(out), str(ROOT)], check=True
    )
    return next(out.glob("edgecnn-*.whl"))


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as z:
        names = [n for n in z.namelist() if ".dist-info/" not in n]
        assert z.getinfo("edgecnn/digits.onnx").file_size < 300_000
    assert {n.split("/")[0] for n in names} == {"edgecnn"}
    modules = {n for n in names if n.endswith((".py", ".pyi"))}
    expected = {
        f"{place}/{p.relative_to(ROOT / folder)}"
        for folder, place in (
            ("runtime/edgecnn", "edgecnn"),
            ("export", "edgecnn/export"),
            ("train", "edgecnn/train"),
        )
        for p in (ROOT / folder).rglob("*.py*")
        if p.suffix in (".py", ".pyi")
    }
    assert modules == expected
    rest = {n for n in names if n not in modules}
    extension = {n for n in rest if n.startswith("edgecnn/_core.") and n.endswith(".so")}
    assert len(extension) == 1
    assert rest - extension == {"edgecnn/py.typed", "edgecnn/digits.onnx", "edgecnn/digits.png", "edgecnn/selftest.jpg"}


def test_without_onnxruntime_it_says_what_to_install():
    code = "import sys; sys.modules['onnxruntime'] = None; import edgecnn; edgecnn.Predictor()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'edgecnn[cpu]'" in done.stderr
    assert "MissingDependencyError" in done.stderr


def test_stills_never_import_cv2_and_the_runtime_never_tensorflow(image_model, photos):
    code = (
        "import sys, edgecnn; p = edgecnn.Predictor(sys.argv[1]); p.predict(sys.argv[2]);"
        "sys.exit(', '.join(m for m in ('cv2', 'tensorflow', 'keras', 'onnx') if m in sys.modules) or 0)"
    )
    argv = [sys.executable, "-c", code, str(image_model), str(photos / "red" / "one.png")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", ["export/to_onnx.py", "train/cnn.py", "train/mlp.py"])
def test_scripts_say_what_to_install_where_edgecnn_is_missing(script):
    # -I -S: no site-packages, as on a machine where only the checkout lies.
    done = subprocess.run([sys.executable, "-I", "-S", str(ROOT / script)], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "edgecnn is not installed" in done.stderr
    assert "pip install" in done.stderr
    assert "Traceback" not in done.stderr
