"""Results as tables and figures."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ar_quickstart.chart import Series, line_chart

from ..markdown import table
from .parts import PARTS

__all__ = ["BIT_ENTROPY", "Results", "best", "captioned", "plot", "read", "tables"]

RESNET20 = "resnet20-cifar10"
FIGURE = "images_guidance.svg"
FRECHET = f"frechet[{RESNET20}]"
ACCURACY = f"class_accuracy[{RESNET20}]"
RECONSTRUCTION = f"reconstruction_frechet[{RESNET20}]"
BIT_ENTROPY = "bit_entropy"
CLOSE = "samples nearer than 99 % of the held-out images"
TITLES = {
    "var": "VAR",
    "flexvar": "FlexVAR",
    "llamagen": "LlamaGen",
    "infinity": "Infinity",
    "emoji_llamagen": "LlamaGen of emoji",
}

Results = Mapping[str, Any]


def read(folder: Path) -> dict[str, Results]:
    """Results by part and seed, ``var_seed0``, generators and tokenizers alike."""
    files = sorted(folder.glob("images_*_seed*.json"))
    return {file.stem.removeprefix("images_"): json.loads(file.read_text(encoding="utf-8")) for file in files}


def best(results: Results) -> Mapping[str, Any]:
    """The row of the guidance with the smallest Fréchet distance."""
    return min(results["rows"], key=lambda row: row["values"][FRECHET])


def captioned(one: Results) -> bool:
    """Whether the results are of pictures with captions, and not of CIFAR-10."""
    return PARTS[one["part"]].captioned


def tables(folder: Path) -> dict[str, str]:
    """Every table, by name: Markdown."""
    measured = {name: one for name, one in read(folder).items() if one["rows"]}
    results = {name: one for name, one in measured.items() if not captioned(one)}
    generators = {name: one for name, one in results.items() if "guidance" in one["rows"][0]}
    coders = {name: one for name, one in results.items() if name not in generators}
    found = {}
    for name, one in measured.items():
        if captioned(one):
            prompted = PARTS[one["part"]].tokenizer is not None
            found[f"images_{name}"] = prompts_table(one) if prompted else few_table(one)
    if generators:
        found["images_generators"] = generators_table(list(generators.values()))
        found |= {f"images_{name}": sweep_table(one) for name, one in generators.items()}
    if coders:
        found["images_tokenizers"] = tokenizers_table(list(coders.values()))
    return found


def generators_table(results: Sequence[Results]) -> str:
    """One line a model: likelihood, and samples without guidance and with the best one."""
    header = [
        "model",
        "parameters",
        "steps, minutes",
        "held-out NLL, nats a code",
        "Fréchet (ResNet-20) without guidance",
        "with the best",
        "g",
        "class accuracy without",
        "with",
        "nearest training image, pixels: samples",
        "held-out images",
        CLOSE,
    ]
    lines: list[Iterable[str]] = []
    for one in results:
        free = next(row for row in one["rows"] if row["guidance"] == 1)
        top = best(one)
        near = top["values"]["nearest_training[pixels]"]
        lines.append(
            [
                TITLES.get(one["part"], one["part"]),
                *_training(one),
                f"{one['chosen']['evaluation']['held_out_nll']:.3f}",
                f"{free['values'][FRECHET]:.2f}",
                f"{top['values'][FRECHET]:.2f}",
                f"{top['guidance']:g}",
                f"{100 * free['values'][ACCURACY]:.1f} %",
                f"{100 * top['values'][ACCURACY]:.1f} %",
                f"{near['samples']['median']:.1f}",
                f"{near['held_out']['median']:.1f}",
                f"{100 * near['below']:.1f} %",
            ]
        )
    return table(header, lines)


def sweep_table(one: Results) -> str:
    """One line a guidance scale."""
    header = [
        "g",
        "Fréchet (ResNet-20)",
        "class accuracy",
        "precision",
        "recall",
        "nearest training image, pixels",
        CLOSE,
    ]
    lines: list[Iterable[str]] = []
    for row in sorted(one["rows"], key=lambda row: row["guidance"]):
        values = row["values"]
        near = values["nearest_training[pixels]"]
        lines.append(
            [
                f"{row['guidance']:g}",
                f"{values[FRECHET]:.2f}",
                f"{100 * values[ACCURACY]:.1f} %",
                f"{values[f'precision[{RESNET20}]']:.3f}",
                f"{values[f'recall[{RESNET20}]']:.3f}",
                f"{near['samples']['median']:.1f}",
                f"{100 * near['below']:.1f} %",
            ]
        )
    return table(header, lines)


def tokenizers_table(results: Sequence[Results]) -> str:
    """One line a tokenizer: test images and their reconstructions."""
    header = [
        "tokenizer",
        "parameters",
        "steps, minutes",
        "PSNR, dB",
        "SSIM",
        "LPIPS (AlexNet)",
        "Fréchet (ResNet-20)",
        "codes used",
        "perplexity",
    ]
    lines: list[Iterable[str]] = []
    for one in results:
        values = one["rows"][0]["values"]
        lines.append(
            [
                one["part"],
                *_training(one),
                f"{values['psnr']:.2f}",
                f"{values['ssim']:.3f}",
                f"{values['lpips[alexnet]']:.3f}",
                f"{values[RECONSTRUCTION]:.2f}",
                f"{100 * values['codes_used']:.1f} %",
                f"{values['perplexity']:.0f}",
            ]
        )
    return table(header, lines)


def few_table(one: Results) -> str:
    """A tokenizer on pictures that are too few for a distance: its bits, or its codes."""
    header = ["parameters", "steps, minutes", "PSNR, dB", "SSIM", "LPIPS (AlexNet)"]
    values = one["rows"][0]["values"]
    cells = [*_training(one), f"{values['psnr']:.2f}", f"{values['ssim']:.3f}", f"{values['lpips[alexnet]']:.3f}"]
    if BIT_ENTROPY in values:
        return table([*header, "entropy of a bit"], [[*cells, f"{values[BIT_ENTROPY]:.3f}"]])
    cells += [f"{100 * values['codes_used']:.1f} %", f"{values['perplexity']:.0f}"]
    return table([*header, "codes used", "perplexity"], [cells])


def prompts_table(one: Results) -> str:
    """A generator of texts: likelihood of the held-out pictures, and one line a guidance scale."""
    likelihood = one["chosen"]["evaluation"]
    of_bits = "held_out_accuracy" in likelihood
    header = [
        "parameters",
        "steps, minutes",
        f"held-out NLL, nats a {'bit' if of_bits else 'code'}",
        *(["held-out bit accuracy"] if of_bits else []),
        "g",
        "nearest training image, pixels: samples",
        "held-out images",
    ]
    lines: list[Iterable[str]] = []
    of_model = [*_training(one), f"{likelihood['held_out_nll']:.4f}"]
    if of_bits:
        of_model.append(f"{100 * likelihood['held_out_accuracy']:.2f} %")
    for place, row in enumerate(sorted(one["rows"], key=lambda row: row["guidance"])):
        near = row["values"]["nearest_training[pixels]"]
        distances = [f"{near[of]['median']:.1f}" for of in ("samples", "held_out")]
        lines.append([*([""] * len(of_model) if place else of_model), f"{row['guidance']:g}", *distances])
    return table(header, lines)


def plot(folder: Path) -> None:
    """Write the guidance sweep as a figure beside the results."""
    series = [
        Series(
            TITLES.get(one["part"], one["part"]),
            [(row["guidance"], row["values"][FRECHET]) for row in sorted(one["rows"], key=lambda row: row["guidance"])],
        )
        for one in read(folder).values()
        if one["rows"] and "guidance" in one["rows"][0] and not captioned(one)
    ]
    figure = line_chart(series, x_label="guidance g", y_label="Fréchet distance on ResNet-20 features")
    (folder / FIGURE).write_text(figure, encoding="utf-8")


def _training(one: Results) -> tuple[str, str]:
    return f"{one['parameters']:,}", f"{one['steps']:,}, {one['training_minutes']:.0f}"
