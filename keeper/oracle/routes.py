"""The policy's oracle section, the reads it asks for, and the prices they make.

Every price is worked out here from raw state: rounds, cumulatives, rates. What the contracts make of the same
state is read only to be compared; a difference is an error that names the source or the route (for the one
exception see `keeper.oracle.source.agreed`).
"""

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, Final, NamedTuple

from pydantic import Field, model_validator

from keeper.chain.call import Call
from keeper.config import CheckedAddress, StrictModel
from keeper.contracts import Function
from keeper.errors import PolicyError
from keeper.oracle.chainlink import ChainlinkPolicy
from keeper.oracle.checked import CheckedPolicy
from keeper.oracle.folding import Hops, addresses, check_ends, fold
from keeper.oracle.price_math import MAX_DECIMALS
from keeper.oracle.quote import ROUTE_SCALE, Prices, RouteRate
from keeper.oracle.receipts import ATokenPolicy, ERC4626Policy, StakedEtherPolicy
from keeper.oracle.source import (
    Fact,
    Names,
    Price,
    Read,
    Sight,
    TokenPolicy,
    agreed,
    contract_call,
    own_price,
    require,
)
from keeper.oracle.twap import TwapPolicy
from keeper.units import Address

_DECIMALS: Final = Function("decimals()", "(uint256)")

AnySource = Annotated[
    ChainlinkPolicy | TwapPolicy | CheckedPolicy | ERC4626Policy | StakedEtherPolicy | ATokenPolicy,
    Field(discriminator="kind"),
]


class RoutePolicy(StrictModel):
    """How the router gets from `base` to `quote`, tokens by their names here."""

    base: str
    quote: str
    hops: Hops


class OraclePolicy(StrictModel):
    """Which prices are believed: the vault's router, and all that it is made of. Tokens and sources go by
    names of this section, those of tokens being their symbols."""

    router: CheckedAddress
    tokens: dict[str, TokenPolicy]
    sources: dict[str, AnySource]
    routes: tuple[RoutePolicy, ...]

    @model_validator(mode="after")
    def _consistent(self) -> "OraclePolicy":
        names = self.names
        for name, token in self.tokens.items():
            if token.decimals is not None and not 0 <= token.decimals <= MAX_DECIMALS:
                raise ValueError(f"tokens.{name}.decimals: expected 0 to {MAX_DECIMALS}")
        try:
            self._check_names(names)
        except PolicyError as error:
            raise ValueError(str(error)) from error
        pairs = [(route.base, route.quote) for route in self.routes]
        if len(set(pairs)) != len(pairs):
            raise ValueError("a route is listed twice")
        return self

    def _check_names(self, names: Names) -> None:
        for source in self.sources.values():
            names.token(source.base)
            names.token(source.quote)
            for needed in source.needs():
                names.source(needed)
        try:
            TopologicalSorter({name: each.needs() for name, each in self.sources.items()}).prepare()
        except CycleError as error:
            raise ValueError(f"sources rest on each other: {' on '.join(error.args[1])}") from error
        for name, source in self.sources.items():
            if isinstance(source, CheckedPolicy):
                _check_checked(name, source, names)
            elif isinstance(source, ChainlinkPolicy):
                _check_second(name, source, names)
            elif isinstance(source, TwapPolicy | ERC4626Policy):
                _require_decimals(source.base, source.quote, names)
        for route in self.routes:
            check_ends(route.base, route.quote, route.hops, names)
            _require_decimals(route.base, route.quote, names)

    @property
    def names(self) -> Names:
        return Names(self.tokens, self.sources)

    def route(self, base: Address, quote: Address) -> RoutePolicy | None:
        """The route between two tokens by address, if there is one."""
        names = self.names
        for route in self.routes:
            if (names.token(route.base), names.token(route.quote)) == (base, quote):
                return route
        return None


def _check_checked(name: str, source: CheckedPolicy, names: Names) -> None:
    check_ends(source.base, source.quote, source.hops, names)
    market = names.source(source.market)
    if not isinstance(market, TwapPolicy) or (market.base, market.quote) != (source.base, source.quote):
        raise ValueError(f"sources.{name}.market is no uniswap_v3_twap of {source.base}/{source.quote}")


def _check_second(name: str, source: ChainlinkPolicy, names: Names) -> None:
    if not source.cross_check:
        return
    second = names.source(source.cross_check)
    if (second.base, second.quote) != (source.base, source.quote) or not source.tolerance_bps:
        raise ValueError(f"sources.{name}.cross_check needs the same pair and a tolerance_bps")


def _require_decimals(base: str, quote: str, names: Names) -> None:
    names.decimals(base)
    names.decimals(quote)


def calls(oracle: OraclePolicy) -> tuple[Call[Any], ...]:
    """Every read that `prices` makes."""
    names = oracle.names
    facts = (fact.call for fact in _facts(oracle, names))
    sources = (
        call
        for source in oracle.sources.values()
        for call in (*source.state(), source.own_price, *(fact.call for fact in source.facts(names)))
    )
    return (*facts, *sources, *(_own_value(oracle, route, names) for route in oracle.routes))


def prices(oracle: OraclePolicy, asset: Address, read: Read, at: int) -> Prices:
    """What tokens are worth in `asset` in the block of time `at` that was read.

    Raises PolicyError naming the field in which the chain and the policy differ, and ValuationError naming
    the source or route of which the contract makes another price than we do.
    """
    view = look(oracle, read, at)
    names = view.sight.names
    rates = {
        names.token(route.base): rate
        for route, rate in zip(oracle.routes, view.rates, strict=True)
        if names.token(route.quote) == asset
    }
    return Prices(asset, rates)


class View(NamedTuple):
    """All sources at one block, and the policy's routes, folded, in its order."""

    sight: Sight
    rates: tuple[RouteRate, ...]


def look(oracle: OraclePolicy, read: Read, at: int) -> View:
    """All prices at the block that was read, compared with policy and contracts. Raises as `prices`."""
    sight = Sight(oracle.names, read, at)
    for fact in _facts(oracle, sight.names):
        require(fact, sight.read, "oracle")
    for name, source in oracle.sources.items():
        source.check(sight.names, sight.read, f"oracle.sources.{name}")
    for name in oracle.sources:
        sight.price(name)
    return View(sight, tuple(_rate(oracle, route, sight) for route in oracle.routes))


def _rate(oracle: OraclePolicy, route: RoutePolicy, sight: Sight) -> RouteRate:
    ours = fold(route.base, route.quote, route.hops, sight)
    theirs = own_price(sight.read, _own_value(oracle, route, sight.names))
    where = f"oracle.routes.{route.base}/{route.quote}"
    settled = agreed(where, Price(ours.low, ours.high, ours.status), theirs)
    return RouteRate(settled.low, settled.high, settled.status)


def _facts(oracle: OraclePolicy, names: Names) -> Iterator[Fact]:
    for name, token in oracle.tokens.items():
        if token.decimals is not None:
            yield Fact(f"tokens.{name}.decimals", _DECIMALS.at(token.address, owner=name), token.decimals)
    for number, route in enumerate(oracle.routes):
        ends = names.token(route.base), names.token(route.quote)
        hops = contract_call(oracle.router, "OracleRouter", "hops", *ends)
        yield Fact(f"routes[{number}].hops", hops, tuple(addresses(route.hops, names)))


def _own_value(oracle: OraclePolicy, route: RoutePolicy, names: Names) -> Call[Any]:
    """The router's value of so much that it is the folded route itself, digit for digit."""
    ends = names.token(route.base), names.token(route.quote)
    return contract_call(oracle.router, "OracleRouter", "value", *ends, ROUTE_SCALE)
