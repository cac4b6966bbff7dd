"""A swap handler and the local LiFi service on a real chain, and what a signer expects of a quote there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_hash.auto import keccak

from keeper.clock import FixedClock
from keeper.contracts import encode_call, parse_revert
from keeper.errors import RpcError
from keeper.simulation.devnet import Devnet
from keeper.simulation.lifi_diamond import LocalLiFi
from keeper.simulation.lifi_process import LiFiService
from keeper.simulation.lifi_quotes import EXCHANGE, FEE_COLLECTION
from keeper.simulation.vault import deploy_core, deploy_oracle, govern
from keeper.swap.check import CheckedQuote, Expected
from keeper.swap.client import LiFi, LiFiConfig
from keeper.swap.deployments import MULTIPLE, SINGLE
from keeper.swap.models import ReceivedQuote, SwapRequest
from keeper.units import MAX_UINT256, Address

DATA = Path(__file__).parent / "data"
USDC = 10**6
AMOUNT = 3_000 * USDC
SLIPPAGE_BPS = 50
FEE_CAP_BPS = 30
MAX_AGE = 60
ALLOWED_BPS = 150
"""What a swap may lose against the oracle."""
FEEDS = {"WETH": "ETH/USD", "WBTC": "BTC/USD", "USDT": "USDT/USD", "DAI": "DAI/USD"}
SWAP_LIFI = "swapLiFi(address,address,uint256,uint256,bytes)"
GAS = 5_000_000


@dataclass(frozen=True)
class Stage:
    """Everything on one chain. The portfolio is spoken for."""

    devnet: Devnet
    service: LiFiService
    lifi: LocalLiFi
    portfolio: Address
    handler: Address
    oracle: Address

    def token(self, symbol: str) -> Address:
        return Address(self.devnet.manifest["tokens"][symbol]["address"])

    def now(self) -> int:
        return int(self.devnet.block()["timestamp"], 16)

    def balance(self, symbol: str, account: str) -> int:
        held: int = self.devnet.call(self.token(symbol), "balanceOf(address)", [account], "(uint256)")
        return held

    def give(self, symbol: str, amount: int) -> None:
        """Tokens at the handler, as after a push of the portfolio."""
        data = encode_call("mint(address,uint256)", self.handler, amount)
        self.devnet.send(self.devnet.key("deployer"), self.token(symbol), data)

    def request(self, amount: int = AMOUNT, sold: str = "USDC", bought: str = "WETH") -> SwapRequest:
        return SwapRequest(
            self.devnet.chain_id,
            self.token(sold),
            self.token(bought),
            amount,
            self.handler,
            SLIPPAGE_BPS,
        )

    def client(self, folder: Path, **changed: Any) -> LiFi:
        config = {"url": self.service.url, "budget_file": folder / "budget.json", "wait_milliseconds": 0}
        return LiFi(LiFiConfig(**{**config, **changed}), FixedClock(self.now()))

    def expected(self, request: SwapRequest, quote: ReceivedQuote, min_out: int) -> Expected:
        # No ceiling: what promises too much has to end at the contract as well.
        return Expected(
            chain_id=request.chain_id,
            diamond=self.lifi.deployment.diamond,
            handler=self.handler,
            token_in=Address(request.token_in),
            token_out=Address(request.token_out),
            amount_in=request.amount_in,
            min_out=min_out,
            max_out=MAX_UINT256,
            max_fee_bps=FEE_CAP_BPS,
            tools=frozenset({EXCHANGE, FEE_COLLECTION}),
            targets=self.lifi.targets,
            observed_at=quote.observed_at,
            now=self.now(),
            max_age=MAX_AGE,
        )

    def swap(self, checked: CheckedQuote) -> bool:
        """Executes it as the portfolio; False when it reverts."""
        return self.act(_order(checked))

    def act(self, data: bytes) -> bool:
        request = {
            "from": self.portfolio,
            "to": self.handler,
            "data": "0x" + data.hex(),
            "gas": hex(GAS),
        }
        return bool(self.devnet.rpc("eth_sendTransactionSync", request)["status"] == "0x1")

    def refusal(self, checked: CheckedQuote) -> str:
        """What the handler would say to it, "" where it would do as told."""
        request = {"from": self.portfolio, "to": self.handler, "data": "0x" + _order(checked).hex()}
        try:
            self.devnet.rpc("eth_call", request, "latest")
        except RpcError as error:
            return parse_revert(bytes.fromhex(str(error.data)[2:]), "SwapHandler", "GenericSwapFacet").name
        return ""


def _order(checked: CheckedQuote) -> bytes:
    arguments = (checked.token_in, checked.token_out, checked.amount_in, checked.min_out, checked.data)
    return encode_call(SWAP_LIFI, *arguments)


@contextmanager
def staged() -> Iterator[Stage]:
    """A fresh chain with a vault, its swap handler allowed what the local quotes need, and the service."""
    with Devnet() as devnet:
        core = deploy_core(devnet)
        oracle = deploy_oracle(devnet, FEEDS).router
        govern(devnet, core, "setOracle", core.vault, oracle)
        devnet.rpc("anvil_impersonateAccount", core.portfolio)
        devnet.rpc("anvil_setBalance", core.portfolio, hex(10**20))
        with LiFiService([devnet]) as service:
            lifi = service.contracts[devnet.chain_id]
            arguments = [core.portfolio, lifi.router, lifi.deployment.diamond]
            handler = devnet.deploy(devnet.key("deployer"), "SwapHandler", arguments)
            stage = Stage(devnet, service, lifi, core.portfolio, handler, oracle)
            _configure(stage)
            yield stage


def _configure(stage: Stage) -> None:
    devnet = stage.devnet
    facet = stage.lifi.deployment.generic_swap_facet
    code_hash = keccak(bytes.fromhex(devnet.rpc("eth_getCode", facet, "latest")[2:]))
    calls = [encode_call("listToken(address,uint256)", stage.token(each), ALLOWED_BPS) for each in FEEDS]
    for pool in devnet.manifest["uniswap"]["pools"].values():
        if set(pool["symbols"]) <= {*FEEDS, "USDC"}:
            calls.append(encode_call("allowPool(address)", pool["address"]))
    for target, allowed in stage.lifi.targets:
        for selector in allowed.selectors:
            calls.append(
                encode_call("allowTarget(address,bytes4,address)", target, selector, allowed.spender)
            )
    for function in (SINGLE, MULTIPLE):
        calls.append(encode_call("pinFacet(bytes4,bytes32)", function.selector, code_hash))
    for data in calls:
        devnet.send(devnet.key("governor"), stage.handler, data, errors=["SwapHandler", "Registry"])
