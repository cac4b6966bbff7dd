"""A vault on a local chain, and the transactions that benchmarks make on it, by keys of their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak

from keeper.contracts import Contract, Function, encode_call
from keeper.quorum.typed_data import BATCH_TYPES, SETTLEMENT_TYPES, Artefact, Signature
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import EPOCH_SECONDS, SIGNERS, THRESHOLD
from keeper.units import Address

USDC = 10**6
DAY = 86_400
USERS = 100
DEPOSIT = 8_000 * USDC
NOBODY = Address("0x" + "0" * 40)
PLAN_HASH = keccak(b"omnikeeper/bench")
VALIDITY = 900
ROUNDING_LOSS_PER_CALL = 4
TRANSACTION_GAS = 21_000
ZERO_BYTE_GAS, BYTE_GAS = 4, 16
FEES_ACCRUED = "0x" + keccak(b"FeesAccrued(uint256,uint256)").hex()

_CALLS = "(address,address,uint256,bytes)[]"
_BATCH = f"(address,uint256,uint256,uint256,address,uint256,uint256,bytes32,{_CALLS},uint256,uint256)"
_SETTLEMENT = "(address,uint256,uint256,uint256,uint256,uint256,bytes32)"
_SIGNED = ",(address,bytes)[]"


@dataclass(frozen=True)
class Parts:
    """Addresses of one vault's contracts, and its positions as (connector, key)."""

    vault: Address
    portfolio: Address
    quorum: Address
    asset: Address
    positions: tuple[tuple[Address, bytes], ...]


@cache
def user(number: int) -> LocalAccount:
    """A user with a key of its own; nobody else on the chain has it."""
    account: LocalAccount = Account.from_key(keccak(f"omnikeeper/bench/user/{number}".encode()))
    return account


def gas(receipt: dict[str, Any]) -> int:
    """Gas used by a whole transaction: 21,000, calldata and refunds included."""
    return int(receipt["gasUsed"], 16)


def alone(receipt: dict[str, Any], data: bytes) -> int:
    """Gas of what a transaction calls, without its 21,000 and its calldata's (yellow paper, appendix G)."""
    return gas(receipt) - TRANSACTION_GAS - sum(BYTE_GAS if byte else ZERO_BYTE_GAS for byte in data)


class Stage:
    """Users, quorum and clock of one vault. Every transaction is mined in a block of its own, so it starts
    with everything cold."""

    def __init__(self, devnet: Devnet, parts: Parts, signers: Sequence[str] = SIGNERS[:THRESHOLD]) -> None:
        self.devnet = devnet
        self.parts = parts
        self.signers = signers

    # USERS

    def fund(self, who: LocalAccount, assets: int) -> None:
        """Gives a user ether, assets, and an allowance that its requests never use up."""
        self.devnet.rpc("anvil_setBalance", who.address, hex(10**20))
        self.provide(who, assets)

    def provide(self, who: LocalAccount, assets: int) -> None:
        """As `fund`, to one who has ether: all by transactions, so that other nodes can follow."""
        self.devnet.send(
            self.devnet.key("deployer"),
            self.parts.asset,
            encode_call("mint(address,uint256)", who.address, assets),
        )
        self.act(who, self.parts.asset, "approve(address,uint256)", self.parts.vault, 2 * assets)

    def request_deposit(self, who: LocalAccount, assets: int) -> dict[str, Any]:
        signature = "requestDeposit(uint256,address,address)"
        return self.act(who, self.parts.vault, signature, assets, who.address, who.address)

    def request_redeem(self, who: LocalAccount, shares: int) -> dict[str, Any]:
        signature = "requestRedeem(uint256,address,address)"
        return self.act(who, self.parts.vault, signature, shares, who.address, who.address)

    def claim_shares(self, who: LocalAccount) -> dict[str, Any]:
        """Claims all shares that are due to the user."""
        due = self.read("Vault", "maxDeposit", who.address)
        return self.act(who, self.parts.vault, "deposit(uint256,address)", due, who.address)

    def claim_assets(self, who: LocalAccount, receiver: Address) -> dict[str, Any]:
        """Claims all assets that are due to the user, for `receiver`."""
        due = self.read("Vault", "maxWithdraw", who.address)
        signature = "withdraw(uint256,address,address)"
        return self.act(who, self.parts.vault, signature, due, receiver, who.address)

    def shares(self, who: LocalAccount) -> int:
        return int(self.read("Vault", "balanceOf", who.address))

    def act(self, who: LocalAccount, to: Address, signature: str, *args: Any) -> dict[str, Any]:
        return self.devnet.send(
            "0x" + bytes(who.key).hex(), to, encode_call(signature, *args), errors=["Vault"]
        )

    # QUORUM

    def close_epoch(self) -> dict[str, Any]:
        """Lets the epoch's length pass and closes it, from an account that is not a user."""
        self.devnet.warp(EPOCH_SECONDS)
        return self.relay(self.parts.vault, encode_call("closeEpoch()"))

    def settle(self) -> dict[str, Any]:
        """Settles the closed epoch with as many signatures as the quorum needs."""
        accounting = self.read("Vault", "accounting")
        settled_epoch, last_pps = accounting[1], accounting[12]
        now = self.now()
        message = {
            "vault": self.parts.vault,
            "epoch": settled_epoch + 1,
            "minPps": last_pps * 9 // 10,
            "maxPps": last_pps * 11 // 10,
            "validAfter": now,
            "validUntil": now + VALIDITY,
            "planHash": PLAN_HASH,
        }
        return self.submit(
            Artefact(
                primary="Settlement",
                types=SETTLEMENT_TYPES,
                message=message,
                execute=Function(f"settle({_SETTLEMENT})"),
                submit=Function(f"settle({_SETTLEMENT}{_SIGNED})"),
            )
        )

    def supply(self, position: int, assets: int) -> dict[str, Any]:
        """The call that supplies to a position, by its place in `parts.positions`."""
        connector, key = self.parts.positions[position]
        data = encode_call("supply(bytes32,uint256)", key, assets)
        return {"target": connector, "token": self.parts.asset, "amount": assets, "data": data}

    def withdraw(self, position: int, assets: int) -> dict[str, Any]:
        connector, key = self.parts.positions[position]
        data = encode_call("withdraw(bytes32,uint256)", key, assets)
        return {"target": connector, "token": self.parts.asset, "amount": 0, "data": data}

    def execute(self, calls: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """A batch with as many signatures as the quorum needs; it may lose roundings and no more."""
        loss = ROUNDING_LOSS_PER_CALL * len(calls)
        # Positions that are not called count at their marks; those that are have earned since.
        low = self.read("Portfolio", "idle") + self.read("Portfolio", "totalLow")
        now = self.now()
        message = {
            "vault": self.parts.vault,
            "nonceKey": 0,
            "nonce": self.read("Portfolio", "nextNonce", 0),
            "signerSetVersion": self.read("KeeperQuorum", "signerSetVersion"),
            "executor": NOBODY,
            "validAfter": now,
            "validUntil": now + VALIDITY,
            "planHash": PLAN_HASH,
            "calls": list(calls),
            "minNavAfter": low - loss,
            "maxLoss": loss,
        }
        return self.submit(
            Artefact(
                primary="Batch",
                types=BATCH_TYPES,
                message=message,
                execute=Function(f"execute({_BATCH})"),
                submit=Function(f"execute({_BATCH}{_SIGNED})"),
            )
        )

    def submit(self, struct: Artefact) -> dict[str, Any]:
        digest = struct.digest(self.devnet.chain_id, self.parts.quorum)
        made = []
        for role in self.signers:
            account = Account.from_key(self.devnet.key(role))
            made.append(
                Signature(Address(account.address), bytes(account.unsafe_sign_hash(digest).signature))
            )
        data = struct.submit_data(sorted(made, key=lambda each: int(each.signer, 16)))
        return self.relay(self.parts.quorum, data)

    # CHAIN

    def relay(self, to: Address, data: bytes) -> dict[str, Any]:
        errors = ["KeeperQuorum", "Portfolio", "Vault", "Registry"]
        return self.devnet.send(self.devnet.key("relayer"), to, data, errors=errors)

    def read(self, name: str, function: str, *args: Any) -> Any:
        """Answer of one of the vault's contracts at the head."""
        addresses = {
            "Vault": self.parts.vault,
            "Portfolio": self.parts.portfolio,
            "KeeperQuorum": self.parts.quorum,
        }
        call = Contract(addresses[name], name).call(function, *args)
        answer = self.devnet.rpc("eth_call", {"to": call.target, "data": "0x" + call.data.hex()}, "latest")
        return call.decode(bytes.fromhex(answer[2:]))

    def now(self) -> int:
        return int(self.devnet.block()["timestamp"], 16)

    # STORIES

    def populate(self, users: int = USERS) -> None:
        """Users hold shares, and five sixths of their assets are spread evenly over the positions."""
        for number in range(users):
            self.fund(user(number), 10 * DEPOSIT)
            self.request_deposit(user(number), DEPOSIT)
        self.close_epoch()
        self.settle()
        for number in range(users):
            self.claim_shares(user(number))
        count = len(self.parts.positions)
        part = users * DEPOSIT * 5 // (6 * count)
        self.execute([self.supply(position, part) for position in range(count)])

    def mature(self) -> None:
        """An epoch later: the fee receiver has been paid once, and there is new yield to charge."""
        self.devnet.warp(10 * DAY)
        self.request_both_sides([user(0)], USDC * 1_000)
        self.close_epoch()
        self.settle()
        self.claim_shares(user(0))
        self.claim_assets(user(0), Address(user(0).address))
        self.devnet.warp(10 * DAY)

    def request_both_sides(self, people: Sequence[LocalAccount], assets: int) -> None:
        """Deposits of `assets` in all and redemptions of about half as much, the same for each."""
        each = assets // len(people)
        shares = self.read("Vault", "convertToShares", each // 2)
        for who in people:
            self.request_deposit(who, each)
            self.request_redeem(who, shares)


def charged_both_fees(receipt: dict[str, Any]) -> bool:
    """Whether a settlement minted shares for the management fee and for the performance fee."""
    for log in receipt["logs"]:
        if log["topics"][0] == FEES_ACCRUED:
            data = bytes.fromhex(log["data"][2:])
            return any(data[:32]) and any(data[32:])
    return False
