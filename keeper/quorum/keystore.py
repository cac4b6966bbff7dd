"""Encrypted keystore files, version 3 (Web3 Secret Storage), read without trust in what they say.

Whoever decrypts does the work that the file asks for: years of it, if it says so. So that is bounded here.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from keeper.errors import ConfigError, DecodeError
from keeper.json_input import parse_json
from keeper.quorum.private_file import read_private

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

Hex = Annotated[str, Field(pattern=r"^(0x)?([0-9a-fA-F]{2}){1,64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", hide_input_in_errors=True)


class _Scrypt(_Part):
    dklen: Literal[32]
    n: Annotated[int, Field(ge=2, le=2**20)]
    r: Annotated[int, Field(ge=1, le=8)]
    p: Annotated[int, Field(ge=1, le=16)]
    salt: Hex


class _Pbkdf2(_Part):
    dklen: Literal[32]
    c: Annotated[int, Field(ge=1, le=10_000_000)]
    prf: Literal["hmac-sha256"]
    salt: Hex


class _CipherParams(_Part):
    iv: Hex


class _Cipher(_Part):
    cipher: Literal["aes-128-ctr"]
    cipherparams: _CipherParams
    ciphertext: Hex
    mac: Hex


class _WithScrypt(_Cipher):
    kdf: Literal["scrypt"]
    kdfparams: _Scrypt


class _WithPbkdf2(_Cipher):
    kdf: Literal["pbkdf2"]
    kdfparams: _Pbkdf2


class _Keystore(_Part):
    version: Literal[3]
    crypto: Annotated[
        _WithScrypt | _WithPbkdf2,
        Field(discriminator="kdf", validation_alias=AliasChoices("crypto", "Crypto")),
    ]


def open_keystore(path: Path, password: str) -> "LocalAccount":
    """The account of a keystore file.

    Raises ConfigError, never with a secret in it, when the file is none, asks for too much work or may be
    read by others, and when the password is wrong.
    """
    # Imported where there is a key: its package builds the tables of several curves.
    from eth_account import Account

    try:
        keystore = _Keystore.model_validate(parse_json(read_private(path)))
    except DecodeError:
        raise ConfigError("Key file is not an encrypted keystore", expected="JSON", where=path) from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise ConfigError(
            "Key file is not an encrypted keystore",
            expected="version 3, at a bearable cost",
            seen=f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}",
            where=path,
        ) from None
    try:
        account: LocalAccount = Account.from_key(Account.decrypt(keystore.model_dump(), password))
    except ValueError:
        raise ConfigError("Key file does not open with this password", where=path) from None
    return account
