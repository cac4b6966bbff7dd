"""What `make` says, in one line, when the machine lacks what it needs."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEEDED = (
    "Makefile",
    "package.json",
    "package-lock.json",
    "pyproject.toml",
    "requirements.txt",
    "foundry.toml",
)
COMMANDS = ("sh", "find", "head", "touch")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files that set-up starts from, and nothing set up."""
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in NEEDED:
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A PATH with a shell's commands and neither Python nor Node."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in COMMANDS:
        found = shutil.which(name)
        assert found is not None, name
        (folder / name).symlink_to(found)
    return folder


def program(machine: Path, name: str, body: str) -> Path:
    path = machine / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def make(clone: Path, machine: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = shutil.which("make")
    assert command is not None
    # A bare environment: nothing of a make around this test may reach it.
    environment = {"PATH": str(machine), "HOME": str(clone)}
    return subprocess.run(
        [command, *arguments],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def own_line(done: subprocess.CompletedProcess[str]) -> str:
    """The one line said by the Makefile; make itself adds which rule failed."""
    lines = [line for line in done.stderr.splitlines() if "***" not in line]
    assert len(lines) == 1, done.stderr
    assert done.stdout == ""
    assert done.returncode == 2
    return lines[0]


@pytest.mark.parametrize("target", ["setup", "demo", "test"])
def test_an_old_python_is_named_with_what_to_do(clone: Path, machine: Path, target: str) -> None:
    old = program(machine, "python3.9", '[ "$1" = --version ] && echo "Python 3.9.18" && exit 0\nexit 1')
    said = own_line(make(clone, machine, f"PYTHON={old}", target))
    assert said == (
        "make: Python 3.11 or newer is needed, found Python 3.9.18. Name another: make PYTHON=python3.12"
    )
    assert not (clone / ".venv").exists()


def test_a_missing_python_is_said_in_one_line(clone: Path, machine: Path) -> None:
    said = own_line(make(clone, machine, "setup"))
    assert said.startswith("make: Python 3.11 or newer is needed, found ")
    assert "not found" in said


def with_python(clone: Path) -> None:
    """As if the Python half of the set-up had been done."""
    (clone / ".venv").mkdir()
    (clone / ".venv" / ".stamp").touch()


@pytest.mark.parametrize("target", ["setup", "demo", "test"])
def test_a_missing_node_is_said_in_one_line(clone: Path, machine: Path, target: str) -> None:
    with_python(clone)
    said = own_line(make(clone, machine, target))
    assert said == (
        "make: Node 20 or newer is needed, found none. Install it and its npm, then run make again"
    )
    assert not (clone / "node_modules").exists()


def test_an_old_node_is_named(clone: Path, machine: Path) -> None:
    with_python(clone)
    program(machine, "node", '[ "$1" = --version ] && echo v18.19.0 && exit 0\nexit 1')
    assert "Node 20 or newer is needed, found v18.19.0." in own_line(make(clone, machine, "setup"))
