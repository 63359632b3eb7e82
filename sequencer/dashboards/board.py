"""A dashboard: sections of panels, laid out from left to right and from top to bottom, with what all of them share."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from sequencer.dashboards.panels import DATASOURCE, RED, Json, Panel

COLUMNS: Final = 24
SCHEMA_VERSION: Final = 40
"""Of Grafana 11.4, which deploy/compose runs; newer ones migrate what they read."""
TAG: Final = "sequencer"


@dataclass(frozen=True)
class Section:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Board:
    """`uid` is part of its address, and of the name of its file."""

    uid: str
    title: str
    description: str
    sections: tuple[Section, ...]

    def render(self) -> Json:
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": [TAG],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,
            "refresh": "5s",
            "time": {"from": "now-15m", "to": "now"},
            "timezone": "browser",
            "annotations": {"list": [_ANNOTATE_FAULTS, _ANNOTATE_ALERTS]},
            "templating": {"list": [_CHOOSE_DATASOURCE, _CHOOSE_NETWORK, _CHOOSE_INSTANCE]},
            "links": [_LINK_OTHERS],
            "panels": list(_lay_out(self.sections)),
        }


def _lay_out(sections: Iterable[Section]) -> Iterator[Json]:
    """Rows of panels that fill 24 columns; the next row begins below the highest of the one before."""
    number, y = 1, 0
    for section in sections:
        grid = {"h": 1, "w": COLUMNS, "x": 0, "y": y}
        yield {"id": number, "type": "row", "title": section.title, "collapsed": False, "gridPos": grid, "panels": []}
        number, x, y, height = number + 1, 0, y + 1, 0
        for panel in section.panels:
            if x + panel.width > COLUMNS:
                x, y, height = 0, y + height, 0
            yield panel.render(number, x, y)
            number, x, height = number + 1, x + panel.width, max(height, panel.height)
        y += height


def _choose(name: str, label: str, query: str, *, is_multiple: bool) -> Json:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "sort": 7,
        "multi": is_multiple,
        "includeAll": is_multiple,
        "current": {"text": ["All"], "value": ["$__all"]} if is_multiple else {},
        "options": [],
        "hide": 0,
    }


_CHOOSE_DATASOURCE: Final[Json] = {
    "name": "datasource",
    "label": "Data source",
    "type": "datasource",
    "query": "prometheus",
    "current": {},
    "options": [],
    "hide": 0,
    "refresh": 1,
}
_CHOOSE_NETWORK: Final = _choose("network", "Network", "label_values(sequencer_view, network)", is_multiple=False)
_CHOOSE_INSTANCE: Final = _choose(
    "instance", "Instance", 'label_values(sequencer_view{network="$network"}, instance)', is_multiple=True
)
_ANNOTATE_FAULTS: Final[Json] = {
    "name": "Faults",
    "enable": True,
    "hide": False,
    "iconColor": RED,
    "datasource": DATASOURCE,
    "expr": 'max by (fault) (sequencer_fault_active{network="$network"}) > 0',
    "titleFormat": "{{fault}}",
    "textFormat": "done to this cluster on purpose, see GET /v1/faults",
    "tagKeys": "fault",
    "step": "1s",
    "useValueForTime": False,
}
_ANNOTATE_ALERTS: Final[Json] = {
    "name": "Alerts",
    "enable": False,
    "hide": False,
    "iconColor": "orange",
    "datasource": DATASOURCE,
    "expr": 'ALERTS{alertstate="firing", network="$network"}',
    "titleFormat": "{{alertname}}",
    "textFormat": "{{severity}} {{validator}}{{instance}}",
    "tagKeys": "severity",
    "step": "5s",
    "useValueForTime": False,
}
_LINK_OTHERS: Final[Json] = {
    "type": "dashboards",
    "title": "Sequencer",
    "tags": [TAG],
    "asDropdown": True,
    "includeVars": True,
    "keepTime": True,
    "targetBlank": False,
    "icon": "external link",
    "tooltip": "",
    "url": "",
}
