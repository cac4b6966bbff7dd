"""The pages under docs/, taken apart: code blocks, commands, and what tables list."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = tuple(sorted(path.name for path in (ROOT / "docs").glob("*.md")))
PROMPT = "$ "

_FENCE = re.compile(r"^```(\S*)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block; `file` is the name after its language, if it has one."""

    line: int
    language: str
    file: str | None
    text: str

    def commands(self) -> Iterator[tuple[str, list[str]]]:
        """Each command with the lines of output the page shows for it."""
        lines = self.text.splitlines()
        starts = [index for index, line in enumerate(lines) if line.startswith(PROMPT)]
        for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
            yield lines[start].removeprefix(PROMPT), lines[start + 1 : end]


def text(page: str) -> str:
    return (ROOT / "docs" / page).read_text()


def blocks(content: str) -> list[Block]:
    return [
        Block(content.count("\n", 0, found.start()) + 1, found[1], found[2], found[3])
        for found in _FENCE.finditer(content)
    ]


def prose(content: str) -> str:
    """The page without its blocks."""
    return _FENCE.sub("", content)


def first_column(content: str, heading: str) -> list[str]:
    """What the table headed `heading` lists in its first column: code spans, or the bare text."""
    rows = content.split(f"\n| {heading} |\n", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    cells = [row.split("|")[1].strip() for row in rows]
    return [name for cell in cells for name in (_CODE.findall(cell) or [cell])]
