"""A Safe of the signers, for a vault whose keeper role is a Safe."""

from collections.abc import Sequence
from typing import Any, Final

from keeper.contracts import Function
from keeper.simulation.devnet import Devnet
from keeper.units import Address

_SETUP: Final = Function("setup(address[],uint256,address,bytes,address,address,uint256,address)")
_CREATE: Final = Function("createProxyWithNonce(address,bytes,uint256)", "(address)")
_NOBODY: Final = Address("0x" + "0" * 40)


def create_safe(devnet: Devnet, owners: Sequence[Address], threshold: int) -> Address:
    """A new Safe as its factory makes it, with the fallback handler and without modules or guards."""
    section, deployer = devnet.manifest["safe"], "deployer"
    setup = _SETUP.encode(owners, threshold, _NOBODY, b"", section["fallback_handler"], _NOBODY, 0, _NOBODY)
    salt = int(devnet.rpc("eth_getTransactionCount", devnet.address(deployer), "latest"), 16)
    factory, arguments = section["proxy_factory"], (section["singleton"], setup, salt)
    # The address follows from the arguments: the call tells it before the transaction makes it so.
    made = devnet.call(factory, _CREATE.signature, list(arguments), _CREATE.outputs)
    devnet.send(devnet.key(deployer), factory, _CREATE.encode(*arguments))
    return Address(made)


def safe_section(devnet: Devnet) -> dict[str, Any]:
    """The policy's section `safe` for a Safe of `create_safe`."""
    section = devnet.manifest["safe"]
    return {
        "version": section["version"],
        "singleton": section["singleton"],
        "fallback_handler": section["fallback_handler"],
        "multi_send": section["multi_send_call_only"],
    }
