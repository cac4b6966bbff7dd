"""Random states of everything prices are made of: feeds, sequencers, pools, rates, and what sources keep.

One chain with the real contracts; a state is a set of storage slots, some code and a block time that only
one `eth_call` sees. Draws come from a hash of the seed and a counter.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from eth_hash.auto import keccak

from keeper.chain import ways
from keeper.chain.call import Call, CallFailure
from keeper.chain.packing import Outcome, unpack
from keeper.oracle.routes import OraclePolicy
from keeper.simulation.devnet import Devnet
from keeper.units import MAX_UINT256, WAD

HOUR = 3_600
DAY = 86_400
HEARTBEAT = HOUR
CONSTANT_AFTER = 3 * HOUR
WINDOW = 1_800
LOWEST, HIGHEST = WAD // 100, 1_000_000 * WAD
UINT64 = 2**64 - 1
INT56 = 2**56
_DECIMALS = bytes.fromhex("313ce567")
_LONGEST_FACT = 32
_ANSWERS_TOP = bytes.fromhex("5f5260205ff3")


@dataclass
class Draw:
    """The same numbers in every run of a seed."""

    seed: str
    count: int = 0

    def below(self, bound: int) -> int:
        self.count += 1
        digest = hashlib.sha256(f"{self.seed}/{self.count}".encode()).digest()
        return int.from_bytes(digest) % bound

    def pick(self, choices: Sequence[Any]) -> Any:
        return choices[self.below(len(choices))]

    def chance(self, one_in: int) -> bool:
        return self.below(one_in) == 0

    def magnitude(self, bits: int) -> int:
        """Each length up to `bits` as likely as the next."""
        return self.below(1 << (1 + self.below(bits)))


@dataclass
class State:
    """What one call is made in; `feeds` etc. are for people when a difference is found."""

    at: int
    slots: dict[str, dict[str, str]] = field(default_factory=dict)
    code: dict[str, bytes] = field(default_factory=dict)

    def put(self, account: str, slot: int, word: int) -> None:
        shown = f"0x{slot:064x}", f"0x{word % 2**256:064x}"
        self.slots.setdefault(account, {})[shown[0]] = shown[1]

    @property
    def overrides(self) -> dict[str, dict[str, Any]]:
        """As `eth_call` takes them."""
        found: dict[str, dict[str, Any]] = {who: {"stateDiff": slots} for who, slots in self.slots.items()}
        for who, code in self.code.items():
            found.setdefault(who, {})["code"] = "0x" + code.hex()
        return found


class Answers:
    """What the chain says in a state; decoded when it is asked for, as of a snapshot."""

    _facts: ClassVar[dict[tuple[Call[Any], bytes], Any]] = {}
    """Most of what is read is the same in every state."""

    def __init__(self, outcomes: Mapping[Call[Any], Outcome]) -> None:
        self._outcomes = outcomes

    def __call__(self, call: Call[Any]) -> Any:
        success, data = self._outcomes[call]
        if not success:
            return CallFailure(data, call.label)
        if (call, data) not in self._facts:
            if len(data) > _LONGEST_FACT:
                return call.decode(data)
            self._facts[call, data] = call.decode(data)
        return self._facts[call, data]


def ask(devnet: Devnet, state: State, calls: Iterable[Call[Any]]) -> Answers:
    """All answers in that state, in one pass of the lens."""
    listed = tuple(set(calls))
    answer = devnet.rpc(
        "eth_call",
        ways.lens_request(listed, 1 << 32),
        "latest",
        {**state.overrides, **ways.lens_override()},
        {"time": hex(state.at)},
    )
    head, outcomes = unpack(bytes.fromhex(answer[2:]), len(listed))
    assert head.timestamp == state.at
    return Answers(dict(zip(listed, outcomes, strict=True)))


def mapping_slot(key: int, slot: int) -> int:
    """Where Solidity keeps `mapping(uint => …)` at `slot`."""
    return int.from_bytes(keccak(key.to_bytes(32) + slot.to_bytes(32)))


def code_of(body: bytes, decimals: int) -> bytes:
    """Runs `body` for any call but `decimals()`."""
    head = bytes.fromhex("5f3560e01c63") + _DECIMALS + bytes.fromhex("1460")
    destination = len(head) + 2 + len(body)
    return head + bytes([destination, 0x57]) + body + b"\x5b\x60" + bytes([decimals]) + _ANSWERS_TOP


BURNS = bytes.fromhex("fe")
REVERTS = bytes.fromhex("5f5ffd")
FAILS = (BURNS, REVERTS)
ANSWERS_SHORT = bytes.fromhex("60405ff3")
"""64 bytes of zeros."""
ANSWERS_ZEROS = bytes.fromhex("6101405ff3")


@dataclass(frozen=True)
class Feed:
    """A `PriceAggregator`, and where its answers lie when all is well."""

    address: str
    decimals: int
    usual: int
    constant_after: int = 0


def draw_feed(draw: Draw, state: State, feed: Feed, price: int) -> None:
    """The rounds of a feed; `price` is what it says in a quiet market."""
    if draw.chance(60):
        body = draw.pick((BURNS, REVERTS, ANSWERS_SHORT, ANSWERS_ZEROS))
        state.code[feed.address] = draw.pick((code_of(body, feed.decimals), body if body in FAILS else b""))
        return
    number = draw.pick((0, 1, 2, 3, 17, 512, 513, 700, UINT64)) if draw.chance(6) else 700
    state.put(feed.address, 1, number)
    answer = _answer(draw, feed, price) if draw.chance(8) else price
    updated = _updated(draw, state.at) if draw.chance(6) else state.at - draw.below(HEARTBEAT)
    _put_round(state, feed, number, answer, updated, updated)
    frozen = draw.chance(4)
    for step in range(10):
        earlier = number - (1 << step)
        if earlier <= 0:
            break
        if draw.chance(30):
            _put_round(state, feed, earlier, 0, 0, 0)
            continue
        same = frozen or draw.chance(5)
        age = draw.pick((CONSTANT_AFTER, CONSTANT_AFTER + 1, draw.below(8 * HOUR), -5))
        when = max(0, state.at - (age if draw.chance(2) else (1 << step) * draw.below(HEARTBEAT)))
        _put_round(state, feed, earlier, answer if same else answer + 1 + draw.below(9), when, when)


def steady_feed(state: State, feed: Feed, answer: int, age: int = 0, *, frozen: int = 0) -> None:
    """Rounds of a sound feed, the latest `age` old, or of one that gave one answer for `frozen` s."""
    put_round(state, feed, 700, answer, state.at - age)
    for step in range(10):
        before = age + (1 << step) * HOUR // 2
        same = before <= frozen
        put_round(state, feed, 700 - (1 << step), answer if same else answer + 1, state.at - before)
    state.put(feed.address, 1, 700)


def put_round(state: State, feed: Feed, number: int, answer: int, updated: int) -> None:
    """One round, by its number in the phase."""
    _put_round(state, feed, number, answer, updated, updated)


def steady_sequencer(state: State, address: str, since: int, *, down: bool = False) -> None:
    """A sequencer that is up or down since then."""
    slot = mapping_slot(7, 1)
    state.put(address, 0, 7)
    state.put(address, slot, int(down))
    state.put(address, slot + 1, since | since << 64)


def steady_pool(
    state: State, pool: str, tick: int, liquidity: int = 10**17, *, spot: int | None = None, age: int = 60
) -> None:
    """A pool at one tick for hours, the last observation `age` old; `spot` is where this block moved it."""
    now = tick if spot is None else spot
    state.put(pool, 0, 1 << 96 | (now % 2**24) << 160 | 3 << 184 | 4 << 200 | 4 << 216 | 1 << 240)
    state.put(pool, 4, liquidity)
    for place in range(4):
        elapsed = place * HOUR
        ticks, per_liquidity = tick * elapsed % INT56, (elapsed << 128) // liquidity % 2**160
        seen = state.at - age - (3 - place) * HOUR
        state.put(pool, 8 + place, seen | ticks << 32 | per_liquidity << 88 | 1 << 248)


def _put_round(state: State, feed: Feed, number: int, answer: int, started: int, updated: int) -> None:
    slot = mapping_slot(number, 2)
    state.put(feed.address, slot, answer)
    state.put(feed.address, slot + 1, started | updated << 64)


def _answer(draw: Draw, feed: Feed, price: int) -> int:
    unit = 10**feed.decimals
    edges = [bound * unit // WAD + step for bound in (LOWEST, HIGHEST) for step in (-1, 0, 1)]
    near = price * (900 + draw.below(200)) // 1000
    return int(draw.pick((*edges, 0, 1, -1, -price, 2**255 - 1, -(2**255), draw.magnitude(120), near)))


def _updated(draw: Draw, at: int) -> int:
    choices = (0, at + 1, at, at - HEARTBEAT, at - HEARTBEAT - 1, UINT64, at - draw.below(30 * DAY), at + DAY)
    return int(draw.pick(choices))


def draw_sequencer(draw: Draw, state: State, address: str, grace: int) -> None:
    """Up for long, or anything else."""
    if draw.chance(60):
        state.code[address] = draw.pick((BURNS, REVERTS, ANSWERS_SHORT, ANSWERS_ZEROS, b""))
        return
    since = draw.pick((0, state.at - grace, state.at - grace - 1, state.at + 1, state.at, UINT64))
    if not draw.chance(10):
        since = state.at - grace - 1 - draw.below(30 * DAY)
    down = draw.pick((1, 2, -1, 2**200)) if draw.chance(20) else 0
    state.put(address, 0, 7)
    slot = mapping_slot(7, 1)
    state.put(address, slot, down)
    state.put(address, slot + 1, since | since << 64)


def draw_pool(draw: Draw, state: State, pool: str, usual: int) -> None:
    """A pool's tick, liquidity and observations; `usual` is its tick in a quiet market."""
    if draw.chance(60):
        state.code[pool] = draw.pick((BURNS, REVERTS, ANSWERS_SHORT, b""))
        return
    wild = draw.chance(5)
    cardinality = draw.pick((1, 2, 3, 5)) if wild else 4
    index = draw.below(cardinality)
    tick = _tick(draw, usual, wild)
    packed = (1 << 96) | (tick % 2**24) << 160 | index << 184 | cardinality << 200 | cardinality << 216
    state.put(pool, 0, packed | 1 << 240)
    state.put(pool, 4, draw.magnitude(128) if wild else 10**16 + draw.below(10**18))
    ticks, per_liquidity = draw.below(INT56), draw.below(2**160)
    now = state.at - (draw.pick((0, 0, 12, WINDOW, WINDOW + 1, 10 * DAY)) if draw.chance(2) else 0)
    longer = (1, 12, 600, WINDOW, 5 * DAY)
    gaps = [draw.pick(longer) if wild else 600 + draw.below(900) for _ in range(cardinality)]
    seen = now - sum(gaps)
    for place in range(1, cardinality + 1):
        gap = gaps[place - 1]
        seen += gap
        liquidity = max(1, draw.magnitude(128)) if wild else 10**16 + draw.below(10**18)
        ticks = (ticks + _tick(draw, usual, wild) * gap + draw.below(gap)) % INT56
        per_liquidity = (per_liquidity + (gap << 128) // liquidity) % 2**160
        known = 0 if draw.chance(40) else 1
        slot = 8 + (index + place) % cardinality
        state.put(pool, slot, seen % 2**32 | ticks << 32 | per_liquidity << 88 | known << 248)


def _tick(draw: Draw, usual: int, wild: bool) -> int:
    near = usual + draw.below(400) - 200
    return int(draw.pick((near, draw.below(2 * 887_272 + 1) - 887_272, 887_272, -887_272))) if wild else near


def draw_readings(draw: Draw, state: State, source: str, price: int) -> None:
    """What a CheckedSource keeps: the price the pool was left at, twice."""
    ages = (0, 1_799, 1_800, 1_801, 3_600, DAY, DAY + 1, state.at)
    for slot in (0, 1):
        seen = price * (800 + draw.below(400)) // 1000 if draw.chance(2) else draw.magnitude(192)
        state.put(source, slot, seen | (state.at - draw.pick(ages)) << 192)


def draw_rate(draw: Draw, state: State, source: str, target: str, decimals: int, usual: int) -> None:
    """A rate and the anchor it is measured from."""
    high = usual if draw.chance(2) else draw.magnitude(96)
    elapsed = draw.pick((0, 1, DAY - 1, DAY, DAY + 1, draw.below(400 * DAY)))
    state.put(source, 0, high | (high - draw.below(high + 1)) << 96 | (state.at - elapsed) << 192)
    if draw.chance(2):
        near = max(0, high + draw.below(high // 8 + 2) - high // 16)
        rate = draw.pick((near, near, near, 0, 1, 2**96 - 1, 2**96, MAX_UINT256, draw.magnitude(100)))
        state.code[target] = code_of(b"\x7f" + rate.to_bytes(32) + _ANSWERS_TOP, decimals)


def told(answers: Answers, oracle: OraclePolicy) -> str:
    """The raw state as the sources tell it, for people."""
    lines = []
    for name, source in oracle.sources.items():
        lines += [f"{name} {call.label}: {answers(call)}" for call in (*source.state(), source.own_price)]
    return "\n".join(lines)
