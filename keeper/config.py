"""Configuration: strict models over TOML. An unknown key is an error that names the nearest valid one.

Secrets are `pydantic.SecretStr`; an endpoint's URL may hold a key in its path, query or user part, so it is
an `EndpointUrl`, which shows scheme and host only.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from keeper.contracts.abi import address
from keeper.errors import ConfigError
from keeper.units import Address


def public_url(url: str) -> str:
    """The part of an endpoint's URL that may be shown: scheme, host and port.

    Raises ConfigError, without the URL, when it is not http or https with a host.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(
            "Not an endpoint URL", expected="http(s)://host…", hint="The URL may hold a key: not shown"
        )
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port else "")


class EndpointUrl:
    """A URL that prints as scheme and host; `secret()` is the whole of it."""

    __slots__ = ("_public", "_url")

    def __init__(self, url: str) -> None:
        """Raises ConfigError when it is not http or https with a host."""
        self._url = url
        self._public = public_url(url)

    def secret(self) -> str:
        return self._url

    def __str__(self) -> str:
        return self._public

    def __repr__(self) -> str:
        return f"EndpointUrl({self._public})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EndpointUrl) and other._url == self._url

    def __hash__(self) -> int:
        return hash(self._url)


def _endpoint_url(value: object) -> EndpointUrl:
    if isinstance(value, EndpointUrl):
        return value
    try:
        return EndpointUrl(str(value))
    except ConfigError as error:
        raise PydanticCustomError(
            "endpoint_url", "expected http(s)://host… (not shown: it may hold a key)"
        ) from error


def _address(value: object) -> Address:
    try:
        return address(value if isinstance(value, str) else "")
    except ConfigError as error:
        raise PydanticCustomError("address", "expected an address, EIP-55 where mixed case") from error


Url = Annotated[EndpointUrl, BeforeValidator(_endpoint_url)]
"""Field type of an endpoint's URL."""
CheckedAddress = Annotated[Address, BeforeValidator(_address)]
"""Field type of an address: any hex form in, EIP-55 out."""


def exact_bytes(value: object, length: int) -> bytes | None:
    """`value` as that many bytes, if it is these or says them as 0x and hex digits with nothing between."""
    if isinstance(value, bytes):
        return value if len(value) == length else None
    if isinstance(value, str) and re.fullmatch(f"0x[0-9a-fA-F]{{{2 * length}}}", value):
        return bytes.fromhex(value[2:])
    return None


def _one_each(value: object, parse: ValidatorFunctionWrapHandler) -> object:
    parsed: object = parse(value)
    if isinstance(value, Mapping) and isinstance(parsed, Mapping) and len(parsed) < len(value):
        raise PydanticCustomError("same_key", "two keys say the same in other words")
    return parsed


OneEach = WrapValidator(_one_each)
"""Of a table whose keys are read: that no two mean the same, of which the later would silently win."""


def _refuse_unknown(model: type[BaseModel], data: object) -> object:
    if isinstance(data, Mapping):
        valid = {field.alias or name for name, field in model.model_fields.items()} | set(model.model_fields)
        for key in data:
            if key not in valid:
                nearest = get_close_matches(str(key), sorted(valid), n=1, cutoff=0.5)
                hint = (
                    f"did you mean '{nearest[0]}'?" if nearest else f"valid keys: {', '.join(sorted(valid))}"
                )
                raise PydanticCustomError(
                    "unknown_key", "unknown key '{key}': {hint}", {"key": key, "hint": hint}
                )
    return data


class StrictModel(BaseModel):
    """Base of every section and policy: immutable and without unknown keys."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True
    )

    @model_validator(mode="before")
    @classmethod
    def _known_keys_only(cls, data: object) -> object:
        return _refuse_unknown(cls, data)


class StrictSettings(BaseSettings):
    """Base of a whole TOML file: as StrictModel, and `KEEPER_SECTION__KEY` in the environment comes first."""

    model_config = SettingsConfigDict(
        env_prefix="KEEPER_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _known_keys_only(cls, data: object) -> object:
        return _refuse_unknown(cls, data)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # `load_toml` passes the file's content as initial values; the environment overrides it.
        return env_settings, init_settings


M = TypeVar("M", bound=BaseModel)


def _line(error: ErrorDetails) -> str:
    place = ".".join(str(part) for part in error["loc"])
    return f"{place}: {error['msg']}" if place else error["msg"]


def parse(data: Mapping[str, Any], model: type[M], *, where: object = None) -> M:
    """`data` as a model. Raises ConfigError with one line per problem; values are never shown."""
    try:
        return model(**data)
    except ValidationError as error:
        lines = "; ".join(_line(detail) for detail in error.errors(include_input=False, include_url=False))
        raise ConfigError(f"Invalid configuration: {lines}", where=where) from None


def load_toml(path: Path, model: type[M]) -> M:
    """A TOML file as a model.

    Raises ConfigError when the file is missing, not TOML, or does not fit the model.
    """
    try:
        # A mark at the beginning is what some editors put there.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("Cannot read the configuration", where=path, seen=error) from error
    return parse(parse_toml(text, where=path), model, where=path)


def parse_toml(text: str, *, where: object = None) -> dict[str, Any]:
    """The table. Raises ConfigError for what is no TOML, and for numbers and nesting that have no end."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError("Not TOML", where=where, seen=error) from error


def api_key(variable: str | None, what: str) -> str:
    """What the environment variable holds, without the line end that files of secrets have; nothing where
    none is named. Raises ConfigError where it is not set, or cannot stand in a header."""
    if not variable:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigError("Environment variable is not set", expected=variable, hint=f"It holds {what}")
    if not (key.isascii() and key.isprintable()):
        raise ConfigError("Environment variable holds no key", where=variable, expected=f"{what} in one line")
    return key
