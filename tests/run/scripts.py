"""Whole days of a vault: users deposit, funds are put to work and moved, users redeem."""

from collections.abc import Callable

from days import DEAR, FINALITY, Day
from running import DEAD
from staged import USDC

from keeper.execution.journal.states import State
from keeper.execution.journal.vaults import Breaker, VaultRecord
from keeper.simulation.vault import EPOCH_SECONDS

ASSETS = 2_000_000 * USDC
EXPIRY_SECONDS = 1_000
"""After which no plan is valid any more."""
Script = Callable[[Day], None]


def plain(day: Day) -> None:
    """Two users come, their funds are put to work, and one takes half of hers out again."""
    day.begins(day.signers)
    deposits(day)
    day.does("closeEpoch")
    day.blocks(FINALITY + 1)
    day.does("settle")
    day.blocks(FINALITY)
    day.does("execute")
    redeems(day)
    day.blocks(FINALITY)
    day.does("execute")
    ends_epoch(day)
    # What is redeemed has earned meanwhile, and a little more is needed.
    day.does("execute")
    day.does("closeEpoch")
    day.blocks(FINALITY + 1)
    day.does("settle")
    day.finishes()


def rough(day: Day) -> None:
    """The same, through whatever can happen to a transaction on its way."""
    rpc = day.stage.devnet.rpc
    day.begins(day.signers)
    deposits(day)
    # Offered again at a higher price, and it is the first that is mined.
    first = day.offers("closeEpoch")
    raw = rpc("eth_getRawTransactionByHash", first)
    day.blocks(3, price=DEAR)
    second = day.offers("closeEpoch", but=first)
    with day.keepers.held():
        rpc("anvil_dropTransaction", second)
        day.block(raw)
    day.blocks(FINALITY + 1)
    # Mined, and reorganised away.
    day.does("settle")
    day.until(lambda: any(each.at is State.MINED for each in day.journal.under_way()), "mined")
    rpc("anvil_rollback", 1)
    day.does("settle")
    day.blocks(FINALITY)
    # Not mined in time, and cancelled; another takes its place.
    day.offers("execute")
    day.block(wait=EXPIRY_SECONDS, price=DEAR)
    day.does("cancel")
    day.blocks(FINALITY)
    # Its nonce is spent by another program, and it gets the next.
    day.offers("execute")
    day.block(day.foreign())
    day.blocks(FINALITY + 1)
    day.does("execute")
    redeems(day)
    day.blocks(FINALITY)
    day.does("execute")
    # Somebody else closes the epoch in the same block, before the keeper.
    late = day.offers("closeEpoch")
    raw = rpc("eth_getRawTransactionByHash", late)
    with day.keepers.held():
        rpc("anvil_dropTransaction", late)
        day.block(day.by("user2", "closeEpoch()"), raw)
        day.blocks(FINALITY + 1)
    day.does("settle")
    day.finishes()


def deaf(day: Day) -> None:
    """No signer answers until a breaker has tripped; then risk waits for a person."""
    day.begins([DEAD] * len(day.signers))
    deposits(day)
    day.does("closeEpoch")
    day.blocks(FINALITY + 1)
    vault = day.stage.policy.vault
    record = VaultRecord(day.journal, vault.chain_id, vault.vault)
    day.until(lambda: Breaker.ERRORS in record.tripped(), "a breaker")
    day.keepers.stop()
    day.begins(day.signers)
    day.does("settle")
    day.blocks(FINALITY)
    record.resume("the signers are back", record.tripped())
    day.does("execute")
    day.finishes()


SCRIPTS: tuple[Script, ...] = (plain, rough, deaf)


def deposits(day: Day) -> None:
    """Two users ask for shares; the keeper knows of it, and that the epoch has lasted long enough."""
    day.block(deposit(day, "user1", ASSETS), deposit(day, "user2", ASSETS // 4))
    ends_epoch(day)


def deposit(day: Day, role: str, assets: int) -> str:
    who = day.stage.devnet.address(role)
    return day.by(role, "requestDeposit(uint256,address,address)", assets, who, who)


def redeems(day: Day) -> None:
    """Both users take their shares; one asks for half of her assets."""
    day.block(day.claim("user1"), day.claim("user2"))
    who = day.stage.devnet.address("user1")
    half = day.stage.shares("user1") // 2
    day.block(day.by("user1", "requestRedeem(uint256,address,address)", half, who, who))


def ends_epoch(day: Day) -> None:
    day.block(wait=EPOCH_SECONDS)
    day.blocks(FINALITY)
