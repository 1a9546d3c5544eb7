"""Reads the .keras archives of Keras 2.12 to 2.15 with tf-keras, whatever their writer called the weights; and weights
alone (.weights.h5), which have the same form.

The paths of the weights depend on the writer: backslashes on Windows, and up to 2.13 the layers stand under
`_layer_checkpoint_dependencies`, counted twice where they have weights. So the file's own tree is followed.
"""

from __future__ import annotations

import collections
import contextlib
import io
import re
import tempfile
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edgecnn.errors import ModelError

from ..backend import require
from ..layers import config_of, library_of, parts

_OLD_CONTAINER = "_layer_checkpoint_dependencies"

_ASSETS = "assets"
"""Folder of the files that layers keep beside their weights."""

Tree = dict[str, Any]
"""Name -> Tree or array; under "assets" name -> bytes."""


def load(keras: Any, path: Path, config: Any, objects: Mapping[str, Any], *, safe_mode: bool) -> Any:
    """The model of an archive, weights included.

    Raises:
        ModelError: a weight of the model is not in the archive.
    """
    config = {k: v for k, v in config.items() if k != "compile_config"}
    with keras.saving.custom_object_scope(dict(objects)):
        model = keras.saving.deserialize_keras_object(config, custom_objects=dict(objects), safe_mode=safe_mode)
    with zipfile.ZipFile(path) as archive:
        tree = _tree(io.BytesIO(archive.read("model.weights.h5")))
        _add_assets(tree, archive)
    _restore_all(model, tree, "archive")
    return model


def is_tree(path: Path) -> bool:
    """Whether an HDF5 file of weights alone has the form of .weights.h5, that of the archives, whatever its name."""
    with require("h5py").File(path, "r") as f:
        return "layer_names" not in f.attrs and "model_weights" not in f


def load_weights(model: Any, path: Path) -> None:
    """Give a model the weights of a file of weights alone, in the form that the file has, whatever its name.

    Raises:
        ModelError: a weight of the model is not in the file. Keras raises errors of its own.
    """
    tree = is_tree(path)
    if tree and library_of(model) == "tf_keras":
        _restore_all(model, _tree(path), "file")
        return
    with tempfile.TemporaryDirectory(prefix="edgecnn-") as folder:
        # Keras goes by the name.
        named = Path(folder, "of.weights.h5" if tree else "of.h5")
        named.symlink_to(path.resolve())
        model.load_weights(named)


@contextlib.contextmanager
def weights_of(path: Path, kind: str) -> Iterator[Path]:
    """The HDF5 file with a model's weights: the file itself, or the one that an archive ("keras") holds."""
    if kind != "keras":
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="edgecnn-") as folder, zipfile.ZipFile(path) as archive:
        yield Path(archive.extract("model.weights.h5", folder))


def _restore_all(model: Any, tree: Tree, what: str) -> None:
    restored = _restore(model, tree)
    if _OLD_CONTAINER not in tree:
        restored |= _share(model, restored)
    # A vocabulary, which is among the weights too, stands in the architecture or in an asset.
    lost = [w.name for w in model.weights if hasattr(w, "name") and id(w) not in restored]
    if lost:
        raise ModelError(f"the {what} holds no values for {', '.join(lost[:3])} ({len(lost)} in all)")


def _share(model: Any, restored: Collection[int]) -> set[int]:
    """Give layers that the file holds nothing of the values of their twins; the ids of the variables that got one.

    A layer that stands in a model and in one inside it is stored once, and made twice; Keras can't read its own file.
    Where such ones stand before others of their class, these may have got the values meant for the next: not then.
    """
    layers = {id(part): part for part in parts(model)}.values()
    read = [layer for layer in layers if _arrays(layer) and all(id(w) in restored for w in layer.weights)]
    done: set[int] = set()
    for holder in layers:
        by_class: dict[str, list[Any]] = collections.defaultdict(list)
        for layer in getattr(holder, "layers", ()):
            if _arrays(layer):
                by_class[type(layer).__name__].append(layer)
        for members in by_class.values():
            missing = [layer for layer in members if not any(id(w) in restored for w in layer.weights)]
            if missing and not any(_twins(layer, read) for layer in members if layer not in missing):
                for layer in missing:
                    twins = _twins(layer, read)
                    if len(twins) == 1:
                        layer.set_weights(twins[0].get_weights())
                        done |= {id(w) for w in layer.weights}
    return done


def _arrays(layer: Any) -> bool:
    """Whether a layer has weights, all of which are arrays: a vocabulary, which is among them too, is none."""
    return bool(layer.weights) and all(hasattr(w, "shape") for w in layer.weights)


def _twins(layer: Any, others: Iterable[Any]) -> list[Any]:
    """Those that were made as the layer was."""
    alike = [
        other for other in others if other is not layer and type(other) is type(layer) and other.name == layer.name
    ]
    shapes = [w.shape for w in layer.weights]
    made = config_of(layer)
    return [t for t in alike if made and [w.shape for w in t.weights] == shapes and config_of(t) == made]


def _tree(content: Any) -> Tree:
    """The datasets of an HDF5 file, open or named, as nested dicts, split at slashes of either kind."""
    h5py = require("h5py")
    root: Tree = {}

    def add(name: str, item: Any) -> None:
        *above, last = re.split(r"[/\\]", name)
        node = root
        for part in above:
            node = node.setdefault(part, {})
        if isinstance(item, h5py.Dataset):
            node[last] = item[()]
        else:
            node.setdefault(last, {})

    with h5py.File(content) as f:
        f.visititems(add)
    return root


def _add_assets(tree: Tree, archive: zipfile.ZipFile) -> None:
    """Put the files that layers keep beside their weights, such as vocabularies, into the nodes of these layers."""
    for member in archive.namelist():
        *above, name = re.split(r"[/\\]", member)
        if above[:1] == [_ASSETS] and len(above) > 1 and name not in ("", ".", ".."):
            node = tree
            for part in above[1:]:
                node = node.setdefault(part, {})
            node.setdefault(_ASSETS, {})[name] = archive.read(member)


def _restore(target: Any, tree: Tree) -> set[int]:
    """Put the values of tree into target and what it holds; the ids of the variables that got one."""
    done: set[int] = set()
    values = tree.get("vars")
    if values:
        target.load_own_variables(values)
        if hasattr(target, "bin_boundaries"):
            target.finalize_state()  # Keras 2 stored what a Discretization saw, not the boundaries that follow from it
        own = [*getattr(target, "_trainable_weights", ()), *getattr(target, "_non_trainable_weights", ())]
        done |= {id(v) for v in own}
    if _ASSETS in tree and hasattr(target, "load_assets"):
        with tempfile.TemporaryDirectory() as folder:
            for name, content in tree[_ASSETS].items():
                Path(folder, name).write_bytes(content)
            target.load_assets(folder)
    for name, below in tree.items():
        if name in ("vars", _ASSETS, "optimizer", "metrics") or not isinstance(below, dict):
            continue
        child = getattr(target, "layers" if name == _OLD_CONTAINER else name, None)
        if isinstance(child, Mapping):
            child = list(child.values())
        if isinstance(child, (list, tuple)):
            for item, values_below in _pair(child, below, counted_twice=name == _OLD_CONTAINER):
                done |= _restore(item, values_below)
        elif child is not None:
            done |= _restore(child, below)
    return done


def _pair(items: Iterable[Any], groups: Tree, *, counted_twice: bool) -> list[tuple[Any, Tree]]:
    """(object, group) for groups named after the objects' classes: dense, dense_1 ..."""
    by_class: dict[str, list[Any]] = collections.defaultdict(list)
    for item in items:
        by_class[_snake(type(item).__name__)].append(item)
    pairs = []
    for kind, members in by_class.items():
        found = {}
        for name in groups:
            match = re.fullmatch(re.escape(kind) + r"(?:_(\d+))?", name)
            if match:
                found[int(match[1] or 0)] = groups[name]
        if counted_twice:
            # Numbers have gaps, their order is that of the layers.
            pairs += list(zip(members, (found[n] for n in sorted(found)), strict=False))
        else:
            pairs += [(member, found[n]) for n, member in enumerate(members) if n in found]
    return pairs


def _snake(name: str) -> str:
    """Conv2D -> conv2d, BatchNormalization -> batch_normalization (keras.utils.to_snake_case)."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
