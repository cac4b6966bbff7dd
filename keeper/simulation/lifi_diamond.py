"""A LiFi diamond on a local chain: LiFi's selectors and structs over the local Uniswap v3."""

from dataclasses import dataclass
from typing import Final

from keeper.contracts import Function, encode_call
from keeper.simulation.devnet import Devnet
from keeper.swap.calldata import EXACT_INPUT, Target
from keeper.swap.deployments import FORWARD_FEES, MULTIPLE, SINGLE, Deployment
from keeper.units import Address

_NOBODY: Final = "0x" + "00" * 20
_ALLOW: Final = Function("setContractSelectorWhitelist(address,bytes4,bool)")
_LOUPE: Final = (
    "facets()",
    "facetFunctionSelectors(address)",
    "facetAddresses()",
    "facetAddress(bytes4)",
)
_CUT: Final = "diamondCut((address,uint8,bytes4[])[],address,bytes)"
_ADD: Final = 0


@dataclass(frozen=True)
class LocalLiFi:
    """LiFi's contracts on a local chain, and the router their swaps go through."""

    deployment: Deployment
    router: Address

    @property
    def targets(self) -> tuple[tuple[Address, Target], ...]:
        """What the steps of a swap may call."""
        forwarder = self.deployment.fee_forwarder
        return (
            (self.router, Target(self.router, frozenset({EXACT_INPUT.selector}))),
            (forwarder, Target(forwarder, frozenset({FORWARD_FEES.selector}))),
        )


def deploy(devnet: Devnet) -> LocalLiFi:
    """Creates the diamond with its facets and allows what its swaps call. The deployer is its owner."""
    deployer = devnet.key("deployer")
    cutter, facet, loupe, lists, forwarder = (
        devnet.deploy(deployer, name)
        for name in (
            "DiamondCutFacet",
            "GenericSwapFacet",
            "DiamondLoupeFacet",
            "WhitelistManagerFacet",
            "FeeForwarder",
        )
    )
    diamond = devnet.deploy(deployer, "LiFiDiamond", [devnet.address("deployer"), cutter])
    cuts = [
        (facet, _ADD, [SINGLE.selector, MULTIPLE.selector]),
        (loupe, _ADD, [Function(each).selector for each in _LOUPE]),
        (lists, _ADD, [_ALLOW.selector]),
    ]
    devnet.send(deployer, diamond, encode_call(_CUT, cuts, _NOBODY, b""), errors=["DiamondCutFacet"])
    local = LocalLiFi(
        Deployment(diamond=diamond, generic_swap_facet=facet, fee_forwarder=forwarder),
        Address(devnet.manifest["uniswap"]["swap_router"]),
    )
    for target, allowed in local.targets:
        for selector in allowed.selectors:
            devnet.send(deployer, diamond, _ALLOW.encode(target, selector, True))
    return local
