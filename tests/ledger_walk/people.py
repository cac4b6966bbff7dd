"""What users do, sensible or not: requests, cancellations, claims, operators, allowances, transfers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eth_account import Account

from keeper.contracts import encode_call
from keeper.ledger.entitlements import filled, priced
from keeper.ledger.state import Claimable, Permit
from keeper.ledger.token import ZERO
from keeper.simulation.market import Draws
from keeper.units import MAX_UINT256, Address
from ledger_walk.stage import PEOPLE, Stage
from ledger_walk.world import permit_message

USDC = 10**6
Act = Callable[[], object]


@dataclass
class People:
    """Users of one stage. Mostly they act for themselves."""

    stage: Stage
    draws: Draws

    def acts(self) -> Sequence[tuple[int, Act]]:
        """(weight, act)."""
        return (
            (10, self.request_deposit),
            (10, self.request_redeem),
            (3, self.cancel_deposit),
            (3, self.cancel_redeem),
            (2, self.claim_cancelled),
            (9, self.claim_shares),
            (7, self.claim_assets),
            (2, self.claim_residual),
            (2, self.set_operator),
            (2, self.approve),
            (4, self.transfer),
            (2, self.transfer_from),
            (1, self.allow_assets),
            (1, self.permit),
            (1, self.internal),
        )

    # WHO AND HOW MUCH

    def user(self) -> Address:
        return self.stage.address(self.draws.pick(PEOPLE[:4]))

    def anyone(self) -> Address:
        return self.stage.address(self.draws.pick(PEOPLE))

    def rarely(self) -> bool:
        return self.draws.between(0, 12) == 0

    def receiver(self, own: Address) -> Address:
        if self.rarely():
            return self.draws.pick((ZERO, self.stage.parts.vault, self.anyone()))
        return own

    def sender(self, own: Address) -> Address:
        """The owner, or now and then somebody who may be its operator."""
        return self.anyone() if self.draws.between(0, 6) == 0 else own

    def part(self, whole: int) -> int:
        """Of what there is: most often some of it, or all; rarely nothing, too much or absurdly much."""
        way = self.draws.between(0, 14)
        if way == 0:
            return self.draws.pick((0, 1, whole + 1, 2**112, 2**128, MAX_UINT256))
        return whole if way < 5 else whole * self.draws.between(1, 100) // 100

    def call(self, label: str, sender: Address, target: Address, signature: str, *args: object) -> bool:
        wait = self.draws.between(1, 90)
        return self.stage.act(label, sender, target, encode_call(signature, *args), wait)

    def vault(self, sender: Address, signature: str, *args: object) -> bool:
        label = signature.partition("(")[0]
        return self.call(label, sender, self.stage.parts.vault, signature, *args)

    def begin(self) -> None:
        """Enough at work for the rest to mean something."""
        for role in PEOPLE[:3]:
            who = self.stage.address(role)
            self.stage.gift(who, 400_000 * USDC)
            self.allow_assets(who)
            self.vault(who, "requestDeposit(uint256,address,address)", 300_000 * USDC, who, who)

    # REQUESTS

    def request_deposit(self) -> None:
        who = self.user()
        asset = self.stage.ledger.asset
        if asset.balance(who) < 10 * USDC:
            self.stage.gift(who, self.draws.between(1, 3_000_000) * USDC)
        if asset.allowance(who, self.stage.parts.vault) < 10**12:
            self.allow_assets(who)
        amount = min(self.part(asset.balance(who)), MAX_UINT256)
        controller = self.anyone() if self.rarely() else self.receiver(who)
        self.vault(self.sender(who), "requestDeposit(uint256,address,address)", amount, controller, who)

    def allow_assets(self, who: Address | None = None) -> None:
        amount = self.draws.pick((0, 10**11, 10**13, MAX_UINT256, MAX_UINT256))
        parts = self.stage.parts
        owner = who or self.user()
        self.call("approve assets", owner, parts.asset, "approve(address,uint256)", parts.vault, amount)

    def request_redeem(self) -> None:
        held = [who for who in map(self.stage.address, PEOPLE) if self.stage.ledger.vault.shares.balance(who)]
        who = self.draws.pick(held) if held else self.user()
        shares = self.part(self.stage.ledger.vault.shares.balance(who))
        controller = self.anyone() if self.rarely() else self.receiver(who)
        self.vault(self.sender(who), "requestRedeem(uint256,address,address)", shares, controller, who)

    def cancel_deposit(self) -> None:
        who = self.user()
        self.vault(self.sender(who), "cancelDepositRequest(uint256,address)", 0, who)

    def cancel_redeem(self) -> None:
        who = self.user()
        self.vault(self.sender(who), "cancelRedeemRequest(uint256,address)", 0, who)

    def claim_cancelled(self) -> None:
        kind = self.draws.pick(("Deposit", "Redeem"))
        waiting = [
            who
            for who in map(self.stage.address, PEOPLE)
            if self.stage.ledger.vault.controller(who).cancelled != Claimable()
        ]
        who = self.draws.pick(waiting) if waiting else self.user()
        signature = f"claimCancel{kind}Request(uint256,address,address)"
        self.vault(self.sender(who), signature, 0, self.receiver(who), who)

    # CLAIMS

    def claim_shares(self) -> None:
        vault = self.stage.ledger.vault
        ready = {who: priced(vault, vault.controller(who))[1] for who in map(self.stage.address, PEOPLE)}
        who = self.pick_ready([each for each, claim in ready.items() if claim.shares])
        name, whole = self.draws.pick((("deposit", ready[who].assets), ("mint", ready[who].shares)))
        amount, receiver = self.part(whole), self.receiver(who)
        if self.draws.coin():
            self.vault(self.sender(who), f"{name}(uint256,address,address)", amount, receiver, who)
        else:
            self.vault(who, f"{name}(uint256,address)", amount, receiver)

    def claim_assets(self) -> None:
        vault = self.stage.ledger.vault
        ready = {who: filled(vault, vault.controller(who))[1] for who in map(self.stage.address, PEOPLE)}
        who = self.pick_ready([each for each, claim in ready.items() if claim.assets])
        name, whole = self.draws.pick((("withdraw", ready[who].assets), ("redeem", ready[who].shares)))
        signature = f"{name}(uint256,address,address)"
        self.vault(self.sender(who), signature, self.part(whole), self.receiver(who), who)

    def pick_ready(self, ready: Sequence[Address]) -> Address:
        return self.draws.pick(ready) if ready else self.user()

    def claim_residual(self) -> None:
        who = self.anyone()
        id_ = self.draws.between(0, len(self.stage.ledger.vault.pockets) + 2)
        signature = "claimResidual(uint256,address,address)"
        self.vault(self.sender(who), signature, id_, self.receiver(who), who)

    # SHARES

    def set_operator(self) -> None:
        self.vault(self.user(), "setOperator(address,bool)", self.anyone(), self.draws.between(0, 4) > 0)

    def approve(self) -> None:
        amount = self.draws.pick((0, 10**15, 10**18, MAX_UINT256))
        self.vault(self.user(), "approve(address,uint256)", self.receiver(self.anyone()), amount)

    def transfer(self) -> None:
        who = self.user()
        shares = self.part(self.stage.ledger.vault.shares.balance(who) // 2)
        self.vault(who, "transfer(address,uint256)", self.receiver(self.anyone()), shares)

    def transfer_from(self) -> None:
        allowed = [pair for pair, shares in self.stage.ledger.vault.shares.allowances.items() if shares]
        owner, spender = self.draws.pick(allowed) if allowed else (self.user(), self.user())
        shares = self.part(self.stage.ledger.vault.shares.balance(owner) // 3)
        receiver = self.receiver(self.anyone())
        self.vault(spender, "transferFrom(address,address,uint256)", owner, receiver, shares)

    def permit(self) -> None:
        """Signed by the owner, most often, and submitted by anyone."""
        role = self.draws.pick(PEOPLE[:4])
        signer = role if self.draws.between(0, 4) else "user5"
        owner, spender = self.stage.address(role), self.anyone()
        nonce = self.stage.ledger.vault.permits.get(owner, 0)
        deadline = self.stage.now + self.draws.pick((0, 10**6, 10**6, 10**6))
        shares = self.draws.between(0, 10**18)
        terms = Permit(owner, spender, shares, nonce, deadline)
        message = permit_message(terms, self.stage.parts.vault, self.stage.devnet.chain_id)
        signed = Account.from_key(self.stage.devnet.key(signer)).sign_message(message)
        words = (each.to_bytes(32, "big") for each in (signed.r, signed.s))
        signature = "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)"
        self.vault(self.anyone(), signature, owner, spender, shares, deadline, signed.v, *words)

    # WHAT ONLY THE VAULT'S OWN CONTRACTS MAY ASK FOR

    def internal(self) -> None:
        parts, who = self.stage.parts, self.anyone()
        target, signature, *args = self.draws.pick(
            (
                (parts.vault, "lock()"),
                (parts.vault, "unlock()"),
                (parts.vault, "openPocket()"),
                (parts.vault, "closePocket(uint256)", 1),
                (parts.portfolio, "release(uint256)", 1),
                (parts.portfolio, "receiveIdle(uint256)", 1),
                (parts.portfolio, "checkpoint(bool)", False),
                (parts.portfolio, "forget(address,bytes32,bytes32[],bool)", who, bytes(32), [], True),
                (parts.escrow, "pay(address,uint256)", who, 1),
            )
        )
        self.call("internal", who, target, signature, *args)
