"""The skeleton of a new connector, installed by pip in an environment of its own, is found and passes."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from keeper.conformance.skeleton import write
from keeper.errors import ConfigError

SECONDS = 240


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A new environment that sees what is installed here; returns its interpreter."""
    folder = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=SECONDS)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "host.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    return folder / "bin" / "python"


def test_a_package_installed_by_pip_is_found_and_tested_by_name(tmp_path: Path, environment: Path) -> None:
    source = tmp_path / "harbour"
    write("harbour", source)
    pip = [sys.executable, "-m", "pip", "--python", str(environment), "install", "--quiet"]
    flags = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([*pip, *flags, source], check=True, timeout=SECONDS)
    command = [environment, "-m", "keeper.ops.cli", "connector", "test", "harbour", "--json"]
    # From elsewhere, so that only what is installed can be found.
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert said["ok"]
    assert len(said["checks"]) == 11
    # This environment has never heard of it.
    here = [sys.executable, "-m", "keeper.ops.cli", "connector", "test", "harbour"]
    done = subprocess.run(here, cwd="/", capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 2
    assert "no kit to test this connector" in done.stderr


def test_the_name_of_a_skeleton_is_everywhere_its_own(tmp_path: Path) -> None:
    files = write("tide_pool", tmp_path / "new")
    assert "tide_pool/solidity/TidePoolConnector.sol" in files
    assert "tests/test_tide_pool.py" in files
    for file in files:
        assert "savings" not in (tmp_path / "new" / file).read_text().lower()


@pytest.mark.parametrize("name", ["Tide", "tide-pool", "1tide", "tide__pool", "", "../tide"])
def test_what_is_no_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Not a name"):
        write(name, tmp_path / "new")


def test_nothing_is_written_over(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="The folder exists"):
        write("tide", tmp_path)
    with pytest.raises(ConfigError, match="an installed connector of that name"):
        write("aave_v3", tmp_path / "new")
