"""The page of a run: what was to happen, what did, and whether it was right."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from netsim.page.charts import draw_heights, draw_latencies, draw_views
from netsim.page.space_time import draw_space_time
from netsim.scenario.files import format_scenario
from netsim.scenario.marks import MARKS
from netsim.scenario.outcome import Line, Outcome, Verdict

_STYLE = Path(__file__).with_name("page.css")


def render_page(outcome: Outcome) -> str:
    """The whole page as text, in UTF-8."""
    scenario = outcome.scenario
    title = f"{scenario.name}: {outcome.verdict}"
    body = [
        f"<h1>{escape(scenario.name)} <span class={_quote(outcome.verdict)}>{outcome.verdict}</span></h1>",
        f'<p class="lead">{escape(scenario.story or "No story is told of this scenario.")}</p>',
        _render_cards(outcome),
        _render_section("Verdicts", _render_lines(outcome)),
        _render_section("Faults", _render_faults(outcome)),
        *_render_pictures(outcome),
        _render_section("Reached", _render_numbers(outcome.marks, MARKS)),
        _render_section("Figures", _render_numbers(outcome.figures, {})),
        _render_section("See it again", f"<pre>{escape(outcome.replay)}</pre>{_render_hash(outcome)}"),
        _render_section("The scenario", f"<pre>{escape(format_scenario(scenario))}</pre>"),
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    style = f"<style>{_STYLE.read_text(encoding='utf-8')}</style>"
    return f'<!doctype html>\n<html lang="en"><head>{head}{style}</head>\n<body>{"".join(body)}</body></html>\n'


def _render_cards(outcome: Outcome) -> str:
    shape = outcome.scenario.cluster
    where = "on virtual time" if outcome.runtime == "simulator" else "as real processes"
    cards = [
        ("safety", f'<span class="{outcome.safety_verdict}">{outcome.safety_verdict}</span>'),
        ("liveness", f'<span class="{outcome.liveness_verdict}">{outcome.liveness_verdict}</span>'),
        ("while the faults lasted, by quorum arithmetic", escape(outcome.predicted or "not predicted")),
        ("and in fact", escape(outcome.observed or "not observed")),
        (f"nodes {where}, seed {outcome.scenario.seed}", str(shape.nodes + shape.joiners)),
        ("seconds in all", f"{outcome.seconds:.2f}"),
    ]
    return f'<div class="cards">{"".join(_render_card(what, value) for what, value in cards)}</div>'


def _render_card(what: str, value: str) -> str:
    return f'<div class="card"><b>{value}</b><span>{escape(what)}</span></div>'


def _render_lines(outcome: Outcome) -> str:
    rows = [_render_line("safety", line) for line in outcome.safety]
    rows += [_render_line("liveness", line) for line in outcome.liveness]
    return _render_table(("", "what was judged", "verdict", ""), rows)


def _render_line(part: str, line: Line) -> list[str]:
    return [part, escape(line.what), _render_verdict(line.verdict), escape(line.detail)]


def _render_verdict(verdict: Verdict) -> str:
    return f'<span class="{verdict}">{verdict}</span>'


def _render_faults(outcome: Outcome) -> str:
    if not outcome.faults:
        return "<p>None.</p>"
    rows = [
        [
            escape(fault.kind),
            escape(",".join(fault.nodes)),
            f"{fault.start_seconds:.3f}",
            f"{fault.end_seconds:.3f}",
            f"{fault.bites:,}",
            escape(fault.predicted),
        ]
        for fault in outcome.faults
    ]
    return _render_table(
        ("fault", "nodes", "from (s)", "to (s)", "times it bit", "predicted meanwhile"), rows, (2, 3, 4)
    )


def _render_pictures(outcome: Outcome) -> Iterable[str]:
    timeline = outcome.timeline
    if timeline.decides:
        yield _render_section("Height", draw_heights(outcome))
    if timeline.views:
        yield _render_section("Views", draw_views(outcome))
    if timeline.flights:
        yield _render_section("Around the failure", draw_space_time(outcome))
    if timeline.latencies:
        yield _render_section("Latency", draw_latencies(outcome))


def _render_numbers(numbers: "dict[str, int] | dict[str, float]", meanings: dict[str, str]) -> str:
    rows = [
        [escape(name.replace("_", " ")), _format(value), escape(meanings.get(name, ""))]
        for name, value in sorted(numbers.items())
    ]
    return _render_table(("", "", ""), rows, (1,)) if rows else "<p>Nothing.</p>"


def _format(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"


def _render_hash(outcome: Outcome) -> str:
    if not outcome.audit_hash:
        return ""
    return f"<p>The same seed gives the same run; its audit hash is <code>{escape(outcome.audit_hash)}</code>.</p>"


def _render_table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Cells are HTML already; `numbers` are the columns set to the right."""
    head = "".join(
        f"<th{' class=number' if place in numbers else ''}>{escape(name)}</th>" for place, name in enumerate(heads)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{' class=number' if place in numbers else ''}>{cell}</td>" for place, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _render_section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>{content}"


def _quote(text: str) -> str:
    return f'"{escape(text)}"'
