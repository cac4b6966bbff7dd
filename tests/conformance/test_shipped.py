"""The connectors that ship pass, and the command says so."""

import json
from importlib.metadata import entry_points

import pytest

from keeper.conformance import kit
from keeper.conformance.suite import CHECKS, conform
from keeper.connectors import base
from keeper.errors import ConfigError
from keeper.ops.cli import main
from keeper.simulation.devnet import Devnet

SHIPPED = tuple(
    sorted(entry.name for entry in entry_points(group=kit.ENTRY_POINTS) if entry.value.startswith("keeper."))
)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_connector_passes_every_check(name: str, devnet: Devnet) -> None:
    head = devnet.block()["hash"]
    scores = list(conform(name, devnet))
    assert {score.name: score.reason for score in scores if not score.passed} == {}
    assert [score.name for score in scores] == list(CHECKS)
    assert devnet.block()["hash"] == head, "the chain is left as it was"


def test_every_shipped_connector_to_a_protocol_has_a_kit() -> None:
    protocols = {"aave_v3", "metamorpho", "morpho_blue", "uniswap_v3"}
    assert protocols & set(base.names()) == set(SHIPPED)


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["connector", "test", "aave_v3", "--check", "gas", "--check", "permissions"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["check", "result", "figure"]
    assert lines[1].startswith("gas          pass    report 34,")
    assert lines[2].startswith("permissions  pass")
    assert lines[-1] == "2 of 2 checks passed"


def test_the_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["connector", "test", "metamorpho", "--check", "solvency", "--json"])
    assert ended.value.code == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["connector"], said["ok"]) == ("metamorpho", True)
    assert said["checks"] == [
        {"name": "solvency", "passed": True, "figure": "it cannot borrow", "reason": "", "applies": False}
    ]


def test_a_connector_without_a_kit_is_named(devnet: Devnet) -> None:
    with pytest.raises(ConfigError, match=r"no kit to test this connector.*Did you mean aave_v3\?"):
        list(conform("aave_v4", devnet))


def test_a_check_that_does_not_exist_is_named(devnet: Devnet) -> None:
    with pytest.raises(ConfigError, match=r"no such check.*saw luck"):
        list(conform("aave_v3", devnet, only=["luck"]))


def test_the_list_says_what_can_be_tested(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["connector", "list"])
    assert set(SHIPPED) <= set(capsys.readouterr().out.split("\n"))
