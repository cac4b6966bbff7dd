"""What the Uniswap v3 mirror predicts of every move, against what the chain then stores, to the wei."""

from collections.abc import Callable

import pytest
from uniswap_stage import ALL, Draws, FixedRate, Stage, build

from keeper.connectors.base import EVERYTHING, PositionRef, load
from keeper.connectors.uniswap_v3 import PRICED, UniswapV3Position
from keeper.contracts import encode_call
from keeper.errors import PlanError
from keeper.oracle.quote import Prices, Quote, Status
from keeper.simulation.devnet import Devnet
from keeper.simulation.uniswap import SWAP
from keeper.units import Address

NAME = "USDC/WETH"
STEPS = 60
SPACING = 10
MINT = "mint(bytes32,int24,int24,uint256,uint256,uint256,uint256)"
MINT_ELSEWHERE = "mint((address,address,uint24,int24,int24,uint256,uint256,uint256,uint256,address,uint256))"
NEVER = 2**40


@pytest.fixture
def stage(fresh_devnet: Devnet) -> Stage:
    return build(fresh_devnet)


class Life:
    """A connector's life in one pool: our moves, each predicted, among swaps and mints of others."""

    def __init__(self, stage: Stage, seed: str) -> None:
        self.stage, self.draws = stage, Draws(seed)
        self.ref: PositionRef = stage.ref(NAME)
        self.tokens = (Address(self.ref.params["token0"]), Address(self.ref.params["token1"]))
        self.asset_index = self.tokens.index(stage.core.asset)
        self.done: dict[str, int] = {}

    # THE CHAIN

    def position(self) -> UniswapV3Position:
        """The mirror of the head, after its report was compared with the connector's."""
        quotes = {token: FixedRate(self.quote(token)) for token in self.tokens}
        position, reported = self.stage.look(self.ref, Prices(self.stage.core.asset, quotes), {})
        report = position.report(0)
        assert (report.low, report.high, report.status) == reported
        return position

    def quote(self, token: Address) -> Quote:
        asset = self.stage.core.asset
        if token == asset:
            return Quote(PRICED, PRICED, Status.OK)
        low, high, status = self.stage.devnet.call(
            self.stage.oracle,
            "value(address,address,uint256)",
            (token, asset, PRICED),
            "(uint256,uint256,uint8)",
        )
        return Quote(low, high, Status(status))

    def balance(self, token: Address, holder: Address) -> int:
        return int(self.stage.devnet.call(token, "balanceOf(address)", (holder,), "(uint256)"))

    def amount(self, most: int) -> int:
        """From 1 to `most`, each order of magnitude as likely as the next."""
        return 1 + self.draws.below(min(most, 1 << self.draws.below(most.bit_length() + 1)))

    # OTHERS

    def swap(self) -> None:
        """Up to some thousand dollars, either way."""
        source = self.draws.below(2)
        most = 50_000 * 10**6 if source == self.asset_index else 15 * 10**18
        trader = self.stage.devnet.address("trader")
        order = (
            self.tokens[source],
            self.tokens[1 - source],
            500,
            trader,
            NEVER,
            most // 2 + self.draws.below(most // 2),
            0,
            0,
        )
        router = self.stage.devnet.manifest["uniswap"]["swap_router"]
        self.stage.devnet.send(self.stage.devnet.key("trader"), router, encode_call(SWAP, order))

    def mint_elsewhere(self, lower: int, upper: int) -> None:
        """Liquidity of a stranger in the same range: the pool keeps one entry for both."""
        trader = self.stage.devnet.address("trader")
        params = (*self.tokens, 500, lower, upper, 10**10, 10**18, 0, 0, trader, NEVER)
        if self.asset_index == 1:
            params = (*self.tokens, 500, lower, upper, 10**18, 10**10, 0, 0, trader, NEVER)
        self.stage.devnet.send(
            self.stage.devnet.key("trader"), self.stage.manager, encode_call(MINT_ELSEWHERE, params)
        )

    # OURS

    def fund(self) -> None:
        """Holds some of both tokens."""
        for symbol, amount in (("USDC", 30_000 * 10**6), ("WETH", 10 * 10**18)):
            self.stage.push(self.ref.address, symbol, amount)
            token = self.stage.devnet.manifest["tokens"][symbol]["address"]
            assert self.stage.act(
                self.ref.address, "hold(bytes32,address,uint256)", self.ref.key, token, amount
            )

    def mint(self, before: UniswapV3Position) -> None:
        middle = before.pool.tick // SPACING * SPACING
        width = SPACING * (1 + self.draws.below(300))
        ticks = (middle - width, middle + width)
        held = before.held
        args = (self.ref.key, *ticks, held[0] // 2, held[1] // 2, 1, 1)
        if self.stage.act(self.ref.address, MINT, *args):
            self.count("mint")
            if self.draws.below(2):
                self.mint_elsewhere(*ticks)

    def move(self, name: str, predicted: UniswapV3Position, signature: str, *args: object) -> None:
        """A move that must do what was predicted."""
        assert self.stage.act(self.ref.address, signature, *args), name
        after = self.position()
        assert (after.held, after.nfts) == (predicted.held, predicted.nfts), name
        assert (after.pool, after.ranges) == (predicted.pool, predicted.ranges), name
        self.count(name)

    def supply(self, before: UniswapV3Position) -> None:
        amount = self.amount(10_000 * 10**6)
        self.stage.push(self.ref.address, "USDC", amount)
        self.move("supply", before.after_supply(amount, 0), "supply(bytes32,uint256)", self.ref.key, amount)

    def withdraw(self, before: UniswapV3Position) -> None:
        """A part, or all there is of the asset by the amount."""
        most = before.max_withdraw(0)
        amount = most if self.draws.below(4) == 0 else self.amount(most)
        predicted, received = before.after_withdraw(amount, 0)
        self.pay("withdraw part", predicted, amount, received)

    def leave(self, before: UniswapV3Position) -> None:
        predicted, received = before.after_withdraw(EVERYTHING, 0)
        assert received == before.max_withdraw(0)
        assert not predicted.nfts
        self.pay("withdraw all", predicted, EVERYTHING, received)

    def pay(self, name: str, predicted: UniswapV3Position, amount: int, received: int) -> None:
        asset, portfolio = self.stage.core.asset, self.stage.core.portfolio
        had = self.balance(asset, portfolio)
        self.move(name, predicted, "withdraw(bytes32,uint256)", self.ref.key, amount)
        assert self.balance(asset, portfolio) - had == received

    def decrease(self, before: UniswapV3Position) -> None:
        nft = before.nfts[self.draws.below(len(before.nfts))]
        if not nft.liquidity:
            return
        liquidity = nft.liquidity if self.draws.below(3) == 0 else self.amount(nft.liquidity)
        least = [min(1, each) for each in nft.amounts(before.pool.root, liquidity)]
        predicted = before.after_decrease(nft.token_id, liquidity)
        signature = "decrease(uint256,uint128,uint256,uint256)"
        self.move("decrease", predicted, signature, nft.token_id, liquidity, *least)

    def collect(self, before: UniswapV3Position) -> None:
        nft = before.nfts[self.draws.below(len(before.nfts))]
        if nft.liquidity or any(nft.owed):
            predicted = before.after_collect(nft.token_id)
            self.move("collect", predicted, "collectFees(uint256)", nft.token_id)

    def burn(self, before: UniswapV3Position) -> None:
        for nft in before.nfts:
            if not nft.liquidity and not any(nft.owed):
                predicted = before.after_burn(nft.token_id)
                self.move("burn", predicted, "burn(uint256)", nft.token_id)
                return

    def count(self, name: str) -> None:
        self.done[name] = self.done.get(name, 0) + 1

    def step(self) -> None:
        """Swaps of others, then a move of ours."""
        for _ in range(self.draws.below(3)):
            self.swap()
        before = self.position()
        if len(before.nfts) < 2 and self.draws.below(3):
            return self.mint(before)
        moves: list[Callable[[UniswapV3Position], None]] = [self.supply, self.withdraw, self.burn]
        if before.nfts:
            moves += [self.decrease, self.decrease, self.collect, self.collect]
        if self.draws.below(10) == 0:
            moves = [self.leave]
        return moves[self.draws.below(len(moves))](before)


def live(stage: Stage, seed: str, steps: int) -> dict[str, int]:
    """So many steps of a life; what was done."""
    life = Life(stage, seed)
    for step in range(steps):
        if step % 10 == 0:
            life.fund()
        life.step()
    return life.done


def test_every_move_does_what_was_predicted_to_the_wei(stage: Stage, request: pytest.FixtureRequest) -> None:
    done = live(stage, request.node.name, STEPS)
    moves = {"mint", "supply", "withdraw part", "withdraw all", "decrease", "collect", "burn"}
    assert moves <= set(done), done


def test_moves_that_the_connector_refuses_are_refused(stage: Stage) -> None:
    life = Life(stage, "refused")
    empty = life.position()
    assert empty.max_withdraw(0) == 0
    for amount in (0, 1, EVERYTHING):
        with pytest.raises(PlanError, match="refuse"):
            empty.after_withdraw(amount, 0)
        assert not stage.act(life.ref.address, "withdraw(bytes32,uint256)", life.ref.key, amount)
    with pytest.raises(PlanError, match="refuse"):
        empty.after_supply(0, 0)
    assert not stage.act(life.ref.address, "supply(bytes32,uint256)", life.ref.key, 0)
    life.fund()
    life.mint(life.position())
    before = life.position()
    (nft,) = before.nfts
    most = before.max_withdraw(0)
    with pytest.raises(PlanError, match="refuse"):
        before.after_withdraw(most + 1, 0)
    assert not stage.act(life.ref.address, "withdraw(bytes32,uint256)", life.ref.key, most + 1)
    with pytest.raises(PlanError, match="less liquidity"):
        before.after_decrease(nft.token_id, nft.liquidity + 1)
    with pytest.raises(PlanError, match="not empty"):
        before.after_burn(nft.token_id)
    assert not stage.act(life.ref.address, "burn(uint256)", nft.token_id)
    with pytest.raises(PlanError, match="no such NFT"):
        before.after_collect(nft.token_id + 1)
    assert not stage.act(life.ref.address, "collectFees(uint256)", nft.token_id + 1)


def test_a_pool_without_the_asset_pays_nothing_and_takes_nothing(stage: Stage) -> None:
    ref = stage.ref("WBTC/WETH")
    stage.push(ref.address, "WETH", 10**18)
    weth = stage.devnet.manifest["tokens"]["WETH"]["address"]
    assert stage.act(ref.address, "hold(bytes32,address,uint256)", ref.key, weth, 10**18)
    rate = FixedRate(Quote(3 * PRICED, 4 * PRICED, Status.OK))
    tokens = load("uniswap_v3").tokens(ref)
    assert weth in tokens
    position, _ = stage.look(ref, Prices(stage.core.asset, dict.fromkeys(tokens, rate)), {})
    assert (position.max_supply(0), position.max_withdraw(0)) == (0, 0)
    with pytest.raises(PlanError, match="refuse"):
        position.after_supply(1, 0)
    assert position.after_withdraw(EVERYTHING, 0) == (position, 0)
    assert stage.act(ref.address, "withdraw(bytes32,uint256)", ref.key, EVERYTHING)
    assert stage.look(ref, position.prices, {})[0] == position
    assert not stage.act(ref.address, "withdraw(bytes32,uint256)", ref.key, 1)
    with pytest.raises(PlanError, match="refuse"):
        position.after_withdraw(1, 0)
    assert ALL > position.held[tokens.index(weth)] == 10**18
