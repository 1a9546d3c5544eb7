"""The loop from items to results: prepare on threads, infer in batches, yield in the order of the input.

onnxruntime, the kernel and the decoders release the GIL, so threads are enough; a batch is always full
(the last one aside), because a model's last bits may depend on the batch size and results should not
depend on timing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import queue
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .capture import Camera, Frame, is_url, read_video
from .errors import EdgeCNNError, InputError, ModelError
from .sources import Failure, ImageFile, Item, Rows

if TYPE_CHECKING:
    from .predictor import Ms, Prediction, Predictor

MAX_WORKERS = 8
"""Threads that decode at most by default; past that, memory bandwidth is the limit on the boards we know."""


def processors() -> int:
    """How many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@dataclasses.dataclass(frozen=True, slots=True)
class _Prepared:
    item: ImageFile | Frame
    tensor: npt.NDArray[Any]
    ms: Ms


def run(
    predictor: Predictor,
    items: Iterable[Item],
    *,
    batch_size: int = 1,
    workers: int | None = None,
    keep_images: bool = False,
) -> Generator[Prediction | Failure, None, None]:
    """Predict items; a Failure stands where an item could not be used.

    Args:
        predictor: the model.
        items: what sources.read_sources yields.
        batch_size: inputs of one inference.
        workers: threads that decode and preprocess; None takes processors(), at most MAX_WORKERS.
        keep_images: leave the frame of a video on its Prediction.

    Raises:
        ModelError: the model itself can't run; no further input would fare better.
    """
    if batch_size < 1 or (workers is not None and workers < 1):
        raise InputError(f"batch size and workers must be at least 1, got {batch_size} and {workers}")
    if predictor.spec.table is not None:
        yield from _run_rows(predictor, items, batch_size)
        return
    workers = workers or min(processors(), MAX_WORKERS)
    pending: list[_Prepared | Failure] = []
    ready = 0
    with contextlib.closing(_prepare_ahead(predictor, items, workers, ahead=2 * workers + batch_size)) as prepared:
        for p in prepared:
            if isinstance(p, Failure) and not ready:
                yield p
                continue
            pending.append(p)
            ready += isinstance(p, _Prepared)
            if ready == batch_size:
                yield from _infer(predictor, pending, keep_images)
                pending, ready = [], 0
        if ready:
            yield from _infer(predictor, pending, keep_images)


def _infer(
    predictor: Predictor, pending: list[_Prepared | Failure], keep_images: bool
) -> Iterator[Prediction | Failure]:
    """Infer the prepared ones as one batch, and yield all in their order."""
    ready = [p for p in pending if isinstance(p, _Prepared)]
    results = iter(predictor.infer(np.stack([p.tensor for p in ready]), [p.ms for p in ready]))
    for p in pending:
        yield p if isinstance(p, Failure) else _label(next(results), p.item, keep_images)


def _label(result: Prediction, item: ImageFile | Frame, keep_image: bool) -> Prediction:
    """Add to a result where it came from."""
    if isinstance(item, ImageFile):
        return dataclasses.replace(result, source=item.source)
    return dataclasses.replace(result, source=item.source, frame=item.number, image=item.image if keep_image else None)


def _run_rows(
    predictor: Predictor, items: Iterable[Item], batch_size: int
) -> Generator[Prediction | Failure, None, None]:
    """Tables: their rows come in blocks, encoded already, and need neither threads nor a tensor each."""
    for item in items:
        if isinstance(item, Failure):
            yield item
            continue
        assert isinstance(item, Rows)
        block = item.block
        good = [i for i in range(len(block.lines)) if i not in block.failures]
        batches = (good[i : i + batch_size] for i in range(0, len(good), batch_size))
        results = itertools.chain.from_iterable(predictor.infer(block.values[b], [{}] * len(b)) for b in batches)
        for i in range(len(block.lines)):
            error = block.failures.get(i)
            if error is not None:
                yield Failure(item.source, error, row=block.first + i)
            else:
                missing, unseen = block.missing.get(i, ()), block.unseen.get(i, ())
                row = block.first + i
                yield dataclasses.replace(next(results), source=item.source, row=row, missing=missing, unseen=unseen)


def _prepare(predictor: Predictor, item: Item) -> _Prepared | Failure:
    if isinstance(item, Failure):
        return item
    try:
        assert not isinstance(item, Rows)
        tensor = predictor.allocate(1)[0]
        if isinstance(item, Frame):
            return _Prepared(item, tensor, predictor.prepare(item.image, tensor, color="bgr"))
        return _Prepared(item, tensor, predictor.prepare(item.source, tensor))
    except ModelError:
        raise
    except EdgeCNNError as e:
        return Failure(item.source, e, frame=item.number if isinstance(item, Frame) else None)


def _prepare_ahead(
    predictor: Predictor, items: Iterable[Item], workers: int, *, ahead: int
) -> Generator[_Prepared | Failure, None, None]:
    """Prepare items on threads, in order, at most `ahead` of the consumer.

    Items are fetched on a thread of their own: a slow source (paths typed on stdin) must not hold back
    the results of what came before.
    """
    futures: queue.Queue[Future[_Prepared | Failure] | None] = queue.Queue(ahead)
    stop = threading.Event()
    failed: list[BaseException] = []

    def put(future: Future[_Prepared | Failure] | None) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                futures.put(future, timeout=0.1)
                return

    def feed() -> None:
        try:
            for item in items:
                if stop.is_set():
                    return
                put(pool.submit(_prepare, predictor, item))
        except BaseException as e:
            failed.append(e)
        finally:
            put(None)

    with ThreadPoolExecutor(workers, thread_name_prefix="prepare") as pool:
        feeder = threading.Thread(target=feed, name="sources", daemon=True)
        feeder.start()
        try:
            while (future := futures.get()) is not None:
                yield future.result()
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
    if failed:
        raise failed[0]


def run_live(
    predictor: Predictor,
    source: int | str,
    *,
    frames: str | None = None,
    max_age_ms: float | None = None,
    max_frames: int | None = None,
) -> Iterator[Prediction]:
    """Predict a camera or a network stream, one frame at a time, always with the frame it came from.

    Raises:
        InputError: as check_limits.
        SourceError: it can't be opened, or gave no more frames.
    """
    check_limits(max_age_ms, max_frames)
    predictor.pixels  # noqa: B018 - a model without a recipe must be refused before the camera is opened
    done = stale = 0
    with Camera(source, frames=frames or "latest") as camera:
        for frame in camera:
            if max_age_ms is not None and _age_ms(frame) > max_age_ms:
                stale += frame.dropped + 1
                continue
            tensor = predictor.allocate(1)
            ms = predictor.prepare(frame.image, tensor[0], color="bgr")
            (result,) = predictor.infer(tensor, [ms])
            yield dataclasses.replace(
                result,
                source=frame.source,
                frame=frame.number,
                image=frame.image,
                captured_at=frame.timestamp,
                age_ms=_age_ms(frame),
                dropped=frame.dropped + stale,
            )
            done, stale = done + 1, 0
            if done == max_frames:
                return


def check_limits(max_age_ms: float | None, max_frames: int | None) -> None:
    """Refuse limits that no frame would ever meet.

    Raises:
        InputError: max_age_ms is not above 0, or max_frames below 1.
    """
    if max_age_ms is not None and not max_age_ms > 0:
        raise InputError(f"max_age_ms must be above 0, got {max_age_ms}")
    if max_frames is not None and max_frames < 1:
        raise InputError(f"max_frames must be at least 1, got {max_frames}")


def _age_ms(frame: Frame) -> float:
    return (time.time() - (frame.captured_at or time.time())) * 1e3


def stream(
    predictor: Predictor,
    source: int | str | os.PathLike[str],
    *,
    frames: str | None = None,
    max_age_ms: float | None = None,
    max_frames: int | None = None,
) -> Iterator[Prediction]:
    """Predictor.stream: a camera, a URL or a video file; what fails is raised."""
    if isinstance(source, int) or is_url(source):
        yield from run_live(predictor, source, frames=frames, max_age_ms=max_age_ms, max_frames=max_frames)  # type: ignore[arg-type]
        return
    check_limits(max_age_ms, max_frames)
    results = run(predictor, itertools.islice(read_video(os.fspath(source)), max_frames), keep_images=True)
    with contextlib.closing(results):
        for result in results:
            if isinstance(result, Failure):
                raise result.error
            yield result
