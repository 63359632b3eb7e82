"""`sequencer check cluster` and `sequencer check node`: for people, cron and monitoring systems."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from sequencer.cli.output import print_json, print_rows
from sequencer.cli.status import ASKED_AT_ONCE, DEFAULT_URL, resolve_urls
from sequencer.failures import ExitCode

if TYPE_CHECKING:
    from sequencer.health.checks import Finding
    from sequencer.health.facts import NodeFacts


class CheckFormat(StrEnum):
    """Shape of what goes to stdout. `prometheus` is for node_exporter's textfile collector."""

    TEXT = "text"
    JSON = "json"
    PROMETHEUS = "prometheus"


FormatOption: TypeAlias = Annotated[
    CheckFormat,
    typer.Option("--output", "-o", help="Shape of the data on stdout; prometheus: for a textfile collector."),
]
NagiosOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--nagios",
        help="Be a plugin of Nagios, Icinga and their like: its output, and its exit codes: 0 ok, 1 warning, "
        "2 critical, 3 unknown.",
    ),
]


def cluster(
    url: Annotated[
        list[str] | None, typer.Option(help="A node's API; give it several times for several.", envvar="SEQUENCER_URL")
    ] = None,
    home: Annotated[
        Path | None, typer.Option(help="Ask all nodes of this home.", envvar="SEQUENCER_HOME", show_default="./devnet")
    ] = None,
    output: FormatOption = CheckFormat.TEXT,
    nagios: NagiosOption = False,
) -> None:
    """Is the network well? Asks all nodes that are named: decides, quorum, one history, peers, clocks, disks, evidence.

    Ends with 0 when all is well, 1 when anything is not, 4 when no node can be reached; with --nagios as a plugin does.
    """
    from sequencer.health.checks import check_cluster

    nodes = _ask(list(map(_name, resolve_urls(url, home))))
    network = next((facts.network for facts in nodes if facts.network), "cluster")
    _end(network, nodes, check_cluster(nodes), output, nagios)


def node(
    url: Annotated[str, typer.Option(help="The node's API.", envvar="SEQUENCER_URL")] = DEFAULT_URL,
    output: FormatOption = CheckFormat.TEXT,
    nagios: NagiosOption = False,
) -> None:
    """Is this node well? As `check cluster`, but as one node sees the world, with the standing of its validator.

    Ends with 0 when all is well, 1 when anything is not, 4 when it cannot be reached; with --nagios as a plugin does.
    """
    from sequencer.health.checks import check_node

    (facts,) = _ask([("node", url)])
    _end(facts.name, [facts], check_node(facts), output, nagios)


def _ask(nodes: Sequence[tuple[str, str]]) -> "list[NodeFacts]":
    from sequencer.health.facts import read_facts

    with ThreadPoolExecutor(min(len(nodes), ASKED_AT_ONCE)) as pool:
        return list(pool.map(lambda node: read_facts(*node), nodes))


def _name(node: tuple[str, str]) -> tuple[str, str]:
    """One that was given by its URL alone is called so until it tells its name."""
    name, url = node
    return (url.removeprefix("http://") if name == "?" else name), url


def _end(
    subject: str, nodes: "Sequence[NodeFacts]", findings: "Sequence[Finding]", output: CheckFormat, is_plugin: bool
) -> None:
    from sequencer.health.checks import State, find_worst
    from sequencer.health.rendering import render_json, render_plugin, render_prometheus

    worst = find_worst(finding.state for finding in findings)
    match output:
        case CheckFormat.JSON:
            print_json(render_json(subject, findings, time.time()))
        case CheckFormat.PROMETHEUS:
            print(render_prometheus(subject, findings, time.time()), end="")
        case CheckFormat.TEXT if is_plugin:
            print(render_plugin(findings))
        case CheckFormat.TEXT:
            rows = [(finding.check, finding.state.name.lower(), finding.text) for finding in findings]
            print_rows(("check", "state", subject), rows)
    if is_plugin:
        raise typer.Exit(int(worst))
    if all(facts.error is not None for facts in nodes):
        raise typer.Exit(ExitCode.UNREACHABLE)
    raise typer.Exit(ExitCode.OK if worst is State.OK else ExitCode.FAILED)
