"""A real Prometheus scrapes real nodes while they are broken: alerts fire, and every query of every dashboard answers.

One story, told once, because it takes half a minute: the only leader of the primary committee is not there, so the
fallback committee takes over; somebody votes twice and is slashed; then the leader is killed, and nothing is decided.
"""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import yaml

from sequencer.dashboards.export import DASHBOARDS
from sequencer.failures import ExitCode
from sequencer.fault_log import KILL, FaultLog
from sequencer.home import Home, HomePlan
from sequencer.local_cluster.cluster import LocalCluster
from sequencer.local_cluster.home import (
    DEVNET_NAME,
    FAULTS_FILE,
    TARGETS_FILE,
    compute_fault_settings,
    find_base_port,
    merge_settings,
    open_devnet,
)
from sequencer.local_cluster.targets import write_targets
from sequencer.metrics.progress import CHECKPOINT_BLOCKS
from sequencer.network_config import LeadershipSection
from tests.cluster.conftest import SECONDS
from tests.cluster.prometheus import Prometheus, run_prometheus
from tests.cluster.test_cli import run

STAKES: Final = (10_000, 10_000, 10_000, 10_000, 1_000)
"""Three of the heavy ones are enough, with or without the light one, which lies."""
LIAR: Final = "n4"
MACHINE: Final = {"ClockOff", "DiskNearlyFull", "NodeBehind"}
"""Alerts about a machine that is full, or so busy that it answers late."""
THRESHOLD: Final = re.compile(r"(==|<=|>=|<|>)\s*-?[0-9.e]+")
VARIABLES: Final = {"$__rate_interval": "5s", "$__range": "60s", "$network": DEVNET_NAME, "$instance": ".*"}
"""As Grafana fills them in. A rate over 5 s has twenty scrapes here."""


class Story(NamedTuple):
    prometheus: Prometheus
    folder: Path
    """With what was exported."""
    home: Path
    primary: str
    killed: str


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    folder = tmp_path
    base_port = find_base_port(len(STAKES) + 1)
    plan = HomePlan(
        stakes=STAKES,
        name=DEVNET_NAME,
        base_port=base_port,
        leadership=LeadershipSection(primary_size=1, fallback_size=3),
    )
    home, primary = _draw_home(folder, plan)
    settings = merge_settings(
        compute_fault_settings(home), {node.config.validator: {"durability": "os"} for node in home.nodes}
    )
    faults = FaultLog(home.path / FAULTS_FILE)
    with ExitStack() as stack:
        cluster = stack.enter_context(LocalCluster(home, settings, byzantine={LIAR: "double_vote"}))
        write_targets(cluster)
        # On the port that one more node would have for its peers.
        prometheus = stack.enter_context(
            run_prometheus(folder / "monitoring", home.path / TARGETS_FILE, base_port + len(STAKES))
        )
        honest = [name for name in cluster.names if name not in (primary, LIAR)]
        cluster.start(*honest)
        prometheus.wait_for(
            lambda: {("FallbackActive", ""), ("LeaderFailing", primary), ("NodeDown", primary)} <= prometheus.firing(),
            "the fallback committee to take over from a primary that is not there",
        )
        cluster.start(LIAR)
        prometheus.wait_for(
            lambda: {"Equivocation", "Slashing"} <= {alert for alert, _ in prometheus.firing()},
            "a liar to be found out and slashed",
        )
        _decide_until(cluster, honest[0], CHECKPOINT_BLOCKS)
        prometheus.wait_for(lambda: prometheus.query("network:sequencer_histories:count"), "a checkpoint")
        with cluster.client(honest[0]) as client:
            killed = client.status().leader
        if killed not in honest:
            killed = honest[-1]
        faults.begin(KILL, [killed], "this test")
        cluster.kill(killed)
        wanted = {("NoDecide", ""), ("QuorumAtRisk", ""), ("ValidatorNotVoting", primary)}
        prometheus.wait_for(lambda: wanted <= prometheus.firing(), "a halted chain to be noticed")
        yield Story(prometheus, folder / "monitoring", home.path, primary, killed)


def _draw_home(folder: Path, plan: HomePlan) -> tuple[Home, str]:
    """With its primary. Once in forty times that is the light one, which would not be missed: then another is drawn."""
    for attempt in count():
        home, _ = open_devnet(folder / f"home-{attempt}", plan)
        (primary,) = map(home.network.name_of, home.network.context().genesis_ledger.state.primary)
        if primary != LIAR:
            return home, primary
    raise AssertionError("unreachable")


def _decide_until(cluster: LocalCluster, name: str, height: int) -> None:
    with cluster.client(name, timeout_seconds=SECONDS) as client:
        number = 0
        while client.status().height <= height:
            client.submit_batch([b"transaction %d of a story" % number], wait_seconds=SECONDS)
            number += 1


def read_rules(story: Story) -> list[dict[str, Any]]:
    groups = [
        group
        for file in sorted((story.folder / "prometheus" / "rules").iterdir())
        for group in yaml.safe_load(file.read_text())["groups"]
    ]
    return [rule for group in groups for rule in group["rules"]]


@pytest.mark.cluster
def test_alerts_fire_and_every_query_answers(story: Story) -> None:
    """One test, so that nobody tells the story twice, on two workers."""
    check_alerts(story)
    check_rules(story)
    check_panels(story)
    check_faults(story)
    check_command(story)


def check_alerts(story: Story) -> None:
    """They fire for what happens, and for nothing else."""
    fired = story.prometheus.firing()
    about = {alert: {subject for name, subject in fired if name == alert} for alert, _ in fired}
    assert about.keys() - MACHINE == {
        "Equivocation",
        "FallbackActive",
        "LeaderFailing",
        "NoDecide",
        "NodeDown",
        "QuorumAtRisk",
        "Slashing",
        "ValidatorNotVoting",
    }
    assert story.primary in about["LeaderFailing"], "others may be slow leaders on a busy machine"
    assert story.primary in about["ValidatorNotVoting"] <= {story.primary, story.killed, LIAR}
    assert about["Equivocation"] <= {"E2", "E3"}
    assert about["NodeDown"] >= {story.primary, story.killed}


def check_rules(story: Story) -> None:
    """Every one is evaluated and has something to go by. Of an alert that has not fired, what it compares is there."""
    evaluated = [rule for group in story.prometheus.get("rules")["groups"] for rule in group["rules"]]
    rules = read_rules(story)
    assert len(evaluated) == len(rules) > 20
    assert {(rule["health"], rule.get("lastError", "")) for rule in evaluated} == {("ok", "")}
    for rule in rules:
        expr = rule["expr"] if "record" in rule else THRESHOLD.sub("", rule["expr"])
        assert story.prometheus.query_range(expr), f"{rule.get('record') or rule.get('alert')}: {expr}"
    for record in (rule["record"] for rule in rules if "record" in rule):
        assert story.prometheus.query_range(record), record


def check_panels(story: Story) -> None:
    """The queries of all dashboards, their variables and their annotations, as Grafana sends them."""
    asked = 0
    for file in sorted((story.folder / DASHBOARDS).glob("*.json")):
        board = json.loads(file.read_text())
        annotations = [annotation["expr"] for annotation in board["annotations"]["list"]]
        targets = [(panel["title"], each["expr"]) for panel in board["panels"] for each in panel.get("targets", ())]
        for title, expr in [*targets, *(("annotation", expr) for expr in annotations)]:
            for variable, value in VARIABLES.items():
                expr = expr.replace(variable, value)
            assert "$" not in expr
            assert story.prometheus.query_range(expr), f"{board['title']}: {title}: {expr}"
            asked += 1
    assert asked > 100
    networks = story.prometheus.get("label/network/values", **{"match[]": "sequencer_view"})
    assert networks == [DEVNET_NAME]


def check_command(story: Story) -> None:
    """`sequencer check cluster` says the same as the alerts."""
    result = run("check", "cluster", "--home", story.home, "-o", "json")
    assert result.returncode == ExitCode.FAILED, result.stderr
    states = {check["check"]: check["state"] for check in json.loads(result.stdout)["checks"]}
    assert {name for name, state in states.items() if state == "critical"} >= {"deciding", "quorum"}
    assert (states["reachable"], states["history"]) == ("warning", "ok")


def check_faults(story: Story) -> None:
    """The fault is marked from its beginning."""
    ((_, values),) = story.prometheus.query_range('max(sequencer_fault_active{fault="kill"})')
    assert values[0] == 0
    assert values[-1] == 1
