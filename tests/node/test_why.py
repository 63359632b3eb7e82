"""`sequencer why`: the views of several nodes told as one story, and where they differ."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from consensus.ledger.changes import Benched
from consensus.types import Height, Microseconds, ValidatorId, View
from sequencer.cli.main import app
from sequencer.client import Unreachable
from sequencer.directory import Directory
from sequencer.failures import CommandError, ExitCode
from sequencer.ledger_log import describe_change
from sequencer.schema.views import SeenProposalJson, ViewJson
from sequencer.view_story import Sight, Story, Weights, tell
from tests.lab import Lab
from tests.node.fake_node import FakeNode
from tests.node.wired import wire

NAMES = ("n0", "n1", "n2", "n3")
WEIGHTS = Weights(dict.fromkeys(NAMES, 100), 267)
BLOCK = SeenProposalJson("0x" + "ab" * 32, 9, 5, 500, 4.0)
HEARD = dict.fromkeys(NAMES, 0.1)


def make_view(**changes: Any) -> ViewJson:
    """View 8, which n2 led and in which nothing has come yet."""
    view = ViewJson(
        view=8,
        epoch=0,
        leader="n2",
        leader_reason="primary rotation",
        committee="primary",
        entered_by="qc",
        started_ms=1_000_000,
        ended_ms=1_001_250,
        next_view=9,
        outcome="timed_out",
        proposal=None,
        qc_after_ms=None,
        fc_after_ms=None,
        quorum_voters=[],
        finalize_voters=[],
        timeout_voters=["n0", "n1", "n3"],
        rival_voters=[],
        late_voters=[],
        timeout_cause="timer",
        timeout_after_ms=1200.0,
        reasons=[],
    )
    return msgspec.structs.replace(view, **changes)


def make_story(views: Mapping[str, ViewJson | None], heard: Mapping[str, float] = HEARD) -> Story:
    """Whoever has no view does not answer."""
    return tell(
        8,
        [
            Sight(name, f"http://{name}", None if view else "connection refused", view, heard_s=heard)
            for name, view in views.items()
        ],
        WEIGHTS,
    )


def test_a_dead_leader_is_called_down() -> None:
    view = make_view()
    heard = {**HEARD, "n2": 12.0}
    story = make_story({"n0": view, "n1": view, "n2": None, "n3": view}, heard)
    assert story.headline == "view 8 failed: n2 led it, and no proposal came within 1.20 s"
    assert story.meaning == [
        "n2 is down: its API does not answer (connection refused), and nobody has heard from it for 12 s"
    ]
    facts = dict(story.facts)
    assert facts["timeout votes"] == "n0, n1, n3 (75 %); not n2"
    assert facts["stopped voting"].startswith("n0 after 1.20 s (its timer), n1 after")


def test_one_that_answers_and_is_heard_by_nobody_is_cut_off() -> None:
    view = make_view()
    story = make_story({"n0": view, "n1": view, "n2": make_view(timeout_voters=[]), "n3": view}, {**HEARD, "n2": 30.0})
    assert "n2 runs, but is cut off: nobody has heard from it for 30 s" in story.meaning


def test_a_leader_that_came_back_too_late_is_told_from_one_that_was_idle() -> None:
    view = make_view()
    late = make_view(started_ms=1_004_250, timeout_after_ms=None)
    story = make_story({"n0": view, "n1": view, "n2": late, "n3": view})
    assert story.meaning == [
        "n2 came to the view 3.00 s after others had left it: it was down, frozen, cut off or behind"
    ]
    idle = make_view(reasons=["this node led and proposed nothing within 1.2 s"])
    story = make_story({"n0": view, "n1": view, "n2": idle, "n3": view})
    assert story.meaning == [
        "n2 was in the view in time and proposed nothing: this node led and proposed nothing within 1.2 s"
    ]


def test_nodes_that_saw_different_things_are_told_apart() -> None:
    lost = make_view()
    done = make_view(
        outcome="decided",
        proposal=BLOCK,
        qc_after_ms=7.0,
        fc_after_ms=11.5,
        quorum_voters=["n0", "n2", "n1"],
        finalize_voters=["n0", "n1", "n2"],
        timeout_voters=[],
        timeout_cause=None,
        timeout_after_ms=None,
    )
    other = msgspec.structs.replace(done, proposal=msgspec.structs.replace(BLOCK, hash="0x" + "cd" * 32))
    story = make_story({"n0": done, "n1": other, "n2": done, "n3": lost})
    assert story.headline == "view 8 went well: n2 led it, block 9 was final after 11.5 ms"
    assert story.differences == [
        "for n0, n1, n2 the view ended with a final block; for n3 the view ended without a certificate",
        "they got different proposals: n0, n2 got 0xabababab…; n1 got 0xcdcdcdcd…",
    ]
    assert "n0, n1, n3 had given the view up already: its certificate came late" in story.meaning


def test_a_proposal_that_reached_some_only_and_votes_that_are_missing() -> None:
    got = make_view(proposal=BLOCK, quorum_voters=["n0", "n2"], timeout_voters=["n0", "n1", "n3"])
    story = make_story({"n0": got, "n1": make_view(), "n2": got, "n3": make_view()})
    assert story.headline == "view 8 failed: n2 proposed, and its block got quorum votes from n0, n2 (50 %)"
    assert story.meaning == ["the proposal of n2 did not reach n1, n3", "n1, n3 did not vote for the block"]
    late = make_view(proposal=msgspec.structs.replace(BLOCK, after_ms=1300.0))
    story = make_story(dict.fromkeys(NAMES, late))
    assert story.meaning[0] == "the proposal of n2 came to n0, n1, n2, n3 after the timer only: it, or the way, is slow"


def test_offences_come_first_and_a_network_without_a_quorum_is_told() -> None:
    view = make_view(outcome="open", ended_ms=None, reasons=["n2 proposed two leaves (E1)"])
    story = make_story({"n0": view, "n1": view, "n2": None, "n3": None}, {"n0": 0.1, "n1": 0.1, "n2": 9.0})
    assert story.meaning[0] == "n2 proposed two leaves (E1)"
    assert story.meaning[-1] == ("nothing can be decided: n2, n3 (50 %) are silent, and it takes 67 % of the stake")
    assert "nobody has heard from it since they started" in " ".join(story.meaning)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeNode | None]:
    """n0 to n3 at http://n0, …, in view 3; n1 led view 2, did not propose, and was benched. n1 answers no more."""
    lab, blocks = Lab(), Lab().chain(3)
    nodes: dict[str, FakeNode | None] = {}
    network = FakeNode().network
    for number, name in enumerate(NAMES):
        node = FakeNode(network=network)
        node.validator_id = ValidatorId(number)
        views = node.views
        views.on_entered(View(2), ValidatorId(1), timed_out=False)
        node.now = Microseconds(node.now + 900_000)
        views.on_timed_out(View(2), "timer")
        for voter in (0, 2, 3):
            views.hear_vote(lab.timeout(voter, 2, lab.genesis_qc))
        views.on_entered(View(3), ValidatorId(3), timed_out=True)
        node.now = Microseconds(node.now + 5_000_000)
        views.hear_proposal(blocks[2].leaf, blocks[2].commitment)
        for voter in (0, 2, 3):
            views.hear_vote(lab.vote(voter, blocks[2]))
        views.on_decide([blocks[2]], View(3))
        node.changes.append(describe_change(Benched(ValidatorId(1), 2, 4), Height(3), Directory(node.network)))
        nodes[name] = node
    nodes["n1"] = None

    wire(monkeypatch, lambda request: nodes[request.url.host])
    return nodes


def run(*arguments: str) -> Result:
    urls = [part for name in NAMES for part in ("--url", f"http://{name}")]
    return CliRunner().invoke(app, ["why", *arguments, *urls], standalone_mode=False)


@pytest.mark.usefixtures("nodes")
def test_the_last_failed_view_is_found_and_told() -> None:
    for arguments in ((), ("--last-failed",), ("2",)):
        shown = run(*arguments).stdout
        assert "view 2 failed: n1 led it, and no proposal came within 900 ms" in shown
        assert "view 3, entered by a timeout certificate: n3 led it, block 3 was final" in shown
        assert "height 3: n1 benched: missed 2 own slots in a row" in shown
        assert "n1 is down or cut off: nobody has heard from it since they started" in shown
    assert "view 3 went well: n3 led it" in run("latest").stdout


@pytest.mark.usefixtures("nodes")
def test_as_json_the_story_and_what_each_node_saw() -> None:
    told = json.loads(run("2", "-o", "json").stdout)
    assert (told["view"], told["outcome"]) == (2, "timed_out")
    assert [node["reachable"] for node in told["nodes"]] == [True, False, True, True]
    assert told["nodes"][0]["view"]["timeout_voters"] == ["n0", "n2", "n3"]
    assert told["nodes"][1]["error"] == "connection refused"


@pytest.mark.usefixtures("nodes")
def test_a_view_that_nobody_has_is_explained() -> None:
    for argument, words in (("1", "view 1 is too old"), ("77", "view 77 has not begun: the network is in view 3")):
        error = run(argument).exception
        assert isinstance(error, CommandError)
        assert words in str(error)
    for arguments, words in ((("two",), '"two" is no view'), (("2", "--height", "3"), "contradict each other")):
        error = run(*arguments).exception
        assert isinstance(error, CommandError)
        assert error.exit_code is ExitCode.USAGE
        assert words in str(error)


def test_when_nobody_answers_or_nothing_failed(nodes: dict[str, FakeNode | None]) -> None:
    healthy = FakeNode()
    healthy.views.on_entered(View(1), ValidatorId(1), timed_out=False)
    for name in NAMES:
        nodes[name] = healthy
    result = run()
    assert result.exception is None
    assert "no view has failed among those that the nodes remember, 1 to 1" in result.stderr
    assert json.loads(run("-o", "json").stdout)["view"] is None
    for name in NAMES:
        nodes[name] = None
    error = run().exception
    assert isinstance(error, Unreachable)
    assert error.exit_code is ExitCode.UNREACHABLE
