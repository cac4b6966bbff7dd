"""The file of `keeper run`, and everything that it names, opened."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated

from pydantic import Field

from keeper import clock
from keeper.chain.pool import Endpoints, open_pools
from keeper.config import OneEach, StrictModel, load_toml
from keeper.engine import load_strategy
from keeper.errors import ConfigError, LeaseError, RefusedError
from keeper.events import EventStream, JournalFailed, LeaseLost, LeaseTaken
from keeper.execution.breakers import BreakerLimits
from keeper.execution.cycle import Keeper
from keeper.execution.duties import Duties
from keeper.execution.journal.journal import LEASE_SECONDS, Journal, JournalError
from keeper.execution.journal.lease import LONGEST_SECONDS
from keeper.execution.journal.vaults import VaultRecord
from keeper.execution.loop import Loop, Schedule, Seconds, Tended
from keeper.execution.relay import Relayer
from keeper.execution.treasury import GasLimits
from keeper.execution.worker import Worker
from keeper.ops.commands.intend import proposer_key
from keeper.ops.exporter import MetricsSettings
from keeper.ops.webhook import HeartbeatSettings, WebhookSettings
from keeper.planning import policy as policies
from keeper.planning.policy import Policy
from keeper.quorum.admission import require_quorum
from keeper.quorum.equivocation import Sightings
from keeper.quorum.key import KeySource, load_key
from keeper.quorum.requests import Proposer
from keeper.swap.client import LiFi, LiFiConfig


class VaultSettings(StrictModel):
    """A vault by its policy, and where its signers are (see `keeper.quorum.collect`)."""

    policy: Path
    signers: tuple[str, ...] = ()


class RunConfig(StrictModel):
    """The keeper's own TOML. Relative paths are relative to that file.

    `endpoints` is a file of endpoints by chain; `data` the journal's folder, or a `postgresql://` URL; `key`
    pays for gas, and nothing is sent without; `proposer_env` names the variable with the proposer's key.
    `lifi` is a file that says where LiFi is: without it nothing is sold there.
    `lease` is how many seconds after this keeper's end another may take its place, at most an hour; `gas` is
    by chain id. `metrics`, `webhook` and `heartbeat` say who is told what happens; nobody, where they are
    left out.
    """

    endpoints: Path
    data: str
    vaults: Annotated[tuple[VaultSettings, ...], Field(min_length=1)]
    key: KeySource | None = None
    proposer_env: str | None = None
    lifi: Path | None = None
    lease: Annotated[Seconds, Field(le=LONGEST_SECONDS)] = LEASE_SECONDS
    schedule: Schedule = Schedule()
    breakers: BreakerLimits = BreakerLimits()
    metrics: MetricsSettings | None = None
    webhook: WebhookSettings | None = None
    heartbeat: HeartbeatSettings | None = None
    gas: Annotated[dict[int, GasLimits], OneEach] = Field(default_factory=dict)

    def beside(self, folder: Path) -> "RunConfig":
        """The same with paths taken relative to `folder`."""
        key = self.key
        if key is not None and key.keystore is not None:
            key = key.model_copy(update={"keystore": folder / key.keystore})
        vaults = tuple(each.model_copy(update={"policy": folder / each.policy}) for each in self.vaults)
        return self.model_copy(
            update={
                "endpoints": folder / self.endpoints,
                "data": self.data if "://" in self.data else str(folder / self.data),
                "key": key,
                "lifi": None if self.lifi is None else folder / self.lifi,
                "vaults": vaults,
            }
        )


def read_config(path: Path) -> RunConfig:
    """The file, with its paths. Raises ConfigError."""
    return load_toml(path, RunConfig).beside(path.resolve().parent)


def read_policies(config: RunConfig) -> tuple[Policy, ...]:
    """The vaults' policies, in the file's order. Raises ConfigError, also for a vault listed twice, and for a
    chain's gas without a vault there."""
    found = tuple(policies.load(each.policy) for each in config.vaults)
    names = [(each.vault.chain_id, each.vault.vault) for each in found]
    if len(set(names)) != len(names):
        raise ConfigError("A vault is listed twice", expected="one policy for each")
    if strange := sorted(set(config.gas) - {chain for chain, _ in names}):
        raise ConfigError("Gas of a chain without a vault", seen=f"gas.{strange[0]}")
    return found


def named(config: RunConfig, vault: str) -> Policy:
    """The policy of the vault of that address or name. Raises RefusedError unless there is exactly one."""
    found = [
        each
        for each in read_policies(config)
        if vault.lower() in (each.vault.vault.lower(), each.name.lower())
    ]
    if len(found) != 1:
        raise RefusedError(
            "The file lists no such vault" if not found else "The file lists several vaults of that name",
            seen=vault,
        )
    return found[0]


def record_of(journal: Journal, policy: Policy) -> VaultRecord:
    """What the journal holds about a policy's vault."""
    return VaultRecord(journal, policy.vault.chain_id, policy.vault.vault)


def _sightings(config: RunConfig) -> Sightings | None:
    """What finds signers out that sign two plans for one nonce, where there is a folder to keep it in."""
    if config.key is None or "://" in config.data:
        return None
    return Sightings(Path(config.data) / "signatures.sqlite")


async def _lifi(stack: AsyncExitStack, config: RunConfig, policy: Policy, time: clock.Clock) -> LiFi | None:
    """LiFi, opened, if the policy sells there and the file says where that is."""
    if config.lifi is None or policy.swap is None or policy.swap.lifi is None:
        return None
    terms = load_toml(config.lifi, LiFiConfig).beside(config.lifi.parent)
    return await stack.enter_async_context(LiFi(terms, time))


@asynccontextmanager
async def opened(config: RunConfig, events: EventStream) -> AsyncIterator[Loop]:
    """The loop over the file's vaults, with the journal's lease if there is a key.

    Raises ConfigError for what cannot be used, LeaseError while another keeper has the journal.
    """
    rules = read_policies(config)
    for policy in rules:
        # Every plan names its code.
        load_strategy(policy)
    settings = load_toml(config.endpoints, Endpoints)
    account = None if config.key is None else load_key(config.key, os.environ)
    if account is not None and config.proposer_env is None:
        raise ConfigError("Nobody signs for an unknown proposer", expected="proposer_env")
    seat = None if config.proposer_env is None else proposer_key(config.proposer_env)
    if account is not None:
        for policy in rules:
            require_quorum(policy)
    async with AsyncExitStack() as stack:
        chains = {chain for policy in rules for chain in policy.chains}
        pools = await stack.enter_async_context(open_pools(settings, chains, events))
        journal = (
            None
            if account is None
            else await stack.enter_async_context(Journal(config.data, lease_seconds=config.lease))
        )
        if journal is not None:
            events.emit(LeaseTaken())
        tended, worker, sightings = [], Worker(), _sightings(config)
        for policy, vault in zip(rules, config.vaults, strict=True):
            hub = policy.vault.chain_id
            pool, time = pools[hub], clock.named(settings.clock, pools[hub])
            proposer = None if seat is None else Proposer(seat, time)
            lifi = await _lifi(stack, config, policy, time)
            if account is None or journal is None:
                dry = Keeper(policy, pool, time, vault.signers, events, lifi=lifi, worker=worker)
                tended.append(Tended(dry, None))
                continue
            here = tuple(each for each in rules if each.vault.chain_id == hub)
            relayer = Relayer(pool, account, journal, events, settings.chains[hub].replacement, here)
            keeper = Keeper(
                policy, pool, time, vault.signers, events, relayer, proposer, sightings, lifi, worker
            )
            gas = config.gas.get(hub, GasLimits())
            duties = Duties.of(keeper, relayer, config.breakers, gas)
            tended.append(Tended(keeper, duties))
        try:
            yield Loop(tended, config.schedule, events)
        except LeaseError as error:
            events.emit(LeaseLost(reason=str(error)))
            raise
        except JournalError as error:
            events.emit(JournalFailed(reason=str(error)))
            raise
