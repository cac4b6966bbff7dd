"""What a book reads of our own contracts: the vault, its portfolio, its registry and its quorum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from keeper.chain.call import Call
from keeper.contracts import Contract, Function
from keeper.exposures import risk_id
from keeper.planning.policy import Policy, PositionPolicy
from keeper.safe.account import SafeReads

_REPORT: Final = Function("report(bytes32)", "(bytes)")


@dataclass(frozen=True)
class VaultReads:
    """Every read of our own contracts that a book rests on."""

    policy: Policy

    @property
    def parts(self) -> dict[str, Call[Any]]:
        """Where the vault itself says its parts are, by their names in the policy."""
        own = {name: self._vault.call(name) for name in ("portfolio", "escrow", "registry", "asset")}
        # A Safe knows no vault.
        return own if self.safe else {**own, "vault": self._quorum.call("vault")}

    @property
    def safe(self) -> SafeReads | None:
        """Reads of the Safe in the keeper role, where it is one."""
        return None if self.policy.safe is None else SafeReads(self.policy.vault.quorum)

    @property
    def accounting(self) -> Call[Any]:
        return self._vault.call("accounting")

    @property
    def params(self) -> Call[Any]:
        return self._vault.call("params")

    @property
    def idle(self) -> Call[Any]:
        return self._portfolio.call("idle")

    @property
    def nav(self) -> Call[Any]:
        return self._portfolio.call("nav")

    @property
    def pocket(self) -> Call[Any]:
        return self._portfolio.call("pocket")

    @property
    def nonce(self) -> Call[Any]:
        return self._portfolio.call("nextNonce", self.policy.nonce_key)

    @property
    def defence_nonce(self) -> Call[Any] | None:
        """Of the nonce key that debts are defended under."""
        health = self.policy.health
        return None if health is None else self._portfolio.call("nextNonce", health.nonce_key)

    @property
    def positions(self) -> Call[Any]:
        return self._registry.call("positions", self.policy.vault.vault)

    @property
    def keeper(self) -> Call[Any]:
        return self._registry.call("keeper", self.policy.vault.vault)

    @property
    def paused_until(self) -> Call[Any]:
        return self._registry.call("riskPausedUntil", self.policy.vault.vault)

    @property
    def oracle(self) -> Call[Any]:
        return self._registry.call("oracle", self.policy.vault.vault)

    @property
    def signers(self) -> Call[Any]:
        return self.safe.owners if self.safe else self._quorum.call("signers")

    @property
    def threshold(self) -> Call[Any]:
        return self.safe.threshold if self.safe else self._quorum.call("threshold")

    @property
    def signer_set_version(self) -> Call[Any] | None:
        """None for a Safe, which has none: it checks signatures against its present owners."""
        return None if self.safe else self._quorum.call("signerSetVersion")

    def position_value(self, position: PositionPolicy) -> Call[Any]:
        return self._portfolio.call("positionValue", position.address, position.key)

    def mark(self, position: PositionPolicy) -> Call[Any]:
        return self._portfolio.call("marks", position.address, position.key)

    def marked_debt(self, position: PositionPolicy) -> Call[Any]:
        return self._portfolio.call("markedDebt", position.address, position.key)

    def report(self, position: PositionPolicy) -> Call[bytes]:
        """What the connector itself answers, undecoded: nonsense is an answer, too."""
        return Call(position.address, _REPORT.encode(position.key), bytes, f"{position.venue} report")

    def exposure(self, name: str) -> Call[Any]:
        return self._portfolio.call("exposures", risk_id(name))

    def cap(self, name: str) -> Call[Any]:
        return self._registry.call("cap", self.policy.vault.vault, risk_id(name))

    def exit_only(self, position: PositionPolicy) -> Call[Any]:
        return self._registry.call("isExitOnly", self.policy.vault.vault, position.address)

    def isolated(self, position: PositionPolicy) -> Call[Any]:
        return self._registry.call("isIsolated", self.policy.vault.vault, position.address)

    def of(self, position: PositionPolicy) -> tuple[Call[Any], ...]:
        """Those about one position."""
        return (
            self.position_value(position),
            self.report(position),
            self.mark(position),
            self.marked_debt(position),
            self.exit_only(position),
            self.isolated(position),
        )

    def all(self) -> tuple[Call[Any], ...]:
        """All of them, for the snapshot's call set."""
        single = (
            self.accounting,
            self.params,
            self.idle,
            self.nav,
            self.pocket,
            self.nonce,
            self.positions,
            self.keeper,
            self.paused_until,
            self.oracle,
            *self._keepers,
        )
        defence = () if self.defence_nonce is None else (self.defence_nonce,)
        return (
            *self.parts.values(),
            *single,
            *defence,
            *(call for position in self.policy.positions for call in self.of(position)),
            *(call for name in self.policy.caps for call in (self.exposure(name), self.cap(name))),
        )

    @property
    def _keepers(self) -> tuple[Call[Any], ...]:
        if self.safe:
            return self.safe.all()
        return self.signers, self.threshold, self._quorum.call("signerSetVersion")

    @property
    def _vault(self) -> Contract:
        return Contract(self.policy.vault.vault, "Vault")

    @property
    def _portfolio(self) -> Contract:
        return Contract(self.policy.vault.portfolio, "Portfolio")

    @property
    def _registry(self) -> Contract:
        return Contract(self.policy.vault.registry, "Registry")

    @property
    def _quorum(self) -> Contract:
        return Contract(self.policy.vault.quorum, "KeeperQuorum")
