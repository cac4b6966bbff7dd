"""Signers as separate processes: `keeper signer`, each with its own key, endpoint, policy copy and record."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from eth_account import Account
from processes import PATIENCE, failing, running, write_config
from vault_world import World

from keeper.errors import PolicyError, QuorumError
from keeper.planning.plan import Kind
from keeper.quorum.collect import collect
from keeper.simulation.accounts import accounts
from keeper.simulation.anvil import Anvil
from keeper.simulation.proxy import Proxy
from keeper.simulation.vault import SIGNERS


@pytest.fixture
def three(world: World, tmp_path: Path) -> Iterator[list[str]]:
    """URLs of three signer processes: two on loopback ports, one on a Unix socket."""
    with ExitStack() as stack:
        urls = []
        for i, role in enumerate(SIGNERS):
            listen = "unix:signer.sock" if i == 2 else None
            config = write_config(tmp_path / role, world, 'env = "SIGNER_KEY"', listen=listen)
            ready = stack.enter_context(
                running(config, tmp_path / f"{role}.log", SIGNER_KEY=accounts()[role].key)
            )
            assert ready["signer"] == world.devnet.address(role)
            urls.append(ready["url"])
        yield urls


async def test_three_processes_approve_and_the_chain_accepts_two(
    rewind: World, three: list[str], tmp_path: Path
) -> None:
    for kind in (Kind.SETTLEMENT, Kind.BATCH):
        plan = await rewind.propose(kind)
        # All of them, as one that came too late would refuse what has been executed.
        approval = await collect(
            plan, rewind.policy, three, proposer=rewind.proposer(), patience=PATIENCE, ask_all=True
        )
        assert len(approval.signatures) == rewind.policy.signers.threshold
        rewind.submit(plan, list(approval.signatures))
        rewind.devnet.rpc("evm_mine")
    with pytest.raises(QuorumError) as used:
        await collect(plan, rewind.policy, three, proposer=rewind.proposer(), patience=PATIENCE)
    assert str(used.value).count("NonceUsed") == len(SIGNERS)
    logs = "".join((tmp_path / f"{role}.log").read_text() for role in SIGNERS)
    assert logs.count("PlanSigned") == 2 * len(SIGNERS)
    assert logs.count("PlanRefused") == len(SIGNERS)
    for role in SIGNERS:
        assert accounts()[role].key.removeprefix("0x") not in logs


async def test_a_second_start_takes_nothing_from_the_first(
    settled: World, three: list[str], tmp_path: Path
) -> None:
    config = tmp_path / SIGNERS[2] / "signer.toml"
    done = failing(config, SIGNER_KEY=accounts()[SIGNERS[2]].key)
    assert done.returncode == 2
    assert "Cannot listen" in done.stderr
    assert "another process serves there" in done.stderr
    plan = await settled.propose(Kind.BATCH)
    approval = await collect(
        plan, settled.policy, three, proposer=settled.proposer(), patience=PATIENCE, ask_all=True
    )
    assert len([each for each in approval.outcomes if each.signature is not None]) == len(SIGNERS)


async def test_a_process_refuses_a_tampered_plan_saying_why(settled: World, three: list[str]) -> None:
    plan = await settled.propose(Kind.BATCH)
    tampered = replace(plan, terms=replace(plan.batch, min_nav_after=0))
    with pytest.raises(QuorumError) as caught:
        await collect(tampered, settled.policy, three, proposer=settled.proposer(), patience=PATIENCE)
    told = str(caught.value)
    assert told.count(f"terms.min_nav_after: expected {plan.batch.min_nav_after:,}, saw 0") == len(SIGNERS)
    assert all(url in told for url in three)


async def test_what_is_no_request_is_answered_in_json(world: World, three: list[str]) -> None:
    async with aiohttp.ClientSession(three[0]) as session:
        sign = world.proposer().headers
        cases: list[tuple[str, str, bytes, int, str]] = [
            ("POST", "/v1/approve", bytes(100_001), 413, "too_large"),
            ("POST", "/v1/approve", b"", 400, "bad_request"),
            ("POST", "/v1/approve", b"\xa0", 422, "malformed_plan"),
            ("GET", "/v1/approve", b"", 405, "bad_request"),
            ("GET", "/nowhere", b"", 404, "bad_request"),
        ]
        for method, path, body, status, code in cases:
            async with session.request(method, path, data=body, headers=await sign(body)) as response:
                answer = await response.json()
                assert (response.status, answer["ok"], answer["code"]) == (status, False, code)
        async with session.get("/v1/identity") as response:
            assert (await response.json())["policy_hash"] == "0x" + world.policy.hash.hex()


async def test_for_a_safe_no_signer_starts_and_no_signature_is_collected(
    world: World, tmp_path: Path
) -> None:
    section = {"version": "1.5.0", "singleton": world.devnet.manifest["safe"]["singleton"]}
    config = write_config(tmp_path / "signer", world, 'env = "SIGNER_KEY"')
    with config.with_name("policy.toml").open("a") as policy:
        policy.write("\n[safe]\n" + "".join(f'{name} = "{value}"\n' for name, value in section.items()))
    done = failing(config, SIGNER_KEY=accounts()["signer1"].key)
    assert done.returncode == 4, done.stderr
    assert "The policy's keeper is a Safe, not a KeeperQuorum" in done.stderr
    assert "keeper safe sign" in done.stderr
    plan = await world.propose(Kind.SETTLEMENT)
    with pytest.raises(PolicyError, match="keeper is a Safe"):
        await collect(
            plan, world.under(safe=section).policy, [], proposer=world.proposer(), patience=PATIENCE
        )


def test_an_encrypted_key_file_opens_for_its_owner_only(world: World, tmp_path: Path) -> None:
    account = accounts()["signer1"]
    keystore = tmp_path / "signer" / "key.json"
    config = write_config(tmp_path / "signer", world, 'keystore = "key.json"\npassword_env = "PASSWORD"')
    keystore.write_text(json.dumps(Account.encrypt(account.key, "a planted password", iterations=2)))
    keystore.chmod(0o640)
    exposed = failing(config, PASSWORD="a planted password")
    assert exposed.returncode == 2
    assert "may be read by others" in exposed.stderr
    assert "0640" in exposed.stderr
    keystore.chmod(0o600)
    wrong = failing(config, PASSWORD="another planted password")
    assert wrong.returncode == 2
    assert "does not open" in wrong.stderr
    assert "planted" not in exposed.stderr + exposed.stdout + wrong.stderr + wrong.stdout
    with running(config, tmp_path / "log", PASSWORD="a planted password") as ready:
        assert ready["signer"] == account.address


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        (lambda text: text.replace("127.0.0.1:0", "0.0.0.0:0"), 2, "only with [tls]"),
        (lambda text: text.replace('"promises', '"nowhere/promises'), 2, "record"),
        (lambda text: text.replace("record =", "recrod ="), 2, "did you mean 'record'?"),
        (lambda text: text.replace('"endpoints.toml', '"nowhere.toml'), 2, "nowhere.toml"),
    ],
)
def test_a_configuration_that_does_not_hold_is_refused_without_the_secret(
    world: World, tmp_path: Path, change: Callable[[str], str], status: int, says: str
) -> None:
    config = write_config(tmp_path / "signer", world, 'env = "SIGNER_KEY"')
    config.write_text(change(config.read_text()))
    key = accounts()["signer1"].key
    done = failing(config, SIGNER_KEY=key)
    assert done.returncode == status, done.stderr
    assert says in done.stderr
    assert key.removeprefix("0x") not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"http', '"ftp', "endpoints"),
        ("[chains.31337.", "[chains.1.", "Chains without endpoints"),
        ("url =", "urls =", "did you mean 'url'?"),
    ],
)
def test_endpoints_that_do_not_hold_are_refused(
    world: World, tmp_path: Path, old: str, new: str, says: str
) -> None:
    config = write_config(tmp_path / "signer", world, 'env = "SIGNER_KEY"')
    file = config.with_name("endpoints.toml")
    file.write_text(file.read_text().replace(old, new))
    done = failing(config, SIGNER_KEY=accounts()["signer1"].key)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr


async def test_a_signer_goes_on_when_its_first_endpoint_is_lost(settled: World, tmp_path: Path) -> None:
    plan = await settled.propose(Kind.BATCH)
    with Proxy([settled.devnet.url], settled.devnet.chain_id) as first:
        urls = [first.url, settled.devnet.url]
        config = write_config(tmp_path / "signer", settled, 'env = "SIGNER_KEY"', urls)
        with running(config, tmp_path / "log", SIGNER_KEY=accounts()["signer1"].key) as ready:
            assert first.seen["eth_chainId"] == 1
            first.stop()
            with pytest.raises(QuorumError) as alone:
                await collect(
                    plan, settled.policy, [ready["url"]], proposer=settled.proposer(), patience=PATIENCE
                )
    assert "too few" in str(alone.value).lower()
    log = (tmp_path / "log").read_text()
    assert log.count("PlanSigned") == 1
    assert log.count("EndpointFailed") >= 1


def test_an_endpoint_that_is_down_is_named_by_host_only(world: World, tmp_path: Path) -> None:
    config = write_config(
        tmp_path / "signer", world, 'env = "SIGNER_KEY"', ["http://127.0.0.1:9/planted-api-key"]
    )
    done = failing(config, SIGNER_KEY=accounts()["signer1"].key)
    assert done.returncode == 3
    assert "http://127.0.0.1:9" in done.stderr
    assert "planted" not in done.stderr + done.stdout


def test_an_endpoint_of_another_chain_is_refused(world: World, tmp_path: Path) -> None:
    with Anvil(424242) as other:
        config = write_config(tmp_path / "signer", world, 'env = "SIGNER_KEY"', [other.url])
        done = failing(config, SIGNER_KEY=accounts()["signer1"].key)
    assert done.returncode == 3
    assert "another chain" in done.stderr
    assert "424242" in done.stderr


@pytest.mark.parametrize("secret", ["planted-but-no-hex", "0xdeadbeef", "00" * 32, "ff" * 32, "11" * 33])
def test_a_variable_without_a_key_is_refused_and_not_shown(world: World, tmp_path: Path, secret: str) -> None:
    config = write_config(tmp_path / "signer", world, 'env = "SIGNER_KEY"')
    done = failing(config, SIGNER_KEY=secret)
    assert done.returncode == 2, done.stderr
    assert "SIGNER_KEY" in done.stderr
    assert secret.removeprefix("0x") not in done.stderr + done.stdout


def test_a_key_that_is_no_signers_is_refused(world: World, tmp_path: Path) -> None:
    config = write_config(tmp_path / "signer", world, 'env = "SIGNER_KEY"')
    done = failing(config, SIGNER_KEY=accounts()["whale"].key)
    assert done.returncode == 2
    assert "none of the policy's signers" in done.stderr
