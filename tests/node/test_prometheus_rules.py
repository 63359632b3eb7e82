"""The rules for Prometheus: their own unit tests, their runbooks, and that they speak of metrics that there are."""

import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from sequencer.metrics import SECTIONS
from tests.cluster.prometheus import find_tool

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "deploy" / "prometheus"
RUNBOOKS: Final = ROOT / "docs" / "operations.md"


def read_rules(name: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "rules" / name).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = read_rules("sequencer.alerts.yml")
RECORDS = read_rules("sequencer.rules.yml")


def list_shown_names() -> set[str]:
    """Of every series that a node may show."""
    names: set[str] = set()
    for section in SECTIONS:
        for entry in section.entries:
            parts = ("_bucket", "_sum", "_count") if entry.kind == "histogram" else ("",)
            names |= {entry.shown_name + part for part in parts}
    return names


def find_metrics(expr: str) -> set[str]:
    """Names of our own metrics in a query, those of recording rules left out."""
    return set(re.findall(r"(?<![:\w])sequencer_\w+", expr))


def test_the_rules_do_what_their_unit_tests_say() -> None:
    """Each alert once when it must fire, and once for what only looks like it."""
    tests = sorted((FOLDER / "tests").glob("*_test.yml"))
    result = subprocess.run(
        [find_tool("promtool"), "test", "rules", *map(str, tests)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("SUCCESS") == len(tests) == 2


def test_every_alert_has_a_unit_test() -> None:
    """One that demands that it fires."""
    tests = yaml.safe_load((FOLDER / "tests" / "alerts_test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test.get("alert_rule_test", ()) if case.get("exp_alerts")}
    assert fired == {alert["alert"] for alert in ALERTS}


def test_the_configuration_is_valid() -> None:
    result = subprocess.run(
        [find_tool("promtool"), "check", "config", str(FOLDER / "prometheus.yml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_an_alert_says_what_it_means_and_what_to_do(alert: dict[str, Any]) -> None:
    """It links to a section of the runbook that answers the four questions."""
    assert alert["labels"]["severity"] in {"critical", "warning"}
    notes = alert["annotations"]
    assert set(notes) == {"summary", "description", "runbook_url"}
    path, _, anchor = notes["runbook_url"].partition("#")
    assert ROOT / path == RUNBOOKS
    sections = {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-"): body
        for title, body in re.findall(r"^### (.+)\n((?:(?!^##).*\n?)*)", RUNBOOKS.read_text(), re.MULTILINE)
    }
    assert anchor == f"alert-{alert['alert'].lower()}"
    for question in ("What it means.", "How bad.", "What to look at.", "What to do."):
        assert f"**{question}**" in sections[anchor]


def test_every_runbook_belongs_to_an_alert() -> None:
    titles = set(re.findall(r"^### Alert: (\w+)$", RUNBOOKS.read_text(), re.MULTILINE))
    assert titles == {alert["alert"] for alert in ALERTS}


def test_rules_speak_of_metrics_and_records_that_there_are() -> None:
    records = {rule["record"] for rule in RECORDS}
    for rule in (*RECORDS, *ALERTS):
        assert find_metrics(rule["expr"]) <= list_shown_names(), rule
        assert set(re.findall(r"\w+:sequencer_\w+(?::\w+)?", rule["expr"])) <= records, rule
