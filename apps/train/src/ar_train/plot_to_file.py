"""Curves as a picture file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ar_core.errors import ConfigError, MissingPackageError
from ar_core.io import atomic_file

from .curves import RunCurves

__all__ = ["SUFFIXES", "plot_to_file", "require_drawable"]

SUFFIXES = (".svg", ".png")
"""Of files that can be written."""


def require_drawable(path: Path) -> None:
    """Refuse a file that no picture can be written to, before anything is read.

    Raises:
        ConfigError: its suffix is none of ``SUFFIXES``.
        MissingPackageError: matplotlib is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"--output is {str(path)!r} and must end in {' or '.join(SUFFIXES)}: give another name")
    _figure_class()


def plot_to_file(
    runs: Sequence[RunCurves], raw: Sequence[RunCurves], metric: str, path: Path, *, logarithmic: bool = False
) -> None:
    """Draw the training curves of runs, and below them a smaller picture for each number of their evaluations.

    Args:
        runs: with names that differ; smoothed where that was asked for.
        raw: the same as they were recorded, drawn pale behind them where they differ.
        metric: what the training curves are.
        path: a .svg or .png; the same curves give the same file.
        logarithmic: the first picture's vertical axis.

    Raises:
        ConfigError, MissingPackageError: as :func:`require_drawable`.
        CheckpointError: it cannot be written.
    """
    require_drawable(path)
    evaluations = list(dict.fromkeys(name for run in runs for name in run.evaluations))
    ratios = [2, *[1] * len(evaluations)]
    figure = _figure_class()(figsize=(8, 2 * sum(ratios)), layout="constrained")
    axes = figure.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    for number, (run, recorded) in enumerate(zip(runs, raw, strict=True)):
        colour = f"C{number % 10}"
        if recorded.metric != run.metric:
            axes[0].plot(recorded.metric.steps, recorded.metric.values, color=colour, alpha=0.25, linewidth=1)
        axes[0].plot(run.metric.steps, run.metric.values, color=colour, linewidth=1.6, label=run.name)
        for axis, name in zip(axes[1:], evaluations, strict=True):
            if name in run.evaluations:
                curve = run.evaluations[name]
                axis.plot(curve.steps, curve.values, color=colour, marker="o", markersize=4, label=run.name)
    for axis, title in zip(axes, (metric, *evaluations), strict=True):
        axis.set_ylabel(title)
        axis.grid(alpha=0.3)
    if logarithmic:
        axes[0].set_yscale("log")
    axes[0].legend(frameon=False)
    axes[-1].set_xlabel("step")
    with atomic_file(path) as temporary:
        _save(figure, temporary, path.suffix.removeprefix("."))


def _save(figure: Any, path: Path, kind: str) -> None:
    import matplotlib

    # Without these two, equal curves would give files that differ.
    with matplotlib.rc_context({"svg.hashsalt": "ar-train"}):
        figure.savefig(path, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)


def _figure_class() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingPackageError(
            "a picture file is drawn by matplotlib, which is not installed: pip install 'ar-train[plot]', or leave --output out"
        ) from error
    return Figure
