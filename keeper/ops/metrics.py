"""What happens, counted for Prometheus: a listener of the event stream, and nothing besides.

Floats appear here and nowhere else: a gauge of a large integer is rounded to 53 bits, and never read back.
Labels name chains, vaults, accounts, signers, endpoints by scheme and host, and kinds of things. They never
hold a hash: of those there is no end.
"""

from functools import partial, singledispatchmethod
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.process_collector import ProcessCollector

from keeper import ENGINE_VERSION
from keeper.events import (
    AccountSeen,
    EndpointFailed,
    Event,
    LeaseLost,
    LeaseTaken,
    NotificationDelivered,
    NotificationLost,
    PassEnded,
    PassFinished,
    PlanApproved,
    PlanBuilt,
    PlanEnded,
    PlanRefused,
    PlanSigned,
    SignerEquivocated,
    TransactionMined,
    TransactionSent,
    VaultValued,
)
from keeper.execution.journal.states import ENDED, State
from keeper.execution.journal.vaults import Breaker

VAULT: Final = ("chain_id", "vault")
ACCOUNT: Final = ("chain_id", "account")
PASS_SECONDS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
"""Bounds of the histogram of passes."""
MAX_CODES: Final = 64
OTHER: Final = "other"
"""Stands for the codes beyond so many: signers write them, and may write anything."""


class Metrics:
    """The metrics of one keeper, in a registry of their own."""

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        info = Info("keeper_build", "The keeper that runs, by its version", registry=self.registry)
        info.info({"version": ENGINE_VERSION})
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        self._passes = counter(
            "keeper_passes_total", "Passes over a vault: finished or failed", (*VAULT, "outcome")
        )
        self._pass_seconds = Histogram(
            "keeper_pass_duration_seconds",
            "How long a pass took",
            VAULT,
            registry=self.registry,
            buckets=PASS_SECONDS,
        )
        self._last_pass = gauge(
            "keeper_last_pass_timestamp_seconds",
            "When the last pass with that outcome ended, in seconds since 1970",
            (*VAULT, "outcome"),
        )
        self._breakers = gauge(
            "keeper_breaker_open", "1 while the breaker stops new risk, else 0", (*VAULT, "breaker")
        )
        self._nav = gauge(
            "keeper_vault_nav",
            "Net asset value in smallest units of the vault's asset, low or high",
            (*VAULT, "bound"),
        )
        self._price = gauge(
            "keeper_vault_price_per_share",
            "Smallest units of the asset for one smallest unit of a share, times 1e27, low or high",
            (*VAULT, "bound"),
        )
        self._queued = gauge(
            "keeper_vault_queued_shares", "Shares that wait for redemption, in smallest units", VAULT
        )
        self._plans = counter(
            "keeper_plans_total",
            "Plans that were built, approved, and how they ended: executed, expired, refused or diverged",
            (*VAULT, "kind", "stage"),
        )
        self._signatures = counter(
            "keeper_plan_signatures_total", "Signatures that counted", (*VAULT, "signer")
        )
        self._refusals = counter(
            "keeper_plan_refusals_total", "Signers that did not sign, by code", (*VAULT, "code")
        )
        self._equivocations = counter(
            "keeper_signer_equivocations_total",
            "Proofs that a signer signed two plans for one slot",
            ("signer",),
        )
        self._sent = counter(
            "keeper_transactions_sent_total",
            "Transactions sent: new, a bump at a higher price, or a cancel",
            (*ACCOUNT, "kind"),
        )
        self._mined = counter(
            "keeper_transactions_mined_total",
            "Transactions seen in a block: succeeded or reverted; again after a reorganisation",
            (*ACCOUNT, "outcome"),
        )
        self._gas = counter("keeper_gas_used_total", "Gas of the transactions that were mined", ACCOUNT)
        self._under_way = gauge(
            "keeper_transactions_under_way",
            "Transactions in the journal that have not ended, by state",
            (*ACCOUNT, "state"),
        )
        self._nonce = gauge(
            "keeper_account_next_nonce", "Next nonce, as the journal's transactions have it", ACCOUNT
        )
        self._endpoint_failures = counter(
            "keeper_endpoint_failures_total",
            "Times that an endpoint was passed over",
            ("chain_id", "endpoint"),
        )
        self._lease = gauge("keeper_lease_held", "1 while this keeper may write to the journal, else 0")
        self._notifications = counter(
            "keeper_notifications_total", "Notifications: delivered or lost", ("outcome",)
        )
        for outcome in ("delivered", "lost"):
            # There from the start, so that the first one is an increase.
            self._notifications.labels(outcome)
        self._codes: Final = set[str]()

    def text(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self.registry)

    @singledispatchmethod
    def hear(self, event: Event) -> None:
        """Takes note of an event; of most kinds there is nothing to count."""

    # VAULTS

    @hear.register
    def _(self, event: PassEnded) -> None:
        chain, vault = event.chain_id, event.vault
        outcome = "finished" if isinstance(event, PassFinished) else "failed"
        self._passes.labels(chain, vault, outcome).inc()
        self._pass_seconds.labels(chain, vault).observe(event.seconds)
        self._last_pass.labels(chain, vault, outcome).set_to_current_time()
        for breaker in Breaker:
            self._breakers.labels(chain, vault, breaker.value).set(breaker in event.breakers)

    @hear.register
    def _(self, event: VaultValued) -> None:
        chain, vault = event.chain_id, event.vault
        self._nav.labels(chain, vault, "low").set(event.nav_low)
        self._nav.labels(chain, vault, "high").set(event.nav_high)
        self._price.labels(chain, vault, "low").set(event.price_low)
        self._price.labels(chain, vault, "high").set(event.price_high)
        self._queued.labels(chain, vault).set(event.queued_shares)

    # PLANS

    @hear.register
    def _(self, event: PlanBuilt) -> None:
        self._plans.labels(event.chain_id, event.vault, event.kind, "built").inc()

    @hear.register
    def _(self, event: PlanApproved) -> None:
        self._plans.labels(event.chain_id, event.vault, event.kind, "approved").inc()

    @hear.register
    def _(self, event: PlanEnded) -> None:
        self._plans.labels(event.chain_id, event.vault, event.kind, event.how).inc()

    @hear.register
    def _(self, event: PlanSigned) -> None:
        self._signatures.labels(event.chain_id, event.vault, event.signer).inc()

    @hear.register
    def _(self, event: PlanRefused) -> None:
        known = event.code in self._codes or len(self._codes) < MAX_CODES
        code = event.code if known else OTHER
        self._codes.add(code)
        self._refusals.labels(event.chain_id, event.vault, code).inc()

    @hear.register
    def _(self, event: SignerEquivocated) -> None:
        self._equivocations.labels(event.signer).inc()

    # TRANSACTIONS

    @hear.register
    def _(self, event: TransactionSent) -> None:
        kind = "cancel" if event.cancels else "bump" if event.attempt else "new"
        self._sent.labels(event.chain_id, event.account, kind).inc()

    @hear.register
    def _(self, event: TransactionMined) -> None:
        outcome = "succeeded" if event.succeeded else "reverted"
        self._mined.labels(event.chain_id, event.account, outcome).inc()
        self._gas.labels(event.chain_id, event.account).inc(event.gas_used)

    @hear.register
    def _(self, event: AccountSeen) -> None:
        self._nonce.labels(event.chain_id, event.account).set(event.next_nonce)
        for state in set(State) - ENDED:
            count = event.under_way.get(state, 0)
            self._under_way.labels(event.chain_id, event.account, state.value).set(count)

    # THE KEEPER

    @hear.register
    def _(self, event: EndpointFailed) -> None:
        self._endpoint_failures.labels(event.chain_id, event.endpoint).inc()

    @hear.register
    def _(self, event: LeaseTaken | LeaseLost) -> None:
        self._lease.set(isinstance(event, LeaseTaken))

    @hear.register
    def _(self, event: NotificationDelivered | NotificationLost) -> None:
        delivered = isinstance(event, NotificationDelivered)
        self._notifications.labels("delivered" if delivered else "lost").inc()
