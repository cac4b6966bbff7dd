"""`keeper intend FILE`: from what people want to a block that did it."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keeper import clock
from keeper.chain.pool import Endpoints, open_pools
from keeper.config import load_toml
from keeper.errors import ConfigError, RefusedError
from keeper.execution.cycle import Keeper, Turn
from keeper.execution.journal.journal import Journal
from keeper.execution.relay import Relayer
from keeper.ops.journal import DataOption, open_journal
from keeper.ops.output import JsonOption, amount, logged_events, show
from keeper.planning import intent_file
from keeper.planning import policy as policies
from keeper.planning.evidence import Evidence, EvidenceKind
from keeper.planning.intents import Intents, describe
from keeper.planning.plan import Kind, Plan
from keeper.planning.policy import Policy
from keeper.quorum.key import KeySource, load_key
from keeper.quorum.requests import Proposer
from keeper.swap.client import LiFi, LiFiConfig

app = typer.Typer(add_completion=False)


@app.command()
def intend(
    file: Annotated[Path, typer.Argument(help="TOML, or JSON, with the intents.")],
    policy: Annotated[Path, typer.Option("--policy", help="The vault's policy.")],
    endpoints: Annotated[Path, typer.Option("--endpoints", help="TOML file of endpoints by chain.")],
    signer: Annotated[list[str] | None, typer.Option(help="URL of a signer; once for each.")] = None,
    proposer_env: Annotated[
        str | None, typer.Option(help="Environment variable with the proposer's Ed25519 key, 64 hex digits.")
    ] = None,
    relayer_env: Annotated[
        str | None, typer.Option(help="Variable that holds the relayer's key; a dry run without.")
    ] = None,
    data: DataOption = None,
    lifi: Annotated[
        Path | None, typer.Option("--lifi", help="TOML file with LiFi's URL; without, nothing is sold there.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Go ahead without asking.")] = False,
    json: JsonOption = False,
) -> None:
    """Show the plan that follows from the intents, ask, and follow it until its block is reconciled.

    Without a relayer's key it only shows the plan. Ends with 4 when there is nothing to do, or it is refused.
    """
    rules = policies.load(policy)
    settings = load_toml(endpoints, Endpoints)
    if relayer_env is not None and not signer:
        raise ConfigError("Nobody to sign the plan", expected="--signer URL, once for each signer")
    key = None if relayer_env is None else KeySource(env=relayer_env)
    seat = None if proposer_env is None else proposer_key(proposer_env)
    journal = None if key is None else open_journal(data)
    swaps = None if lifi is None else load_toml(lifi, LiFiConfig).beside(lifi.resolve().parent)
    asyncio.run(
        _intend(file, rules, settings, tuple(signer or ()), key, seat, journal, swaps, yes=yes, json=json)
    )


def proposer_key(name: str) -> Ed25519PrivateKey:
    """The key in an environment variable. Raises ConfigError, without its value."""
    try:
        return Ed25519PrivateKey.from_private_bytes(
            bytes.fromhex(os.environ.get(name, "").removeprefix("0x"))
        )
    except ValueError:
        raise ConfigError(
            "Environment variable holds no proposer's key", expected="32 bytes in hex", where=name
        ) from None


async def _intend(
    file: Path,
    policy: Policy,
    settings: Endpoints,
    signers: tuple[str, ...],
    key: KeySource | None,
    seat: Ed25519PrivateKey | None,
    journal: Journal | None,
    swaps: LiFiConfig | None,
    *,
    yes: bool,
    json: bool,
) -> None:
    account = None if key is None else load_key(key, os.environ)
    events, hub = logged_events(json=json), policy.vault.chain_id
    async with open_pools(settings, policy.chains, events) as pools, AsyncExitStack() as stack:
        time = clock.named(settings.clock, pools[hub])
        lifi = None if swaps is None else await stack.enter_async_context(LiFi(swaps, time))
        intents = intent_file.read(file, decimals=policy.vault.decimals, issued_at=await time.now())
        proposer = None if seat is None else Proposer(seat, time)
        replacement = settings.chains[hub].replacement
        relayer = (
            None
            if account is None or journal is None
            else Relayer(pools[hub], account, journal, events, replacement)
        )
        keeper = Keeper(policy, pools[hub], time, signers, events, relayer, proposer, lifi=lifi)
        plan = await keeper.propose(Kind.BATCH, (evidence(intents),))
        if relayer is None:
            text = f"{_plan_text(plan, intents, policy)}\nDry run: no relayer key. Nothing was asked or sent."
            show(_data(plan, intents), text, json=json)
            return
        typer.echo(_plan_text(plan, intents, policy), err=json)
        if not yes and not _confirmed():
            raise RefusedError("Not confirmed; nothing was asked or sent")
        # Not before: a lease that waits for a person's answer may end meanwhile.
        async with relayer.journal:
            turn = await keeper.execute(plan, await keeper.approve(plan))
    show(_data(plan, intents) | _outcome(turn), _outcome_text(turn, policy), json=json)


def _confirmed() -> bool:
    # Ctrl-C would cancel what waits for the answer, once it was given.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return typer.confirm("Have it signed and sent?", err=True)
    except typer.Abort:
        return False
    finally:
        signal.signal(signal.SIGINT, handler)


def evidence(intents: Intents) -> Evidence:
    """The intents as a plan carries them."""
    return Evidence(EvidenceKind.INTENT, intents.author, intents.issued_at, intents.to_bytes())


def _data(plan: Plan, intents: Intents) -> dict[str, Any]:
    return {
        "ok": True,
        "plan_hash": plan.plan_hash,
        "author": intents.author,
        "reason": intents.reason,
        "intents": [describe(each) for each in intents.intents],
        "calls": [call.explain() for call in plan.batch.calls],
        "why": plan.batch.reason,
        "min_nav_after": plan.batch.min_nav_after,
        "valid_until": plan.valid_until,
        "sent": False,
    }


def _outcome(turn: Turn) -> dict[str, Any]:
    return {
        "sent": True,
        "transaction": turn.receipt.transaction,
        "block": turn.receipt.block.number,
        "signers": [each.signer for each in turn.approval.signatures],
        "allocation": turn.book.allocation | {"idle": turn.book.idle},
        "elapsed_yield": turn.reconciliation.elapsed_yield,
        "third_party": turn.reconciliation.third_party,
        "unexplained": turn.reconciliation.unexplained,
    }


def _plan_text(plan: Plan, intents: Intents, policy: Policy) -> str:
    vault = policy.vault
    lines = [f"{intents.author}: {intents.reason}"]
    for each in intents.intents:
        lines.append(f"  {describe(each)}" + (f": {each.reason}" if each.reason else ""))
    floor = amount(plan.batch.min_nav_after, vault.decimals, vault.symbol)
    lines += [
        f"plan 0x{plan.plan_hash.hex()}, valid until {plan.valid_until}",
        *(f"  {call.explain()}" for call in plan.batch.calls),
        f"why: {plan.batch.reason}",
        f"NAV may not end below {floor}",
    ]
    return "\n".join(lines)


def _outcome_text(turn: Turn, policy: Policy) -> str:
    vault, block = policy.vault, turn.receipt.block
    held = turn.book.allocation | {"idle": turn.book.idle}
    return "\n".join(
        [
            f"done in block {block.number}, transaction 0x{turn.receipt.transaction.hex()}",
            *(
                f"  {venue}  {amount(value, vault.decimals, vault.symbol)}"
                for venue, value in sorted(held.items())
            ),
            f"unexplained: {amount(turn.reconciliation.unexplained, vault.decimals, vault.symbol)}",
        ]
    )
