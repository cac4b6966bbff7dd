"""Planted secrets are nowhere in what signers and collectors say, at debug level, in peace and in trouble."""

import asyncio
import json
import logging
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from eth_account import Account
from eth_keys.backends import CoinCurveECCBackend, get_backend
from loud import loud
from processes import failing, running, write_config
from vault_world import ChainTime, World

from keeper.errors import QuorumError
from keeper.ops.commands.intend import app
from keeper.planning.plan import Kind
from keeper.quorum.collect import collect
from keeper.quorum.requests import Proposer
from keeper.simulation.accounts import accounts
from keeper.simulation.proposers import PROPOSERS, proposer_key

PASSWORD = "planted-password-of-the-keystore"
API_KEY = "planted-api-key-of-the-endpoint"
PATIENCE = 60


def test_keys_sign_in_constant_time() -> None:
    # eth-keys falls back to Python's numbers, whose time tells of the key, without a word.
    assert isinstance(get_backend(), CoinCurveECCBackend)


async def intend(world: World, folder: Path, signers: list[str], relayer: str) -> list[str]:
    """What `keeper intend` says of a move that is done, and of two that are not."""
    venue = min(position.venue for position in world.policy.positions)
    (folder / "intents.toml").write_text(
        'author = "desk"\nreason = "Some of what is idle."\n'
        f'[[intents]]\nkind = "move"\nsource = "idle"\ndestination = "{venue}"\namount = "1000"\n'
    )
    files = ["--policy", folder / "one/policy.toml", "--endpoints", folder / "one/endpoints.toml", "--yes"]
    files += ["--data", folder / "data"]
    asked = [word for url in signers for word in ("--signer", url)]
    keys = ["--relayer-env", "RELAYER", "--proposer-env", "PROPOSER"]
    seed = proposer_key(PROPOSERS[0]).private_bytes_raw().hex()
    said = []
    for secrets, status in (
        ({"RELAYER": relayer, "PROPOSER": seed}, 0),
        ({"RELAYER": relayer + "00", "PROPOSER": seed}, 2),
        ({"RELAYER": relayer, "PROPOSER": seed + "00"}, 2),
    ):
        code, out = await loud(app, secrets, folder / "intents.toml", *files, *asked, *keys)
        assert code == status, out
        said.append(out)
    for word in ("EndpointFailed", "PlanBuilt", "PlanSigned", "TransactionMined"):
        assert word in said[0]
    return said


async def test_no_planted_secret_is_ever_said(
    settled: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    settled = settled.with_intents()
    relayer = accounts()["relayer"].key.removeprefix("0x")
    key_one, key_two = (accounts()[role].key.removeprefix("0x") for role in ("signer1", "signer2"))
    # The first endpoint is down, the second has its secret in the query.
    urls = [f"http://127.0.0.1:9/{API_KEY}", f"{settled.devnet.url}/?key={API_KEY}"]
    one = write_config(tmp_path / "one", settled, 'env = "KEY"', urls)
    two = write_config(tmp_path / "two", settled, 'keystore = "key.json"\npassword_env = "PASSWORD"', urls)
    keystore = two.with_name("key.json")
    keystore.touch(mode=0o600)
    keystore.write_text(json.dumps(Account.encrypt(key_two, PASSWORD, iterations=2)))
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    said: list[str] = []
    noisy = {"PYTHONASYNCIODEBUG": "1", "PYTHONDEVMODE": "1"}
    with (
        running(one, logs[0], "--debug", KEY=key_one, **noisy) as first,
        running(two, logs[1], "--debug", PASSWORD=PASSWORD, **noisy) as second,
    ):
        asked = [first["url"], second["url"]]
        said += await intend(settled, tmp_path, asked, relayer)
        plan = await settled.propose(Kind.BATCH)
        said.append(plan.to_bytes().decode("latin-1"))
        approval = await collect(plan, settled.policy, asked, proposer=settled.proposer(), patience=PATIENCE)
        said += [repr(first), repr(second), repr(approval)]
        tampered = replace(plan, terms=replace(plan.batch, min_nav_after=0))
        stranger = Proposer(Ed25519PrivateKey.generate(), ChainTime(settled.devnet))
        for bad, proposer in ((tampered, settled.proposer()), (plan, stranger)):
            with pytest.raises(QuorumError) as caught:
                await collect(bad, settled.policy, asked, proposer=proposer, patience=PATIENCE)
            said.append(str(caught.value))
        async with aiohttp.ClientSession() as session:
            for url in asked:
                async with session.get(f"{url}/v1/identity") as response:
                    said.append(await response.text())
    wrong = failing(two, PASSWORD=PASSWORD + "-wrong")
    nothing = failing(one, KEY=key_one + "00")
    said += [each.stdout + each.stderr for each in (wrong, nothing)]
    assert "DEBUG" in caplog.text
    said.append(caplog.text)
    written = [log.read_text() for log in logs]
    # That there was something to be found: debug lines, the failed endpoint, both kinds of refusal.
    for text in written:
        for word in ("DEBUG", "EndpointFailed", "PlanSigned", "PlanRefused", "RequestRefused"):
            assert word in text
    everything = "\n".join([*said, *written]).lower()
    seed = proposer_key(PROPOSERS[0]).private_bytes_raw().hex()
    keys = (key_one, key_two, relayer, seed)
    for secret in (*keys, *(str(int(key, 16)) for key in keys), PASSWORD, API_KEY):
        assert secret.lower() not in everything
    assert key_one not in (tmp_path / "one" / "promises.sqlite").read_bytes().hex()


async def test_a_signer_whose_key_service_refuses_it_says_nothing_of_its_credentials(
    world: World, tmp_path: Path
) -> None:
    planted = {
        "AWS_ACCESS_KEY_ID": "PLANTEDACCESSKEYID",
        "AWS_SECRET_ACCESS_KEY": "planted-secret-access-key",
        "AWS_SESSION_TOKEN": "planted-session-token",
    }
    tokens: list[str | None] = []

    async def refuse(request: web.Request) -> web.Response:
        tokens.append(request.headers.get("X-Amz-Security-Token"))
        # It quotes who asked, and with what.
        return web.json_response({"__type": "AccessDeniedException", "message": str(planted)}, status=400)

    service = web.Application()
    service.router.add_post("/", refuse)
    runner = web.AppRunner(service)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        config = write_config(tmp_path / "kms", world, 'aws_kms = "alias/x"\naws_region = "eu-west-1"')
        secrets = planted | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        done = await asyncio.to_thread(lambda: failing(config, "--debug", **secrets))
    finally:
        await runner.cleanup()
    assert tokens == [planted["AWS_SESSION_TOKEN"]], "it did get there"
    out = done.stdout + done.stderr
    assert done.returncode != 0
    assert "AWS refuses get_public_key" in out
    assert "DEBUG" in out
    assert not [name for name, value in planted.items() if value.lower() in out.lower()]
