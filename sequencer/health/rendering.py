"""Findings as monitoring systems take them: a plugin's output, or Prometheus' textfile format."""

from collections.abc import Sequence
from typing import Any, Final

from sequencer.health.checks import Finding, State, find_worst

_HELP: Final = {
    "sequencer_check_state": "0 ok, 1 warning, 2 critical, 3 unknown.",
    "sequencer_check_value": "What was judged, in the unit of `figure`.",
    "sequencer_check_timestamp_seconds": "Unix time of the check: an old one means that it does not run any more.",
}


def render_json(subject: str, findings: Sequence[Finding], now: float) -> dict[str, Any]:
    return {
        "subject": subject,
        "state": find_worst(finding.state for finding in findings).name.lower(),
        "at": round(now, 3),
        "checks": [
            {
                "check": finding.check,
                "state": finding.state.name.lower(),
                "text": finding.text,
                "figure": finding.metric,
                "value": finding.value,
            }
            for finding in findings
        ],
    }


def render_plugin(findings: Sequence[Finding]) -> str:
    """The plugin format of Nagios and Icinga: a line with performance data, then a line for each check."""
    worst = find_worst(finding.state for finding in findings)
    bad = [finding for finding in findings if finding.state is not State.OK]
    told = "; ".join(finding.text for finding in bad or findings[:2])
    figures = " ".join(f"{each.metric}={each.value:g}" for each in findings if each.value is not None)
    lines = [f"SEQUENCER {worst.name} - {_clean(told)} | {figures}"]
    lines += [f"[{finding.state.name}] {finding.check}: {_clean(finding.text)}" for finding in findings]
    return "\n".join(lines)


def render_prometheus(subject: str, findings: Sequence[Finding], now: float) -> str:
    """For node_exporter's textfile collector. Write it beside the file that is collected, then move it there."""
    lines: list[str] = []
    label = f'subject="{_escape(subject)}"'
    rows = {
        "sequencer_check_state": [(f',check="{each.check}"', float(each.state)) for each in findings],
        "sequencer_check_value": [
            (f',check="{each.check}",figure="{each.metric}"', float(each.value))
            for each in findings
            if each.value is not None
        ],
        "sequencer_check_timestamp_seconds": [("", round(now, 3))],
    }
    for name, samples in rows.items():
        lines += [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} gauge"]
        lines += [f"{name}{{{label}{labels}}} {value!r}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _clean(text: str) -> str:
    """A plugin's output ends at the bar."""
    return text.replace("|", "/").replace("\n", " ")


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
