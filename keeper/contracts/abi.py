"""Encoding and decoding by ABI type, strictly: addresses come back checksummed, structs as tuples."""

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

from eth_abi.codec import ABICodec
from eth_abi.decoding import AddressDecoder
from eth_abi.encoding import AddressEncoder
from eth_abi.exceptions import ABITypeError, DecodingError, EncodingError, ParseError
from eth_abi.grammar import TupleType, parse
from eth_abi.registry import registry
from eth_hash.auto import keccak
from eth_utils.address import is_address, to_checksum_address

from keeper.chain.call import Call
from keeper.errors import ConfigError, DecodeError
from keeper.units import Address

_SIGNATURE: Final = re.compile(r"([A-Za-z_$][A-Za-z0-9_$]*)(\(.*\))")


_checksummed: Final = lru_cache(maxsize=4096)(to_checksum_address)
_is_address: Final = lru_cache(maxsize=4096)(is_address)
"""The same few addresses come again and again, and each costs a hash."""


class _ChecksumAddressDecoder(AddressDecoder):
    decoder_fn = staticmethod(_checksummed)


def _codec() -> ABICodec:
    own = copy.copy(registry)
    own.unregister("address")
    own.register("address", AddressEncoder, _ChecksumAddressDecoder)
    return ABICodec(own)


_CODEC: Final = _codec()


def address(text: str) -> Address:
    """EIP-55 form of a hex address. Raises ConfigError when it is none or its checksum is wrong."""
    if not isinstance(text, str) or not _is_address(text):
        raise ConfigError("Not an address", expected="20 bytes in hex, EIP-55 where mixed case", seen=text)
    return Address(_checksummed(text))


def encode(types: Sequence[str], values: Sequence[Any]) -> bytes:
    """ABI encoding of a tuple. Raises ConfigError when a value does not fit its type."""
    if len(types) != len(values):
        raise ConfigError("Wrong number of arguments", expected=f"({','.join(types)})", seen=len(values))
    try:
        return _CODEC.encode(types, values)
    except (EncodingError, ParseError) as error:
        raise ConfigError("Arguments do not fit", expected=f"({','.join(types)})", seen=str(error)) from error


def decode(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    """Strict ABI decoding of a tuple. Raises DecodeError on short data, non-zero padding, or a string that is
    not UTF-8."""
    try:
        return _CODEC.decode(types, data, strict=True)
    except (DecodingError, ParseError, OverflowError, UnicodeDecodeError) as error:
        shown = "0x" + data[:64].hex() + ("…" if len(data) > 64 else "")
        raise DecodeError(
            "Returned bytes do not decode", expected=f"({','.join(types)})", seen=shown, hint=str(error)
        ) from error


def type_of(parameter: Mapping[str, Any]) -> str:
    """Canonical type of a JSON ABI parameter, tuples spelled out."""
    kind = str(parameter["type"])
    if not kind.startswith("tuple"):
        return kind
    inner = ",".join(type_of(component) for component in parameter["components"])
    return f"({inner}){kind[len('tuple') :]}"


@lru_cache(maxsize=4096)
def _types(text: str) -> tuple[str, ...]:
    if text == "()":
        return ()
    try:
        parsed = parse(text)
        parsed.validate()
    except (ParseError, ABITypeError, ValueError) as error:
        raise ConfigError("Not a list of ABI types", seen=text, hint=str(error)) from error
    if not isinstance(parsed, TupleType) or parsed.arrlist:
        raise ConfigError("Not a list of ABI types", expected="(type,…)", seen=text)
    return tuple(component.to_type_str() for component in parsed.components)


@dataclass(frozen=True)
class Function:
    """A function by its human-readable signature, for published interfaces without a build.

    >>> Function("balanceOf(address)", "(uint256)")

    Raises ConfigError when the signature or the outputs do not parse.
    """

    signature: str
    outputs: str = "()"

    def __post_init__(self) -> None:
        self.input_types()
        self.output_types()

    @property
    def name(self) -> str:
        return self.signature.partition("(")[0]

    @cached_property
    def selector(self) -> bytes:
        return keccak(self.signature.encode())[:4]

    def input_types(self) -> tuple[str, ...]:
        match = _SIGNATURE.fullmatch(self.signature)
        if match is None:
            raise ConfigError("Not a function signature", expected="name(type,…)", seen=self.signature)
        return _types(match.group(2))

    def output_types(self) -> tuple[str, ...]:
        return _types(self.outputs)

    def encode(self, *args: Any) -> bytes:
        """Calldata. Raises ConfigError when an argument does not fit its type."""
        return self.selector + encode(self.input_types(), args)

    def decode(self, data: bytes) -> Any:
        """Returned bytes: a single output as such, several as a tuple, none as None."""
        values = decode(self.output_types(), data)
        if len(values) == 1:
            return values[0]
        return values or None

    def decode_input(self, calldata: bytes) -> tuple[Any, ...]:
        """Arguments of calldata. Raises DecodeError when it calls another function."""
        if calldata[:4] != self.selector:
            raise DecodeError("Calldata of another function", expected=self.signature, seen=calldata[:4])
        return decode(self.input_types(), calldata[4:])

    def at(self, target: Address, *args: Any, owner: str = "") -> Call[Any]:
        """The call of this function at `target`; `owner` is the contract's name for the label."""
        shown = ", ".join("0x" + arg.hex() if isinstance(arg, bytes) else str(arg) for arg in args)
        label = f"{owner or target}.{self.name}({shown})"
        return Call(target=target, data=self.encode(*args), decode=self.decode, label=label)


def encode_call(signature: str, *args: Any) -> bytes:
    """Calldata of a signature such as "transfer(address,uint256)"."""
    return Function(signature).encode(*args)
