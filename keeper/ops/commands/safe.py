"""`keeper safe`: plans as transactions of a Safe, from owner to owner as files or through a service."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import Field

from keeper import clock, engine
from keeper.chain import lens
from keeper.chain.pool import Endpoints, Pool, open_pools
from keeper.config import EndpointUrl, StrictModel, Url, api_key, load_toml
from keeper.contracts.abi import address
from keeper.errors import ConfigError
from keeper.execution.cycle import Keeper
from keeper.execution.relay import Relayer
from keeper.ops.journal import open_journal
from keeper.ops.output import JsonOption, logged_events, show
from keeper.planning import policy as policies
from keeper.planning.plan import MAX_PLAN_BYTES, Plan
from keeper.planning.policy import Policy
from keeper.quorum.key import KeySource, load_key
from keeper.quorum.record import Promises
from keeper.quorum.signer import Signer
from keeper.quorum.typed_data import Signature
from keeper.safe import envelope as envelopes
from keeper.safe import execution
from keeper.safe.account import SafeReads, facts, modules_of
from keeper.safe.envelope import Envelope, safe_policy
from keeper.safe.nested import Member
from keeper.safe.nonces import Queued
from keeper.safe.owner import Owner, State, read_state
from keeper.safe.service import TransactionService
from keeper.units import Address

app = typer.Typer(help="Plans as transactions of a Safe in the keeper role.", no_args_is_help=True)

PolicyOption = Annotated[Path, typer.Option("--policy", help="The vault's policy, with a section safe.")]
EndpointsOption = Annotated[Path, typer.Option("--endpoints", help="TOML file of endpoints by chain.")]
OutOption = Annotated[Path, typer.Option("--out", help="Where to write it.")]
ServiceOption = Annotated[str, typer.Option("--service", help="URL of a Safe transaction service.")]
ServiceKeyOption = Annotated[
    str, typer.Option("--service-key-env", help="Variable that holds the service's API key.")
]
ReplaceOption = Annotated[
    bool, typer.Option("--replace", help="Instead of what is queued under the same nonce.")
]
ConfigOption = Annotated[Path, typer.Option("--config", help="The owner's, or relayer's, own TOML file.")]
FileArgument = Annotated[Path, typer.Argument(help="A proposed Safe transaction.")]


class OwnerConfig(StrictModel):
    """An owner's or relayer's own TOML. Relative paths are relative to that file. `record` is the owner's
    file of promises; it may be shared with `keeper signer`. `data` is the relayer's journal: a folder, or a
    postgresql:// URL."""

    policy: Path
    endpoints: Path
    key: KeySource
    record: Path | None = None
    data: str = Field(default="", repr=False)
    service: Url | None = None
    service_key_env: str = ""

    def beside(self, folder: Path) -> "OwnerConfig":
        """The same with paths taken relative to `folder`."""
        paths: dict[str, Any] = {"policy": folder / self.policy, "endpoints": folder / self.endpoints}
        if self.data and "://" not in self.data:
            paths["data"] = str(folder / self.data)
        if self.record is not None:
            paths["record"] = folder / self.record
        if self.key.keystore is not None:
            paths["key"] = self.key.model_copy(update={"keystore": folder / self.key.keystore})
        return self.model_copy(update=paths)


@app.command()
def propose(
    plans: Annotated[list[Path], typer.Argument(help="Plans, in the order in which they are carried out.")],
    policy: PolicyOption,
    endpoints: EndpointsOption,
    out: OutOption,
    nonce: Annotated[
        int | None, typer.Option(min=0, help="The Safe's nonce; the next free if left out.")
    ] = None,
    service: ServiceOption = "",
    service_key_env: ServiceKeyOption = "",
    replace: ReplaceOption = False,
    json: JsonOption = False,
) -> None:
    """Make one Safe transaction of plans, under a nonce that chain and queue leave free."""
    rules = policies.load(policy)
    read = [_plan(path) for path in plans]

    async def make() -> Envelope:
        async with (
            _hub(rules, endpoints, json=json) as (_, hub),
            _service(service, service_key_env, rules) as at,
        ):
            waiting = await _queue(at, rules, hub)
            return await execution.propose(read, rules, hub, waiting, nonce=nonce, replacing=replace)

    made = asyncio.run(make())
    envelopes.save(made, out, new=True)
    show(_data(made), _text(made), json=json)


@app.command()
def sign(
    file: FileArgument,
    config: ConfigOption,
    out: Annotated[Path | None, typer.Option("--out", help="Where to write it, if not to FILE.")] = None,
    within: Annotated[
        str, typer.Option("--within", help="The Safe, itself an owner, that this key is an owner of.")
    ] = "",
    replace: ReplaceOption = False,
    json: JsonOption = False,
) -> None:
    """Derive every plan from your own endpoints, rehearse the transaction, and add your signature.

    With a service in the configuration its queue is read first, and the signature is left there as well,
    unless it is in the name of a Safe: those go from file to file.
    """
    settings = load_toml(config, OwnerConfig).beside(config.resolve().parent)
    safe = address(within) if within else None
    signed = asyncio.run(_sign(envelopes.load(file), settings, safe, replace=replace, json=json))
    envelopes.save(signed, out or file)
    show(_data(signed), _text(signed), json=json)


@app.command("show")
def show_file(
    file: FileArgument,
    policy: Annotated[Path | None, typer.Option("--policy", help="Its policy, to ask the chain.")] = None,
    endpoints: Annotated[Path | None, typer.Option("--endpoints", help="TOML file of endpoints.")] = None,
    json: JsonOption = False,
) -> None:
    """Print what a transaction does and who has signed it; with policy and endpoints, what the Safe says."""
    loaded = envelopes.load(file)
    if (policy is None) != (endpoints is None):
        raise ConfigError("The chain is asked by a policy through endpoints", expected="both or neither")
    account = None
    if policy is not None and endpoints is not None:
        rules = policies.load(policy)
        loaded.require(rules)
        account = asyncio.run(_account(rules, endpoints, json=json))
    data = _data(loaded) | ({} if account is None else {"account": account})
    lines = [] if account is None else [f"{name}: {_words(value)}" for name, value in account.items()]
    show(data, "\n".join([_text(loaded), *lines]), json=json)


@app.command()
def merge(
    files: Annotated[list[Path], typer.Argument(help="Files of one transaction, each with signatures.")],
    out: OutOption,
    policy: Annotated[Path | None, typer.Option("--policy", help="Its policy, to ask a service.")] = None,
    service: ServiceOption = "",
    service_key_env: ServiceKeyOption = "",
    json: JsonOption = False,
) -> None:
    """Put the signatures of several files, and those left at a service, into one."""
    merged, *others = [envelopes.load(path) for path in files]
    for other in others:
        merged = merged.merge(other)
    dropped: Sequence[str] = ()
    if service:
        if policy is None:
            raise ConfigError("A service's signatures count by the policy's signers", expected="--policy")
        rules = policies.load(policy)
        merged.require(rules)
        found, dropped = asyncio.run(_collect(merged, rules, service, service_key_env))
        merged = merged.with_signatures(found)
    envelopes.save(merged, out)
    lines = [f"not counted: {reason}" for reason in dropped]
    show({**_data(merged), "not_counted": dropped}, "\n".join([_text(merged), *lines]), json=json)


@app.command()
def send(file: FileArgument, config: ConfigOption, json: JsonOption = False) -> None:
    """Simulate and send a transaction that enough owners have signed, and reconcile its block.

    The key pays the gas and needs no role.
    """
    settings = load_toml(config, OwnerConfig).beside(config.resolve().parent)
    result = asyncio.run(_send(envelopes.load(file), settings, json=json))
    text = "\n".join(f"{name}: {_words(value)}" for name, value in result.items())
    show({"ok": True, **result}, text, json=json)


# WORK


@asynccontextmanager
async def _hub(policy: Policy, endpoints: Path, *, json: bool) -> AsyncIterator[tuple[Endpoints, Pool]]:
    settings = load_toml(endpoints, Endpoints)
    async with open_pools(settings, policy.chains, logged_events(json=json)) as pools:
        yield settings, pools[policy.vault.chain_id]


@asynccontextmanager
async def _service(url: str, key_env: str, policy: Policy) -> AsyncIterator[TransactionService | None]:
    if not url:
        yield None
        return
    key = api_key(key_env, "an API key")
    async with TransactionService(EndpointUrl(url), policy.vault.chain_id, api_key=key) as service:
        yield service


async def _queue(service: TransactionService | None, policy: Policy, hub: Pool) -> tuple[Queued, ...]:
    if service is None:
        return ()
    safe = policy.vault.quorum
    state = await read_state(hub, SafeReads(safe))
    return await service.queue(safe, state.nonce)


async def _sign(
    envelope: Envelope, config: OwnerConfig, within: Address | None, *, replace: bool, json: bool
) -> Envelope:
    rules = policies.load(config.policy)
    envelope.require(rules)
    if config.record is None:
        raise ConfigError("An owner remembers what it signed", expected="record", where="--config")
    account = load_key(config.key, os.environ)
    settings, url = load_toml(config.endpoints, Endpoints), config.service
    async with AsyncExitStack() as stack:
        pools = await stack.enter_async_context(open_pools(settings, rules.chains, logged_events(json=json)))
        hub = pools[rules.vault.chain_id]
        signer = Signer(
            policy=rules,
            engine=engine,
            endpoints=pools,
            clock=clock.named(settings.clock, hub),
            promises=Promises(config.record),
            account=account,
        )
        service = await stack.enter_async_context(
            _service("" if url is None else url.secret(), config.service_key_env, rules)
        )
        waiting = await _queue(service, rules, hub)
        signature = await Owner(signer, hub).sign(envelope, waiting, replace=replace, within=within)
        if within is not None:
            return envelope.with_members([Member(within, signature)])
        if service is not None:
            await _leave(service, envelope, signature)
    return envelope.with_signatures([signature])


async def _leave(service: TransactionService, envelope: Envelope, signature: Signature) -> None:
    transaction = envelope.transaction
    if await service.known(transaction):
        await service.confirm(transaction, signature)
        return
    kinds = "+".join(plan.kind.value for plan in envelope.plans)
    await service.propose(transaction, signature, f"{kinds} plan 0x{envelope.plans[0].plan_hash.hex()}")


async def _collect(
    envelope: Envelope, policy: Policy, url: str, key_env: str
) -> tuple[tuple[Signature, ...], tuple[str, ...]]:
    async with _service(url, key_env, policy) as service:
        if service is None:
            return (), ()
        return await service.confirmations(envelope.transaction, policy.signers.addresses)


async def _account(policy: Policy, endpoints: Path, *, json: bool) -> dict[str, Any]:
    """What the Safe says of itself, beside who could act for it without signatures."""
    async with _hub(policy, endpoints, json=json) as (_, hub):
        reads = SafeReads(policy.vault.quorum)
        state: State = await read_state(hub, reads)
        named = facts(safe_policy(policy), reads)
        *values, modules = await lens.read(hub, state.block, [*(call for _, _, call in named), reads.modules])
    return {
        "nonce": state.nonce,
        "threshold": state.threshold,
        "owners": state.owners,
        "owners that are contracts": state.contracts,
        **{what: value for (what, _, _), value in zip(named, values, strict=True)},
        "Safe's modules": modules_of(modules),
    }


async def _send(envelope: Envelope, config: OwnerConfig, *, json: bool) -> dict[str, Any]:
    rules = policies.load(config.policy)
    account = load_key(config.key, os.environ)
    events = logged_events(json=json)
    async with _hub(rules, config.endpoints, json=json) as (settings, hub):
        replacement = settings.chains[hub.chain_id].replacement
        async with open_journal(config.data) as journal:
            relayer = Relayer(hub, account, journal, events, replacement)
            receipt = await execution.send(envelope, rules, relayer)
        keeper = Keeper(rules, hub, clock.named(settings.clock, hub), (), events, relayer)
        result, book = await keeper.reconcile(envelope.plans, receipt)
    return {
        "safe_tx_hash": envelope.hash,
        "transaction": receipt.transaction,
        "block": receipt.block.number,
        "gas_used": receipt.gas_used,
        "unexplained": result.unexplained,
        "nav_low": book.nav.low,
        "nav_high": book.nav.high,
    }


# WORDS


def _plan(path: Path) -> Plan:
    try:
        with path.open("rb") as file:
            return Plan.from_bytes(file.read(MAX_PLAN_BYTES + 1))
    except OSError as error:
        raise ConfigError("Cannot read the plan", where=path, seen=error.strerror) from error


def _data(envelope: Envelope) -> dict[str, Any]:
    transaction = envelope.transaction
    return {
        "ok": True,
        "safe_tx_hash": envelope.hash,
        "chain_id": transaction.chain_id,
        "safe": envelope.safe,
        "nonce": envelope.nonce,
        "to": transaction.to,
        "operation": transaction.operation.name.lower(),
        "plans": [
            {
                "hash": plan.plan_hash,
                "kind": plan.kind.value,
                "slot": plan.slot,
                "valid_after": plan.valid_after,
                "valid_until": plan.valid_until,
            }
            for plan in envelope.plans
        ],
        "signed_by": [each.signer for each in envelope.signatures],
        "signed_within": [[each.safe, each.signature.signer] for each in envelope.members],
    }


def _text(envelope: Envelope) -> str:
    transaction = envelope.transaction
    lines = [
        f"Safe transaction 0x{envelope.hash.hex()}",
        f"Safe {envelope.safe} on chain {transaction.chain_id}, nonce {envelope.nonce}",
        f"{transaction.operation.name.lower()} of {transaction.to}",
        *(
            f"{plan.kind.value} {plan.slot}: plan 0x{plan.plan_hash.hex()}, valid until {plan.valid_until}"
            for plan in envelope.plans
        ),
        f"signed by: {_words([each.signer for each in envelope.signatures])}",
        *(f"within {each.safe} signed by: {each.signature.signer}" for each in envelope.members),
    ]
    return "\n".join(lines)


def _words(value: object) -> str:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, list | tuple):
        return ", ".join(str(each) for each in value) or "none"
    return str(value)
