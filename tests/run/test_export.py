"""Everything that happened, as bookkeepers' own program and a spreadsheet read it: to the last digit."""

import csv
import io
import subprocess
import sys
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest
from beancount import loader
from beancount.core import data
from hypothesis import given
from hypothesis import strategies as st
from passes import Keepers
from running import SCHEDULE, Post
from staged import USDC, Staged

from keeper.execution.accounts import Entry, Posting, Unit
from keeper.execution.journal.journal import Journal
from keeper.execution.journal.vaults import VaultRecord
from keeper.ops.bookkeeping import COLUMNS, as_beancount, as_csv
from keeper.simulation.cast import Cast
from keeper.simulation.vault import EPOCH_SECONDS
from keeper.units import Address

DEPOSIT = 2_000_000 * USDC
ETHER = Decimal(10) ** 18


async def a_day(stage: Staged, keepers: Keepers) -> None:
    """A deposit that is put to work, and half of it that leaves again."""
    stage.request_deposit("user1", DEPOSIT)
    stage.devnet.warp(EPOCH_SECONDS)
    assert await keepers.one_pass() == ["closed epoch 1"]
    stage.devnet.rpc("evm_mine")
    assert await keepers.one_pass() == ["settlement", "batch"]
    stage.claim("user1")
    stage.request_redeem("user1", stage.shares("user1") // 2)
    stage.devnet.warp(EPOCH_SECONDS)
    assert await keepers.one_pass() == ["batch", "closed epoch 2"]
    stage.devnet.rpc("evm_mine")
    assert "settlement" in await keepers.one_pass()


def sums(text: str) -> dict[tuple[str, str], Decimal]:
    """By account and currency, as the CSV module reads it."""
    found: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in csv.DictReader(io.StringIO(text)):
        found[row["account"], row["currency"]] += Decimal(row["amount"])
    return found


def bean_check(ledger: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "beancount.scripts.check", str(ledger)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


async def test_a_day_adds_up_to_what_the_chain_says(stage: Staged, players: Cast, tmp_path: Path) -> None:
    keepers = Keepers(stage, players.urls, str(tmp_path / "data"))
    start = keepers.balance
    await a_day(stage, keepers)
    post = Post(tmp_path, stage)
    post.vault(stage, [], "vault")
    post.write(
        SCHEDULE + f'[gas.{stage.devnet.chain_id}]\nlow = "99999999999 ether"\ndaily_cap = "1 ether"\n'
    )
    done = post.keeper("export", "--format", "beancount", "--out", "day.beancount")
    assert done.returncode == 0, done.stderr
    ledger = tmp_path / "day.beancount"
    checked = bean_check(ledger)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    entries, errors, _ = loader.load_file(str(ledger))
    assert errors == []
    found: defaultdict[str, Decimal] = defaultdict(Decimal)
    for entry in data.filter_txns(entries):
        for each in entry.postings:
            found[each.account] += each.units.number
    name = f"{stage.policy.name} {stage.deployment.vault[:8]}"
    vault = f"Vault:{name.replace(' ', '-')}"
    idle = Decimal(stage.read(stage.portfolio, "idle")) / USDC
    paid = Decimal(stage.read(stage.vault, "maxWithdraw", stage.devnet.address("user1"))) / USDC
    gas = (start - keepers.balance) / ETHER
    named = {name.lower(): amount for name, amount in found.items()}
    assert named[f"assets:{vault}:idle".lower()] == idle
    assert named[f"equity:{vault}:deposits".lower()] == -DEPOSIT // USDC
    assert 0 <= named[f"equity:{vault}:redemptions".lower()] - paid <= Decimal(1) / USDC
    assert sum(amount for name, amount in named.items() if name.startswith("expenses:gas")) == gas

    table = post.keeper("export", "--format", "csv")
    assert table.returncode == 0, table.stderr
    by_account = sums(table.stdout)
    assert by_account[f"Assets:Vault:{name}:idle", "USDC"] == idle
    assert sum(by_account.values()) == 0
    assert len(by_account) == len(found)
    kinds = {row["kind"] for row in csv.DictReader(io.StringIO(table.stdout))}
    assert kinds == {"gas", "settlement", "supply", "withdraw"}
    payer = Address(stage.devnet.address("relayer"))
    async with Journal(str(tmp_path / "data")) as journal:
        VaultRecord(journal, stage.devnet.chain_id, stage.deployment.vault).beat(payer, "", "")
    status = post.status()
    (account,) = status["accounts"]
    assert (account["low"], int(account["wei"])) == (True, keepers.balance)
    assert (int(account["spent_today"]), int(account["daily_cap"])) == (keepers.today.spent, 10**18)
    assert sum(int(each["wei"]) for each in status["gas"]) == start - keepers.balance
    assert {each["vault"] for each in status["gas"]} == {stage.deployment.vault}

    post.endpoints('clock = "chain"\n', url="http://127.0.0.1:9")
    blind = post.status()
    (unseen,) = blind["accounts"]
    assert (unseen["wei"], unseen["daily_cap"], blind["ok"]) == (None, str(10**18), False)
    assert "No answer from the endpoint" in unseen["trouble"]
    assert (blind["vaults"], blind["gas"]) == (status["vaults"], status["gas"])
    assert f"{payer} on chain {stage.devnet.chain_id}: TROUBLE" in post.keeper("status").stdout

    refused = post.keeper("export", "--format", "xls")
    assert refused.returncode == 2
    assert "expected csv or beancount, saw xls" in refused.stderr


def entry(text: str, amount: int = 1, decimals: int = 18) -> Entry:
    unit = Unit(text, decimals)
    postings = (Posting(("Assets", text), amount, unit), Posting(("Equity", text), -amount, unit))
    return Entry(1_700_000_000, 1, text, text, text, b"\x01", postings)


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_text_is_a_formula_to_a_spreadsheet(sign: str) -> None:
    text = f'{sign}HYPERLINK("http://x"),\n'
    rows = list(csv.DictReader(io.StringIO(as_csv([entry(text)]))))
    assert len(rows) == 2
    for row in rows:
        assert tuple(row) == COLUMNS
        assert [name for name, cell in row.items() if cell.startswith(sign)] in ([], ["amount"])
        assert row["what"] == "'" + text


@given(text=st.text(max_size=30), amount=st.integers(-(2**256), 2**256), decimals=st.integers(0, 24))
def test_any_entry_is_read_back_to_the_last_digit(text: str, amount: int, decimals: int) -> None:
    written = entry(text, amount, decimals)
    rows = list(csv.DictReader(io.StringIO(as_csv([written]), newline="")))
    assert [int(row["amount"].replace(".", "")) for row in rows] == [amount, -amount]
    assert all(len(row["amount"].partition(".")[2]) == decimals for row in rows)


NAMES = (
    'a "quoted" \\ name',
    "aave:USDC",
    "USDC.e",
    "x",
    "9lives",
    "Ünïcode",
    "",
    "-",
    "a\nb",
    "long" * 20,
    "ABCDEFGHIJKLMNOPQRS-XY",
)


@pytest.mark.parametrize("text", NAMES)
def test_whatever_it_is_called_a_bookkeeper_can_read_it(text: str) -> None:
    _, errors, _ = loader.load_string(as_beancount([entry(text), entry(text, 2)]))
    assert errors == []
