"""Which way each measure moved: differences from the arm without either loss, seed by seed."""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev
from typing import Literal, NamedTuple

from ..images.plotting import ACCURACY, FRECHET, RECONSTRUCTION
from ..markdown import table
from .arms import ARMS
from .results import NAMES, Results, rows_of

__all__ = ["MEASURES", "Measure", "changes_table", "verdict"]

BASE = "none"


class Measure(NamedTuple):
    """A number of a row, and which way is better; ``unit`` multiplies it."""

    title: str
    what: Literal["tokenizer", "samples"]
    key: str
    better: Literal["higher", "lower"]
    digits: int
    unit: float = 1.0


MEASURES = (
    Measure("PSNR, dB", "tokenizer", "psnr", "higher", 2),
    Measure("SSIM", "tokenizer", "ssim", "higher", 4),
    Measure("LPIPS (AlexNet)", "tokenizer", "lpips[alexnet]", "lower", 4),
    Measure("Fréchet of reconstructions (ResNet-20)", "tokenizer", RECONSTRUCTION, "lower", 2),
    Measure("semantic codes: density CV", "tokenizer", "density_cv_semantic", "lower", 4),
    Measure("semantic codes: entropy of densities", "tokenizer", "entropy_semantic", "higher", 5),
    Measure("semantic codes: Gini of densities", "tokenizer", "gini_semantic", "lower", 4),
    Measure("semantic codes: log mean density", "tokenizer", "log_density_semantic", "lower", 3),
    Measure("semantic codes: KL(teacher, codebook)", "tokenizer", "histogram_divergence_semantic", "lower", 4),
    Measure("semantic codes: share used", "tokenizer", "codes_used_semantic", "higher", 3),
    Measure("semantic codes: perplexity", "tokenizer", "perplexity_semantic", "higher", 1),
    Measure("visual codes: share used", "tokenizer", "codes_used_visual", "higher", 3),
    Measure("visual codes: perplexity", "tokenizer", "perplexity_visual", "higher", 1),
    Measure("FAR: Fréchet of samples (ResNet-20)", "samples", FRECHET, "lower", 2),
    Measure("FAR: class accuracy, %", "samples", ACCURACY, "higher", 1, 100.0),
)
"""The likelihood of a FAR is not among them: arms have codes of their own, whose nats are not comparable."""


def changes_table(seeds: Sequence[Results]) -> str:
    """One line a measure, for samples one a guidance scale; one column an arm, of mean, standard deviation and verdict."""
    arms = [arm for arm in ARMS if arm != BASE]
    lines: list[Iterable[str]] = []
    for measure in MEASURES:
        scales = {row.get("guidance") for row in rows_of(seeds, measure.what, BASE)}
        for scale in sorted(scales, key=lambda value: value or 0.0):
            cells = [verdict(_differences(seeds, measure, arm, scale), measure) for arm in arms]
            title = measure.title if scale is None else f"{measure.title}, g = {scale:g}"
            lines.append([title, measure.better, *cells])
    return table(["measure", "better is", *(NAMES[arm] for arm in arms)], lines)


def verdict(differences: Sequence[float], measure: Measure) -> str:
    """Say how far a measure moved and which way.

    It moved where every seed moved the same way and the mean is at least two of its standard errors; else it is "unclear", as it
    is with fewer than two seeds.
    """
    if not differences:
        return ""
    mean, count = fmean(differences), len(differences)
    if count < 2:
        return f"{mean:+.{measure.digits}f}, unclear (one seed)"
    spread = stdev(differences)
    agreed = all(value > 0 for value in differences) or all(value < 0 for value in differences)
    clear = agreed and abs(mean) >= 2 * spread / math.sqrt(count)
    word = ("better" if (mean > 0) == (measure.better == "higher") else "worse") if clear else "unclear"
    return f"{mean:+.{measure.digits}f} ± {spread:.{measure.digits}f}, {word}"


def _differences(seeds: Sequence[Results], measure: Measure, arm: str, scale: float | None) -> list[float]:
    found = []
    for one in seeds:
        values = [
            [row["values"][measure.key] for row in rows_of([one], measure.what, name) if row.get("guidance") == scale]
            for name in (arm, BASE)
        ]
        if all(values):
            found.append(measure.unit * (values[0][0] - values[1][0]))
    return found
