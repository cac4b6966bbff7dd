"""The keeper at work: one process, a task for each vault, until it is stopped or loses its journal.

A pass follows every new block, and comes on a schedule besides. It may be ended at any moment, by its
deadline or by a signal: what it had begun is in the journal, and the next pass goes on there.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from keeper.chain.rpc import Source
from keeper.config import StrictModel
from keeper.errors import EndpointError, KeeperError, LeaseError, RefusedError
from keeper.events import EventStream, PassFailed, PassFinished
from keeper.execution.cycle import Keeper
from keeper.execution.duties import Duties, Report, rehearsed
from keeper.execution.journal.journal import JournalError
from keeper.planning.policy import Policy
from keeper.units import Address

Seconds = Annotated[float, Field(gt=0)]


class Schedule(StrictModel):
    """In seconds: `poll` between two looks for a new block, `interval` between two passes without one, or
    after a failure, and `deadline` for a pass."""

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


@dataclass(frozen=True)
class Loop:
    """Looks after vaults. A vault whose passes fail does not keep the others from theirs."""

    vaults: Sequence[Tended]
    schedule: Schedule
    events: EventStream

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set. Raises LeaseError and JournalError, which end every vault's work."""
        stopped = asyncio.create_task(stop.wait())
        tasks = [asyncio.create_task(self._tend(vault)) for vault in self.vaults]
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

    async def _tend(self, vault: Tended) -> None:
        source = vault.keeper.endpoint
        while True:
            # Before the pass, so that a block that comes meanwhile is not missed.
            head = await _head(source)
            well = await self.pass_over(vault)
            await self._pause(source, head, well=well)

    async def _pause(self, source: Source, last: int, *, well: bool) -> None:
        """Until there is another head, or the interval is over; only that after a pass that failed."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.schedule.interval
        while (left := until - loop.time()) > 0:
            await asyncio.sleep(min(self.schedule.poll, left))
            if well and await _head(source) != last:
                return

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
        name = vault.policy.vault
        if vault.duties is not None:
            breakers, relayer = vault.duties.breakers, vault.duties.relayer
            for each in troubles:
                # Those of a duty have been judged at once; what stopped the pass has not.
                breakers.judge(each)
            breakers.count(failed=bool(troubles))
            vault.duties.record.beat(Address(relayer.account.address), "; ".join(did), words or waits)
        if troubles:
            self.events.emit(
                PassFailed(chain_id=name.chain_id, vault=name.vault, did=tuple(did), trouble=words)
            )
        else:
            self.events.emit(
                PassFinished(
                    chain_id=name.chain_id, vault=name.vault, did=tuple(did), seconds=round(seconds, 3)
                )
            )


async def _head(source: Source) -> int:
    """The number of the head; -1 where no endpoint says, as the next pass will tell."""
    try:
        return (await source.latest()).number
    except EndpointError:
        return -1


async def require_time(keeper: Keeper) -> None:
    """Raises RefusedError when the keeper's clock and the chain's head are further apart than the policy's
    `time.max_clock_skew`: plans would be early or late by as much."""
    policy = keeper.policy
    head = await keeper.endpoint.latest()
    now, skew = await keeper.clock.now(), policy.time.max_clock_skew
    if abs(now - head.timestamp) > skew:
        raise RefusedError(
            "The keeper's clock and the chain's time differ",
            expected=f"at most {skew} s",
            seen=f"{now - head.timestamp:+,} s at block {head.number}",
            where=f"chain {policy.vault.chain_id}",
            hint="Set the machine's clock, or find out why the chain, or its endpoint, stands still.",
        )
