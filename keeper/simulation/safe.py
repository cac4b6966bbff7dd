"""Safe, as compiled by its authors: singletons, factory, MultiSend and fallback handler."""

from collections.abc import Mapping
from typing import Final

from keeper.simulation.accounts import Account
from keeper.simulation.deploy import Builder
from keeper.units import Address

VERSION: Final = "1.5.0"
_CONTRACTS: Final = {
    "singleton": "Safe",
    "singleton_l2": "SafeL2",
    "proxy_factory": "SafeProxyFactory",
    "multi_send": "MultiSend",
    "multi_send_call_only": "MultiSendCallOnly",
    "fallback_handler": "CompatibilityFallbackHandler",
}


def deploy(builder: Builder, people: Mapping[str, Account]) -> dict[str, Address | str]:
    """Queues the contracts; returns manifest section "safe"."""
    deployer = people["deployer"].address
    section: dict[str, Address | str] = {"version": VERSION}
    for name, contract in _CONTRACTS.items():
        section[name] = builder.create(deployer, contract)
    return section
