"""A vault at work that earns ether at Aave, LiFi's local service, and who plans, lies and signs there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from staged import Staged

from keeper import engine
from keeper.chain.snapshot import Snapshot
from keeper.clock import ChainClock
from keeper.events import EventStream
from keeper.execution.cycle import Keeper, Turn
from keeper.execution.journal.journal import Journal
from keeper.execution.relay import Relayer
from keeper.planning.evidence import Evidence, EvidenceKind
from keeper.planning.intents import Harvest, Intent, Intents
from keeper.planning.plan import Kind, Plan
from keeper.planning.policy import Policy
from keeper.quorum.collect import Approval
from keeper.quorum.signer import PlanRefusedError
from keeper.simulation.lifi_process import LiFiService
from keeper.simulation.proposers import PROPOSERS, proposer_key
from keeper.swap.client import LiFi, LiFiConfig
from keeper.swap.models import SwapRequest
from keeper.swap.policy import SwapPolicy

AAVE = "aave:USDC"


@dataclass(frozen=True)
class Selling:
    """The vault and the service; `folder` is a test's own."""

    stage: Staged
    service: LiFiService
    folder: Path

    @property
    def swap(self) -> SwapPolicy:
        assert self.stage.policy.swap is not None
        return self.stage.policy.swap

    async def intent(self, *wanted: Intent) -> Evidence:
        """What people want now; the harvest of Aave unless told otherwise."""
        intents = Intents(
            intents=wanted or (Harvest(venue=AAVE),),
            reason="Rewards have piled up.",
            author="desk",
            issued_at=self.stage.head.timestamp,
        )
        return Evidence(EvidenceKind.INTENT, intents.author, intents.issued_at, intents.to_bytes())

    @asynccontextmanager
    async def keeper(self, *, lifi: bool = True) -> AsyncIterator[Keeper]:
        """A proposer; nobody signs but who is asked."""
        stage, events = self.stage, EventStream()
        config = LiFiConfig(
            url=self.service.url, budget_file=self.folder / "budget.json", wait_milliseconds=0
        )
        async with stage.endpoint() as endpoint:
            clock = ChainClock(endpoint)
            alone = Keeper(stage.policy, endpoint, clock, (), events)
            if not lifi:
                yield alone
                return
            async with LiFi(config, clock) as client:
                yield replace(alone, lifi=client)

    async def propose(self, *wanted: Intent) -> Plan:
        async with self.keeper() as keeper:
            return await keeper.propose(Kind.BATCH, (await self.intent(*wanted),))

    async def approve(self, plan: Plan, role: str = "signer1") -> Any:
        """What one signer, with a record of its own, answers."""
        stage = self.stage
        async with stage.endpoint() as endpoint:
            record = self.folder / f"{role}.{plan.plan_hash.hex()[:8]}.sqlite"
            signer = stage.signer(endpoint, record, role)
            return await signer.approve(plan.to_bytes())

    async def refusal(self, plan: Plan) -> PlanRefusedError:
        """How a signer says no to it."""
        with pytest.raises(PlanRefusedError) as refused:
            await self.approve(plan)
        return refused.value

    async def carry_out(self, plan: Plan) -> Turn:
        """Signed by two signers who each derive it, sent, and reconciled."""
        made = [await self.approve(plan, role) for role in ("signer1", "signer2")]
        signatures = tuple(sorted(made, key=lambda each: int(each.signer, 16)))
        account = Account.from_key(self.stage.devnet.key("relayer"))
        async with self.keeper() as keeper, Journal(str(self.folder / "keeper")) as journal:
            relayer = Relayer(keeper.endpoint, account, journal, keeper.events)
            return await replace(keeper, relayer=relayer).execute(plan, Approval(signatures, ()))

    async def request(self, intent: Evidence) -> SwapRequest:
        """The one quote that the intent asks for."""
        (asked,) = engine.quote_requests(await self.stage.snapshot(), self.stage.policy, (intent,))
        return asked

    async def quote(self, request: SwapRequest, **mode: Any) -> Evidence:
        """What the service, behaving so, answers. Raises as the client."""
        self.service.behave(**mode)
        async with self.keeper() as keeper:
            assert keeper.lifi is not None
            quote = await keeper.lifi.quote(request)
        return Evidence(EvidenceKind.QUOTE, "LiFi", quote.observed_at, quote.data)

    def derive(self, taken: Snapshot, policy: Policy, *evidence: Evidence) -> Plan:
        return engine.derive(taken, policy, Kind.BATCH, evidence)

    def files(self, **changes: tuple[str, str]) -> list[str]:
        """The policy, with texts changed in it, and the endpoints, as options of a command."""
        text, devnet = self.stage.deployment.policy_toml, self.stage.devnet
        for old, new in changes.values():
            assert old in text
            text = text.replace(old, new)
        policy, endpoints = self.folder / "policy.toml", self.folder / "endpoints.toml"
        policy.write_text(text)
        endpoints.write_text(
            f'clock = "chain"\n[[chains.{devnet.chain_id}.endpoints]]\nurl = "{devnet.url}"\n'
        )
        return ["--policy", str(policy), "--endpoints", str(endpoints)]

    def intend(self, intent: str, signers: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """`keeper intend` as an operator runs it, who has agreed in advance."""
        wish, lifi = self.folder / "intents.toml", self.folder / "lifi.toml"
        wish.write_text(f'author = "desk"\nreason = "Worth it."\n[[intents]]\n{intent}')
        lifi.write_text(f'url = "{self.service.url}"\nbudget_file = "{self.folder}/budget.json"\n')
        keys = {
            "RELAYER_KEY": self.stage.devnet.key("relayer"),
            "SEAT": proposer_key(PROPOSERS[0]).private_bytes_raw().hex(),
        }
        return subprocess.run(
            [
                *(sys.executable, "-m", "keeper.ops.cli", "intend", str(wish), *self.files()),
                *("--lifi", str(lifi), *(word for url in signers for word in ("--signer", url))),
                *("--relayer-env", "RELAYER_KEY", "--proposer-env", "SEAT", "--yes", "--json"),
                *("--data", str(self.folder / "data")),
            ],
            env={**os.environ, **keys},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
