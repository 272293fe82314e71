"""Curves as text, in dots of braille."""

import math
from collections.abc import Sequence

import plotille
from rich.text import Text

from .curves import Curve, RunCurves

__all__ = ["plot_in_terminal"]

COLOURS = ("cyan", "yellow", "green", "magenta", "red", "blue")
MARKS = "oxabcdefgh"
MARGIN = 24
"""Characters beside the curves, which numbers take."""
LETTERED = 24
"""Points of a curve that get a letter, where colours cannot tell curves apart."""


def plot_in_terminal(
    runs: Sequence[RunCurves], metric: str, *, width: int, height: int = 18, colours: bool = True
) -> Text:
    """Draw the training curves of runs, and below them a smaller picture for each number of their evaluations.

    Args:
        runs: with names that differ.
        metric: what the training curves are.
        width: of the text, in characters.
        height: of the first picture, in lines.
        colours: tell curves apart by colours; else by letters.
    """
    evaluations = dict.fromkeys(name for run in runs for name in run.evaluations)
    parts = [_picture({run.name: run.metric for run in runs}, metric, width, height, colours)]
    for name in evaluations:
        curves = {run.name: run.evaluations[name] for run in runs if name in run.evaluations}
        parts.append(_picture(curves, f"evaluation: {name}", width, max(6, height // 2), colours, points=True))
    return Text.from_ansi("\n\n".join(parts))


def _picture(curves: dict[str, Curve], title: str, width: int, height: int, colours: bool, points: bool = False) -> str:
    values = [value for curve in curves.values() for value in curve.values]
    last = max((step for curve in curves.values() for step in curve.steps), default=0)
    if not values:
        return f"{title}: no finite number yet"
    figure = plotille.Figure()
    figure.origin = False
    figure.height = height
    figure.color_mode, figure.with_colors = "names", colours
    figure.x_label, figure.y_label = "step", title
    for kind in (float, int):
        figure.register_label_formatter(kind, _number)
    low, high = min(values), max(values)
    margin = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    figure.set_y_limits(low - margin, high + margin)
    # A tick comes after every ten characters.
    ticks = max(4, (width - MARGIN) // 10)
    figure.width = 10 * ticks
    figure.set_x_limits(0, ticks * _round_up(max(last, 1) / ticks))
    lettered = not colours and len(curves) > 1
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)] if colours else None
        figure.plot(curve.steps, curve.values, lc=colour, label=name)
        if points or lettered:
            every = 1 if points else max(1, len(curve.steps) // LETTERED)
            mark = MARKS[number % len(MARKS)] if lettered else "•"
            figure.scatter(curve.steps[::every], curve.values[::every], lc=colour, marker=mark)
    key = [
        (f"{MARKS[number % len(MARKS)]} " if lettered else "")
        + f"{name}: {curve.values[-1]:.4g} at step {curve.steps[-1]}"
        for number, (name, curve) in enumerate(curves.items())
        if curve.values
    ]
    if colours:
        key = [plotille.color(words, fg=COLOURS[number % len(COLOURS)]) for number, words in enumerate(key)]
    return f"{figure.show()}\n{', '.join(key)}"


def _round_up(value: float) -> float:
    """The least round number that is no less."""
    magnitude: float = 10 ** math.floor(math.log10(value))
    return next(one * magnitude for one in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if one * magnitude >= value)


def _number(value: float, chars: int, delta: float, left: bool = False) -> str:
    text = f"{value:.4g}"
    return text.ljust(chars) if left else text.rjust(chars)
