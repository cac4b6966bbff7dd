"""Reads of an Aave v3.6 pool, and what they say as values: reserves, an account, its rewards.

Stored state is what is read. The pool's own accrual (`balanceOf`, `getUserAccountData`) is only compared with
ours, and what params say of the pool and of our connector with what these say themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from keeper.chain.call import Call, CallFailure
from keeper.connectors.aave_account import NO_EMODE, Account, EMode, StreamKey
from keeper.connectors.aave_params import AaveParams, AccountParams, ReserveParams
from keeper.connectors.aave_pool import PoolAccount
from keeper.connectors.aave_reserve import RateCurve, Reserve, ReserveSettings
from keeper.connectors.aave_rewards import Stream
from keeper.connectors.base import PositionRef, Read, key_of, must_match, required
from keeper.contracts import Function
from keeper.errors import ValuationError
from keeper.units import Address

_RESERVE_DATA: Final = Function(
    "getReserveData(address)",
    "((uint256,uint128,uint128,uint128,uint128,uint128,uint40,uint16,address,address,address,address,"
    "uint128,uint128,uint128))",
)
_VIRTUAL_BALANCE: Final = Function("getVirtualUnderlyingBalance(address)", "(uint128)")
_DEFICIT: Final = Function("getReserveDeficit(address)", "(uint256)")
_RATE_DATA: Final = Function("getInterestRateDataBps(address)", "((uint16,uint32,uint32,uint32))")
_SCALED_TOTAL: Final = Function("scaledTotalSupply()", "(uint256)")
_SCALED_BALANCE: Final = Function("scaledBalanceOf(address)", "(uint256)")
_CONFIGURATION: Final = Function("getUserConfiguration(address)", "(uint256)")
_USER_EMODE: Final = Function("getUserEMode(address)", "(uint256)")
_EMODE_TERMS: Final = Function("getEModeCategoryCollateralConfig(uint8)", "((uint16,uint16,uint16))")
_EMODE_BITMAPS: Final = tuple(
    Function(f"getEModeCategory{kind}Bitmap(uint8)", "(uint128)")
    for kind in ("Collateral", "Borrowable", "Ltvzero")
)
_ACCOUNT_DATA: Final = Function(
    "getUserAccountData(address)", "(uint256,uint256,uint256,uint256,uint256,uint256)"
)
_PROVIDER: Final = Function("ADDRESSES_PROVIDER()", "(address)")
_ORACLE: Final = Function("getPriceOracle()", "(address)")
_SENTINEL: Final = Function("getPriceOracleSentinel()", "(address)")
_MAY_BORROW: Final = Function("isBorrowAllowed()", "(bool)")
_PRICE: Final = Function("getAssetPrice(address)", "(uint256)")
_POOL: Final = Function("pool()", "(address)")
_RECEIPT_OF: Final = Function("aTokenOf(bytes32)", "(address)")
_DEBT_OF: Final = Function("debtTokenOf(bytes32)", "(address)")
_MIN_HEALTH: Final = Function("minHealth()", "(uint256)")
_CONTROLLER: Final = Function("rewardsController()", "(address)")
_REWARD_DATA: Final = Function("getRewardsData(address,address)", "(uint256,uint256,uint256,uint256)")
_REWARD_INDEX: Final = Function("getUserAssetIndex(address,address,address)", "(uint256)")
_REWARD_DECIMALS: Final = Function("getAssetDecimals(address)", "(uint8)")
_UNCLAIMED: Final = Function("getUserRewards(address[],address,address)", "(uint256)")

NOBODY: Final = Address("0x" + "0" * 40)

Calls = Iterator[Call[Any]]


@lru_cache(maxsize=2**14)
def _at(function: Function, target: Address, *args: Any, owner: str) -> Call[Any]:
    """A call is made once: an account's are hundreds, and each is named when it is listed and when read."""
    return function.at(target, *args, owner=owner)


def reserve_calls(params: AaveParams, reserve: ReserveParams) -> tuple[Call[Any], ...]:
    """Stored state of a reserve."""
    return (
        _at(_RESERVE_DATA, params.pool, reserve.asset, owner="Pool"),
        _at(_VIRTUAL_BALANCE, params.pool, reserve.asset, owner="Pool"),
        _at(_DEFICIT, params.pool, reserve.asset, owner="Pool"),
        _at(_RATE_DATA, params.rate_strategy, reserve.asset, owner="RateStrategy"),
        _at(_SCALED_TOTAL, reserve.variable_debt_token, owner="VariableDebtToken"),
        _at(_SCALED_TOTAL, reserve.a_token, owner="AToken"),
    )


def read_reserve(params: AaveParams, reserve: ReserveParams, read: Read, ref: PositionRef) -> Reserve:
    """The reserve, its tokens, rate strategy and decimals compared with the params."""
    data, virtual_balance, deficit, rates, debt, supply = (
        required(read, call, ref) for call in reserve_calls(params, reserve)
    )
    must_match("aToken of the reserve", reserve.a_token, data[8], ref)
    must_match("Variable debt token of the reserve", reserve.variable_debt_token, data[10], ref)
    must_match("Rate strategy of the pool", params.rate_strategy, data[11], ref)
    settings = ReserveSettings.from_word(data[0])
    if reserve.decimals is not None:
        must_match(f"Decimals of the reserve {reserve.asset}", reserve.decimals, settings.decimals, ref)
    return Reserve(
        id=data[7],
        settings=settings,
        curve=RateCurve.from_bps(*rates),
        liquidity_index=data[1],
        liquidity_rate=data[2],
        variable_borrow_index=data[3],
        variable_borrow_rate=data[4],
        last_update=data[6],
        accrued_to_treasury=data[12],
        virtual_balance=virtual_balance,
        deficit=deficit,
        scaled_variable_debt=debt,
        scaled_supply=supply,
        isolation_debt=data[14],
    )


def scaled_balance(token: Address, holder: Address) -> Call[Any]:
    """Of an aToken or debt token."""
    return _at(_SCALED_BALANCE, token, holder, owner="AaveToken")


def configuration(params: AaveParams, holder: Address) -> Call[Any]:
    """The account's two bits for each reserve."""
    return _at(_CONFIGURATION, params.pool, holder, owner="Pool")


def account_calls(params: AaveParams, terms: AccountParams, holder: Address) -> Calls:
    """Everything of an account, and of all reserves that it may touch."""
    yield configuration(params, holder)
    yield _at(_USER_EMODE, params.pool, holder, owner="Pool")
    yield _at(_ACCOUNT_DATA, params.pool, holder, owner="Pool")
    for reserve in params.reserves:
        yield from reserve_calls(params, reserve)
        yield scaled_balance(reserve.a_token, holder)
        yield scaled_balance(reserve.variable_debt_token, holder)
        yield _at(_PRICE, terms.oracle, reserve.asset, owner="AaveOracle")
    for category in terms.e_modes:
        yield from _e_mode_calls(params, category)
    yield from (call for _, call, _ in _own_terms(params, terms, holder))
    if terms.sentinel is not None:
        yield _at(_MAY_BORROW, terms.sentinel, owner="PriceOracleSentinel")
    for asset, of_debt, reward in _streams(params, terms):
        yield from _stream_calls(params, terms, (asset, of_debt, reward), holder)


def read_account(
    params: AaveParams, terms: AccountParams, read: Read, ref: PositionRef, at: int
) -> PoolAccount:
    """The account and its reserves at a block of time `at`.

    Raises ValuationError when a read failed, when params say otherwise than the chain, when the account uses
    a reserve or a mode that params do not describe, or when its totals are not what the pool says.
    """
    holder = ref.address
    for what, call, expected in _own_terms(params, terms, holder):
        must_match(what, expected, required(read, call, ref), ref)
    reserves = {each.asset: read_reserve(params, each, read, ref) for each in params.reserves}
    bits = required(read, configuration(params, holder), ref)
    _require_described(bits, reserves, ref)
    account = Account(
        configuration=bits,
        mode=_read_mode(params, terms, read, ref),
        supplied=_balances(params, read, ref, of_debt=False),
        owed=_balances(params, read, ref, of_debt=True),
    )
    prices: dict[Address, int | None] = {}
    for asset in reserves:
        price = read(_at(_PRICE, terms.oracle, asset, owner="AaveOracle"))
        prices[asset] = None if isinstance(price, CallFailure) else price
    may_borrow = True
    if terms.sentinel is not None:
        may_borrow = required(read, _at(_MAY_BORROW, terms.sentinel, owner="PriceOracleSentinel"), ref)
    pool = PoolAccount(reserves, account, prices, may_borrow, ref.venue)
    _check_totals(params, pool, read, ref, at)
    return pool


def read_streams(
    params: AaveParams, terms: AccountParams, pool: PoolAccount, read: Read, ref: PositionRef, at: int
) -> Mapping[StreamKey, Stream]:
    """What the account earns of each reward; streams that could not be read are left out.

    What is owed of a stream since the holder was last counted is stored, but no view tells it: it is what may
    be claimed less what our own accrual has added to it since.
    """
    streams = {}
    for key in _streams(params, terms):
        asset, of_debt, _ = key
        answers = [read(call) for call in _stream_calls(params, terms, key, ref.address)]
        if any(isinstance(answer, CallFailure) for answer in answers):
            continue
        (index, emission, last_update, end), user_index, decimals, unclaimed = answers
        stream = Stream(10**decimals, index, emission, last_update, end, user_index, 0)
        accrued = unclaimed - stream.unclaimed(*pool.held(asset, of_debt), at)
        if accrued < 0:
            raise ValuationError(
                "The rewards controller counts less than has been earned by its own index",
                expected=f"at least {unclaimed - accrued}",
                seen=unclaimed,
                where=ref.venue,
            )
        streams[key] = Stream(10**decimals, index, emission, last_update, end, user_index, accrued)
    return streams


def _own_terms(
    params: AaveParams, terms: AccountParams, connector: Address
) -> Iterator[tuple[str, Call[Any], object]]:
    """(what, read, expected): what params say of the pool and of our connector."""
    yield "Pool of the connector", _at(_POOL, connector, owner="AaveV3Connector"), params.pool
    yield "Floor of health", _at(_MIN_HEALTH, connector, owner="AaveV3Connector"), terms.min_health
    controller = terms.rewards_controller if terms.rewards else None
    call = _at(_CONTROLLER, connector, owner="AaveV3Connector")
    yield "Rewards controller of the connector", call, controller or NOBODY
    provider = terms.addresses_provider
    yield "Addresses provider of the pool", _at(_PROVIDER, params.pool, owner="Pool"), provider
    yield "Price oracle of the pool", _at(_ORACLE, provider, owner="AddressesProvider"), terms.oracle
    sentinel = _at(_SENTINEL, provider, owner="AddressesProvider")
    yield "Price sentinel of the pool", sentinel, terms.sentinel or NOBODY
    for each in params.reserves:
        key = key_of(each.asset)
        receipt = _at(_RECEIPT_OF, connector, key, owner="AaveV3Connector")
        is_key = each.asset in terms.keys
        yield f"aToken of the connector's key {each.asset}", receipt, each.a_token if is_key else NOBODY
        debt = _at(_DEBT_OF, connector, key, owner="AaveV3Connector")
        lends = each.asset in terms.borrowable
        expected = each.variable_debt_token if lends else NOBODY
        yield f"Debt token of the connector's asset {each.asset}", debt, expected


def _require_described(bits: int, reserves: Mapping[Address, Reserve], ref: PositionRef) -> None:
    described = sum(3 << 2 * reserve.id for reserve in reserves.values())
    if bits & ~described:
        ids = [number for number in range(128) if (bits & ~described) >> 2 * number & 3]
        raise ValuationError(
            "The account uses reserves that params do not describe",
            expected=f"reserves {sorted(reserve.id for reserve in reserves.values())}",
            seen=f"reserves {ids}",
            where=ref.venue,
            hint="Add them to account.reserves: anybody may supply to an account what becomes collateral.",
        )


def _e_mode_calls(params: AaveParams, category: int) -> tuple[Call[Any], ...]:
    return tuple(_at(each, params.pool, category, owner="Pool") for each in (_EMODE_TERMS, *_EMODE_BITMAPS))


def _read_mode(params: AaveParams, terms: AccountParams, read: Read, ref: PositionRef) -> EMode:
    category = required(read, _at(_USER_EMODE, params.pool, ref.address, owner="Pool"), ref)
    if category == 0:
        return NO_EMODE
    if category not in terms.e_modes:
        raise ValuationError(
            "The account is in an efficiency mode that params do not list",
            expected=", ".join(str(each) for each in (0, *terms.e_modes)),
            seen=category,
            where=ref.venue,
            hint="Add it to account.e_modes.",
        )
    (ltv, threshold, _), *bitmaps = (required(read, call, ref) for call in _e_mode_calls(params, category))
    return EMode(category, ltv, threshold, *bitmaps)


def _balances(params: AaveParams, read: Read, ref: PositionRef, *, of_debt: bool) -> dict[Address, int]:
    """Scaled balances by asset, without those that are 0."""
    found = {}
    for each in params.reserves:
        token = each.variable_debt_token if of_debt else each.a_token
        if scaled := required(read, scaled_balance(token, ref.address), ref):
            found[each.asset] = scaled
    return found


def _check_totals(params: AaveParams, pool: PoolAccount, read: Read, ref: PositionRef, at: int) -> None:
    """Our totals of the account against the pool's own; both may miss a price."""
    seen = read(_at(_ACCOUNT_DATA, params.pool, ref.address, owner="Pool"))
    data = pool.data(*pool.balances(at))
    ours = None
    if data is not None:
        ours = (data.collateral, data.debt, data.available, data.threshold, data.ltv, data.health)
    must_match("Account data of the pool", ours, None if isinstance(seen, CallFailure) else seen, ref)


def _streams(params: AaveParams, terms: AccountParams) -> Iterator[StreamKey]:
    for key in terms.keys:
        for asset, of_debt in params.rewarded(key):
            for reward in terms.rewards:
                yield asset, of_debt, reward


def _stream_calls(
    params: AaveParams, terms: AccountParams, stream: StreamKey, holder: Address
) -> tuple[Call[Any], ...]:
    asset, of_debt, reward = stream
    controller = terms.rewards_controller or NOBODY
    reserve = next(each for each in params.reserves if each.asset == asset)
    token = reserve.variable_debt_token if of_debt else reserve.a_token
    return (
        _at(_REWARD_DATA, controller, token, reward, owner="RewardsController"),
        _at(_REWARD_INDEX, controller, holder, token, reward, owner="RewardsController"),
        _at(_REWARD_DECIMALS, controller, token, owner="RewardsController"),
        _at(_UNCLAIMED, controller, (token,), holder, reward, owner="RewardsController"),
    )
