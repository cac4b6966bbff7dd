"""Any ERC-4626 vault that our ERC4626Connector can hold, asynchronous ones (ERC-7540) among them.

The vault's inside is unknown, so its own views at the pinned block are what its shares are worth. What is not
predicted, therefore: growth after that block (every later value is that of the block), rates, limits that the
vault changes, fees of a vault whose shares do not simply follow from its totals. Where a mirror of the
vault's own protocol exists, as for MetaMorpho, that one knows more.

What a view answers may depend on the gas it gets: our connector's 200,000 are less than a snapshot's. A vault
whose views need more is one whose report differs from this one, which the book calls an error.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Final

from keeper.chain.call import Call, CallFailure
from keeper.connectors.base import PositionRef, Read, key_of, must_match, parse_params, required
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

__all__ = ["ERC4626", "ERC4626Params", "ERC4626Position"]

_IS_ASYNC: Final = Function("isAsync(bytes32)", "(bool,bool)")
_TOKEN_OF: Final = Function("tokenOf(bytes32)", "(address)")
_DUST_OF: Final = Function("dustOf(bytes32)", "(uint256)")
_ASSET: Final = Function("asset()", "(address)")
_MAX_DECIMALS: Final = 36
_MANY: Final = 10**18

_HELD: Final = "balanceOf(address)"
_MAX_DEPOSIT: Final = "maxDeposit(address)"
_MAX_MINT: Final = "maxMint(address)"
_MAX_WITHDRAW: Final = "maxWithdraw(address)"
_MAX_REDEEM: Final = "maxRedeem(address)"
_ENTERING: Final = "pendingDepositRequest(uint256,address)"
_LEAVING: Final = "pendingRedeemRequest(uint256,address)"


class ERC4626:
    """Reads a vault in two steps: what it holds for us, and then what it says that is worth."""

    name = "erc4626"

    def calls(self, ref: PositionRef) -> tuple[Call[Any], ...]:
        """What our connector knows of the vault, and what the vault holds for it. Some fail, as a synchronous
        vault knows no requests; only those that count are asked to succeed."""
        params, holder = parse_params(ERC4626Params, ref), ref.address
        kind = replace(_of_connector(ref, _IS_ASYNC), then=partial(self._more, ref))
        own = (kind, _of_connector(ref, _TOKEN_OF), _of_connector(ref, _DUST_OF))
        limits = (_HELD, _MAX_DEPOSIT, _MAX_MINT, _MAX_WITHDRAW, _MAX_REDEEM)
        asset = _ASSET.at(params.vault, owner="ERC4626")
        return (
            *own,
            asset,
            *(_view(params.vault, signature, holder) for signature in limits),
            *(_view(params.vault, signature, 0, holder) for signature in (_ENTERING, _LEAVING)),
            *_totals(params),
        )

    def follow_up(self, ref: PositionRef, read: Read) -> tuple[Call[Any], ...]:
        """The reads whose arguments are results of `calls`: what so many shares are worth, and answers that
        show whether shares follow from the vault's totals. To be made at the same block.

        A snapshot makes them in a second pass. Raises ValuationError when what it holds cannot be read.
        """
        params = parse_params(ERC4626Params, ref)
        shares, requests = _holding(ref, params, read)
        total = _total(ref, shares, requests)
        redeem = _answer(read, _view(params.vault, _MAX_REDEEM, ref.address)) or 0
        return (
            _view(params.vault, "previewRedeem(uint256)", total),
            _view(params.vault, "convertToAssets(uint256)", total),
            _view(params.vault, "previewRedeem(uint256)", min(redeem, shares)),
            *(_view(params.vault, signature, amount) for signature, amount in _probes(params, read)),
        )

    def _more(self, ref: PositionRef, read: Read) -> tuple[Call[Any], ...]:
        """`follow_up`, or nothing for a position that is impaired already."""
        try:
            return self.follow_up(ref, read)
        except ValuationError:
            return ()

    def tokens(self, ref: PositionRef) -> tuple[Address, ...]:
        """The vault's asset."""
        return (parse_params(ERC4626Params, ref).asset,)

    def position(self, ref: PositionRef, read: Read, prices: Prices, at: int) -> ERC4626Position:
        """The position from `calls` and `follow_up`.

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
        total = _total(ref, shares, requests)
        preview, convert, partial, *_ = self.follow_up(ref, read)
        if total == 0:
            quoted, sound = 0, True
        else:
            paid = None if requests.redemptions else _answer(read, preview)
            sound = requests.redemptions or paid is not None
            quoted = _must(read, convert, ref) if paid is None else paid
        require_worth(total, quoted, required(read, _of_connector(ref, _DUST_OF), ref), ref)
        in_a_word(quoted + requests.entering + requests.ready, ref)
        redeem = min(shares, _answer(read, _view(params.vault, _MAX_REDEEM, ref.address)) or 0)
        limits = Limits(
            deposit=_answer(read, _view(params.vault, _MAX_DEPOSIT, ref.address)),
            redeem=redeem,
            redeemed=(_answer(read, partial) or 0) if redeem else 0,
        )
        proportion = _proportion(params, read, {total: quoted} if sound else {})
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
    try:
        result = read(call)
    except DecodeError:
        return None
    return None if isinstance(result, CallFailure) else int(result)


def _must(read: Read, call: Call[Any], ref: PositionRef) -> int:
    answer = _answer(read, call)
    if answer is None:
        raise ValuationError(
            "The vault's views give no value",
            expected="a number",
            seen="a failure",
            where=f"{ref.venue}: {call.label}",
            hint="The position counts as impaired until the vault answers again.",
        )
    return answer


def _holding(ref: PositionRef, params: ERC4626Params, read: Read) -> tuple[int, Requests]:
    """(our shares, our requests)."""
    deposits, redemptions = required(read, _of_connector(ref, _IS_ASYNC), ref)

    def number(signature: str, *args: Any) -> int:
        return _must(read, _view(params.vault, signature, *args), ref)

    requests = Requests(deposits, redemptions)
    if deposits:
        entering, mintable = number(_ENTERING, 0, ref.address), number(_MAX_MINT, ref.address)
        requests = replace(requests, entering=entering, mintable=mintable)
    if redemptions:
        leaving, ready = number(_LEAVING, 0, ref.address), number(_MAX_WITHDRAW, ref.address)
        requests = replace(requests, leaving=leaving, ready=ready)
    return number(_HELD, ref.address), requests


def _total(ref: PositionRef, shares: int, requests: Requests) -> int:
    """Shares that are ours, wherever they lie."""
    return in_a_word(shares + requests.mintable + requests.leaving, ref)


def _totals(params: ERC4626Params) -> tuple[Call[Any], ...]:
    """Total assets and shares, and the decimals of both."""
    return (
        _view(params.vault, "totalAssets()"),
        _view(params.vault, "totalSupply()"),
        _view(params.asset, "decimals()"),
        _view(params.vault, "decimals()"),
    )


def _probes(params: ERC4626Params, read: Read) -> tuple[tuple[str, int], ...]:
    """Questions that tell a vault whose shares follow from its totals: odd amounts, so that every rounding
    shows, and so great ones that a single virtual share does."""
    assets, supply, *decimals = (_answer(read, call) or 0 for call in _totals(params))
    asset, share = (10 ** min(_MAX_DECIMALS, each) for each in decimals)
    great = (_MANY * each + 7 if each < _MANY**2 else 0 for each in (supply, assets))
    return (
        ("previewDeposit(uint256)", asset),
        ("previewDeposit(uint256)", 7 * asset + 3),
        ("previewWithdraw(uint256)", 3 * asset + 1),
        ("previewRedeem(uint256)", share),
        ("previewRedeem(uint256)", 7 * share + 5),
        ("convertToAssets(uint256)", 11 * share + 1),
        *zip(("convertToAssets(uint256)", "convertToShares(uint256)"), great, strict=True),
    )


def _proportion(params: ERC4626Params, read: Read, known: dict[int, int]) -> Proportion | None:
    """The vault's totals, if all its answers follow from them, with OpenZeppelin's virtual shares or without.

    `known` is what it said of numbers of shares. Previews that an asynchronous vault refuses are not counted.
    """
    assets, supply, asset_decimals, share_decimals = (_answer(read, call) for call in _totals(params))
    if assets is None or supply is None or asset_decimals is None or share_decimals is None:
        return None
    answers = [
        (signature, amount, _answer(read, _view(params.vault, signature, amount)))
        for signature, amount in _probes(params, read)
    ]
    given = [each for each in answers if each[2] is not None]
    offset = share_decimals - asset_decimals
    candidates = [Proportion(assets, supply, 0, 0)] if assets and supply else []
    if 0 <= offset <= _MAX_DECIMALS:
        candidates.append(Proportion(assets, supply, 1, 10**offset))
    fitting = [
        each
        for each in candidates
        if all(_predicted(each, signature, amount) == said for signature, amount, said in given)
        and all(each.worth(shares) == said for shares, said in known.items())
    ]
    # Where two fit, only great amounts show that they are the same.
    great = [said for _, _, said in answers[-2:]]
    return fitting[0] if fitting and None not in great else None


def _predicted(proportion: Proportion, signature: str, amount: int) -> int:
    if signature.startswith(("previewDeposit", "convertToShares")):
        return proportion.minted(amount)
    if signature.startswith("previewWithdraw"):
        return proportion.burnt(amount)
    return proportion.worth(amount)
