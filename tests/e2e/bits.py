"""Every input of a plan with one bit of it flipped: another plan, or none and an error of ours.

What a policy says is flipped by value, field by field; the rest is bytes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from eth_utils.address import to_checksum_address
from mutations import Place, holder, places
from staged import USDC, Staged

from keeper import engine
from keeper.chain.snapshot import Snapshot
from keeper.config import parse
from keeper.errors import KeeperError
from keeper.planning.evidence import Evidence, EvidenceKind
from keeper.planning.intents import Intents, Move
from keeper.planning.plan import CodeStamp, Kind, Plan
from keeper.planning.policy import Policy

Case = tuple[str, Callable[[], Plan]]
"""Which bit, and how the plan follows with it flipped."""
ADDRESS_DIGITS = 40
SMALL = 8
"""Bits of a number that are flipped at the least."""


def flipped(data: bytes, bit: int) -> bytes:
    raw = bytearray(data)
    raw[bit // 8] ^= 1 << bit % 8
    return bytes(raw)


@dataclass(frozen=True)
class Inputs:
    """A snapshot, a policy that lets people decide, and what one of them wants."""

    snapshot: bytes
    policy: Policy
    evidence: tuple[Evidence, ...]

    def plan(self) -> Plan:
        """What the strategy wants."""
        return engine.derive(Snapshot.from_bytes(self.snapshot), self.policy, Kind.BATCH)

    def asked(self) -> Plan:
        """What people want, as a leg of another plan."""
        taken = Snapshot.from_bytes(self.snapshot)
        return engine.derive(taken, self.policy, Kind.BATCH, self.evidence, b"\x01" * 32)

    def groups(self) -> dict[str, Sequence[Case]]:
        """Every flip, by input."""
        return {
            "snapshot": list(self._snapshots()),
            "policy": list(self._policies()),
            "evidence": list(self._evidence()),
            "code": list(self._code()),
        }

    def _snapshots(self) -> Iterator[Case]:
        for bit in range(8 * len(self.snapshot)):
            yield f"bit {bit}", replace(self, snapshot=flipped(self.snapshot, bit)).plan

    def _policies(self) -> Iterator[Case]:
        body = said(self.policy)
        assert parse(body, Policy).hash == self.policy.hash
        for place in places(body):
            value = holder(body, place)[place[-1]]
            for number, other in enumerate(neighbours(value)):
                yield f"{'.'.join(map(str, place))}, {number}", lambda at=place, to=other: self._ruled(at, to)

    def _ruled(self, place: Place, value: Any) -> Plan:
        body = said(self.policy)
        holder(body, place)[place[-1]] = value
        return replace(self, policy=parse(body, Policy)).plan()

    def _evidence(self) -> Iterator[Case]:
        (given,) = self.evidence
        for bit in range(8 * len(given.data)):
            other = replace(given, data=flipped(given.data, bit))
            yield f"data, {bit}", replace(self, evidence=(other,)).asked
        for bit in range(given.observed_at.bit_length()):
            other = replace(given, observed_at=given.observed_at ^ 1 << bit)
            yield f"observed_at, {bit}", replace(self, evidence=(other,)).asked
        for number, source in enumerate(neighbours(given.source)):
            yield f"source, {number}", lambda to=source: self._from(to)

    def _from(self, source: str) -> Plan:
        return replace(self, evidence=(replace(self.evidence[0], source=source),)).asked()

    def _code(self) -> Iterator[Case]:
        """What code a machine has it cannot choose, so its stamp is changed in the plan."""
        plan = self.asked()
        code, strategy = plan.code, plan.code.strategy
        stamps: list[tuple[str, CodeStamp]] = [
            *(("lens", replace(code, lens_code_hash=each)) for each in neighbours(code.lens_code_hash)),
            *(("engine", replace(code, engine_version=each)) for each in neighbours(code.engine_version)),
            *(
                ("source", replace(code, strategy=replace(strategy, source_digest=each)))
                for each in neighbours(strategy.source_digest)
            ),
            *(
                ("version", replace(code, strategy=replace(strategy, version=each)))
                for each in neighbours(strategy.version)
            ),
            *(
                ("params", replace(code, strategy=replace(strategy, params=strategy.params | {name: each})))
                for name, value in strategy.params.items()
                for each in neighbours(value)
            ),
        ]
        for number, (name, stamp) in enumerate(stamps):
            yield f"{name}, {number}", lambda to=stamp: replace(plan, code=to)
        for bit, parent in enumerate(neighbours(plan.parent)):
            yield f"parent, {bit}", lambda to=parent: replace(plan, parent=to)


def said(policy: Policy) -> Any:
    """All that a policy says, defaults included."""
    return _listed(policy.model_dump())


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _listed(each) for name, each in value.items()}
    return [_listed(each) for each in value] if isinstance(value, tuple) else value


def neighbours(value: Any) -> Iterator[Any]:
    """Every value that differs from this one in a bit; of containers none, their members have their own."""
    match value:
        case bool():
            yield not value
        case int():
            yield from (value ^ 1 << bit for bit in range(max(SMALL, value.bit_length() + 1)))
        case bytes():
            yield from (flipped(value, bit) for bit in range(8 * len(value)))
        case str() if value.startswith("0x"):
            # By what the digits mean: their case is no more than spelling.
            digits = len(value) - 2
            for bit in range(4 * digits):
                text = f"0x{int(value, 16) ^ 1 << bit:0{digits}x}"
                yield to_checksum_address(text) if digits == ADDRESS_DIGITS else text
        case str():
            for place, character in enumerate(value):
                for bit in range(7):
                    yield value[:place] + chr(ord(character) ^ 1 << bit) + value[place + 1 :]


async def inputs(stage: Staged) -> Inputs:
    """Of the vault as it stands, with some of its assets idle."""
    stage.request_deposit("user2", 300_000 * USDC)
    await stage.settle()
    stage.devnet.rpc("evm_mine")
    body = said(stage.policy)
    policy = parse(body | {"strategy": {**body["strategy"], "intents": True}}, Policy)
    taken = await stage.snapshot(policy=policy)
    wanted = Move(source="idle", destination=policy.refs()[0].venue, assets=1_000 * USDC)
    asked = Intents(intents=(wanted,), reason="why", author="desk", issued_at=taken.reference_time)
    evidence = Evidence(EvidenceKind.INTENT, "desk", taken.reference_time, asked.to_bytes())
    return Inputs(taken.to_bytes(), policy, (evidence,))


def differ(given: Inputs, cases: Sequence[Case]) -> tuple[int, int]:
    """How many flips gave another plan, and how many none. Raises AssertionError where one gave the same."""
    same = {given.plan().plan_hash, given.asked().plan_hash}
    assert len(same) == 2
    others, refused = set(), 0
    for name, derive in cases:
        try:
            plan = derive()
        except KeeperError:
            refused += 1
            continue
        except BaseException as error:
            error.add_note(f"with {name} flipped")
            raise
        assert plan.plan_hash not in same, name
        others.add(plan.plan_hash)
    assert len(others) + refused == len(cases), "two flips gave one plan"
    return len(others), refused


def sample(cases: Sequence[Case], count: int, seed: str) -> Sequence[Case]:
    return Random(seed).sample(cases, min(count, len(cases)))
