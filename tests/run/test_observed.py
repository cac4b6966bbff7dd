"""What a keeper that runs tells Prometheus and a webhook, against its journal, the chain and its log."""

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import aiohttp
import pytest
from inbox import SECRET, inbox
from prometheus_client.parser import text_string_to_metric_families as families
from running import DEAD, Post, Running, Said, is_a
from staged import USDC, Staged

from keeper.events import Severity
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.states import State
from keeper.ledger.vault import pps_high, pps_low
from keeper.simulation.cast import Cast
from keeper.simulation.vault import EPOCH_SECONDS

DEPOSIT = 2_000_000 * USDC
URL, KEY = "HOOK_URL", "HOOK_SECRET"
BY_BLOCK = "[schedule]\npoll = 0.2\ninterval = 600.0\n"
"""Passes follow blocks alone, so that nothing moves between two looks of the test."""
METRICS = '[metrics]\nlisten = "127.0.0.1:0"\n'
HOOK = f'[webhook]\nurl_env = "{URL}"\nsecret_env = "{KEY}"\nevents = {[each.value for each in Severity]}\n'


async def read(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200
        return await answer.text()


class Scrape:
    """What Prometheus reads."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._samples = [sample for family in families(text) for sample in family.samples]

    def by(self, name: str, label: str, **known: object) -> dict[str, float]:
        """The figures of a metric by one label, where they are not 0, for `known` values of others."""
        wanted = {(key, str(value)) for key, value in known.items()}
        found: Counter[str] = Counter()
        for sample in self._samples:
            if sample.name == name and wanted <= set(sample.labels.items()):
                found[sample.labels[label]] += sample.value
        return {key: value for key, value in found.items() if value}

    def one(self, name: str, **known: object) -> float:
        (value,) = [
            sample.value
            for sample in self._samples
            if sample.name == name and sample.labels == {key: str(value) for key, value in known.items()}
        ]
        return value


def waits(keeper: Running, *patterns: str) -> None:
    for pattern in patterns:
        keeper.did(pattern)


async def test_metrics_are_what_journal_chain_and_log_say_and_the_webhook_hears_all_of_it(
    stage: Staged, players: Cast, post: Post
) -> None:
    devnet, journal = stage.devnet, Journal(str(post.folder / "data"))
    who, name = devnet.address("relayer"), {"chain_id": devnet.chain_id, "vault": stage.deployment.vault}
    account = {"chain_id": devnet.chain_id, "account": who}
    before = int(devnet.rpc("eth_getTransactionCount", who, "latest"), 16)
    post.vault(stage, players.urls, "vault")
    async with inbox() as hook:
        post.secrets |= {URL: hook.url, KEY: SECRET}
        post.write(BY_BLOCK + METRICS + HOOK)
        stage.request_deposit("user1", DEPOSIT)
        devnet.warp(EPOCH_SECONDS)
        with Running(post) as keeper:
            url = (await asyncio.to_thread(lambda: keeper.started))["metrics"]
            await asyncio.to_thread(waits, keeper, "closed epoch 1")
            devnet.rpc("evm_mine")
            await asyncio.to_thread(waits, keeper, r"settlement in block")
            devnet.rpc("evm_mine")
            await asyncio.to_thread(waits, keeper, r"batch in block")
            # The block of the batch is looked at, too; then there is no other.
            await asyncio.to_thread(keeper.until, is_a("PassFinished"))
            seen = Scrape(await read(url))
            assert json.loads(await read(url.replace("/metrics", "/healthz"))) == {"ok": True, "late": []}
            log = list(keeper.events)
            assert await asyncio.to_thread(keeper.terminate) == 0

    counted = Counter(each["event"] for each in log)
    passes = {"finished": counted["PassFinished"], "failed": counted["PassFailed"]}
    assert seen.by("keeper_passes_total", "outcome", **name) == {k: v for k, v in passes.items() if v}
    assert seen.one("keeper_pass_duration_seconds_count", **name) == sum(passes.values())
    assert seen.by("keeper_breaker_open", "breaker", **name) == {}
    assert seen.one("keeper_lease_held") == 1

    # The journal.
    steps = Counter((each.before, each.after) for each in journal.transitions())
    assert seen.by("keeper_transactions_sent_total", "kind", **account) == {
        "new": steps[State.SIGNED, State.BROADCAST]
    }
    assert seen.by("keeper_transactions_mined_total", "outcome", **account) == {
        "succeeded": steps[State.BROADCAST, State.MINED]
    }
    rows = journal.under_way()
    assert seen.by("keeper_transactions_under_way", "state", **account) == Counter(r.state for r in rows)
    for kind in ("settlement", "batch"):
        stages = seen.by("keeper_plans_total", "stage", **name, kind=kind)
        assert stages == {"built": stages["built"], "approved": 1, "executed": 1}
    assert seen.by("keeper_plans_total", "stage", **name)["executed"] == journal.executions("plan/")

    # The chain.
    assert seen.one("keeper_account_next_nonce", **account) == int(
        devnet.rpc("eth_getTransactionCount", who, "latest"), 16
    )
    receipts = [
        devnet.rpc("eth_getTransactionReceipt", each["transaction"])
        for each in log
        if each["event"] == "TransactionMined"
    ]
    assert seen.one("keeper_account_next_nonce", **account) - before == len(receipts) == 3
    assert seen.one("keeper_gas_used_total", **account) == sum(int(r["gasUsed"], 16) for r in receipts)
    valued = [i for i, each in enumerate(log) if each["event"] == "VaultValued"][-1]
    ((_, at),) = [each for each in log[:valued] if each["event"] == "SnapshotTaken"][-1]["blocks"]
    accounting = stage.accounting(at)
    (low, high), _ = stage.read(stage.portfolio, "nav", at=at)
    supply = accounting.total_supply
    assert seen.by("keeper_vault_nav", "bound", **name) == {"low": low, "high": high}
    assert low > DEPOSIT * 99 // 100
    assert seen.by("keeper_vault_price_per_share", "bound", **name) == {
        "low": float(pps_low(low, supply)),
        "high": float(pps_high(high, supply)),
    }
    assert seen.one("keeper_vault_queued_shares", **name) == accounting.queued_shares

    # The signers.
    signed = seen.by("keeper_plan_signatures_total", "signer", **name)
    assert set(signed) <= set(stage.policy.signers.addresses)
    assert sum(signed.values()) == 2 * stage.policy.signers.threshold

    # The webhook: everything, in the log's order, to the last event before the end.
    own = ("NotificationDelivered", "NotificationLost")
    notes = [json.loads(body) for _, _, body in hook.got]
    assert [each["event"] for each in notes] == [e["event"] for e in keeper.events if e["event"] not in own]
    assert len({each["id"] for each in notes}) == len(notes)
    told = [each for each in log if each["event"] in own]
    assert seen.by("keeper_notifications_total", "outcome").keys() == {"delivered"}
    assert 0 < seen.by("keeper_notifications_total", "outcome")["delivered"] <= len(notes)
    assert {each["event"] for each in told} == {"NotificationDelivered"}

    relayer_key, proposer = post.environment["RELAYER_KEY"], post.environment["PROPOSER_KEY"]
    for secret in ("topsecret", SECRET, relayer_key.removeprefix("0x"), proposer):
        for said in (keeper.log, json.dumps(keeper.started), seen.text, *(str(each) for each in notes)):
            assert secret not in said


@pytest.fixture
def idle(working: Staged) -> Iterator[Staged]:
    """The module's vault, put back after each test."""
    with working.devnet.undone():
        yield working


async def test_a_webhook_that_hangs_holds_up_neither_passes_nor_the_end(idle: Staged, post: Post) -> None:
    post.vault(idle, [DEAD], "vault")
    hook_rules = HOOK + "queue = 2\nflush = 0.5\ntimeout = 100.0\n"
    async with inbox() as hook:
        hook.manner = "hangs"
        post.secrets |= {URL: hook.url, KEY: SECRET}
        post.write("[schedule]\npoll = 0.2\ninterval = 0.5\n" + METRICS + hook_rules, key=False)
        with Running(post) as keeper:
            url = (await asyncio.to_thread(lambda: keeper.started))["metrics"]
            for _ in range(4):
                await asyncio.to_thread(keeper.until, is_a("PassFinished"))
            seen = Scrape(await read(url))
            assert await asyncio.to_thread(keeper.terminate) == 0
    # One is being sent, two wait, and what is beyond that is lost at once.
    assert len(hook.got) == 1

    def lost(reason: str) -> int:
        return sum(each.get("reason") == reason for each in keeper.events if _is_lost(each))

    assert lost("the keeper stopped") == 3
    heard = [each for each in keeper.events if not _is_lost(each)]
    assert lost("the queue is full") == len(heard) - 3
    assert 0 < seen.by("keeper_notifications_total", "outcome")["lost"] <= lost("the queue is full")
    assert seen.by("keeper_notifications_total", "outcome").keys() == {"lost"}
    assert "topsecret" not in keeper.log + seen.text


async def test_a_keeper_that_has_lost_its_lease_says_so_before_it_ends(idle: Staged, post: Post) -> None:
    post.vault(idle, [DEAD], "vault")
    async with inbox() as hook:
        post.secrets |= {URL: hook.url, KEY: SECRET}
        post.write(BY_BLOCK + f'[webhook]\nurl_env = "{URL}"\n')
        with Running(post) as keeper:
            await asyncio.to_thread(keeper.until, lambda said: said["event"].startswith("Pass"))
            with closing(sqlite3.connect(post.folder / "data" / "journal.sqlite")) as journal, journal:
                journal.execute("UPDATE lease SET token = token + 1, holder = 'the second'")
            idle.devnet.rpc("evm_mine")
            lost = await asyncio.to_thread(keeper.until, is_a("LeaseLost"))
            assert "the second" in lost["reason"]
            assert lost["level"] == "critical"
            assert await asyncio.to_thread(keeper.terminate) == 4
    assert json.loads(hook.got[-1][2])["event"] == "LeaseLost"


def _is_lost(said: Said) -> bool:
    return bool(said["event"] == "NotificationLost")
