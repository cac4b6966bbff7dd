"""Rewards claimed, and sold for the vault's asset, in one batch.

Pure. From the book and the venues to be harvested follow the sales, from these the quotes to ask for, and
from sales and quotes the calls: the better of two routes by what is signed as its least, less its gas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from keeper.connectors.base import EVERYTHING, Rewarded, at_venue
from keeper.connectors.token import TokenPosition
from keeper.errors import PlanError, PolicyError, ValuationError
from keeper.exposures import doubtful
from keeper.ledger.vault import overdue
from keeper.oracle.quote import Status
from keeper.planning.actions import CLAIM, SUPPLY, SWAP, SWAP_LIFI, SWAP_UNISWAP
from keeper.planning.calls import PlannedCall
from keeper.swap.check import CheckedQuote
from keeper.swap.models import SwapRequest
from keeper.swap.policy import SoldToken, SwapPolicy
from keeper.units import BPS, Address, mul_div_down, mul_div_up

if TYPE_CHECKING:
    from keeper.book import Book
    from keeper.planning.policy import Policy
    from keeper.swap.market import Market

UNISWAP_GAS: Final = 185_000
HOP_GAS: Final = 90_000
LIFI_GAS: Final = 340_000
COMMON_GAS: Final = 620_000
"""About what a swap of one hop, each further hop, a swap through LiFi, and what goes with either (claiming,
keeping, reading both) use: from receipts on a local chain."""


@dataclass(frozen=True)
class Claim:
    """All of `reward` at the account of the connector that `venue` belongs to."""

    venue: str
    reward: Address


@dataclass(frozen=True)
class Sale:
    """`amount` of a token, of which `held` are taken from its own venue, and the least that the oracle lets
    it bring, in the vault's asset."""

    name: str
    token: SoldToken
    held: int
    amount: int
    least: int


@dataclass(frozen=True)
class Offer:
    """A route: what is signed as its least, what its gas costs in the vault's asset, and its call."""

    route: str
    min_out: int
    cost: int
    call: PlannedCall

    @property
    def net(self) -> int:
        return self.min_out - self.cost

    def __str__(self) -> str:
        return f"{self.route} for at least {self.min_out:,}, gas worth {self.cost:,}"


@dataclass(frozen=True)
class Harvest:
    """What a harvest adds to a batch, and why so."""

    calls: tuple[PlannedCall, ...] = ()
    reason: str = ""


NOTHING: Final = Harvest()


def quote_requests(policy: Policy, sales: Sequence[Sale]) -> tuple[SwapRequest, ...]:
    """The quotes that these sales need of LiFi."""
    swap = policy.swap
    if swap is None or swap.lifi is None:
        return ()
    return tuple(
        SwapRequest(
            chain_id=policy.vault.chain_id,
            token_in=sale.token.address,
            token_out=policy.vault.asset,
            amount_in=sale.amount,
            sender=swap.handler,
            slippage_bps=swap.slippage_bps,
            exchanges=swap.lifi.exchanges,
        )
        for sale in sales
    )


def harvest(
    book: Book, policy: Policy, venues: Sequence[str], quotes: Iterable[CheckedQuote] = ()
) -> Harvest:
    """The calls that harvest `venues`, with checked quotes where there are any.

    Raises PolicyError without a section `swap`; PlanError where there is nothing to harvest, it costs more
    than it brings, no route reaches what the oracle asks for, a position or price is in doubt, or a quote is
    for none of the sales.
    """
    if not venues:
        _require_used(list(quotes))
        return NOTHING
    swap, market = _section(policy, book)
    claims, sales = wanted(book, policy, venues)
    left = list(quotes)
    calls, reasons = [_claim(book, policy, each) for each in claims], []
    for sale in sales:
        best, reason = _best(policy, swap, market, sale, _taken(left, sale))
        reasons.append(reason)
        calls += _sold(book, sale, best)
    _require_used(left)
    return Harvest(tuple(calls), " ".join(reasons))


def due(book: Book, policy: Policy) -> tuple[tuple[Claim, ...], tuple[Sale, ...]]:
    """(claims, sales) to be made by themselves: of the tokens of which a sale must bring, less its gas, the
    policy's `harvest.min_worth`. It is what has been earned since the last harvest that decides, and so
    nothing else has to say how long ago that was.

    A token at a price in doubt is left out, and so is one whose venue may not grow: a harvest keeps there
    what it does not sell, and the portfolio would refuse the batch."""
    if policy.harvest is None or overdue(book.accounting, book.params, book.at + policy.time.validity):
        return (), ()
    swap, market = _section(policy, book)
    doubt = doubtful(book.positions, book.isolated, book.at)
    sound = [each.ref.venue for each in book.positions if each.ref.venue not in doubt]
    earned = _earned(book, sound)
    claims: list[Claim] = []
    sales = []
    for name, token in sorted(swap.tokens.items()):
        own = [claim for claim in earned if claim.reward == token.address]
        held = _held(book, token)
        amount = held + sum(earned[claim] for claim in own)
        # A cap of 0 is that of a venue which is closed (`keeper.book`), or in doubt.
        if book.caps[token.venue] > 0 and _is_worth_it(policy, swap, market, token, amount):
            sales.append(Sale(name, token, held, amount, _least(market, name, token, amount)))
            claims += own
    return tuple(claims), tuple(sales)


def by_itself(book: Book, policy: Policy, quotes: Iterable[CheckedQuote] = ()) -> Harvest:
    """The harvest of what is due, for a batch of its own: what no route sells is claimed and kept if it is
    worth that, and left where it is otherwise.

    Raises PlanError for a quote that is for none of the sales.
    """
    left = list(quotes)
    claims, sales = due(book, policy)
    if not sales:
        _require_used(left)
        return NOTHING
    swap, market = _section(policy, book)
    calls: list[PlannedCall] = []
    reasons = []
    for sale in sales:
        own = [_claim(book, policy, each) for each in claims if each.reward == sale.token.address]
        try:
            best, reason = _best(policy, swap, market, sale, _taken(left, sale))
        except PlanError:
            fresh = sale.amount - sale.held
            if own and _is_worth_it(policy, swap, market, sale.token, fresh):
                calls += [*own, _kept(book, sale)]
                reasons.append(f"Keeps {fresh:,} of {sale.name}, which no route sells now.")
        else:
            calls += [*own, *_sold(book, sale, best)]
            reasons.append(reason)
    _require_used(left)
    return Harvest(tuple(calls), " ".join(reasons))


def _is_worth_it(policy: Policy, swap: SwapPolicy, market: Market, token: SoldToken, amount: int) -> bool:
    worth = market.prices.worth(token.address, amount)
    if not amount or policy.harvest is None or worth.status is not Status.OK:
        return False
    gas = UNISWAP_GAS + HOP_GAS * (len(token.path) - 1) if token.path else LIFI_GAS
    try:
        cost = _cost(policy, swap, market, gas)
    except ValuationError:
        return False
    return mul_div_down(worth.low, BPS - token.max_slippage_bps, BPS) - cost >= policy.harvest.min_worth


def _taken(left: list[CheckedQuote], sale: Sale) -> CheckedQuote | None:
    """The quote for the sale, taken from those that are left."""
    quote = next((each for each in left if _is_for(each, sale)), None)
    if quote is not None:
        left.remove(quote)
    return quote


def _sold(book: Book, sale: Sale, best: Offer) -> list[PlannedCall]:
    """What is held is taken, everything is sold, and what that leaves is kept."""
    ref, token = at_venue(book.positions, sale.token.venue).ref, sale.token.address
    taken = PlannedCall.withdraw(
        target=ref.address, token=token, venue=ref.venue, key=ref.key, assets=sale.held
    )
    return [*((taken,) if sale.held else ()), best.call, _kept(book, sale)]


def _kept(book: Book, sale: Sale) -> PlannedCall:
    """What has been earned since, and what a quote for a fixed amount leaves, stays at the token's venue."""
    ref = at_venue(book.positions, sale.token.venue).ref
    everything = {"key": ref.key, "assets": EVERYTHING}
    return PlannedCall.of(
        SUPPLY.name, target=ref.address, token=sale.token.address, venue=ref.venue, args=everything
    )


def direct_sale(book: Book, policy: Policy, token: Address, amount: int, earlier: int) -> PlannedCall:
    """The sale of `amount` of a token on the token's own path, whatever its gas, once `earlier` have been
    sold there in the same block.

    Raises PlanError where it falls short of what the oracle asks for, PolicyError where it may not be sold.
    """
    swap, market = _section(policy, book)
    sold = swap.sold(token)
    name = next(each for each, entry in swap.tokens.items() if entry is sold)
    sale = Sale(name, sold, 0, amount, _least(market, name, sold, amount))
    offer = _uniswap(policy, swap, market, sale, earlier)
    if offer is None:
        raise PlanError("No route brings what the oracle asks for", seen=f"{amount:,} of {name}")
    return offer.call


def wanted(book: Book, policy: Policy, venues: Sequence[str]) -> tuple[tuple[Claim, ...], tuple[Sale, ...]]:
    """(claims, sales) that harvesting `venues` comes to, by the names of the tokens. Raises as `harvest`."""
    swap, market = _section(policy, book)
    earned = _earned(book, venues)
    claims = [claim for claim in earned if claim.reward == policy.vault.asset]
    sales = []
    for name, token in sorted(swap.tokens.items()):
        own = tuple(claim for claim in earned if claim.reward == token.address)
        if not own and token.venue not in venues:
            continue
        held = _held(book, token)
        amount = held + sum(earned[claim] for claim in own)
        if amount:
            sales.append(Sale(name, token, held, amount, _least(market, name, token, amount)))
            claims += own
    if not claims and not sales:
        raise PlanError(
            "There is nothing to harvest",
            expected=f"something earned or held of {', '.join(sorted(swap.tokens))}",
            seen=", ".join(sorted({claim.reward for claim in earned})) or "nothing",
            where=", ".join(venues),
        )
    touched = {*venues, *(sale.token.venue for sale in sales)}
    if doubt := sorted(touched & set(doubtful(book.positions, book.isolated, book.at))):
        raise PlanError("A position in doubt is not harvested", where=", ".join(doubt))
    return tuple(claims), tuple(sales)


def _section(policy: Policy, book: Book) -> tuple[SwapPolicy, Market]:
    if policy.swap is None or book.market is None:
        raise PolicyError(
            "The policy lets nothing be sold, so there is nothing to harvest for",
            expected="a section swap",
            seen="none",
        )
    return policy.swap, book.market


def _earned(book: Book, venues: Sequence[str]) -> Mapping[Claim, int]:
    """What can be claimed at the book's block; once where venues share a connector's account."""
    found: dict[Claim, int] = {}
    seen: set[tuple[Address, Address]] = set()
    for venue in sorted(venues):
        position = at_venue(book.positions, venue)
        if not isinstance(position, Rewarded):
            continue
        for reward, amount in position.claimable(book.at).items():
            if (position.ref.address, reward) not in seen:
                seen.add((position.ref.address, reward))
                found[Claim(venue, reward)] = amount
    return found


def _held(book: Book, token: SoldToken) -> int:
    position = at_venue(book.positions, token.venue)
    return position.amount if isinstance(position, TokenPosition) else 0


def _least(market: Market, name: str, token: SoldToken, amount: int) -> int:
    worth = market.prices.worth(token.address, amount)
    if worth.status is not Status.OK:
        raise PlanError(
            "A token in doubt is not sold", expected=Status.OK.name, seen=worth.status.name, where=name
        )
    return max(1, mul_div_up(worth.low, BPS - token.max_slippage_bps, BPS))


def _claim(book: Book, policy: Policy, claim: Claim) -> PlannedCall:
    ref = at_venue(book.positions, claim.venue).ref
    return PlannedCall.of(
        CLAIM.name,
        target=ref.address,
        token=policy.vault.asset,
        venue=claim.venue,
        args={"reward": claim.reward},
    )


def _is_for(quote: CheckedQuote, sale: Sale) -> bool:
    return (quote.token_in, quote.amount_in) == (sale.token.address, sale.amount)


def _best(
    policy: Policy, swap: SwapPolicy, market: Market, sale: Sale, quote: CheckedQuote | None
) -> tuple[Offer, str]:
    """The route that leaves most, Uniswap where both leave the same, and why."""
    offers, absent = [], []
    for name, offer in (
        ("Uniswap", _uniswap(policy, swap, market, sale)),
        ("LiFi", None if quote is None else _lifi(policy, swap, market, quote)),
    ):
        if offer is None:
            absent.append(name)
        else:
            offers.append(offer)
    if not offers:
        raise PlanError(
            "No route brings what the oracle asks for",
            expected=f"at least {sale.least:,} for {sale.amount:,} of {sale.name}",
            seen=f"no offer of {' or '.join(absent)}",
            where=f"swap.tokens.{sale.name}",
        )
    best, *rest = sorted(offers, key=lambda each: -each.net)
    if best.net <= 0:
        raise PlanError(
            "The sale costs more than it brings",
            expected=f"more than {best.cost:,} of gas",
            seen=f"{best.min_out:,} for {sale.amount:,} of {sale.name}",
            hint="Wait until more has been earned.",
        )
    beside = [f"better after gas than {each}" for each in rest]
    beside += [f"no usable offer of {name}" for name in absent]
    return best, f"Sells {sale.amount:,} of {sale.name} through {best}; {', '.join(beside)}."


def _uniswap(policy: Policy, swap: SwapPolicy, market: Market, sale: Sale, earlier: int = 0) -> Offer | None:
    """The token's own path, at the pools' state of the block, behind what was sold `earlier`; None where it
    falls short of the oracle."""
    quoted = market.quoted(sale.token, earlier + sale.amount) - market.quoted(sale.token, earlier)
    likely = mul_div_down(quoted, BPS - swap.slippage_bps, BPS)
    if likely < sale.least:
        return None
    call = PlannedCall.of(
        SWAP_UNISWAP.name,
        target=swap.handler,
        token=sale.token.address,
        venue=SWAP,
        args={"path": sale.token.route, "amount_in": sale.amount, "min_out": likely},
    )
    gas = UNISWAP_GAS + HOP_GAS * (len(sale.token.path) - 1)
    return Offer("Uniswap", likely, _cost(policy, swap, market, gas), call)


def _lifi(policy: Policy, swap: SwapPolicy, market: Market, quote: CheckedQuote) -> Offer:
    call = PlannedCall.of(
        SWAP_LIFI.name,
        target=swap.handler,
        token=quote.token_in,
        venue=SWAP,
        args={
            "token_in": quote.token_in,
            "token_out": quote.token_out,
            "amount_in": quote.amount_in,
            "min_out": quote.min_out,
            "data": quote.data,
        },
    )
    return Offer(f"LiFi ({quote.tool})", quote.min_out, _cost(policy, swap, market, LIFI_GAS), call)


def _cost(policy: Policy, swap: SwapPolicy, market: Market, gas: int) -> int:
    tip = 0 if policy.fees is None else policy.fees.max_priority_fee_per_gas
    return market.cost(swap.native, COMMON_GAS + gas, tip)


def _require_used(quotes: Sequence[CheckedQuote]) -> None:
    for each in quotes:
        raise PlanError(
            "A quote that nothing rests on",
            expected="quotes for what is sold, one each",
            seen=f"{each.amount_in:,} of {each.token_in}",
        )
