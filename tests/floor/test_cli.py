import asyncio
import json
import sys
from pathlib import Path

import pytest

from keeper import ENGINE_VERSION
from keeper.ops.cli import COMMANDS
from keeper.ops.output import amount, plain

IMPORTS = """
import sys
from keeper.ops.cli import main
try:
    main(["--help"])
except SystemExit as end:
    assert not end.code
print("\\n" + " ".join(sys.modules))
"""

# A command module as an owner of a command would write it, and a table with it.
MODULE = """
import typer
from keeper.errors import EndpointDownError
from keeper.ops.output import JsonOption, show

app = typer.Typer()

@app.callback()
def group() -> None: ...

@app.command()
def ok(name: str, json: JsonOption = False) -> None:
    show({"ok": True, "name": name, "nav": 2**60}, f"hello {name}", json=json)

@app.command()
def no(json: JsonOption = False) -> None:
    show({"ok": False}, "a check failed", json=json)
    raise typer.Exit(1)

@app.command()
def down(json: JsonOption = False) -> None:
    raise EndpointDownError("No answer", where="http://host", seen="refused")

@app.command()
def defect() -> None:
    raise RuntimeError("a defect")

@app.command()
def interrupted() -> None:
    raise KeyboardInterrupt
"""
RUN = """
import sys
from keeper.ops.cli import Command, main
main(sys.argv[1:], [Command("sample", "sample_command", "A sample.")])
"""


async def python(*args: str, folder: Path | None = None) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *args, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("module", ["keeper.ops.commands.status", "keeper.simulation.replica"])
async def test_what_needs_no_key_does_not_import_the_tables_of_curves(module: str) -> None:
    code, out, err = await python("-c", f"import sys, {module}; print('eth_account' in sys.modules)")
    assert (code, out.strip(), err) == (0, "False", "")


async def test_complaint_09_root_help_imports_no_command_and_no_heavy_module() -> None:
    code, out, err = await python("-c", IMPORTS)
    assert (code, err) == (0, "")
    help_text, modules = out.rsplit("\n", 2)[0], set(out.split())
    assert all(command.name in help_text for command in COMMANDS)
    heavy = {"web3", "sqlmodel", "scipy", "aiohttp", "pydantic", "eth_abi"}
    assert not {name for name in modules if name.startswith("keeper.ops.commands") or name in heavy}
    assert "keeper.ops.cli" in modules


async def test_version_names_the_engine() -> None:
    assert await python("-m", "keeper.ops.cli", "--version") == (0, ENGINE_VERSION + "\n", "")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sample_command.py").write_text(MODULE)
    (tmp_path / "run.py").write_text(RUN)
    return tmp_path


async def test_command_receives_its_arguments_and_options(folder: Path) -> None:
    assert await python("run.py", "sample", "ok", "Ada", folder=folder) == (0, "hello Ada\n", "")
    code, out, _ = await python("run.py", "sample", "ok", "--json", "Ada", folder=folder)
    assert (code, json.loads(out)) == (0, {"ok": True, "name": "Ada", "nav": str(2**60)})


async def test_help_of_a_command_is_its_own(folder: Path) -> None:
    code, out, _ = await python("run.py", "sample", "ok", "--help", folder=folder)
    assert code == 0
    assert "keeper sample ok" in out
    assert "--json" in out


async def test_failed_check_ends_with_1(folder: Path) -> None:
    assert await python("run.py", "sample", "no", folder=folder) == (1, "a check failed\n", "")


@pytest.mark.parametrize(
    "args", [["sample", "ok"], ["nothing"], ["sample", "ok", "x", "--nothing"], ["--nothing"]]
)
async def test_wrong_usage_ends_with_2(folder: Path, args: list[str]) -> None:
    code, out, err = await python("run.py", *args, folder=folder)
    assert (code, out) == (2, "")
    assert "Usage: keeper" in err


async def test_keeper_error_is_one_line_with_its_own_code(folder: Path) -> None:
    code, out, err = await python("run.py", "sample", "down", folder=folder)
    assert (code, out, err) == (3, "", "keeper: No answer [http://host]: saw refused\n")


async def test_keeper_error_is_an_object_with_json(folder: Path) -> None:
    code, out, _ = await python("run.py", "sample", "down", "--json", folder=folder)
    error = {"kind": "EndpointDownError", "message": "No answer", "where": "http://host", "seen": "refused"}
    assert (code, json.loads(out)) == (3, {"ok": False, "error": error})


@pytest.mark.parametrize("command", [["sim", "replay"], ["snapshot", "show"], ["safe", "show"]])
async def test_another_file_than_the_one_meant_is_no_defect(folder: Path, command: list[str]) -> None:
    (folder / "notes.txt").write_text("buy milk")
    code, out, err = await python("-m", "keeper.ops.cli", *command, "notes.txt", folder=folder)
    assert (code, out) == (1, "")
    assert "[notes.txt]" in err


async def test_defect_shows_its_traceback_and_ends_with_5(folder: Path) -> None:
    code, _, err = await python("run.py", "sample", "defect", folder=folder)
    assert code == 5
    assert "RuntimeError: a defect" in err


async def test_interruption_ends_with_130(folder: Path) -> None:
    code, _, err = await python("run.py", "sample", "interrupted", folder=folder)
    assert code == 130
    assert "Traceback" not in err


def test_amounts_carry_separators_and_units() -> None:
    assert amount(1_234_567_890, 6, "USDC") == "1,234.567890 USDC"
    assert amount(-1, 6, "USDC") == "-0.000001 USDC"
    assert amount(5, 0, "blocks") == "5 blocks"


def test_json_keeps_large_integers_exact() -> None:
    assert plain({"a": (2**53, 2**53 - 1, b"\x01", True, None)}) == {
        "a": [str(2**53), 2**53 - 1, "0x01", True, None]
    }
