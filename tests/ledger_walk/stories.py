"""Longer stories that acts drawn one by one would seldom tell: pockets, overdue exits, loss windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keeper.ledger.entitlements import priced
from keeper.ledger.readings import ROUNDING
from keeper.ledger.state import EVERYTHING, PositionId
from keeper.oracle.quote import Status
from keeper.planning.actions import SUPPLY, WITHDRAW
from keeper.simulation.market import Draws
from keeper.units import WAD, Address
from ledger_walk.governors import Governors
from ledger_walk.keepers import DAY, HALF_HOUR, Keepers
from ledger_walk.people import USDC, Act, People
from ledger_walk.stage import EVERY, PEOPLE, Stage
from ledger_walk.world import BECOME, packed

STALE = Status.STALE.value


@dataclass
class Stories:
    stage: Stage
    draws: Draws
    people: People
    keepers: Keepers
    governors: Governors

    def acts(self) -> Sequence[tuple[int, Act]]:
        return (
            (2, self.pocket),
            (3, self.overdue),
            (3, self.window),
            (2, self.marked_down),
            (4, self.late_comers),
            (4, self.repaid_in_doubt),
            (4, self.risen_by_itself),
            (4, self.risen_beside_a_debt),
            (4, self.dropped_beside_a_debt),
        )

    # STEPS THEY SHARE

    def listed(self) -> list[PositionId]:
        positions = self.stage.ledger.registry.positions
        return [each for each in self.stage.stated_ids if each in positions]

    def restate(self, position: PositionId, low: int, high: int, state: int = 0) -> None:
        data = BECOME.encode(position[1], low, high, state, 0)
        self.stage.send_outside("restate", position[0], data)

    def leave(self, count: int) -> None:
        """So many holders ask to redeem a part each."""
        for role in PEOPLE[:count]:
            who = self.stage.address(role)
            vault = self.stage.ledger.vault
            if ready := priced(vault, vault.controller(who))[1].shares:
                self.people.vault(who, "mint(uint256,address,address)", ready, who, who)
            shares = self.stage.ledger.vault.shares.balance(who) * self.draws.between(1, 9) // 10
            self.people.vault(who, "requestRedeem(uint256,address,address)", shares, who, who)

    def announce(self, wait: int = 1) -> None:
        stale = self.stage.ledger.portfolio.announcement.at + DAY + 1 - self.stage.now
        self.keepers.call(self.keepers.anyone(), "announce()", wait=max(wait, stale))

    def settle_through(self) -> None:
        """An epoch, after its loss window where one opens."""
        self.keepers.settle()
        self.keepers.settle()

    # STORIES

    def pocket(self) -> None:
        """A position dies, holders leave, something comes out of it, it lives again and is paid."""
        listed = self.listed()
        if not listed:
            return
        position = self.draws.pick(listed)
        worth = max(self.stage.world.stated[position].low, 10**9)
        self.restate(position, 1, 0)
        self.announce()
        guardian = self.stage.ledger.registry.guardian
        split = self.keepers.call(guardian, "splitOff(address,bytes32)", *position, wait=HALF_HOUR)
        self.leave(3)
        self.settle_through()
        if self.draws.coin():
            self.leave(2)
            self.settle_through()
        self.restate(position, worth, worth)
        out = worth * self.draws.between(0, 50) // 100
        action = (position[0], self.stage.parts.asset, 0, WITHDRAW.encode(position[1], out))
        self.keepers.send(self.keepers.encoded([action], careful=False))
        if self.draws.coin():
            self.invest(60)
        self.announce()
        if self.draws.coin():
            low = self.stage.world.stated[position].low * self.draws.between(97, 103) // 100
            self.restate(position, low, low)
        self.keepers.call(self.keepers.anyone(), "closePocket()", wait=HALF_HOUR)
        for role in PEOPLE[:3] if split else ():
            who = self.stage.address(role)
            id_ = len(self.stage.ledger.vault.pockets)
            signature = "claimResidual(uint256,address,address)"
            self.people.vault(self.people.sender(who), signature, id_, self.people.receiver(who), who)

    def overdue(self) -> None:
        """All is at work, the queue grows too old, and anyone frees what it needs."""
        self.invest(100)
        self.leave(2)
        self.settle_through()
        vault = self.stage.ledger.vault
        left = vault.accounting.queued_since + vault.params.max_age + 1 - self.stage.now
        self.keepers.call(self.keepers.anyone(), "announce()", wait=max(1, left))
        self.invest(10)
        held = [each for each in self.stage.known.positions if self.stage.position_low(each)]
        for _ in range(3 if held else 0):
            amount = self.draws.pick((EVERYTHING, EVERYTHING, 10**10))
            signature = "forceDeallocate(address,bytes32,uint256)"
            self.keepers.call(self.keepers.anyone(), signature, *self.draws.pick(held), amount)
        self.keepers.settle()

    def window(self) -> None:
        """A price falls while holders wait; some change their mind, the others are paid the lower price."""
        listed = [each for each in self.listed() if self.stage.position_low(each)]
        self.leave(3)
        if listed:
            position = self.draws.pick(listed)
            low = self.stage.position_low(position) * self.draws.between(0, 60) // 100
            self.restate(position, low, low)
        self.keepers.settle()
        for act in (self.people.cancel_redeem, self.people.cancel_deposit, self.people.cancel_redeem):
            act()
        self.keepers.settle()
        self.people.claim_assets()

    def late_comers(self) -> None:
        """Requests between a close and its settlement by those who are in it already: each has its price."""
        self.heal()
        who = self.people.user()
        self.enter(who)
        self.leave(2)
        self.keepers.close_epoch()
        if self.draws.coin():
            self.people.vault(who, "cancelDepositRequest(uint256,address)", 0, who)
        self.enter(who)
        self.leave(2)
        self.keepers.settle(honest=True)
        self.keepers.settle(honest=True)
        for _ in range(2):
            self.people.claim_shares()
            self.people.claim_assets()

    def heal(self) -> None:
        """Everything can be read again, so that deposits are priced."""
        for connector in sorted(self.stage.world.broken):
            self.stage.break_down(connector, False)
        for position in self.stage.stated_ids:
            own = self.stage.world.stated[position]
            if own.state & 0xFF or own.low != own.high:
                low = min(own.low, own.high)
                self.restate(position, low, low, own.state >> 8 << 8)

    def enter(self, who: Address) -> None:
        amount = self.draws.between(10, 100_000) * USDC
        self.stage.gift(who, amount)
        if self.stage.ledger.asset.allowance(who, self.stage.parts.vault) < amount:
            self.people.allow_assets(who)
        self.people.vault(who, "requestDeposit(uint256,address,address)", amount, who, who)

    def marked_down(self) -> None:
        """Both readings see a fall."""
        listed = [each for each in self.listed() if self.stage.position_low(each)]
        if listed:
            position = self.draws.pick(listed)
            low = self.stage.position_low(position) * self.draws.between(20, 99) // 100
            self.restate(position, low, low)
        self.announce()
        if self.draws.coin():
            self.keepers.batch()
        self.keepers.call(self.keepers.anyone(), "markDown()", wait=HALF_HOUR)
        self.keepers.call(self.keepers.anyone(), "settleUnattended()")

    def repaid_in_doubt(self) -> None:
        """A debtor in doubt, worth nothing at the low end, is repaid; at times more than that leaves it."""
        listed = self.listed()
        if not listed:
            return
        connector, key = self.draws.pick(listed)
        idle = self.stage.ledger.portfolio.idle
        owed = 100 + idle * self.draws.between(1, 4) // 200
        high = owed * self.draws.between(0, 150) // 100
        self.restate((connector, key), 0, high, packed(STALE, owed, WAD))
        paid = min(idle, owed * self.draws.pick((0, 50, 100)) // 100)
        taken = self.draws.pick((0, ROUNDING, paid, paid + ROUNDING, paid + ROUNDING + 1))
        after = max(0, high + paid - taken)
        low = min(after, self.draws.pick((0, paid // 2, paid)))
        data = BECOME.encode(key, low, after, packed(STALE, owed - paid, WAD), 0)
        action = (connector, self.stage.parts.asset, paid, data)
        self.keepers.send(self.keepers.encoded([action], careful=False))

    def risen_by_itself(self) -> None:
        """What rises in a batch that pushed nothing to it hides no loss of another position."""
        listed = self.listed()
        if len(listed) < 2:
            return
        self.heal()
        risen, left = listed[0], listed[-1]
        low, worth = (self.stage.world.stated[each].low for each in (risen, left))
        gain = self.draws.pick((ROUNDING, ROUNDING + 1, worth // 1_000))
        paid = worth * self.draws.between(0, 100) // 100
        lost = (worth - paid) * self.draws.between(0, 2) // 1_000
        rise = BECOME.encode(risen[1], low + gain, low + gain, packed(0, 0, 0), 0)
        fall = BECOME.encode(left[1], worth - paid - lost, worth - paid - lost, packed(0, 0, 0), paid)
        calls = [
            (place, self.stage.parts.asset, 0, data) for place, data in ((risen[0], rise), (left[0], fall))
        ]
        self.keepers.send(self.keepers.encoded(calls, careful=False))

    def risen_beside_a_debt(self) -> None:
        """Nor does what rises, stays or leaves because the debt that it bears has gone to another position of
        its account."""
        listed = self.listed()
        account = [each for each in listed if each[0] == self.stage.shared]
        others = [each for each in listed if each[0] != self.stage.shared]
        if len(account) < 2 or not others:
            return
        self.heal()
        (_, bearing), (connector, relieved), left = *account[:2], self.draws.pick(others)
        low, worth = (self.stage.world.stated[each].low for each in (account[1], left))
        gain = self.draws.pick((ROUNDING, ROUNDING + 1, worth // 1_000))
        lost = worth * self.draws.between(0, 2) // 1_000
        taken = self.draws.pick((0, gain // 2, gain))
        after = low + gain - taken
        self.restate(account[0], 0, 0, packed(0, gain, WAD))
        self.restate(account[1], low, low, packed(0, gain, WAD))
        changes = (
            (connector, BECOME.encode(bearing, 0, 0, packed(0, 2 * gain, WAD), 0)),
            (connector, BECOME.encode(relieved, after, after, packed(0, 0, 0), taken)),
            (left[0], BECOME.encode(left[1], worth - lost, worth - lost, packed(0, 0, 0), 0)),
        )
        calls = [(place, self.stage.parts.asset, 0, data) for place, data in changes]
        self.keepers.send(self.keepers.encoded(calls, careful=False))

    def dropped_beside_a_debt(self) -> None:
        """An empty or a dead key leaves the list; what stays in its account owes, once did, or is unread."""
        account = [each for each in self.listed() if each[0] == self.stage.shared]
        if not account:
            return
        self.heal()
        leaving, staying = self.draws.pick(((account[0], account[-1]), (account[-1], account[0])))
        self.restate(leaving, 0, 0)
        worth = self.stage.world.stated[staying].low
        owed = self.draws.pick((0, 1, worth // 4))
        self.restate(staying, worth, worth, packed(0, owed, WAD))
        mark = (staying[0], self.stage.parts.asset, 0, WITHDRAW.encode(staying[1], 0))
        self.keepers.send(self.keepers.encoded([mark], careful=False))
        if self.draws.coin():
            self.restate(staying, *self.draws.pick(((worth, worth), (1, 0))))
        governor, delay = self.governors.governor, self.stage.ledger.registry.delay
        if self.draws.coin():
            self.governors.at_registry("unlistPosition", governor, *leaving)
        else:
            if leaving != staying:
                self.restate(leaving, 0, 0, STALE)
            self.governors.submit_change("abandonPosition", *leaving)
            self.announce(delay)
            self.governors.at_registry("abandonPosition", governor, *leaving, wait=HALF_HOUR)
        if leaving not in self.listed():
            listing = (*leaving, [leaving[1], EVERY])
            self.governors.submit_change("listPosition", *listing)
            if self.draws.coin():
                self.governors.at_registry("listPosition", governor, *listing, wait=delay)

    def invest(self, per_cent: int) -> None:
        """So much of what is idle goes to a position."""
        amount = self.stage.ledger.portfolio.idle * per_cent // 100
        connector, key = self.keepers.position()
        action = (connector, self.stage.parts.asset, amount, SUPPLY.encode(key, amount))
        self.keepers.send(self.keepers.encoded([action], careful=False))
