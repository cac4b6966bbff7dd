"""How a queued change is shown."""

from typing import Annotated, Any

import typer

from keeper.guardian.powers import moment
from keeper.guardian.watch import Seen

SinceOption = Annotated[
    int, typer.Option("--since", min=0, help="Block of the vault's registration, or an earlier one.")
]


def change(seen: Seen) -> dict[str, Any]:
    """With --json."""
    queued = seen.change
    return {
        "id": queued.id,
        "target": queued.target,
        "contract": queued.contract,
        "function": queued.function,
        "arguments": dict(queued.arguments),
        "data": queued.data,
        "executable_at": queued.executable_at,
        "expires_at": queued.expires_at,
        "stage": seen.stage.value,
        "vetoable": queued.vetoable,
        "foreign": seen.foreign,
        "why": seen.verdict.why,
    }


def change_lines(seen: Seen) -> list[str]:
    """In text."""
    queued = seen.change
    flag = "FOREIGN" if seen.foreign else "queued"
    return [
        f"{flag}  0x{queued.id.hex()}  {seen.stage.value}",
        f"  {queued}",
        f"  may be made from {moment(queued.executable_at)} to {moment(queued.expires_at)}",
        f"  {seen.verdict.why}{'' if queued.vetoable else '; the guardian cannot veto it'}",
    ]
