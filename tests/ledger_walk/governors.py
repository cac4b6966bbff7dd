"""What governor and guardian do, and what happens around the vault: time, markets, gifts, breakage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import Any

from keeper.contracts import Contract, encode_call
from keeper.contracts.handle import functions
from keeper.errors import RevertError
from keeper.ledger.registry import CHANGE_WINDOW, change_id
from keeper.ledger.token import ZERO
from keeper.ledger.vault import Params
from keeper.planning.actions import SUPPLY, WITHDRAW
from keeper.simulation.market import Draws, MarketAgent
from keeper.units import WAD, Address
from ledger_walk.people import Act
from ledger_walk.stage import EVERY, LONE_KEYS, SHARED_KEYS, Stage
from ledger_walk.world import BECOME, packed

DAY = 86_400
HALF_HOUR = 1_800


@dataclass
class Governors:
    stage: Stage
    draws: Draws
    submitted: list[tuple[Address, bytes]] = field(default_factory=list)

    def acts(self) -> Sequence[tuple[int, Act]]:
        return (
            (5, self.change),
            (4, self.make),
            (1, self.veto),
            (3, self.reduce),
            (2, self.unlist),
            (1, self.accept),
            (1, self.authorise),
        )

    # SET-UP

    def list_stated(self) -> None:
        """Lists the stated positions through the timelock, with their caps and functions."""
        stage, vault = self.stage, self.stage.parts.vault
        changes = []
        for connector, keys in ((stage.shared, SHARED_KEYS), (stage.lone, LONE_KEYS)):
            changes += [("listPosition", connector, key, [key, EVERY]) for key in keys]
            changes += [("setCap", key, 500_000 * 10**6) for key in keys]
            for selector in (SUPPLY.selector, WITHDRAW.selector, BECOME.selector):
                changes.append(("setSelector", connector, selector, True))
        changes.append(("setCap", EVERY, 900_000 * 10**6))
        calls = [self.registry(name, vault, *args) for name, *args in changes]
        for data in calls:
            assert self.submit(stage.parts.registry, data)
        for place, data in enumerate(calls):
            wait = stage.ledger.registry.delay if place == 0 else 1
            assert stage.act("set-up", self.governor, stage.parts.registry, data, wait)

        self.submitted.clear()

    # CALLS

    @property
    def governor(self) -> Address:
        return self.stage.ledger.registry.governor

    def rarely(self) -> bool:
        return self.draws.between(0, 12) == 0

    def sender(self) -> Address:
        return self.stage.address("trader") if self.rarely() else self.governor

    def reducer(self) -> Address:
        section = self.stage.ledger.registry
        return self.draws.pick((section.guardian, section.governor, self.sender()))

    def registry(self, name: str, *args: Any) -> bytes:
        return Contract(self.stage.parts.registry, "Registry").encode(name, *args)

    def at_registry(self, name: str, sender: Address, *args: Any, wait: int = 5) -> bool:
        data = self.registry(name, self.stage.parts.vault, *args)
        return self.stage.act(name, sender, self.stage.parts.registry, data, wait)

    def submit(self, target: Address, data: bytes) -> bool:
        done = self.at_registry("submit", self.sender(), target, data, wait=3)
        if not done:
            done = self.at_registry("submit", self.governor, target, data, wait=3)
        if done:
            self.submitted.append((target, data))
        return done

    def submit_change(self, name: str, *args: Any) -> bool:
        parts = self.stage.parts
        return self.submit(parts.registry, self.registry(name, parts.vault, *args))

    # CHANGES

    def change(self) -> None:
        """Submitted, or tried without."""
        target, data = self.drawn()
        if self.rarely():
            self.stage.act("unsubmitted", self.sender(), target, data)
        else:
            self.submit(target, data)

    def make(self) -> None:
        """A submitted change, most often when it may be made, else too early or too late."""
        if not self.submitted:
            return self.change()
        target, data = self.submitted.pop(self.draws.between(0, len(self.submitted)))
        known = self.stage.ledger.registry.changes.get(change_id(target, data))
        wait = 5
        if known is not None and self.draws.between(0, 8):
            late = CHANGE_WINDOW + 1 if self.rarely() else 0
            wait = max(1, known.executable_at + late - self.stage.now)
        self.stage.act("make " + self.name_of(target, data), self.sender(), target, data, wait)

    def name_of(self, target: Address, data: bytes) -> str:
        parts = self.stage.parts
        abi = {parts.registry: "Registry", parts.vault: "Vault"}.get(target, "Portfolio")
        return next((each.name for each in functions(abi) if each.selector == data[:4]), "nothing")

    def veto(self) -> None:
        ids = [*self.stage.ledger.registry.changes, bytes(32)]
        self.at_registry("veto", self.reducer(), self.draws.pick(ids))

    def drawn(self) -> tuple[Address, bytes]:
        parts, vault, section = self.stage.parts, self.stage.parts.vault, self.stage.ledger.registry
        position = self.draws.pick(self.stage.known.positions)
        risk_id = self.draws.pick(self.stage.known.risk_ids)
        cap = self.draws.pick((0, 10**11, 10**12, 5 * 10**12))
        amount = self.draws.pick((2, 4, 400)) * DAY
        governor = self.draws.pick((self.governor, self.stage.address("deployer")))
        guardian = self.draws.pick((section.guardian, self.stage.address("user6")))
        selector = self.draws.pick((SUPPLY.selector, WITHDRAW.selector, BECOME.selector))
        changes: tuple[tuple[Any, ...], ...] = (
            ("setCap", risk_id, cap),
            ("setCap", risk_id, 5 * 10**12),
            ("setSelector", position[0], selector, self.draws.between(0, 5) > 0),
            ("clearExitOnly", self.draws.pick(section.exit_only or (position[0],))),
            ("listPosition", *position, self.draws.pick(([], [risk_id], [risk_id, EVERY], [risk_id] * 9))),
            ("listPosition", self.draws.pick(((position[0]), self.stage.weth)), b"\x05" * 32, [risk_id]),
            ("abandonPosition", *position),
            ("setDelay", amount),
            ("setOracle", section.oracle),
            ("setKeeper", section.keeper),
            ("setGuardian", guardian),
            ("proposeGovernor", governor),
            ("abdicate", parts.registry, self.registry("setOracle", vault, ZERO)[:4]),
        )
        if self.draws.between(0, 3) == 0:
            return vault, Contract(vault, "Vault").encode("setParams", astuple(self.params()))
        if self.draws.between(0, 6) == 0:
            token = self.draws.pick((parts.asset, self.stage.weth))
            return parts.portfolio, encode_call("skim(address,address)", token, self.stage.address("user1"))
        name, *args = self.draws.pick(changes)
        return parts.registry, self.registry(name, vault, *args)

    def params(self) -> Params:
        """Other ones, most often allowed."""
        old = self.stage.ledger.vault.params
        news: tuple[dict[str, Any], ...] = (
            {"management_fee": WAD * self.draws.between(0, 60) // 1_000},
            {"performance_fee": WAD * self.draws.between(0, 320) // 1_000},
            {"exit_fee": self.draws.pick((0, WAD // 200, WAD // 100, WAD // 50))},
            {"max_rate": self.draws.pick((10**9, 4 * 10**9, 10**12))},
            {"max_step": self.draws.pick((0, WAD // 20, WAD))},
            {"max_spread": self.draws.pick((0, WAD // 100, WAD // 10))},
            {"min_epoch_length": self.draws.pick((60, 600, 8 * DAY))},
            {"compliance_hook": self.draws.pick((ZERO, self.stage.hook, self.stage.hook))},
            {"min_deposit": self.draws.pick((0, 1, 10**8))},
            {"deposit_cap": self.draws.pick((10**12, 5 * 10**13))},
            {"min_redeem": self.draws.pick((0, 1, 10**15))},
            {"max_age": self.draws.pick((DAY - 1, DAY, 2 * DAY, 20 * DAY))},
            {"fee_recipient": self.draws.pick((ZERO, self.stage.address("treasury")))},
        )
        return replace(old, **(self.draws.pick(news) | self.draws.pick(news)))

    # WHAT NEEDS NO DELAY

    def reduce(self) -> None:
        position = self.draws.pick(self.stage.known.positions)
        way = self.draws.between(0, 6)
        if way < 3:
            risk_id, cap = self.draws.pick(self.stage.known.risk_ids), self.draws.pick((0, 10**11, 10**14))
            self.at_registry("lowerCap", self.reducer(), risk_id, cap)
        elif way < 5:
            self.at_registry("setExitOnly", self.reducer(), position[0])
        else:
            self.at_registry("pauseRisk", self.reducer())

    def unlist(self) -> None:
        empty = [each for each in self.stage.known.positions if not self.stage.position_low(each)]
        known = self.draws.pick(empty) if empty and self.draws.coin() else None
        position = known or self.draws.pick(self.stage.known.positions)
        listed = position in self.stage.ledger.registry.positions
        self.at_registry("unlistPosition", self.sender(), *position)
        if listed and position not in self.stage.ledger.registry.positions:
            ids = [self.draws.pick(self.stage.known.risk_ids), EVERY]
            self.submit_change("listPosition", *position, ids)

    def accept(self) -> None:
        pending = self.stage.ledger.registry.pending_governor
        self.at_registry("acceptGovernor", self.sender() if pending == ZERO else pending)

    def authorise(self) -> None:
        sender = self.draws.pick((self.governor, self.stage.address("user2")))
        self.at_registry("authorise", self.stage.address("user1"), sender, b"\1\2\3\4")

    def terminate(self) -> None:
        """The end: exits go on."""
        data = self.registry("terminate", self.stage.parts.vault)
        if self.submit(self.stage.parts.registry, data):
            wait = self.stage.ledger.registry.delay
            self.stage.act("terminate", self.governor, self.stage.parts.registry, data, wait)


@dataclass
class Around:
    """Third parties and the markets."""

    stage: Stage
    draws: Draws
    market: MarketAgent

    def acts(self) -> Sequence[tuple[int, Act]]:
        return (
            (6, self.time),
            (6, self.trade),
            (7, self.restate),
            (3, self.gift),
            (1, self.stray),
            (2, self.break_down),
            (5, self.repair),
        )

    def time(self) -> None:
        self.stage.devnet.warp(self.draws.pick((60, HALF_HOUR, DAY, 7 * DAY, 30 * DAY)))
        self.stage.outside("time")

    def trade(self) -> None:
        try:
            self.market.step()
        except RevertError as error:
            self.stage.refusals[error.name] += 1
        self.stage.outside("trade")

    def gift(self) -> None:
        parts = self.stage.parts
        to = self.draws.pick((parts.portfolio, parts.escrow, parts.vault, self.stage.address("user6")))
        self.stage.gift(to, self.draws.pick((1, 10**6, 10**11)))

    def stray(self) -> None:
        self.stage.stray(self.draws.between(1, 10**18))

    def restate(self) -> None:
        """A price falls, a rate jumps, a position cannot be read or is in doubt, or all is well again."""
        position = self.draws.pick(self.stage.stated_ids)
        own = self.stage.world.stated[position]
        report = own.report
        low, high = own.low, own.high
        debt, health = (report.debt, report.health) if report else (0, 0)
        status = 0
        way = self.draws.between(0, 18)
        if way < 3:
            low = low * self.draws.between(50, 100) // 100
            high = low
        elif way == 3:
            low, high = low * 3, high * 3 + 1
        elif way == 4:
            low, high = max(low, high) + 1, 0
        elif way == 5:
            status = self.draws.between(0, 9)
        elif way == 6:
            low, high, status = 0, max(low, high), 6
        elif way == 7:
            high = max(low, high) * 11 // 10
        elif way == 8:
            debt, health = 0, 0
        else:
            low = min(low, high)
            high = low
        low, high = min(low, 2**110), min(high, 2**110)
        data = BECOME.encode(position[1], low, high, packed(status, debt, health), 0)
        self.stage.send_outside("restate", position[0], data)

    def break_down(self) -> None:
        self.stage.break_down(self.draws.pick([each.address for each in self.stage.refs]), True)

    def repair(self) -> None:
        if self.stage.world.broken:
            self.stage.break_down(self.draws.pick(sorted(self.stage.world.broken)), False)
        else:
            self.trade()
