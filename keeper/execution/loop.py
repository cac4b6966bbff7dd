"""The keeper at work: one process, a task for each vault, until it is stopped or loses its journal.

A pass follows every new block, and comes on a schedule besides. It may be ended at any moment, by its
deadline or by a signal: what it had begun is in the journal, and the next pass goes on there.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

from pydantic import Field

from keeper.chain.block import BlockRef
from keeper.chain.rpc import Source
from keeper.config import StrictModel
from keeper.errors import KeeperError, LeaseError, RefusedError
from keeper.events import EventStream, PassFailed, PassFinished
from keeper.execution.cycle import Keeper
from keeper.execution.duties import Duties, Report, rehearsed
from keeper.execution.journal.journal import JournalError
from keeper.planning.policy import Policy
from keeper.units import Address

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Schedule(StrictModel):
    """In seconds: `poll` between two looks for a new block, and at least between two passes; `interval`
    between two passes without one, or after a failure; `deadline` for a pass."""

    poll: Seconds = 2.0
    interval: Seconds = 60.0
    deadline: Seconds = 180.0


@dataclass(frozen=True)
class Tended:
    """A vault that is looked after; without `duties` by a keeper that only says what it would do."""

    keeper: Keeper
    duties: Duties | None

    @property
    def policy(self) -> Policy:
        return self.keeper.policy


@dataclass
class Head:
    """The newest block of a chain, asked for once for all of its vaults. `number` is -1 where no endpoint
    says, as the next pass will tell, and None before it has been asked for."""

    source: Source
    number: int | None = None
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self, schedule: Schedule) -> None:
        """Looks every `poll` seconds."""
        while True:
            number = -1
            with suppress(TimeoutError):
                async with asyncio.timeout(schedule.deadline):
                    # Whatever goes wrong here goes wrong in a pass, too, and is told there.
                    (seen,) = await asyncio.gather(self.source.latest(), return_exceptions=True)
                    number = seen.number if isinstance(seen, BlockRef) else -1
            if number != self.number:
                self.number = number
                self._moved.set()
                self._moved = asyncio.Event()
            await asyncio.sleep(schedule.poll)

    async def past(self, number: int | None) -> None:
        """Waits while it is that one."""
        while self.number == number:
            await self._moved.wait()


@dataclass(frozen=True)
class Loop:
    """Looks after vaults. A vault whose passes fail does not keep the others from theirs."""

    vaults: Sequence[Tended]
    schedule: Schedule
    events: EventStream

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set. Raises LeaseError and JournalError, which end every vault's work."""
        heads = {each.policy.vault.chain_id: Head(each.keeper.endpoint) for each in self.vaults}
        stopped = asyncio.create_task(stop.wait())
        tasks = [asyncio.create_task(head.follow(self.schedule)) for head in heads.values()]
        tasks += [
            asyncio.create_task(self._tend(vault, heads[vault.policy.vault.chain_id]))
            for vault in self.vaults
        ]
        try:
            done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (stopped, *tasks):
                task.cancel()
            await asyncio.gather(stopped, *tasks, return_exceptions=True)
        for task in done - {stopped}:
            task.result()

    async def once(self) -> bool:
        """One pass over every vault. Whether nothing went wrong."""
        return all(await asyncio.gather(*(self.pass_over(vault) for vault in self.vaults)))

    async def _tend(self, vault: Tended, head: Head) -> None:
        while True:
            # Before the pass, so that a block that comes meanwhile is not missed.
            seen = head.number
            well = await self.pass_over(vault)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.schedule.interval):
                    await asyncio.sleep(self.schedule.poll if well else self.schedule.interval)
                    await head.past(seen)

    async def pass_over(self, vault: Tended) -> bool:
        """One pass, within its deadline. Whether nothing went wrong; what did is an event, and in the
        journal. Raises LeaseError and JournalError."""
        loop, report = asyncio.get_running_loop(), Report()
        begun = loop.time()
        task = asyncio.create_task(self._perform(vault, report))
        try:
            await asyncio.wait([task], timeout=self.schedule.deadline)
            late = not task.done()
        finally:
            task.cancel()
            (ended,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(ended, LeaseError | JournalError):
            raise ended
        troubles: list[BaseException] = list(report.errors)
        if late:
            deadline = f"{self.schedule.deadline:g} s"
            troubles.append(KeeperError("The pass took too long, and was ended", expected=deadline))
        elif ended is not None:
            troubles.append(ended)
        self._conclude(vault, report, troubles, loop.time() - begun)
        return not troubles

    async def _perform(self, vault: Tended, report: Report) -> None:
        await require_time(vault.keeper)
        if vault.duties is None:
            report.did.extend(await rehearsed(vault.keeper))
        else:
            await vault.duties.perform(report)

    def _conclude(
        self, vault: Tended, report: Report, troubles: Sequence[BaseException], seconds: float
    ) -> None:
        did = report.did
        # An error that is not ours has no words of its own kind.
        words = "; ".join(str(e) if isinstance(e, KeeperError) else repr(e) for e in troubles)
        waits = "; ".join(map(str, report.waits))
        name, tripped = vault.policy.vault, tuple[str, ...]()
        if vault.duties is not None:
            breakers, relayer = vault.duties.breakers, vault.duties.relayer
            for each in troubles:
                # Those of a duty have been judged at once; what stopped the pass has not.
                breakers.judge(each)
            breakers.count(failed=bool(troubles))
            vault.duties.record.beat(Address(relayer.account.address), "; ".join(did), words or waits)
            relayer.tell()
            tripped = breakers.open
        ended = partial(PassFailed, trouble=words) if troubles else PassFinished
        self.events.emit(
            ended(
                chain_id=name.chain_id,
                vault=name.vault,
                did=tuple(did),
                seconds=round(seconds, 3),
                breakers=tripped,
            )
        )


async def require_time(keeper: Keeper) -> None:
    """Raises RefusedError when the keeper's clock and the chain's head are further apart than the policy's
    `time.max_clock_skew`: plans would be early or late by as much."""
    policy = keeper.policy
    now, skew = await keeper.clock.now(), policy.time.max_clock_skew
    # An endpoint that is behind by more than its `max_head_age` gives way to the next.
    head = await keeper.endpoint.latest(now)
    if abs(now - head.timestamp) > skew:
        raise RefusedError(
            "The keeper's clock and the chain's time differ",
            expected=f"at most {skew} s",
            seen=f"{now - head.timestamp:+,} s at block {head.number}",
            where=f"chain {policy.vault.chain_id}",
            hint="Set the machine's clock, or find out why the chain, or its endpoint, stands still.",
        )
