"""The Zodiac Roles Modifier, version 2, from its authors' package: bytecode in generated JavaScript."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eth_account import Account as Keys

from keeper.contracts import Function
from keeper.contracts.abi import encode
from keeper.simulation.deploy import created_address
from keeper.simulation.devnet import Devnet
from keeper.units import Address

FACTORIES = (
    Path(__file__).resolve().parents[2]
    / "node_modules/zodiac-roles-sdk/build/cjs/evm/typechain-types/factories/contracts"
)
SINGLETON_FACTORY = (
    "0x"
    "f9016c8085174876e8008303c4d88080b90154608060405234801561001057600080fd5b50610134806100206000396000f3"
    "fe6080604052348015600f57600080fd5b506004361060285760003560e01c80634af63f0214602d575b600080fd5b60cf60"
    "048036036040811015604157600080fd5b810190602081018135640100000000811115605b57600080fd5b82018360208201"
    "1115606c57600080fd5b80359060200191846001830284011164010000000083111715608d57600080fd5b91908080601f01"
    "6020809104026020016040519081016040528093929190818152602001838380828437600092019190915250929550509135"
    "925060eb915050565b604080516001600160a01b039092168252519081900360200190f35b6000818351602085016000f593"
    "9250505056fea26469706673582212206b44f8a82cb6b156bfcc3dc6aadd6df4eefd204bc928a4397fd15dacf6d532056473"
    "6f6c634300060200331b83247000822470"
)
"""The transaction of EIP-2470, signed by nobody: the modifier stores conditions by it."""
ASSIGN = Function("assignRoles(address,bytes32[],bool[])")
SCOPE_TARGET = Function("scopeTarget(bytes32,address)")
SCOPE_FUNCTION = Function("scopeFunction(bytes32,address,bytes4,(uint8,uint8,uint8,bytes)[],uint8)")
EXECUTE = Function("execTransactionWithRole(address,uint256,bytes,uint8,bytes32,bool)", "(bool)")


def bytecode(name: str) -> str:
    """Creation code in hex, with the names of libraries where their addresses belong."""
    found = re.search(r'_bytecode = "0x([^"]+)"', (FACTORIES / f"{name}__factory.js").read_text())
    assert found is not None
    return found[1]


def deploy_modifier(devnet: Devnet, owner: str, safe: Address) -> Address:
    """A modifier owned by the role `owner`, for that Safe."""
    devnet.rpc("anvil_setBalance", Keys.recover_transaction(SINGLETON_FACTORY), hex(10**18))
    devnet.send_raw(SINGLETON_FACTORY)
    code = bytecode("Roles")
    places = re.findall(r'RegExp\("__\\\\\$(\w{34})\\\\\$__".*?\["([^"]+)"\]', _factory(), re.DOTALL)
    assert len(places) == 2
    for place, library in places:
        path = library.partition(":")[0].removeprefix("contracts/").removesuffix(".sol")
        code = code.replace(f"__${place}$__", _create(devnet, bytecode(path))[2:].lower())
    account = devnet.address(owner)
    return _create(devnet, code + encode(["address"] * 3, [account, safe, safe]).hex())


def _factory() -> str:
    return (FACTORIES / "Roles__factory.js").read_text()


def _create(devnet: Devnet, code: str) -> Address:
    sender = devnet.address("deployer")
    nonce = int(devnet.rpc("eth_getTransactionCount", sender, "pending"), 16)
    devnet.send(devnet.key("deployer"), None, bytes.fromhex(code))
    return created_address(sender, nonce)


def apply(devnet: Devnet, modifier: Address, owner: str, role: Mapping[str, Any]) -> None:
    """Sets a role up as `keeper policy roles` describes it, conditions in their flat form."""
    key = bytes.fromhex(role["key"][2:])
    calls = [ASSIGN.encode(member, [key], [True]) for member in role["members"]]
    for target in role["targets"]:
        assert target["clearance"] == 2, "only functions that are listed"
        calls.append(SCOPE_TARGET.encode(key, target["address"]))
        for each in target["functions"]:
            flat = [
                (one["parent"], one["paramType"], one["operator"], bytes.fromhex(one["compValue"][2:]))
                for one in each["conditionsFlat"]
            ]
            selector = bytes.fromhex(each["selector"][2:])
            calls.append(
                SCOPE_FUNCTION.encode(key, target["address"], selector, flat, each["executionOptions"])
            )
    for data in calls:
        devnet.send(devnet.key(owner), modifier, data)
