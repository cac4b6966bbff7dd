"""Medians of durations: what a busy machine disturbs least."""

from collections.abc import Awaitable, Callable, Sequence
from statistics import median
from time import perf_counter, process_time


def cpu_seconds(run: Callable[[], object], *, warmups: int, repeats: int) -> float:
    """Median processor time of `run`, which waits for nothing, after runs that do not count."""
    taken = []
    for _ in range(warmups + repeats):
        started = process_time()
        run()
        taken.append(process_time() - started)
    return median(taken[warmups:])


async def wall_seconds(
    runs: Sequence[Callable[[], Awaitable[object]]], *, warmups: int, repeats: int
) -> list[float]:
    """Median wall-clock time of each of several coroutine functions, run in turns so that what else the
    machine does hits all of them alike."""
    taken: list[list[float]] = [[] for _ in runs]
    for _ in range(warmups + repeats):
        for run, durations in zip(runs, taken, strict=True):
            started = perf_counter()
            await run()
            durations.append(perf_counter() - started)
    return [median(durations[warmups:]) for durations in taken]


def milliseconds(duration: float) -> float:
    """Seconds as milliseconds to three places."""
    return round(duration * 1_000, 3)
