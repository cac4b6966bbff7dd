"""A signer's key in AWS Key Management Service: kind ECC_SECG_P256K1, use SIGN_VERIFY.

The service signs digests and answers in DER; the parity that Ethereum wants is found by recovery. Who may use
the key, and how this process proves that it may, is AWS's own configuration (roles, profiles, variables).
"""

import asyncio
import logging
from importlib import import_module
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256K1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key
from eth_hash.auto import keccak

from keeper.contracts.abi import address
from keeper.errors import ConfigError, QuorumError
from keeper.quorum.external import KeyUnavailableError
from keeper.quorum.typed_data import SECP256K1_ORDER, recover
from keeper.units import Address

ALGORITHM: Final = "ECDSA_SHA_256"
_EXTRA: Final = "pip install 'omnikeeper[kms]'"


class AwsKmsSigner:
    """One key of the service, by id, ARN or alias."""

    def __init__(self, key_id: str, region: str) -> None:
        """Asks for the public key. Raises ConfigError for a key of another kind or without the library, and
        KeyUnavailableError when the service does not answer or refuses."""
        try:
            library, self._errors = import_module("boto3"), import_module("botocore.exceptions")
        except ModuleNotFoundError as error:
            raise ConfigError(
                "The library for AWS is not installed", expected=error.name, hint=_EXTRA
            ) from error
        # At debug level it logs whole requests, with the access key's id and the session's token.
        logging.getLogger("botocore").setLevel(logging.INFO)
        self._key_id: Final = key_id
        # A client, unlike a session, may be used from several threads.
        self._client: Final = library.client("kms", region_name=region)
        self.address: Final = ethereum_address(key_id, self._call("get_public_key"))

    async def sign(self, digest: bytes) -> bytes:
        """See `ExternalSigner.sign`."""
        answer = await asyncio.to_thread(
            self._call, "sign", Message=digest, MessageType="DIGEST", SigningAlgorithm=ALGORITHM
        )
        return ethereum_signature(digest, answer["Signature"], self.address)

    def _call(self, operation: str, **arguments: object) -> Any:
        try:
            return getattr(self._client, operation)(KeyId=self._key_id, **arguments)
        except self._errors.ClientError as error:
            # Only the code: a message may quote who asked, and with what.
            seen = error.response["Error"]["Code"]
            raise KeyUnavailableError(f"AWS refuses {operation}", seen=seen, where=self._key_id) from None
        except self._errors.BotoCoreError as error:
            seen = type(error).__name__
            raise KeyUnavailableError(f"AWS does not {operation}", seen=seen, where=self._key_id) from None


def ethereum_signature(digest: bytes, der: bytes, signer: Address) -> bytes:
    """r ‖ s ‖ v of a DER signature, with s in the lower half of the order.

    Raises KeyUnavailableError when it is not a signature of `signer` over `digest`.
    """
    try:
        r, s = decode_dss_signature(der)
        words = r.to_bytes(32, "big") + min(s, SECP256K1_ORDER - s).to_bytes(32, "big")
    except (ValueError, OverflowError) as error:
        raise KeyUnavailableError("Not a DER signature", seen=der[:80]) from error
    for v in (27, 28):
        signature = words + bytes([v])
        try:
            author = recover(digest, signature)
        except QuorumError:
            continue
        if author == signer:
            return signature
    raise KeyUnavailableError("Signature of another key, or of another digest", expected=signer)


def ethereum_address(key_id: str, answer: Any) -> Address:
    """The account of a public key as the service answers with it. Raises ConfigError for any other key."""
    try:
        key = load_der_public_key(answer["PublicKey"])
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError("Not a public key", seen=error, where=key_id) from error
    kind = answer.get("KeySpec") or answer.get("CustomerMasterKeySpec")
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256K1):
        raise ConfigError("Key of another kind", expected="ECC_SECG_P256K1", seen=kind, where=key_id)
    if ALGORITHM not in answer.get("SigningAlgorithms", ()):
        raise ConfigError(
            "Key for another use", expected="SIGN_VERIFY", seen=answer.get("KeyUsage"), where=key_id
        )
    point = key.public_numbers()
    return address("0x" + keccak(point.x.to_bytes(32, "big") + point.y.to_bytes(32, "big"))[12:].hex())
