"""Lines, marks and axes as SVG text."""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from math import floor, log10
from typing import Final

WIDTH: Final = 960
LEFT: Final = 64
RIGHT: Final = 16
TOP: Final = 14
BOTTOM: Final = 34

PALETTE: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#8c8c00")
"""Okabe and Ito's, told apart by colour-blind readers too; nodes beyond its length begin again."""


@dataclass(frozen=True)
class Scale:
    """From values to pixels, linear."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low or 1.0
        return self.start + (value - self.low) / span * (self.end - self.start)

    def compute_ticks(self, count: int = 8) -> list[float]:
        """Round values, about so many."""
        span = self.high - self.low
        if span <= 0:
            return [self.low]
        rough = span / count
        power = 10.0 ** floor(log10(rough))
        step = next((power * factor for factor in (1, 2, 5) if power * factor >= rough), power * 10)
        first = -(-self.low // step)
        return [round((first + index) * step, 10) for index in range(int((self.high - first * step) / step + 1e-9) + 1)]


def choose_colour(node: int) -> str:
    return PALETTE[node % len(PALETTE)]


def draw_line(
    x1: float, y1: float, x2: float, y2: float, colour: str, *, width: float = 1.0, dash: str = "", title: str = ""
) -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    place = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    shape = f'<line {place} stroke="{colour}" stroke-width="{width:g}"{dashed}'
    return f"{shape}><title>{escape(title)}</title></line>" if title else f"{shape}/>"


def draw_path(points: Iterable[tuple[float, float]], colour: str, *, width: float = 1.5) -> str:
    """Through all points in order; nothing without any."""
    steps = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{steps}" fill="none" stroke="{colour}" stroke-width="{width:g}"/>' if steps else ""


def draw_box(
    x: float, y: float, width: float, height: float, fill: str, *, title: str = "", opacity: float = 1.0
) -> str:
    shape = f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:.1f}" fill="{fill}"'
    shape += f' fill-opacity="{opacity:g}"' if opacity < 1 else ""
    return f"{shape}><title>{escape(title)}</title></rect>" if title else f"{shape}/>"


def draw_mark(x: float, y: float, colour: str, *, radius: float = 2.2, title: str = "") -> str:
    shape = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{colour}"'
    return f"{shape}><title>{escape(title)}</title></circle>" if title else f"{shape}/>"


def draw_cross(x: float, y: float, colour: str, *, size: float = 4.0, title: str = "") -> str:
    """Something was lost, or has ended."""
    left, right, top, bottom = x - size, x + size, y - size, y + size
    d = f"M{left:.1f} {top:.1f}L{right:.1f} {bottom:.1f}M{left:.1f} {bottom:.1f}L{right:.1f} {top:.1f}"
    return f'<path d="{d}" stroke="{colour}" stroke-width="1.6" fill="none"><title>{escape(title)}</title></path>'


def draw_text(x: float, y: float, text: str, *, anchor: str = "start", kind: str = "") -> str:
    shown = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{shown}>{escape(text)}</text>'


def draw_time_axis(scale: Scale, y: float, *, unit: str = "s") -> list[str]:
    """A rule at the bottom, with ticks."""
    parts = [draw_line(scale.start, y, scale.end, y, "var(--rule)")]
    for tick in scale.compute_ticks():
        parts += [
            draw_line(scale(tick), y, scale(tick), y + 4, "var(--rule)"),
            draw_text(scale(tick), y + 16, f"{tick:g} {unit}", anchor="middle", kind="tick"),
        ]
    return parts


def draw_value_axis(scale: Scale, right: float, *, count: int = 5) -> list[str]:
    """Numbers on the left, and faint lines across."""
    parts: list[str] = []
    for tick in scale.compute_ticks(count):
        parts += [
            draw_line(LEFT, scale(tick), right, scale(tick), "var(--faint)"),
            draw_text(LEFT - 6, scale(tick) + 4, f"{tick:g}", anchor="end", kind="tick"),
        ]
    return parts


def wrap(parts: Iterable[str], height: float, label: str) -> str:
    """A whole picture; `label` is what a screen reader says."""
    body = "\n".join(parts)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}" '
        f'xmlns="http://www.w3.org/2000/svg">\n{body}\n</svg>'
    )
