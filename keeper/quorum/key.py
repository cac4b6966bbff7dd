"""A signer's key: where it comes from, and who else could have read it. Its bytes are never shown."""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount
from pydantic import model_validator

from keeper.config import StrictModel
from keeper.errors import ConfigError

OTHERS = stat.S_IRWXG | stat.S_IRWXO


class KeySource(StrictModel):
    """Either `env`, the name of a variable that holds the key in hex, or `keystore`, the path of an encrypted
    keystore file with `password_env`, the name of the variable that holds its password."""

    env: str | None = None
    keystore: Path | None = None
    password_env: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "KeySource":
        if (self.env is None) == (self.keystore is None):
            raise ValueError("name exactly one of env and keystore")
        if (self.keystore is None) != (self.password_env is None):
            raise ValueError("password_env belongs to a keystore, and a keystore needs it")
        return self


def load_key(source: KeySource, environment: Mapping[str, str]) -> LocalAccount:
    """The account that signs. Relative keystore paths are as given.

    Raises ConfigError, never with a secret in it, when the variable or file is missing or holds no key, when
    the password is wrong, and when the file may be read by anyone but its owner.
    """
    if source.env is not None:
        return _from_hex(_variable(source.env, environment), source.env)
    if source.keystore is None or source.password_env is None:
        raise ConfigError("No key source", expected="env or keystore")
    return _from_keystore(source.keystore, _variable(source.password_env, environment))


def _variable(name: str, environment: Mapping[str, str]) -> str:
    value = environment.get(name)
    if not value:
        raise ConfigError(
            "Environment variable is not set", expected=name, hint="It holds the signer's secret"
        )
    return value


def _from_hex(text: str, name: str) -> LocalAccount:
    digits = text.removeprefix("0x")
    try:
        account: LocalAccount = Account.from_key(bytes.fromhex(digits))
    except ValueError:
        # Not chained: the cause's message quotes the key.
        raise ConfigError(
            "Environment variable holds no key", expected="32 bytes in hex", where=name
        ) from None
    return account


def _from_keystore(path: Path, password: str) -> LocalAccount:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & OTHERS:
                raise ConfigError(
                    "Key file may be read by others",
                    expected="mode 0600",
                    seen=f"mode {stat.S_IMODE(mode):04o}",
                    where=path,
                    hint=f"chmod 600 {path}",
                )
            content = json.loads(file.read())
    except OSError as error:
        raise ConfigError("Cannot read the key file", where=path, seen=error.strerror) from error
    except ValueError:
        raise ConfigError("Key file is not an encrypted keystore", expected="JSON", where=path) from None
    try:
        account: LocalAccount = Account.from_key(Account.decrypt(content, password))
    except (ValueError, TypeError, KeyError):
        raise ConfigError("Key file does not open with this password", where=path) from None
    return account
