"""Wall-clock medians. The median of many runs is what a busy machine disturbs least."""

from collections.abc import Awaitable, Callable
from statistics import median
from time import perf_counter


def seconds(run: Callable[[], object], *, warmups: int, repeats: int) -> float:
    """Median duration of `run`, after runs that do not count."""
    taken = []
    for _ in range(warmups + repeats):
        started = perf_counter()
        run()
        taken.append(perf_counter() - started)
    return median(taken[warmups:])


async def seconds_of(run: Callable[[], Awaitable[object]], *, warmups: int, repeats: int) -> float:
    """The same for a coroutine function."""
    taken = []
    for _ in range(warmups + repeats):
        started = perf_counter()
        await run()
        taken.append(perf_counter() - started)
    return median(taken[warmups:])


def milliseconds(duration: float) -> float:
    """Seconds as milliseconds to three places."""
    return round(duration * 1_000, 3)
