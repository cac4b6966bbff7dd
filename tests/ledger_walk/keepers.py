"""What the keeper, and anyone in its place, does: epochs, settlements, batches, readings, pockets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eth_hash.auto import keccak

from keeper.contracts import Function, encode_call
from keeper.ledger.state import EVERYTHING, PositionId
from keeper.ledger.vault import earliest_close, is_dust
from keeper.planning.actions import SUPPLY, WITHDRAW
from keeper.simulation.market import Draws
from keeper.units import WAD, Address
from ledger_walk.people import Act
from ledger_walk.stage import Stage
from ledger_walk.world import BECOME, packed

EXECUTE = Function(
    "execute((address,uint256,uint256,uint256,address,uint256,uint256,bytes32,"
    "(address,address,uint256,bytes)[],uint256,uint256))"
)
SETTLE = Function("settle((address,uint256,uint256,uint256,uint256,uint256,bytes32))")
FOREVER = 2**40
ANY_PRICE = 2**200
HALF_HOUR = 1_800
DAY = 86_400
Call = tuple[Address, Address, int, bytes]


@dataclass
class Keepers:
    stage: Stage
    draws: Draws

    def acts(self) -> Sequence[tuple[int, Act]]:
        return (
            (8, self.close_epoch),
            (14, self.settle),
            (16, self.batch),
            (2, self.cosigned_batch),
            (1, self.cancel_nonce),
            (3, self.announce),
            (3, self.mark_down),
            (3, self.settle_unattended),
            (4, self.force_deallocate),
            (3, self.split_off),
            (3, self.close_pocket),
        )

    def call(self, sender: Address, signature: str, *args: object, wait: int = 0) -> bool:
        target = self.stage.parts.vault
        if signature.partition("(")[0] in _AT_PORTFOLIO:
            target = self.stage.parts.portfolio
        label = signature.partition("(")[0]
        return self.stage.act(label, sender, target, encode_call(signature, *args), wait or self.wait())

    def wait(self) -> int:
        return self.draws.between(1, 40)

    def rarely(self) -> bool:
        return self.draws.between(0, 12) == 0

    def keeper(self) -> Address:
        """Whoever has the role, or somebody who has not."""
        return self.stage.address("trader") if self.rarely() else self.stage.ledger.registry.keeper

    def anyone(self) -> Address:
        return self.stage.address(self.draws.pick(("user1", "user3", "trader")))

    def begin(self) -> None:
        """The first settlement, and something in every position."""
        self.settle()
        self.settle()
        asset, idle = self.stage.parts.asset, self.stage.ledger.portfolio.idle
        for connector, key in self.stage.known.positions:
            amount = idle // 8
            self.send(self.encoded([(connector, asset, amount, SUPPLY.encode(key, amount))], careful=False))

    # EPOCHS

    def close_epoch(self) -> None:
        a, p = self.stage.ledger.vault.accounting, self.stage.ledger.vault.params
        left = earliest_close(a, p) - self.stage.now
        self.call(self.anyone(), "closeEpoch()", wait=self.wait() if self.rarely() else max(1, left))

    def settle(self, honest: bool = False) -> None:
        """On terms that anything fits when `honest`, else now and then on odd ones, or by somebody else."""
        a = self.stage.ledger.vault.accounting
        if a.current_epoch == a.settled_epoch + 1 and not self.rarely():
            self.close_epoch()
        now = self.stage.now
        wait = self.wait()
        if now < a.window_ends_at and not self.rarely():
            wait = a.window_ends_at - now
        vault, epoch = self.stage.parts.vault, self.stage.ledger.vault.accounting.settled_epoch + 1
        terms = [vault, epoch, 0, ANY_PRICE, 0, FOREVER, bytes(32)]
        if not honest and self.draws.between(0, 8) == 0:
            place, value = self.draws.pick(
                (
                    (0, self.stage.parts.portfolio),
                    (1, epoch + 1),
                    (2, a.last_pps_low * 101 // 100),
                    (3, a.last_pps_low),
                    (3, a.last_pps_low * 10_005 // 10_000),
                    (4, now + DAY),
                    (5, now),
                )
            )
            terms[place] = value
        sender = self.stage.ledger.registry.keeper if honest else self.keeper()
        self.stage.act("settle", sender, vault, SETTLE.encode(tuple(terms)), wait)

    def settle_unattended(self) -> None:
        """Half of the time all that it takes; else whatever there is."""
        if self.draws.coin():
            a = self.stage.ledger.vault.accounting
            if a.current_epoch == a.settled_epoch + 1:
                self.close_epoch()
            self.call(self.anyone(), "announce()", wait=3 * DAY)
            self.call(self.anyone(), "settleUnattended()", wait=HALF_HOUR + self.wait())
            left = self.stage.ledger.vault.accounting.window_ends_at - self.stage.now
            if left > 0:
                self.call(self.anyone(), "announce()", wait=left)
                self.call(self.anyone(), "settleUnattended()", wait=HALF_HOUR)
        else:
            self.call(self.anyone(), "settleUnattended()")

    def announce(self) -> None:
        self.call(self.anyone(), "announce()")

    def mark_down(self) -> None:
        if self.draws.coin():
            self.announce()
        self.call(self.anyone(), "markDown()", wait=self.draws.pick((10, HALF_HOUR, 2 * HALF_HOUR, 2 * DAY)))

    # BATCHES

    def batch(self) -> None:
        count = self.draws.pick((1, 1, 1, 2, 2, 3))
        self.send(self.encoded([self.action() for _ in range(count)]))

    def cosigned_batch(self) -> None:
        """An exit that loses more than a day's budget, with the guardian's word for it or without."""
        position = self.draws.pick(self.stage.stated_ids)
        low = self.stage.position_low(position)
        paid = low * self.draws.between(50, 100) // 100
        state = packed(0, 0, 0)
        data = BECOME.encode(position[1], 0, 0, state, paid)
        calls = [(position[0], self.stage.parts.asset, 0, data)]
        # The guardian's word may let it be done beside something else.
        calls += [self.action() for _ in range(self.draws.pick((0, 0, 1)))]
        encoded = self.encoded(calls, careful=False)
        guardian = self.stage.ledger.registry.guardian
        sender = guardian if self.draws.between(0, 4) else self.anyone()
        self.call(sender, "cosign(bytes32)", keccak(encoded[4:]))
        self.send(encoded)

    def send(self, data: bytes) -> bool:
        return self.stage.act("execute", self.keeper(), self.stage.parts.portfolio, data, self.wait())

    def encoded(self, calls: Sequence[Call], careful: bool = True) -> bytes:
        key, now = self.draws.between(0, 2), self.stage.now
        nonce = self.stage.ledger.portfolio.nonces.get(key, 0)
        total = self.stage.ledger.portfolio.idle + self.stage.ledger.portfolio.total_low
        floor, loss = 0, self.draws.pick((20, total // 500, total)) if careful else total
        vault, times = self.stage.parts.vault, [0, FOREVER]
        if careful and self.rarely():
            way = self.draws.between(0, 5)
            nonce += way == 0
            floor = total * 2 if way == 1 else 0
            times = [now + DAY, FOREVER] if way == 2 else [0, now] if way == 3 else times
            vault = self.stage.parts.portfolio if way == 4 else vault
        nobody = "0x" + 40 * "0"
        batch = (vault, key, nonce, 1, nobody, *times, bytes(32), list(calls), floor, loss)
        return EXECUTE.encode(batch)

    def action(self) -> Call:
        if self.rarely():
            return self.odd_action()
        position = self.position()
        if position in self.stage.stated_ids and self.draws.between(0, 3):
            return self.restated(position)
        asset, idle = self.stage.parts.asset, self.stage.ledger.portfolio.idle
        if self.draws.between(0, 5) < 3:
            amount = idle * self.draws.between(1, 60) // 100
            return position[0], asset, amount, SUPPLY.encode(position[1], amount)
        low = self.stage.position_low(position)
        amount = low if self.draws.coin() else low * self.draws.between(1, 100) // 100
        if position not in self.stage.stated_ids and self.draws.between(0, 3) == 0:
            amount = EVERYTHING
        return position[0], asset, 0, WITHDRAW.encode(position[1], amount)

    def position(self) -> PositionId:
        return self.draws.pick((*self.stage.known.positions, *self.stage.stated_ids))

    def restated(self, position: PositionId) -> Call:
        """A call that leaves a stated position as it likes: supplied, borrowed, repaid, in doubt."""
        own = self.stage.world.stated[position]
        report = own.report
        low, high, status, debt, health = own.low, own.high, 0, 0, 0
        if report is not None:
            status, debt, health = int(report.status), report.debt, report.health
        if low > high or report is None:
            low, high, debt, health = 10**9, 10**9, 0, 0
        idle = self.stage.ledger.portfolio.idle
        size = max(idle, low, 10**6) * self.draws.between(1, 40) // 100
        pushed = paid = 0
        way = self.draws.between(0, 7)
        if way == 0:
            pushed = min(size, idle)
            low, high = low + pushed, high + pushed
        elif way == 1:
            paid = min(size, low)
            low, high = low - paid, high - paid
        elif way == 2:
            debt, paid = debt + size, size
            low, high = max(0, low - size), max(0, high - size)
            health = self.draws.between(100, 200) * WAD // 100
        elif way == 3 and debt:
            pushed = min(debt, idle)
            debt, low, high = debt - pushed, low + pushed, high + pushed
            health = health * 11 // 10
        elif way == 4 and debt:
            pushed = min(size, idle)
            low, high = low + pushed, high + pushed
            health = min(health + (2 * WAD * pushed) // (debt + 1), 2**128 - 1)
        elif way == 5:
            status = self.draws.pick((0, 0, 0, 1, 6))
        else:
            low = low * self.draws.between(985, 1_002) // 1_000
            high = max(low, high)
        slip = self.draws.pick((0, 0, 0, 1, 11, low // 500))
        low = max(0, low - slip)
        data = BECOME.encode(position[1], low, high, packed(status, debt, health if debt else 0), paid)
        return position[0], self.stage.parts.asset, pushed, data

    def odd_action(self) -> Call:
        connector, key = self.position()
        asset, idle = self.stage.parts.asset, self.stage.ledger.portfolio.idle
        withdraw = WITHDRAW.encode(key, 10**6)
        return self.draws.pick(
            (
                (connector, asset, idle + 1, SUPPLY.encode(key, idle + 1)),
                (connector, asset, 0, b"\1\2"),
                (connector, asset, 0, b"\1\2\3\4" + key),
                (self.stage.parts.vault, asset, 0, encode_call("closeEpoch()")),
                (connector, self.stage.weth, 1, withdraw),
                (connector, self.stage.weth, EVERYTHING, withdraw),
                (connector, self.stage.weth, 0, withdraw),
                (connector, asset, idle // 3, SUPPLY.encode(key, idle // 6)),
                (connector, asset, 0, WITHDRAW.encode(key, 0)),
            )
        )

    def cancel_nonce(self) -> None:
        role = self.stage.ledger.registry
        sender = self.draws.pick((role.keeper, role.guardian, self.anyone()))
        self.call(sender, "cancelNonce(uint256)", self.draws.between(0, 3))

    # WHAT ANYONE MAY DO

    def force_deallocate(self) -> None:
        """Half of the time only once the queue is too old."""
        vault = self.stage.ledger.vault
        if self.draws.coin() and not is_dust(vault.accounting, vault.params):
            left = vault.accounting.queued_since + vault.params.max_age - self.stage.now
            if left > 0:
                self.call(self.anyone(), "announce()", wait=left)
        held = [each for each in self.stage.known.positions if self.stage.position_low(each)]
        connector, key = self.draws.pick(held) if held and not self.rarely() else self.position()
        key = bytes(32) if self.rarely() else key
        amount = self.draws.pick((EVERYTHING, 10**9, 0))
        self.call(self.anyone(), "forceDeallocate(address,bytes32,uint256)", connector, key, amount)

    # POCKETS

    def split_off(self) -> None:
        stage, section = self.stage, self.stage.ledger.registry
        worthless = [each for each in stage.known.positions if not stage.position_low(each)]
        position = self.draws.pick(worthless) if worthless and not self.rarely() else self.position()
        if self.draws.between(0, 4):
            stale = stage.ledger.portfolio.announcement.at + DAY + 1 - stage.now
            self.call(self.anyone(), "announce()", wait=max(1, stale))
        sender = self.draws.pick((section.guardian, section.governor, section.guardian, self.anyone()))
        wait = HALF_HOUR if self.draws.between(0, 6) else self.wait()
        self.call(sender, "splitOff(address,bytes32)", *position, wait=wait)

    def close_pocket(self) -> None:
        if self.stage.ledger.portfolio.pocketed is not None and self.draws.between(0, 4):
            stale = self.stage.ledger.portfolio.announcement.at + DAY + 1 - self.stage.now
            self.call(self.anyone(), "announce()", wait=max(1, stale))
        wait = self.draws.pick((HALF_HOUR, HALF_HOUR, 2 * HALF_HOUR, 2 * DAY))
        self.stage.act(
            "closePocket", self.anyone(), self.stage.parts.portfolio, encode_call("closePocket()"), wait
        )


_AT_PORTFOLIO = frozenset({"announce", "closePocket", "cosign", "cancelNonce", "forceDeallocate", "splitOff"})
