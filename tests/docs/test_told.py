"""What the page says of events, metrics and alert rules is what a keeper that runs has."""

import ast
import json
import re
import tomllib
from typing import Any

import pytest
import yaml
from pages import ROOT, blocks, text
from prometheus_client.parser import text_string_to_metric_families as families
from specimens import specimen

from keeper.config import parse
from keeper.events import BreakerTripped, kinds
from keeper.execution.loop import Schedule
from keeper.ops.exporter import LATE_AFTER, MetricsSettings
from keeper.ops.metrics import Metrics
from keeper.ops.running import RunConfig
from keeper.ops.webhook import ID, SIGNATURE, HeartbeatSettings, WebhookSettings, note

OPERATORS = text("operators.md")
RULES = yaml.safe_load((ROOT / "docs" / "alert-rules.yml").read_text())["groups"]
FUNCTIONS = {"time", "max", "by", "sum", "rate", "increase", "histogram_quantile"}
Labels = dict[str, set[str]]


def rows(heading: str) -> list[list[str]]:
    """The cells of a table."""
    lines = OPERATORS.split(f"\n| {heading} |\n", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.fixture(scope="module")
def told() -> Metrics:
    """Metrics for which an event of every kind has happened."""
    made = Metrics()
    for kind in kinds():
        made.hear(specimen(kind))
    return made


@pytest.fixture(scope="module")
def samples(told: Metrics) -> Labels:
    """What Prometheus stores: the names of samples, and their labels."""
    found: Labels = {"up": {"job"}}
    for family in families(told.text().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_every_event_has_its_severity() -> None:
    listed = [
        (name, severity)
        for names, severity, _ in rows("Event | Severity | When")
        for name in re.findall(r"`(\w+)`", names)
    ]
    assert sorted(listed) == sorted((kind.__name__, kind.severity.value) for kind in kinds())


def test_every_metric_is_listed_as_it_is(told: Metrics) -> None:
    listed = {(name.strip("`"), *rest) for name, *rest in rows("Metric | Type | Labels | Meaning")}
    seen = set()
    for family in told.registry.collect():
        if not family.name.startswith("process_"):
            ending = {"counter": "_total", "info": "_info"}.get(family.type, "")
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            seen.add((family.name + ending, family.type, frozenset(labels), family.documentation))
    assert {
        (name, kind, frozenset(filter(None, labels.split(", "))), meaning)
        for name, kind, labels, meaning in listed
    } == seen


def test_the_keepers_file_says_what_holds_without_each_key_of_what_it_tells() -> None:
    (block,) = [each for each in blocks(OPERATORS) if each.file == "keeper.toml"]
    shown = tomllib.loads(block.text)
    config = parse(shown, RunConfig)
    assert config.metrics == MetricsSettings()
    assert config.webhook == WebhookSettings(url_env="WEBHOOK_URL", secret_env="WEBHOOK_SECRET")
    assert config.heartbeat == HeartbeatSettings(url_env="HEARTBEAT_URL")
    for part, model in (
        ("metrics", MetricsSettings),
        ("webhook", WebhookSettings),
        ("heartbeat", HeartbeatSettings),
    ):
        assert set(shown[part]) == set(model.model_fields)


def test_a_note_is_what_the_page_shows() -> None:
    (block,) = [each for each in blocks(OPERATORS) if each.text.startswith("note = {")]
    shown = ast.literal_eval(block.text.removeprefix("note = "))
    made = json.loads(note(specimen(BreakerTripped)).body)
    assert list(shown) == ["schema", "id", "event", "severity", "time", "facts"]
    assert shown.keys() == made.keys()
    assert shown["facts"].keys() == made["facts"].keys()
    assert [shown[key] for key in ("schema", "event", "severity")] == [
        made[key] for key in ("schema", "event", "severity")
    ]
    assert f"header {ID}" in block.text
    assert f"`{SIGNATURE}`" in OPERATORS


def test_a_vault_is_late_when_the_page_and_the_rule_say() -> None:
    assert LATE_AFTER == 2
    assert "for twice `interval` and `deadline` together" in OPERATORS
    limit = LATE_AFTER * (Schedule().interval + Schedule().deadline)
    (rule,) = [each for group in RULES for each in group["rules"] if each["alert"] == "VaultNotLookedAfter"]
    assert rule["expr"].endswith(f" > {limit:g}")


@pytest.mark.parametrize(
    "rule", [each for group in RULES for each in group["rules"]], ids=lambda r: r["alert"]
)
def test_an_alert_asks_for_metrics_and_labels_that_are_there(rule: dict[str, Any], samples: Labels) -> None:
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"].keys() == {"severity"}
    asked = re.sub(r'"[^"]*"', "", rule["expr"])
    grouped = {label for found in re.findall(r"by \(([^)]*)\)", asked) for label in found.split(", ")}
    names = set(re.findall(r"[a-z_]{2,}", re.sub(r"by \([^)]*\)|\{[^}]*\}|\[\d+[mh]\]", "", asked)))
    (name,) = names - FUNCTIONS
    matched = set(re.findall(r"(\w+)=~?", "".join(re.findall(r"\{[^}]*\}", asked))))
    named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    # Prometheus itself adds the place that it scrapes.
    assert grouped | matched | (named - {"instance"}) <= samples[name]
    assert not grouped or named <= grouped
