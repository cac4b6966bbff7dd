"""What is counted, under which names, and when a keeper is well; in this process."""

import re
from collections.abc import Iterable

import aiohttp
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families as families
from specimens import HASH, specimen

from keeper.config import parse
from keeper.errors import ConfigError
from keeper.events import Event, PassFailed, PassFinished, PlanRefused, kinds
from keeper.execution.loop import Schedule
from keeper.ops.exporter import LATE_AFTER, Health, MetricsSettings, exporting
from keeper.ops.metrics import MAX_CODES, OTHER, Metrics

SCHEDULE = Schedule(poll=1, interval=10, deadline=20)
LIMIT = LATE_AFTER * 30


@pytest.fixture
def metrics() -> Metrics:
    """All of them, with values: an event of each kind has happened."""
    made = Metrics()
    for kind in kinds():
        made.hear(specimen(kind, breakers=("loss",)) if issubclass(kind, PassFinished) else specimen(kind))
    return made


def own(metrics: Metrics) -> Iterable[Metric]:
    """The keeper's, without when each was created."""
    found = families(metrics.text().decode())
    return [each for each in found if not re.match("process_|.*_created$", each.name)]


def test_names_keep_to_prometheus_conventions(metrics: Metrics) -> None:
    for each in own(metrics):
        assert re.fullmatch(r"keeper(_[a-z]+)+", each.name)
        assert each.documentation
        assert not each.documentation.endswith(".")
        # Base units only, the type not in the name, and the endings that belong to others left to them.
        words = set(each.name.split("_"))
        assert words.isdisjoint({"ms", "millis", "milliseconds", "minutes", "hours", "kb", "gwei", "percent"})
        assert words.isdisjoint({"counter", "gauge", "histogram", "sum", "count", "bucket", "created"})
        counted = {sample.name for sample in each.samples}
        assert any(name.endswith("_total") for name in counted) == (each.type == "counter")
        assert each.name.endswith("_seconds") == ("duration" in words or "timestamp" in words)
        for sample in each.samples:
            labels = set(sample.labels) - {"le"}
            assert all(re.fullmatch(r"[a-z][a-z_]*", label) for label in labels)


def test_no_label_holds_a_hash(metrics: Metrics) -> None:
    assert HASH.hex() not in metrics.text().decode()


def test_what_signers_call_their_refusals_cannot_grow_without_end(metrics: Metrics) -> None:
    for number in range(1_000):
        metrics.hear(specimen(PlanRefused, code=f"code {number}"))
    (refusals,) = [each for each in own(metrics) if each.name == "keeper_plan_refusals"]
    counted = {s.labels["code"]: s.value for s in refusals.samples if s.name.endswith("_total")}
    assert len(counted) == MAX_CODES + 1
    assert counted["code 0"] == 1
    assert sum(counted.values()) == 1_001
    assert counted[OTHER] == 1_001 - MAX_CODES


def test_two_keepers_in_one_process_count_for_themselves() -> None:
    first, second = Metrics(), Metrics()
    first.hear(specimen(PlanRefused))
    assert first.registry.get_sample_value("keeper_plan_refusals_total", _labels()) == 1
    assert second.registry.get_sample_value("keeper_plan_refusals_total", _labels()) is None


def _labels() -> dict[str, str]:
    return {"chain_id": str(2**200), "vault": "word", "code": "word"}


def ended(kind: type[Event], vault: str) -> Event:
    return specimen(kind, chain_id=1, vault=vault)


async def test_a_vault_without_a_pass_in_time_is_unwell_and_named() -> None:
    time = 1_000.0
    health = Health([(1, "0xa"), (1, "0xb")], SCHEDULE, lambda: time)

    async def asked() -> tuple[int, list[str]]:
        async with session.get(url.replace("/metrics", "/healthz")) as answer:
            said = await answer.json()
            assert said["ok"] == (answer.status == 200)
            return answer.status, said["late"]

    serving = exporting(MetricsSettings(listen="127.0.0.1:0"), Metrics(), health)
    async with serving as url, aiohttp.ClientSession() as session:
        assert await asked() == (503, ["1/0xa", "1/0xb"])
        health.hear(ended(PassFinished, "0xa"))
        assert await asked() == (503, ["1/0xb"])
        time += LIMIT - 1
        health.hear(ended(PassFailed, "0xb"))
        assert await asked() == (200, [])
        time += 1
        assert await asked() == (200, [])
        time += 1
        assert await asked() == (503, ["1/0xa"])
        async with session.post(url) as answer:
            assert answer.status == 405
        async with session.get(url + "/none") as answer:
            assert answer.status == 404


async def test_a_port_that_is_taken_is_refused() -> None:
    health = Health([], SCHEDULE)
    async with exporting(MetricsSettings(listen="127.0.0.1:0"), Metrics(), health) as url:
        place = url.removeprefix("http://").removesuffix("/metrics")
        with pytest.raises(ConfigError, match="Cannot listen"):
            async with exporting(MetricsSettings(listen=place), Metrics(), health):
                pass


@pytest.mark.parametrize("listen", ["", "9464", "localhost:9464", "127.0.0.1:", "127.0.0.1:65536", "::1"])
def test_what_is_no_address_with_a_port_is_refused(listen: str) -> None:
    with pytest.raises(ConfigError, match="ADDRESS:PORT"):
        parse({"listen": listen}, MetricsSettings)
