"""One look at a vault: what is queued, what the policy contains of it, and where chain and policy differ."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Never

from keeper.chain.rpc import Source
from keeper.clock import Clock
from keeper.errors import DecodeError, EndpointError, KeeperError
from keeper.events import EndpointFailed, EventStream
from keeper.guardian.grants import Disagreement, disagreements
from keeper.guardian.judgement import Verdict, judge
from keeper.guardian.queue import Queued, Stage, Submissions
from keeper.guardian.section import Section, read_section
from keeper.planning.policy import Policy


@dataclass(frozen=True)
class Seen:
    """A queued change with its stage at the section's block and the policy's verdict."""

    change: Queued
    stage: Stage
    verdict: Verdict

    @property
    def foreign(self) -> bool:
        """Whether it can still be made and the policy does not contain it."""
        return self.stage is not Stage.EXPIRED and not self.verdict.contained


@dataclass(frozen=True)
class Look:
    """What was seen at one block. `differences` are what the chain grants now and the policy does not, and
    what it lacks; what a guardian has lowered is none."""

    section: Section
    queue: tuple[Seen, ...]
    differences: tuple[Disagreement, ...]

    @property
    def ok(self) -> bool:
        """Nothing foreign is queued, and chain and policy agree."""
        return not self.differences and not any(each.foreign for each in self.queue)

    @property
    def findings(self) -> tuple[object, ...]:
        """What a guardian wants to hear of when it changes; blocks pass without that."""
        return self.queue, self.differences, self.section.risk_paused_until, self.section.exit_only


def judged(policy: Policy, section: Section, queue: Iterable[Queued]) -> tuple[Seen, ...]:
    """Queued changes as they stand at the section's block."""
    at = section.block.timestamp
    return tuple(Seen(each, each.stage(at), judge(policy, each)) for each in queue)


class Watcher:
    """Looks at a vault through one source. Everything follows from the chain at the block of each look."""

    def __init__(self, source: Source, policy: Policy, clock: Clock, since: int = 0) -> None:
        self._source: Final = source
        self._clock: Final = clock
        self._policy: Final = policy
        self._submissions: Final = Submissions(source, policy.vault, since)

    async def look(self) -> Look:
        """What is there at the head. Raises StaleHeadError when that is too old for the endpoint's settings,
        and as `read_section` and `Submissions.queued`."""
        head = await self._source.latest(await self._clock.now())
        section = await read_section(self._source, self._policy, head)
        queue = judged(self._policy, section, await self._submissions.queued(section))
        found = disagreements(self._policy, section)
        return Look(section, queue, tuple(each for each in found if not each.lowered))

    async def follow(self, tell: Callable[[Look], None], interval: int, events: EventStream) -> Never:
        """Looks again every `interval` seconds until it is cancelled, and tells what is new: the first look,
        and each whose findings differ from the last one that was told.

        An endpoint that fails, or says what makes no sense, is an event, and is asked again: the watch must
        outlive it. What is wrong with the watch itself, the first look shows.
        """
        told: Look | None = None
        while True:
            try:
                seen = await self.look()
            except KeeperError as error:
                if told is None and not isinstance(error, EndpointError | DecodeError):
                    raise
                events.emit(
                    EndpointFailed(
                        chain_id=self._source.chain_id, endpoint=self._source.public_url, reason=str(error)
                    )
                )
            else:
                if told is None or seen.findings != told.findings:
                    tell(seen)
                    told = seen
            await asyncio.sleep(interval)
