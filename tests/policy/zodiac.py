"""A Zodiac role read from its flat conditions, as the modifier's PermissionChecker reads it."""

from typing import Any

from keeper.contracts.handle import function
from keeper.planning.policy import Policy
from keeper.planning.roles import role
from keeper.quorum.typed_data import artefact
from keeper.units import Address

MEMBER = Address("0x" + "9".rjust(40, "0"))
Flat = list[dict[str, Any]]


def holds(flat: Flat, at: int, value: Any) -> bool:
    """Whether a decoded value meets the condition at an index, and those below it."""
    node = flat[at]
    children = [i for i, each in enumerate(flat) if each["parent"] == at and i != 0]
    compared = bytes.fromhex(node["compValue"][2:])
    match node["operator"]:
        case 0:  # PASS
            return True
        case 1:  # AND
            return all(holds(flat, i, value) for i in children)
        case 2:  # OR
            return any(holds(flat, i, value) for i in children)
        case 5:  # MATCHES
            assert len(children) == len(value)
            return all(holds(flat, i, part) for i, part in zip(children, value, strict=True))
        case 7:  # ARRAY_EVERY
            (child,) = children
            return all(holds(flat, child, each) for each in value)
        case 16:  # EQUAL_TO
            return number(value) == int.from_bytes(compared)
        case 18:  # LESS_THAN
            return number(value) < int.from_bytes(compared)
        case 21:  # BITMASK
            shift, mask, wanted = int.from_bytes(compared[:2]), compared[2:17], compared[17:]
            seen = value[shift : shift + 15].ljust(15, b"\0")
            return shift < len(value) and bytes(a & b for a, b in zip(seen, mask, strict=True)) == wanted
    raise AssertionError(node)


def number(value: Any) -> int:
    return int(value, 16) if isinstance(value, str) else int(value)


def lets(rules: Policy, plan: Any) -> bool:
    """Whether the role lets the call through that the plan ends in."""
    data = artefact(plan).execute_data()
    for target in role(rules, "keeper", [MEMBER])["targets"]:
        (called,) = target["functions"]
        if called["selector"] == "0x" + data[:4].hex():
            name = (
                ("Portfolio", "execute")
                if target["address"] == rules.vault.portfolio
                else ("Vault", "settle")
            )
            return holds(called["conditionsFlat"], 0, function(*name, 1).decode_input(data))
    return False
