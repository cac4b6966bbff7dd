"""Any ERC-4626 vault that our ERC4626Connector can hold, asynchronous ones (ERC-7540) among them.

The vault's inside is unknown, so its own views at the pinned block are what its shares are worth. What is not
predicted, therefore: growth after that block (every later value is that of the block), rates, limits that the
vault changes, fees of a vault whose shares do not simply follow from its totals. Where a mirror of the
vault's own protocol exists, as for MetaMorpho, that one knows more.

What shares are worth our connector asks the vault itself: in the one pass of a snapshot, though the number of
shares follows from other reads, and with the 220,000 gas per view that its report gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from keeper.chain.call import Call, CallFailure
from keeper.connectors.base import PositionRef, Read, answering, key_of, must_match, parse_params, required
from keeper.connectors.erc4626_position import (
    ERC4626Params,
    ERC4626Position,
    Limits,
    Proportion,
    Requests,
    in_a_word,
    require_worth,
)
from keeper.contracts import Function
from keeper.errors import DecodeError, ValuationError
from keeper.oracle.quote import Prices
from keeper.units import Address

_IS_ASYNC: Final = Function("isAsync(bytes32)", "(bool,bool)")
_TOKEN_OF: Final = Function("tokenOf(bytes32)", "(address)")
_DUST_OF: Final = Function("dustOf(bytes32)", "(uint256)")
_ASSET_DUST_OF: Final = Function("assetDustOf(bytes32)", "(uint256)")
_ANSWERS: Final = Function("answers(bytes32)", "((uint256,bool,uint256)[11])")
_ASSET: Final = Function("asset()", "(address)")
_MAX_DECIMALS: Final = 36

_HELD: Final = "balanceOf(address)"
_MAX_DEPOSIT: Final = "maxDeposit(address)"
_MAX_MINT: Final = "maxMint(address)"
_MAX_WITHDRAW: Final = "maxWithdraw(address)"
_MAX_REDEEM: Final = "maxRedeem(address)"
_ENTERING: Final = "pendingDepositRequest(uint256,address)"
_LEAVING: Final = "pendingRedeemRequest(uint256,address)"
_READY_TO_ENTER: Final = "claimableDepositRequest(uint256,address)"
_READY_TO_LEAVE: Final = "claimableRedeemRequest(uint256,address)"
_REQUESTS: Final = (_ENTERING, _LEAVING, _READY_TO_ENTER, _READY_TO_LEAVE)

_ODD: Final = (
    "previewDeposit",
    "previewDeposit",
    "previewWithdraw",
    "previewRedeem",
    "previewRedeem",
    "convertToAssets",
    "convertToAssets",
    "convertToShares",
)
"""What `ERC4626Connector.answers` asks about odd amounts; the last two are great."""


class ERC4626:
    """Reads what a vault holds for us, and what it says that is worth."""

    name = "erc4626"

    def calls(self, ref: PositionRef) -> tuple[Call[Any], ...]:
        """What our connector knows of the vault, what the vault holds for it, and `answers`. Some fail, as a
        synchronous vault knows no requests; only those that count are asked to succeed."""
        params, holder = parse_params(ERC4626Params, ref), ref.address
        limits = (_HELD, _MAX_DEPOSIT, _MAX_MINT, _MAX_WITHDRAW, _MAX_REDEEM)
        ours = (_IS_ASYNC, _TOKEN_OF, _DUST_OF, _ASSET_DUST_OF, _ANSWERS)
        return (
            *(_of_connector(ref, each) for each in ours),
            _ASSET.at(params.vault, owner="ERC4626"),
            *(_view(params.vault, signature, holder) for signature in limits),
            *(_view(params.vault, signature, 0, holder) for signature in _REQUESTS),
            *_totals(params),
        )

    def tokens(self, ref: PositionRef) -> tuple[Address, ...]:
        """The vault's asset."""
        return (parse_params(ERC4626Params, ref).asset,)

    def position(self, ref: PositionRef, read: Read, prices: Prices, at: int) -> ERC4626Position:
        """The position from `calls`.

        Raises ValuationError when the vault is another one than `ref` says, and when it says nothing of what
        its shares are worth, where our connector's report reverts.
        """
        params = parse_params(ERC4626Params, ref)
        must_match("Key", key_of(params.vault), ref.key, ref)
        must_match(
            "Asset of the vault", params.asset, required(read, _of_connector(ref, _TOKEN_OF), ref), ref
        )
        must_match("Asset of the vault now", params.asset, required(read, _ASSET.at(params.vault), ref), ref)
        shares, requests = _holding(ref, params, read)
        total = in_a_word(shares + requests.mintable + requests.leaving, ref)
        answers = required(read, _of_connector(ref, _ANSWERS), ref)
        told = ((amount, said if known else None) for amount, known, said in answers)
        (asked, paid), (_, converted), (free, freed), *odd = told
        must_match("Number of shares that the vault was asked about", total, asked, ref)
        if total == 0:
            quoted, sound = 0, True
        else:
            paid = None if requests.redemptions else paid
            sound = requests.redemptions or paid is not None
            quoted = _must(converted, "convertToAssets", ref) if paid is None else paid
        require_worth(total, quoted, required(read, _of_connector(ref, _DUST_OF), ref), ref)
        in_a_word(quoted + requests.entering + requests.ready, ref)
        limits = Limits(
            deposit=_answer(read, _view(params.vault, _MAX_DEPOSIT, ref.address)),
            redeem=free,
            redeemed=(freed or 0) if free else 0,
        )
        proportion = _proportion(params, read, odd, {total: quoted} if sound else {})
        return ERC4626Position(ref, params, prices, at, shares, quoted, sound, requests, limits, proportion)


def _of_connector(ref: PositionRef, function: Function) -> Call[Any]:
    return function.at(ref.address, ref.key, owner="ERC4626Connector")


def _view(vault: Address, signature: str, *args: Any) -> Call[Any]:
    """A view that answers a number: the first word, as our connector takes it."""
    return replace(Function(signature, "(uint256)").at(vault, *args, owner="ERC4626"), decode=_first_word)


def _first_word(data: bytes) -> int:
    if len(data) < 32:
        raise DecodeError("Returned bytes do not decode", expected="a word", seen=f"{len(data)} bytes")
    return int.from_bytes(data[:32])


def _answer(read: Read, call: Call[Any]) -> int | None:
    """A number, or None where there is none: our connector takes a short answer for a failure, too."""
    result = answering(read)(call)
    return None if isinstance(result, CallFailure) else int(result)


def _must(answer: int | None, what: str, ref: PositionRef) -> int:
    if answer is None:
        raise ValuationError(
            "The vault's views give no value",
            expected="a number",
            seen="a failure",
            where=f"{ref.venue}: {what}",
            hint="The position counts as impaired until the vault answers again.",
        )
    return answer


def _holding(ref: PositionRef, params: ERC4626Params, read: Read) -> tuple[int, Requests]:
    """(our shares, our requests).

    What is ready counts by the vault's limits. ValuationError where these leave out more of it than rounding
    may (`ERC4626Connector._checkReady`): they are 0 while a vault is paused, and say nothing of what is ours.
    """
    deposits, redemptions = required(read, _of_connector(ref, _IS_ASYNC), ref)

    def number(signature: str, *args: Any) -> int:
        return _must(_answer(read, _view(params.vault, signature, *args)), signature, ref)

    requests = Requests(deposits, redemptions)

    def require_ready(claimable: str, worth: int, limit: str, dust: Function) -> None:
        ready, least = number(claimable, 0, ref.address), required(read, _of_connector(ref, dust), ref)
        if ready <= least:
            return
        allowed = number(limit, ref.address) if worth else 0
        if allowed < ready - least:
            raise ValuationError(
                "The vault holds back what it has ready for us",
                expected=f"{ready:,}, but for {least:,}",
                seen=f"{allowed:,}",
                where=f"{ref.venue}: {limit}",
                hint="The position counts as impaired until the vault lets all of it go.",
            )

    if deposits:
        entering, mintable = number(_ENTERING, 0, ref.address), number(_MAX_MINT, ref.address)
        require_ready(_READY_TO_ENTER, mintable, _MAX_DEPOSIT, _ASSET_DUST_OF)
        requests = replace(requests, entering=entering, mintable=mintable)
    if redemptions:
        leaving, ready = number(_LEAVING, 0, ref.address), number(_MAX_WITHDRAW, ref.address)
        require_ready(_READY_TO_LEAVE, ready, _MAX_REDEEM, _DUST_OF)
        requests = replace(requests, leaving=leaving, ready=ready)
    return number(_HELD, ref.address), requests


def _totals(params: ERC4626Params) -> tuple[Call[Any], ...]:
    """Total assets and shares, and the decimals of both."""
    return (
        _view(params.vault, "totalAssets()"),
        _view(params.vault, "totalSupply()"),
        _view(params.asset, "decimals()"),
        _view(params.vault, "decimals()"),
    )


def _proportion(
    params: ERC4626Params, read: Read, odd: Sequence[tuple[int, int | None]], known: dict[int, int]
) -> Proportion | None:
    """The vault's totals, if all its answers follow from them, with OpenZeppelin's virtual shares or without.

    `odd` are amounts with its answers (`_ODD`), `known` is what it said of numbers of shares. Previews that
    an asynchronous vault refuses are not counted.
    """
    assets, supply, asset_decimals, share_decimals = (_answer(read, call) for call in _totals(params))
    if assets is None or supply is None or asset_decimals is None or share_decimals is None:
        return None
    offset = share_decimals - asset_decimals
    candidates = [Proportion(assets, supply, 0, 0)] if assets and supply else []
    if 0 <= offset <= _MAX_DECIMALS:
        candidates.append(Proportion(assets, supply, 1, 10**offset))
    asked = zip(_ODD, odd, strict=True)
    given = [(view, amount, said) for view, (amount, said) in asked if said is not None]
    fitting = [
        each
        for each in candidates
        if all(_predicted(each, view, amount) == said for view, amount, said in given)
        and all(each.worth(shares) == said for shares, said in known.items())
    ]
    # Where two fit, only great amounts show that they are the same.
    great = [said for _, said in odd[-2:]]
    return fitting[0] if fitting and None not in great else None


def _predicted(proportion: Proportion, view: str, amount: int) -> int:
    if view in ("previewDeposit", "convertToShares"):
        return proportion.minted(amount)
    if view == "previewWithdraw":
        return proportion.burnt(amount)
    return proportion.worth(amount)
