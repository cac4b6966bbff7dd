"""The file that goes from owner to owner: what is in it is checked, not believed."""

import json
from pathlib import Path
from typing import Any

import pytest
from safe_world import KEYS, OWNERS, envelope, place, settlement, signed

from keeper.errors import ConfigError, DecodeError, KeeperError, PlanError, QuorumError
from keeper.safe.envelope import MAX_BYTES, Envelope, load, save
from keeper.safe.transaction import calls_of, plan_call


def fully_signed() -> Envelope:
    made = envelope(1, 2)
    return made.with_signatures([signed(made.hash, key) for key in KEYS])


def test_a_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    made = fully_signed()
    save(made, tmp_path / "tx.json", new=True)
    assert load(tmp_path / "tx.json") == made
    assert [each.signer for each in made.signatures] == sorted(OWNERS, key=lambda each: int(each, 16))


def test_the_transaction_does_what_the_plans_say_and_in_their_order() -> None:
    made = envelope(1, 2)
    expected = tuple(plan_call(plan, made.portfolio) for plan in made.plans)
    assert calls_of(made.transaction, made.multi_send) == expected
    assert envelope(2, 1).hash != made.hash


def test_a_proposal_never_replaces_a_file(tmp_path: Path) -> None:
    save(envelope(1), tmp_path / "tx.json", new=True)
    with pytest.raises(ConfigError, match="exists"):
        save(envelope(2), tmp_path / "tx.json", new=True)
    assert load(tmp_path / "tx.json") == envelope(1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nonce", 5),
        ("chain_id", 1),
        ("safe", place(0x5B)),
        ("portfolio", "0x90"),
        ("multi_send", place(0x3E)),
        ("multi_send", None),
        ("safe_tx_hash", "0x" + "00" * 32),
        ("plans", ["0x" + settlement(1).to_bytes().hex()]),
        ("plans", []),
        ("plans", ["0xzz"]),
        ("plans", ["0x" + settlement(1).to_bytes().hex()] * 2),
        ("signatures", [{"owner": OWNERS[0], "signature": "0x" + "00" * 65}]),
        ("signatures", [{"owner": OWNERS[0], "signature": "0x", "by": "me"}]),
        ("format", "another"),
        ("version", 2),
        ("nonce", -1),
        ("nonce", "4"),
        ("comment", "unknown"),
    ],
)
def test_a_file_with_one_thing_changed_is_refused(name: str, value: object) -> None:
    body: dict[str, Any] = json.loads(fully_signed().to_json())
    assert Envelope.from_json(json.dumps(body)) == fully_signed()
    with pytest.raises(KeeperError):
        Envelope.from_json(json.dumps(body | {name: value}))


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, '{"nonce": 1, "nonce": 2}', "\x00"])
def test_what_is_no_such_file_is_refused(text: str) -> None:
    with pytest.raises((ConfigError, DecodeError)):
        Envelope.from_json(text)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tx.json").write_text(" " * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="too large"):
        load(tmp_path / "tx.json")


def test_signatures_of_two_files_are_merged_once_each() -> None:
    made = envelope(1)
    one, two, both = (
        made.with_signatures([signed(made.hash, key) for key in keys])
        for keys in (KEYS[:1], KEYS[1:2], KEYS[:2])
    )
    assert one.merge(two) == two.merge(one) == both == both.merge(one)


def test_files_of_different_transactions_do_not_merge() -> None:
    with pytest.raises(QuorumError, match="different Safe transactions"):
        envelope(1).merge(envelope(1, nonce=5))


def test_a_signature_of_another_transaction_is_refused() -> None:
    with pytest.raises(QuorumError, match="another digest"):
        envelope(1).with_signatures([signed(envelope(2).hash, KEYS[0])])


def test_two_plans_for_one_slot_make_no_transaction() -> None:
    with pytest.raises(PlanError, match="one slot"):
        envelope(1, 1)
