import os
import subprocess
import sys
import threading
import warnings

import numpy as np
import onnx
import pytest

from edgecnn import DeviceError, InputError, ModelError, ModelSpec
from edgecnn.session import TELEMETRY_OFF, Session, import_onnxruntime


def test_runs_and_reads_the_recipe(image_model):
    session = Session(image_model, threads=1)
    assert session.provider == "CPUExecutionProvider"
    assert session.inputs[0].shape == ("batch", 8, 8, 3)
    assert session.read_spec().labels == ("red", "green", "blue")
    scores = session.run(np.zeros((5, 8, 8, 3), np.float32))
    np.testing.assert_allclose(scores, np.full((5, 3), 1 / 3), rtol=1e-6)


@pytest.mark.parametrize("content", [b"", b"not onnx", b"\x80\x04\x95", b"\x08\x09" * 500])
def test_a_file_that_is_no_onnx_model(tmp_path, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"bad\.onnx: not a usable ONNX model"):
        Session(path)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are Unicode")
def test_a_file_whose_name_is_no_utf_8(image_model):
    with pytest.raises(ModelError, match="onnxruntime opens no file whose name isn't UTF-8; rename it"):
        Session(image_model.rename(image_model.with_name("m\udcff.onnx")))


@pytest.mark.parametrize(("name", "message"), [("none.onnx", "no such model file"), (".", "can't be read")])
def test_a_file_that_is_not_there(tmp_path, name, message):
    with pytest.raises(ModelError, match=message):
        Session(tmp_path / name)


def test_onnxruntime_tells_its_maker_nothing(image_model, tmp_path):
    """Builds that do so, since 1.29, leave an id and a database in the home folder."""
    rest = {name: value for name, value in os.environ.items() if name not in (TELEMETRY_OFF, "CI")}
    home = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME"), str(tmp_path))
    code = f"from edgecnn.session import Session; print(Session({str(image_model)!r}).provider)"
    before = set(tmp_path.rglob("*"))
    done = subprocess.run([sys.executable, "-c", code], env=rest | home, capture_output=True, text=True)
    assert done.stdout.strip() == "CPUExecutionProvider", done.stderr
    assert set(tmp_path.rglob("*")) == before


def test_who_asks_for_the_telemetry_keeps_it(monkeypatch):
    monkeypatch.setenv(TELEMETRY_OFF, "0")
    import_onnxruntime()
    assert os.environ[TELEMETRY_OFF] == "0"


def test_cuda_that_is_not_installed_is_an_error(image_model):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(DeviceError, match=r"has no CUDA provider .*pip install onnxruntime-gpu"):
        Session(image_model, device="cuda")
    assert Session(image_model, device="auto").provider == "CPUExecutionProvider"


def test_cuda_that_onnxruntime_silently_turns_into_cpu_is_an_error(image_model, monkeypatch):
    import onnxruntime

    real = onnxruntime.get_available_providers()
    if "CUDAExecutionProvider" in real:
        pytest.skip("this onnxruntime has CUDA")
    # The build claims CUDA, as onnxruntime-gpu does on a machine whose driver or cuDNN is missing;
    # InferenceSession then falls back to the CPU by itself.
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", *real])
    with pytest.raises(DeviceError, match="fell back to the CPU; check nvidia-smi"):
        Session(image_model, device="cuda")
    assert Session(image_model, device="auto").provider == "CPUExecutionProvider"


def test_cuda_that_raises_is_an_error_or_the_cpu(image_model, monkeypatch, capfd):
    import onnxruntime

    real, session = onnxruntime.get_available_providers(), onnxruntime.InferenceSession

    def open_session(path, options, providers, **rest):
        if providers[0] == "CUDAExecutionProvider":
            raise RuntimeError("CUDA failure 35: driver version is insufficient")
        return session(path, options, providers=providers, **rest)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", *real])
    monkeypatch.setattr(onnxruntime, "InferenceSession", open_session)
    with pytest.raises(DeviceError, match=r"but .*driver version is insufficient; check nvidia-smi"):
        Session(image_model, device="cuda")
    assert Session(image_model, device="auto").provider == "CPUExecutionProvider"
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("options", [{"device": "tpu"}, {"threads": 0}, {"threads": 1.5}, {"threads": 10**11}])
def test_wrong_options(image_model, options):
    with pytest.raises(InputError):
        Session(image_model, **options)


def test_threads_that_load_models_leave_the_warning_filters_alone(image_model):
    before = list(warnings.filters)
    jobs = [threading.Thread(target=lambda: [Session(image_model, threads=1) for _ in range(30)]) for _ in range(6)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert warnings.filters == before


def test_two_inputs_are_refused(tmp_path, make_model):
    path = make_model(
        tmp_path / "two.onnx",
        [("Add", ["a", "b"], ["c"], {})],
        [("a", "float32", ["batch", 2]), ("b", "float32", ["batch", 2])],
        [("c", ["batch", 2])],
    )
    with pytest.raises(ModelError, match="2 inputs and 1 outputs"):
        Session(path)


def test_a_model_without_a_stamp(tmp_path, make_color_model):
    assert Session(make_color_model(tmp_path / "m.onnx", spec=None)).read_spec() is None


def test_a_stamp_of_a_newer_version(tmp_path, make_color_model):
    text = ModelSpec().to_json().replace('"schema": 1', '"schema": 9')
    path = make_color_model(tmp_path / "m.onnx", spec=text)
    with pytest.raises(ModelError, match="schema 9, this edgecnn reads 1; upgrade edgecnn"):
        Session(path).read_spec()


def test_a_wrong_input_is_one_line(image_model):
    with pytest.raises(ModelError, match=r"can't run an input of shape \(1, 4, 4, 3\)") as caught:
        Session(image_model).run(np.zeros((1, 4, 4, 3), np.float32))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", [b"edgecnn", b"image"])
def test_text_that_is_no_utf8(image_model, tmp_path, capfd, what):
    path = tmp_path / "bad.onnx"
    path.write_bytes(image_model.read_bytes().replace(what, b"\xff" * len(what)))
    with pytest.raises(ModelError, match=r"bad\.onnx: not a usable ONNX model"):
        Session(path)
    assert capfd.readouterr().out == ""


def test_messages_of_onnxruntime_without_its_source(tmp_path, image_model):
    model = onnx.load(image_model)
    del model.opset_import[:]
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"m\.onnx: not a usable ONNX model: Missing opset in the model"):
        Session(tmp_path / "m.onnx")
