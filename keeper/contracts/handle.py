"""Contract handles: name a method, get a `Call` back."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from keeper.chain.call import Call
from keeper.contracts.abi import Function, type_of
from keeper.contracts.artifact import artifact
from keeper.errors import ConfigError
from keeper.units import Address


@cache
def functions(abi_name: str) -> tuple[Function, ...]:
    """Every function of an exported contract."""
    found = []
    for entry in artifact(abi_name).abi:
        if entry["type"] == "function":
            inputs, outputs = (",".join(type_of(p) for p in entry[side]) for side in ("inputs", "outputs"))
            found.append(Function(f"{entry['name']}({inputs})", f"({outputs})"))
    return tuple(found)


@cache
def function(abi_name: str, name: str, arity: int) -> Function:
    """A function by name, or by full signature where it is overloaded with the same number of arguments.

    Raises ConfigError when there is none, or more than one.
    """
    known = functions(abi_name)
    named = [f for f in known if name in (f.name, f.signature)]
    fitting = [f for f in named if len(f.input_types()) == arity]
    if len(fitting) == 1:
        return fitting[0]
    raise ConfigError(
        f"{abi_name}.{name} with {arity} arguments is " + ("ambiguous" if fitting else "unknown"),
        expected=" or ".join(f.signature for f in named) or "a function of its ABI",
    )


@dataclass(frozen=True, order=True)
class Contract:
    """An exported contract at an address. Nothing here touches the network."""

    address: Address
    abi_name: str

    def call(self, name: str, *args: Any) -> Call[Any]:
        """The call `name(*args)`: a single output decodes as such, several as a tuple, structs as tuples.

        `name` may be a full signature. Raises ConfigError when there is no such function or an argument
        does not fit.
        """
        return function(self.abi_name, name, len(args)).at(self.address, *args, owner=self.abi_name)

    def encode(self, name: str, *args: Any) -> bytes:
        """Calldata of `name(*args)`."""
        return function(self.abi_name, name, len(args)).encode(*args)
