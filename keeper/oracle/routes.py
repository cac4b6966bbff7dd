"""The policy's oracle section, the reads it asks for, and the prices they make.

Every price is worked out here from raw state: rounds, cumulatives, rates. What the contracts make of the same
state is read only to be compared; a difference is an error that names the source or the route.
"""

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, Final

from pydantic import Field, model_validator

from keeper.chain.call import Call
from keeper.config import StrictModel
from keeper.connectors.base import AddressField
from keeper.contracts import Contract, Function
from keeper.errors import PolicyError, ValuationError
from keeper.oracle.chainlink import ChainlinkPolicy
from keeper.oracle.checked import CheckedPolicy
from keeper.oracle.folding import Hops, addresses, check_ends, fold
from keeper.oracle.price_math import MAX_DECIMALS
from keeper.oracle.quote import ROUTE_SCALE, Prices, RouteRate, Status
from keeper.oracle.receipts import ATokenPolicy, ERC4626Policy, StakedEtherPolicy
from keeper.oracle.source import Fact, Names, Price, Read, Sight, TokenPolicy, no_price, require, told
from keeper.oracle.twap import TwapPolicy
from keeper.units import MAX_UINT256, Address

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

    router: AddressField
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
    sight = look(oracle, read, at)
    names = sight.names
    rates = {
        names.token(route.base): fold(route.base, route.quote, route.hops, sight)
        for route in oracle.routes
        if names.token(route.quote) == asset
    }
    return Prices(asset, rates)


def look(oracle: OraclePolicy, read: Read, at: int) -> Sight:
    """All sources at the block that was read, compared with policy and contracts. Raises as `prices`."""
    names = oracle.names
    for fact in _facts(oracle, names):
        require(fact, read, "oracle")
    for name, source in oracle.sources.items():
        source.check(names, read, f"oracle.sources.{name}")
    sight = Sight(names, read, at)
    for name, source in oracle.sources.items():
        _must_agree(f"oracle.sources.{name}", sight.price(name), _own_price(read, source.own_price))
    for route in oracle.routes:
        ours = fold(route.base, route.quote, route.hops, sight)
        theirs = _own_price(read, _own_value(oracle, route, names))
        _must_agree(f"oracle.routes.{route.base}/{route.quote}", ours, theirs)
    return sight


def _facts(oracle: OraclePolicy, names: Names) -> Iterator[Fact]:
    for name, token in oracle.tokens.items():
        if token.decimals is not None:
            yield Fact(f"tokens.{name}.decimals", _DECIMALS.at(token.address, owner=name), token.decimals)
    router = Contract(oracle.router, "OracleRouter")
    for number, route in enumerate(oracle.routes):
        hops = router.call("hops", names.token(route.base), names.token(route.quote))
        yield Fact(f"routes[{number}].hops", hops, tuple(addresses(route.hops, names)))


def _own_value(oracle: OraclePolicy, route: RoutePolicy, names: Names) -> Call[Any]:
    """The router's value of so much that it is the folded route itself, digit for digit."""
    router = Contract(oracle.router, "OracleRouter")
    return router.call("value", names.token(route.base), names.token(route.quote), ROUTE_SCALE)


def _own_price(read: Read, call: Call[Any]) -> Price:
    """What the contract says; without an answer it has no price, as its callers see it."""
    answer = told(read, call)
    if answer is None or answer[2] >= Status.UNAVAILABLE:
        return no_price()
    return Price(answer[0], answer[1], Status(answer[2]))


def _must_agree(where: str, ours: Price | RouteRate, theirs: Price) -> None:
    if (ours.low, ours.high, ours.status) != (theirs.low, theirs.high, theirs.status):
        raise ValuationError(
            "Our price differs from the contract's",
            expected=_shown(ours),
            seen=_shown(theirs),
            where=where,
            hint="Do not rebalance; find out which of the two is wrong.",
        )


def _shown(price: Price | RouteRate) -> str:
    high = "anything" if price.high == MAX_UINT256 else price.high
    return f"{price.low} to {high}, {price.status.name}"
