"""Predictor: one model and its recipe, from an image, a frame or table rows to a Prediction.

Safe to call from several threads. It can be pickled: the path and the options travel, never the session.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .decode import decode_for
from .errors import InputError, ModelError
from .preprocess import preprocess
from .session import Session
from .spec import ModelSpec, PixelSpec, TableSpec
from .table import encode_rows

Image = str | os.PathLike[str] | bytes | npt.NDArray[np.uint8] | tuple[npt.NDArray[np.uint8], ...]
"""A path, encoded bytes, or whatever preprocess takes by `color`: an (H, W, 3) uint8 array, a camera's frame."""

Ms = dict[str, float]

_DTYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the model says of one image, frame or row."""

    scores: npt.NDArray[np.float32]
    """(classes,) float32: probabilities 0 to 1; for a regression the raw outputs."""
    labels: tuple[str, ...] | None = None
    """Class names by index; None where the model carries none."""
    value: float | None = None
    """The predicted value of a regression; None for a classifier."""
    provider: str = ""
    """The onnxruntime provider that computed it."""
    ms: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Milliseconds a stage: decode, preprocess, inference (a batch's time divided by its size)."""
    source: str | None = None
    """Path or name of the input, where it has one."""
    frame: int | None = None
    """Number of the frame in its video or camera, from 0; None for single images and tables."""
    row: int | None = None
    """Number of the row in its table, from 0, header not counted; None for images."""
    missing: tuple[str, ...] = ()
    """Table rows: the columns whose cell is missing; the recipe says what stands there instead."""
    unseen: tuple[str, ...] = ()
    """Table rows: the columns whose category the model does not know."""
    captured_at: str | None = None
    """Live sources: when the frame was captured, ISO 8601 in UTC."""
    age_ms: float | None = None
    """Live sources: milliseconds from capture to this result."""
    dropped: int | None = None
    """Live sources: frames skipped since the previous result, to stay current."""
    image: npt.NDArray[np.uint8] | None = dataclasses.field(default=None, repr=False, compare=False)
    """Frames only: the picture, (H, W, 3) uint8 in OpenCV's BGR order."""

    @property
    def index(self) -> int:
        """Index of the best class; a score that is no number is the worst."""
        return self.top(1)[0][1]

    @property
    def label(self) -> str:
        """Name of the best class; its index as a string where the model carries no labels."""
        return self.label_of(self.index)

    @property
    def score(self) -> float:
        """Score of the best class."""
        return float(self.scores[self.index])

    def label_of(self, index: int) -> str:
        """Name of a class."""
        return self.labels[index] if self.labels else str(index)

    def top(self, k: int = 3) -> list[tuple[str, int, float]]:
        """The k best classes as (label, index, score), best first; ties by index."""
        order = np.argsort(-self.scores, kind="stable")[:k]
        return [(self.label_of(i), i, float(self.scores[i])) for i in map(int, order)]


class Predictor:
    """A model that is ready to predict.

    Attributes:
        path: the model file.
        spec: its ModelSpec, with the recipe in use.
        provider: the onnxruntime provider in use, such as CPUExecutionProvider.
        session: the Session that runs the model.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        device: str = "auto",
        threads: int | None = None,
        pixels: PixelSpec | None = None,
    ) -> None:
        """Load a model.

        Args:
            model: an ONNX file written by edgecnn; None takes $EDGECNN_MODEL, ./model.onnx or the built-in
                classifier of handwritten digits, whichever comes first.
            device: auto, cpu or cuda; cuda raises where CUDA is not really used.
            threads: threads of one inference; None leaves it to onnxruntime.
            pixels: a recipe to use instead of the model's, or for a model that carries none.

        Raises:
            ModelError: the file is missing or no usable model, or contradicts its own recipe.
            DeviceError: the device is not there.
            MissingDependencyError: no onnxruntime is installed.
        """
        self._options: dict[str, Any] = {"device": device, "threads": threads, "pixels": pixels}
        self.path = Path(model) if model is not None else default_model()
        self.session = Session(self.path, device=device, threads=threads)
        self.provider = self.session.provider
        spec = self.session.read_spec() or ModelSpec(provenance={"recipe": "unknown"})
        if pixels is not None:
            spec = dataclasses.replace(spec, pixels=pixels, table=None)
        self.spec = spec
        self._check()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path.absolute(), "options": self._options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"], **state["options"])  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"Predictor({str(self.path)!r}, provider={self.provider!r})"

    @property
    def classes(self) -> int | None:
        """Number of scores a Prediction has; None where the model leaves it free."""
        size = self.session.outputs[0].shape[-1] if len(self.session.outputs[0].shape) > 1 else 1
        if not isinstance(size, int):
            return None
        return 2 if size == 1 and self.spec.head in ("sigmoid", "logits") else size

    @property
    def input_shape(self) -> tuple[int | str | None, ...]:
        """The model's input shape, batch first, such as ('batch', 64, 64, 3)."""
        return self.session.inputs[0].shape

    def predict(self, image: Image, *, color: str = "rgb") -> Prediction:
        """Classify one image.

        Args:
            image: a path, encoded bytes, or a uint8 array (H, W, 3), 0 to 255.
            color: channel order of an array: rgb, bgr (OpenCV frames), rgba, bgra, gray, or a camera's, as preprocess.

        Raises:
            ImageError: the image can't be decoded or has another shape or dtype.
            SourceError: there is no such file.
            ModelError: the model takes no image, or carries no recipe.
        """
        return self.predict_batch([image], color=color)[0]

    def predict_batch(self, images: Sequence[Image], *, color: str = "rgb") -> list[Prediction]:
        """Classify several images in one inference; the results have the same order.

        Raises:
            As predict; the first image that can't be used ends the call.
        """
        if isinstance(images, (str, bytes, os.PathLike)):
            raise InputError(f"predict_batch takes a list of images, got one {type(images).__name__}")
        batch = self.allocate(len(images))
        ms = [self.prepare(image, batch[i], color=color) for i, image in enumerate(images)]
        results = self.infer(batch, ms)
        return [
            dataclasses.replace(r, source=os.fspath(image)) if isinstance(image, (str, os.PathLike)) else r
            for image, r in zip(images, results, strict=True)
        ]

    def predict_table(self, rows: Any) -> list[Prediction]:
        """Classify or regress table rows.

        Args:
            rows: an (n, columns) array or a list of rows, cells in the order of spec.table.columns; a list of dicts
                by column name; or a DataFrame. A cell is a number, a category's text, or None or NaN where it is
                missing; spec.table says which columns may miss values, and what becomes of them.

        Raises:
            TableError: a column is missing, the width is wrong, or a cell can't be used.
            ModelError: the model takes no table.
        """
        rows = encode_rows(rows, self.table)
        results = self.infer(rows.values, [{} for _ in rows.values])
        return [
            dataclasses.replace(r, row=i, missing=rows.missing.get(i, ()), unseen=rows.unseen.get(i, ()))
            for i, r in enumerate(results)
        ]

    def stream(
        self,
        source: int | str | os.PathLike[str],
        *,
        frames: str | None = None,
        max_age_ms: float | None = None,
        max_frames: int | None = None,
    ) -> Iterator[Prediction]:
        """Predict the frames of a camera, a stream or a video file as they come.

        Args:
            source: a camera's index, a URL, or a video file.
            frames: latest (skip to the newest frame; the default of live sources) or all.
            max_age_ms: drop frames that are older than this when their turn comes; live sources only.
            max_frames: stop after this many results.

        Yields:
            Predictions with frame and image, for live sources also captured_at, age_ms and dropped.

        Raises:
            InputError: a camera's index is negative, max_age_ms not above 0, or max_frames below 1.
            SourceError: the source can't be opened, or is lost.
        """
        from .pipeline import stream

        return stream(self, source, frames=frames, max_age_ms=max_age_ms, max_frames=max_frames)

    @property
    def pixels(self) -> PixelSpec:
        """The pixel recipe in use.

        Raises:
            ModelError: the model takes no image, or nobody stated its recipe.
        """
        if self.spec.pixels is not None:
            return self.spec.pixels
        if self.spec.table is not None:
            raise ModelError(f"{self.path}: the model takes table rows, not images; give it a .csv or predict_table")
        port = self.session.inputs[0]
        if len(port.shape) != 4:
            sizes = ", ".join(map(str, port.shape))
            raise ModelError(
                f"{self.path}: the model takes a {port.dtype} ({sizes}), which is neither an image nor the row of a "
                "table that its recipe tells of; run it through onnxruntime directly"
            )
        raise ModelError(
            f"{self.path}: the model carries no recipe, so its training pixels are unknown; name the loader that "
            "it was trained with (--preset, or pixels=edgecnn.PixelSpec(...)), or export it again with --preset"
        )

    @property
    def table(self) -> TableSpec:
        """The table recipe.

        Raises:
            ModelError: the model takes images, or nobody stated its columns.
        """
        if self.spec.table is not None:
            return self.spec.table
        if self.spec.pixels is not None:
            raise ModelError(f"{self.path}: the model takes images, not table rows; use predict")
        raise ModelError(f"{self.path}: the model carries no recipe, so its columns are unknown; export it again")

    def allocate(self, n: int) -> npt.NDArray[Any]:
        """An uninitialised input tensor for n images, for prepare to fill."""
        return np.empty((n, *self.pixels.shape), self.pixels.dtype)

    def prepare(self, image: Image, out: npt.NDArray[Any], *, color: str = "rgb") -> Ms:
        """Decode and preprocess one image into out, one slot of an input tensor.

        Returns:
            Milliseconds of decode (0 for an array) and preprocess.
        """
        pixels = self.pixels
        start = time.perf_counter()
        if not isinstance(image, (np.ndarray, tuple)):
            image, color = decode_for(pixels, image, lent=True)
        decoded = time.perf_counter()
        preprocess(image, pixels, out, color=color)
        done = time.perf_counter()
        return {"decode": (decoded - start) * 1e3, "preprocess": (done - decoded) * 1e3}

    def infer(self, batch: npt.NDArray[Any], ms: Sequence[Ms]) -> list[Prediction]:
        """Run the model on prepared inputs.

        Args:
            batch: (n, ...) input tensor.
            ms: per input, the milliseconds already spent; inference is added.
        """
        if len(batch) == 0:
            return []
        start = time.perf_counter()
        out = self.session.run(batch)
        each = (time.perf_counter() - start) * 1e3 / len(batch)
        regression = self.spec.head == "regression"
        scores = out if regression else _probabilities(out, self.spec.head)
        return [
            Prediction(
                scores=s,
                labels=self.spec.labels,
                value=float(s[0]) if regression else None,
                provider=self.provider,
                ms={**m, "inference": each},
            )
            for s, m in zip(scores, ms, strict=True)
        ]

    def _check(self) -> None:
        """Hold the recipe against the graph, so that a mismatch shows at load and not as a wrong answer."""
        shape, dtype = self.session.inputs[0].shape, self.session.inputs[0].dtype
        expected: tuple[int, ...] | None = None
        if self.spec.pixels is not None:
            expected = self.spec.pixels.shape
            if _DTYPES.get(dtype) != self.spec.pixels.dtype:
                raise ModelError(f"{self.path}: the recipe gives {self.spec.pixels.dtype}, the graph takes {dtype}")
        elif self.spec.table is not None:
            expected = (self.spec.table.width,)
        if expected is not None and not _fits(expected, shape[1:]):
            raise ModelError(f"{self.path}: the recipe gives inputs of {expected}, the graph takes {shape[1:]}")
        classes, labels = self.classes, self.spec.labels
        if labels and classes is not None and len(labels) != classes:
            raise ModelError(f"{self.path}: the recipe has {len(labels)} labels, the graph gives {classes} scores")


def default_model() -> Path:
    """$EDGECNN_MODEL, else ./model.onnx where there is one, else the built-in digits classifier."""
    named = os.environ.get("EDGECNN_MODEL")
    if named:
        return Path(named)
    local = Path("model.onnx")
    return local if local.is_file() else embedded_model()


def embedded_model() -> Path:
    """The classifier of handwritten digits that the wheel carries."""
    return Path(__file__).with_name("digits.onnx")


def _fits(expected: tuple[int, ...], shape: tuple[int | str | None, ...]) -> bool:
    return len(expected) == len(shape) and all(
        not isinstance(s, int) or s == e for e, s in zip(expected, shape, strict=True)
    )


def _probabilities(out: npt.NDArray[np.float32], head: str) -> npt.NDArray[np.float32]:
    """(n, outputs) raw outputs -> (n, classes) scores in 0..1."""
    if head == "logits":
        if out.shape[1] == 1:
            out = np.concatenate([np.zeros_like(out), out], axis=1)
        e = np.exp(out - out.max(axis=1, keepdims=True))
        return np.asarray(e / e.sum(axis=1, keepdims=True), np.float32)
    if head == "sigmoid" and out.shape[1] == 1:
        return np.concatenate([1 - out, out], axis=1)
    return out
