"""A whole pass of `keeper run` through what networks do (`network_faults`): an epoch is closed, once."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from network_faults import ROWS, TIMEOUT
from running import DEAD, KEY, PROPOSER, Post
from staged import USDC, Staged

from keeper.events import EventStream
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.vaults import Breaker, VaultRecord
from keeper.ops.running import opened, read_config
from keeper.simulation.proxy import Fault, Proxy
from keeper.simulation.vault import EPOCH_SECONDS

Proxies = tuple[Proxy, Proxy]


@pytest.fixture
def stage(working: Staged) -> Iterator[Staged]:
    """The module's vault with a deposit that waits for the epoch's end, put back after each test."""
    with working.devnet.undone():
        working.request_deposit("user2", 1_000 * USDC)
        working.devnet.warp(EPOCH_SECONDS)
        yield working


@pytest.fixture
def proxies(stage: Staged) -> Iterator[Proxies]:
    url, chain = stage.devnet.url, stage.devnet.chain_id
    with Proxy([url], chain) as one, Proxy([url], chain) as other:
        yield one, other


@pytest.fixture
def post(post: Post, stage: Staged, monkeypatch: pytest.MonkeyPatch) -> Post:
    """A keeper's folder whose signers are not there: closing an epoch needs none."""
    for name in (KEY, PROPOSER):
        monkeypatch.setenv(name, post.environment[name])
    post.vault(stage, [DEAD], "vault")
    post.write()
    return post


def reach(post: Post, proxies: Sequence[Proxy], head: str = 'clock = "chain"', rules: str = "") -> None:
    """Writes the file of endpoints."""
    chain = post.stage.devnet.chain_id
    lines = [head, f"[chains.{chain}]", rules]
    for proxy in proxies:
        lines += [f"[[chains.{chain}.endpoints]]", f'url = "{proxy.url}"', f"timeout = {TIMEOUT}"]
    (post.folder / "endpoints.toml").write_text("\n".join(lines))


async def closes_the_epoch(post: Post, proxies: Proxies) -> bool:
    """One pass, in which the chain goes on once something was sent. Whether nothing went wrong in it."""
    stage, events = post.stage, EventStream()
    epoch = stage.accounting().current_epoch
    async with stage.endpoint() as node, opened(read_config(post.folder / "keeper.toml"), events) as loop:

        async def blocks() -> None:
            while True:
                await asyncio.sleep(0.1)
                if any(proxy.seen["eth_sendRawTransaction"] for proxy in proxies):
                    await node.rpc("evm_mine")

        mining = asyncio.create_task(blocks())
        try:
            well = await loop.once()
        finally:
            mining.cancel()
            await asyncio.gather(mining, return_exceptions=True)
    assert stage.accounting().current_epoch == epoch + 1
    assert Journal(str(post.folder / "data")).executions("close/") == 1
    return well


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.passes])
async def test_a_pass_survives_the_network(stage: Staged, post: Post, proxies: Proxies, name: str) -> None:
    row = ROWS[name]
    reach(post, proxies[: 1 + row.beside])
    fault = row.fault(stage.devnet.block())
    proxies[0].faults = [fault]
    assert await closes_the_epoch(post, proxies)
    assert any(seen for method, seen in proxies[0].seen.items() if method.startswith(fault.method))


async def test_a_pass_that_is_told_two_things_does_nothing_and_trips(
    stage: Staged, post: Post, proxies: Proxies
) -> None:
    reach(post, proxies, rules="agreement = 2")
    proxies[0].faults = [Fault("eth_call", change=lambda result: result[:-2] + "77")]
    before = stage.state()
    async with opened(read_config(post.folder / "keeper.toml"), EventStream()) as loop:
        assert not await loop.once()
    assert stage.state() == before
    record = VaultRecord(Journal(str(post.folder / "data")), stage.devnet.chain_id, stage.deployment.vault)
    assert set(record.tripped()) == {Breaker.DISAGREEMENT}
    assert record.journal.transitions() == []
    assert sum(proxy.seen["eth_sendRawTransaction"] for proxy in proxies) == 0


async def test_an_endpoint_whose_head_stands_still_for_good_does_not_stop_a_keeper_that_has_another(
    stage: Staged, post: Post, proxies: Proxies
) -> None:
    still = stage.devnet.block()
    stage.devnet.warp(int(time.time()) - stage.head.timestamp)
    reach(post, proxies, 'clock = "system"', "max_head_age = 30")
    stands = Fault("eth_getBlockByNumber", lambda asked: asked[0] == "latest", change=lambda _: still)
    proxies[0].faults = [stands]
    # After so long the strategy wants a batch as well, and nobody signs it.
    await closes_the_epoch(post, proxies)


async def test_each_vault_of_an_account_knows_the_policies_of_the_others(
    stage: Staged, post: Post, proxies: Proxies
) -> None:
    reach(post, proxies)
    made, second = stage.deployment, stage.deployment.portfolio
    text = made.policy_toml.replace(f'vault = "{made.vault}"', f'vault = "{second}"')
    post.vault(Staged(stage.devnet, replace(made, policy_toml=text)), [DEAD], "second")
    post.write()
    async with opened(read_config(post.folder / "keeper.toml"), EventStream()) as loop:
        for each in loop.vaults:
            assert each.duties is not None
            assert {rules.vault.vault for rules in each.duties.relayer.policies} == {made.vault, second}
