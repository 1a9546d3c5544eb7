"""Every command and every line of Python in the README, run as a stranger would run them."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands():
    lines = [line.split("  #")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line]


def run(command, folder):
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_what_pip_is_told_to_install_exists():
    tomllib = pytest.importorskip("tomllib")

    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    named = [e for c in commands() if c.startswith("pip") for e in re.search(r"\[(.*)\]", c)[1].split(",")]
    assert named
    assert set(named) <= extras


def test_the_chain_and_the_program(tmp_path):
    for command in commands():
        if command.startswith("pip"):
            continue
        done = run(shlex.split(command), tmp_path)
        if "--camera" in command and done.returncode:
            assert "camera 0 can't be opened" in done.stderr
            continue
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    (program,) = blocks("python")
    done = run([sys.executable, "-c", program], tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("3 0.")
    assert lines[0].endswith("ExecutionProvider")
    assert lines[-2:] == ["digits/3/0003.png 3", "digits/7/0007.png 7"]
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == len(list(tmp_path.glob("digits/7/*.png")))


def rows_of(text):
    """The rows of a Markdown table as cells without markup."""
    lines = [line for line in text.splitlines() if re.match(r"\| `?(tf|pil|cv2)_", line)]
    return [[cell.strip(" *`") for cell in line.strip("|").split("|")] for line in lines]


def test_every_figure_comes_from_the_benchmark():
    measured = {(r[0], r[2], r[4], r[5], r[6], r[7]) for r in rows_of((ROOT / "bench/RESULTS.md").read_text())}
    quoted = {tuple(r) for r in rows_of(README)}
    assert len(quoted) >= 5
    assert quoted <= measured


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)]+)\)", README))
def test_links_lead_somewhere(link):
    assert (ROOT / link).exists()
