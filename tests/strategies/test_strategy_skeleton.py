"""The skeleton of a new strategy, installed by pip in an environment of its own, is found and passes."""

import json
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from keeper.conformance.skeleton import render
from keeper.errors import ConfigError
from keeper.ops.commands.strategy import TEMPLATE
from keeper.planning.strategy import names

SECONDS = 120


def write(name: str, folder: Path) -> tuple[str, ...]:
    return render(TEMPLATE, "evenly", name, folder, kind="strategy", taken=names())


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(each) for each in command], cwd=cwd, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def test_what_is_written_passes_its_tests_once_installed(tmp_path: Path) -> None:
    environment, source = tmp_path / "environment", tmp_path / "tide_pool"
    made = run(sys.executable, "-m", "keeper.ops.cli", "strategy", "new", "tide_pool", "--json", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "tests/test_tide_pool.py" in json.loads(made.stdout)["files"]
    assert run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp_path).returncode == 0
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "host.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    flags = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    installed = run(*pip, *flags, source, cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr
    # Without the sources beside them: what passes is what was installed.
    (source / "tide_pool.py").unlink()
    tested = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=source)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "7 passed" in tested.stdout
    listed = run(python, "-m", "keeper.ops.cli", "strategy", "list", "--json", cwd=tmp_path)
    assert json.loads(listed.stdout)["strategies"] == ["composition", "tide_pool", "yield_allocation"]
    # This environment has never heard of it.
    assert names() == ("composition", "yield_allocation")


def test_the_name_of_a_skeleton_is_everywhere_its_own(tmp_path: Path) -> None:
    for file in write("tide_pool", tmp_path / "new"):
        assert "evenly" not in (tmp_path / "new" / file).read_text().lower()


def test_what_the_command_says_comes_next_works(tmp_path: Path) -> None:
    folder = tmp_path / "a folder" / "tide_pool"
    command = [sys.executable, "-m", "keeper.ops.cli", "strategy", "new", "tide_pool", "--dir", folder]
    said = run(*command, cwd=tmp_path).stdout.partition("Next:\n")[2].splitlines()
    environment = tmp_path / "environment"
    assert run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp_path).returncode == 0
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "host.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    python = environment / "bin" / "python"
    for line in said:
        program, *words = shlex.split(line)
        assert program == "python"
        # From where the package's folder itself could be taken for its module.
        done = run(python, *words, cwd=folder.parent)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "7 passed" in done.stdout


@pytest.mark.parametrize("name", ["keeper", "json", "class", "strategies", "allocation"])
def test_a_name_that_means_something_else_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"The name is one that .* uses"):
        write(name, tmp_path / "new")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="Cannot write the package"):
        write("tide", tmp_path / "file" / "new")


@pytest.mark.parametrize("name", ["Tide", "tide-pool", "1tide", "", "../tide"])
def test_what_is_no_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Not a name for a strategy"):
        write(name, tmp_path / "new")


def test_nothing_is_written_over(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="The folder exists"):
        write("tide", tmp_path)
    with pytest.raises(ConfigError, match="an installed strategy of that name"):
        write("yield_allocation", tmp_path / "new")
