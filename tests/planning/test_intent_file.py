"""Files of intents, as people write them."""

import json
from pathlib import Path

import pytest

from keeper.connectors.base import EVERYTHING
from keeper.errors import ConfigError
from keeper.planning.intent_file import read
from keeper.planning.intents import Hold, Intents, Move, Target

HEAD = 'author = "desk"\nreason = "why"\n'


def written(folder: Path, *intents: str, head: str = HEAD) -> Intents:
    path = folder / "intents.toml"
    path.write_text(head + "\n".join(f"[[intents]]\n{each}" for each in intents))
    return read(path, decimals=6, issued_at=7)


@pytest.mark.parametrize(
    ("amount", "assets"),
    [
        ('amount = "1250.5"', 1_250_500_000),
        ('amount = "0.000001"', 1),
        ('amount = "1e3"', 10**9),
        ('amount = "all"', EVERYTHING),
        ("assets = 17", 17),
    ],
)
def test_amounts_are_exact(tmp_path: Path, amount: str, assets: int) -> None:
    (intent,) = written(tmp_path, f'kind = "move"\nsource = "a"\ndestination = "b"\n{amount}').intents
    assert intent == Move(source="a", destination="b", assets=assets)


def test_times_are_seconds_and_the_file_may_say_when_it_was_issued(tmp_path: Path) -> None:
    until = ['kind = "hold"\nuntil = 1970-01-01T01:00:09+01:00', 'kind = "hold"\nuntil = 9']
    assert written(tmp_path, *until).intents == (Hold(until=9), Hold(until=9))
    assert written(tmp_path, *until).issued_at == 7
    assert written(tmp_path, *until, head=f"{HEAD}issued_at = 8\n").issued_at == 8


def test_json_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "intents.json"
    path.write_text(
        json.dumps(
            {
                "author": "desk",
                "reason": "why",
                "intents": [
                    {"kind": "target", "venue": "a", "share_bps": 5},
                    {"kind": "hold", "until": "1970-01-01T00:00:09Z"},
                ],
            }
        )
    )
    assert read(path, decimals=6, issued_at=7).intents == (Target(venue="a", share_bps=5), Hold(until=9))


@pytest.mark.parametrize(
    ("intent", "message"),
    [
        ('kind = "hold"\nuntil = 2999-01-01T00:00:00', "without its offset from UTC"),
        ('kind = "hold"\nuntil = "soon"', "Not a time"),
        ('kind = "unwind"\nvenue = "a"\nvenu = "a"', "did you mean 'venue'"),
        ('kind = "target"\nvenue = "a"\namount = 1.5', "Not an amount"),
        ('kind = "target"\nvenue = "a"\namount = "1.0000001"', "at most 6 decimals"),
        ('kind = "target"\nvenue = "a"\namount = "-1"', "Not an amount"),
        ('kind = "target"\nvenue = "a"\namount = "NaN"', "Not an amount"),
        ('kind = "target"\nvenue = "a"\namount = "1e77"', "Not an amount"),
        ('kind = "target"\nvenue = "a"\namount = "1"\nassets = 1', "Either amount or assets"),
        ('kind = "target"\nvenue = "a"\nassets = 1.5', "intents.0.target.assets"),
        ('kind = "buy"\nvenue = "a"', "intents.0"),
        ("kind = ", "Neither TOML nor JSON"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, intent: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        written(tmp_path, intent)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "intents.json"
    wrong = {
        "[" * 70_000: "Too large",
        "[" * 2_000: "Neither",
        # Python's own reader would end the process.
        "[" * 60_000: "Neither",
        "[]": "is a table",
        '{"intents": 3}': "intents",
    }
    for text, message in wrong.items():
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            read(path, decimals=6, issued_at=7)
    with pytest.raises(ConfigError, match="Cannot read"):
        read(tmp_path / "none.toml", decimals=6, issued_at=7)
