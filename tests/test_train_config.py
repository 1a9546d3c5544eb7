"""--config: what was written beside a model trains it again, and mistakes are one line."""

import pytest

from edgecnn.errors import InputError
from edgecnn.train import cnn_options as cnn
from edgecnn.train import config, mlp


def parsed(module, *argv):
    return module.parse([str(a) for a in argv])


@pytest.mark.parametrize(
    ("module", "argv"),
    [
        (
            cnn,
            ["photos", "--image-size", "48x40", "--no-horizontal-flip", "--zoom-range", "0.5", "1.5"],
        ),
        (cnn, ["--dataset", "digits", "--epochs", "2", "--strict"]),
        (mlp, ["t.csv", "--hidden", "8", "4", "--delimiter", ";", "--target", "-1", "--no-header", "--no-nesterov"]),
    ],
)
def test_what_is_written_is_read_back(tmp_path, module, argv):
    command, options = parsed(module, *argv)
    config.write_config(tmp_path / "m.keras", command, options)
    _, again = parsed(module, "--config", tmp_path / "m.config.toml")
    assert vars(again) | {"config": None} == vars(options)


def test_the_command_line_wins(tmp_path):
    (tmp_path / "c.toml").write_text('epochs = 7\nbatch-size = 4\nfolder = "photos"\n')
    _, options = parsed(cnn, "--config", tmp_path / "c.toml", "--epochs", 9)
    assert (options.epochs, options.batch_size, options.folder) == (9, 4, "photos")


def test_yaml_is_read_too(tmp_path):
    pytest.importorskip("yaml")
    (tmp_path / "c.yaml").write_text("epochs: 7\nhidden: [4, 2]\n")
    _, options = parsed(mlp, "--config", tmp_path / "c.yaml", "t.csv")
    assert (options.epochs, options.hidden) == (7, [4, 2])


def test_a_list_at_the_end_of_the_file_leaves_the_command_line_alone(tmp_path):
    (tmp_path / "c.toml").write_text("hidden = [4, 2]\n")
    _, options = parsed(mlp, "t.csv", "--config", tmp_path / "c.toml")
    assert (options.file, options.hidden) == ("t.csv", [4, 2])


@pytest.mark.parametrize(
    ("text", "message"),
    [("epoch = 7\n", "unknown option 'epoch'"), ("epochs =\n", r"c\.toml: "), ("= 3\n", r"c\.toml: ")],
)
def test_a_wrong_file_is_one_line(tmp_path, text, message):
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        parsed(cnn, "--config", tmp_path / "c.toml", "photos")
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_wrong_value(tmp_path, capsys):
    with pytest.raises(InputError, match="no such file"):
        parsed(cnn, "--config", tmp_path / "none.toml")
    (tmp_path / "c.toml").write_text('epochs = "many"\n')
    with pytest.raises(SystemExit, match="2"):
        parsed(cnn, "--config", tmp_path / "c.toml", "photos")
    assert "'many' is not a whole number" in capsys.readouterr().err
