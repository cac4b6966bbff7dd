"""Gas of every action of a connector and of swaps, and of reports by what a position holds.

Each is the receipt of a transaction that calls it alone, less 21,000 and the calldata's gas; actions are sent
by the portfolio itself, as its batches send them, so that neither signatures nor post-conditions are in them.
The tokens have been pushed before. Positions exist already, unless the name says first; everything is cold.
"""

from dataclasses import dataclass
from typing import Any

from eth_hash.auto import keccak

from bench.registry import Metric, Number
from bench.stage import NOBODY, USDC, alone
from keeper.contracts import Function, encode_call
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import Core, deploy_core, deploy_oracle, govern
from keeper.units import WAD, Address

EVERYTHING = 2**256 - 1
ALL_LIQUIDITY = 2**128 - 1
ETHER = WAD
MIN_HEALTH = 105 * WAD // 100
SLIPPAGE_BPS = 150
TOLERANCE_BPS = 100
FEE, SPACING = 500, 10
FEEDS = {"WETH": "ETH/USD", "WBTC": "BTC/USD"}
GAS_LIMIT = 5_000_000
_STEP = "(address,address,address,address,uint256,bytes,bool)"
_EXACT_INPUT = "exactInput((bytes,address,uint256,uint256,uint256))"
_SINGLE = f"swapTokensSingleV3ERC20ToERC20(bytes32,string,string,address,uint256,{_STEP})"
_MULTIPLE = f"swapTokensMultipleV3ERC20ToERC20(bytes32,string,string,address,uint256,{_STEP}[])"


@dataclass(frozen=True)
class Portfolio:
    """A vault's portfolio that a benchmark speaks for."""

    devnet: Devnet
    core: Core

    def act(self, to: Address, signature: str, *args: Any) -> int:
        """Gas of a call. Raises RuntimeError when it reverts."""
        data = encode_call(signature, *args)
        request = {
            "from": self.core.portfolio,
            "to": to,
            "data": "0x" + data.hex(),
            "gas": hex(GAS_LIMIT),
        }
        receipt = self.devnet.rpc("eth_sendTransactionSync", request)
        if receipt["status"] != "0x1":
            raise RuntimeError(f"{signature} reverted")
        return alone(receipt, data)

    def report(self, connector: Address, key: bytes) -> int:
        return self.act(connector, "report(bytes32)", key)

    def collect(self, connector: Address) -> int:
        """Gas of sending dollars that lie loose there to the portfolio."""
        self.give(connector, "USDC", USDC)
        return self.act(connector, "collect(address)", self.token("USDC"))

    def token(self, symbol: str) -> Address:
        return Address(self.devnet.manifest["tokens"][symbol]["address"])

    def give(self, to: Address, symbol: str, amount: int) -> None:
        """Tokens at a connector, as after a push."""
        deployer, token = self.devnet.key("deployer"), self.token(symbol)
        if symbol != "WETH":
            self.devnet.send(deployer, token, encode_call("mint(address,uint256)", to, amount))
            return
        self.devnet.rpc("anvil_setBalance", self.devnet.address("deployer"), hex(10**24))
        self.devnet.send(deployer, token, encode_call("deposit()"), amount)
        self.devnet.send(deployer, token, encode_call("transfer(address,uint256)", to, amount))

    def deploy(self, name: str, *args: Any) -> Address:
        return self.devnet.deploy(self.devnet.key("deployer"), name, [self.core.portfolio, *args])

    def list_all(self, connector: Address, *keys: bytes) -> None:
        """The governor lets the vault count positions under these keys."""
        for key in keys:
            arguments = (self.core.vault, connector, key, [key])
            govern(self.devnet, self.core, "listPosition", *arguments)


def measure() -> dict[str, Number]:
    """Every action once, on a fresh chain."""
    with Devnet() as devnet:
        core = deploy_core(devnet)
        govern(devnet, core, "setOracle", core.vault, deploy_oracle(devnet, FEEDS).router)
        devnet.rpc("anvil_impersonateAccount", core.portfolio)
        devnet.rpc("anvil_setBalance", core.portfolio, hex(10**20))
        portfolio = Portfolio(devnet, core)
        figures = (
            _aave(portfolio)
            | _rewards(portfolio)
            | _morpho(portfolio)
            | _vaults(portfolio)
            | _tokens(portfolio)
            | _liquidity(portfolio)
            | _swaps(portfolio)
        )
    return {f"gas.{name}": value for name, value in figures.items()}


def _aave(portfolio: Portfolio) -> dict[str, int]:
    """Ether and dollars supplied, dollars borrowed."""
    ether, dollars = _key(portfolio.token("WETH")), _key(portfolio.token("USDC"))
    pool = portfolio.devnet.manifest["aave"]["pool"]
    lender = portfolio.deploy("AaveV3Connector", pool, ([ether, dollars], [dollars], [], MIN_HEALTH))
    portfolio.list_all(lender, ether, dollars)
    figures = {}

    def supply(key: bytes, symbol: str, amount: int) -> int:
        portfolio.give(lender, symbol, amount)
        return portfolio.act(lender, "supply(bytes32,uint256)", key, amount)

    figures["action_aave_v3_supply_first"] = supply(ether, "WETH", 10 * ETHER)
    figures["action_aave_v3_supply"] = supply(ether, "WETH", 10 * ETHER)
    supply(dollars, "USDC", 10_000 * USDC)
    figures["report_aave_v3_priced"] = portfolio.report(lender, ether)
    borrow = ("borrow(bytes32,uint256)", dollars, 10_000 * USDC)
    figures["action_aave_v3_borrow_first"] = portfolio.act(lender, *borrow)
    figures["action_aave_v3_borrow"] = portfolio.act(lender, *borrow)
    figures["report_aave_v3_in_debt"] = portfolio.report(lender, ether)
    figures["action_aave_v3_withdraw"] = portfolio.act(lender, "withdraw(bytes32,uint256)", ether, ETHER)
    figures["action_aave_v3_set_collateral"] = portfolio.act(
        lender, "setCollateral(bytes32,bool)", dollars, False
    )
    figures["action_aave_v3_repay_with_a_tokens"] = portfolio.act(
        lender, "repayWithATokens(bytes32,uint256)", dollars, 1_000 * USDC
    )
    portfolio.give(lender, "USDC", 1_000 * USDC)
    repay = ("repay(bytes32,uint256)", dollars)
    figures["action_aave_v3_repay"] = portfolio.act(lender, *repay, 1_000 * USDC)
    portfolio.give(lender, "USDC", 20_000 * USDC)
    figures["action_aave_v3_repay_all"] = portfolio.act(lender, *repay, EVERYTHING)
    figures["action_aave_v3_exit"] = portfolio.act(lender, "withdraw(bytes32,uint256)", dollars, EVERYTHING)
    return figures


def _rewards(portfolio: Portfolio) -> dict[str, int]:
    dollars = _key(portfolio.token("USDC"))
    aave = portfolio.devnet.manifest["aave"]
    reward = aave["reward"]["token"]
    lender = portfolio.deploy("AaveV3Connector", aave["pool"], ([dollars], [], [reward], MIN_HEALTH))
    portfolio.give(lender, "USDC", 10_000 * USDC)
    portfolio.act(lender, "supply(bytes32,uint256)", dollars, 10_000 * USDC)
    figures = {"report_aave_v3_rewards": portfolio.report(lender, dollars)}
    # The first claim is the portfolio's first balance of the reward.
    portfolio.act(lender, "claimRewards(address)", reward)
    figures["action_aave_v3_claim_rewards"] = portfolio.act(lender, "claimRewards(address)", reward)
    devnet, mode = portfolio.devnet, (1, 9_300, 9_500, 10_100, "dollars")
    call = encode_call("setEModeCategory(uint8,uint16,uint16,uint16,string)", *mode)
    devnet.send(devnet.key("deployer"), aave["configurator"], call)
    figures["action_aave_v3_set_e_mode"] = portfolio.act(lender, "setEMode(uint8)", 1)
    return figures


def _morpho(portfolio: Portfolio) -> dict[str, int]:
    morpho = portfolio.devnet.manifest["morpho"]
    market = bytes.fromhex(morpho["markets"]["WETH/USDC"]["id"][2:])
    lender = portfolio.deploy("MorphoBlueConnector", morpho["address"], ([], [market], [], MIN_HEALTH))
    figures = {}

    def pushed(symbol: str, amount: int, signature: str, *args: Any) -> int:
        portfolio.give(lender, symbol, amount)
        return portfolio.act(lender, signature, market, *args, amount)

    pledge = ("WETH", 10 * ETHER, "supplyCollateral(bytes32,uint256)")
    figures["action_morpho_blue_supply_collateral_first"] = pushed(*pledge)
    figures["action_morpho_blue_supply_collateral"] = pushed(*pledge)
    borrow = ("borrow(bytes32,uint256)", market, 10_000 * USDC)
    figures["action_morpho_blue_borrow_first"] = portfolio.act(lender, *borrow)
    figures["action_morpho_blue_borrow"] = portfolio.act(lender, *borrow)
    figures["report_morpho_blue_in_debt"] = portfolio.report(lender, market)
    figures["action_morpho_blue_withdraw_collateral"] = portfolio.act(
        lender, "withdrawCollateral(bytes32,uint256)", market, ETHER
    )
    figures["action_morpho_blue_repay"] = pushed("USDC", 1_000 * USDC, "repay(bytes32,uint256)")
    figures["action_morpho_blue_repay_all_shares"] = pushed(
        "USDC", 20_000 * USDC, "repayShares(bytes32,uint256,uint256)", EVERYTHING
    )
    supply = ("USDC", 10_000 * USDC, "supply(bytes32,uint256)")
    figures["action_morpho_blue_supply_first"] = pushed(*supply)
    figures["action_morpho_blue_supply"] = pushed(*supply)
    withdraw = ("withdraw(bytes32,uint256)", market)
    figures["action_morpho_blue_withdraw"] = portfolio.act(lender, *withdraw, 1_000 * USDC)
    figures["action_morpho_blue_exit"] = portfolio.act(lender, *withdraw, EVERYTHING)
    figures["action_morpho_blue_collect"] = portfolio.collect(lender)
    return figures


def _vaults(portfolio: Portfolio) -> dict[str, int]:
    """MetaMorpho, whose own deposits and withdrawals walk its markets."""
    target = portfolio.devnet.manifest["metamorpho"]["vault"]
    key = _key(target)
    vaults = portfolio.deploy("ERC4626Connector", [key], [])
    figures = {}
    for name in ("action_metamorpho_supply_first", "action_metamorpho_supply"):
        portfolio.give(vaults, "USDC", 10_000 * USDC)
        figures[name] = portfolio.act(vaults, "supply(bytes32,uint256)", key, 10_000 * USDC)
    portfolio.give(vaults, "USDC", 10_000 * USDC)
    deposit = ("deposit(bytes32,uint256,uint256)", key, 10_000 * USDC, 1)
    figures["action_metamorpho_deposit"] = portfolio.act(vaults, *deposit)
    withdraw = ("withdraw(bytes32,uint256)", key)
    figures["action_metamorpho_withdraw"] = portfolio.act(vaults, *withdraw, 1_000 * USDC)
    shares = portfolio.devnet.call(target, "balanceOf(address)", [vaults], "(uint256)")
    figures["action_metamorpho_redeem"] = portfolio.act(
        vaults, "redeem(bytes32,uint256,uint256)", key, shares // 2, 1
    )
    figures["action_metamorpho_exit"] = portfolio.act(vaults, *withdraw, EVERYTHING)
    return figures


def _tokens(portfolio: Portfolio) -> dict[str, int]:
    weth = portfolio.token("WETH")
    key = _key(weth)
    held = portfolio.deploy("TokenConnector", [weth])
    figures = {}
    for name in ("action_token_supply_first", "action_token_supply"):
        portfolio.give(held, "WETH", ETHER)
        figures[name] = portfolio.act(held, "supply(bytes32,uint256)", key, ETHER)
    figures["report_token"] = portfolio.report(held, key)
    figures["action_token_withdraw"] = portfolio.act(held, "withdraw(bytes32,uint256)", key, ETHER)
    return figures


def _liquidity(portfolio: Portfolio) -> dict[str, int]:
    """Two NFTs around the price of the pool of Ether and dollars, of the three that fit a report's gas."""
    devnet, uniswap = portfolio.devnet, portfolio.devnet.manifest["uniswap"]
    pool = uniswap["pools"]["USDC/WETH"]["address"]
    key, weth, usdc = _key(pool), portfolio.token("WETH"), portfolio.token("USDC")
    manager = uniswap["position_manager"]
    owner = portfolio.deploy("UniswapV3Connector", manager, [key], [FEE], TOLERANCE_BPS, 2)
    slot = "(uint160,int24,uint16,uint16,uint16,uint8,bool)"
    middle = devnet.call(pool, "slot0()", outputs=slot)[1] // SPACING * SPACING
    figures = {}

    def hold() -> int:
        portfolio.give(owner, "WETH", 10 * ETHER)
        portfolio.give(owner, "USDC", 30_000 * USDC)
        portfolio.act(owner, "hold(bytes32,address,uint256)", key, weth, 10 * ETHER)
        return portfolio.act(owner, "hold(bytes32,address,uint256)", key, usdc, 30_000 * USDC)

    mint = "mint(bytes32,int24,int24,uint256,uint256,uint256,uint256)"
    for name, width in (("1_nft", 100), ("2_nfts", 200)):
        figures["action_uniswap_v3_hold"] = hold()
        ticks = (middle - width * SPACING, middle + width * SPACING)
        figures[f"action_uniswap_v3_mint_{name}"] = portfolio.act(
            owner, mint, key, *ticks, 5 * ETHER, 15_000 * USDC, 1, 1
        )
        figures[f"report_uniswap_v3_{name}"] = portfolio.report(owner, key)
    ids = devnet.call(owner, "holdings(bytes32)", [key], "(uint256,uint256,uint64[])")[2]
    increase = ("increase(uint256,uint256,uint256,uint256,uint256)", ids[0], ETHER, 3_000 * USDC, 1, 1)
    figures["action_uniswap_v3_increase"] = portfolio.act(owner, *increase)
    portfolio.act(owner, "decrease(uint256,uint128,uint256,uint256)", ids[1], 10**12, 1, 1)
    figures["action_uniswap_v3_decrease"] = portfolio.act(
        owner, "decrease(uint256,uint128,uint256,uint256)", ids[1], ALL_LIQUIDITY, 1, 1
    )
    figures["action_uniswap_v3_collect_fees"] = portfolio.act(owner, "collectFees(uint256)", ids[1])
    figures["action_uniswap_v3_burn"] = portfolio.act(owner, "burn(uint256)", ids[1])
    figures["action_uniswap_v3_release"] = portfolio.act(
        owner, "release(bytes32,address,uint256)", key, weth, ETHER
    )
    held = devnet.call(owner, "holdings(bytes32)", [key], "(uint256,uint256,uint64[])")[:2]
    dollars = held[int(usdc.lower() > weth.lower())]
    figures["action_uniswap_v3_withdraw"] = portfolio.act(
        owner, "withdraw(bytes32,uint256)", key, dollars + 1_000 * USDC
    )
    figures["action_uniswap_v3_exit"] = portfolio.act(owner, "withdraw(bytes32,uint256)", key, EVERYTHING)
    return figures


def _swaps(portfolio: Portfolio) -> dict[str, int]:
    """Dollars for Ether, directly and through LiFi's diamond, and for Bitcoin over Ether."""
    devnet, uniswap = portfolio.devnet, portfolio.devnet.manifest["uniswap"]
    router, diamond = uniswap["swap_router"], _diamond(devnet, uniswap["swap_router"])
    handler = portfolio.deploy("SwapHandler", router, diamond.address)
    usdc, weth, wbtc = (portfolio.token(symbol) for symbol in ("USDC", "WETH", "WBTC"))
    _configure(devnet, handler, router, diamond)
    paths = {"1_hop": _path(usdc, weth), "2_hops": _path(usdc, weth, wbtc)}
    figures = {}
    for name, path in paths.items():
        for _ in range(2):  # the second time the portfolio has the token already
            portfolio.give(handler, "USDC", 3_000 * USDC)
            figures[f"swap_uniswap_v3_{name}"] = portfolio.act(
                handler, "swapUniswap(bytes,uint256,uint256)", path, 3_000 * USDC, 1
            )
    amount = 3_000 * USDC
    route = (paths["1_hop"], diamond.address, 2**64, amount, 0)
    inner = encode_call(_EXACT_INPUT, route)
    step = (router, router, usdc, weth, amount, inner, True)
    # Somewhat less than the first step brings.
    rest = ETHER * 998 // 1_000
    onward = encode_call(_EXACT_INPUT, (_path(weth, wbtc), diamond.address, 2**64, rest, 0))
    steps = [step, (router, router, weth, wbtc, rest, onward, False)]
    terms = (bytes(32), "omnikeeper", "", handler, 1)
    swaps = (
        ("single", weth, encode_call(_SINGLE, *terms, step)),
        ("multiple", wbtc, encode_call(_MULTIPLE, *terms, steps)),
    )
    for name, bought, quote in swaps:
        portfolio.give(handler, "USDC", amount)
        figures[f"swap_lifi_{name}"] = portfolio.act(
            handler, "swapLiFi(address,address,uint256,uint256,bytes)", usdc, bought, amount, 1, quote
        )
    # What the steps left in between.
    figures["action_swap_handler_collect"] = portfolio.act(handler, "collect(address)", weth)
    return figures


@dataclass(frozen=True)
class _Diamond:
    address: Address
    facet: Address


def _diamond(devnet: Devnet, router: str) -> _Diamond:
    """A LiFi diamond that may swap on Uniswap."""
    deployer = devnet.key("deployer")
    cutter = devnet.deploy(deployer, "DiamondCutFacet")
    diamond = devnet.deploy(deployer, "LiFiDiamond", [devnet.address("deployer"), cutter])
    facet, lists = (devnet.deploy(deployer, name) for name in ("GenericSwapFacet", "WhitelistManagerFacet"))
    allow = "setContractSelectorWhitelist(address,bytes4,bool)"
    loupe = devnet.deploy(deployer, "DiamondLoupeFacet")
    cuts = [
        (facet, 0, [Function(each).selector for each in (_SINGLE, _MULTIPLE)]),
        (lists, 0, [Function(allow).selector]),
        (loupe, 0, [Function("facetAddress(bytes4)").selector]),
    ]
    cut = encode_call("diamondCut((address,uint8,bytes4[])[],address,bytes)", cuts, NOBODY, b"")
    devnet.send(deployer, diamond, cut)
    devnet.send(deployer, diamond, encode_call(allow, router, Function(_EXACT_INPUT).selector, True))
    return _Diamond(diamond, facet)


def _configure(devnet: Devnet, handler: Address, router: str, diamond: _Diamond) -> None:
    """What the governor allows before the vault is sealed."""
    tokens, pools = devnet.manifest["tokens"], devnet.manifest["uniswap"]["pools"]
    code = bytes.fromhex(devnet.rpc("eth_getCode", diamond.facet, "latest")[2:])
    calls = [
        *(encode_call("listToken(address,uint256)", tokens[each]["address"], SLIPPAGE_BPS) for each in FEEDS),
        *(encode_call("allowPool(address)", pools[each]["address"]) for each in ("USDC/WETH", "WBTC/WETH")),
        encode_call("allowTarget(address,bytes4,address)", router, Function(_EXACT_INPUT).selector, router),
        *(
            encode_call("pinFacet(bytes4,bytes32)", Function(each).selector, keccak(code))
            for each in (_SINGLE, _MULTIPLE)
        ),
    ]
    for data in calls:
        devnet.send(devnet.key("governor"), handler, data, errors=["SwapHandler", "Registry"])


def _path(*tokens: Address) -> bytes:
    return FEE.to_bytes(3, "big").join(bytes.fromhex(each[2:]) for each in tokens)


def _key(address: str) -> bytes:
    return bytes(12) + bytes.fromhex(address[2:])


_ACTIONS = {
    "aave_v3": (
        "supply_first supply borrow_first borrow withdraw set_collateral repay_with_a_tokens repay "
        "repay_all exit claim_rewards set_e_mode"
    ),
    "morpho_blue": (
        "supply_collateral_first supply_collateral borrow_first borrow withdraw_collateral repay "
        "repay_all_shares supply_first supply withdraw exit collect"
    ),
    "metamorpho": "supply_first supply deposit withdraw redeem exit",
    "token": "supply_first supply withdraw",
    "swap_handler": "collect",
    "uniswap_v3": ("hold mint_1_nft mint_2_nfts increase decrease collect_fees burn release withdraw exit"),
}
_REPORTS = (
    "aave_v3_priced",
    "aave_v3_in_debt",
    "aave_v3_rewards",
    "morpho_blue_in_debt",
    "token",
    "uniswap_v3_1_nft",
    "uniswap_v3_2_nfts",
)
_SWAPS = ("uniswap_v3_1_hop", "uniswap_v3_2_hops", "lifi_single", "lifi_multiple")

METRICS = (
    *(
        Metric(f"gas.action_{connector}_{name}", "gas")
        for connector, names in _ACTIONS.items()
        for name in names.split()
    ),
    *(Metric(f"gas.swap_{name}", "gas") for name in _SWAPS),
    *(Metric(f"gas.report_{name}", "gas") for name in _REPORTS),
)
