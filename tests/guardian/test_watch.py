"""`keeper guardian watch`: every kind of queued change decoded and judged, and what already differs."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eth_hash.auto import keccak
from guardian_post import Post

from keeper.chain.rpc import Endpoint
from keeper.clock import ChainClock
from keeper.contracts import Contract
from keeper.events import EndpointFailed, Event, EventStream
from keeper.exposures import risk_id
from keeper.guardian.grants import Wider
from keeper.guardian.queue import REORGANISED
from keeper.guardian.watch import Look, Watcher
from keeper.planning.bounds import GovernorPolicy, GuardianPolicy
from keeper.planning.policy import PositionPolicy
from keeper.simulation.proxy import Fault, Proxy
from keeper.simulation.vault import CAP, DAY, TIMELOCK

AAVE, MORPHO = "aave:USDC", "morpho:WETH/USDC"
SUPPLY = keccak(b"supply(bytes32,uint256)")[:4]
OTHER_KEY = b"\x07" * 32
HANGS = 30
"""Seconds until an endpoint that hangs answers."""


def position(post: Post, venue: str = AAVE) -> PositionPolicy:
    return post.deployment.policy.position(venue)


def queue(post: Post, code: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = post.data("watch", "--once", code=code)["queue"]
    return found


def submit(post: Post, function: str, *args: Any) -> str:
    return "0x" + post.submit(function, *args).hex()


def test_an_empty_queue_and_a_chain_like_the_policy_are_fine(post: Post) -> None:
    said = post.data("watch", "--once")
    assert (said["ok"], said["queue"], said["differences"]) == (True, [], [])
    assert said["block"]["hash"] == post.devnet.block()["hash"]
    done = post.run("watch", "--once")
    assert "nothing is queued\nThe policy contains everything.\n" in done.stdout


def test_a_foreign_listing_is_decoded_flagged_and_ends_with_one(post: Post) -> None:
    connector = position(post).address
    id_ = submit(post, "listPosition", connector, OTHER_KEY, [risk_id(AAVE)])
    at = int(post.devnet.block()["timestamp"], 16) + TIMELOCK
    (change,) = queue(post, 1)
    assert change["id"] == id_
    assert (change["contract"], change["function"]) == ("Registry", "listPosition")
    assert change["arguments"] == {
        "vault": post.deployment.vault,
        "connector": connector,
        "key": "0x" + OTHER_KEY.hex(),
        "riskIds": ["0x" + risk_id(AAVE).hex()],
    }
    assert (change["executable_at"], change["expires_at"]) == (at, at + 14 * DAY)
    assert (change["stage"], change["vetoable"], change["foreign"]) == ("waiting", True, True)
    done = post.run("watch", "--once")
    assert done.returncode == 1
    assert f"FOREIGN  {id_}  waiting\n  Registry.listPosition(vault=" in done.stdout
    assert "  the policy has no such position\n" in done.stdout
    assert "The policy does not contain what is flagged.\n" in done.stdout


def contained(post: Post) -> list[tuple[str, tuple[Any, ...]]]:
    aave, policy = position(post), post.deployment.policy
    assert policy.oracle is not None
    return [
        ("listPosition", (aave.address, aave.key, [risk_id(AAVE)])),
        ("setSelector", (aave.address, SUPPLY, True)),
        ("setSelector", (aave.address, b"\x01\x02\x03\x04", False)),
        ("setCap", (risk_id(AAVE), CAP)),
        ("setCap", (risk_id("unheard of"), 0)),
        ("clearExitOnly", (aave.address,)),
        ("setOracle", (policy.oracle.router,)),
        ("setKeeper", (policy.vault.quorum,)),
        ("abandonPosition", (aave.address, OTHER_KEY)),
    ]


def foreign(post: Post) -> list[tuple[str, tuple[Any, ...], str]]:
    aave, stranger = position(post), post.devnet.address("user4")
    return [
        ("listPosition", (stranger, aave.key, [risk_id(AAVE)]), "the policy has no such position"),
        ("listPosition", (aave.address, aave.key, [risk_id(MORPHO)]), f"{AAVE} counts under {AAVE}"),
        ("setSelector", (aave.address, b"\x01\x02\x03\x04", True), "the policy does not use it"),
        ("setSelector", (aave.address, SUPPLY, False), f"the policy uses supply of {AAVE}"),
        ("setCap", (risk_id(AAVE), CAP + 1), "5,000,000,000,001 is above the policy's 5,000,000,000,000"),
        ("setCap", (risk_id("unheard of"), 1), "1 is above the policy's 0"),
        ("clearExitOnly", (stranger,), "the policy has no position there"),
        ("setOracle", (stranger,), f"not {stranger}"),
        ("setKeeper", (stranger,), f"not {stranger}"),
        ("setGuardian", (stranger,), "the policy says nothing about it"),
        ("setDelay", (2 * TIMELOCK,), "the policy says nothing about it"),
        ("proposeGovernor", (stranger,), "the policy says nothing about it"),
        ("abandonPosition", (aave.address, aave.key), f"the policy has {AAVE}"),
        ("terminate", (), "the policy says nothing about it"),
        ("abdicate", (post.registry.address, b"\x01\x02\x03\x04"), "the policy says nothing about it"),
    ]


def test_what_the_policy_contains_is_shown_and_not_flagged(post: Post) -> None:
    ids = {submit(post, function, *args) for function, args in contained(post)}
    seen = queue(post, 0)
    assert {each["id"] for each in seen} == ids
    assert [each["why"] for each in seen if each["foreign"]] == []


def test_what_the_policy_does_not_contain_is_flagged_with_its_reason(post: Post) -> None:
    whys = {submit(post, function, *args): why for function, args, why in foreign(post)}
    seen = {each["id"]: each for each in queue(post, 1)}
    assert seen.keys() == whys.keys()
    for id_, why in whys.items():
        assert seen[id_]["foreign"], seen[id_]
        assert why in seen[id_]["why"]
    unstoppable = {each["function"] for each in seen.values() if not each["vetoable"]}
    assert unstoppable == {"setGuardian", "terminate", "abdicate"}


async def test_roles_and_a_delay_are_contained_when_the_policy_states_them(post: Post) -> None:
    guardian, governor = (post.devnet.address(role) for role in ("user2", "user3"))
    stated = post.deployment.policy.model_copy(
        update={
            "guardian": GuardianPolicy(address=guardian),
            "governor": GovernorPolicy(address=governor, delay=2 * TIMELOCK),
        }
    )
    stranger = post.devnet.address("user4")
    changes = (
        ("setGuardian", guardian, stranger, f"the policy's guardian is {guardian}, not {stranger}"),
        ("proposeGovernor", governor, stranger, f"the policy's governor is {governor}, not {stranger}"),
        ("setDelay", 2 * TIMELOCK, TIMELOCK, "the policy's delay is 518,400 s, not 259,200 s"),
    )
    whys = {post.submit(function, wrong): why for function, _, wrong, why in changes}
    whys |= {post.submit(function, right): None for function, right, _, _ in changes}
    async with Endpoint(post.devnet.url, post.devnet.chain_id) as endpoint:
        look = await Watcher(endpoint, stated, ChainClock(endpoint)).look()
    told = {each.change.id: each.verdict.why if each.foreign else None for each in look.queue}
    assert told == whys
    assert {each.field for each in look.differences} == {"guardian", "governor", "delay"}


def test_changes_of_the_vaults_other_contracts_are_decoded_too(post: Post) -> None:
    policy, user = post.deployment.policy, post.devnet.address("user4")
    quorum = Contract(policy.vault.quorum, "KeeperQuorum")
    signers = sorted(policy.signers.addresses, key=lambda each: int(each, 16))
    same = post.submit_call(quorum.address, quorum.encode("setSigners", signers, policy.signers.threshold))
    fewer = post.submit_call(quorum.address, quorum.encode("setSigners", signers[:1], 1))
    skim = Contract(policy.vault.portfolio, "Portfolio").encode("skim", policy.vault.asset, user)
    taken = post.submit_call(policy.vault.portfolio, skim)
    unknown = post.submit_call(user, b"\x01\x02\x03\x04\x05")
    short = post.submit_call(post.registry.address, post.registry.encode("pauseRisk", user)[:20])
    seen = {each["id"]: each for each in queue(post, 1)}
    told = {id_: seen["0x" + id_.hex()] for id_ in (same, fewer, taken, unknown, short)}
    assert (told[same]["function"], told[same]["foreign"]) == ("setSigners", False)
    assert told[fewer]["foreign"]
    assert told[fewer]["why"].startswith(f"the policy's are {policy.signers.threshold} of ")
    assert told[taken]["arguments"] == {"token": policy.vault.asset, "to": user}
    assert told[taken]["foreign"]
    for id_ in (unknown, short):
        assert (told[id_]["function"], told[id_]["arguments"], told[id_]["foreign"]) == (None, {}, True)
    assert told[unknown]["data"] == "0x0102030405"


def test_a_change_in_another_vaults_name_cannot_be_made_and_is_flagged(post: Post) -> None:
    other = post.devnet.address("user4")
    data = post.registry.encode("setCap", other, risk_id(AAVE), 0)
    post.submit_call(post.registry.address, data)
    (change,) = queue(post, 1)
    assert change["why"] == f"it names another vault, {other}: it cannot be made"


def test_a_change_leaves_the_queue_when_it_is_made_or_vetoed_and_expires_in_it(post: Post) -> None:
    for days in (4, 5, 6):
        submit(post, "setDelay", days * DAY)
    made, vetoed, left = queue(post, 1)
    post.data("veto", vetoed["id"], key="guardian")
    assert [each["id"] for each in queue(post, 1)] == [made["id"], left["id"]]
    post.later(TIMELOCK)
    assert {each["stage"] for each in queue(post, 1)} == {"ready"}
    post.accept("setDelay", 4 * DAY)
    assert [each["id"] for each in queue(post, 1)] == [left["id"]]
    post.later(14 * DAY + 60)
    (expired,) = queue(post, 0)
    assert (expired["stage"], expired["foreign"]) == ("expired", False)


def test_a_change_submitted_again_waits_anew(post: Post) -> None:
    submit(post, "setDelay", 4 * DAY)
    post.later(14 * DAY + 60)
    submit(post, "setDelay", 4 * DAY)
    (change,) = queue(post, 1)
    now = int(post.devnet.block()["timestamp"], 16)
    assert (change["stage"], change["executable_at"]) == ("waiting", now + TIMELOCK)


def test_what_differs_already_is_named_and_ends_with_one(post: Post) -> None:
    aave, stranger = position(post), post.devnet.address("user4")
    changes: list[tuple[str, tuple[Any, ...]]] = [
        ("setSelector", (aave.address, b"\x01\x02\x03\x04", True)),
        ("setSelector", (aave.address, SUPPLY, False)),
        ("setCap", (risk_id(AAVE), CAP + 1)),
        ("abandonPosition", (aave.address, OTHER_KEY)),
        ("setKeeper", (stranger,)),
        ("setOracle", (stranger,)),
        ("proposeGovernor", (stranger,)),
        ("listPosition", (aave.address, OTHER_KEY, [risk_id(MORPHO)])),
    ]
    for function, args in changes:
        post.submit(function, *args)
    post.later(TIMELOCK)
    for function, args in changes:
        if function != "abandonPosition":
            post.accept(function, *args)
    said = post.data("watch", "--once", code=1)
    policy = post.deployment.policy
    assert policy.oracle is not None
    theirs, ours, other = Wider.CHAIN.value, Wider.POLICY.value, Wider.OTHER.value
    unknown = "0x01020304, which this code does not know"
    assert {tuple(each.values()) for each in said["differences"]} == {
        ("pending governor", "nobody else", stranger, theirs, False),
        ("keeper", policy.vault.quorum, stranger, other, False),
        ("oracle", policy.oracle.router, stranger, other, False),
        (f"position {aave.address} key 0x{OTHER_KEY.hex()}", "not listed", "listed", theirs, False),
        (f"function aave_v3 {aave.address} {unknown}", "not listed", "listed", theirs, False),
        (f"cap of {AAVE}", "5,000,000,000,000", "5,000,000,000,001", theirs, False),
        (f"function aave_v3 {aave.address} supply", "listed", "not listed", ours, False),
    }
    assert [each["foreign"] for each in said["queue"]] == [False]


def test_a_pause_and_a_lower_cap_are_no_difference(post: Post) -> None:
    post.data("pause", key="guardian")
    post.data("exit-only", AAVE, key="guardian")
    data = post.registry.encode("lowerCap", post.deployment.vault, risk_id(MORPHO), 1)
    post.devnet.send(post.devnet.key("guardian"), post.registry.address, data)
    said = post.data("watch", "--once")
    assert said["differences"] == []
    assert said["exit_only"] == [position(post).address]
    assert "paused until " in post.run("watch", "--once").stdout


def test_a_first_block_after_the_registration_is_refused(post: Post) -> None:
    """The change from before it would be missed."""
    submit(post, "setDelay", 4 * DAY)
    head = int(post.devnet.block()["number"], 16)
    said = post.refused("watch", "--once", "--since", str(head), code=2)
    assert "A change that was submitted before the first block may still be queued [--since]" in said
    post.later(DAY)
    post.later(380 * DAY)
    assert post.data("watch", "--once", "--since", str(head + 1))["queue"] == []


# LOOK AFTER LOOK


async def look_twice(post: Post, between: Callable[[], Any]) -> tuple[Look, Look]:
    async with Endpoint(post.devnet.url, post.devnet.chain_id) as endpoint:
        watcher = Watcher(endpoint, post.deployment.policy, ChainClock(endpoint))
        first = await watcher.look()
        between()
        return first, await watcher.look()


def delays(look: Look) -> list[Any]:
    return [each.change.argument("delay") for each in look.queue]


@pytest.mark.asyncio
async def test_a_change_that_is_reorganised_away_is_forgotten_and_its_successor_seen(post: Post) -> None:
    def reorganise() -> None:
        post.devnet.rpc("anvil_reorg", 1, [])
        post.submit("setDelay", 5 * DAY)

    post.submit("setDelay", 4 * DAY)
    first, second = await look_twice(post, reorganise)
    assert delays(first) == [4 * DAY]
    assert delays(second) == [5 * DAY]


@pytest.mark.asyncio
async def test_even_one_below_the_kept_blocks_is(post: Post) -> None:
    mark = post.devnet.rpc("evm_snapshot")

    def reorganise() -> None:
        post.devnet.revert(mark)
        post.submit("setDelay", 5 * DAY)
        post.devnet.rpc("anvil_mine", hex(REORGANISED + 10))

    post.submit("setDelay", 4 * DAY)
    post.devnet.rpc("anvil_mine", hex(REORGANISED + 20))
    first, second = await look_twice(post, reorganise)
    assert delays(first) == [4 * DAY]
    assert delays(second) == [5 * DAY]


@pytest.mark.asyncio
async def test_kept_events_are_not_asked_for_again_and_still_count(post: Post) -> None:
    post.submit("setDelay", 4 * DAY)
    post.devnet.rpc("anvil_mine", hex(REORGANISED + 20))
    first, second = await look_twice(post, lambda: post.submit("setDelay", 5 * DAY))
    assert delays(first) == [4 * DAY]
    assert delays(second) == [4 * DAY, 5 * DAY]


class EndedError(Exception):
    """Nothing more is going to happen."""


@dataclass
class Director:
    """A clock that does something to the chain before each look, and ends the watch when nothing is left."""

    post: Post
    acts: list[Callable[[], Any]]

    async def now(self) -> int:
        if not self.acts:
            raise EndedError
        self.acts.pop(0)()
        return int(self.post.devnet.block()["timestamp"], 16)


async def followed(post: Post, url: str, acts: list[Callable[[], Any]]) -> tuple[list[Look], list[Event]]:
    """What a watch tells through that endpoint while these acts go on, and what it says of failures."""
    told: list[Look] = []
    failed: list[Event] = []
    events = EventStream()
    events.subscribe(failed.append)
    async with Endpoint(url, post.devnet.chain_id) as endpoint:
        watcher = Watcher(endpoint, post.deployment.policy, Director(post, acts))
        with suppress(EndedError):
            await watcher.follow(told.append, 0, events)
    return told, failed


@pytest.mark.asyncio
async def test_the_watch_tells_what_is_new_and_outlives_an_endpoint(post: Post) -> None:
    """A block with nothing new is not told; for one look the endpoint serves no such chain."""
    rpc = post.devnet.rpc
    acts = [
        lambda: None,
        lambda: rpc("evm_mine"),
        lambda: post.submit("setDelay", 4 * DAY),
        lambda: rpc("anvil_setChainId", 1),
        lambda: rpc("anvil_setChainId", post.devnet.chain_id),
        lambda: post.later(TIMELOCK),
    ]
    told, failed = await followed(post, post.devnet.url, acts)
    assert [[each.stage.value for each in look.queue] for look in told] == [[], ["waiting"], ["ready"]]
    (failure,) = failed
    assert isinstance(failure, EndpointFailed)
    assert "chain" in failure.reason


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "fault",
    [
        Fault("eth_getBlockByNumber", times=1, change=lambda raw: raw | {"number": None}),
        Fault("eth_getBlockByNumber", times=1, change=lambda raw: [raw]),
        Fault("eth_getLogs", times=1, change=lambda logs: [x | {"topics": x["topics"][:2]} for x in logs]),
    ],
)
async def test_the_watch_outlives_an_answer_that_makes_no_sense(post: Post, fault: Fault) -> None:
    post.submit("setDelay", 4 * DAY)
    with Proxy([post.devnet.url], post.devnet.chain_id, faults=[fault]) as proxy:
        told, failed = await followed(post, proxy.url, [lambda: None] * 2)
    assert [type(each) for each in failed] == [EndpointFailed]
    assert [len(look.queue) for look in told] == [1]


@pytest.mark.asyncio
async def test_what_an_endpoint_leaves_out_later_is_no_fault_of_the_watchs_settings(post: Post) -> None:
    """Without any log the registration seems to be older than the first block."""
    with Proxy([post.devnet.url], post.devnet.chain_id) as proxy:

        def leave_out() -> None:
            proxy.faults = [Fault("eth_getLogs", times=1, change=lambda _: [])]

        acts = [lambda: None, leave_out, lambda: post.submit("setDelay", 4 * DAY)]
        told, failed = await followed(post, proxy.url, acts)
    assert ["may still be queued" in each.reason for each in failed] == [True]
    assert [len(look.queue) for look in told] == [0, 1]


@contextmanager
def watching(post: Post, endpoints: str) -> Iterator[tuple[subprocess.Popen[str], Callable[[], Any]]]:
    """The command, running, and what reads its next line."""
    files = ("--policy", "policy.toml", "--endpoints", endpoints)
    command = [sys.executable, "-m", "keeper.ops.cli", "guardian", "watch", *files]
    command += ["--interval", "1", "--json"]
    with subprocess.Popen(command, cwd=post.folder, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running, lambda: json.loads(running.stdout.readline())
        finally:
            running.kill()


def test_the_command_prints_a_line_for_each_change_until_it_is_stopped(post: Post) -> None:
    with watching(post, "endpoints.toml") as (running, told):
        assert told()["queue"] == []
        id_ = submit(post, "setDelay", 4 * DAY)
        (change,) = told()["queue"]
        running.terminate()
        assert running.wait(timeout=60) == 0
    assert change["id"] == id_


def test_the_command_ends_also_while_an_endpoint_does_not_answer(post: Post, tmp_path: Path) -> None:
    with Proxy([post.devnet.url], post.devnet.chain_id) as proxy:
        endpoints = tmp_path / "endpoints.toml"
        own = (post.folder / "endpoints.toml").read_text()
        endpoints.write_text(own.replace(post.devnet.url, proxy.url) + f"timeout = {HANGS}\n")
        with watching(post, str(endpoints)) as (running, told):
            assert told()["queue"] == []
            proxy.faults = [Fault(delay=HANGS)]
            before = proxy.seen.total()
            while proxy.seen.total() == before:
                time.sleep(0.05)
            running.terminate()
            assert running.wait(timeout=HANGS / 2) == 0
