"""Bar charts as SVG text, in the style of the line charts."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from ar_quickstart.chart import COLOURS, STYLE, ticks

__all__ = ["Bars", "bar_chart"]

LEFT, RIGHT, TOP, BOTTOM = 190, 48, 16, 48
BAR, GAP = 16, 14
LEGEND_LINE = 20


@dataclass(frozen=True)
class Bars:
    """The bars of one colour, one in each group.

    Attributes:
        name: for the legend.
        values: of each group, one or more >= 0; the bar is their mean, and dots show them where there are several. Empty: no bar.
    """

    name: str
    values: Sequence[Sequence[float]]


def bar_chart(groups: Sequence[str], bars: Sequence[Bars], *, x_label: str, width: int = 620, title: str = "") -> str:
    """One ``<svg>`` element: groups of horizontal bars from 0, each with its mean.

    Args:
        groups: their names, from top to bottom.
        bars: at least one value in all.
        x_label: what the lengths are.
        width: in pixels; the height follows from the number of bars.
        title: for screen readers.

    Returns:
        SVG text with its own style, usable as a file and inside a page.
    """
    top = TOP + LEGEND_LINE * len(bars)
    band = BAR * len(bars) + GAP
    bottom = top + band * len(groups)
    marks = ticks(0.0, max(value for one in bars for values in one.values for value in values))

    def px(x: float) -> float:
        return LEFT + x / marks[-1] * (width - LEFT - RIGHT)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {width} {bottom + BOTTOM}" width="{width}" role="img" '
        f'aria-label="{html.escape(title or x_label)}"><style>{STYLE}</style>'
    ]
    for x in marks:
        parts.append(f'<line class="grid" x1="{px(x):.1f}" x2="{px(x):.1f}" y1="{top}" y2="{bottom}"/>')
        parts.append(f'<text x="{px(x):.1f}" y="{bottom + 18}" text-anchor="middle">{x:.4g}</text>')
    middle = (LEFT + width - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{bottom + BOTTOM - 8}" text-anchor="middle">{html.escape(x_label)}</text>')
    for place, group in enumerate(groups):
        centre = top + band * (place + 0.5) + 4
        parts.append(f'<text x="{LEFT - 8}" y="{centre:.1f}" text-anchor="end">{html.escape(group)}</text>')
    for number, one in enumerate(bars):
        colour, legend = COLOURS[number % len(COLOURS)], TOP + LEGEND_LINE * number
        parts.append(f'<rect x="{LEFT}" y="{legend - 6}" width="22" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{LEFT + 30}" y="{legend + 4}">{html.escape(one.name)}</text>')
        for place, values in enumerate(one.values):
            if not values:
                continue
            y, mean = top + band * place + GAP / 2 + BAR * number, fmean(values)
            parts.append(
                f'<rect x="{LEFT}" y="{y + 1:.1f}" width="{px(mean) - LEFT:.1f}" height="{BAR - 2}" fill="{colour}"/>'
            )
            if len(values) > 1:
                parts += [
                    f'<circle cx="{px(value):.1f}" cy="{y + BAR / 2:.1f}" r="2.5" fill="none" stroke="#5b6475"/>'
                    for value in values
                ]
            end = max(mean, *values) if len(values) > 1 else mean
            parts.append(f'<text x="{px(end) + 6:.1f}" y="{y + BAR / 2 + 4:.1f}">{mean:.2f}</text>')
    return "\n".join([*parts, "</svg>"])
