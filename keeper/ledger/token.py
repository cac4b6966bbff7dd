"""An ERC-20 token's balances and allowances, with the errors of OpenZeppelin's `ERC20` (ERC-6093)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from keeper.ledger.checks import require
from keeper.units import MAX_UINT256, Address

ZERO: Final = Address("0x" + 40 * "0")


@dataclass(frozen=True, slots=True)
class Token:
    """Balances by holder and allowances by (owner, spender), in the token's smallest unit; every act returns
    a new one. Supply is kept where it is counted."""

    balances: Mapping[Address, int] = field(default_factory=dict)
    allowances: Mapping[tuple[Address, Address], int] = field(default_factory=dict)

    def balance(self, holder: Address) -> int:
        return self.balances.get(holder, 0)

    def allowance(self, owner: Address, spender: Address) -> int:
        return self.allowances.get((owner, spender), 0)

    def credit(self, holder: Address, amount: int) -> Token:
        """With `amount` more for the holder: a mint, or what comes from accounts nobody follows."""
        return replace(self, balances={**self.balances, holder: self.balance(holder) + amount})

    def debit(self, holder: Address, amount: int) -> Token:
        """With `amount` less. Raises RevertError when the holder has less."""
        held = self.balance(holder)
        require(amount <= held, "ERC20InsufficientBalance", holder, held, amount)
        return replace(self, balances={**self.balances, holder: held - amount})

    def transfer(self, sender: Address, receiver: Address, amount: int) -> Token:
        """`ERC20._transfer`. Raises RevertError."""
        require(sender != ZERO, "ERC20InvalidSender", ZERO)
        require(receiver != ZERO, "ERC20InvalidReceiver", ZERO)
        return self.debit(sender, amount).credit(receiver, amount)

    def approve(self, owner: Address, spender: Address, amount: int) -> Token:
        """`ERC20._approve`. Raises RevertError."""
        require(owner != ZERO, "ERC20InvalidApprover", ZERO)
        require(spender != ZERO, "ERC20InvalidSpender", ZERO)
        return replace(self, allowances={**self.allowances, (owner, spender): amount})

    def spend(self, owner: Address, spender: Address, amount: int) -> Token:
        """`ERC20._spendAllowance`; an allowance of the greatest word is never used up. Raises RevertError."""
        allowed = self.allowance(owner, spender)
        if allowed == MAX_UINT256:
            return self
        require(amount <= allowed, "ERC20InsufficientAllowance", spender, allowed, amount)
        return self.approve(owner, spender, allowed - amount)

    def transfer_from(self, spender: Address, owner: Address, receiver: Address, amount: int) -> Token:
        """`ERC20.transferFrom`. Raises RevertError."""
        return self.spend(owner, spender, amount).transfer(owner, receiver, amount)
