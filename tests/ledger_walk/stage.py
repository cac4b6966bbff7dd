"""A vault on a local chain and its mirror: each step is taken on both, then every number is compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from keeper.chain.call import Call, CallFailure
from keeper.chain.packing import unpack
from keeper.chain.ways import PASS_GAS, lens_override, lens_request
from keeper.connectors import base
from keeper.connectors.base import Position
from keeper.contracts import Contract, Function, artifact, parse_revert
from keeper.contracts.handle import function
from keeper.errors import RevertError
from keeper.ledger import epochs
from keeper.ledger.calls import apply
from keeper.ledger.state import Ledger, Message, Parts, Portfolio, PositionId
from keeper.ledger.token import ZERO, Token
from keeper.ledger.vault import Params
from keeper.oracle.quote import Prices
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import Deployment, deploy_vault
from keeper.units import Address
from ledger_walk.numbers import BALANCE, Known, change_numbers, numbers
from ledger_walk.world import CONNECTOR_REFUSED, Markets, Stated

PEOPLE = ("user1", "user2", "user3", "user4", "user5", "user6")
ROLES = ("treasury", "governor", "guardian", "deployer", "trader")
ERRORS = ("Vault", "Portfolio", "Registry", "AaveV3Connector", "MorphoBlueConnector", "ERC4626Connector")
REVERTING = "0x60006000fd"
STATED_CASH = 10**15
GAS = hex(15_000_000)
REPORT = Function("report(bytes32)", "(uint256,uint256,uint256)")
SHARED_KEYS = (b"\1" * 32, b"\2" * 32)
LONE_KEYS = (b"\3" * 32,)
EVERY = b"\xee" * 32
"""A risk id that every stated position counts against."""


class Stage:
    """`seed` is only for what is said of a difference."""

    def __init__(self, devnet: Devnet, params: tuple[int | str, ...], seed: int) -> None:
        self.devnet, self.seed, self.steps = devnet, seed, 0
        self.seen: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.label = "set-up"
        self.deployment: Deployment = deploy_vault(devnet, params)
        d = self.deployment
        self.parts = Parts(d.vault, d.portfolio, d.registry, d.escrow, d.asset)
        self.shared, self.lone = (self._stated(isolated) for isolated in (False, True))
        self.closed = self.address("user6")
        self.hook = devnet.deploy(devnet.key("deployer"), "ClosedList", [self.closed])
        self.weth = Address(devnet.manifest["tokens"]["WETH"]["address"])
        self.refs = d.policy.positions
        self._read_cache: dict[tuple[Address, bytes], tuple[bytes, Any]] = {}
        self._code = {each.address: devnet.rpc("eth_getCode", each.address, "latest") for each in self.refs}
        self.stated_ids = tuple((self.shared, key) for key in SHARED_KEYS) + tuple(
            (self.lone, key) for key in LONE_KEYS
        )
        self.known = self._known()
        isolation = {each.address: each.connector != "aave_v3" for each in self.refs}
        isolation |= {self.shared: False, self.lone: True}
        self.world = Markets(
            d.portfolio,
            (),
            dict.fromkeys(self.stated_ids, Stated()),
            isolation,
            frozenset(),
            self.closed,
            {},
            d.vault,
            devnet.chain_id,
        )
        devnet.rpc("anvil_autoImpersonateAccount", True)
        for who in (*self.known.accounts, d.quorum, *(self.address(role) for role in ROLES)):
            devnet.rpc("anvil_setBalance", who, hex(10**24))
        self.ledger = self._replayed()
        self._numbers = numbers(self.ledger, self.known)
        self._market_calls = {ref.venue: base.load(ref.connector).calls(ref) for ref in self.refs}
        stated_calls = [REPORT.at(connector, key) for connector, key in self.stated_ids]
        self._other_calls = (*stated_calls, BALANCE.at(self.weth, self.parts.portfolio))
        self._positions: dict[str, tuple[list[Any], Position]] = {}
        self.compare()

    def _stated(self, isolated: bool) -> Address:
        arguments = [self.parts.portfolio, self.parts.asset, isolated]
        made = self.devnet.deploy(self.devnet.key("deployer"), "StatedPosition", arguments)
        mint = Function("mint(address,uint256)").encode(made, STATED_CASH)
        self.devnet.send(self.devnet.key("deployer"), self.parts.asset, mint)
        return made

    def _known(self) -> Known:
        people = tuple(self.address(role) for role in PEOPLE)
        extra = (self.address("treasury"), self.parts.vault, self.parts.portfolio, self.parts.escrow)
        positions = (*((each.address, each.key) for each in self.refs), *self.stated_ids)
        risk_ids = tuple(bytes(each) for each in self._risk_ids())
        pairs = tuple((one, other) for one in people[:4] for other in people[:5] if one != other)
        return Known(tuple(people) + extra, pairs, positions, risk_ids)

    def _risk_ids(self) -> Sequence[bytes]:
        registry = Function("policy(address)", _policy_outputs())
        listed = registry.decode(
            bytes.fromhex(
                self.devnet.rpc(
                    "eth_call",
                    {
                        "to": self.parts.registry,
                        "data": "0x" + registry.encode(self.parts.vault).hex(),
                    },
                    "latest",
                )[2:]
            )
        )[8]
        return [*(risk_id for _, _, ids in listed for risk_id in ids), EVERY, *SHARED_KEYS, *LONE_KEYS]

    def address(self, role: str) -> Address:
        return self.devnet.address(role)

    @property
    def now(self) -> int:
        return int(self.devnet.block()["timestamp"], 16)

    # THE MIRROR'S BEGINNING

    def _replayed(self) -> Ledger:
        """From the vault's creation on, by the transactions of its governor."""
        blocks = self._blocks_since_creation()
        created_at = int(blocks[0]["timestamp"], 16)
        raw = self._view(self.parts.vault, "Vault", "params")
        params = Params.from_abi(raw)
        d = self.deployment
        roles = (self.address("governor"), self.address("guardian"), d.quorum)
        balances = {who: self._balance(who) for who in self.known.accounts}
        ledger = Ledger(
            self.parts,
            epochs.registered(d.portfolio, *roles),
            Portfolio(),
            epochs.created(params, created_at, self.parts),
            Token(balances),
        )
        for block in blocks:
            for sent in block["transactions"]:
                if sent["to"] and sent["to"].lower() == d.registry.lower():
                    at, data = int(block["timestamp"], 16), bytes.fromhex(sent["input"][2:])
                    ledger = apply(ledger, Message(roles[0], at, self.world, data), d.registry)
        return ledger

    def _blocks_since_creation(self) -> list[dict[str, Any]]:
        blocks: list[dict[str, Any]] = []
        number = int(self.devnet.block()["number"], 16)
        while True:
            block = self.devnet.rpc("eth_getBlockByNumber", hex(number), True)
            blocks.insert(0, block)
            for sent in block["transactions"]:
                receipt = None if sent["to"] else self.devnet.rpc("eth_getTransactionReceipt", sent["hash"])
                if receipt and receipt["contractAddress"].lower() == self.parts.vault.lower():
                    return blocks
            number -= 1

    def _view(self, target: Address, name: str, function: str) -> Any:
        call = _contract_call(name, target, function)
        answer = self.devnet.rpc("eth_call", {"to": target, "data": "0x" + call.data.hex()}, "latest")
        return call.decode(bytes.fromhex(answer[2:]))

    def _balance(self, who: Address) -> int:
        return int(self.devnet.call(self.parts.asset, "balanceOf(address)", [who], "(uint256)"))

    # STEPS

    def act(self, label: str, sender: Address, target: Address, data: bytes, wait: int = 1) -> bool:
        """One transaction in a block `wait` seconds after the head, here and there; false when refused."""
        self.label, self.steps = label, self.steps + 1
        at = self.now + wait
        message = Message(sender, at, self.world, data)
        refusal: RevertError | None = None
        after = self.ledger
        try:
            after = apply(self.ledger, message, target)
        except RevertError as error:
            refusal = error
        self._same_refusal(refusal, self._send(sender, target, data, at))
        self.ledger = after
        self.seen[label] += refusal is None
        if refusal:
            self.refusals[refusal.name] += 1
        self.compare()
        return refusal is None

    def _send(self, sender: Address, target: Address, data: bytes, at: int) -> RevertError | None:
        request = {"from": sender, "to": target, "data": "0x" + data.hex(), "gas": GAS}
        self.devnet.rpc("evm_setNextBlockTimestamp", at)
        receipt = self.devnet.rpc("eth_sendTransactionSync", request)
        if receipt["status"] == "0x1":
            return None
        options = {"tracer": "callTracer", "tracerConfig": {"onlyTopCall": True}}
        trace = self.devnet.rpc("debug_traceTransaction", receipt["transactionHash"], options)
        assert trace["error"] != "OutOfGas", trace
        return parse_revert(bytes.fromhex(trace.get("output", "0x")[2:]), *ERRORS).as_error()

    def _same_refusal(self, mirror: RevertError | None, chain: RevertError | None) -> None:
        if mirror is not None and mirror.name == CONNECTOR_REFUSED:
            alike = chain is not None and chain.name not in _ledger_errors()
        else:
            one, other = ((each.name, each.arguments) if each else None for each in (mirror, chain))
            alike = one == other
        assert alike, self._said("the refusal", f"{chain}", f"{mirror}")

    def outside(self, label: str) -> None:
        """After something that is no call of the vault's: read and compare."""
        self.label, self.steps = label, self.steps + 1
        self.seen[label] += 1
        self.compare()

    def gift(self, to: Address, amount: int) -> None:
        """Assets out of nowhere."""
        mint = Function("mint(address,uint256)").encode(to, amount)
        assert self._send(self.address("deployer"), self.parts.asset, mint, self.now + 1) is None
        self.ledger = replace(self.ledger, asset=self.ledger.asset.credit(to, amount))
        self.outside("gift")

    def stray(self, amount: int) -> None:
        """Wrapped ether that somebody sends to the portfolio."""
        deposit = {"from": self.address("trader"), "to": self.weth, "value": hex(amount), "gas": GAS}
        self.devnet.rpc("eth_sendTransactionSync", {**deposit, "data": "0xd0e30db0"})
        transfer = Function("transfer(address,uint256)").encode(self.parts.portfolio, amount)
        assert self._send(self.address("trader"), self.weth, transfer, self.now + 1) is None
        self.outside("stray token")

    def send_outside(self, label: str, target: Address, data: bytes) -> None:
        """A third party's transaction that the vault knows nothing of."""
        refused = self._send(self.address("deployer"), target, data, self.now + 1)
        assert refused is None, refused
        self.outside(label)

    def break_down(self, connector: Address, broken: bool) -> None:
        """A real connector that reverts, or does again what it did."""
        self.devnet.rpc("anvil_setCode", connector, REVERTING if broken else self._code[connector])
        now = self.world.broken
        self.world = replace(self.world, broken=now | {connector} if broken else now - {connector})
        self.outside("break" if broken else "repair")

    # COMPARISON

    def compare(self) -> None:
        """Reads the world and every number in one call, and holds them against the mirror."""
        expected = (*self._numbers, *change_numbers(self.ledger))
        own = (call for calls in self._market_calls.values() for call in calls)
        calls = [*own, *self._other_calls, *(call for call, _ in expected)]
        at, results = self._read(calls)
        self.world = self._world(results, at)
        message = Message(ZERO, at, self.world)
        for call, mirror in expected:
            self._same(call, results[call.target, call.data], mirror, message)

    def _read(self, calls: Sequence[Call[Any]]) -> tuple[int, dict[tuple[Address, bytes], Any]]:
        answer = self.devnet.rpc("eth_call", lens_request(calls, PASS_GAS), "latest", lens_override())
        head, outcomes = unpack(bytes.fromhex(answer[2:]), len(calls))
        results = {}
        for call, (success, raw) in zip(calls, outcomes, strict=True):
            place = call.target, call.data
            raw_and_status = raw + bytes([success])
            known = self._read_cache.get(place)
            if known is None or known[0] != raw_and_status:
                value = call.decode(raw) if success else CallFailure(raw, call.label)
                known = self._read_cache[place] = (raw_and_status, value)
            results[place] = known[1]
        return head.timestamp, results

    def _world(self, results: Mapping[tuple[Address, bytes], Any], at: int) -> Markets:
        stated = dict(self.world.stated)
        for connector, key in self.stated_ids:
            stated[connector, key] = Stated(*results[connector, REPORT.encode(key)])
        positions = tuple(self._position(ref, results, at) for ref in self.refs)
        loose = results[self.weth, BALANCE.encode(self.parts.portfolio)]
        return replace(self.world, stated=stated, positions=positions, stray={self.weth: loose})

    def _position(self, ref: Any, results: Mapping[tuple[Address, bytes], Any], at: int) -> Position:
        """Made anew where what it rests on was read anew."""
        rests_on = [results[call.target, call.data] for call in self._market_calls[ref.venue]]
        known = self._positions.get(ref.venue)
        if known is None or known[0] != rests_on:
            connector, prices = base.load(ref.connector), Prices(self.parts.asset, {})
            made = connector.position(ref, lambda call: results[call.target, call.data], prices, at)
            known = self._positions[ref.venue] = (rests_on, made)
        return known[1]

    def _same(self, call: Call[Any], chain: Any, mirror: Any, message: Message) -> None:
        try:
            wanted = mirror(self.ledger, message)
        except RevertError as error:
            wanted = error.name, error.arguments
            if isinstance(chain, CallFailure):
                said = parse_revert(chain.data, *ERRORS)
                chain = said.name, said.arguments
        assert chain == wanted, self._said(call.label, chain, wanted)

    def _said(self, what: str, chain: object, mirror: object) -> str:
        where = f"seed {self.seed}, step {self.steps} ({self.label})"
        return f"{where}: {what}\n  chain:  {chain}\n  mirror: {mirror}"

    def position_low(self, position: PositionId) -> int:
        """What a position reports now; nothing where it cannot be read."""
        report = self.world.report(position, self.now)
        return report.low if report else 0


def _contract_call(name: str, target: Address, function: str) -> Call[Any]:
    return Contract(target, name).call(function)


@cache
def _policy_outputs() -> str:
    return function("Registry", "policy", 1).outputs


@cache
def _ledger_errors() -> frozenset[str]:
    own = ("Vault", "Portfolio", "Registry")
    names = {entry["name"] for name in own for entry in artifact(name).abi if entry["type"] == "error"}
    return frozenset(name for name in names if not name.startswith("ERC20"))
