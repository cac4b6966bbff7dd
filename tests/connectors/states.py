"""A chain in states that no walk reaches: storage of the real contracts is overridden for one simulation.

Every state is drawn, written over the deployed contracts' slots, and read by one `eth_simulateV1`: the
protocol's answers, our connector's report and the raw words the mirror starts from, all of the same state.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from conftest import Walk
from eth_hash.auto import keccak

from keeper.chain.call import Call, CallFailure
from keeper.chain.lens import Result, decoded
from keeper.chain.packing import unpack
from keeper.chain.ways import lens_override, lens_request
from keeper.connectors.base import Read, Report
from keeper.contracts import Function
from keeper.oracle.quote import ROUTE_SCALE, Prices, RouteRate, Status
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import Core, deploy_core, deploy_oracle, govern
from keeper.units import Address

FEEDS = {"WETH": "ETH/USD", "WBTC": "BTC/USD", "wstETH": "wstETH/USD"}
REPORT = Function("report(bytes32)", "(uint256,uint256,uint256)")
VALUE = Function("value(address,address,uint256)", "(uint256,uint256,uint8)")
GAS = 30_000_000
BALANCES = {"WETH": 3}
"""Slot of the balances where it is not the first."""
FIRST_WORD = "0x5f545f5260205ff3"
"""Code that answers every call with the word in its first slot."""
FAILURE = "0x5f5ffd"
NOTHING = "0x00"
ONE_BYTE = "0x60016000f3"
"""Code that fails at every call."""


def slot(base: int, *keys: bytes | str | int) -> int:
    """Slot of a value in (nested) mappings that begin at slot `base`."""
    at = base.to_bytes(32, "big")
    for key in keys:
        at = keccak(word(key) + at)
    return int.from_bytes(at, "big")


def word(value: bytes | str | int) -> bytes:
    """One word: a hash, an address, or a number."""
    if isinstance(value, str):
        value = int(value, 16)
    return value.to_bytes(32, "big") if isinstance(value, int) else value


@dataclass
class State:
    """Slots and code to be laid over the chain, and the time of the block it is all seen in."""

    at: int
    slots: dict[str, dict[int, int]] = field(default_factory=dict)
    code: dict[str, str] = field(default_factory=dict)

    def put(self, contract: str, place: int, value: int) -> None:
        self.slots.setdefault(contract, {})[place] = value

    def overrides(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {
            contract: {"stateDiff": {"0x" + word(at).hex(): "0x" + word(n).hex() for at, n in words.items()}}
            for contract, words in self.slots.items()
        }
        for contract, code in self.code.items():
            found.setdefault(contract, {})["code"] = code
        return found


@dataclass(frozen=True)
class Stage:
    """A vault whose portfolio the tests speak for, with routes for the tokens of FEEDS."""

    devnet: Devnet
    core: Core
    router: Address

    @classmethod
    def open(cls, walk: Walk) -> "Stage":
        core = deploy_core(walk.devnet)
        stage = cls(walk.devnet, core, deploy_oracle(walk.devnet, FEEDS).router)
        stage.use(stage.router)
        return stage

    @property
    def portfolio(self) -> Address:
        return self.core.portfolio

    @property
    def asset(self) -> Address:
        return self.core.asset

    def use(self, router: Address) -> None:
        govern(self.devnet, self.core, "setOracle", self.core.vault, router)

    def deploy(self, name: str, *args: Any) -> Address:
        return self.devnet.deploy(self.devnet.key("deployer"), name, [self.portfolio, *args])

    def token(self, symbol: str) -> Address:
        return Address(self.devnet.manifest["tokens"][symbol]["address"])

    def fund(self, state: State, symbol: str, holder: str, amount: int) -> None:
        state.put(self.token(symbol), slot(BALANCES.get(symbol, 0), holder), amount)

    def feed(self, state: State, pair: str, answer: int, age: int) -> None:
        """The last round of a dollar feed; a negative answer as the chain writes it."""
        aggregator = self.devnet.manifest["feeds"][pair]["aggregator"]
        place = slot(2, 1)
        state.put(aggregator, 1, 1)
        state.put(aggregator, place, answer % 2**256)
        state.put(aggregator, place + 1, (state.at - age) << 64 | state.at - age)

    def read(self, state: State, calls: Sequence[Call[Any]]) -> Read:
        """Results of these calls in that state."""
        return self.run(state, (), calls)[1]

    def act(
        self, state: State, to: str, data: bytes, calls: Sequence[Call[Any]]
    ) -> tuple[bytes | None, Read]:
        """What a transaction of the portfolio returns, None when it fails, and the reads after it."""
        request = {"from": self.portfolio, "to": to, "data": "0x" + data.hex(), "gas": hex(GAS)}
        answers, read = self.run(state, [request], calls)
        return answers[0], read

    def run(
        self, state: State, requests: Sequence[dict[str, str]], calls: Sequence[Call[Any]]
    ) -> tuple[list[bytes | None], Read]:
        block = {
            "blockOverrides": {"time": hex(state.at)},
            "stateOverrides": state.overrides() | lens_override(),
            "calls": [*requests, lens_request(calls, GAS)],
        }
        order = {"blockStateCalls": [block], "validation": False}
        *answers, lens = self.devnet.rpc("eth_simulateV1", order, "latest")[0]["calls"]
        assert lens["status"] == "0x1", lens
        head, outcomes = unpack(bytes.fromhex(lens["returnData"][2:]), len(calls))
        assert head.timestamp == state.at
        results = {
            (call.target, call.data): Result(call.target, call.data, *outcome)
            for call, outcome in zip(calls, outcomes, strict=True)
        }

        def read(call: Call[Any]) -> Any:
            return decoded(call, results[call.target, call.data])

        returned = [
            bytes.fromhex(answer["returnData"][2:]) if answer["status"] == "0x1" else None
            for answer in answers
        ]
        return returned, read

    def value_calls(self, tokens: Sequence[Address]) -> list[Call[Any]]:
        """What the router says of one unit of each token, times 1e40: its folded route."""
        return [VALUE.at(self.router, token, self.asset, ROUTE_SCALE) for token in self._foreign(tokens)]

    def prices(self, read: Read, tokens: Sequence[Address]) -> Prices:
        """The router's own routes, folded."""
        rates = {}
        for token, call in zip(self._foreign(tokens), self.value_calls(tokens), strict=True):
            folded = read(call)
            if not isinstance(folded, CallFailure):
                rates[token] = RouteRate(folded[0], folded[1], Status(folded[2]))
        return Prices(self.asset, rates)

    def _foreign(self, tokens: Sequence[Address]) -> list[Address]:
        return [token for token in tokens if token != self.asset]


def reported(words: tuple[int, int, int] | CallFailure) -> Report | None:
    """The report that the three words on chain are; None for a revert."""
    if isinstance(words, CallFailure):
        return None
    low, high, state = words
    return Report(low, high, Status(state & 0xFF), state >> 8 & 2**112 - 1, state >> 120)


def magnitude(walk: Walk, most: int) -> int:
    """From 0 to `most`, each order of magnitude as likely as the next; ends and their neighbours often."""
    corner = walk.draw(12)
    if corner < 4:
        return min(most, (0, 1, most, most - 1 if most else 0)[corner])
    return walk.amount(most) if most else 0
