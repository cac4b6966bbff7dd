"""Planted secrets are nowhere in what signers and collectors say, at debug level, in peace and in trouble."""

import json
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from eth_account import Account
from processes import failing, running, write_config
from vault_world import ChainTime, World

from keeper.errors import QuorumError
from keeper.planning.plan import Kind
from keeper.quorum.collect import collect
from keeper.quorum.requests import Proposer
from keeper.simulation.accounts import accounts
from keeper.simulation.proposers import PROPOSERS, proposer_key

PASSWORD = "planted-password-of-the-keystore"
API_KEY = "planted-api-key-of-the-endpoint"
PATIENCE = 60


async def test_no_planted_secret_is_ever_said(settled: World, tmp_path: Path) -> None:
    plan = await settled.propose(Kind.BATCH)
    key_one, key_two = (accounts()[role].key.removeprefix("0x") for role in ("signer1", "signer2"))
    # The first endpoint is down, the second has its secret in the query.
    urls = [f"http://127.0.0.1:9/{API_KEY}", f"{settled.devnet.url}/?key={API_KEY}"]
    one = write_config(tmp_path / "one", settled, 'env = "KEY"', urls)
    two = write_config(tmp_path / "two", settled, 'keystore = "key.json"\npassword_env = "PASSWORD"', urls)
    keystore = two.with_name("key.json")
    keystore.touch(mode=0o600)
    keystore.write_text(json.dumps(Account.encrypt(key_two, PASSWORD, iterations=2)))
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    said = [plan.to_bytes().decode("latin-1")]
    noisy = {"PYTHONASYNCIODEBUG": "1", "PYTHONDEVMODE": "1"}
    with (
        running(one, logs[0], "--debug", KEY=key_one, **noisy) as first,
        running(two, logs[1], "--debug", PASSWORD=PASSWORD, **noisy) as second,
    ):
        asked = [first["url"], second["url"]]
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
    written = [log.read_text() for log in logs]
    # That there was something to be found: debug lines, the failed endpoint, both kinds of refusal.
    for text in written:
        for word in ("DEBUG", "EndpointFailed", "PlanSigned", "PlanRefused", "RequestRefused"):
            assert word in text
    everything = "\n".join([*said, *written]).lower()
    seed = proposer_key(PROPOSERS[0]).private_bytes_raw().hex()
    for secret in (key_one, key_two, PASSWORD, API_KEY, seed, str(int(key_one, 16)), str(int(key_two, 16))):
        assert secret.lower() not in everything
    assert key_one not in (tmp_path / "one" / "promises.sqlite").read_bytes().hex()
