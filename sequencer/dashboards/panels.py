"""Panels: plain values that say what is asked and how it is shown, and their JSON.

Layout is left to `board`: a panel knows its width and height in Grafana's grid of 24 columns, not its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

Json: TypeAlias = dict[str, Any]

DATASOURCE: Final[Json] = {"type": "prometheus", "uid": "${datasource}"}
GREEN: Final = "green"
YELLOW: Final = "yellow"
ORANGE: Final = "orange"
RED: Final = "red"
BLUE: Final = "blue"
GREY: Final = "text"

SECONDS: Final = "s"
BYTES: Final = "bytes"
RATIO: Final = "percentunit"
PER_SECOND: Final = "ops"
BYTES_PER_SECOND: Final = "Bps"
COUNT: Final = "short"
PLAIN: Final = "none"

Threshold: TypeAlias = tuple[float | None, str]
"""From which value on a colour holds; the first one from None."""


@dataclass(frozen=True)
class Query:
    """`legend` names the series, with labels as `{{label}}`. `is_table`: one row for each series, at this moment."""

    expr: str
    legend: str
    is_instant: bool = False
    format: str = "time_series"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """What all panels have. `description` is what whoever hovers over it reads: what it shows, and what is bad."""

    title: str
    description: str
    queries: tuple[Query, ...]
    kind: str
    unit: str = COUNT
    width: int = 12
    height: int = 8
    thresholds: tuple[Threshold, ...] = ((None, GREEN),)
    defaults: Json = field(default_factory=dict)
    """More of `fieldConfig.defaults`."""
    overrides: tuple[Json, ...] = ()
    options: Json = field(default_factory=dict)
    transformations: tuple[Json, ...] = ()

    def render(self, number: int, x: int, y: int) -> Json:
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "fieldConfig": {
                "defaults": {"unit": self.unit, "thresholds": _render_thresholds(self.thresholds)} | self.defaults,
                "overrides": list(self.overrides),
            },
            "options": self.options,
            "transformations": list(self.transformations),
            "targets": [_render_query(query, position) for position, query in enumerate(self.queries)],
        }


def graph(
    title: str,
    description: str,
    *queries: Query,
    unit: str = COUNT,
    width: int = 12,
    height: int = 8,
    thresholds: Sequence[Threshold] = (),
    is_stacked: bool = False,
    is_stepped: bool = False,
    least: float | None = 0,
    most: float | None = None,
    colors: Mapping[str, str] = {},
) -> Panel:
    """Series over time. `colors` are fixed for series of a name; thresholds are drawn as lines."""
    custom: Json = {
        "lineWidth": 2 if not is_stacked else 1,
        "fillOpacity": 40 if is_stacked else 8,
        "showPoints": "never",
        "lineInterpolation": "stepAfter" if is_stepped else "linear",
        "stacking": {"mode": "normal" if is_stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if thresholds else "off"},
    }
    bounds = {name: value for name, value in (("min", least), ("max", most)) if value is not None}
    return Panel(
        kind="timeseries",
        title=title,
        description=description,
        queries=queries,
        unit=unit,
        width=width,
        height=height,
        thresholds=tuple(thresholds) or ((None, GREEN),),
        defaults={"custom": custom, "color": {"mode": "palette-classic"}} | bounds,
        overrides=tuple(map(_render_color, colors.items())),
        options={
            "legend": {
                "displayMode": "table",
                "placement": "bottom",
                "showLegend": True,
                "calcs": ["lastNotNull", "max"],
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    )


def stat(
    title: str,
    description: str,
    query: Query,
    *,
    unit: str = COUNT,
    width: int = 4,
    height: int = 4,
    thresholds: Sequence[Threshold] = ((None, GREEN),),
    words: Mapping[str, tuple[str, str]] = {},
    decimals: int | None = None,
    is_text: bool = False,
) -> Panel:
    """One figure. `words` are shown instead of values: value -> (word, colour). `is_text`: the name is shown."""
    extra: Json = {} if decimals is None else {"decimals": decimals}
    return Panel(
        kind="stat",
        title=title,
        description=description,
        queries=(query,),
        unit=unit,
        width=width,
        height=height,
        thresholds=tuple(thresholds),
        defaults={"mappings": _render_words(words), "color": {"mode": "thresholds"}} | extra,
        options={
            "colorMode": "background" if words or len(thresholds) > 1 else "value",
            "graphMode": "none" if words or is_text else "area",
            "textMode": "name" if is_text else "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "justifyMode": "auto",
        },
    )


def timeline(
    title: str,
    description: str,
    query: Query,
    words: Mapping[str, tuple[str, str]],
    *,
    width: int = 24,
    height: int = 8,
) -> Panel:
    """States over time, a row for each series. `words`: value -> (word, colour)."""
    return Panel(
        kind="state-timeline",
        title=title,
        description=description,
        queries=(query,),
        unit=PLAIN,
        width=width,
        height=height,
        defaults={
            "mappings": _render_words(words),
            "color": {"mode": "thresholds"},
            "custom": {"fillOpacity": 80, "lineWidth": 0},
        },
        options={
            "mergeValues": True,
            "showValue": "never",
            "rowHeight": 0.8,
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        },
    )


def bars(
    title: str,
    description: str,
    *queries: Query,
    unit: str = COUNT,
    width: int = 12,
    height: int = 8,
    thresholds: Sequence[Threshold] = ((None, GREEN),),
    most: float | None = None,
) -> Panel:
    """A horizontal bar for each series, at this moment."""
    return Panel(
        kind="bargauge",
        title=title,
        description=description,
        queries=queries,
        unit=unit,
        width=width,
        height=height,
        thresholds=tuple(thresholds),
        defaults={"min": 0, "color": {"mode": "thresholds"}} | ({} if most is None else {"max": most}),
        options={
            "orientation": "horizontal",
            "displayMode": "basic",
            "valueMode": "color",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        },
    )


def heatmap(
    title: str, description: str, query: Query, *, unit: str = SECONDS, width: int = 12, height: int = 8
) -> Panel:
    """Of a histogram's buckets; the query sums them by `le`."""
    return Panel(
        kind="heatmap",
        title=title,
        description=description,
        queries=(Query(query.expr, query.legend, format="heatmap"),),
        unit=unit,
        width=width,
        height=height,
        options={
            "calculate": False,
            "color": {"mode": "scheme", "scheme": "Viridis", "steps": 64},
            "yAxis": {"unit": unit},
            "cellGap": 1,
            "legend": {"show": True},
            "tooltip": {"mode": "single", "yHistogram": False},
        },
    )


def table(
    title: str,
    description: str,
    *queries: Query,
    columns: Mapping[str, str],
    width: int = 24,
    height: int = 8,
    unit: str = COUNT,
) -> Panel:
    """A row for each series, at this moment. `columns`: label or value -> what stands above it; others are left out."""
    return Panel(
        kind="table",
        title=title,
        description=description,
        queries=tuple(Query(query.expr, query.legend, is_instant=True, format="table") for query in queries),
        unit=unit,
        width=width,
        height=height,
        options={"showHeader": True, "cellHeight": "sm"},
        transformations=(
            {"id": "merge", "options": {}},
            {"id": "filterFieldsByName", "options": {"include": {"names": list(columns)}}},
            {
                "id": "organize",
                "options": {
                    "renameByName": dict(columns),
                    "indexByName": {name: position for position, name in enumerate(columns)},
                },
            },
        ),
    )


def _render_query(query: Query, position: int) -> Json:
    return {
        "refId": chr(ord("A") + position),
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend,
        "instant": query.is_instant,
        "range": not query.is_instant,
        "format": query.format,
    }


def _render_thresholds(thresholds: Sequence[Threshold]) -> Json:
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in thresholds]}


def _render_words(words: Mapping[str, tuple[str, str]]) -> list[Json]:
    mapped = {
        value: {"text": word, "color": color, "index": place}
        for place, (value, (word, color)) in enumerate(words.items())
    }
    return [{"type": "value", "options": mapped}] if mapped else []


def _render_color(item: tuple[str, str]) -> Json:
    name, color = item
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": color}}],
    }
