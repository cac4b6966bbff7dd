"""A connector of ours with debts and rewards at the real pool of a local chain, and both sides of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from conftest import Walk

from keeper.chain.call import Call
from keeper.chain.lens import Result, decoded
from keeper.chain.packing import Outcome, unpack
from keeper.chain.ways import PASS_GAS, lens_override, lens_request
from keeper.connectors.aave_lending import AaveAccountPosition
from keeper.connectors.aave_v3 import AaveV3
from keeper.connectors.base import PositionRef, Report, key_of
from keeper.contracts import Function, encode_call
from keeper.oracle.quote import ROUTE_SCALE, Prices, RouteRate, Status
from keeper.simulation.vault import Core, deploy_core, deploy_oracle, govern
from keeper.units import WAD, Address

MIN_HEALTH = 105 * WAD // 100
FEEDS = {"WETH": "ETH/USD", "WBTC": "BTC/USD", "DAI": "DAI/USD", "USDT": "USDT/USD"}
SYMBOLS = ("WETH", "USDC", "USDT", "DAI", "wstETH", "WBTC")
E_MODES = (1, 2)
KEYS, BORROWABLE = ("WETH", "USDC"), ("USDC", "DAI")
SUPPLY, WITHDRAW = "supply(bytes32,uint256)", "withdraw(bytes32,uint256)"
BORROW, REPAY = "borrow(bytes32,uint256)", "repay(bytes32,uint256)"
ETHER, USDC = 10**18, 10**6
REPORT = Function("report(bytes32)", "(uint256,uint256,uint256)")
VALUE = Function("value(address,address,uint256)", "(uint256,uint256,uint8)")

# A report may cost more than what a portfolio gives it, so that one connector can do everything at once.
STIPEND, AMPLE_STIPEND = (300_000).to_bytes(4, "big"), (2_000_000).to_bytes(4, "big")
_PUSH3 = 0x62


@dataclass(frozen=True)
class Answers:
    """Outcomes of calls, decoded when they are asked for, as a snapshot's are."""

    outcomes: Mapping[Call[Any], Outcome]
    values: dict[Call[Any], Any] = field(default_factory=dict)

    def read(self, call: Call[Any]) -> Any:
        if call not in self.values:
            success, data = self.outcomes[call]
            self.values[call] = decoded(call, Result(call.target, call.data, success, data))
        return self.values[call]


@dataclass
class Stage:
    """The connector's portfolio, which a test speaks for, and what each side is told of it."""

    walk: Walk
    core: Core
    oracle: Address
    connector: Address
    keys: tuple[str, ...]
    borrowable: tuple[str, ...]
    rewards: tuple[Address, ...]

    @property
    def aave(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.walk.devnet.manifest["aave"]
        return found

    def asset(self, symbol: str) -> Address:
        return Address(self.aave["reserves"][symbol]["asset"])

    def ref(self, symbol: str) -> PositionRef:
        """The position of one of the connector's keys."""
        aave = self.aave

        def reserve(name: str) -> dict[str, Any]:
            found = aave["reserves"][name]
            named = {each: found[each] for each in ("asset", "a_token", "variable_debt_token")}
            return {**named, "decimals": self.walk.devnet.manifest["tokens"][name]["decimals"]}

        account = {
            "keys": [self.asset(each) for each in self.keys],
            "borrowable": [self.asset(each) for each in self.borrowable],
            "rewards": list(self.rewards),
            "reserves": [reserve(name) for name in SYMBOLS if name != symbol],
            "e_modes": list(E_MODES),
            "addresses_provider": aave["addresses_provider"],
            "oracle": aave["oracle"],
            "min_health": MIN_HEALTH,
        } | ({"rewards_controller": aave["rewards_controller"]} if self.rewards else {})
        params = {"pool": aave["pool"], "rate_strategy": aave["rate_strategy"], **reserve(symbol)}
        if self.borrowable or self.rewards:
            params["account"] = account
        return PositionRef("aave_v3", self.connector, key_of(self.asset(symbol)), f"aave:{symbol}", params)

    # ACTIONS

    def give(self, symbol: str, amount: int) -> None:
        """Tokens at the connector, as after a push."""
        walk = self.walk
        to, token = self.connector, self.asset(symbol)
        assert walk.send("whale", token, "transfer(address,uint256)", to, amount, at=walk.now() + 1)

    def act(self, signature: str, *args: Any, at: int) -> bool:
        """The portfolio calls the connector in a block of time `at`; false when it reverts."""
        rpc = self.walk.devnet.rpc
        rpc("evm_setNextBlockTimestamp", at)
        data = "0x" + encode_call(signature, *args).hex()
        request = {"from": self.core.portfolio, "to": self.connector, "data": data, "gas": hex(5_000_000)}
        done = bool(int(rpc("eth_sendTransactionSync", request)["status"], 16))
        assert self.walk.now() == at
        name = ("our " if done else "refused ") + signature.partition("(")[0]
        self.walk.done[name] = self.walk.done.get(name, 0) + 1
        return done

    # READS

    def ask(self, calls: Sequence[Call[Any]], at: int, words: Mapping[str, Any] | None = None) -> Answers:
        """Answers of many calls in one, in a block of time `at`, with other words in storage."""
        request = lens_request(calls, PASS_GAS)
        overrides = {**lens_override(), **(words or {})}
        answer = self.walk.devnet.rpc("eth_call", request, "latest", overrides, {"time": hex(at)})
        head, outcomes = unpack(bytes.fromhex(answer[2:]), len(calls))
        assert head.timestamp == at
        return Answers(dict(zip(calls, outcomes, strict=True)))

    def prices(self, at: int, words: Mapping[str, Any] | None = None) -> Prices:
        """What the vault's router says of every token: at this amount, a route's folded rate itself."""
        asset = self.core.asset
        tokens = [self.asset(symbol) for symbol in FEEDS]
        calls = [VALUE.at(self.oracle, token, asset, ROUTE_SCALE) for token in tokens]
        answers = self.ask(calls, at, words)
        rates = {}
        for token, call in zip(tokens, calls, strict=True):
            low, high, status = answers.read(call)
            rates[token] = RouteRate(low, high, Status(status))
        return Prices(asset, rates)

    def position(self, symbol: str) -> AaveAccountPosition:
        """The mirror of a key at the head."""
        at = self.walk.now()
        ref = self.ref(symbol)
        answers = self.ask(AaveV3().calls(ref), at)
        found = AaveV3().position(ref, answers.read, self.prices(at), at)
        assert isinstance(found, AaveAccountPosition)
        return found

    def reported(self, answer: Any) -> Report:
        """The words of `report(key)`, unpacked as ReportLib packs them."""
        low, high, state = answer
        return Report(low, high, Status(state & 0xFF), state >> 8 & (1 << 112) - 1, state >> 120)

    def report_calls(self) -> list[Call[Any]]:
        return [REPORT.at(self.connector, key_of(self.asset(symbol))) for symbol in self.keys]


def stage(walk: Walk, keys: tuple[str, ...], borrowable: tuple[str, ...], *, rewarded: bool = False) -> Stage:
    """Our connector at the real pool, for a vault of USDC; the chain speaks for its portfolio."""
    devnet = walk.devnet
    core = deploy_core(devnet)
    oracle = deploy_oracle(devnet, FEEDS).router
    govern(devnet, core, "setOracle", core.vault, oracle)
    devnet.rpc("anvil_impersonateAccount", core.portfolio)
    devnet.rpc("anvil_setBalance", core.portfolio, hex(10**20))
    _configure_modes(walk)
    aave = devnet.manifest["aave"]
    rewards: list[Address] = []
    if rewarded:
        rewards = [Address(aave["reward"]["token"]), Address(aave["reserves"]["WBTC"]["asset"])]
        _configure_rewards(walk, rewards[1])
    # The price of wrapped staked ether grows by itself; a mirror keeps prices as they were at its block.
    sources = ([aave["reserves"]["wstETH"]["asset"]], [devnet.manifest["feeds"]["ETH/USD"]["proxy"]])
    signature = "setAssetSources(address[],address[])"
    assert walk.send("deployer", aave["oracle"], signature, *sources, at=walk.now() + 1)
    code = bytes.fromhex(devnet.rpc("eth_getCode", core.portfolio, "latest")[2:])
    ample = code.replace(bytes([_PUSH3]) + STIPEND[1:], bytes([_PUSH3]) + AMPLE_STIPEND[1:])
    assert ample != code
    devnet.rpc("anvil_setCode", core.portfolio, "0x" + ample.hex())
    words = [[key_of(aave["reserves"][name]["asset"]) for name in each] for each in (keys, borrowable)]
    terms = (*words, rewards, MIN_HEALTH)
    connector = devnet.deploy(
        devnet.key("deployer"), "AaveV3Connector", [core.portfolio, aave["pool"], terms]
    )
    for key in words[0]:
        govern(devnet, core, "listPosition", core.vault, connector, key, [key])
    return Stage(walk, core, oracle, connector, keys, borrowable, tuple(rewards))


def _configure_modes(walk: Walk) -> None:
    configurator = walk.devnet.manifest["aave"]["configurator"]
    signature = "setEModeCategory(uint8,uint16,uint16,uint16,string)"
    for category in E_MODES:
        args = (category, 9_000, 9_300, 10_100, "mode")
        assert walk.send("deployer", configurator, signature, *args, at=walk.now() + 1)


def _configure_rewards(walk: Walk, second: Address) -> None:
    """Both rewards for suppliers and borrowers of USDC, the second for suppliers of ether too."""
    aave = walk.devnet.manifest["aave"]
    emission, reserves = aave["emission_manager"], aave["reserves"]
    feed = walk.devnet.manifest["feeds"]["BTC/USD"]["proxy"]
    first, strategy = aave["reward"]["token"], aave["reward"]["strategy"]
    set_admin = "setEmissionAdmin(address,address)"
    deployer = walk.devnet.address("deployer")
    assert walk.send("deployer", emission, set_admin, second, deployer, at=walk.now() + 1)
    end = walk.now() + 3 * 365 * 86_400
    inputs = [
        (10**12, 0, end, reserves["USDC"]["variable_debt_token"], first, strategy, feed),
        (10**6, 0, end, reserves["USDC"]["a_token"], second, strategy, feed),
        (10**6, 0, end, reserves["WETH"]["a_token"], second, strategy, feed),
    ]
    shape = "(uint88,uint256,uint32,address,address,address,address)[]"
    assert walk.send("deployer", emission, f"configureAssets({shape})", inputs, at=walk.now() + 1)


def key(staged: Stage, symbol: str) -> bytes:
    return staged.ref(symbol).key


def enter_modes(walk: Walk, staged: Stage) -> None:
    """Mode 1 has ether as collateral and both borrowable assets; the second is without its own."""
    configurator = staged.aave["configurator"]
    for signature, symbols in (
        ("setAssetCollateralInEMode(address,uint8,bool)", ("WETH",)),
        ("setAssetBorrowableInEMode(address,uint8,bool)", ("USDC", "DAI")),
    ):
        for symbol in symbols:
            args = (staged.asset(symbol), 1, True)
            assert walk.send("deployer", configurator, signature, *args, at=walk.now() + 1)


def indebted(walk: Walk) -> Stage:
    """Ten ether supplied, and twenty thousand dollars borrowed against it."""
    staged = stage(walk, KEYS, BORROWABLE)
    staged.give("WETH", 10 * ETHER)
    assert staged.act(SUPPLY, key(staged, "WETH"), 10 * ETHER, at=walk.now() + 1)
    assert staged.act(BORROW, key(staged, "USDC"), 15_000 * USDC, at=walk.now() + 1)
    return staged
