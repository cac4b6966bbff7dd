"""The policy's section `swap`: which tokens may be sold, through what, and how much that may cost.

Default-deny, as the swap handler on chain is: what is not listed is refused by every signer, and by the
handler. Tokens are only ever sold for the vault's asset.
"""

from typing import Annotated, Final

from pydantic import BeforeValidator, Field, field_serializer, model_validator

from keeper.config import CheckedAddress, OneEach, StrictModel, exact_bytes
from keeper.errors import PolicyError
from keeper.swap import deployments
from keeper.swap.calldata import Target
from keeper.swap.deployments import MULTIPLE, SINGLE
from keeper.units import BPS, Address

FEE_COLLECTION: Final = "feeCollection"
"""LiFi's name for the step that takes its fee."""
MAX_SLIPPAGE_BPS: Final = 300
"""`SwapPolicy.MAX_SLIPPAGE_BPS`."""
MAX_HOPS: Final = 4
"""`SwapHandler.MAX_HOPS`."""

Count = Annotated[int, Field(strict=True, ge=0)]


def _bytes(length: int) -> BeforeValidator:
    def read(value: object) -> bytes:
        if (found := exact_bytes(value, length)) is None:
            raise ValueError(f"expected {length} bytes as 0x and {2 * length} hex digits")
        return found

    return BeforeValidator(read)


Selector = Annotated[bytes, _bytes(4)]
CodeHash = Annotated[bytes, _bytes(32)]


class Hop(StrictModel):
    """One Uniswap v3 pool of a path: its `fee` in hundredths of a bip, and the token it is left with."""

    pool: CheckedAddress
    fee: Annotated[int, Field(strict=True, gt=0, lt=2**24)]
    to: CheckedAddress


class SoldToken(StrictModel):
    """A token that may be sold. What a sale leaves of it is kept at `venue`; `max_slippage_bps` is the most
    that may be lost against the oracle; without a `path` it is sold through LiFi alone."""

    address: CheckedAddress
    venue: str
    max_slippage_bps: Annotated[int, Field(strict=True, ge=0, le=MAX_SLIPPAGE_BPS)]
    path: Annotated[tuple[Hop, ...], Field(max_length=MAX_HOPS)] = ()

    @property
    def route(self) -> bytes:
        """The path as Uniswap's router reads it."""
        words = (hop.fee.to_bytes(3) + bytes.fromhex(hop.to[2:]) for hop in self.path)
        return bytes.fromhex(self.address[2:]) + b"".join(words)


class CalledTarget(StrictModel):
    """A contract that LiFi's steps may call, and who is approved for it."""

    address: CheckedAddress
    spender: CheckedAddress
    selectors: Annotated[tuple[Selector, ...], Field(min_length=1)]


class LiFiPolicy(StrictModel):
    """What is believed of LiFi's quotes: nothing but what these entries allow.

    `facets` pins, by selector of the diamond, the keccak256 of the code behind it; `exchanges` are LiFi's
    names; `max_age` is in seconds, to either side of the block that a plan rests on.
    """

    diamond: CheckedAddress
    facets: Annotated[dict[Selector, CodeHash], Field(min_length=1), OneEach]
    targets: Annotated[tuple[CalledTarget, ...], Field(min_length=1)]
    exchanges: Annotated[tuple[str, ...], Field(min_length=1)]
    max_fee_bps: Annotated[int, Field(strict=True, ge=0, lt=BPS)]
    max_age: Annotated[int, Field(strict=True, gt=0)]

    @field_serializer("facets")
    def _named(self, facets: dict[bytes, bytes]) -> dict[str, bytes]:
        return {"0x" + selector.hex(): code for selector, code in facets.items()}

    @model_validator(mode="after")
    def _of_swaps(self) -> "LiFiPolicy":
        known = {SINGLE.selector, MULTIPLE.selector}
        if strange := sorted("0x" + each.hex() for each in self.facets if each not in known):
            raise ValueError(f"facets: {', '.join(strange)} is no generic swap")
        if len({each.address for each in self.targets}) != len(self.targets):
            raise ValueError("targets: a contract is listed twice")
        return self

    @property
    def tools(self) -> frozenset[str]:
        """Every tool that a quote may name."""
        return frozenset({*self.exchanges, FEE_COLLECTION})

    @property
    def called(self) -> tuple[tuple[Address, Target], ...]:
        """Its targets as quotes are checked by them."""
        return tuple((each.address, Target(each.spender, frozenset(each.selectors))) for each in self.targets)


class SwapPolicy(StrictModel):
    """Where, what and how well is swapped. `handler` is the vault's, `router` the Uniswap v3 router that it
    was made with; `native` is the wrapped coin that gas is paid in, which prices what a route costs.

    `slippage_bps` is what a route may fall short of its quote, `max_loss` what the swaps of one plan may lose
    against the low end of the oracle, in the vault's asset.
    """

    handler: CheckedAddress
    router: CheckedAddress
    native: CheckedAddress
    slippage_bps: Annotated[int, Field(strict=True, ge=0, le=MAX_SLIPPAGE_BPS)]
    max_loss: Count
    tokens: Annotated[dict[str, SoldToken], Field(min_length=1)]
    lifi: LiFiPolicy | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "SwapPolicy":
        addresses = [each.address for each in self.tokens.values()]
        venues = [each.venue for each in self.tokens.values()]
        if len(set(addresses)) != len(addresses) or len(set(venues)) != len(venues):
            raise ValueError("tokens: an address or a venue is listed twice")
        for name, token in self.tokens.items():
            if strange := [hop.to for hop in token.path[:-1] if hop.to not in addresses]:
                raise ValueError(f"tokens.{name}.path goes through {strange[0]}, which is not in tokens")
            if not token.path and self.lifi is None:
                raise ValueError(f"tokens.{name} has no path, and there is no lifi")
        return self

    def require_fits(self, chain_id: int, asset: Address, held: dict[str, Address]) -> None:
        """Raises PolicyError unless tokens end in the vault's `asset` and are kept at venues that hold them;
        `held` are the tokens of venues that hold one."""
        if self.lifi is not None:
            deployments.check(chain_id, self.lifi.diamond, where="swap.lifi.diamond")
        for name, token in self.tokens.items():
            if token.address == asset:
                raise PolicyError("The vault's asset is not sold for itself", where=f"swap.tokens.{name}")
            if held.get(token.venue) != token.address:
                raise PolicyError(
                    "What is left of a token has no place",
                    expected=f"a position of connector token that holds {token.address}",
                    seen=f"{token.venue}: {held.get(token.venue, 'none')}",
                    where=f"swap.tokens.{name}.venue",
                )
            if token.path and token.path[-1].to != asset:
                raise PolicyError(
                    "A path does not end in the vault's asset",
                    expected=asset,
                    seen=token.path[-1].to,
                    where=f"swap.tokens.{name}.path",
                )

    def sold(self, token: Address) -> SoldToken:
        """The entry of a token. Raises PolicyError when it may not be sold."""
        for each in self.tokens.values():
            if each.address == token:
                return each
        raise PolicyError(
            "The policy does not let this token be sold",
            expected=" or ".join(f"{name} {each.address}" for name, each in sorted(self.tokens.items())),
            seen=token,
            where="swap.tokens",
        )
