"""Line charts as SVG text: no plotting library, no script, readable in light and dark pages."""

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["COLOURS", "STYLE", "Series", "line_chart", "ticks"]

HEIGHT = 300
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 16, 48
COLOURS = ("#1d6fd1", "#d1661d", "#2a9d5c", "#8a4fbf", "#c0395c", "#6b7280")
"""Of the lines, in order."""

Scale = Callable[[float], float]

STYLE = """
.chart { max-width: 100%; height: auto; font: 12.5px system-ui, -apple-system, "Segoe UI", sans-serif; }
.chart text { fill: #5b6475; } .chart .grid { stroke: #d9dee8; stroke-width: 1; }
@media (prefers-color-scheme: dark) { .chart text { fill: #98a2b8; } .chart .grid { stroke: #333b4d; } }
"""
"""CSS that a page with charts needs."""


@dataclass(frozen=True)
class Series:
    """Points that belong together.

    Attributes:
        name: for the legend.
        points: (x, y) in drawing order.
        labels: a word beside each point; empty for none.
        dashed: draw the line dashed, for baselines.
        colour: number of its colour; the default is its place among the series.
    """

    name: str
    points: Sequence[tuple[float, float]]
    labels: Sequence[str] = ()
    dashed: bool = False
    colour: int | None = None


def line_chart(
    series: Sequence[Series], *, x_label: str, y_label: str, percent: bool = False, width: int = 620, title: str = ""
) -> str:
    """One ``<svg>`` element with axes, grid, lines, dots and legend.

    Args:
        series: at least one point in all.
        x_label: what the horizontal axis shows.
        y_label: what the vertical axis shows.
        percent: y is a share in [0, 1] and is written in percent.
        width: in pixels; the height is fixed.
        title: for screen readers.

    Returns:
        SVG text with its own style, usable as a file and inside a page.
    """
    xs = [x for one in series for x, _ in one.points]
    ys = [y for one in series for _, y in one.points]
    x_ticks, y_ticks = ticks(min(xs), max(xs)), ticks(min(ys), max(ys), top=1.0 if percent else None)
    # A legend line takes 20 units; charts with several keep their plot area.
    top = TOP + 20 * len(series)
    height = HEIGHT + 20 * len(series)

    def px(x: float) -> float:
        return LEFT + (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0]) * (width - LEFT - RIGHT)

    def py(y: float) -> float:
        return height - BOTTOM - (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0]) * (height - top - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'aria-label="{html.escape(title or f"{y_label} against {x_label}")}"><style>{STYLE}</style>'
    ]
    for y in y_ticks:
        text = f"{100 * y:.4g} %" if percent else f"{y:.4g}"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{width - RIGHT}" y1="{py(y):.1f}" y2="{py(y):.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{py(y) + 4:.1f}" text-anchor="end">{text}</text>')
    for x in x_ticks:
        parts.append(f'<text x="{px(x):.1f}" y="{height - BOTTOM + 18}" text-anchor="middle">{x:.4g}</text>')
    parts.append(
        f'<text x="{(LEFT + width - RIGHT) / 2}" y="{height - 8}" text-anchor="middle">{html.escape(x_label)}</text>'
    )
    middle = (top + height - BOTTOM) / 2
    parts.append(
        f'<text x="14" y="{middle:.1f}" text-anchor="middle" transform="rotate(-90 14 {middle:.1f})">{html.escape(y_label)}</text>'
    )
    for number, one in enumerate(series):
        colour = number if one.colour is None else one.colour
        parts += _drawn(one, COLOURS[colour % len(COLOURS)], TOP + 20 * number, px, py)
    return "\n".join([*parts, "</svg>"])


def _drawn(one: Series, colour: str, legend: float, px: Scale, py: Scale) -> list[str]:
    dash = ' stroke-dasharray="5 4"' if one.dashed else ""
    path = " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in one.points)
    parts = [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>',
        f'<line x1="{LEFT}" x2="{LEFT + 22}" y1="{legend}" y2="{legend}" stroke="{colour}" stroke-width="2"{dash}/>',
        f'<text x="{LEFT + 30}" y="{legend + 4}">{html.escape(one.name)}</text>',
    ]
    for index, (x, y) in enumerate(one.points):
        parts.append(f'<circle cx="{px(x):.1f}" cy="{py(y):.1f}" r="3.5" fill="{colour}"/>')
        if one.labels:
            parts.append(
                f'<text x="{px(x):.1f}" y="{py(y) - 9:.1f}" text-anchor="middle">{html.escape(one.labels[index])}</text>'
            )
    return parts


def ticks(low: float, high: float, *, top: float | None = None) -> list[float]:
    """Four to nine round numbers that enclose [low, high]; ``top`` is the most the axis can show."""
    span = high - low or abs(high) or 1.0
    raw = span / 5
    magnitude = 10 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= raw * (1 - 1e-9))
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    found = [round(index * step, 10) for index in range(first, last + 1)]
    return found if top is None else [tick for tick in found if tick <= top] if low < top else [0.0, top]
