"""Random states of the pool, laid over the chain's storage for one call.

A state is a set of words: each reserve's configuration, indexes, rates and age, the account's balances,
bitmaps and mode, its rewards, and the prices of both oracles.
"""

from dataclasses import dataclass, field
from typing import Any

from aave_stage import E_MODES, SYMBOLS, Stage
from eth_abi.abi import encode
from eth_hash.auto import keccak

from keeper.units import RAY, YEAR

RESERVES, USERS, MODES, USER_MODES = 52, 53, 55, 56
ROUND, ROUNDS = 1, 2
"""Slots of the pool and of a price feed, as their sources lay them out. Reads through them are checked."""

TOTAL_AFTER_BALANCES = 2
SCALED_BITS = 120
MOST_INDEX = 10**6 * RAY
MOST_RATE = 10 * RAY
MOST_AGE = 15 * YEAR
"""Of a reserve at the read, and again of the report after it: more, and the pool's own words overflow."""

FEEDS = {"WETH": "ETH/USD", "USDC": "USDC/USD", "USDT": "USDT/USD", "DAI": "DAI/USD", "WBTC": "BTC/USD"}


def slot(base: int, *keys: str | int) -> int:
    """The slot of a value in nested mappings."""
    for key in keys:
        kind = "address" if isinstance(key, str) else "uint256"
        base = int.from_bytes(keccak(encode([kind, "uint256"], [key, base])))
    return base


@dataclass
class Words:
    """Words by contract and slot."""

    words: dict[str, dict[int, int]] = field(default_factory=dict)

    def put(self, address: str, place: int, word: int) -> None:
        self.words.setdefault(address, {})[place] = word

    def overrides(self) -> dict[str, Any]:
        """As `eth_call` takes them."""
        return {
            address: {"stateDiff": {f"0x{place:064x}": f"0x{word:064x}" for place, word in each.items()}}
            for address, each in self.words.items()
        }

    def __str__(self) -> str:
        return "\n".join(
            f"{address} {place:#066x} = {word:#066x}"
            for address, each in self.words.items()
            for place, word in each.items()
        )


class States:
    """Draws states of everything that a report of the stage's connector rests on."""

    def __init__(self, stage: Stage) -> None:
        """Finds the slots that depend on a token's kind, and sees what is known through the others."""
        self.stage = stage
        aave = stage.aave
        usdc = aave["reserves"]["USDC"]
        self.balances = {
            kind: self._balances_of(usdc[kind], stage.walk.devnet.address(role))
            for kind, role in (("a_token", "lender"), ("variable_debt_token", "borrower"))
        }
        word = stage.walk.view(aave["pool"], "getConfiguration(address)", (usdc["asset"],), "(uint256)")
        assert self._load(aave["pool"], slot(RESERVES, usdc["asset"])) == word
        assert self._load(aave["pool"], slot(MODES, 1)) & 0xFFFF_FFFF == 9_000 | 9_300 << 16
        reward = aave["reward"]
        self.rewards = next(
            base
            for base in range(80)
            if self._load(aave["rewards_controller"], slot(base, reward["asset"], reward["token"])) >> 104
            & (1 << 88) - 1
            == reward["emission_per_second"]
        )
        self.feeds = {
            symbol: stage.walk.devnet.manifest["feeds"][name]["aggregator"] for symbol, name in FEEDS.items()
        }
        self.configurations = {
            symbol: self._load(aave["pool"], slot(RESERVES, stage.asset(symbol))) for symbol in SYMBOLS
        }
        self.tails = {
            symbol: self._load(aave["pool"], slot(RESERVES, stage.asset(symbol)) + 3) >> 168
            for symbol in SYMBOLS
        }
        self.answers = {
            symbol: self._load(feed, slot(ROUNDS, self._load(feed, ROUND)))
            for symbol, feed in self.feeds.items()
        }

    def _load(self, address: str, place: int) -> int:
        return int(self.stage.walk.devnet.rpc("eth_getStorageAt", address, hex(place), "latest"), 16)

    def _balances_of(self, token: str, holder: str) -> int:
        held = self.stage.walk.view(token, "scaledBalanceOf(address)", (holder,), "(uint256)")
        mask = (1 << SCALED_BITS) - 1
        assert held
        return next(base for base in range(80) if self._load(token, slot(base, holder)) & mask == held)

    # DRAWS

    def draw(self, at: int) -> Words:
        """A state as of a block of time `at`."""
        words = Words()
        for symbol in SYMBOLS:
            self._reserve(words, symbol, at)
        self._account(words)
        for symbol in FEEDS:
            self._price(words, symbol, at)
        if self.stage.rewards:
            self._rewards(words, at)
        return words

    def one_in(self, times: int) -> bool:
        return self.stage.walk.draw(times) == 0

    def number(self, most: int) -> int:
        """From 0 to `most`: an end of the range now and then, else each order of magnitude alike."""
        if self.one_in(6):
            return (0, 1, most)[self.stage.walk.draw(3)]
        return min(most, self.stage.walk.amount(most))

    def _reserve(self, words: Words, symbol: str, at: int) -> None:
        walk, pool = self.stage.walk, self.stage.aave["pool"]
        place = slot(RESERVES, self.stage.asset(symbol))
        ltv = (0, walk.draw(10_001))[walk.draw(4) > 0]
        configuration = self.configurations[symbol] & ~0xFFFF_FFFF | ltv | walk.draw(10_001) << 16
        for bit, odds in ((56, 20), (57, 6), (58, 6), (60, 6)):
            configuration ^= int(self.one_in(odds)) << bit
        words.put(pool, place, configuration)
        for offset in (1, 2):
            index = walk.draw(10 * RAY) if self.one_in(3) else self.number(MOST_INDEX)
            words.put(pool, place + offset, index | self.number(MOST_RATE) << 128)
        deficit = self.number(1 << 100)
        updated = at - self.number(MOST_AGE)
        words.put(pool, place + 3, deficit | updated << 128 | self.tails[symbol] << 168)
        tokens = self.stage.aave["reserves"][symbol]
        for kind, base in self.balances.items():
            held = 0 if self.one_in(3) else self.number((1 << SCALED_BITS) - 1)
            words.put(tokens[kind], slot(base, self.stage.connector), held)
            others = 0 if self.one_in(8) else self.number(1 << SCALED_BITS)
            words.put(tokens[kind], base + TOTAL_AFTER_BALANCES, held + others)

    def _account(self, words: Words) -> None:
        walk, pool, who = self.stage.walk, self.stage.aave["pool"], self.stage.connector
        bits = walk.draw(1 << 2 * len(SYMBOLS))
        if self.one_in(6) or not self.stage.borrowable:
            bits &= 0xAAA  # collateral only
        words.put(pool, slot(USERS, who), 0 if self.one_in(12) else bits)
        words.put(pool, slot(USER_MODES, who), (0, *E_MODES)[walk.draw(len(E_MODES) + 1)])
        for category in E_MODES:
            bitmap = (walk.draw(64) for _ in range(3))
            terms = walk.draw(10_001) | walk.draw(10_001) << 16 | 10_100 << 32 | next(bitmap) << 48
            words.put(pool, slot(MODES, category), terms)
            words.put(pool, slot(MODES, category) + 2, next(bitmap) | next(bitmap) << 128)

    def _price(self, words: Words, symbol: str, at: int) -> None:
        feed = self.feeds[symbol]
        place = slot(ROUNDS, self._round(feed))
        answer = self.answers[symbol]
        if self.one_in(4):
            answer = self.number(10**15)
        elif self.one_in(12):
            answer = 2**256 - self.stage.walk.amount(10**12)
        words.put(feed, place, answer)
        age = self.number(10**6) if self.one_in(8) else self.stage.walk.draw(3_000)
        words.put(feed, place + 1, (at - age) | (at - age) << 64)

    def _round(self, feed: str) -> int:
        if not hasattr(self, "_rounds"):
            self._rounds: dict[str, int] = {}
        if feed not in self._rounds:
            self._rounds[feed] = self._load(feed, ROUND)
        return self._rounds[feed]

    def _rewards(self, words: Words, at: int) -> None:
        walk, aave = self.stage.walk, self.stage.aave
        controller, who = aave["rewards_controller"], self.stage.connector
        for symbol in SYMBOLS:
            for kind in self.balances:
                for reward in self.stage.rewards:
                    place = slot(self.rewards, aave["reserves"][symbol][kind], reward)
                    index = self.number(10**24)
                    emission = self.number(10**20)
                    updated = at - self.number(MOST_AGE)
                    end = at + walk.draw(MOST_AGE) - MOST_AGE // 3
                    words.put(controller, place, index | emission << 104 | updated << 192 | end << 224)
                    earlier = walk.draw(index + 1)
                    words.put(controller, slot(place + 1, who), earlier | self.number(10**28) << 104)
