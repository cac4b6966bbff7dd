"""Planted secrets are nowhere in what `keeper safe` says, logs and writes, in peace and in trouble."""

import logging
from pathlib import Path

import pytest
from loud import loud
from safe_service import KEY, Service, running
from safe_world import own_folder
from staged import Staged

from keeper.ops.commands.safe import app
from keeper.planning.plan import Kind
from keeper.simulation.vault import SIGNERS

API_KEY = "planted-api-key-of-the-endpoint"
PATH_KEY = "planted-key-in-the-path-of-a-service"


async def test_no_planted_secret_is_ever_said_by_owners_and_relayers(
    stage: Staged, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan").write_bytes((await stage.propose(Kind.SETTLEMENT)).to_bytes())
    roles = (*SIGNERS[:2], "user6")
    keys = {role: stage.devnet.key(role).removeprefix("0x") for role in roles}
    owners = tuple(stage.policy.signers.addresses)
    said = []

    async def safe(status: int, key: str, *arguments: object) -> None:
        code, out = await loud(app, {"SERVICE_KEY": KEY, "OWN_KEY": key}, *arguments)
        assert code == status, out
        said.append(out)

    async with running(Service(stage.devnet.chain_id, stage.policy.vault.quorum, owners)) as url:
        for role in roles:
            folder = own_folder(tmp_path / role, stage)
            down = f'url = "http://127.0.0.1:9/{API_KEY}"'
            up = f'url = "{stage.devnet.url}/?key={API_KEY}"'
            table = f"[[chains.{stage.devnet.chain_id}.endpoints]]"
            (folder / "endpoints.toml").write_text(f'clock = "chain"\n{table}\n{down}\n{table}\n{up}\n')
            own = folder / "own.toml"
            own.write_text(f'service = "{url}"\nservice_key_env = "SERVICE_KEY"\n' + own.read_text())
        chain = ["--policy", "signer1/policy.toml", "--endpoints", "signer1/endpoints.toml"]
        through = ["--service", url, "--service-key-env", "SERVICE_KEY"]
        await safe(0, "", "propose", "plan", *chain, "--out", "tx.json", *through)
        for role in SIGNERS[:2]:
            await safe(
                0, keys[role], "sign", "tx.json", "--config", f"{role}/own.toml", "--out", f"{role}.json"
            )
        merge = ("merge", "tx.json", "--out", "full.json", *chain[:2])
        await safe(0, "", *merge, *through)
        await safe(3, "", *merge, "--service", f"http://127.0.0.1:9/{PATH_KEY}")
        await safe(0, "", "show", "full.json", *chain)
        await safe(2, keys["signer1"] + "00", "sign", "tx.json", "--config", "signer1/own.toml")
        await safe(4, keys["user6"], "sign", "tx.json", "--config", "user6/own.toml")
        await safe(0, keys["user6"], "send", "full.json", "--config", "user6/own.toml")
        await safe(4, keys["user6"], "send", "full.json", "--config", "user6/own.toml")
    said.append(caplog.text)
    for word in ("DEBUG", "EndpointFailed", "TransactionMined"):
        assert word in "".join(said)
    everything = "\n".join([*said, *written(tmp_path)]).lower()
    numbers = [str(int(key, 16)) for key in keys.values()]
    for secret in (*keys.values(), *numbers, KEY, API_KEY, PATH_KEY):
        assert secret.lower() not in everything


def written(folder: Path) -> list[str]:
    """Every file but those that an operator wrote."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".toml"]
    assert len(files) > 4
    return [path.read_bytes().decode("latin-1") for path in files]
