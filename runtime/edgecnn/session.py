"""Session: an onnxruntime session that runs where it was asked to, or says why not.

onnxruntime turns a CUDA request that it can't serve into a CPU session with no more than a log line; here
that is a DeviceError, and the provider that really holds the graph's nodes is reported.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import DeviceError, InputError, MissingDependencyError, ModelError, SpecError
from .preprocess import MAX_THREADS
from .quiet import quiet
from .seal import check_references, check_seal
from .spec import METADATA_KEY, ModelSpec

DEVICES = ("auto", "cpu", "cuda")

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"

MAX_MODEL_BYTES = 2**31 - 1
"""Largest ONNX file, bytes: protobuf's own limit."""


TELEMETRY_OFF = "ORT_DISABLE_TELEMETRY"
"""Environment variable. Unless it is 1, onnxruntime's own builds since 1.29 keep an id of the device in the user's
cache and report each model that is loaded to their maker: its name, producer, hashes of graph and weights."""


def import_onnxruntime() -> Any:
    """The onnxruntime module, with its telemetry switched off unless the user set TELEMETRY_OFF.

    It has to be off before onnxruntime is first imported: an application that does so itself decides for itself.

    Raises:
        MissingDependencyError: neither onnxruntime nor onnxruntime-gpu is installed.
    """
    os.environ.setdefault(TELEMETRY_OFF, "1")
    try:
        import onnxruntime
    except ImportError as e:
        raise MissingDependencyError(f"onnxruntime is needed and can't be imported ({e}); {INSTALL_HINT}") from None
    return onnxruntime


INSTALL_HINT = "install one of: pip install 'edgecnn[cpu]' or, for an NVIDIA GPU, pip install 'edgecnn[gpu]'"


@dataclasses.dataclass(frozen=True)
class Port:
    """An input or output of a model."""

    name: str
    shape: tuple[int | str | None, ...]
    """With a name or None where the size is free, such as ('batch', 64, 64, 3)."""
    dtype: str
    """onnxruntime's spelling, such as tensor(float)."""


class Session:
    """One model on one provider."""

    def __init__(
        self, path: str | os.PathLike[str], *, device: str = "auto", threads: int | None = None, several: bool = False
    ):
        """Load a model.

        Args:
            path: the ONNX file.
            device: auto (CUDA where it really works, else CPU), cpu or cuda.
            threads: threads for one inference; None leaves it to onnxruntime (all physical cores).
            several: take models with more than one input or output too, for run_all.

        Raises:
            ModelError: no ONNX file, or one that onnxruntime can't run, or not one input and one output.
            DeviceError: cuda was asked for and is not really used.
        """
        if device not in DEVICES:
            raise InputError(f"device must be one of {', '.join(DEVICES)}; got {device!r}")
        if threads is not None and not (isinstance(threads, int) and 1 <= threads <= MAX_THREADS):
            raise InputError(f"threads must be a whole number from 1 to {MAX_THREADS}, got {threads!r}")
        self.path = Path(path)
        content = _read(self.path)
        self.sealed = check_seal(content, self.path)
        """Whether the file carries the digest that edgecnn's export appends; if so, it fits."""
        check_references(content, self.path)
        self._ort = import_onnxruntime()
        self._session = self._open(device, threads)
        self.provider: str = self._session.get_providers()[0]
        """onnxruntime's name of the provider in use, such as CPUExecutionProvider."""
        try:
            self.inputs, self.outputs = (
                tuple(Port(p.name, tuple(p.shape), p.type) for p in ports)
                for ports in (self._session.get_inputs(), self._session.get_outputs())
            )
            self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
            """The file's metadata_props."""
        except UnicodeDecodeError:
            raise ModelError(
                f"{self.path}: not a usable ONNX model: a name or an entry of its metadata is no UTF-8 text"
            ) from None
        if not several and (len(self.inputs) != 1 or len(self.outputs) != 1):
            raise ModelError(
                f"{self.path}: the model has {len(self.inputs)} inputs and {len(self.outputs)} outputs, edgecnn "
                "predicts with one of each; run such a model through onnxruntime directly"
            )
        if not several and self.outputs[0].dtype == "tensor(string)":
            raise ModelError(
                f"{self.path}: the model gives text, edgecnn predicts numbers and has the names of classes in its "
                "recipe; run such a model through onnxruntime directly"
            )

    def _open(self, device: str, threads: int | None) -> Any:
        available = self._ort.get_available_providers()
        if device == "cuda" and _CUDA not in available:
            raise DeviceError(
                "device cuda was asked for, but the installed onnxruntime has no CUDA provider (it has "
                f"{', '.join(available)}); pip uninstall onnxruntime && pip install onnxruntime-gpu, or use cpu"
            )
        if device == "cpu" or _CUDA not in available:
            return self._create([_CPU], threads)
        try:
            session, why = self._create([_CUDA, _CPU], threads), "onnxruntime fell back to the CPU"
            if _on_cuda(session):
                return session
        except ModelError as e:
            why = str(e)
        session = self._create([_CPU], threads)
        if device == "cuda":
            raise DeviceError(
                f"device cuda was asked for, but {why}; check nvidia-smi and that the "
                "CUDA and cuDNN versions fit this onnxruntime-gpu, or use --device cpu"
            )
        return session

    def _create(self, providers: list[str], threads: int | None) -> Any:
        options = self._ort.SessionOptions()
        options.log_severity_level = 4
        if threads is not None:
            options.intra_op_num_threads = threads
        if _CUDA in providers:
            options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        try:
            with quiet():
                # By its path: weights beside the file are then looked for in its folder, not in the current one.
                # onnxruntime's own fallback prints to stdout, among the results.
                return self._ort.InferenceSession(
                    os.fspath(self.path), options, providers=providers, enable_fallback=False
                )
        except Exception as e:
            raise ModelError(f"{self.path}: not a usable ONNX model: {_first_line(e)}") from None

    def read_spec(self) -> ModelSpec | None:
        """The recipe stamped into the file, or None for a model that carries none.

        Raises:
            ModelError: there is a stamp that can't be read.
        """
        text = self.metadata.get(METADATA_KEY)
        if text is None:
            return None
        try:
            return ModelSpec.from_json(text)
        except SpecError as e:
            raise ModelError(f"{self.path}: {e}") from None

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """One inference; safe to call from several threads.

        Args:
            batch: (n, ...) in the model's input shape and dtype.

        Returns:
            (n, outputs) float32.
        """
        return np.asarray(self.run_all([batch])[0], np.float32).reshape(len(batch), -1)

    def run_all(self, batches: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """One inference of a model with any number of inputs and outputs; safe to call from several threads.

        Args:
            batches: (n, ...) for each input, in its shape and dtype.

        Returns:
            (n, ...) for each output.
        """
        size = self.inputs[0].shape[0] if self.inputs[0].shape else None
        if isinstance(size, int) and size != len(batches[0]):
            return self._run_fixed(batches, size)
        try:
            found = self._session.run(None, {p.name: b for p, b in zip(self.inputs, batches, strict=True)})
        except Exception as e:
            given = ", ".join(f"{b.shape} {b.dtype}" for b in batches)
            raise ModelError(
                f"{self.path}: onnxruntime can't run an input of shape {given}: {_first_line(e)}"
            ) from None
        return [np.asarray(o) for o in found]

    def _run_fixed(self, batches: Sequence[npt.NDArray[Any]], size: int) -> list[npt.NDArray[Any]]:
        """A model whose batch size is fixed: as many runs as it takes, the last one padded with zeros or ""."""
        count = len(batches[0])
        runs = -(-count // size)
        padded = [np.full((runs * size, *b.shape[1:]), "" if b.dtype == object else 0, b.dtype) for b in batches]
        for p, b in zip(padded, batches, strict=True):
            p[:count] = b
        parts = [self.run_all([p[at : at + size] for p in padded]) for at in range(0, runs * size, size)]
        return [np.concatenate(output)[:count] for output in zip(*parts, strict=True)]


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_MODEL_BYTES:
            raise ModelError(f"{path}: {size} bytes is more than an ONNX file can have ({MAX_MODEL_BYTES})")
        os.fspath(path).encode()
        return path.read_bytes()
    except UnicodeEncodeError:
        raise ModelError(f"{path}: onnxruntime opens no file whose name isn't UTF-8; rename it or its folder") from None
    except FileNotFoundError:
        raise ModelError(f"{path}: no such model file") from None
    except OSError as e:
        raise ModelError(f"{path}: can't be read: {e.strerror}") from None


def _on_cuda(session: Any) -> bool:
    """Whether CUDA is registered and, where onnxruntime can tell (1.24 and later), really holds nodes."""
    if session.get_providers()[0] != _CUDA:
        return False
    try:
        subgraphs = session.get_provider_graph_assignment_info()
    except (AttributeError, RuntimeError):
        return True
    return not subgraphs or any(s.ep_name == _CUDA for s in subgraphs)


_SOURCE = re.compile(r"(Load model from .*? failed:)?/onnxruntime_src/\S+ .*?\) (const )?")
"""Where in onnxruntime's own source a message comes from."""


def _first_line(error: Exception) -> str:
    """onnxruntime's message without its '[ONNXRuntimeError] : 7 : CODE :' prefix, places in its source and stack."""
    text = str(error).strip().splitlines()
    return _SOURCE.sub("", text[0].rpartition(" : ")[2]).strip() if text else type(error).__name__
