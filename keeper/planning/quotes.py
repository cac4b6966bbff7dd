"""LiFi's quotes as evidence: asked for by the proposer, checked by everyone, fetched again by nobody."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from keeper.contracts import address
from keeper.errors import ConfigError, DecodeError, PlanError, PolicyError, RefusedError
from keeper.planning.evidence import Evidence, EvidenceKind
from keeper.planning.strategy import Allocation
from keeper.swap import check
from keeper.swap.calldata import refuse
from keeper.swap.check import CheckedQuote, Expected
from keeper.swap.models import Quote, ReceivedQuote, parse
from keeper.units import BPS, mul_div_down, mul_div_up

if TYPE_CHECKING:
    from keeper.book import Book
    from keeper.planning.policy import Policy

SOURCE: Final = "LiFi"


class QuoteChecker:
    """How plans are checked that rest on quotes (entry point `quote` of the group `keeper.evidence`)."""

    def check(self, evidence: Evidence, book: Book, policy: Policy) -> None:
        """Raises as `checked`."""
        checked(evidence, book, policy)

    def decide(self, evidence: Evidence, book: Book, policy: Policy) -> Allocation | None:
        """None: a quote decides nothing, it is what a decision is carried out by."""
        return None


def of(evidence: Iterable[Evidence], book: Book, policy: Policy) -> tuple[CheckedQuote, ...]:
    """The quotes among the evidence. Raises as `checked`."""
    return tuple(checked(each, book, policy) for each in evidence if each.kind is EvidenceKind.QUOTE)


def checked(evidence: Evidence, book: Book, policy: Policy) -> CheckedQuote:
    """The quote, if it is one that the policy allows for what it says it sells.

    Raises PlanError naming the field, what was expected and what was seen; PolicyError where the policy lets
    nothing be sold through LiFi.
    """
    swap, market = policy.swap, book.market
    if swap is None or swap.lifi is None or market is None:
        raise PolicyError("The policy knows no quotes of LiFi's", expected="a section swap.lifi", seen="none")
    try:
        quote = parse(evidence.data, Quote, where="quote")
        token = swap.sold(address(quote.action.from_token.address))
        amount = int(quote.action.from_amount)
        ahead = evidence.observed_at - book.at
        if ahead > swap.lifi.max_age:
            raise refuse(
                "age", f"observed until {swap.lifi.max_age} s after the block", f"{ahead} s after it"
            )
        worth = market.prices.worth(token.address, amount)
        found = check.check(
            evidence.data,
            Expected(
                chain_id=policy.vault.chain_id,
                diamond=swap.lifi.diamond,
                handler=swap.handler,
                token_in=token.address,
                token_out=policy.vault.asset,
                amount_in=amount,
                min_out=mul_div_up(worth.low, BPS - token.max_slippage_bps, BPS),
                # It would be the better route by what nobody pays, and every signer's simulation would fail.
                max_out=mul_div_down(worth.high, BPS + token.max_slippage_bps, BPS),
                max_fee_bps=swap.lifi.max_fee_bps,
                tools=swap.lifi.tools,
                targets=swap.lifi.called,
                observed_at=evidence.observed_at,
                now=max(book.at, evidence.observed_at),
                max_age=swap.lifi.max_age,
            ),
        )
        if found.data[:4] not in swap.lifi.facets:
            pinned = " or ".join("0x" + each.hex() for each in sorted(swap.lifi.facets))
            raise refuse("calldata.selector", pinned, "0x" + found.data[:4].hex())
    except (ConfigError, DecodeError, PolicyError, RefusedError) as error:
        raise PlanError(f"Refused what {evidence.source} quotes: {error}") from error
    return found


def evidence(quote: ReceivedQuote) -> Evidence:
    """A quote as it came, byte for byte. Raises PlanError for one that no plan can carry."""
    return Evidence(EvidenceKind.QUOTE, SOURCE, quote.observed_at, quote.data)
