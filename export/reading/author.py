"""Runs the user's own Python file, as its author would have run it.

The file finds the Keras that it was written for, whatever it calls it and wherever that Keras once kept a name, and
the modules beside it. It does so in functions called later too: its modules have an __import__ of their own, so
nothing else in the process ever sees those names.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import functools
import importlib.abc
import importlib.machinery
import importlib.util
import logging
import os
import re
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgecnn.errors import InputError

from ..backend import quiet_logs, reason, require, tensorflow
from . import once
from .places import Keras, tensorflow_of
from .screen import is_keras
from .stored import Stored

_TO_TENSORFLOW_1 = (
    "disable_eager_execution", "disable_v2_behavior", "disable_v2_tensorshape", "disable_resource_variables",
    "disable_control_flow_v2", "disable_tensor_equality",
)  # fmt: skip
"""What old scripts begin with, for the whole process and for good: inside a script it does nothing."""

_APART = "put the definitions that the model needs in a file of their own"


class Script(importlib.abc.MetaPathFinder):
    """A Python file of the user's that was run; as a finder it finds the modules beside it."""

    def __init__(self, option: str, path: Path, library: str, stored: Stored | None = None) -> None:
        """Run the file.

        Args:
            option: the option that named it, for messages.
            path: the file.
            library: tf_keras or keras, what it finds as keras.
            stored: the model file that it belongs to; its age tells which TensorFlow the code was written for.

        Raises:
            InputError: it is no Python file, or can't be run.
        """
        self._option, self._path, self._library = f"{option} {path}", path.absolute(), library
        check(option, path)
        self._old = Keras("keras", library, library)
        self._given = self._old if library != "keras" else Keras("tensorflow.keras", "keras._tf_keras.keras", library)
        self._tensorflow = tensorflow_of(stored)
        self._modules: dict[str, types.ModuleType] = {}
        self._names: set[str] = set()
        self._entered = False
        self.builtins = {**vars(builtins), "__import__": self._import, "print": _print}
        self._home, name = self._path.parent, self._path.stem
        spec = importlib.util.spec_from_file_location(name, self._path, loader=_Loader(self, name, str(self._path)))
        assert spec is not None
        assert spec.loader is not None
        self.module = importlib.util.module_from_spec(spec)
        if library == "tf_keras":
            once.note_shapes(require(library))
        with self.running():
            sys.modules.setdefault(name, self.module)
            try:
                spec.loader.exec_module(self.module)
            except ImportError as e:
                if "no known parent package" not in str(e):
                    raise
                if sys.modules.get(name) is self.module:
                    del sys.modules[name]
                self.module = self._in_package()
        once.note_builds(self.definitions().values())

    def _in_package(self) -> types.ModuleType:
        """The file as the module of a package that it is, by its `from .other import ...`."""
        top = self._home.parent
        while (top / "__init__.py").is_file():
            top = top.parent
        self._home = top
        sys.path.insert(0, str(top))
        parts = self._path.relative_to(top).with_suffix("").parts
        return importlib.import_module(".".join(parts).removesuffix(".__init__"))

    def definitions(self) -> dict[str, Any]:
        """Classes and functions that the file or a module beside it defines, by name.

        Of what they import only classes that a model may name, which aren't Keras's.
        """
        modules = [*self._modules.values(), self.module]
        own = {module.__name__ for module in modules}
        found: dict[str, Any] = {}
        for name, value in (item for module in modules for item in vars(module).items()):
            made_of = value.func if isinstance(value, functools.partial) else value
            module = getattr(made_of, "__module__", None)
            named = isinstance(value, type) and hasattr(value, "get_config") and not is_keras(module)
            if callable(value) and (module in own or named) and not name.startswith("__"):
                found[name] = value
                found.setdefault(getattr(value, "__name__", name), value)
        return found

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """The process as the file's code expects it, and as it was again after that.

        Raises:
            InputError: the code fails, or ends the process.
        """
        arguments, folder, root = sys.argv, os.getcwd(), logging.getLogger()
        handlers, level = root.handlers[:], root.level
        sys.argv = [str(self._path)]
        try:
            with contextlib.ExitStack() as stack:
                stack.enter_context(contextlib.redirect_stdout(sys.stderr))
                stack.enter_context(quiet_logs("absl", "tensorflow"))
                stack.enter_context(self._beside())
                stack.enter_context(_staying_in_tensorflow_2())
                stack.enter_context(_called_keras(self._library, self._given))
                stack.enter_context(once.as_once(require(self._library)))
                yield
        except SystemExit as e:
            raise InputError(f"{self._option} ended itself (SystemExit: {e.code}); {_APART}") from e
        except InputError:
            raise
        except Exception as e:
            line = self.line(e)
            where = "" if line is None else f"line {line}: "
            raise InputError(f"{self._option} can't be run: {where}{reason(e)}; {_APART}") from e
        finally:
            sys.argv = arguments
            os.chdir(folder)
            root.handlers[:], root.level = handlers, level

    def line(self, error: BaseException) -> int | None:
        """The last line of the file that an error went through, if it did; those of a call() stand in its text."""
        told = re.findall(rf'File "{re.escape(str(self._path))}", line (\d+)', str(error))
        lines, at = [*map(int, told)], error.__traceback__
        while at is not None:
            if at.tb_frame.f_code.co_filename == str(self._path):
                lines.append(at.tb_lineno)
            at = at.tb_next
        return lines[-1] if lines else None

    @contextlib.contextmanager
    def _beside(self) -> Iterator[None]:
        """The modules beside the file can be imported, those that it imported before are there."""
        if self._entered:
            yield
            return
        paths, wrote = sys.path[:], sys.dont_write_bytecode
        sys.path.insert(0, str(self._path.parent))
        sys.meta_path.insert(0, self)
        sys.dont_write_bytecode = self._entered = True
        sys.modules.update({n: m for n, m in self._modules.items() if n not in sys.modules})
        try:
            yield
        finally:
            sys.path[:], sys.dont_write_bytecode, self._entered = paths, wrote, False
            sys.meta_path.remove(self)
            if sys.modules.get(self.module.__name__) is self.module:
                del sys.modules[self.module.__name__]
            for name in self._names & set(sys.modules):
                self._modules[name] = sys.modules.pop(name)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """A module in the file's folder, or in a package there, that gets the file's own __import__ too."""
        spec = importlib.machinery.PathFinder.find_spec(fullname, path or [str(self._home)])
        origin = spec.origin if spec is not None else None
        if spec is None or origin is None or not isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            return None
        if self._home not in Path(origin).parents:
            return None
        spec.loader = _Loader(self, fullname, origin)
        self._names.add(fullname)
        return spec

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> types.ModuleType:
        """As __import__, with today's modules under the names that Keras had for them."""
        match = re.fullmatch(r"(?:(tensorflow)(\.python)?\.)?keras(?:\.(.+))?", name) if level == 0 else None
        if name == "tensorflow" and level == 0:
            return self._tensorflow
        if match is None or (match[2] and not fromlist):
            with self._beside():
                return builtins.__import__(name, globals, locals, fromlist or (), level)
        root = self._given if match[1] else self._old
        module = root.below(match[3] or "")
        if module is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if fromlist:
            return module
        return self._tensorflow if match[1] else root


class _Loader(importlib.machinery.SourceFileLoader):
    """Gives a module of the user's the script's own __import__ and print before it runs."""

    def __init__(self, script: Script, name: str, path: str) -> None:
        super().__init__(name, path)
        self._script = script

    def exec_module(self, module: types.ModuleType) -> None:
        module.__dict__["__builtins__"] = self._script.builtins
        super().exec_module(module)


def check(option: str, path: Path) -> list[str]:
    """The names of the functions and classes that a Python file defines.

    Raises:
        InputError: there is no such file, or it is no Python.
    """
    if path.is_dir():
        raise InputError(f"{option} {path} is a folder; give the Python file itself")
    try:
        text = path.read_bytes()
    except OSError as e:
        raise InputError(f"{option} {path} does not exist, or can't be read ({e.strerror})") from None
    if path.suffix == ".ipynb" or re.match(rb'\s*\{\s*"(cells|nbformat|metadata)"', text):
        raise InputError(
            f"{option} {path} is a Jupyter notebook; save the cells that define what the model needs as a .py file"
        )
    try:
        with quiet_logs():
            parts = ast.parse(text, str(path)).body
    except SyntaxError as e:
        raise InputError(f"{option} {path} is no Python that runs here: line {e.lineno or 1}: {e.msg}") from None
    except ValueError as e:
        raise InputError(f"{option} {path} is no Python file: {e}") from None
    return [part.name for part in parts if isinstance(part, (ast.FunctionDef, ast.ClassDef))]


@contextlib.contextmanager
def registrations_kept(library: str) -> Iterator[None]:
    """What code registers with Keras inside the block is forgotten after it: the next file may mean another."""
    registered = require(library).saving.get_custom_objects()
    before = dict(registered)
    try:
        yield
    finally:
        registered.clear()
        registered.update(before)


@contextlib.contextmanager
def _called_keras(library: str, given: types.ModuleType) -> Iterator[None]:
    """Let packages that the code imports find tf-keras as keras and tensorflow.keras, where it is of Keras 2.

    tf.keras stays what it was given here until the next call, since code may use it when it is called.
    """
    tensorflow().keras = given
    if library == "keras":
        yield
        return

    def names() -> list[str]:
        return [n for n in sys.modules if re.match(r"(tensorflow\.)?keras(\.|$)", n)]

    aside = {name: sys.modules.pop(name) for name in names()}
    sys.modules["keras"] = sys.modules["tensorflow.keras"] = require(library)
    try:
        yield
    finally:
        for name in names():
            del sys.modules[name]
        sys.modules.update(aside)


@contextlib.contextmanager
def _staying_in_tensorflow_2() -> Iterator[None]:
    """Let the functions that turn TensorFlow into its version 1 do nothing inside the block."""
    places = [
        tensorflow().compat.v1,
        require("tensorflow.python.framework.ops"),
        require("tensorflow.python.compat.v2_compat"),
    ]
    kept = [(place, n, getattr(place, n)) for place in places for n in _TO_TENSORFLOW_1 if hasattr(place, n)]
    for place, name, _ in kept:
        setattr(place, name, lambda: None)
    try:
        yield
    finally:
        for place, name, function in kept:
            setattr(place, name, function)


def _print(*values: Any, file: Any = None, **options: Any) -> None:
    """As print, but standard output is the export's own."""
    print(*values, file=sys.stderr if file is None else file, **options)
