"""Keys that never leave a key service: AWS KMS as moto implements it, with real keys inside."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256
from eth_account import Account
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws
from moto.kms.utils import ECDSAPrivateKey

from keeper.errors import ConfigError
from keeper.quorum.external import KeyUnavailableError
from keeper.quorum.key import KeySource, load_signing_key
from keeper.quorum.kms import AwsKmsSigner, ethereum_signature
from keeper.quorum.typed_data import SECP256K1_ORDER, Signature, check
from keeper.units import Address

REGION = "eu-west-1"
OWN = Account.from_key(b"\x07" * 32)


def sign_digest(key: ECDSAPrivateKey, message: bytes, algorithm: str) -> bytes:
    assert algorithm == "ECDSA_SHA_256"
    return key.private_key.sign(message, ECDSA(Prehashed(SHA256())))


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "planted")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted")
    # moto hashes a digest once more ("MessageType DIGEST is not yet implemented"); the service does not.
    monkeypatch.setattr(ECDSAPrivateKey, "sign", sign_digest)
    with mock_aws():
        yield boto3.client("kms", region_name=REGION)


def made(service: Any, spec: str = "ECC_SECG_P256K1", usage: str = "SIGN_VERIFY") -> str:
    key_id: str = service.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["KeyId"]
    return key_id


async def test_signatures_of_the_service_are_ethereums(service: Any) -> None:
    signer = AwsKmsSigner(made(service), REGION)
    asked: list[str] = []
    signer._client.meta.events.register(
        "provide-client-params.kms.Sign", lambda params, **_: asked.append(params["MessageType"])
    )
    for number in range(16):
        digest = keccak(bytes([number]))
        data = await signer.sign(digest)
        # As strict as the contract: length, v, low s, author.
        check(digest, Signature(signer.address, data))
    # Without it the service would hash the digest, and nobody would recover its author.
    assert asked == ["DIGEST"] * 16


async def test_an_alias_from_the_signers_file_works_as_well(service: Any) -> None:
    key_id = made(service)
    service.create_alias(AliasName="alias/omnikeeper", TargetKeyId=key_id)
    source = KeySource(aws_kms="alias/omnikeeper", aws_region=REGION)
    signer = load_signing_key(source, {})
    assert signer.address == AwsKmsSigner(key_id, REGION).address
    digest = keccak(b"digest")
    check(digest, Signature(signer.address, await signer.sign(digest)))


def test_a_key_of_another_kind_is_refused(service: Any) -> None:
    with pytest.raises(ConfigError, match="expected ECC_SECG_P256K1, saw ECC_NIST_P256"):
        AwsKmsSigner(made(service, "ECC_NIST_P256"), REGION)
    with pytest.raises(ConfigError, match="saw RSA_2048"):
        AwsKmsSigner(made(service, "RSA_2048"), REGION)


def test_a_key_that_is_not_there_is_named_and_no_secret_is_told(service: Any) -> None:
    with pytest.raises(KeyUnavailableError, match="saw NotFoundException") as caught:
        AwsKmsSigner("00000000-0000-0000-0000-000000000000", REGION)
    assert "planted" not in str(caught.value)


async def test_a_key_that_is_taken_away_signs_nothing(service: Any) -> None:
    key_id = made(service)
    service.create_alias(AliasName="alias/omnikeeper", TargetKeyId=key_id)
    signer = AwsKmsSigner("alias/omnikeeper", REGION)
    service.delete_alias(AliasName="alias/omnikeeper")
    with pytest.raises(KeyUnavailableError, match="AWS refuses sign"):
        await signer.sign(keccak(b"digest"))


async def test_no_credential_is_logged_whatever_the_libraries_log(
    service: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    planted = {
        "AWS_ACCESS_KEY_ID": "PLANTEDACCESSKEYID",
        "AWS_SECRET_ACCESS_KEY": "planted-secret-access-key",
        "AWS_SESSION_TOKEN": "planted-session-token",
    }
    for name, value in planted.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    caplog.set_level(logging.DEBUG)
    signer = AwsKmsSigner(made(service), REGION)
    await signer.sign(keccak(b"digest"))
    with pytest.raises(KeyUnavailableError) as refused:
        AwsKmsSigner("00000000-0000-0000-0000-000000000000", REGION)
    logging.getLogger("a library").debug("that debug level is on")
    assert "that debug level is on" in caplog.text
    said = f"{caplog.text}{refused.value}{refused.value.as_dict()}{signer!r}".lower()
    assert not [name for name, value in planted.items() if value.lower() in said]


@given(digest=st.binary(min_size=32, max_size=32), flip=st.booleans())
def test_a_der_signature_with_high_or_low_s_becomes_the_same_bytes(digest: bytes, flip: bool) -> None:
    signed = OWN.unsafe_sign_hash(digest)
    s = SECP256K1_ORDER - signed.s if flip else signed.s
    der = encode_dss_signature(signed.r, s)
    assert decode_dss_signature(der) == (signed.r, s)
    assert ethereum_signature(digest, der, Address(OWN.address)) == bytes(signed.signature)


@pytest.mark.parametrize("der", [b"", b"\x30\x00", b"\x11" * 70, encode_dss_signature(1, 1)])
def test_what_is_no_signature_of_the_key_is_refused(der: bytes) -> None:
    with pytest.raises(KeyUnavailableError):
        ethereum_signature(keccak(b"digest"), der, Address(OWN.address))


@pytest.mark.parametrize(
    "source",
    [
        {"aws_kms": "k"},
        {"aws_region": REGION, "env": "K"},
        {"aws_kms": "k", "aws_region": REGION, "env": "K"},
        {"aws_kms": "k", "aws_region": REGION, "keystore": Path("k"), "password_env": "P"},
        {},
    ],
)
def test_a_key_has_one_source(source: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"exactly one of|aws_region"):
        KeySource(**source)
