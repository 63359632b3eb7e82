"""The page of a run: everything that was judged stands on it, and it needs nothing but itself."""

from html.parser import HTMLParser

import msgspec
import pytest

from netsim.page import render_page
from netsim.page.charts import VIEWS_DRAWN_MAX
from netsim.page.svg import Scale
from netsim.scenario.model import Scenario, Shape
from netsim.scenario.outcome import (
    Decided,
    FaultRecord,
    Flight,
    Line,
    NodeEvent,
    Outcome,
    Timeline,
    Verdict,
    ViewEvent,
)


class Reader(HTMLParser):
    """Tags that are opened and closed in order, and all that could load something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: dict[str, int] = {}
        self.loads: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.loads += [value for name, value in attributes if name in ("src", "href", "srcset") and value]
        if tag in ("script", "link", "iframe", "img"):
            self.loads.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


@pytest.fixture
def outcome() -> Outcome:
    return Outcome(
        scenario=Scenario(name="one-kill", story="A leader dies & <b>nobody</b> minds.", cluster=Shape(nodes=4)),
        runtime="simulator",
        safety=(Line(what="agreement", verdict=Verdict.PASS, detail="40 heights"),),
        liveness=(Line(what="first decide", verdict=Verdict.FAIL, detail="after 9.5 s, 5 s were allowed"),),
        faults=(
            FaultRecord(
                kind="kill", nodes=("n2",), start_seconds=1.0, end_seconds=3.0, bites=1, predicted="live: 3 of 4"
            ),
        ),
        marks={"decides": 1234, "timeouts": 3},
        figures={"first_decide_seconds": 9.5},
        predicted="live",
        observed="stalls",
        replay="sequencer chaos run one-kill --seed 1",
        audit_hash="ab" * 32,
        warm_up_seconds=0.5,
        seconds=10.5,
        timeline=Timeline(
            views=(
                ViewEvent(0.5, 0, 3, "qc"),
                ViewEvent(1.2, 0, 4, "timeout"),
                ViewEvent(1.3, 0, 5, "tc"),
            ),
            decides=tuple(Decided(0.1 * height, node, height, height) for height in range(1, 9) for node in range(4)),
            flights=(
                Flight(1.0, 1.01, 0, 1, "QuorumVote", 4),
                Flight(1.0, None, 0, 2, "QuorumVote", 4),
                Flight(1.02, 9.0, 0, 3, "QuorumVote", 4),
            ),
            nodes=(NodeEvent(1.0, 2, "end"), NodeEvent(3.0, 2, "start")),
            latencies=((0.5, 0.03), (0.6, 0.04)),
        ),
    )


def test_the_page_tells_everything_and_loads_nothing(outcome: Outcome) -> None:
    reader = read(render_page(outcome))
    assert reader.loads == []
    assert reader.counts["svg"] == 4
    for told in (
        "A leader dies & <b>nobody</b> minds.",
        "40 heights",
        "after 9.5 s, 5 s were allowed",
        "live: 3 of 4",
        "stalls",
        "1,234",
        "9.500",
        "sequencer chaos run one-kill --seed 1",
        "ab" * 32,
        'name = "one-kill"',
    ):
        assert told in reader.text
    assert "gave up view 4" in reader.text
    assert "QuorumVote of view 4: n0 to n2, lost" in reader.text
    assert "QuorumVote of view 4: n0 to n3, at 9.000 s" in reader.text
    assert "9.000 s" not in reader.text.replace("n3, at 9.000 s", ""), "the picture ends with what it is about"
    assert "n2: end" in reader.text
    assert 'class="fail">fail' in render_page(outcome)


def test_a_run_without_a_timeline_has_a_page_without_pictures(outcome: Outcome) -> None:
    reader = read(render_page(msgspec.structs.replace(outcome, timeline=Timeline(), faults=(), marks={}, figures={})))
    assert "svg" not in reader.counts
    assert "None." in reader.text


def test_many_views_are_thinned_out_but_no_timeout_is(outcome: Outcome) -> None:
    many = tuple(
        ViewEvent(view / 10_000, view % 4, view, "timeout" if view % 1000 == 0 else "qc") for view in range(40_000)
    )
    timeline = msgspec.structs.replace(outcome.timeline, views=many, flights=(), latencies=(), decides=())
    page = render_page(msgspec.structs.replace(outcome, timeline=timeline))
    assert page.count("gave up view") == 40
    assert page.count("<rect") < VIEWS_DRAWN_MAX + 100


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.2, 47.0), (0.0, 12345.0), (2.0, 2.0), (0.001, 0.0042)])
def test_ticks_are_round_and_within_the_axis(low: float, high: float) -> None:
    ticks = Scale(low, high, 0, 100).compute_ticks()
    assert 1 <= len(ticks) <= 12
    assert all(low <= tick <= high + 1e-9 for tick in ticks)
    assert all(float(f"{tick:.4g}") == pytest.approx(tick) for tick in ticks)
