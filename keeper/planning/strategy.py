"""What a strategy is: a pure function from the book to the allocation it wants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import import_module
from inspect import getsource
from traceback import extract_tb
from typing import TYPE_CHECKING, Any, Final, Protocol

from pydantic import BaseModel, ValidationError

from keeper import plugins
from keeper.errors import ConfigError, KeeperError, PlanError

if TYPE_CHECKING:
    from keeper.book import Book
    from keeper.planning.intents import Intent

ENTRY_POINTS: Final = "keeper.strategies"


@dataclass(frozen=True)
class Allocation:
    """Assets wanted in each venue, sorted by venue id, why, and the venues whose rewards are to be sold.

    Every allow-listed venue appears once; what the targets leave of the vault's total stays idle, and so does
    what rewards bring. Raises PlanError when a target is no whole number or negative, a venue is out of order
    or repeated, or the reason is no text.
    """

    targets: tuple[tuple[str, int], ...]
    reason: str
    harvests: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for venues in ([venue for venue, _ in self.targets], list(self.harvests)):
            if venues != sorted(set(venues)):
                raise PlanError("An allocation lists each venue once, in order", seen=", ".join(venues))
        if not isinstance(self.reason, str):
            raise PlanError("The reason of an allocation is text", seen=repr(self.reason))
        for venue, assets in self.targets:
            if type(assets) is not int:
                raise PlanError("A target is a whole number", expected="int", seen=repr(assets), where=venue)
            if assets < 0:
                raise PlanError("A target cannot be negative", seen=f"{assets:,}", where=venue)

    @classmethod
    def of(cls, targets: Mapping[str, int], reason: str, harvests: Iterable[str] = ()) -> Allocation:
        """From targets and venues in any order."""
        return cls(tuple(sorted(targets.items())), reason, tuple(sorted(set(harvests))))

    @property
    def total(self) -> int:
        """Assets that the targets put to work."""
        return sum(assets for _, assets in self.targets)


class Strategy(Protocol):
    """Decides from the book alone: no clock, no randomness, no I/O, no floats.

    `name` is the entry point's, `version` changes with every change of behaviour; both are pinned by plans,
    and so are the parameters.
    """

    @property
    def name(self) -> str:
        """Entry point name in the group `keeper.strategies`."""
        ...

    @property
    def version(self) -> str:
        """Version of the behaviour."""
        ...

    @property
    def params(self) -> BaseModel:
        """Parameters, as validated."""
        ...

    def decide(self, book: Book) -> Allocation | Sequence[Intent]:
        """The allocation wanted, or the intents that lead to it (`keeper.planning.intents.settled`).

        Raises PlanError when the book allows none.
        """
        ...


def names() -> tuple[str, ...]:
    """The installed strategies, sorted."""
    return plugins.names(ENTRY_POINTS)


def load(name: str, params: Mapping[str, Any]) -> Strategy:
    """An installed strategy with its parameters. Raises ConfigError when either does not fit."""
    kind = _kind(name)
    model = getattr(import_module(kind.__module__), "Params", None)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        missing = "The strategy's module has no parameters"
        raise ConfigError(missing, expected="class Params(BaseModel)", where=name)
    try:
        strategy: Strategy = kind(model(**params))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            "A parameter of the strategy does not fit", seen=first["msg"], where=f"{name}.{field}".rstrip(".")
        ) from error
    except TypeError as error:
        raise ConfigError("A strategy is made of its parameters alone", seen=error, where=name) from error
    said = getattr(strategy, "name", None), getattr(strategy, "version", None)
    if said[0] != name or not isinstance(said[1], str) or not callable(getattr(strategy, "decide", None)):
        raise ConfigError(
            "Not a strategy",
            expected=f'name = "{name}", a text as version, and a method decide',
            seen=f"name = {said[0]!r}, version = {said[1]!r}",
            where=kind.__module__,
        )
    return strategy


def decided(strategy: Strategy, book: Book) -> Allocation | Sequence[Intent]:
    """What the strategy decides. Raises PlanError with the place of what it fails by."""
    try:
        return strategy.decide(book)
    except KeeperError:
        raise
    except (Exception, SystemExit) as error:
        *_, last = extract_tb(error.__traceback__)
        raise PlanError(
            "The strategy fails", seen=repr(error), where=f"{strategy.name}, {last.filename}:{last.lineno}"
        ) from error


@cache
def _kind(name: str) -> Any:
    """The class behind an entry point: to look for it is to read what is installed."""
    return plugins.load(ENTRY_POINTS, name, "There is no such strategy")


def source_digest(strategy: Strategy) -> bytes:
    """SHA-256 of the module that holds the strategy's class."""
    return _digest(type(strategy).__module__)


@cache
def _digest(module: str) -> bytes:
    return sha256(getsource(import_module(module)).encode()).digest()
