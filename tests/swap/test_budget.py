"""Rate budgets, LiFi's errors, the published diamonds, and a key that nobody sees."""

import json
import logging
import os
from pathlib import Path

import lifi as generator
import pytest
from aiohttp import web
from local_http import serving

from keeper.clock import FixedClock
from keeper.config import EndpointUrl, load_toml
from keeper.contracts import artifact
from keeper.contracts.abi import Function
from keeper.errors import ConfigError, PolicyError
from keeper.swap import deployments
from keeper.swap.budget import FIRST_REST, WINDOW, RateBudget
from keeper.swap.client import LiFi, LiFiConfig
from keeper.swap.refusals import API_ERRORS, STATUSES, TOOL_ERRORS, Action, LiFiError, RateBudgetError, action
from keeper.units import Address

NOW = 1_800_000_000
PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "lifi"
DIAMOND = Address("0x1231DEB6f5749EF6cE6943a275A1D3E7486F4EaE")


def headers(remaining: int, reset: int = 600) -> dict[str, str]:
    return {"ratelimit-remaining": str(remaining), "ratelimit-reset": str(reset), "ratelimit-limit": "75"}


def test_a_budget_is_counted_down_and_refills_at_the_time_it_says(tmp_path: Path) -> None:
    budget = RateBudget(tmp_path / "budget.json")
    budget.take("quote", NOW)
    budget.observe("quote", NOW, headers(2))
    budget.take("quote", NOW)
    budget.take("quote", NOW + 1)
    with pytest.raises(RateBudgetError, match=r"a request left of 75.*2027-01-15 08:10:00 UTC"):
        budget.take("quote", NOW + 599)
    budget.take("routes", NOW)
    budget.take("quote", NOW + 600)


def test_another_process_goes_on_with_what_is_left(tmp_path: Path) -> None:
    RateBudget(tmp_path / "budget.json").observe("quote", NOW, headers(1))
    child = os.fork()
    if not child:
        RateBudget(tmp_path / "budget.json").take("quote", NOW)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    with pytest.raises(RateBudgetError):
        RateBudget(tmp_path / "budget.json").take("quote", NOW)


def test_an_answer_that_comes_late_gives_nothing_back(tmp_path: Path) -> None:
    budget = RateBudget(tmp_path / "budget.json")
    budget.observe("quote", NOW, headers(1))
    budget.observe("quote", NOW, headers(50))
    budget.take("quote", NOW)
    with pytest.raises(RateBudgetError):
        budget.take("quote", NOW)


def test_what_a_rolling_window_gives_back_is_counted(tmp_path: Path) -> None:
    budget = RateBudget(tmp_path / "budget.json")
    for number in range(200):
        now = NOW + number * 600
        budget.take("quote", now)
        budget.observe("quote", now, headers(70, WINDOW))


def test_no_answer_shuts_us_out_for_longer_than_a_window(tmp_path: Path) -> None:
    budget = RateBudget(tmp_path / "budget.json")
    assert budget.exhaust("quote", NOW, headers(0, 10**10)).refills_at == NOW + WINDOW
    assert budget.exhaust("quote", NOW, {}).refills_at == NOW + FIRST_REST
    assert budget.exhaust("quote", NOW, {"retry-after": "7"}).refills_at == NOW + 7


def test_the_record_of_a_configuration_is_beside_its_file(tmp_path: Path) -> None:
    file = tmp_path / "lifi.toml"
    file.write_text('url = "https://li.quest"\nbudget_file = "budget.json"\n')
    assert load_toml(file, LiFiConfig).beside(tmp_path).budget_file == tmp_path / "budget.json"


@pytest.mark.parametrize("place", ["file/budget.json", "folder.json"])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("A file where the folder would be.")
    (tmp_path / "folder.json").mkdir()
    budget = RateBudget(tmp_path / place)
    with pytest.raises(ConfigError, match=r"record of rate budgets .*\.json"):
        budget.observe("quote", NOW, {"ratelimit-remaining": "1", "ratelimit-reset": "5"})


def test_a_record_needs_a_name() -> None:
    with pytest.raises(ConfigError, match="No file for the record"):
        RateBudget(Path())


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "budget.json").write_text('{"quote": {"remaining": "many"}}')
    with pytest.raises(ConfigError, match=r"budget\.json"):
        RateBudget(tmp_path / "budget.json").take("quote", NOW)


def documented() -> tuple[set[int], set[str], set[int]]:
    """Codes, tool codes and HTTP statuses of the published list."""
    codes, tools, statuses = set(), set(), set()
    for line in (PUBLISHED / "openapi" / "lifi-error-codes.yml").read_text().splitlines():
        name, _, value = line.removeprefix("- ").partition(": ")
        if line.startswith("- code: ") and value.isdigit():
            codes.add(int(value))
        elif line.startswith("- code: "):
            tools.add(value)
        elif name == "status":
            statuses.add(int(value))
    return codes, tools, statuses


def test_every_documented_error_has_an_action() -> None:
    codes, tools, statuses = documented()
    assert len(codes) == 14
    assert len(tools) == 11
    assert codes == set(API_ERRORS)
    assert tools <= set(TOOL_ERRORS)
    assert statuses <= set(STATUSES)


def test_the_package_s_deployments_are_the_published_ones() -> None:
    assert generator.deployments(PUBLISHED) == deployments.content()


@pytest.mark.parametrize(
    ("status", "code", "tools", "expected"),
    [
        (404, 1002, ("INSUFFICIENT_LIQUIDITY", "TOOL_TIMEOUT", "NO_POSSIBLE_ROUTE"), Action.RETRY),
        (404, None, ("NO_POSSIBLE_ROUTE", "AMOUNT_TOO_HIGH"), Action.REQUOTE),
        (404, 1002, ("NO_POSSIBLE_ROUTE",), Action.GIVE_UP),
        (404, 1002, (), Action.GIVE_UP),
        (404, 1002, ("SOMETHING_NEW",), Action.ALERT),
        (400, 1011, ("TOOL_TIMEOUT",), Action.ALERT),
        (500, None, (), Action.RETRY),
        (418, None, (), Action.ALERT),
        (500, 4_711, (), Action.ALERT),
    ],
)
def test_what_follows_an_error(
    status: int, code: int | None, tools: tuple[str, ...], expected: Action
) -> None:
    assert action(status, code, tools) is expected


def test_another_diamond_is_refused_where_lifi_s_is_known() -> None:
    deployments.check(42_161, DIAMOND)
    other = Address("0x" + "11" * 20)
    with pytest.raises(PolicyError, match=f"chain 42161.*expected {DIAMOND}"):
        deployments.check(42_161, other)
    deployments.check(31_337, other)


def test_the_selectors_are_the_published_ones_and_those_of_the_local_facet() -> None:
    published = deployments.content()["selectors"]
    assert {
        each.signature: "0x" + each.selector.hex() for each in (deployments.SINGLE, deployments.MULTIPLE)
    } == (published)
    local = {each["name"] for each in artifact("GenericSwapFacet").abi if each["type"] == "function"}
    assert {Function(each).name for each in published} == local


def kept(folder: Path) -> str:
    """All that was written down."""
    return "".join(each.read_text() for each in folder.iterdir())


def keyed(url: str, folder: Path) -> LiFiConfig:
    file = folder / "b.json"
    return LiFiConfig(url=EndpointUrl(url), api_key_env="LIFI_KEY", budget_file=file, wait_milliseconds=0)


async def test_the_key_is_sent_and_never_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFI_KEY", "s3cr3t\n")
    caplog.set_level(logging.DEBUG)
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("x-lifi-api-key"))
        return web.json_response({"message": "busy"}, status=503)

    async with serving(answer) as url, LiFi(keyed(url, tmp_path), FixedClock(NOW)) as lifi:
        with pytest.raises(LiFiError, match="refuses: busy") as refused:
            await lifi.step_transaction({})
    assert seen == ["s3cr3t"] * 3, "asked three times"
    said = f"{refused.value} {keyed(url, tmp_path)!r} {json.dumps(refused.value.as_dict())}"
    assert "aiohttp" in caplog.text or "asyncio" in caplog.text, "the libraries' own lines are there"
    said += kept(tmp_path) + caplog.text
    assert "s3cr3t" not in said


@pytest.mark.parametrize("status", [200, 400])
async def test_an_answer_that_repeats_the_key_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("LIFI_KEY", "s3cr3t")

    async def answer(request: web.Request) -> web.Response:
        key = request.headers["x-lifi-api-key"]
        return web.json_response({"message": f"no {key}", "errors": [{"code": key}]}, status=status)

    async with serving(answer) as url, LiFi(keyed(url, tmp_path), FixedClock(NOW)) as lifi:
        with pytest.raises(LiFiError, match="repeats the API key") as refused:
            await lifi.step_transaction({})
    assert refused.value.action is Action.ALERT
    assert "s3cr3t" not in f"{refused.value} {json.dumps(refused.value.as_dict())}"


def test_a_key_that_is_named_and_not_there_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Environment variable is not set: expected LIFI_KEY"):
        LiFi(keyed("http://127.0.0.1:9", tmp_path), FixedClock(NOW))
