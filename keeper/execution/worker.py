"""Work of the processor, done beside the event loop: leases, answers and other vaults do not wait for it."""

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

from keeper.errors import KeeperError

P = ParamSpec("P")
T = TypeVar("T")

TURN_SECONDS: Final = 10.0
"""How long others wait for one that computes; after that they compute beside it."""
THREADS: Final = 256
"""More than there are vaults in a process: one whose computation never ends keeps one for itself."""


class Worker:
    """Threads for pure functions, one at work at a time but for those that take long: they share an
    interpreter with the loop, which each of them would make wait for its next turn."""

    def __init__(self) -> None:
        self._threads: Final = ThreadPoolExecutor(THREADS, "worker")
        self._turn: Final = asyncio.Lock()
        self._left: Final[dict[Hashable, Future[Any]]] = {}

    async def run(self, owner: Hashable, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` returns or raises. Nothing can stop it: if the caller gives up waiting it goes on by
        itself, others get their turn, and until it has ended the `owner` gets KeeperError."""
        async with self._turn:
            left = self._left.get(owner)
            if left is not None and not left.done():
                raise KeeperError(
                    "What a former pass computes has not ended",
                    where=owner,
                    hint="Nothing else is computed for this vault meanwhile: look at its strategy.",
                )
            future = self._threads.submit(_result, partial(work, *args, **kwargs))
            self._left[owner] = future
            ended = asyncio.wrap_future(future)
            try:
                await asyncio.wait([ended], timeout=TURN_SECONDS)
            except asyncio.CancelledError:
                ended.cancel()
                raise
        try:
            return await ended
        finally:
            if future.done() and self._left.get(owner) is future:
                del self._left[owner]


def _result(work: Callable[[], T]) -> T:
    """What it returns or raises, of errors only those that stay where they are: asyncio cannot hand on the
    first of these, and the others would end the process."""
    try:
        return work()
    except (StopIteration, SystemExit, KeyboardInterrupt) as error:
        raise KeeperError("A computation ended by what is no error", seen=repr(error)) from error
