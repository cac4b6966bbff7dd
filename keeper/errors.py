"""One root for every error: what was expected, what was seen, where, and what to do next.

`exit_code` is what the command line ends with (the table is in `keeper.ops.cli`).
"""

from typing import ClassVar


def _show(value: object) -> str:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return str(value)


def printable(text: str) -> str:
    """The text in one line that a terminal only shows: whatever else it would do is escaped."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


class KeeperError(Exception):
    """Root of all errors of this package; raised as such only where no subclass fits."""

    exit_code: ClassVar[int] = 5

    def __init__(
        self,
        message: str,
        *,
        expected: object = None,
        seen: object = None,
        where: object = None,
        hint: str | None = None,
    ) -> None:
        """`expected`, `seen` and `where` must not hold secrets: they are printed and logged."""
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.seen = seen
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        facts = [
            f"{name} {_show(value)}"
            for name, value in (("expected", self.expected), ("saw", self.seen))
            if value is not None
        ]
        place = f" [{_show(self.where)}]" if self.where is not None else ""
        detail = ": " + ", ".join(facts) if facts else ""
        hint = f". {self.hint}" if self.hint else ""
        # Others' words may be in it, and what a terminal does with those is not theirs to say.
        return printable(f"{self.message}{place}{detail}{hint}")

    def as_dict(self) -> dict[str, str]:
        """For `--json`: kind, message and whichever of expected, seen, where and hint are known."""
        known = {"expected": self.expected, "seen": self.seen, "where": self.where, "hint": self.hint}
        shown = {name: _show(value) for name, value in known.items() if value is not None}
        return {"kind": type(self).__name__, "message": self.message, **shown}


class CheckFailedError(KeeperError):
    """A check ran to its end and says no."""

    exit_code = 1


class ReconciliationError(CheckFailedError):
    """The chain differs from the prediction by an amount that nothing explains."""


class ValuationError(CheckFailedError):
    """A position cannot be valued, or two valuations of it differ."""


class ConfigError(KeeperError):
    """A file, option or environment variable that cannot be used as it is."""

    exit_code = 2


class EndpointError(KeeperError):
    """An endpoint cannot be used, or answered with an error."""

    exit_code = 3


class EndpointDownError(EndpointError):
    """No usable HTTP answer: refused, timed out, 429, 5xx or not JSON."""


class RateLimitedError(EndpointDownError):
    """The endpoint asks for a pause of `rest` seconds, where it says how long."""

    def __init__(self, message: str, *, rest: float | None, where: object = None) -> None:
        hint = "Add another endpoint, or ask this one for a higher limit"
        super().__init__(message, seen=None if rest is None else f"rest {rest:g} s", where=where, hint=hint)
        self.rest = rest


class OversizedReplyError(EndpointError):
    """The reply is longer than is taken from an endpoint."""


class RpcError(EndpointError):
    """The endpoint answered with a JSON-RPC error."""

    def __init__(
        self,
        message: str,
        *,
        code: int,
        data: object = None,
        where: object = None,
        said: str = "",
        executes: bool = False,
    ) -> None:
        """`said` is the endpoint's own message; `executes` says that what was asked runs code."""
        super().__init__(message, where=where)
        self.code = code
        self.data = data
        self.said = said or message
        self.reverted = executes and (code == 3 or (isinstance(data, str) and data.startswith("0x")))


class WrongChainError(EndpointError):
    """The endpoint serves another chain."""


class StaleHeadError(EndpointError):
    """The endpoint's head is too old for what is asked: it is behind."""


class UnknownBlockError(EndpointError):
    """The endpoint does not know the block."""


class ReorganisedError(EndpointError):
    """The block was reorganised away: another hash is canonical at its number."""


class HeaderError(EndpointError):
    """The header is not the one asked for, or does not hash to its hash."""


class PrunedStateError(EndpointError):
    """The endpoint no longer has the state of the block."""


class NotReplayedError(EndpointError):
    """A mined block cannot be replayed, or another comes of it: nothing is known of what is inside it."""


class DisagreementError(EndpointError):
    """Two endpoints say different things about the same block."""


class DecodeError(KeeperError):
    """Bytes do not mean what their type says: a file or an answer is another one, or damaged."""

    exit_code = 1


class PlanError(KeeperError):
    """A plan cannot be built, or is malformed."""

    exit_code = 4


class PolicyError(KeeperError):
    """The policy does not allow it."""

    exit_code = 4


class RefusedError(KeeperError):
    """A signer or the keeper refuses to go on."""

    exit_code = 4


class LeaseError(RefusedError):
    """Another keeper may write to the journal, and this one not."""


class QuorumError(KeeperError):
    """Too few, unknown, repeated or invalid signatures."""

    exit_code = 4


class RevertError(KeeperError):
    """A call or transaction reverted with `name(args)`."""

    exit_code = 6

    def __init__(self, name: str, args: tuple[object, ...] = (), *, where: object = None) -> None:
        shown = ", ".join(_show(arg) for arg in args)
        super().__init__(f"Reverted with {name}({shown})", where=where)
        self.name = name
        self.arguments = args
