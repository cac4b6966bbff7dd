"""`keeper snapshot`: pinned blocks and what was read at them, as a file that anyone can check."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from keeper import clock, engine
from keeper.book import Book, open_book
from keeper.chain.pool import Endpoints, open_pools
from keeper.chain.snapshot import Snapshot, retake
from keeper.chain.snapshot import take as take_snapshot
from keeper.config import load_toml
from keeper.errors import ConfigError
from keeper.ops.output import JsonOption, amount, logged_events, show
from keeper.planning import policy as policies
from keeper.planning.policy import Policy

app = typer.Typer(help="Pinned blocks and what was read at them, as a file.", no_args_is_help=True)

PolicyOption = Annotated[Path, typer.Option("--policy", help="The policy whose reads these are.")]
OptionalPolicy = Annotated[Path | None, typer.Option("--policy", help="Its policy, for the book.")]
EndpointsOption = Annotated[Path, typer.Option("--endpoints", help="TOML file of endpoints by chain.")]
HashOption = Annotated[str, typer.Option("--hash", help="The hash the snapshot must have, 0x and 64 digits.")]
FileArgument = Annotated[Path, typer.Argument(help="A saved snapshot.")]


@app.command()
def take(
    policy: PolicyOption,
    endpoints: EndpointsOption,
    out: Annotated[Path, typer.Option("--out", help="Where to save it.")],
    at: Annotated[int | None, typer.Option(min=0, help="Reference time in seconds; now if left out.")] = None,
    json: JsonOption = False,
) -> None:
    """Read everything a plan of the policy rests on, at one time, and save it."""
    loaded = policies.load(policy)
    taken = asyncio.run(_take(loaded, load_toml(endpoints, Endpoints), at, json=json))
    taken.save(out)
    show({"ok": True, **_data(taken, loaded)}, _text(taken, loaded), json=json)


@app.command("show")
def show_saved(
    file: FileArgument, policy: OptionalPolicy = None, hash: HashOption = "", json: JsonOption = False
) -> None:
    """Print what a saved snapshot holds; with its policy the book too. No network is used."""
    loaded = Snapshot.load(file, _word(hash))
    rules = None if policy is None else policies.load(policy)
    show({"ok": True, **_data(loaded, rules)}, _text(loaded, rules), json=json)


@app.command()
def verify(
    file: FileArgument, endpoints: EndpointsOption, hash: HashOption = "", json: JsonOption = False
) -> None:
    """Read the same again, from your own endpoints, and compare. Ends with 1 when anything differs."""
    claimed = Snapshot.load(file, _word(hash))
    settings = load_toml(endpoints, Endpoints)
    own = asyncio.run(_retake(claimed, settings, json=json))
    differences = _differences(claimed, own)
    same = not differences
    text = "The same" if same else "\n".join(["Differs:", *differences])
    data = {"ok": same, "hash": claimed.hash, "own_hash": own.hash, "differences": differences}
    show(data, f"0x{claimed.hash.hex()}\n{text}", json=json)
    if not same:
        raise typer.Exit(1)


async def _take(policy: Policy, settings: Endpoints, at: int | None, *, json: bool) -> Snapshot:
    async with open_pools(settings, policy.chains, logged_events(json=json)) as pools:
        present = clock.named(settings.clock, pools[policy.vault.chain_id])
        time = await present.now() if at is None else at
        return await take_snapshot(pools, engine.calls(policy), time, policy.finality)


async def _retake(claimed: Snapshot, settings: Endpoints, *, json: bool) -> Snapshot:
    chains = [block.chain_id for block in claimed.blocks]
    async with open_pools(settings, chains, logged_events(json=json)) as pools:
        return await retake(pools, claimed)


def _word(text: str) -> bytes | None:
    if not text:
        return None
    digits = text.removeprefix("0x")
    if len(digits) != 64 or set(digits.lower()) - set("0123456789abcdef"):
        raise ConfigError("Not a hash", expected="0x and 64 hex digits", seen=text, where="--hash")
    return bytes.fromhex(digits)


def _differences(claimed: Snapshot, own: Snapshot) -> list[str]:
    lines = []
    for block, theirs, ours in zip(claimed.blocks, claimed.results, own.results, strict=True):
        lines += [
            f"chain {block.chain_id}: {one.target} 0x{one.data[:36].hex()}: "
            f"file 0x{one.returned.hex()}, endpoint 0x{other.returned.hex()}"
            for one, other in zip(theirs, ours, strict=True)
            if one != other
        ]
    headers = [block for block in claimed.blocks if block not in own.blocks]
    lines += [f"chain {block.chain_id}: block {block.number} has another header" for block in headers]
    pasts = [past for past in claimed.history if past not in own.history]
    return [*lines, *(f"chain {past.chain_id}: another history" for past in pasts)]


def _data(taken: Snapshot, policy: Policy | None) -> dict[str, Any]:
    data: dict[str, Any] = {
        "hash": taken.hash,
        "reference_time": taken.reference_time,
        "blocks": [
            {
                "chain_id": block.chain_id,
                "number": block.number,
                "hash": block.hash,
                "timestamp": block.timestamp,
                "results": len(results),
                "failed": sum(not result.success for result in results),
            }
            for block, results in zip(taken.blocks, taken.results, strict=True)
        ],
        "history": [
            {
                "chain_id": past.chain_id,
                "logs": sum(len(each.found) for each in past.logs),
                "points": sum(len(each.points) for each in past.series),
            }
            for past in taken.history
        ],
    }
    if policy is None:
        return data
    book = _book(taken, policy)
    nav = {"low": book.nav.low, "high": book.nav.high}
    return data | {"policy_hash": policy.hash, "nav": nav, "allocation": dict(book.allocation)}


def _book(taken: Snapshot, policy: Policy) -> Book:
    engine.require_call_set(taken, policy)
    return open_book(taken, policy)


def _text(taken: Snapshot, policy: Policy | None) -> str:
    lines = [f"snapshot 0x{taken.hash.hex()}", f"reference time {taken.reference_time}"]
    for block, results in zip(taken.blocks, taken.results, strict=True):
        lines.append(
            f"chain {block.chain_id}  block {block.number}  0x{block.hash.hex()}  time {block.timestamp}  "
            f"{len(results)} results"
        )
    if policy is not None:
        book, vault = _book(taken, policy), policy.vault
        low, high = (amount(value, vault.decimals, vault.symbol) for value in (book.nav.low, book.nav.high))
        lines.append(f"NAV {low} to {high}")
        lines += [
            f"  {venue}  {amount(value, vault.decimals, vault.symbol)}"
            for venue, value in sorted(book.allocation.items())
        ]
    return "\n".join(lines)
