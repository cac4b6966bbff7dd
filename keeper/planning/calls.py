"""One call of a batch: decoded for people, bytes for machines, and the two say the same."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from keeper.errors import PlanError
from keeper.planning import fields
from keeper.planning.actions import ACTIONS, CLAIM, SUPPLY, SWAP_LIFI, SWAPS, WITHDRAW, Action
from keeper.units import MAX_UINT256, Address


@dataclass(frozen=True)
class PlannedCall:
    """Push `amount` of `token` to the contract `target`, then call it with `data`.

    `venue`, `function` and `args`, by name, are what `data` says, for people and for the policy; construction
    raises PlanError when they say anything else than `data` does, or the same in other words.
    """

    target: Address
    token: Address
    amount: int
    data: bytes
    venue: str
    function: str
    args: Mapping[str, Any] = field(hash=False)

    def __post_init__(self) -> None:
        decoded = self.action.decode(self.data)
        # By type too: 1 and True are equal, and encode differently in the plan.
        same = decoded == self.args and all(
            type(value) is type(self.args[name]) for name, value in decoded.items()
        )
        if not same:
            raise PlanError(
                "The call's bytes do not say what the plan says they do",
                expected=_said(decoded),
                seen=_said(self.args),
                where=f"{self.function} at {self.venue}",
            )

    @property
    def action(self) -> Action:
        """Raises PlanError when there is none of that name."""
        action = ACTIONS.get(self.function)
        if action is None:
            raise PlanError("No such action", expected=" or ".join(ACTIONS), seen=self.function)
        return action

    @property
    def key(self) -> bytes:
        """The position it is about. Raises PlanError for an action that names none."""
        if self.action.key is None:
            raise PlanError("This action names no position", seen=self.explain())
        key: bytes = self.args[self.action.key]
        return key

    @property
    def assets(self) -> int:
        """The argument of that name. Raises PlanError for an action without."""
        if "assets" not in self.args:
            raise PlanError("This action has no amount of assets", seen=self.explain())
        assets: int = self.args["assets"]
        return assets

    @property
    def pushed(self) -> int:
        """What `amount` has to be: 0 for an action that nothing is sent along with."""
        return 0 if self.action.pushes is None else int(self.args[self.action.pushes])

    @property
    def full_exit(self) -> bool:
        return self.function == WITHDRAW.name and self.assets == MAX_UINT256

    def explain(self) -> str:
        """One line for people; amounts in the token's smallest unit."""
        if self.function == SUPPLY.name:
            said = "what is left" if self.assets == MAX_UINT256 else f"{self.assets:,}"
            return f"supply {said} to {self.venue}"
        if self.function == WITHDRAW.name:
            return f"withdraw {'everything' if self.full_exit else f'{self.assets:,}'} from {self.venue}"
        if self.function == CLAIM.name:
            return f"claim {self.args['reward']} at {self.venue}"
        if self.function in {each.name for each in SWAPS}:
            through = "LiFi" if self.function == SWAP_LIFI.name else "Uniswap"
            sold, least = self.args["amount_in"], self.args["min_out"]
            return f"sell {sold:,} of {self.token} through {through} for at least {least:,}"
        given = {name: value for name, value in self.args.items() if name != self.action.key}
        return f"{self.function}({_said(given)}) at {self.venue}"

    def having(self, **args: Any) -> "PlannedCall":
        """The same call with other arguments, and what it pushes with them. Raises PlanError and ConfigError
        for arguments that do not fit."""
        action = self.action
        wanted = {**self.args, **args}
        data = action.function.encode(*(wanted[name] for name in action.arguments))
        changed = replace(self, data=data, args=wanted)
        return replace(changed, amount=changed.pushed)

    def body(self) -> dict[str, Any]:
        """Plain values only."""
        return {
            "target": self.target,
            "token": self.token,
            "amount": self.amount,
            "data": self.data,
            "decoded": {"venue": self.venue, "function": self.function, "args": dict(self.args)},
        }

    @classmethod
    def parse(cls, value: object, where: str) -> "PlannedCall":
        f = fields.Fields(value, where, ("target", "token", "amount", "data", "decoded"))
        said = fields.Fields(f.raw("decoded"), f"{where}.decoded", ("venue", "function", "args"))
        return cls(
            target=f.address("target"),
            token=f.address("token"),
            amount=f.uint("amount"),
            data=f.blob("data"),
            venue=said.text("venue"),
            function=said.text("function"),
            args=said.mapping("args"),
        )

    @classmethod
    def of(
        cls, function: str, *, target: Address, token: Address, venue: str, args: Mapping[str, Any]
    ) -> "PlannedCall":
        """From named arguments. Raises PlanError for an unknown action or arguments of other names,
        ConfigError for one that does not fit its type."""
        action = ACTIONS.get(function)
        if action is None:
            raise PlanError("No such action", expected=" or ".join(ACTIONS), seen=function)
        if set(args) != set(action.arguments):
            raise PlanError(
                "Other arguments than the action has",
                expected=", ".join(action.arguments),
                seen=", ".join(args),
                where=function,
            )
        data = action.function.encode(*(args[name] for name in action.arguments))
        pushed = 0 if action.pushes is None else int(args[action.pushes])
        return cls(target, token, pushed, data, venue, function, dict(args))

    @classmethod
    def supply(cls, *, target: Address, token: Address, venue: str, key: bytes, assets: int) -> "PlannedCall":
        """Pushes `assets` of `token` to the connector, which supplies them."""
        args = {"key": key, "assets": assets}
        return cls.of(SUPPLY.name, target=target, token=token, venue=venue, args=args)

    @classmethod
    def withdraw(
        cls, *, target: Address, token: Address, venue: str, key: bytes, assets: int
    ) -> "PlannedCall":
        """Takes `assets` out; nothing is pushed. 2**256 - 1 takes everything."""
        args = {"key": key, "assets": assets}
        return cls.of(WITHDRAW.name, target=target, token=token, venue=venue, args=args)


def _said(args: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_value(value)}" for name, value in args.items())


def _value(value: object) -> str:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
