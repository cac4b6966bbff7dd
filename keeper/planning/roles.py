"""The policy as a role of a Zodiac Roles Modifier, for a Safe that holds the keeper role itself.

The modifier stands between a member and the Safe and lets the Safe make only the calls it describes: here
the two of a keeper, with the vault, connectors, keys, selectors and token of the policy as conditions. Limits
that need the book (caps, leverage, the queue) are the portfolio's and the signers', not the role's.

Format: `Role`, `Target`, `Function` and `Condition` of the SDK (packages/sdk/src/main/types.ts) and
`ConditionFlat`, `ParameterType` and `Operator` of Types.sol, both of gnosisguild/zodiac-modifier-roles,
version 2. Conditions are flattened breadth first, as Integrity.sol asks; a bitmask is two bytes of shift,
fifteen of mask and fifteen expected (PermissionChecker.sol).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from keeper.connectors.base import key_of
from keeper.contracts.handle import function
from keeper.errors import PolicyError
from keeper.planning.actions import ACTIONS, CLAIM, SWAPS
from keeper.planning.policy import Policy, PositionPolicy
from keeper.planning.sales import held_tokens
from keeper.units import Address

MAX_CONDITIONS: Final = 256
"""A parent is named by one byte."""
ROLE_BYTES: Final = 32
_PART: Final = 15
"""Bytes that one bitmask compares."""
_WHOLE: Final = 32


class ParameterType(IntEnum):
    """How a parameter is encoded (`Types.ParameterType`)."""

    NONE = 0
    STATIC = 1
    DYNAMIC = 2
    TUPLE = 3
    ARRAY = 4
    CALLDATA = 5


class Operator(IntEnum):
    """What is asked of it (`Types.Operator`)."""

    PASS = 0
    AND = 1
    OR = 2
    MATCHES = 5
    ARRAY_EVERY = 7
    EQUAL_TO = 16
    LESS_THAN = 18
    BITMASK = 21


class Clearance(IntEnum):
    """How much of a target a role may call (`Clearance`)."""

    FUNCTION = 2


class ExecutionOptions(IntEnum):
    """What a call may do besides: nothing, so no value is sent and nothing is delegated."""

    NONE = 0


@dataclass(frozen=True)
class Condition:
    """One node of a function's conditions."""

    type: ParameterType
    operator: Operator
    value: bytes = b""
    children: tuple[Condition, ...] = ()

    def data(self) -> dict[str, Any]:
        """As the SDK's `Condition`."""
        found: dict[str, Any] = {"paramType": int(self.type), "operator": int(self.operator)}
        if self.value:
            found["compValue"] = "0x" + self.value.hex()
        if self.children:
            found["children"] = [child.data() for child in self.children]
        return found


_ANY: Final = Condition(ParameterType.STATIC, Operator.PASS)


def flatten(root: Condition) -> tuple[tuple[int, int, int, bytes], ...]:
    """`ConditionFlat[]`: (parent, type, operator, value) breadth first, the root being its own parent.

    Raises PolicyError when there are more nodes than a byte can name.
    """
    nodes: list[tuple[int, Condition]] = [(0, root)]
    flat: list[tuple[int, int, int, bytes]] = []
    for at, (parent, node) in enumerate(nodes):
        flat.append((parent, int(node.type), int(node.operator), node.value))
        # Read on by this very loop: children come after everything on their parent's level.
        nodes += [(at, child) for child in node.children]
    if len(flat) > MAX_CONDITIONS:
        raise PolicyError(
            "The role needs more conditions than the modifier takes",
            expected=f"at most {MAX_CONDITIONS}",
            seen=len(flat),
            hint="Put positions of one connector together, or divide them among roles.",
        )
    return tuple(flat)


def role(policy: Policy, key: str, members: Sequence[Address]) -> dict[str, Any]:
    """The role as JSON-like values, named `key`, for `members` of the modifier.

    Every function has its conditions as a tree and, as the contract takes them, flat. Raises PolicyError for
    a key that is longer than a word or a policy that needs too many conditions.
    """
    named = key.encode()
    if not 0 < len(named) <= ROLE_BYTES:
        raise PolicyError("A role's key is 1 to 32 bytes of text", seen=key)
    vault = policy.vault
    targets = [
        (vault.portfolio, function("Portfolio", "execute", 1).selector, _batch(policy)),
        (vault.vault, function("Vault", "settle", 1).selector, _settlement(policy)),
    ]
    return {
        "key": "0x" + named.ljust(ROLE_BYTES, b"\0").hex(),
        "members": list(members),
        "targets": [
            {
                "address": address,
                "clearance": int(Clearance.FUNCTION),
                "executionOptions": int(ExecutionOptions.NONE),
                "functions": [
                    {
                        "selector": "0x" + selector.hex(),
                        "executionOptions": int(ExecutionOptions.NONE),
                        "wildcarded": False,
                        "condition": condition.data(),
                        "conditionsFlat": [
                            {
                                "parent": up,
                                "paramType": kind,
                                "operator": how,
                                "compValue": "0x" + value.hex(),
                            }
                            for up, kind, how, value in flatten(condition)
                        ],
                    }
                ],
            }
            for address, selector, condition in targets
        ],
    }


def _batch(policy: Policy) -> Condition:
    """`execute(Batch)`: this vault and nonce key, only calls of the policy, at most its rounding loss."""
    loss = policy.limits.rounding_loss_per_call * policy.limits.max_calls
    loss += 0 if policy.swap is None else policy.swap.max_loss
    batch = (
        _equal(policy.vault.vault),
        _equal(policy.nonce_key),
        _ANY,  # nonce
        _ANY,  # signer set version
        _equal(policy.executor),
        _ANY,  # valid after
        _ANY,  # valid until
        _ANY,  # plan hash
        Condition(ParameterType.ARRAY, Operator.ARRAY_EVERY, children=(_calls(policy),)),
        _ANY,  # least NAV afterwards
        Condition(ParameterType.STATIC, Operator.LESS_THAN, _word(loss + 1)),
    )
    return _calldata(batch)


def _settlement(policy: Policy) -> Condition:
    """`settle(Settlement)`: this vault; epoch, prices, times and hash are the plan's."""
    return _calldata((_equal(policy.vault.vault), *(_ANY,) * 6))


def _calldata(fields: tuple[Condition, ...]) -> Condition:
    struct = Condition(ParameterType.TUPLE, Operator.MATCHES, children=fields)
    return Condition(ParameterType.CALLDATA, Operator.MATCHES, children=(struct,))


def _calls(policy: Policy) -> Condition:
    """A call to one of the connectors, of a function and key that go together, or a sale."""
    positions = sorted(policy.positions, key=lambda each: each.venue)
    if not positions:
        raise PolicyError("A policy without positions lets a role do nothing", where="positions")
    held = held_tokens(positions)
    groups: dict[tuple[Address, Address], list[PositionPolicy]] = {}
    for each in positions:
        token = held.get(each.venue, policy.vault.asset)
        groups.setdefault((each.address, token), []).append(each)
    calls = [_call(connector, [token], _data(policy, own)) for (connector, token), own in groups.items()]
    if policy.swap is not None:
        tokens = sorted(each.address for each in policy.swap.tokens.values())
        calls.append(
            _call(policy.swap.handler, tokens, _any_of(_bytes_at(0, each.selector) for each in SWAPS))
        )
    return _any_of(calls)


def _call(target: Address, tokens: Sequence[Address], data: Condition) -> Condition:
    """`Types.Call`: target, token, amount, data."""
    parts = (_equal(target), _any_of(_equal(each) for each in tokens), _ANY, data)
    return Condition(ParameterType.TUPLE, Operator.MATCHES, children=parts)


def _data(policy: Policy, positions: Sequence[PositionPolicy]) -> Condition:
    """Calldata for a connector: positions with the same functions share the question for the selector. Behind
    that of a claim comes no key but a reward."""
    groups: dict[tuple[str, ...], list[bytes]] = {}
    claims: list[Condition] = []
    for each in positions:
        if functions := set(each.functions) - {CLAIM.name}:
            groups.setdefault(tuple(sorted(functions)), []).append(each.key)
        if CLAIM.name in each.functions and not claims:
            claims.append(_all_of(_bytes_at(0, CLAIM.selector), _any_of(_rewards(policy))))
    if not groups and not claims:
        raise PolicyError(
            "A position without functions has no place in a role",
            where=", ".join(each.venue for each in positions),
        )
    keyed = [
        _all_of(
            _any_of(_bytes_at(0, ACTIONS[name].selector) for name in names),
            _any_of(_bytes_at(4, key) for key in sorted(keys)),
        )
        for names, keys in sorted(groups.items())
    ]
    return _any_of([*keyed, *claims])


def _rewards(policy: Policy) -> Iterator[Condition]:
    """The asset itself, and what can be sold for it."""
    sold = () if policy.swap is None else policy.swap.tokens.values()
    for token in sorted({policy.vault.asset, *(each.address for each in sold)}):
        yield _bytes_at(4, key_of(token))


def _bytes_at(start: int, wanted: bytes) -> Condition:
    """That the bytes from `start` on are these."""
    parts = [(start + offset, wanted[offset : offset + _PART]) for offset in range(0, len(wanted), _PART)]
    return _all_of(
        *(
            Condition(
                ParameterType.DYNAMIC,
                Operator.BITMASK,
                at.to_bytes(2) + (b"\xff" * len(part)).ljust(_PART, b"\0") + part.ljust(_PART, b"\0"),
            )
            for at, part in parts
        )
    )


def _all_of(*children: Condition) -> Condition:
    return (
        children[0] if len(children) == 1 else Condition(ParameterType.NONE, Operator.AND, children=children)
    )


def _any_of(children: Iterable[Condition]) -> Condition:
    listed = tuple(children)
    return listed[0] if len(listed) == 1 else Condition(ParameterType.NONE, Operator.OR, children=listed)


def _equal(value: int | Address) -> Condition:
    number = int(value, 16) if isinstance(value, str) else value
    return Condition(ParameterType.STATIC, Operator.EQUAL_TO, _word(number))


def _word(value: int) -> bytes:
    return value.to_bytes(_WHOLE)
