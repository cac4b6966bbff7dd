"""What a guardian does at once: pause, veto, exit-only.

Each is worked out from the state first: what it will do, or why it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from keeper.chain.block import BlockRef
from keeper.chain.call import Call
from keeper.errors import PolicyError, RefusedError
from keeper.guardian.judgement import judge
from keeper.guardian.queue import Queued, Stage
from keeper.guardian.section import Section, registry
from keeper.planning.policy import Policy
from keeper.units import Address

_DAY: Final = 86_400


@dataclass(frozen=True)
class Explanation:
    """What will happen, for people. Sentences; `until` is when it ends by itself, in words."""

    does: str
    until: str
    stops: tuple[str, ...]
    leaves: tuple[str, ...]
    cannot_be_undone: str


@dataclass(frozen=True)
class Intervention:
    """A call that the guardian may make now. `effect` reads what it has to bring about, and `achieved` says
    whether that is so at the block it was mined in; `shown` puts what was read into words."""

    name: str
    call: Call[Any]
    explanation: Explanation
    effect: Call[Any]
    achieved: Callable[[Any, BlockRef], bool]
    shown: Callable[[Any], str]


def moment(at: int) -> str:
    """Seconds since the epoch, for people."""
    if at >= 2**37:
        return "for ever"
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def span(seconds: int) -> str:
    """A length of time, for people."""
    days, rest = divmod(seconds, _DAY)
    if rest == 0:
        return f"{days} day{'' if days == 1 else 's'}"
    return f"{seconds:,} seconds"


def require_power(section: Section, account: Address) -> None:
    """Raises RefusedError unless the account is the vault's guardian, or its governor, who has these powers
    as well."""
    if account in (section.guardian, section.governor):
        return
    raise RefusedError(
        "This account is not the vault's guardian",
        expected=f"guardian {section.guardian} or governor {section.governor}",
        seen=account,
        hint="Without a key the command prints the call, for the guardian to make.",
    )


def pause(policy: Policy, section: Section) -> Intervention:
    """Stops deposits and new risk. Raises RefusedError while it is paused and as long again after that."""
    own, vault, length = registry(policy.vault), policy.vault.vault, section.pause_length
    now, until = section.block.timestamp, section.risk_paused_until
    if section.terminated:
        raise RefusedError(
            "The vault is terminated", seen="deposits and new risk stopped for ever", hint="Nothing to pause."
        )
    if now < until:
        raise RefusedError("Already paused", seen=f"until {moment(until)}")
    if until and now < until + length:
        raise RefusedError(
            f"Cannot pause again within {span(length)} of the last pause",
            expected=f"from {moment(until + length)} on",
            seen=moment(now),
            hint="keeper guardian exit-only and Registry.lowerCap need no pause.",
        )
    explanation = Explanation(
        does=f"Pauses the vault for {span(length)} from the block it is mined in.",
        until=f"about {moment(now + length)}",
        stops=(
            "New deposit requests are refused, and those that wait are not filled.",
            "Batches that raise the exposure of a position revert.",
        ),
        leaves=(
            "Requests to redeem, settlements of redemptions, claims, withdrawals from positions, unwinds.",
            "Queued changes: each can still be made when its time has come, and has to be vetoed by itself.",
        ),
        cannot_be_undone="It cannot be lifted early, and nobody can pause again before "
        f"{span(length)} after its end.",
    )
    return Intervention(
        "pause",
        own.call("pauseRisk", vault),
        explanation,
        own.call("riskPausedUntil", vault),
        lambda paused, block: paused == block.timestamp + length,
        lambda paused: f"riskPausedUntil is {paused}, {moment(paused)}",
    )


def exit_only(policy: Policy, section: Section, named: str) -> Intervention:
    """Lets the positions of a connector only shrink. `named` is its address, or the venue of one of them.

    Raises PolicyError when the registry lists no position of it, RefusedError when it is exit-only already.
    """
    own, vault = registry(policy.vault), policy.vault.vault
    venues = {(each.address, each.key): each.venue for each in policy.positions}
    by_name = {venue: address for (address, _), venue in venues.items()}
    connector = by_name.get(named, named)
    held = [
        venues.get((each.connector, each.key), f"key 0x{each.key.hex()}")
        for each in section.positions
        if each.connector.lower() == connector.lower()
    ]
    if not held:
        raise PolicyError(
            "The registry lists no position of this connector",
            expected=" or ".join(sorted({*by_name, *(each.connector for each in section.positions)})),
            seen=named,
        )
    address = next(e.connector for e in section.positions if e.connector.lower() == connector.lower())
    if address in section.exit_only:
        raise RefusedError("The connector is exit-only already", seen=address)
    positions = ", ".join(sorted(held))
    explanation = Explanation(
        does=f"From the next block on every position of {address} may only shrink: {positions}.",
        until=f"the governor clears it: submitted, then {span(section.delay)} later, and that can be vetoed",
        stops=("Batches that raise the exposure of one of these positions revert.",),
        leaves=(
            "Withdrawals and repayments there, and every other connector.",
            "Deposits, redemptions and settlements.",
        ),
        cannot_be_undone="The guardian cannot take it back.",
    )
    return Intervention(
        "exit-only",
        own.call("setExitOnly", vault, address),
        explanation,
        own.call("isExitOnly", vault, address),
        lambda seen, _: seen is True,
        lambda seen: f"isExitOnly is {str(seen).lower()}",
    )


def veto(policy: Policy, section: Section, queue: Sequence[Queued], id_: bytes, by: Address) -> Intervention:
    """Withdraws a queued change in the name of `by`.

    Raises RefusedError when nothing is queued under the id, when it has expired, and when the guardian may
    not veto it: its own replacement, and what only takes powers away.
    """
    own, vault = registry(policy.vault), policy.vault.vault
    change = next((each for each in queue if each.id == id_), None)
    if change is None:
        raise RefusedError(
            "Nothing is queued under this id",
            expected=" or ".join(f"0x{each.id.hex()}" for each in queue) or "no id: the queue is empty",
            seen=id_,
            hint="keeper guardian watch --once lists what is queued.",
        )
    if change.stage(section.block.timestamp) is Stage.EXPIRED:
        raise RefusedError(
            "The change has expired and cannot be made any more",
            expected=f"a veto up to {moment(change.expires_at)}",
            seen=str(change),
        )
    if not change.vetoable and by != section.governor:
        _refuse_veto(change)
    explanation = Explanation(
        does=f"Withdraws {change}, which could be made from {moment(change.executable_at)} on.",
        until="for good",
        stops=(
            f"This one change. What the policy says: {judge(policy, change).why}.",
            *_haste(section, change),
        ),
        leaves=(
            "Every other queued change, deposits, redemptions and batches.",
            f"The governor may submit the same again, and waits {span(section.delay)} again.",
        ),
        cannot_be_undone="The change is gone; whoever wants it has to submit it again.",
    )
    return Intervention(
        "veto",
        own.call("veto", vault, id_),
        explanation,
        own.call("executableAt", vault, id_),
        lambda at, _: at == 0,
        lambda at: "nothing is queued under the id" if at == 0 else f"executable at {moment(at)}",
    )


def _haste(section: Section, change: Queued) -> tuple[str, ...]:
    if change.stage(section.block.timestamp) is Stage.WAITING:
        return ()
    return ("It can be made already: if the governor does so first, the veto reverts.",)


def _refuse_veto(change: Queued) -> None:
    if change.function == "setGuardian":
        raise RefusedError(
            "A guardian cannot veto its own replacement",
            seen=str(change),
            where=change.id,
            hint="The governor can withdraw it.",
        )
    raise RefusedError(
        "What only lowers risk cannot be vetoed",
        seen=str(change),
        where=change.id,
        hint="The governor can withdraw it.",
    )
