"""`sequencer watch`: what the picture says of a network, and that it fits the screen."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

import msgspec
import pytest
from typer.testing import CliRunner, Result

from consensus.ledger.changes import Benched
from consensus.types import Height, Microseconds, ValidatorId, View
from sequencer.api.node_view import NodeStatus
from sequencer.cli.main import app
from sequencer.client import Unreachable
from sequencer.directory import Directory
from sequencer.failures import CommandError, ExitCode
from sequencer.ledger_log import describe_change
from sequencer.schema.views import SeenProposalJson
from sequencer.survey import Place, Reply
from sequencer.watch.picture import Picture, count_losses, draw_picture, make_marks, measure
from sequencer.watch.reading import Reading, take_reading
from sequencer.watch.screen import SYMBOLS, draw, draw_line
from tests.lab import Lab
from tests.node.fake_node import FakeNode
from tests.node.test_why import make_view
from tests.node.wired import wire

NAMES = ("n0", "n1", "n2", "n3")
BLOCK = SeenProposalJson("0x" + "ab" * 32, 9, 5, 500, 4.0)


class _Connected(FakeNode):
    """With all others but those that are lost."""

    lost: frozenset[ValidatorId] = frozenset()

    def status(self) -> NodeStatus:
        others = frozenset(map(ValidatorId, range(4))) - {self.validator_id} - self.lost
        return replace(super().status(), peers=others)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> dict[str, _Connected | None]:
    """n0 to n3 at http://n0, …, each in view 2 with the votes of all; None answers no more."""
    network, nodes = FakeNode().network, dict[str, _Connected | None]()
    lab = Lab()
    block = lab.block(lab.genesis, 1)
    for number, name in enumerate(NAMES):
        node = _Connected(network=network)
        node.validator_id = ValidatorId(number)
        node.views.on_entered(View(1), ValidatorId(1), timed_out=False)
        node.views.hear_proposal(block.leaf, block.commitment)
        node.views.on_payload(block.leaf.epoch, View(1), ValidatorId(1), 40)
        node.now = Microseconds(node.now + 20_000)
        for voter in range(4):
            node.views.hear_vote(lab.vote(voter, block))
        node.views.on_decide([block], View(1))
        node.views.on_entered(View(2), ValidatorId(2), timed_out=False)
        node.now = Microseconds(node.now + 1_980_000)
        nodes[name] = node

    wire(monkeypatch, lambda request: nodes[request.url.host])
    return nodes


def look() -> Picture:
    return draw_picture(take_reading([Place(name, f"http://{name}") for name in NAMES]))


def lose(nodes: dict[str, _Connected | None], *names: str) -> None:
    """Their processes are gone, and nobody is connected to them."""
    for name in names:
        nodes[name] = None
    for node in nodes.values():
        if node is not None:
            node.lost |= frozenset(ValidatorId(NAMES.index(name)) for name in names)


def to_text(lines: Iterable[object]) -> str:
    return "\n".join(map(str, lines))


def test_a_healthy_network_says_how_much_it_can_lose(nodes: dict[str, _Connected | None]) -> None:
    picture = look()
    assert picture.level == "ok"
    assert picture.sentence == "All 4 validators vote; any one of them may fail without a halt."
    assert [row.state for row in picture.rows] == ["ready"] * 4
    assert [row.name for row in picture.rows if row.is_leader] == ["n2"]
    assert [(cell.kind, cell.mark) for cell in picture.cells] == [("decided", "1"), ("open", "2")]
    assert picture.figures.finality_p50_ms == 20
    assert picture.figures.transactions_per_s == 20


def test_one_dead_is_a_risk_and_two_are_a_halt(nodes: dict[str, _Connected | None]) -> None:
    lose(nodes, "n3")
    picture = look()
    assert (picture.level, picture.sentence) == ("risk", "n3 is silent; one more loss halts the network.")
    assert picture.rows[3].state == "down"
    assert not picture.rows[3].is_well
    lose(nodes, "n2")
    picture = look()
    assert (picture.level, picture.sentence) == (
        "halted",
        "n2 and n3 are silent: 50 % of the stake votes, it takes 67 %.",
    )
    lose(nodes, "n0", "n1")
    picture = look()
    assert picture.level == "lost"
    assert [row.state for row in picture.rows] == ["connection refused"] * 4


def test_a_node_that_nobody_hears_is_cut_off_and_one_that_finalizes_nothing_is_told(
    nodes: dict[str, _Connected | None],
) -> None:
    for node in nodes.values():
        assert node is not None
        node.now = Microseconds(node.now + 9_000_000)
        for voter in (0, 1, 2):
            node.views.hear_vote(Lab().timeout(voter, 2, Lab().genesis_qc))
    picture = look()
    assert picture.rows[3].state == "cut off"
    assert picture.level == "halted"
    assert picture.sentence == "Nothing was finalized for 11 s: view 1 waits for n2."


def test_mode_benches_and_events_are_told(nodes: dict[str, _Connected | None]) -> None:
    for node in nodes.values():
        assert node is not None
        change = describe_change(Benched(ValidatorId(1), 2, 4), Height(3), Directory(node.network))
        node.changes.append(change)
        record = node.ledger.state.validators[1].leader
        node.change_validator(1, leader=msgspec.structs.replace(record, bench_turns=4))
        node.change(mode=msgspec.structs.replace(node.ledger.state.mode, is_fallback=True, since=Height(3)))
    picture = look()
    assert picture.rows[1].state == "benched"
    assert picture.is_fallback
    shown = to_text(draw(picture, 80, 24))
    assert "mode: the fallback committee has the lead since height 3" in shown
    assert "height 3  n1 benched: missed 2 own slots in a row" in shown


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 10), (200, 60)])
def test_a_picture_fits_every_screen(nodes: dict[str, _Connected | None], width: int, height: int) -> None:
    picture = look()
    for is_helping in (False, True):
        lines = draw(picture, width, height, is_helping=is_helping)
        assert len(lines) <= height
        assert max(line.cell_len for line in lines) <= width
    assert "any one of them may fail" in to_text(draw(picture, 80, 24))


def test_of_many_nodes_those_that_need_looking_at_are_shown(nodes: dict[str, _Connected | None]) -> None:
    lose(nodes, "n3")
    picture = look()
    many = replace(picture, rows=[*list(picture.rows[:3]) * 10, picture.rows[3]])
    shown = to_text(draw(many, 80, 24))
    assert "n3    primary" in shown
    assert "more, all well" in shown
    assert "views    " in shown


def test_every_outcome_has_a_symbol_of_its_own_and_every_leader_a_mark() -> None:
    """Colour is not needed to read it."""
    assert len(set(SYMBOLS.values())) == len(SYMBOLS)
    assert make_marks(["n0", "n1"]) == {"n0": "0", "n1": "1"}
    assert make_marks(["a0", "b0", "c1"]) == {"a0": "0", "b0": "1", "c1": "2"}


@pytest.mark.parametrize(
    ("weights", "quorum", "losses"),
    [((100,) * 4, 267, 1), ((100,) * 3, 267, 0), ((100,) * 2, 267, -1), ((400, 100, 100), 401, 0), ((1,) * 7, 5, 2)],
)
def test_losses_are_counted_with_the_largest_first(weights: Sequence[int], quorum: int, losses: int) -> None:
    assert count_losses(weights, quorum) == losses


def test_times_and_rates_are_those_of_the_last_half_minute() -> None:
    decided = [
        make_view(view=number, outcome="decided", started_ms=1000 * number, proposal=BLOCK, fc_after_ms=4.0 + number)
        for number in range(1, 101)
    ]
    figures = measure(decided, now_ms=101_000)
    assert figures.blocks_per_s == 1
    assert figures.transactions_per_s == 5
    assert (figures.finality_p50_ms, figures.finality_p99_ms) == (86, 100)
    assert measure([], 0).blocks_per_s is None


def run(*arguments: str) -> Result:
    urls = [part for name in NAMES for part in ("--url", f"http://{name}")]
    return CliRunner().invoke(app, ["watch", *arguments, *urls], standalone_mode=False)


def test_once_prints_one_picture_and_ends(nodes: dict[str, _Connected | None]) -> None:
    shown = run("--once")
    assert shown.exception is None
    assert "All 4 validators vote" in shown.stdout
    assert "\x1b" not in shown.stdout
    told = json.loads(run("--once", "-o", "json").stdout)
    assert (told["level"], [row["name"] for row in told["rows"]]) == ("ok", list(NAMES))
    error = run("-o", "json").exception
    assert isinstance(error, CommandError)
    assert error.exit_code is ExitCode.USAGE
    lose(nodes, *NAMES)
    assert isinstance(run("--once").exception, Unreachable)


def test_a_line_says_all_that_matters(nodes: dict[str, _Connected | None]) -> None:
    lose(nodes, "n3")
    line = draw_line(look())
    assert line.startswith("AT RISK  height 0  view 1  leader n2  finality p50 20.0 ms  tps 20.0  timeouts 0/1")
    assert line.endswith("n3 is silent; one more loss halts the network.")
    nobody = Reading(0.0, [Reply(Place("n0", "http://n0"), None, "connection refused")])
    assert draw_line(draw_picture(nobody)).startswith("NO ANSWER")
