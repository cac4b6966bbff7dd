"""Why a token costs what it costs: its route hop by hop, with what each source saw."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from keeper.errors import PolicyError
from keeper.oracle.folding import HopPolicy, hop_price
from keeper.oracle.quote import Quote, Status
from keeper.oracle.routes import OraclePolicy, RoutePolicy, look
from keeper.oracle.source import Price, Read, Sight
from keeper.units import BPS, Address


@dataclass(frozen=True)
class Step:
    """One source in the direction of its route. `price` is in wad; `parts` are the sources it reads."""

    name: str
    kind: str
    address: Address
    base: str
    quote: str
    inverse: bool
    price: Price
    details: dict[str, Any]
    parts: tuple["Step", ...]


@dataclass(frozen=True)
class Explanation:
    """What one whole token is worth, in the quote's smallest unit, and why."""

    base: str
    quote: str
    decimals: int
    worth: Quote
    steps: tuple[Step, ...]

    @property
    def spread_bps(self) -> int | None:
        """Width of the range, of its low end; None without a low end."""
        low, high = self.worth.low, self.worth.high
        return (high - low) * BPS // low if low else None

    @property
    def verdict(self) -> str:
        """What the price may be used for."""
        match self.worth.status:
            case Status.OK:
                return "usable"
            case Status.UNAVAILABLE:
                return "no price: positions in it are impaired"
            case _:
                return "not for new risk: exits are paid at the low end, nobody mints"

    @property
    def why(self) -> tuple[str, ...]:
        """Every fault on the way, each once."""
        return tuple(dict.fromkeys(f"{step.name}: {why}" for step in self.steps for why in step.price.why))


def find_route(oracle: OraclePolicy, token: str, asset: Address) -> RoutePolicy:
    """The route of a token, by symbol or address, to `asset`. Raises PolicyError naming those there are."""
    names = oracle.names
    chosen = {
        name for name, each in oracle.tokens.items() if token.lower() in (name.lower(), each.address.lower())
    }
    for route in oracle.routes:
        if route.base in chosen and names.token(route.quote) == asset:
            return route
    if any(names.token(name) == asset for name in chosen):
        raise PolicyError("This is the vault's own asset: everything is priced in it", seen=token)
    priced = sorted(route.base for route in oracle.routes if names.token(route.quote) == asset)
    raise PolicyError(
        "The policy has no route for this token", expected=" or ".join(priced) or "a route", seen=token
    )


def explain(oracle: OraclePolicy, route: RoutePolicy, read: Read, at: int) -> Explanation:
    """Raises as `keeper.oracle.routes.prices`."""
    view = look(oracle, read, at)
    names = view.sight.names
    rate = view.rates[oracle.routes.index(route)]
    return Explanation(
        base=route.base,
        quote=route.quote,
        decimals=names.decimals(route.quote),
        worth=rate.worth(10 ** names.decimals(route.base)),
        steps=_steps(route.hops, view.sight),
    )


def _steps(hops: Iterable[HopPolicy], sight: Sight) -> tuple[Step, ...]:
    return tuple(_step(hop, sight) for hop in hops)


def _step(hop: HopPolicy, sight: Sight) -> Step:
    source = sight.names.source(hop.source)
    base, quote = (source.quote, source.base) if hop.inverse else (source.base, source.quote)
    return Step(
        name=hop.source,
        kind=source.kind,
        address=source.address,
        base=base,
        quote=quote,
        inverse=hop.inverse,
        price=hop_price(hop, sight),
        details=source.details(sight),
        parts=_steps((HopPolicy(source=name) for name in source.needs()), sight),
    )
