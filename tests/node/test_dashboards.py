"""The dashboards: what Grafana demands, what a reader may expect, and that the files are those of the code."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
import yaml

from sequencer.dashboards.catalogue import BOARDS, COMMAND, get_file_name, render_file
from sequencer.dashboards.export import CONFIG_FILE, DASHBOARDS, PROVIDER_FILE, export
from tests.cluster.test_cli import run
from tests.node.test_prometheus_rules import RECORDS, find_metrics, list_shown_names

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "grafana"
KINDS: Final = ["timeseries", "stat", "state-timeline", "bargauge", "heatmap", "table"]
TEXT: Final = {"type": "string", "minLength": 1}
SOURCE: Final = {
    "type": "object",
    "required": ["type", "uid"],
    "properties": {"type": {"const": "prometheus"}, "uid": {"const": "${datasource}"}},
}
TARGET: Final = {
    "type": "object",
    "required": ["refId", "datasource", "expr", "legendFormat", "instant", "range", "format"],
    "properties": {"refId": {"pattern": "^[A-Z]$"}, "datasource": SOURCE, "expr": TEXT, "legendFormat": TEXT},
}
PANEL: Final = {
    "type": "object",
    "required": ["id", "type", "title", "description", "datasource", "gridPos", "fieldConfig", "options", "targets"],
    "properties": {
        "type": {"enum": KINDS},
        "title": TEXT,
        "description": {"type": "string", "minLength": 20, "pattern": "\\.$"},
        "datasource": SOURCE,
        "targets": {"type": "array", "minItems": 1, "items": TARGET},
        "fieldConfig": {
            "type": "object",
            "required": ["defaults", "overrides"],
            "properties": {
                "defaults": {
                    "type": "object",
                    "required": ["unit", "thresholds"],
                    "properties": {
                        "unit": TEXT,
                        "thresholds": {
                            "type": "object",
                            "properties": {
                                "mode": {"const": "absolute"},
                                "steps": {"type": "array", "minItems": 1, "items": {"required": ["value", "color"]}},
                            },
                        },
                    },
                }
            },
        },
    },
}
BOARD: Final = {
    "type": "object",
    "required": ["uid", "title", "description", "schemaVersion", "panels", "templating", "annotations", "time", "tags"],
    "properties": {
        "uid": {"type": "string", "pattern": "^[a-z-]{1,40}$"},
        "schemaVersion": {"type": "integer", "minimum": 39},
        "panels": {
            "type": "array",
            "items": {"anyOf": [{"type": "object", "properties": {"type": {"const": "row"}}}, PANEL]},
        },
    },
}


def load_boards() -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted((FOLDER / "dashboards").glob("*.json"))]


def iterate_panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (panel for panel in board["panels"] if panel["type"] != "row")


def test_the_files_are_those_of_the_code() -> None:
    files = {file.name: file.read_text() for file in (FOLDER / "dashboards").iterdir()}
    assert files == {get_file_name(board): render_file(board) for board in BOARDS}, f"run `{COMMAND}`"
    assert len(files) == 5


@pytest.mark.parametrize("board", load_boards(), ids=lambda board: str(board["uid"]))
def test_a_dashboard_is_well_formed(board: dict[str, Any]) -> None:
    jsonschema.validate(board, BOARD)
    for panel in iterate_panels(board):  # `anyOf` would take a panel without a type for a row
        jsonschema.validate(panel, PANEL)
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references))
        steps = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
        assert steps[0] is None
        assert steps[1:] == sorted(steps[1:])
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(numbers) == len(set(numbers))
    titles = [panel["title"] for panel in iterate_panels(board)]
    assert len(titles) == len(set(titles))
    names = [variable["name"] for variable in board["templating"]["list"]]
    assert names == ["datasource", "network", "instance"]


@pytest.mark.parametrize("board", load_boards(), ids=lambda board: str(board["uid"]))
def test_panels_lie_side_by_side(board: dict[str, Any]) -> None:
    """None is wider than the grid, none covers another."""
    places = [panel["gridPos"] for panel in board["panels"]]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 and place["h"] > 0 for place in places)
    for one, other in combinations(places, 2):
        is_apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        is_apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert is_apart_x or is_apart_y, (one, other)


def test_every_query_is_about_the_chosen_network_and_what_there_is() -> None:
    records = {rule["record"] for rule in RECORDS}
    for board in load_boards():
        for panel in iterate_panels(board):
            for target in panel["targets"]:
                expr = target["expr"]
                assert find_metrics(expr) <= list_shown_names(), expr
                assert set(re.findall(r"\w+:sequencer_\w+(?::\w+)?", expr)) <= records, expr
                selectors = re.findall(r"(?<![\w$])(?:\w+:)?(?:sequencer|process)_[\w:]+(.?)", expr)
                assert set(selectors) <= {"{"}, f"{expr}: a metric without labels mixes networks"
                assert expr.count("{") == expr.count('network="$network"'), expr


def test_every_metric_is_on_a_dashboard_or_has_a_reason() -> None:
    """What nobody would look at is not worth a scrape."""
    rest = {
        "sequencer_checkpoint_height",  # by the rule about histories
        "sequencer_checkpoint_digest",
        "sequencer_stake_margin",  # for machines; people read how many losses it is worth
        "sequencer_epoch_transitions_total",  # the epoch itself is shown
        "sequencer_beacon_missed_total",
        "sequencer_participating_stake_ratio",  # by the rule about the network
        "sequencer_tolerated_losses",
        "sequencer_validator_last_vote_timestamp_seconds",
    }
    rules = " ".join(rule["expr"] for rule in RECORDS)
    shown = {name for board in BOARDS for name in find_metrics(render_file(board))}
    ours = {re.sub("_(bucket|sum|count)$", "", name) for name in list_shown_names()}
    missing = ours - {re.sub("_bucket$", "", name) for name in shown | find_metrics(rules)}
    assert missing <= rest


def test_an_export_leads_prometheus_and_grafana_to_the_network(tmp_path: Path) -> None:
    """Over an older one, and without the unit tests of the rules."""
    targets = tmp_path / "home" / "prometheus" / "targets.json"
    export(tmp_path / "out", targets)
    written = export(tmp_path / "out", targets)
    config = yaml.safe_load((tmp_path / "out" / CONFIG_FILE).read_text())
    assert config["scrape_configs"][0]["file_sd_configs"][0]["files"] == [str(targets)]
    provider = yaml.safe_load((tmp_path / "out" / PROVIDER_FILE).read_text())["providers"][0]
    folder = Path(provider["options"]["path"])
    assert folder == tmp_path / "out" / DASHBOARDS
    assert len(list(folder.iterdir())) == len(BOARDS)
    assert {file.parts[1] for file in written} == {"prometheus.yml", "rules", "dashboards", "provisioning"}


def test_the_command_says_what_to_start_next(tmp_path: Path) -> None:
    result = run("dashboards", "export", tmp_path / "out", "--home", tmp_path / "home", "-o", "json")
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["targets"] == str(tmp_path / "home" / "prometheus" / "targets.json")
    assert all((tmp_path / "out" / file).is_file() for file in answer["files"])
