"""How times are taken here: two jobs by turns in one process, medians, the median of the ratios of each pair.

Each is run once right before the run that counts, so that the caches are its own and not the other's: hot for both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

Job = Callable[[], Any]
"""Does the whole of a job once."""


def clock(job: Job) -> float:
    """Seconds of one run."""
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def hot(timer: Callable[[], float]) -> float:
    """Seconds of the second of two runs."""
    timer()
    return timer()


def race(a: Job, b: Job, seconds: float) -> tuple[float, float, float]:
    """Median microseconds of a and of b, and the median of the pairwise ratios b / a.

    A job that runs in another process (see apart.py) has its own `clock`, so that the way there is not counted.
    """
    timers = [getattr(job, "clock", lambda job=job: clock(job)) for job in (a, b)]
    for timer in timers:
        timer()
    times: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    while len(times) < 7 or time.perf_counter() < end:
        times.append((hot(timers[0]), hot(timers[1])))
    first, second = zip(*times, strict=True)
    ratio = statistics.median(y / x for x, y in times)
    return statistics.median(first) * 1e6, statistics.median(second) * 1e6, ratio
