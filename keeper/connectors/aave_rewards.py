"""Rewards that a holder of an Aave receipt or debt token earns, as `RewardsDistributor` counts them."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Stream:
    """One reward of one token's holders, and the share of one of them.

    `index` is what one whole token, `unit` scaled ones, has earned since the beginning, in the reward's
    smallest unit; `emission` flows per second until `end`. The holder was last counted at `user_index`, and
    `accrued` was owed then.
    """

    unit: int
    index: int
    emission: int
    last_update: int
    end: int
    user_index: int
    accrued: int

    def index_at(self, total: int, at: int) -> int:
        """`_getAssetIndex`."""
        if self.emission == 0 or total == 0 or at == self.last_update or self.last_update >= self.end:
            return self.index
        return self.index + self.emission * (min(at, self.end) - self.last_update) * self.unit // total

    def unclaimed(self, scaled: int, total: int, at: int) -> int:
        """What the holder of `scaled` of `total` tokens may claim at `at` (`_getUserReward`)."""
        if scaled == 0:
            return self.accrued
        return self.accrued + scaled * (self.index_at(total, at) - self.user_index) // self.unit

    def settled(self, scaled: int, total: int, at: int) -> Stream:
        """State after the holder's balance has moved from `scaled` of `total` (`_updateData`)."""
        if self.last_update == 0:
            return self
        index = self.index_at(total, at)
        accrued = self.unclaimed(scaled, total, at)
        return replace(self, index=index, user_index=index, accrued=accrued, last_update=at)
