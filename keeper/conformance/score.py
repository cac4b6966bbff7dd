"""What the suite says of a connector: one line per check, and a reason for every miss."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from keeper.errors import CheckFailedError

_HEADINGS: Final = ("check", "result", "figure")


class MissError(CheckFailedError):
    """A check of the conformance suite found something that a connector must not do."""


@dataclass(frozen=True)
class Score:
    """One check: its name, whether it passed, what it measured, and on a miss the reason.

    `applies` is false where there is nothing to check, such as debts of a connector that has none.
    """

    name: str
    passed: bool
    figure: str = ""
    reason: str = ""
    applies: bool = True

    @property
    def result(self) -> str:
        if not self.applies:
            return "none"
        return "pass" if self.passed else "MISS"


def table(scores: Sequence[Score]) -> str:
    """The scores in aligned columns, and below them why the missed ones were missed."""
    rows = [_HEADINGS, *((each.name, each.result, each.figure) for each in scores)]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}".rstrip() for row in rows]
    missed = [each for each in scores if not each.passed]
    for each in missed:
        lines += ["", f"{each.name}: {each.reason}"]
    total = sum(each.applies for each in scores)
    return "\n".join([*lines, "", f"{total - len(missed)} of {total} checks passed"])
