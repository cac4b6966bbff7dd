"""A vault that owes dollars at Aave against ether, on a local chain, and those who would liquidate it."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from eth_hash.auto import keccak
from staged import USDC, Staged

from keeper.config import parse
from keeper.connectors.base import key_of
from keeper.contracts import encode_call
from keeper.errors import RpcError
from keeper.planning.actions import REPAY, SUPPLY, SWAP_UNISWAP, WITHDRAW
from keeper.planning.calls import PlannedCall
from keeper.planning.plan import Kind, Plan
from keeper.planning.policy import Policy
from keeper.simulation.devnet import Devnet
from keeper.simulation.swaps import open_pool
from keeper.simulation.vault import (
    MIN_HEALTH_WAD,
    Core,
    Deployment,
    Listing,
    deploy_connectors,
    deploy_core,
    deploy_oracle,
    govern,
    list_and_seal,
    policy_text,
    table,
)
from keeper.swap.permissions import set_up
from keeper.swap.policy import SwapPolicy
from keeper.units import Address

ETHER = 10**18
COLLATERAL, DEBT, HELD = "levered:WETH", "levered:USDC", "held:WETH"
FLOOR, TARGET, LANE = 12_000, 14_000, 1
POOL_SUPPLY = "supply(address,uint256,address,uint16)"
POOL_BORROW = "borrow(address,uint256,uint256,uint16,address)"
DATA = "(uint256,uint256,uint256,uint256,uint256,uint256)"


def deploy_levered(devnet: Devnet) -> Deployment:
    """A sealed USDC vault over Aave, Morpho Blue and MetaMorpho, with a second connector at Aave that may
    borrow dollars against ether, and a handler that sells ether on Uniswap."""
    core = deploy_core(devnet)
    oracle = deploy_oracle(devnet)
    govern(devnet, core, "setOracle", core.vault, oracle.router)
    weth = Address(devnet.manifest["tokens"]["WETH"]["address"])
    holder = devnet.deploy(devnet.key("deployer"), "TokenConnector", [core.portfolio, [weth]])
    listings = [
        *deploy_connectors(devnet, core.portfolio),
        *_borrowing(devnet, core),
        Listing(HELD, holder, key_of(weth), "token", {"token": weth}),
    ]
    section = _selling(devnet, core, weth)
    swap = parse(section, SwapPolicy)
    for _, _, data in set_up(swap):
        devnet.send(devnet.key("governor"), swap.handler, data, errors=["SwapHandler", "Registry"])
    govern(devnet, core, "setSelector", core.vault, swap.handler, SWAP_UNISWAP.selector, True)
    # To borrow is the governor's word alone: no policy here names it, so no plan of the keeper's does.
    borrow = encode_call("borrow(bytes32,uint256)", bytes(32), 0)[:4]
    govern(devnet, core, "setSelector", core.vault, listings[3].address, borrow, True)
    list_and_seal(devnet, core, listings)
    text = policy_text(devnet, core, listings, oracle)
    sections = [
        _with_functions(text, listings),
        table("swap", {name: each for name, each in section.items() if name != "tokens"}),
        table("swap.tokens", section["tokens"]),
        table("health", {"floor_bps": FLOOR, "target_bps": TARGET, "nonce_key": LANE}),
    ]
    policy_toml = "\n".join(sections)
    policy = parse(tomllib.loads(policy_toml), Policy)
    return Deployment(**vars(core), oracle=oracle.router, policy=policy, policy_toml=policy_toml)


def _with_functions(text: str, listings: Sequence[Listing]) -> str:
    """The policy with what may be done at each of the levered venues, and nothing invested there."""
    for each in listings:
        if each.venue in (COLLATERAL, DEBT):
            functions = ", ".join(f'"{name}"' for name in each.functions)
            text = text.replace(
                f'venue = "{each.venue}"\n', f'venue = "{each.venue}"\nfunctions = [{functions}]\n'
            )
    return text.replace("params = { ", f'params = {{ "venue_caps_bps" = {{ "{DEBT}" = 0 }}, ', 1)


def _borrowing(devnet: Devnet, core: Core) -> tuple[Listing, Listing]:
    aave = devnet.manifest["aave"]
    weth, usdc = (aave["reserves"][symbol]["asset"] for symbol in ("WETH", "USDC"))
    keys = [key_of(weth), key_of(usdc)]
    terms = (keys, [key_of(usdc)], [], MIN_HEALTH_WAD)
    address = devnet.deploy(devnet.key("deployer"), "AaveV3Connector", [core.portfolio, aave["pool"], terms])
    names = ("asset", "a_token", "variable_debt_token")

    def listing(venue: str, asset: str, key: bytes, functions: tuple[str, ...]) -> Listing:
        own = next(each for each in aave["reserves"].values() if each["asset"] == asset)
        params: dict[str, Any] = {
            "pool": aave["pool"],
            "rate_strategy": aave["rate_strategy"],
            **{name: own[name] for name in names},
            "account": {
                "keys": [weth, usdc],
                "borrowable": [usdc],
                "reserves": [
                    {name: each[name] for name in names}
                    for each in aave["reserves"].values()
                    if each["asset"] != asset
                ],
                "addresses_provider": aave["addresses_provider"],
                "oracle": aave["oracle"],
                "min_health": MIN_HEALTH_WAD,
            },
        }
        return Listing(venue, address, key, "aave_v3", params, functions=functions)

    return (
        listing(COLLATERAL, weth, keys[0], (WITHDRAW.name,)),
        listing(DEBT, usdc, keys[1], (SUPPLY.name, WITHDRAW.name, REPAY.name)),
    )


def _selling(devnet: Devnet, core: Core, weth: Address) -> dict[str, Any]:
    pool, router = open_pool(devnet), devnet.manifest["uniswap"]["swap_router"]
    arguments = [core.portfolio, router, weth]
    return {
        "handler": devnet.deploy(devnet.key("deployer"), "SwapHandler", arguments),
        "router": router,
        "native": weth,
        "slippage_bps": 30,
        "max_loss": 20_000 * USDC,
        "tokens": {
            "WETH": {
                "address": weth,
                "venue": HELD,
                "max_slippage_bps": 300,
                "path": [{"pool": pool["address"], "fee": pool["fee"], "to": core.asset}],
            }
        },
    }


def lend_out(stage: Staged) -> None:
    """Somebody borrows all of Aave's dollars."""
    devnet, aave = stage.devnet, stage.devnet.manifest["aave"]
    who, key, pool = devnet.address("user2"), devnet.key("user2"), aave["pool"]
    dai, usdc = (aave["reserves"][symbol]["asset"] for symbol in ("DAI", "USDC"))
    cash = devnet.call(pool, "getVirtualUnderlyingBalance(address)", [usdc], "(uint128)")
    pledge = 2 * cash * 10**12
    stage.act("deployer", dai, "mint(address,uint256)", who, pledge)
    stage.act("user2", dai, "approve(address,uint256)", pool, pledge)
    devnet.send(key, pool, encode_call(POOL_SUPPLY, dai, pledge, who, 0))
    devnet.send(key, pool, encode_call(POOL_BORROW, usdc, cash, 2, 0, who))


class Levered(Staged):
    """The vault, and what the market does to it; `template` is the strategy's first batch."""

    template: Plan

    @property
    def connector(self) -> Address:
        return self.policy.position(DEBT).address

    @property
    def aave(self) -> Any:
        return self.devnet.manifest["aave"]

    def asset(self, symbol: str) -> Address:
        return Address(self.aave["reserves"][symbol]["asset"])

    def health(self) -> int:
        """The pool's own, of the connector's account."""
        found = self.devnet.call(self.aave["pool"], "getUserAccountData(address)", [self.connector], DATA)
        return int(found[-1])

    def supplied(self, symbol: str) -> int:
        """What the account has supplied of it."""
        token = self.aave["reserves"][symbol]["a_token"]
        return int(self.devnet.call(token, "balanceOf(address)", [self.connector], "(uint256)"))

    def price(self, dollars: int) -> None:
        """A round of the feeds with ether at that price."""
        for name, answer in (("ETH/USD", dollars * 10**8), ("USDC/USD", 10**8)):
            feed = self.devnet.manifest["feeds"][name]
            data = encode_call("push(int256)", answer)
            self.devnet.send(self.devnet.key("oracle"), feed["aggregator"], data)

    def secure(self, ether: int) -> None:
        """Ether comes to the account: whoever holds it may supply for anybody."""
        weth, pool, whale = self.asset("WETH"), self.aave["pool"], self.devnet.key("whale")
        self.devnet.send(whale, weth, encode_call("approve(address,uint256)", pool, ether))
        data = encode_call(POOL_SUPPLY, weth, ether, self.connector, 0)
        self.devnet.send(whale, pool, data)

    async def carry_out(self, *calls: PlannedCall) -> None:
        """A batch that the quorum's keys sign, whatever a policy says."""
        nonce, now = (await self.book()).nonce, self.head.timestamp
        terms = replace(self.template.batch, calls=calls, nonce=nonce, min_nav_after=0, max_loss=USDC)
        ends = now + self.policy.time.validity
        self.submit(
            replace(self.template, terms=terms, reference_time=now, valid_after=now, valid_until=ends)
        )

    async def borrow(self, assets: int) -> None:
        position = self.policy.position(DEBT)
        args = {"key": position.key, "assets": assets}
        token = self.policy.vault.asset
        call = PlannedCall.of("borrow", target=position.address, token=token, venue=DEBT, args=args)
        await self.carry_out(call)

    async def spend(self) -> None:
        """All that is not at the levered account goes to where nobody can take it out: Aave's dollars, which
        somebody borrows."""
        venues = ("metamorpho:USDC", "morpho:WETH/USDC")
        book, token = await self.book(), self.policy.vault.asset
        leaving = [self.policy.position(name) for name in venues if book.allocation[name]]
        moves = [
            PlannedCall.withdraw(
                target=each.address, token=token, venue=each.venue, key=each.key, assets=2**256 - 1
            )
            for each in leaving
        ]
        await self.carry_out(*moves)
        idle, aave = (await self.book()).idle, self.policy.position("aave:USDC")
        supply = PlannedCall.supply(
            target=aave.address, token=token, venue=aave.venue, key=aave.key, assets=idle
        )
        await self.carry_out(supply)
        lend_out(self)

    async def open_levered(self, assets: int, ether: int, debt: int) -> None:
        """A deposit, ether as collateral, dollars borrowed against it, and all of it at work."""
        self.request_deposit("user1", assets)
        await self.settle()
        self.claim("user1")
        self.template = await self.propose(Kind.BATCH)
        self.secure(ether)
        await self.borrow(debt)
        await self.allocate()

    def may_be_liquidated(self) -> bool:
        """Whether the pool would let somebody liquidate the account in the next block."""
        who = self._liquidator()
        request = {"from": who, "to": self.aave["pool"], "data": "0x" + self._liquidation.hex()}
        try:
            self.devnet.rpc("eth_call", request, "latest")
        except RpcError as error:
            refused = error.data
        else:
            return True
        assert refused == "0x" + keccak(b"HealthFactorNotBelowThreshold()").hex()[:8]
        return False

    def liquidate(self) -> None:
        """Somebody does."""
        self._liquidator()
        self.devnet.send(self.devnet.key("trader"), self.aave["pool"], self._liquidation)

    def _liquidator(self) -> str:
        """Who has the dollars for it."""
        usdc, who = self.asset("USDC"), self.devnet.address("trader")
        if not self.devnet.call(usdc, "allowance(address,address)", [who, self.aave["pool"]], "(uint256)"):
            self.act("trader", usdc, "approve(address,uint256)", self.aave["pool"], 2**255)
            self.act("deployer", usdc, "mint(address,uint256)", who, 10**6 * USDC)
        return who

    @property
    def _liquidation(self) -> bytes:
        signature = "liquidationCall(address,address,address,uint256,bool)"
        pair = self.asset("WETH"), self.asset("USDC")
        return encode_call(signature, *pair, self.connector, 50_000 * USDC, False)


def levered(devnet: Devnet, assets: int = 500_000 * USDC, ether: int = 100 * ETHER) -> Levered:
    """Half a million dollars, a hundred ether, and 150,000 dollars borrowed, unless told otherwise."""
    made = Levered(devnet, deploy_levered(devnet))
    asyncio.run(made.open_levered(assets, ether, 150_000 * USDC))
    return made
