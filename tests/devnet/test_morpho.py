"""The adaptive rate model and the MetaMorpho vault, against independent arithmetic."""

import pytest

from keeper.contracts import encode_call
from keeper.errors import RevertError
from keeper.simulation.devnet import Devnet
from keeper.simulation.market import MarketAgent
from keeper.units import WAD

from . import adaptive_curve as model

USDC = 10**6
PARAMS = "(address,address,address,address,uint256)"
MARKET = "(uint128,uint128,uint128,uint128,uint128,uint128)"


def _params(chain: Devnet, name: str) -> tuple[str, str, str, str, int]:
    market = chain.manifest["morpho"]["markets"][name]
    return (
        market["loan_token"],
        market["collateral_token"],
        market["oracle"],
        market["irm"],
        market["lltv"],
    )


def _id(chain: Devnet, name: str) -> bytes:
    return bytes.fromhex(chain.manifest["morpho"]["markets"][name]["id"][2:])


def _rate_at_target(chain: Devnet, name: str) -> int:
    irm = chain.manifest["morpho"]["irm"]
    return int(chain.call(irm, "rateAtTarget(bytes32)", [_id(chain, name)], "(int256)"))


@pytest.mark.parametrize("elapsed", [0, 1, 12, 3_600, 86_400, 30 * 86_400, 3 * 365 * 86_400])
@pytest.mark.parametrize("borrowed", [0, 1, 450_000, 899_999, 900_000, 900_001, 950_000, 1_000_000])
def test_the_rate_model_follows_the_published_formula(devnet: Devnet, borrowed: int, elapsed: int) -> None:
    irm, start = devnet.manifest["morpho"]["irm"], _rate_at_target(devnet, "wstETH/USDC")
    now = int(devnet.block()["timestamp"], 16)
    state = (1_000_000, 10**12, borrowed, 10**12, now - elapsed, 0)
    rate = devnet.call(
        irm,
        f"borrowRateView({PARAMS},{MARKET})",
        [_params(devnet, "wstETH/USDC"), state],
        "(uint256)",
    )
    assert rate == model.borrow_rate(start, 1_000_000, borrowed, elapsed)


def test_an_unknown_market_starts_at_four_percent_at_target(devnet: Devnet) -> None:
    irm, zero = devnet.manifest["morpho"]["irm"], "0x" + "00" * 20
    state = (100, 100, 90, 90, int(devnet.block()["timestamp"], 16), 0)
    rate = devnet.call(
        irm, f"borrowRateView({PARAMS},{MARKET})", [(zero, zero, zero, zero, 0), state], "(uint256)"
    )
    assert rate == 4 * 10**16 // (365 * 86_400)


@pytest.mark.parametrize("x", [-5 * WAD, -WAD, -WAD // 3, 0, WAD // 3, WAD, 2 * WAD])
def test_the_model_itself_is_within_its_known_error_of_the_exponential(x: int) -> None:
    exact = model.exact_exponential(x)
    assert abs(model.exponential(x) - exact * WAD) <= exact * WAD / 100


def test_using_a_market_stores_where_the_rate_has_moved(fresh_devnet: Devnet) -> None:
    chain, name = fresh_devnet, "wstETH/USDC"
    address = chain.manifest["morpho"]["address"]
    before = _rate_at_target(chain, name)
    state = chain.call(address, "market(bytes32)", [_id(chain, name)], MARKET)
    chain.warp(86_400)
    chain.send(chain.key("agent"), address, encode_call(f"accrueInterest({PARAMS})", _params(chain, name)))
    elapsed = int(chain.block()["timestamp"], 16) - state[4]
    growth = model.SPEED * model.distance(state[0], state[2]) // WAD * elapsed
    assert _rate_at_target(chain, name) == model.moved(before, growth) != before


def test_only_morpho_may_move_the_rate(devnet: Devnet) -> None:
    state = (100, 100, 90, 90, 0, 0)
    call = encode_call(f"borrowRate({PARAMS},{MARKET})", _params(devnet, "wstETH/USDC"), state)
    with pytest.raises(RevertError):
        devnet.send(devnet.key("agent"), devnet.manifest["morpho"]["irm"], call)


def test_a_metamorpho_deposit_comes_back_with_interest(fresh_devnet: Devnet) -> None:
    chain, vault = fresh_devnet, fresh_devnet.manifest["metamorpho"]["vault"]
    usdc, user = chain.manifest["tokens"]["USDC"]["address"], chain.address("user1")
    amount = 1_000_000 * USDC
    chain.send(chain.key("user1"), usdc, encode_call("approve(address,uint256)", vault, amount))
    chain.send(chain.key("user1"), vault, encode_call("deposit(uint256,address)", amount, user))
    shares = chain.call(vault, "balanceOf(address)", [user], "(uint256)")
    at_once = chain.call(vault, "previewRedeem(uint256)", [shares], "(uint256)")
    assert amount - 2 <= at_once <= amount
    chain.warp(30 * 86_400)
    before = chain.call(usdc, "balanceOf(address)", [user], "(uint256)")
    chain.send(chain.key("user1"), vault, encode_call("redeem(uint256,address,address)", shares, user, user))
    gained = chain.call(usdc, "balanceOf(address)", [user], "(uint256)") - before - amount
    assert amount * 2 // 1_000 < gained < amount * 8 // 1_000
    assert chain.call(vault, "balanceOf(address)", [user], "(uint256)") == 0


def test_metamorpho_charges_its_fee_on_growth_only(fresh_devnet: Devnet) -> None:
    chain, vault = fresh_devnet, fresh_devnet.manifest["metamorpho"]["vault"]
    usdc, owner = chain.manifest["tokens"]["USDC"]["address"], chain.address("treasury")
    chain.send(chain.key("user1"), usdc, encode_call("approve(address,uint256)", vault, 2 * USDC))
    deposit = encode_call("deposit(uint256,address)", USDC, chain.address("user1"))
    chain.send(chain.key("user1"), vault, deposit)
    last = chain.call(vault, "lastTotalAssets()", [], "(uint256)")
    supply = chain.call(vault, "totalSupply()", [], "(uint256)")
    held = chain.call(vault, "balanceOf(address)", [owner], "(uint256)")
    chain.warp(7 * 86_400)
    chain.send(chain.key("user1"), vault, deposit)
    total = chain.call(vault, "lastTotalAssets()", [], "(uint256)") - USDC
    fee_assets = (total - last) * chain.manifest["metamorpho"]["fee_wad"] // WAD
    fee_shares = fee_assets * (supply + 10**12) // (total - fee_assets + 1)
    assert chain.call(vault, "balanceOf(address)", [owner], "(uint256)") - held == fee_shares > 0


def test_metamorpho_refuses_more_than_its_caps(fresh_devnet: Devnet) -> None:
    chain, vault = fresh_devnet, fresh_devnet.manifest["metamorpho"]["vault"]
    usdc, lender = chain.manifest["tokens"]["USDC"]["address"], chain.address("lender")
    room = chain.call(vault, "maxDeposit(address)", [lender], "(uint256)")
    assert chain.call(usdc, "balanceOf(address)", [lender], "(uint256)") > room > 0
    with pytest.raises(RevertError, match="AllCapsReached") as refused:
        chain.send(
            chain.key("lender"),
            vault,
            encode_call("deposit(uint256,address)", room + 1_000 * USDC, lender),
            errors=["MetaMorpho"],
        )
    assert refused.value.exit_code == 6
    chain.send(
        chain.key("lender"), vault, encode_call("deposit(uint256,address)", room - 1_000 * USDC, lender)
    )


def test_metamorpho_redeems_no_more_than_its_markets_can_pay(fresh_devnet: Devnet) -> None:
    chain, vault = fresh_devnet, fresh_devnet.manifest["metamorpho"]["vault"]
    lender = chain.address("lender")
    most = chain.call(vault, "maxWithdraw(address)", [lender], "(uint256)")
    held = chain.call(vault, "balanceOf(address)", [lender], "(uint256)")
    assert most < chain.call(vault, "convertToAssets(uint256)", [held], "(uint256)")
    redeem = encode_call("redeem(uint256,address,address)", held, lender, lender)
    with pytest.raises(RevertError, match="NotEnoughLiquidity"):
        chain.send(chain.key("lender"), vault, redeem, errors=["MetaMorpho"])


def test_the_market_agent_moves_the_rates(fresh_devnet: Devnet) -> None:
    chain, agent = fresh_devnet, MarketAgent(fresh_devnet, 7)
    reserve = chain.manifest["aave"]["reserves"]["USDC"]["variable_debt_token"]
    before = chain.call(reserve, "scaledTotalSupply()", [], "(uint256)")
    receipts = [agent.step() for _ in range(25)]
    assert all(receipt["status"] == "0x1" for receipt in receipts)
    assert len({receipt["to"] for receipt in receipts}) > 3
    assert chain.call(reserve, "scaledTotalSupply()", [], "(uint256)") != before


def test_the_same_seed_makes_the_same_market(built_chain: object) -> None:
    hashes = []
    for seed in (3, 3, 4):
        with Devnet() as chain:
            agent = MarketAgent(chain, seed)
            for _ in range(6):
                agent.step()
            hashes.append(chain.block()["hash"])
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_whale_borrows_and_repays_everything(fresh_devnet: Devnet) -> None:
    agent = MarketAgent(fresh_devnet, 1)
    agent.whale_borrow(20_000_000 * USDC)
    fresh_devnet.warp(86_400)
    assert agent.aave_debt("whale", "USDC") > 20_000_000 * USDC
    agent.whale_repay()
    assert agent.aave_debt("whale", "USDC") == 0
