"""Packages that bring what they may not, or cannot."""

from pathlib import Path

import pytest
from packages import install

from keeper import plugins
from keeper.errors import ConfigError

GROUP = "keeper.connectors"


@pytest.mark.parametrize("value", ["not_there:Thing", "json:NotThere"])
def test_one_that_cannot_be_imported_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    install(tmp_path, "other", {GROUP: {"broken": value}})
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=f"Cannot import what a package brings .*expected {value}"):
        plugins.load(GROUP, "broken", "Unknown")


def test_no_package_stands_in_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "other", {GROUP: {"aave_v3": "json:loads"}})
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"Two packages bring what only one may .*json:loads and keeper"):
        plugins.load(GROUP, "aave_v3", "Unknown")
