"""Our Uniswap v3 connector on the local chain's pools, and any state of both by override of their storage.

Slots are those of the published contracts' layouts; a test compares what is written with what they answer.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from eth_hash.auto import keccak

from keeper.chain.call import Call, CallFailure
from keeper.connectors.base import PositionRef, key_of, load
from keeper.connectors.uniswap_v3 import PRICED, UniswapV3Position
from keeper.contracts import Function, artifact, encode_call
from keeper.oracle.quote import Prices, Quote, Status
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import Core, deploy_core, deploy_oracle, govern
from keeper.units import MAX_UINT256, Address

ALL: Final = 2**128 - 1
CALLER: Final = Address("0x000000000000000000000000000000000000bEEF")
"""Where the code is put that makes many calls in one."""
BATCH: Final = Function("tryAggregate(bool,(address,bytes)[])", "((bool,bytes)[])")
REPORT: Final = Function("report(bytes32)", "(uint256,uint256,uint256)")
_GAS: Final = 30_000_000
_HOLDINGS, _POSITIONS_OF_MANAGER, _TICKS, _POSITIONS_OF_POOL = 1, 12, 5, 7
"""Slots of mappings."""

Words = dict[int, int]
Overrides = dict[str, dict[str, Any]]


class Draws:
    """Random numbers, the same in every run: from a hash of the seed and a counter."""

    def __init__(self, seed: str) -> None:
        self._seed, self._count = seed, 0

    def below(self, bound: int) -> int:
        """A number from 0 to `bound` - 1."""
        self._count += 1
        digest = hashlib.sha512(f"{self._seed}/{self._count}".encode()).digest()
        return int.from_bytes(digest) % bound

    def bits(self, most: int) -> int:
        """A number of up to `most` bits: often 0, 1 or all ones, else each length as likely as the next."""
        kind = self.below(8)
        if kind < 3:
            return (0, 1, (1 << most) - 1)[kind]
        return self.below(1 << 1 + self.below(most))

    def one(self, choices: Sequence[int]) -> int:
        return choices[self.below(len(choices))]


@dataclass(frozen=True)
class FixedRate:
    """An oracle's answer for the amount that the connector asks about, and for no other."""

    quote: Quote

    def worth(self, amount: int) -> Quote:
        assert amount == PRICED
        return self.quote


@dataclass(frozen=True)
class Stage:
    """A vault's core, whose portfolio a test speaks for, and connectors by the name of their pool."""

    devnet: Devnet
    core: Core
    oracle: Address
    connectors: Mapping[str, Address]

    def ref(self, name: str) -> PositionRef:
        pool = self.devnet.manifest["uniswap"]["pools"][name]
        params = {each: pool[each] for each in ("token0", "token1")} | {"pool": pool["address"]}
        key = key_of(pool["address"])
        return PositionRef("uniswap_v3", self.connectors[name], key, f"uniswap:{name}", params)

    @property
    def manager(self) -> Address:
        return Address(self.devnet.manifest["uniswap"]["position_manager"])

    def many(self, calls: Sequence[tuple[str, bytes]], overrides: Overrides) -> list[tuple[bool, bytes]]:
        """(success, returned bytes) of calls that are made one after the other, in one, by nobody."""
        code = {CALLER: {"code": artifact("Multicall3").deployed_bytecode}}
        request = {"to": CALLER, "data": "0x" + BATCH.encode(False, calls).hex(), "gas": hex(_GAS)}
        answer = self.devnet.rpc("eth_call", request, "latest", overrides | code)
        return list(BATCH.decode(bytes.fromhex(answer[2:])))

    def look(
        self, ref: PositionRef, prices: Prices, overrides: Overrides
    ) -> tuple[UniswapV3Position, tuple[int, int, int]]:
        """The mirror of a state, and what the connector reports of it, from one call."""
        mirror = load("uniswap_v3")
        calls = mirror.calls(ref)
        wanted = [(call.target, call.data) for call in calls]
        answers = self.many([*wanted, (ref.address, REPORT.encode(ref.key))], overrides)
        *reads, (success, reported) = answers
        assert success, f"report reverts with 0x{reported.hex()}"
        results = dict(zip(calls, reads, strict=True))

        def read(call: Call[Any]) -> Any:
            success, data = results[call]
            return call.decode(data) if success else CallFailure(data, call.label)

        position = mirror.position(ref, read, prices, 0)
        assert isinstance(position, UniswapV3Position)
        return position, REPORT.decode(reported)

    def act(self, connector: Address, signature: str, *args: Any) -> bool:
        """A call of the portfolio to a connector of its own; false when it reverts."""
        data = "0x" + encode_call(signature, *args).hex()
        request = {"from": self.core.portfolio, "to": connector, "data": data, "gas": hex(5_000_000)}
        return bool(self.devnet.rpc("eth_sendTransactionSync", request)["status"] == "0x1")

    def push(self, connector: Address, symbol: str, amount: int) -> None:
        """Tokens at a connector."""
        token = self.devnet.manifest["tokens"][symbol]["address"]
        data = encode_call("transfer(address,uint256)", connector, amount)
        self.devnet.send(self.devnet.key("trader"), token, data)


def build(devnet: Devnet) -> Stage:
    """Deploys them. Prices come through dollar feeds behind a sequencer's."""
    core = deploy_core(devnet)
    oracle = deploy_oracle(devnet, {"WETH": "ETH/USD", "WBTC": "BTC/USD"}).router
    govern(devnet, core, "setOracle", core.vault, oracle)
    pools = devnet.manifest["uniswap"]["pools"]
    manager = devnet.manifest["uniswap"]["position_manager"]
    connectors = {}
    # A pool without the asset takes two prices, which leave gas for fewer NFTs.
    for name, most in (("USDC/WETH", 2), ("WBTC/WETH", 1)):
        terms = [core.portfolio, manager, [key_of(pools[name]["address"])], [500], 100, most]
        connectors[name] = devnet.deploy(devnet.key("deployer"), "UniswapV3Connector", terms)
    devnet.rpc("anvil_impersonateAccount", core.portfolio)
    devnet.rpc("anvil_setBalance", core.portfolio, hex(10**20))
    return Stage(devnet, core, oracle, connectors)


# STORAGE


def word(value: int) -> bytes:
    return (value & MAX_UINT256).to_bytes(32)


def slot(key: int | bytes, mapping: int) -> int:
    """Where a mapping keeps the value of a key."""
    return int.from_bytes(keccak((key if isinstance(key, bytes) else word(key)) + word(mapping)))


def diff(words: Words) -> dict[str, dict[str, str]]:
    return {"stateDiff": {"0x" + word(at).hex(): "0x" + word(value).hex() for at, value in words.items()}}


def unsigned(tick: int) -> int:
    return tick & 0xFFFFFF


def slot0(root: int, tick: int) -> int:
    """A pool that is not locked and keeps one observation."""
    return root | unsigned(tick) << 160 | 1 << 200 | 1 << 216 | 1 << 240


def pool_words(root: int, tick: int, growth: Sequence[int]) -> Words:
    return {0: slot0(root, tick), 1: growth[0], 2: growth[1]}


def tick_words(tick: int, outside: Sequence[int]) -> Words:
    base = slot(tick, _TICKS)
    return {base + 1: outside[0], base + 2: outside[1]}


def range_words(
    manager: Address, ticks: Sequence[int], liquidity: int, last: Sequence[int], owed: Sequence[int]
) -> Words:
    packed = bytes.fromhex(manager[2:]) + b"".join(unsigned(tick).to_bytes(3) for tick in ticks)
    base = slot(keccak(packed), _POSITIONS_OF_POOL)
    return {base: liquidity, base + 1: last[0], base + 2: last[1], base + 3: owed[0] | owed[1] << 128}


def nft_words(
    token_id: int,
    pool_id: int,
    ticks: Sequence[int],
    liquidity: int,
    last: Sequence[int],
    owed: Sequence[int],
) -> Words:
    base = slot(token_id, _POSITIONS_OF_MANAGER)
    lower, upper = (unsigned(tick) for tick in ticks)
    packed = pool_id | lower << 80 | upper << 104 | liquidity << 128
    return {base + 1: packed, base + 2: last[0], base + 3: last[1], base + 4: owed[0] | owed[1] << 128}


def holding_words(key: bytes, held: Sequence[int], token_ids: Sequence[int]) -> Words:
    base = slot(key, _HOLDINGS)
    first = int.from_bytes(keccak(word(base + 3)))
    ids = sum(token_id << 64 * i for i, token_id in enumerate(token_ids))
    return {base + 2: held[0] | held[1] << 128, base + 3: len(token_ids), first: ids}


def answering(quotes: Mapping[Address, Quote]) -> str:
    """Code of an oracle of two tokens that answers `value` with these quotes, whatever the amount."""
    (token, one), (_, other) = quotes.items()
    # PUSH20 token, PUSH1 4, CALLDATALOAD, EQ, PUSH2 destination, JUMPI
    head = b"\x73" + bytes.fromhex(token[2:]) + bytes.fromhex("60043514") + b"\x61"
    second = _returning(other)
    destination = len(head) + 3 + len(second)
    return "0x" + (head + destination.to_bytes(2) + b"\x57" + second + b"\x5b" + _returning(one)).hex()


def _returning(quote: Quote) -> bytes:
    # PUSH32 value, PUSH1 offset, MSTORE for each of three words, then PUSH1 96, PUSH0, RETURN
    words = (quote.low, quote.high, int(quote.status))
    stores = (b"\x7f" + word(each) + b"\x60" + bytes([32 * i]) + b"\x52" for i, each in enumerate(words))
    return b"".join(stores) + bytes.fromhex("60605ff3")


def drawn_quote(draws: Draws) -> Quote:
    """Any range under any status; without a price there is no range."""
    status = Status(draws.one([0, 0, 0, 1, 2, 3, 4, 5, 6]))
    if status is Status.UNAVAILABLE:
        return Quote(0, MAX_UINT256, status)
    low = draws.bits(255)
    return Quote(low, low + draws.one([0, 1, low // 100, draws.bits(254)]), status)
