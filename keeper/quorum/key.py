"""A signer's key: where it comes from, and who else could have read it. Its bytes are never shown."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import model_validator

from keeper.config import StrictModel
from keeper.errors import ConfigError
from keeper.quorum.external import ExternalSigner, LocalKey
from keeper.quorum.keystore import open_keystore
from keeper.quorum.kms import AwsKmsSigner

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount


class KeySource(StrictModel):
    """One of three: `env`, the name of a variable that holds the key in hex; `keystore`, the path of an
    encrypted keystore file, with `password_env`, the name of the variable that holds its password; `aws_kms`,
    the id, ARN or alias of a key in that service, with its `aws_region`."""

    env: str | None = None
    keystore: Path | None = None
    password_env: str | None = None
    aws_kms: str | None = None
    aws_region: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "KeySource":
        if [self.env, self.keystore, self.aws_kms].count(None) != 2:
            raise ValueError("name exactly one of env, keystore and aws_kms")
        if (self.aws_kms is None) != (self.aws_region is None):
            raise ValueError("aws_region belongs to aws_kms, and aws_kms needs it")
        if (self.keystore is None) != (self.password_env is None):
            raise ValueError("password_env belongs to a keystore, and a keystore needs it")
        return self


def load_signing_key(source: KeySource, environment: Mapping[str, str]) -> ExternalSigner:
    """What signs, wherever its key is. Raises as `load_key` and `AwsKmsSigner` do."""
    if source.aws_kms is not None and source.aws_region is not None:
        return AwsKmsSigner(source.aws_kms, source.aws_region)
    return LocalKey(load_key(source, environment))


def load_key(source: KeySource, environment: Mapping[str, str]) -> "LocalAccount":
    """The account that signs. Relative keystore paths are as given.

    Raises ConfigError, never with a secret in it, when the variable or file is missing or holds no key, when
    the password is wrong, and when the file may be read by anyone but its owner.
    """
    if source.env is not None:
        return _from_hex(_variable(source.env, environment), source.env)
    if source.keystore is None or source.password_env is None:
        raise ConfigError("No key source", expected="env or keystore")
    return open_keystore(source.keystore, _variable(source.password_env, environment))


def _variable(name: str, environment: Mapping[str, str]) -> str:
    value = environment.get(name)
    if not value:
        raise ConfigError(
            "Environment variable is not set", expected=name, hint="It holds the signer's secret"
        )
    return value


def _from_hex(text: str, name: str) -> "LocalAccount":
    # Imported where there is a key: its package builds the tables of several curves.
    from eth_account import Account

    digits = text.removeprefix("0x")
    try:
        account: LocalAccount = Account.from_key(bytes.fromhex(digits))
    except ValueError:
        # Not chained: the cause's message quotes the key.
        raise ConfigError(
            "Environment variable holds no key", expected="32 bytes in hex", where=name
        ) from None
    return account
