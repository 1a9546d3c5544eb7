"""All options of a training as a TOML file, written beside the model and read back with --config."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgecnn.errors import InputError, MissingDependencyError, ModelError, SourceError

_NEVER = ("help", "config", "quiet", "check_only", "write_dataset", "resume")
"""Options that belong to one call and not to the training."""

_ASIDE = ("output", "report", "checkpoints", "tensorboard", "compare_resizes", "compare_training", "cache")
"""Options that don't change what a training comes to."""


def config_path(output: Path) -> Path:
    """Where the options of a model are written."""
    return output.with_name(f"{output.stem}.config.toml")


def write_config(output: Path, parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Write every option with its value beside the model.

    Raises:
        ModelError: the file can't be written.
    """
    lines = [f"# {parser.prog}: the options that made {output.name}; --config reads them, the command line wins"]
    for action in parser._actions:
        value = getattr(options, action.dest, None)
        if action.dest not in _NEVER and value is not None:
            lines.append(f"{action.dest} = {_toml(value, action)}")
    try:
        config_path(output).write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as e:
        raise ModelError(f"{config_path(output)} can't be written: {e.strerror or e}") from None


def identity(options: argparse.Namespace) -> dict[str, Any]:
    """The options that decide a training, as JSON types."""
    given = {k: v for k, v in vars(options).items() if k not in (*_NEVER, *_ASIDE)}
    return json.loads(json.dumps(given))


def _toml(value: Any, action: argparse.Action) -> str:
    if isinstance(value, tuple) and action.nargs is None:
        value = ("x" if action.dest == "image_size" else ",").join(map(str, value))
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(v, action) for v in value) + "]"
    # JSON writes strings, numbers and booleans as TOML does; a float keeps its point so that types survive.
    return repr(value) if isinstance(value, float) else json.dumps(str(value) if isinstance(value, Path) else value)


def parse(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """Parse a command line on top of the file that its --config names.

    Raises:
        InputError: the file can't be read, or holds an unknown option.
    """
    finder = argparse.ArgumentParser(add_help=False)
    finder.add_argument("--config")
    path = finder.parse_known_args(list(argv))[0].config
    if path is None:
        return parser.parse_args(argv)
    given = _read(Path(path))
    actions = {a.dest: a for a in parser._actions if a.dest not in _NEVER}
    unknown = sorted(set(given) - set(actions))
    if unknown:
        raise InputError(f"{path}: unknown option {unknown[0]!r}; there are {', '.join(sorted(actions))}")
    tokens: list[str] = []
    for name, value in given.items():
        if actions[name].option_strings:
            tokens += _tokens(actions[name], value)
        else:
            actions[name].nargs, actions[name].required = "?", False
            parser.set_defaults(**{name: str(value)})
    # Once more --config, with its value inside: a list at the end of the file doesn't take in what follows.
    return parser.parse_args([*tokens, f"--config={path}", *argv])


def _tokens(action: argparse.Action, value: Any) -> list[str]:
    """A value of the file as it would stand on the command line, so that argparse checks it."""
    option = next(o for o in action.option_strings if o.startswith("--"))
    if isinstance(value, bool):
        if isinstance(action, argparse.BooleanOptionalAction):
            return [option if value else f"--no-{option[2:]}"]
        return [option] if value else []
    if isinstance(value, list):
        return [option, *map(str, value)]
    return [f"{option}={value}"]


def _read(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SourceError(f"--config {path}: no such file", code="missing_file") from None
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"--config {path}: can't be read: {e}") from None
    if path.suffix in (".yaml", ".yml"):
        yaml = _require("yaml", "pyyaml")
        load, wrong = yaml.safe_load, yaml.YAMLError
    else:
        try:
            import tomllib as toml
        except ModuleNotFoundError:
            toml = _require("tomli", "tomli")
        load, wrong = toml.loads, toml.TOMLDecodeError
    try:
        data = load(text)
    except wrong as e:
        raise InputError(f"--config {path}: {' '.join(str(e).split())}") from None
    if not isinstance(data, Mapping):
        raise InputError(f"--config {path}: expected lines of option = value, got a {type(data).__name__}")
    return {str(name).replace("-", "_"): value for name, value in data.items()}


def _require(module: str, package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingDependencyError(
            f"reading this --config needs {package}; python -m pip install {package}"
        ) from None
