"""What a revert says, in the words of the contracts that may have said it."""

from dataclasses import dataclass
from typing import Any, Final

from eth_hash.auto import keccak

from keeper.contracts import abi
from keeper.contracts.artifact import Artifact, artifact
from keeper.errors import DecodeError, RevertError

_PANICS: Final = {
    0x01: "assertion failed",
    0x11: "arithmetic overflow or underflow",
    0x12: "division by zero",
    0x21: "value outside its enum",
    0x31: "pop from an empty array",
    0x32: "array index out of bounds",
    0x41: "too much memory",
    0x51: "call of an uninitialised function",
}


@dataclass(frozen=True)
class Revert:
    """A decoded revert: the error's name, its argument names ("" where unnamed) and values."""

    name: str
    parameters: tuple[str, ...] = ()
    arguments: tuple[Any, ...] = ()

    def __str__(self) -> str:
        shown = ("0x" + value.hex() if isinstance(value, bytes) else str(value) for value in self.arguments)
        pairs = zip(self.parameters, shown, strict=True)
        return f"{self.name}({', '.join(f'{name}={value}' if name else value for name, value in pairs)})"

    def as_error(self, where: object = None) -> RevertError:
        return RevertError(self.name, self.arguments, where=where)


_STANDARD: Final[tuple[dict[str, Any], ...]] = (
    {"name": "Error", "inputs": [{"name": "", "type": "string"}]},
    {"name": "Panic", "inputs": [{"name": "", "type": "uint256"}]},
)


def _errors(contracts: tuple[str | Artifact, ...]) -> list[Any]:
    abis = [(artifact(each) if isinstance(each, str) else each).abi for each in contracts]
    return [*_STANDARD, *(entry for abi_ in abis for entry in abi_ if entry["type"] == "error")]


def parse_revert(data: bytes, *contracts: str | Artifact) -> Revert:
    """The error in revert data, looked up in the given contracts' ABIs and Solidity's own.

    Never raises for strange data: unknown errors keep their selector and bytes, since they are what the
    chain said.
    """
    if not data:
        return Revert("EmptyRevert")
    for entry in _errors(contracts):
        types = [abi.type_of(parameter) for parameter in entry["inputs"]]
        if keccak(f"{entry['name']}({','.join(types)})".encode())[:4] != data[:4]:
            continue
        try:
            values = abi.decode(types, data[4:])
        except DecodeError:
            break
        if entry["name"] == "Panic" and values[0] in _PANICS:
            return Revert("Panic", ("",), (_PANICS[values[0]],))
        return Revert(entry["name"], tuple(parameter["name"] for parameter in entry["inputs"]), values)
    return Revert("UnknownError", ("",), (data,))


def decode_revert(data: bytes, *contracts: str | Artifact) -> str:
    """As `parse_revert`, as text: "NavBelowFloor(navLow=99, floor=100)"."""
    return str(parse_revert(data, *contracts))
