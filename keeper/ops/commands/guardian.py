"""`keeper guardian pause|veto|exit-only|watch`: the powers that need no quorum, and what to use them for."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from keeper import clock
from keeper.chain.block import hex_bytes
from keeper.chain.pool import Endpoints, open_pools
from keeper.chain.rpc import Source
from keeper.config import load_toml, parse
from keeper.errors import ConfigError, DecodeError
from keeper.execution.sending import Sender
from keeper.guardian import powers
from keeper.guardian.act import Done, carry_out, has_key, rehearsed
from keeper.guardian.powers import Intervention, moment
from keeper.guardian.queue import Submissions
from keeper.guardian.section import Section, read_section
from keeper.guardian.watch import Look, Watcher
from keeper.ops.changes import SinceOption, change, change_lines
from keeper.ops.journal import DataOption, open_journal
from keeper.ops.output import JsonOption, logged_events, show
from keeper.planning import policy as policies
from keeper.planning.policy import Policy
from keeper.quorum.key import KeySource, load_key
from keeper.units import Address

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

app = typer.Typer(help="Pause, veto, exit-only, and what is queued.", no_args_is_help=True)

FOREIGN: Final = 1
"""Exit code of `watch --once` when something is queued, or granted, that the policy does not contain."""

PolicyOption = Annotated[Path, typer.Option("--policy", help="The vault's policy.")]
EndpointsOption = Annotated[Path, typer.Option("--endpoints", help="TOML file of endpoints by chain.")]
KeystoreOption = Annotated[
    Path | None, typer.Option("--keystore", help="Encrypted keystore of the guardian's key.")
]
PasswordOption = Annotated[
    str | None, typer.Option("--password-env", help="Variable that holds the keystore's password.")
]
KeyOption = Annotated[str | None, typer.Option("--key-env", help="Variable that holds the key in hex.")]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Send nothing, key or not.")]

Prepare = Callable[[Source, Section, Address], Awaitable[Intervention]]


@app.callback()
def guardian() -> None:
    """Pause, veto, exit-only, and what is queued.

    Without a key nothing is sent: the command says what would happen and prints the call.
    """


@app.command()
def pause(
    policy: PolicyOption,
    endpoints: EndpointsOption,
    keystore: KeystoreOption = None,
    password_env: PasswordOption = None,
    key_env: KeyOption = None,
    data: DataOption = None,
    dry_run: DryOption = False,
    json: JsonOption = False,
) -> None:
    """Stop deposits and new risk for seven days. Never stops exits."""
    rules, account = policies.load(policy), _key(keystore, password_env, key_env)

    async def prepare(source: Source, section: Section, by: Address) -> Intervention:
        return powers.pause(rules, section)

    _act(rules, endpoints, account, prepare, data, dry_run=dry_run, json=json)


@app.command()
def veto(
    change: Annotated[str, typer.Argument(help="Id of the queued change, 32 bytes in hex.")],
    policy: PolicyOption,
    endpoints: EndpointsOption,
    since: SinceOption = 0,
    keystore: KeystoreOption = None,
    password_env: PasswordOption = None,
    key_env: KeyOption = None,
    data: DataOption = None,
    dry_run: DryOption = False,
    json: JsonOption = False,
) -> None:
    """Withdraw a queued change."""
    id_ = _id(change)
    rules, account = policies.load(policy), _key(keystore, password_env, key_env)

    async def prepare(source: Source, section: Section, by: Address) -> Intervention:
        queue = await Submissions(source, rules.vault, since).queued(section)
        return powers.veto(rules, section, queue, id_, by)

    _act(rules, endpoints, account, prepare, data, dry_run=dry_run, json=json)


@app.command("exit-only")
def exit_only(
    connector: Annotated[str, typer.Argument(help="A venue of the policy, or a connector's address.")],
    policy: PolicyOption,
    endpoints: EndpointsOption,
    keystore: KeystoreOption = None,
    password_env: PasswordOption = None,
    key_env: KeyOption = None,
    data: DataOption = None,
    dry_run: DryOption = False,
    json: JsonOption = False,
) -> None:
    """Let a connector's positions only shrink, until governance clears it."""
    rules, account = policies.load(policy), _key(keystore, password_env, key_env)

    async def prepare(source: Source, section: Section, by: Address) -> Intervention:
        return powers.exit_only(rules, section, connector)

    _act(rules, endpoints, account, prepare, data, dry_run=dry_run, json=json)


@app.command()
def watch(
    policy: PolicyOption,
    endpoints: EndpointsOption,
    since: SinceOption = 0,
    once: Annotated[
        bool, typer.Option("--once", help="Look once, and end with 1 for what is foreign.")
    ] = False,
    interval: Annotated[int, typer.Option(min=1, help="Seconds between looks.")] = 4,
    json: JsonOption = False,
) -> None:
    """Show queued changes, and flag what the policy does not contain; goes on at each new block.

    Prints the first look and each that differs from the one before: with --json one object a line.
    """
    rules, settings = policies.load(policy), load_toml(endpoints, Endpoints)
    if once:
        seen = asyncio.run(_look(rules, settings, since, json=json))
        _tell(rules, seen, json=json)
        if not seen.ok:
            raise typer.Exit(FOREIGN)
        return
    asyncio.run(_follow(rules, settings, since, interval, json=json))


# ACTING


def _key(keystore: Path | None, password_env: str | None, key_env: str | None) -> "LocalAccount | None":
    """The account of the options; None when there are none. Raises ConfigError."""
    given = {"keystore": keystore, "password_env": password_env, "env": key_env}
    named = {name: value for name, value in given.items() if value is not None}
    return load_key(parse(named, KeySource, where="the key's options"), os.environ) if named else None


def _id(text: str) -> bytes:
    try:
        id_ = hex_bytes(text)
    except DecodeError:
        id_ = b""
    if len(id_) != 32:
        raise ConfigError(
            "Not the id of a change", expected="0x and 64 hex digits", seen=text, where="CHANGE"
        )
    return id_


def _act(
    policy: Policy,
    endpoints: Path,
    account: "LocalAccount | None",
    prepare: Prepare,
    data: str | None,
    *,
    dry_run: bool,
    json: bool,
) -> None:
    settings = load_toml(endpoints, Endpoints)
    asyncio.run(_intervene(policy, settings, account, prepare, data, dry_run=dry_run, json=json))


async def _intervene(
    policy: Policy,
    settings: Endpoints,
    account: "LocalAccount | None",
    prepare: Prepare,
    data: str | None,
    *,
    dry_run: bool,
    json: bool,
) -> None:
    hub, events = policy.vault.chain_id, logged_events(json=json)
    journal = None if account is None or dry_run else open_journal(data)
    async with open_pools(settings.in_public(), [hub], events) as pools:
        source = pools[hub]
        section = await read_section(source, policy, await source.latest())
        by = section.guardian if account is None else Address(account.address)
        powers.require_power(section, by)
        intervention = await prepare(source, section, by)
        alone = await has_key(source, section.guardian)
        text = "\n".join(_before(policy, section, intervention, alone=alone))
        if account is None or journal is None:
            await rehearsed(source, section, intervention)
            text += "\n" + "\n".join(_unsent(policy, intervention, alone=alone))
            show(_data(policy, section, intervention, None, alone=alone), text, json=json)
            return
        if not json:
            typer.echo(text)
        async with journal:
            finality, replacement = policy.finality[hub], settings.chains[hub].replacement
            sender = Sender(source, account, journal, events, finality, replacement=replacement)
            done = await carry_out(sender, intervention)
        show(_data(policy, section, intervention, done, alone=alone), "\n".join(_after(done)), json=json)


def _data(
    policy: Policy, section: Section, intervention: Intervention, done: Done | None, *, alone: bool
) -> dict[str, Any]:
    sent = None
    if done is not None:
        receipt = done.receipt
        sent = {
            "hash": receipt.transaction,
            "block": receipt.block.number,
            "gas_used": receipt.gas_used,
            "effect": done.effect,
        }
    return {
        "ok": True,
        "action": intervention.name,
        "vault": policy.vault.vault,
        "block": {"number": section.block.number, "hash": section.block.hash},
        "guardian": section.guardian,
        "guardian_has_key": alone,
        "explanation": intervention.explanation,
        "call": _call(policy, intervention),
        "transaction": sent,
    }


def _call(policy: Policy, intervention: Intervention) -> dict[str, Any]:
    call = intervention.call
    return {"chain_id": policy.vault.chain_id, "to": call.target, "value": 0, "data": call.data}


def _before(policy: Policy, section: Section, intervention: Intervention, *, alone: bool) -> list[str]:
    told, block = intervention.explanation, section.block
    return [
        f"vault {policy.vault.vault}  block {block.number}, {moment(block.timestamp)}",
        f"guardian {section.guardian}{'' if alone else ' (a contract)'}",
        "",
        told.does,
        f"Until: {told.until}.",
        *(f"Stops: {each}" for each in told.stops),
        *(f"Goes on: {each}" for each in told.leaves),
        f"No way back: {told.cannot_be_undone}",
        "",
    ]


def _unsent(policy: Policy, intervention: Intervention, *, alone: bool) -> list[str]:
    call = _call(policy, intervention)
    whose = "Send it with --keystore or --key-env" if alone else "Have the guardian's contract make it"
    return [
        "Simulated: it succeeds. Nothing was sent.",
        f"{whose}, or by any other means:",
        f"  chain  {call['chain_id']}",
        f"  to     {call['to']}",
        "  value  0",
        f"  data   0x{intervention.call.data.hex()}",
    ]


def _after(done: Done) -> list[str]:
    receipt = done.receipt
    return [
        f"Mined: 0x{receipt.transaction.hex()} in block {receipt.block.number}, {receipt.gas_used:,} gas.",
        f"On chain now: {done.effect}.",
    ]


# WATCHING


async def _look(policy: Policy, settings: Endpoints, since: int, *, json: bool) -> Look:
    hub = policy.vault.chain_id
    async with open_pools(settings, [hub], logged_events(json=json)) as pools:
        return await Watcher(pools[hub], policy, clock.named(settings.clock, pools[hub]), since).look()


async def _follow(policy: Policy, settings: Endpoints, since: int, interval: int, *, json: bool) -> None:
    hub, events = policy.vault.chain_id, logged_events(json=json)
    async with open_pools(settings, [hub], events) as pools:
        watcher = Watcher(pools[hub], policy, clock.named(settings.clock, pools[hub]), since)
        told = partial(_tell, policy, json=json)
        watching = asyncio.create_task(watcher.follow(told, interval, events))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, watching.cancel)
        with suppress(asyncio.CancelledError):
            await watching


def _tell(policy: Policy, seen: Look, *, json: bool) -> None:
    section, block = seen.section, seen.section.block
    data = {
        "ok": seen.ok,
        "vault": policy.vault.vault,
        "block": {"number": block.number, "hash": block.hash, "timestamp": block.timestamp},
        "guardian": section.guardian,
        "risk_paused_until": section.risk_paused_until,
        "exit_only": section.exit_only,
        "queue": [change(each) for each in seen.queue],
        "differences": seen.differences,
    }
    head = f"vault {policy.vault.vault}  block {block.number}, {moment(block.timestamp)}"
    lines = [head, *_state(section), *(line for each in seen.queue for line in change_lines(each))]
    if not seen.queue:
        lines.append("nothing is queued")
    lines += [f"DIFFERS  {each}" for each in seen.differences]
    lines.append(
        "The policy contains everything." if seen.ok else "The policy does not contain what is flagged."
    )
    show(data, "\n".join(lines), json=json)


def _state(section: Section) -> list[str]:
    paused = section.block.timestamp < section.risk_paused_until
    lines = [f"paused until {moment(section.risk_paused_until)}"] if paused else []
    return [*lines, *(f"exit-only {each}" for each in section.exit_only)]
