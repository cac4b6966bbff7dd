"""A local chain with the real protocols, and moves on it at exact block times."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import pytest

from keeper.chain.call import Call, CallFailure
from keeper.connectors import base
from keeper.connectors.base import Position, PositionRef
from keeper.contracts import Function, encode_call
from keeper.errors import RevertError, RpcError
from keeper.oracle.quote import Prices
from keeper.simulation.devnet import Devnet
from keeper.units import Address


@dataclass
class Walk:
    """A random walk of a chain, the same in every run: draws come from a hash of the seed and a counter."""

    devnet: Devnet
    seed: str
    draws: int = 0
    refused: int = 0
    done: dict[str, int] = field(default_factory=dict)

    def draw(self, bound: int) -> int:
        """A number from 0 to `bound` - 1."""
        self.draws += 1
        digest = hashlib.sha256(f"{self.seed}/{self.draws}".encode()).digest()
        return int.from_bytes(digest) % bound

    def amount(self, most: int) -> int:
        """From 1 to `most`, each order of magnitude as likely as the next."""
        bits = self.draw(most.bit_length() + 1)
        return 1 + self.draw(min(most, 1 << bits))

    def now(self) -> int:
        """Time of the head."""
        return int(self.devnet.block()["timestamp"], 16)

    def later(self) -> int:
        """A time for the next block: from a second to months after the head."""
        return self.now() + 1 + self.draw(10 ** (1 + self.draw(6)))

    def send(self, role: str, to: str, signature: str, *args: Any, at: int) -> bool:
        """A transaction in a block of time `at`; false when the protocol refuses it."""
        self.devnet.rpc("evm_setNextBlockTimestamp", at)
        try:
            self.devnet.send(self.devnet.key(role), to, encode_call(signature, *args))
        except RevertError:
            self.refused += 1
            self.devnet.rpc("evm_mine")
            return False
        assert self.now() == at
        name = signature.partition("(")[0]
        self.done[name] = self.done.get(name, 0) + 1
        return True

    def read(self, call: Call[Any]) -> Any:
        """Result of a call at the head."""
        try:
            answer = self.devnet.rpc(
                "eth_call", {"to": call.target, "data": "0x" + call.data.hex()}, "latest"
            )
        except RpcError as error:
            return CallFailure(bytes.fromhex(str(error.data)[2:]), call.label)
        return call.decode(bytes.fromhex(answer[2:]))

    def view(self, to: str, signature: str, args: tuple[Any, ...], outputs: str, sender: str = "") -> Any:
        """Answer at the head, asked by `sender` where that matters."""
        if not sender:
            return self.devnet.call(to, signature, args, outputs)
        request = {"from": sender, "to": to, "data": "0x" + encode_call(signature, *args).hex()}
        answer = self.devnet.rpc("eth_call", request, "latest")
        return Function(signature, outputs).decode(bytes.fromhex(answer[2:]))

    def position(self, ref: PositionRef) -> Position:
        """The position at the head, read by the installed connector."""
        usdc = Address(self.devnet.manifest["tokens"]["USDC"]["address"])
        return base.load(ref.connector).position(ref, self.read, Prices(usdc, {}), self.now())

    def balance(self, token: Address, holder: Address) -> int:
        """Tokens of a holder at the head."""
        return int(self.view(token, "balanceOf(address)", (holder,), "(uint256)"))

    def fund(self, role: str, token: Address, *spenders: Address) -> None:
        """Gives `role` a quarter of the lender's tokens and lets the spenders take them."""
        amount = self.balance(token, self.devnet.address("lender")) // 4
        assert amount
        receiver = self.devnet.address(role)
        assert self.send("lender", token, "transfer(address,uint256)", receiver, amount, at=self.now() + 1)
        for spender in spenders:
            assert self.send(role, token, "approve(address,uint256)", spender, 2**255, at=self.now() + 1)


@pytest.fixture
def walk(request: pytest.FixtureRequest, fresh_devnet: Devnet) -> Walk:
    """A walk from the built chain's state; its seed is the test's name."""
    return Walk(fresh_devnet, request.node.name)
