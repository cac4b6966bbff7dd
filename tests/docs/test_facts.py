"""What the pages list is what the code has: no key, code or role too few or too many."""

import re
import tomllib
from collections.abc import Iterator
from typing import get_args

from network_faults import REFUSED, REORGANISED, ROWS
from pages import blocks, first_column, prose, text
from pydantic import BaseModel

from keeper.chain.pool import ChainEndpoints, Endpoints, EndpointSettings, PrivateSettings
from keeper.config import parse
from keeper.contracts import artifact
from keeper.errors import EndpointError, KeeperError
from keeper.execution.breakers import BreakerLimits
from keeper.execution.journal.journal import LEASE_SECONDS
from keeper.execution.journal.vaults import Breaker
from keeper.execution.loop import Schedule
from keeper.ledger.vault import LOSS_WINDOW, MAX_FALL, MAX_UNREAD_FALL
from keeper.ops.cli import INTERNAL, INTERRUPTED
from keeper.ops.commands import demo
from keeper.ops.running import RunConfig, VaultSettings
from keeper.oracle.chainlink import ChainlinkPolicy
from keeper.oracle.checked import CheckedPolicy
from keeper.oracle.receipts import ATokenPolicy, ERC4626Policy, StakedEtherPolicy
from keeper.oracle.twap import TwapPolicy
from keeper.planning.policy import Policy
from keeper.quorum import signer_service
from keeper.quorum.collect import Outcome
from keeper.quorum.key import KeySource
from keeper.quorum.signer_service import SignerConfig
from keeper.quorum.tls import TlsSettings
from keeper.simulation.accounts import ROLES
from keeper.simulation.build import GENESIS
from keeper.simulation.demo import Day
from keeper.simulation.devnet import BuiltChain
from keeper.swap.client import LiFiConfig
from keeper.swap.refusals import API_ERRORS, STATUSES, TOOL_ERRORS, Action
from keeper.units import WAD

OPERATORS = text("operators.md")
SIMULATORS = text("simulators.md")
LIFI = text("lifi.md")


def codes(documentation: str | None) -> set[str]:
    """The codes that a docstring lists after "Codes"."""
    assert documentation is not None
    return set(re.findall(r"`([a-z_]+)`", documentation.partition("\nCodes")[2] or documentation))


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted names of every key, as the page writes them."""
    for name, field in model.model_fields.items():
        inner = [each for each in (field.annotation, *get_args(field.annotation)) if _is_model(each)]
        if not inner:
            yield prefix + name
            continue
        marks = {
            "chains": "chains.<id>",
            "positions": "positions[]",
            "tokens": "tokens.<symbol>",
            "routes": "routes[]",
            "hops": "hops[]",
            "path": "path[]",
            "targets": "targets[]",
        }
        yield from keys(inner[0], f"{prefix}{marks.get(name, name)}.")


def _is_model(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def kinds(root: type[KeeperError]) -> Iterator[type[KeeperError]]:
    yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)


def test_every_key_of_the_policy_is_listed() -> None:
    assert sorted(first_column(OPERATORS, "Key | Meaning")) == sorted(keys(Policy))


def test_every_key_of_every_source_is_listed() -> None:
    rows = OPERATORS.split("\n| Kind | Other keys |\n", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    listed = {}
    for row in rows:
        kinds_of_row, others = (re.findall(r"`([a-z0-9_]+)`", cell) for cell in row.split("|")[1:3])
        listed |= {kind: set(others) - set(kinds_of_row) for kind in kinds_of_row}
    common = {"kind", "address", "base", "quote"}
    models = (ChainlinkPolicy, TwapPolicy, CheckedPolicy, ERC4626Policy, StakedEtherPolicy, ATokenPolicy)
    known = {get_args(each.model_fields["kind"].annotation)[0]: each for each in models}
    assert set(listed) == set(known)
    for kind, model in known.items():
        assert listed[kind] - set(known) == set(model.model_fields) - common, kind


def test_every_key_of_a_signers_file_is_named() -> None:
    missing = [
        name
        for model in (SignerConfig, KeySource, TlsSettings)
        for name in model.model_fields
        if name not in OPERATORS
    ]
    assert missing == []


def test_the_keepers_file_has_every_key_with_what_holds_without_it() -> None:
    (block,) = [each for each in blocks(OPERATORS) if each.file == "keeper.toml"]
    shown = tomllib.loads(block.text)
    config = parse(shown, RunConfig)
    assert (config.schedule, config.breakers, config.lease) == (Schedule(), BreakerLimits(), LEASE_SECONDS)
    for given, model in (
        (shown, RunConfig),
        (shown["schedule"], Schedule),
        (shown["breakers"], BreakerLimits),
        (shown["vaults"][0], VaultSettings),
    ):
        assert set(given) == set(model.model_fields)
    for breaker in Breaker:
        assert f"| `{breaker}` |" in OPERATORS


def test_every_refusal_has_its_advice() -> None:
    listed = first_column(OPERATORS, "Code | Meaning | What to do")
    assert len(listed) == len(set(listed))
    assert set(listed) == codes(signer_service.__doc__)


def test_every_code_of_the_collector_is_named() -> None:
    assert [code for code in codes(Outcome.__doc__) if f"`{code}`" not in OPERATORS] == []


def test_every_exit_code_is_listed() -> None:
    raised = {kind.exit_code for kind in kinds(KeeperError)} | {0, INTERNAL, INTERRUPTED}
    assert [int(code) for code in first_column(OPERATORS, "Code | Meaning")] == sorted(raised)


def test_every_call_to_a_contract_is_one_of_its_functions() -> None:
    calls = re.findall(r"`(Vault|Portfolio|Registry)\.(\w+)`", OPERATORS)
    functions = {
        name: {entry["name"] for entry in artifact(name).abi if entry["type"] == "function"}
        for name, _ in calls
    }
    assert [f"{name}.{function}" for name, function in calls if function not in functions[name]] == []
    listed = [
        *first_column(OPERATORS, "Call by anyone | When | What it does"),
        *first_column(OPERATORS, "Call by the guardian | What for"),
    ]
    assert set(listed) <= {f"{name}.{function}" for name, function in calls}
    assert len(listed) == len(set(listed)) == 13


def test_a_loss_window_opens_where_the_page_says_and_lasts_as_long() -> None:
    section = OPERATORS.partition("\n## Losses and late exits")[2].partition("\n## ")[0]
    tolerated, unread = (int(share) for share in re.findall(r"(\d+) %", section)[:2])
    assert [WAD * tolerated // 100, WAD * unread // 100] == [MAX_FALL, MAX_UNREAD_FALL]
    assert re.findall(r"a window of (\d+) hours", " ".join(section.split())) == [str(LOSS_WINDOW // 3600)]


def test_every_section_of_the_manifest_is_listed(built_chain: BuiltChain) -> None:
    manifest, _, rest = SIMULATORS.partition("\n## Accounts")
    assert first_column(manifest, "Key | Content") == list(built_chain.manifest)
    assert rest


def test_every_account_is_listed_in_order() -> None:
    section = prose(SIMULATORS).partition("\n## Accounts")[2].partition("\n## ")[0]
    assert re.findall(r"`(\w+)`[,.]", section) == list(ROLES)


def test_the_chains_start_when_the_page_says() -> None:
    assert GENESIS == 1_767_225_600
    assert "1 January 2026" in SIMULATORS


def test_every_key_of_the_demos_result_is_listed() -> None:
    section = SIMULATORS.partition("\n## The demo")[2]
    assert sorted(first_column(section, "Key | Content")) == sorted(demo._data(Day()))


def test_every_way_in_which_an_endpoint_fails_has_its_advice() -> None:
    listed = first_column(text("reads.md"), "Error | Seen | What to do")
    raised = {kind.__name__ for kind in kinds(EndpointError) if kind.__module__ == EndpointError.__module__}
    assert sorted(listed) == sorted({*raised, "DecodeError"} - {"EndpointError", "RpcError"})


def test_every_key_of_the_endpoints_file_is_named() -> None:
    page = text("reads.md")
    missing = [
        name
        for model in (Endpoints, ChainEndpoints, EndpointSettings)
        for name in model.model_fields
        if name not in page
    ]
    assert missing == []


def test_a_relay_s_section_has_every_key_with_what_holds_without_it() -> None:
    (block,) = [each for each in blocks(OPERATORS) if ".private]" in each.text]
    (chain,) = tomllib.loads(block.text)["chains"].values()
    shown = parse(chain["private"], PrivateSettings)
    assert set(chain["private"]) == set(PrivateSettings.model_fields)
    assert shown == PrivateSettings(url=shown.url)


def test_what_networks_do_is_shown_with_how_it_is_survived() -> None:
    rows = OPERATORS.split("\n| What happens | How it is survived |\n", 1)[1].split("\n\n", 1)[0].splitlines()
    shown = dict(row.strip("| ").split(" | ") for row in rows[1:])
    assert shown == {name: row.how for name, row in ROWS.items()} | REORGANISED | REFUSED


def test_every_key_of_lifi_s_file_is_listed() -> None:
    assert sorted(first_column(LIFI, "Key of the file | Meaning")) == sorted(keys(LiFiConfig))


def test_every_error_of_lifi_is_listed_with_its_action() -> None:
    rows = LIFI.split("\n| Action | Codes", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    listed: list[dict[str, Action]] = [{}, {}, {}]
    for row in rows:
        first, *columns = row.strip("|").split("|")
        for known, column in zip(listed, columns, strict=True):
            for code in re.findall(r"`(\w+)`", column):
                known[code] = Action(first.partition(":")[0].strip())
    assert listed[0] == {str(code): action for code, action in API_ERRORS.items()}
    assert listed[1] == TOOL_ERRORS
    assert listed[2] == {str(status): action for status, action in STATUSES.items()}
