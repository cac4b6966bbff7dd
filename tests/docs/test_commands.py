"""Every command and every block of the pages works, in the order a reader meets them."""

import tomllib
from pathlib import Path

import pytest
from pages import PAGES, PROMPT, ROOT, blocks, text
from walk import ELSEWHERE, read_page, walking

LANGUAGES = {"console", "python", "toml", "solidity"}


@pytest.mark.parametrize("page", PAGES)
def test_the_page_can_be_followed_from_top_to_bottom(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with walking(tmp_path) as walk:
        read_page(page, walk)
    listed = [line for line in text(page).splitlines() if line.startswith(PROMPT)]
    assert len(walk.executed) == len(listed) > 0


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_of_a_kind_that_is_checked(page: str) -> None:
    found = blocks(text(page))
    assert text(page).count("\n```") == 2 * len(found)
    assert {block.language for block in found} <= LANGUAGES
    for block in found:
        if block.language == "console":
            assert block.text.startswith(PROMPT), f"{page}:{block.line}"
        if block.language == "toml":
            assert tomllib.loads(block.text)


def test_what_another_test_executes_is_what_the_page_says() -> None:
    commands = [
        command
        for page in PAGES
        for block in blocks(text(page))
        if block.language == "console"
        for command, _ in block.commands()
    ]
    for command, elsewhere in ELSEWHERE.items():
        assert command in commands
        arguments = ", ".join(f'"{word}"' for word in command.split()[1:])
        assert f'"keeper.ops.cli", {arguments}]' in (ROOT / elsewhere).read_text()


def test_the_solidity_shown_is_what_the_forge_tests_run() -> None:
    (block,) = [each for each in blocks(text("simulators.md")) if each.language == "solidity"]
    tested = (ROOT / "contracts" / "test" / "Devnet.sol").read_text().splitlines()
    assert set(block.text.splitlines()) <= {line.strip() for line in tested}
