"""Entries as files that others read: CSV for spreadsheets, beancount for bookkeepers."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from keeper.execution.accounts import Entry, Posting, Unit

COLUMNS: Final = (
    *("time", "chain_id", "vault", "kind", "what", "account", "amount", "currency"),
    *("transaction", "plan"),
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def as_csv(entries: Iterable[Entry]) -> str:
    """A line for each posting; those of an entry add up to nothing in each currency. Text that a spreadsheet
    would take for a formula follows an apostrophe."""
    text = io.StringIO()
    # RFC 4180's ends of lines, so that either of their characters is quoted within a cell.
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for entry in entries:
        for posting in entry.postings:
            cells = (
                _time(entry).isoformat(),
                str(entry.chain_id),
                entry.vault or "",
                entry.kind,
                entry.what,
                ":".join(posting.account),
                exact(posting.amount, posting.unit),
                posting.unit.name,
                "0x" + entry.transaction.hex(),
                "" if entry.plan is None else "0x" + entry.plan.hex(),
            )
            # The amount is made of digits alone.
            writer.writerow([each if place == 6 else _inert(each) for place, each in enumerate(cells)])
    return text.getvalue()


def as_beancount(entries: Iterable[Entry]) -> str:
    """A ledger that `bean-check` takes: every account opened on its first day, every entry balanced."""
    opened: dict[str, datetime] = {}
    lines: list[str] = []
    for entry in entries:
        day = f"{_time(entry):%Y-%m-%d}"
        lines += ["", f"{day} * {_quoted(entry.kind)} {_quoted(entry.what)}"]
        lines.append(f"  transaction: {_quoted('0x' + entry.transaction.hex())}")
        if entry.plan is not None:
            lines.append(f"  plan: {_quoted('0x' + entry.plan.hex())}")
        for posting in entry.postings:
            name = _account(posting)
            opened.setdefault(name, _time(entry))
            lines.append(f"  {name}  {exact(posting.amount, posting.unit)} {_currency(posting.unit)}")
    heads = ['option "title" "omnikeeper"', ""]
    heads += [f"{moment:%Y-%m-%d} open {name}" for name, moment in opened.items()]
    return "\n".join([*heads, *lines]) + "\n"


def exact(amount: int, unit: Unit) -> str:
    """Every digit, and no other sign than a point and a minus: exact(-1234567, USDC) is "-1.234567"."""
    whole, part = divmod(abs(amount), 10**unit.decimals)
    fraction = f".{part:0{unit.decimals}d}" if unit.decimals else ""
    return f"{'-' if amount < 0 else ''}{whole}{fraction}"


def _time(entry: Entry) -> datetime:
    return datetime.fromtimestamp(entry.moment, UTC)


def _inert(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _account(posting: Posting) -> str:
    parts = (re.sub("[^A-Za-z0-9]+", "-", part).strip("-") or "X" for part in posting.account)
    return ":".join(part[:1].upper() + part[1:] for part in parts)


def _currency(unit: Unit) -> str:
    """Letters, digits and some signs, a letter first, and at least two."""
    name = re.sub("[^A-Z0-9._-]+", "-", unit.name.upper()).strip("._-")[:20].rstrip("._-")
    return name if len(name) > 1 and name[0].isalpha() else f"X-{name or 0}"


FORMATS: Final[Mapping[str, Callable[[Iterable[Entry]], str]]] = {"csv": as_csv, "beancount": as_beancount}
