import subprocess
import sys

import pytest

from edgecnn import EdgeCNNError, ModelError, VerificationError
from edgecnn.cli import COMMANDS, guard, main, predict_main


def run(*argv, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "edgecnn", *argv], capture_output=True, text=True, check=False, **kwargs
    )


def test_help_names_every_command_and_loads_nothing_heavy():
    code = (
        "import sys; from edgecnn.cli import main; main(['--help']);"
        "sys.exit(any(m in sys.modules for m in ('onnxruntime', 'cv2', 'tensorflow', 'onnx', 'matplotlib')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_its_own_help(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([*command.split(), "--help"])
    assert caught.value.code == 0
    assert f"edgecnn {command}" in capsys.readouterr().out


def test_edgecnn_predict_is_predict(capsys):
    with pytest.raises(SystemExit):
        predict_main(["--help"])
    assert "edgecnn predict" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "status", "message"),
    [
        ([], 2, "usage: edgecnn COMMAND"),
        (["--version"], 0, "edgecnn 0."),
        (["paint"], 2, "no command 'paint'; there are predict"),
        (["train"], 2, "there are"),
        (["train", "--help"], 0, "  train mlp "),
        (["predict", "--no-such-flag"], 2, "unrecognized arguments"),
        (["info", "none.onnx"], 2, "no such model file"),
    ],
)
def test_exit_status_and_message(argv, status, message):
    done = run(*argv)
    assert done.returncode == status
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ModelError("the model is bad"), 2, "edgecnn: the model is bad\n"),
        (VerificationError("it differs"), 1, "edgecnn: it differs\n"),
        (KeyboardInterrupt(), 130, "edgecnn: interrupted\n"),
        (ZeroDivisionError("oops"), 2, "edgecnn: unexpected ZeroDivisionError: oops (EDGECNN_DEBUG=1 shows"),
    ],
)
def test_no_traceback_reaches_a_user(error, status, message, capsys, monkeypatch):
    monkeypatch.delenv("EDGECNN_DEBUG", raising=False)

    def fail(argv):
        raise error

    assert guard(fail, []) == status
    assert capsys.readouterr().err.startswith(message)


def test_debugging_lets_the_traceback_through(monkeypatch):
    def fail(argv):
        raise EdgeCNNError("deep inside")

    monkeypatch.setenv("EDGECNN_DEBUG", "1")
    with pytest.raises(EdgeCNNError, match="deep inside"):
        guard(fail, [])


def test_a_full_disk_is_one_line(tmp_path):
    """A limit on the size of files stands for the disk."""
    code = (
        "import resource, sys; from edgecnn.cli import main; resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64));"
        "sys.exit(main(['--help']))"
    )
    with open(tmp_path / "out", "w") as out:
        done = subprocess.run([sys.executable, "-c", code], stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "edgecnn: not all results could be written: File too large\n")
