"""What all price sources have in common: a place in the policy, reads, and a price."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Final, TypeVar

from keeper.chain.call import Call, CallFailure
from keeper.config import CheckedAddress, StrictModel
from keeper.contracts import Contract
from keeper.errors import DecodeError, PolicyError, ValuationError
from keeper.oracle.quote import Status
from keeper.units import MAX_UINT256, Address

T = TypeVar("T")
Read = Callable[[Call[Any]], Any]
NOWHERE: Final = Address("0x" + "0" * 40)


@dataclass(frozen=True, slots=True)
class Price:
    """What one whole base token costs in whole quote tokens, in wad, as `IPriceSource.price` answers.

    `why` tells people what is wrong, one fault each; a price with status OK has none.
    """

    low: int
    high: int
    status: Status
    why: tuple[str, ...] = field(default=(), compare=False)


def no_price(*why: str) -> Price:
    """Anything is possible."""
    return Price(0, MAX_UINT256, Status.UNAVAILABLE, why)


@cache
def contract_call(target: Address, artifact: str, name: str, *args: Any) -> Call[Any]:
    """A call of one of our contracts: encoded once."""
    return Contract(target, artifact).call(name, *args)


class TokenPolicy(StrictModel):
    """An end of a source or route. Without `decimals` it is no token but stands for one, like the dollar."""

    address: CheckedAddress
    decimals: int | None = None


class Names:
    """What the policy's names stand for. Raises PolicyError for one that it does not define."""

    def __init__(self, tokens: Mapping[str, TokenPolicy], sources: "Mapping[str, SourcePolicy]") -> None:
        self.tokens = tokens
        self.sources = sources

    def token(self, name: str) -> Address:
        return self._found(self.tokens, name, "token").address

    def decimals(self, name: str) -> int:
        decimals = self._found(self.tokens, name, "token").decimals
        if decimals is None:
            raise PolicyError("The decimals of this token are needed", where=f"oracle.tokens.{name}")
        return decimals

    def source(self, name: str) -> "SourcePolicy":
        return self._found(self.sources, name, "source")

    def address(self, source: str) -> Address:
        """Of a source, or 0 where none is named."""
        return self.source(source).address if source else NOWHERE

    @staticmethod
    def _found(known: Mapping[str, T], name: str, what: str) -> T:
        if name not in known:
            raise PolicyError(
                f"The oracle section has no such {what}",
                expected=" or ".join(sorted(known)) or f"a {what}",
                seen=name,
                where=f"oracle.{what}s",
            )
        return known[name]


@dataclass(frozen=True)
class Fact:
    """What a contract must say of itself: the policy's `field`, the read, and the value."""

    field: str
    call: Call[Any]
    expected: object


class SourcePolicy(StrictModel):
    """One source by its whole configuration, of which the chain must say the same."""

    artifact: ClassVar[str]
    """Name of the contract."""

    kind: str
    address: CheckedAddress
    base: str
    quote: str

    def call(self, name: str, *args: Any) -> Call[Any]:
        return contract_call(self.address, self.artifact, name, *args)

    @property
    def own_price(self) -> Call[Any]:
        """What the contract makes of the same state: a check."""
        return self.call("price")

    def needs(self) -> tuple[str, ...]:
        """Other sources that this one reads."""
        return ()

    def facts(self, names: Names) -> Iterator[Fact]:
        """What the contract must say of itself."""
        yield Fact("base", self.call("base"), names.token(self.base))
        yield Fact("quote", self.call("quote"), names.token(self.quote))

    @abstractmethod
    def state(self) -> tuple[Call[Any], ...]:
        """The raw state that a price is made of."""

    @abstractmethod
    def price(self, sight: "Sight") -> Price:
        """`price()` of the contract, to the wei, from raw state."""

    @abstractmethod
    def details(self, sight: "Sight") -> dict[str, Any]:
        """What people want to know about the price, as JSON-like values."""

    def check(self, names: Names, read: Read, where: str) -> None:
        """Raises PolicyError naming the field in which chain and policy differ."""
        for fact in self.facts(names):
            require(fact, read, where)


class Sight:
    """All sources at one block: each price is worked out once, and compared with the contract's."""

    def __init__(self, names: Names, read: Read, at: int) -> None:
        self.names = names
        self.at = at
        self._read = read
        self._answers: dict[Call[Any], Any] = {}
        self._prices: dict[str, Price] = {}

    def read(self, call: Call[Any]) -> Any:
        """The answer to a call, decoded once."""
        if call not in self._answers:
            self._answers[call] = self._read(call)
        return self._answers[call]

    def price(self, name: str) -> Price:
        """The price of a source, by its name in the policy. Raises ValuationError as `agreed`."""
        if name not in self._prices:
            source = self.names.source(name)
            theirs = own_price(self.read, source.own_price)
            self._prices[name] = agreed(f"oracle.sources.{name}", source.price(self), theirs)
        return self._prices[name]


def own_price(read: Read, call: Call[Any]) -> Price:
    """What a contract says; without an answer it has no price, as its callers see it."""
    answer = told(read, call)
    if answer is None or answer[2] >= Status.UNAVAILABLE:
        return no_price()
    return Price(answer[0], answer[1], Status(answer[2]))


def agreed(where: str, ours: Price, theirs: Price) -> Price:
    """Our price, when the contract makes the same of the same state. Raises ValuationError otherwise."""
    if (ours.low, ours.high, ours.status) == (theirs.low, theirs.high, theirs.status):
        return ours
    raise ValuationError(
        "Our price differs from the contract's",
        expected=_shown(ours),
        seen=_shown(theirs),
        where=where,
        hint="Do not rebalance; find out which of the two is wrong.",
    )


def _shown(price: Price) -> str:
    high = "anything" if price.high == MAX_UINT256 else price.high
    return f"{price.low} to {high}, {price.status.name}"


def require(fact: Fact, read: Read, where: str) -> None:
    """Raises PolicyError unless the chain says what the policy says."""
    seen = told(read, fact.call)
    if seen is None:
        raise PolicyError(
            "The policy names a contract that does not answer",
            expected=fact.call.label,
            seen=f"nothing from {fact.call.target}",
            where=f"{where}.{fact.field}",
            hint="Check the address and the chain.",
        )
    if seen != fact.expected:
        raise PolicyError(
            "The chain and the policy disagree on the oracle",
            expected=fact.expected,
            seen=seen,
            where=f"{where}.{fact.field}",
            hint="Bring the policy up to date, or the router if that is wrong; nothing is priced until then.",
        )


def told(read: Read, call: Call[Any]) -> Any:
    """The answer, or None when there is none: the call failed, or an account without code was asked."""
    try:
        answer = read(call)
    except DecodeError:
        return None
    return None if isinstance(answer, CallFailure) else answer
