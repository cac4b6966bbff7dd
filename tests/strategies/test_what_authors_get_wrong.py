"""What a strategy's author gets wrong is said in a line that names the strategy and the place."""

import sys
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import pytest
from packages import install

from keeper.errors import ConfigError, PlanError
from keeper.planning.intents import settled
from keeper.planning.strategy import Allocation, decided, load

BOOK: Any = SimpleNamespace(allocation={"a": 5, "b": 0})
SOUND = """
from pydantic import BaseModel
from keeper.planning.strategy import Allocation
class Params(BaseModel):
    pass
class Draft:
    name, version = "draft", "1"
    def __init__(self, params):
        self.params = params
    def decide(self, book):
        return Allocation.of(book.allocation, "as it is")
"""


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The entry point of a package whose module is the text given."""
    module = f"draft_{crc32(request.node.name.encode())}"
    # A name of its own, as what is installed is remembered.
    text = request.param.replace('"draft"', f'"{module}"')
    (tmp_path / f"{module}.py").write_text(text)
    install(tmp_path, module, {"keeper.strategies": {module: f"{module}:Draft"}})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return module


def changed(old: str, new: str) -> str:
    assert old in SOUND
    return SOUND.replace(old, dedent(new))


@pytest.mark.parametrize("written", [SOUND], indirect=True)
def test_a_sound_one_decides(written: str) -> None:
    made = load(written, {})
    assert settled(decided(made, BOOK), BOOK) == Allocation((("a", 5), ("b", 0)), "as it is")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (changed("class Params(BaseModel):", "class Other(BaseModel):"), "no parameters"),
        (changed("class Params(BaseModel):", "class Params:"), "no parameters"),
        (changed("def __init__(self, params):", "def __init__(self):"), "made of its parameters alone"),
        (changed('name, version = "draft", "1"', 'name, version = "another", "1"'), "Not a strategy"),
        (changed('name, version = "draft", "1"', 'name, version = "draft", 1'), "Not a strategy"),
        (changed('name, version = "draft", "1"', 'name = "draft"'), "Not a strategy"),
        (changed("def decide(", "def decides("), "Not a strategy"),
        (changed("class Draft:", "class Draft"), "Cannot import what a package brings"),
        (changed("class Draft:", "class Drift:"), "Cannot import what a package brings"),
        ("import not_there\n" + SOUND, "Cannot import what a package brings"),
    ],
    indirect=["written"],
)
def test_what_is_no_strategy_is_refused(written: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        load(written, {})
    assert written in str(caught.value)


RETURNS = 'return Allocation.of(book.allocation, "as it is")'


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (changed(RETURNS, "pass"), "decides on an allocation or intents.*saw None"),
        (changed(RETURNS, "return {'a': 5}"), r"decides on an allocation or intents.*saw \{'a': 5\}"),
        (changed(RETURNS, "return [{'kind': 'hold'}]"), "decides on an allocation or intents"),
        (changed(RETURNS, "return ({'a': 5}, 'why')"), "decides on an allocation or intents"),
        (changed(RETURNS, "return Allocation.of({'a': 0.5, 'b': 0}, 'x')"), r"whole number \[a\].*saw 0\.5"),
        (changed(RETURNS, "return Allocation.of({'a': '5', 'b': 0}, 'x')"), r"whole number \[a\].*saw '5'"),
        (changed(RETURNS, "return Allocation.of({'a': True, 'b': 0}, 'x')"), r"whole number \[a\]"),
        (changed(RETURNS, "return Allocation.of({'a': 5, 'b': 0}, None)"), "reason of an allocation is text"),
        (
            changed(RETURNS, "return 1 // 0"),
            r"strategy fails \[draft_\d+, \S+draft_\d+\.py:11\].*ZeroDivision",
        ),
        (changed(RETURNS, "raise SystemExit(3)"), r"strategy fails .*SystemExit\(3\)"),
        (changed(RETURNS, "return next(iter(()))"), r"strategy fails .*StopIteration"),
    ],
    indirect=["written"],
)
def test_what_is_no_decision_is_refused(written: str, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        settled(decided(load(written, {}), BOOK), BOOK)
