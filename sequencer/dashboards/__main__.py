"""Writes deploy/grafana/dashboards anew."""

from pathlib import Path

from sequencer.dashboards.catalogue import write_boards

write_boards(Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards")
