"""Who may ask a signer: a proposer that the policy lists, now, once, and in its turn."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from processes import failing, running, write_config
from vault_world import ChainTime, World

from keeper.clock import FixedClock
from keeper.config import parse
from keeper.errors import ConfigError, DecodeError
from keeper.planning.plan import Kind
from keeper.planning.policy import Policy
from keeper.quorum.admission import Admission
from keeper.quorum.collect import ask
from keeper.quorum.proposers import ProposerPolicy
from keeper.quorum.requests import (
    NONCE,
    PROPOSER,
    SIGNATURE,
    TIMESTAMP,
    Claim,
    Proposer,
    load_proposer_key,
)
from keeper.quorum.signer import PlanRefusedError, Signer
from keeper.quorum.tls import trusting
from keeper.simulation.accounts import accounts
from keeper.simulation.proposers import PROPOSERS, proposer_key
from keeper.simulation.vault import PATIENCE_SECONDS

Make = Callable[..., Signer]
BODY = b"a plan's bytes"


@pytest.fixture
def admission(world: World, tmp_path: Path) -> Admission:
    return Admission(world.policy, ChainTime(world.devnet), tmp_path / "record.sqlite")


async def refused(admission: Admission, headers: dict[str, str], body: bytes = BODY) -> PlanRefusedError:
    with pytest.raises(PlanRefusedError) as caught:
        await admission.admit(Claim.from_headers(headers), body)
    return caught.value


async def test_a_listed_proposers_request_is_admitted_with_its_place(
    world: World, admission: Admission
) -> None:
    for place, role in enumerate(PROPOSERS):
        claim = Claim.from_headers(await world.proposer(role).headers(BODY))
        assert await admission.admit(claim, BODY) == place


async def test_a_request_is_admitted_once_also_after_a_restart(
    world: World, admission: Admission, tmp_path: Path
) -> None:
    headers = await world.proposer().headers(BODY)
    await admission.admit(Claim.from_headers(headers), BODY)
    for each in (admission, Admission(world.policy, ChainTime(world.devnet), tmp_path / "record.sqlite")):
        refusal = await refused(each, headers)
        assert refusal.code == "replayed"
        assert headers[NONCE] in str(refusal)


async def test_every_part_of_a_request_is_signed(world: World, admission: Admission) -> None:
    headers = await world.proposer().headers(BODY)
    other = await world.proposer().headers(BODY)
    changes = [
        {NONCE: other[NONCE]},
        {TIMESTAMP: str(int(headers[TIMESTAMP]) - 1)},
        {PROPOSER: world.proposer(PROPOSERS[1]).public_key.hex()},
        {SIGNATURE: other[SIGNATURE]},
    ]
    for change in changes:
        assert (await refused(admission, headers | change)).code == "bad_request_signature"
    assert (await refused(admission, headers, BODY + b" ")).code == "bad_request_signature"
    await admission.admit(Claim.from_headers(headers), BODY)


async def test_a_stranger_is_told_who_may_propose(world: World, admission: Admission) -> None:
    stranger = Proposer(Ed25519PrivateKey.generate(), ChainTime(world.devnet))
    refusal = await refused(admission, await stranger.headers(BODY))
    assert refusal.code == "unknown_proposer"
    assert world.proposer().public_key.hex() in str(refusal)
    assert stranger.public_key.hex() in str(refusal)


async def test_without_the_section_nobody_may_propose_and_the_hash_is_the_old_one(
    world: World, tmp_path: Path
) -> None:
    silent = world.policy.model_copy(update={"proposers": None})
    admission = Admission(silent, ChainTime(world.devnet), tmp_path / "none.sqlite")
    refusal = await refused(admission, await world.proposer().headers(BODY))
    assert "none: the policy has no [proposers]" in str(refusal)
    assert "proposers" not in Policy.model_validate(silent)._body()


@pytest.mark.parametrize("off", [-61, 61])
async def test_a_request_from_another_time_is_refused(world: World, admission: Admission, off: int) -> None:
    now = world.now()
    proposer = replace(world.proposer(), clock=FixedClock(now + off))
    refusal = await refused(admission, await proposer.headers(BODY))
    assert refusal.code == "request_time"
    assert str(refusal).endswith(f"expected within 60 s of {now}, saw {now + off}")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({PROPOSER: "zz"}, PROPOSER),
        ({NONCE: "00"}, NONCE),
        ({SIGNATURE: ""}, SIGNATURE),
        ({TIMESTAMP: "-1"}, TIMESTAMP),
        ({TIMESTAMP: "9" * 13}, TIMESTAMP),
    ],
)
async def test_headers_that_are_none_are_named(world: World, change: dict[str, str], says: str) -> None:
    headers = await world.proposer().headers(BODY)
    with pytest.raises(DecodeError, match=says):
        Claim.from_headers(headers | change)


async def test_the_next_proposer_may_propose_after_silence_only(rewind: World, make_signer: Make) -> None:
    signer, closed = make_signer(), int(rewind.devnet.block()["timestamp"], 16)
    plan = await rewind.propose(Kind.SETTLEMENT)
    with pytest.raises(PlanRefusedError) as caught:
        await signer.approve(plan.to_bytes(), 1)
    assert caught.value.code == "not_your_turn"
    assert f"saw {plan.reference_time}" in str(caught.value)
    rewind.devnet.warp(PATIENCE_SECONDS)
    later = await rewind.propose(Kind.SETTLEMENT)
    assert later.reference_time >= closed + PATIENCE_SECONDS - 2
    await signer.approve(later.to_bytes(), 1)
    with pytest.raises(PlanRefusedError, match="Proposer 3 of the policy proposes only after silence"):
        await signer.approve(later.to_bytes(), 2)


async def test_what_was_promised_is_counted_until_it_expires(
    rewind: World, make_signer: Make, tmp_path: Path
) -> None:
    signer = make_signer()
    plan = await rewind.propose(Kind.SETTLEMENT)
    assert signer._promises.unexpired(0) == ()
    await signer.approve(plan.to_bytes())
    await signer.approve(plan.to_bytes())
    assert signer._promises.unexpired(plan.valid_until) == (plan,)
    assert signer._promises.unexpired(plan.valid_until + 1) == ()


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"keys": [], "patience": 1}, "at least 1"),
        ({"keys": ["0x" + "11" * 31], "patience": 1}, "64 hex digits"),
        ({"keys": ["0x" + "11" * 32] * 2, "patience": 1}, "named twice"),
        ({"keys": ["0x" + "11" * 32], "patience": 0}, "greater than 0"),
    ],
)
def test_a_section_that_does_not_hold_is_refused(section: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse(section, ProposerPolicy)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for the loopback address, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "signer")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(exist_ok=True)
    where, secret = folder / "cert.pem", folder / "cert.key"
    where.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.touch(mode=0o600)
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return where, secret


TLS = '[tls]\ncertificate = "cert.pem"\nkey = "cert.key"'


@asynccontextmanager
async def over_tls(world: World, folder: Path, logs: Path) -> AsyncIterator[tuple[str, Path]]:
    where, _ = certificate(folder)
    config = write_config(folder, world, 'env = "SIGNER_KEY"', tls=TLS)
    with running(config, logs, SIGNER_KEY=accounts()["signer1"].key) as ready:
        yield ready["url"], where


async def test_a_signer_over_tls_signs_for_those_who_trust_its_certificate(
    rewind: World, tmp_path: Path
) -> None:
    plan = await rewind.propose(Kind.SETTLEMENT)
    async with over_tls(rewind, tmp_path / "signer", tmp_path / "log") as (url, where):
        assert url.startswith("https://127.0.0.1:")
        trusting_one = replace(rewind.proposer(), trust=trusting(where))
        outcome = await ask(url, plan.to_bytes(), 60, trusting_one)
        assert outcome.signature is not None, outcome
        assert (await ask(url, plan.to_bytes(), 60, rewind.proposer())).code == "unreachable"
        plain = await ask(url.replace("https", "http"), plan.to_bytes(), 60, trusting_one)
        assert plain.signature is None
        old = trusting(where)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
        outdated = await ask(url, plan.to_bytes(), 60, replace(trusting_one, trust=old))
        assert outdated.code == "unreachable"
        async with aiohttp.ClientSession() as session:
            headers = await rewind.proposer().headers(BODY)
            for code in ("malformed_plan", "replayed"):
                post = session.post(f"{url}/v1/approve", data=BODY, headers=headers, ssl=trusting(where))
                async with post as response:
                    assert (await response.json())["code"] == code
            async with session.post(f"{url}/v1/approve", data=BODY, ssl=trusting(where)) as response:
                assert response.status == 401
                assert (await response.json())["code"] == "unauthenticated"


def test_a_tls_key_that_others_may_read_is_refused(world: World, tmp_path: Path) -> None:
    _, secret = certificate(tmp_path / "signer")
    secret.chmod(0o644)
    config = write_config(tmp_path / "signer", world, 'env = "SIGNER_KEY"', tls=TLS)
    done = failing(config, SIGNER_KEY=accounts()["signer1"].key)
    assert done.returncode == 2
    assert "may be read by others" in done.stderr


def test_a_proposers_key_is_read_from_a_file_of_its_owner_only(tmp_path: Path) -> None:
    path, key = tmp_path / "proposer.pem", proposer_key(PROPOSERS[0])
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"planted"),
        )
    )
    assert load_proposer_key(path, b"planted").private_bytes_raw() == key.private_bytes_raw()
    with pytest.raises(ConfigError, match="does not open"):
        load_proposer_key(path, b"another")
    path.chmod(0o604)
    with pytest.raises(ConfigError, match="may be read by others"):
        load_proposer_key(path, b"planted")
