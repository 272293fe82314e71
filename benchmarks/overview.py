"""One line a method: the number that decides whether it is worth a look, on what, and what stands beside it. For READMEs."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from .cca import plotting as cca
from .diffusionvl import plotting as diffusionvl
from .distilled_decoding import plotting as distilled_decoding
from .distilled_decoding.comparison import FRECHET, compared, slower
from .distilled_decoding.setups import STUDENT
from .ecm import plotting as ecm
from .glotok import results as glotok
from .images.plotting import RECONSTRUCTION
from .jacobi_forcing.plotting import read_seeds
from .markdown import table
from .nsarm import plotting as nsarm
from .sar import plotting as sar

__all__ = ["METHODS", "Line", "Method", "tables"]

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Line:
    """What was measured.

    Attributes:
        on: model and data.
        number: with its unit.
        beside: what it compares with.
    """

    on: str
    number: str
    beside: str


@dataclass(frozen=True)
class Method:
    """A method of a package.

    Attributes:
        name: as pages call it.
        package: that has it.
        page: that has command, device, dates and all other numbers, from the root of the repository.
        needs: what it takes to use it.
        output: whose it is.
        line: from a folder of results; None where there are none yet.
    """

    name: str
    package: str
    page: str
    needs: str
    output: str
    line: Callable[[Path], Line | None]


def tables(folder: Path) -> dict[str, str]:
    """A table of all methods, with links from the root of the repository, and one for each README of a package, with paths instead."""
    found = {"overview": _table(folder, METHODS, linked=True)}
    for package in dict.fromkeys(method.package for method in METHODS):
        own = [method for method in METHODS if method.package == package]
        found[f"overview_{package.replace('-', '_')}"] = _table(folder, own, linked=False)
    found["overview_lossless"] = _table(folder, LOSSLESS, linked=False)
    # The others leave the model as it is.
    trained = [method for method in METHODS if method.output != "identical to AR greedy"]
    found["overview_ar_train"] = _table(folder, trained, linked=False)
    return found


def _table(folder: Path, methods: Sequence[Method], *, linked: bool) -> str:
    lines = []
    for method in methods:
        line = method.line(folder)
        measured = ["not measured yet", ""] if line is None else [f"{line.number} ({line.on})", line.beside]
        name = f"[{method.name}]({method.page})" if linked else method.name
        lines.append([name, method.needs, method.output, *measured, *([] if linked else [f"`{method.page}`"])])
    header = ["method", "what it needs", "output", "measured", "beside it"]
    return table([*header, *([] if linked else ["page in the repository"])], lines)


def _read(folder: Path, pattern: str) -> list[Any]:
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob(pattern))]


def _named(results: Sequence[Mapping[str, Any]], name: str) -> Rows:
    return [row for one in results for row in one["rows"] if row["name"] == name]


def _mean(rows: Rows, key: str) -> float:
    return fmean(row[key] for row in rows)


def _spread(values: Sequence[float], digits: int) -> str:
    mean = f"{fmean(values):.{digits}f}"
    return f"{mean} ± {stdev(values):.{digits}f}" if len(values) > 1 else mean


def _seeds(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"


def _lossless(name: str) -> Callable[[Path], Line | None]:
    """A decoder of SmolLM2 whose output is AR's."""

    def line(folder: Path) -> Line | None:
        found = _read(folder, "lossless_smollm2_135m_instruct.json")
        if not found:
            return None
        (row,), (plain,) = _named(found, name), _named(found, "ar")
        equal = row["problems"] - len(row["first_differences"])
        return Line(
            f"SmolLM2-135M, {row['problems']} prompts of Spec-Bench, CPU",
            f"{row['tokens_per_forward']:.2f} tokens a pass, {row['speed']:.2f} times AR's speed, {equal} of {row['problems']} outputs AR's",
            f"AR: {plain['tokens_per_forward']:.2f} tokens a pass",
        )

    return line


TASKS = "a 1.25 M model, problems with exact answers"


def _fast_dllm_v2(folder: Path) -> Line | None:
    found = _read(folder, "tasks_fast_dllm_v2_seed*.json")
    if not found:
        return None
    rows, base = _named(found, "D=8 fused threshold 0.9"), _named(found, "AR base")
    return Line(
        f"{TASKS}, {_seeds(len(found))}",
        f"{100 * _mean(rows, 'accuracy'):.1f} % right at {_mean(rows, 'tokens_per_forward'):.2f} tokens a pass, "
        f"{_mean(rows, 'speed'):.1f} times AR's speed",
        f"AR: {100 * _mean(base, 'accuracy'):.1f} % at {_mean(base, 'tokens_per_forward'):.2f}",
    )


def _efficient_dlm(folder: Path) -> Line | None:
    hybrid, plain = (
        _read(folder, "tasks_efficient_dlm-hybrid_seed*.json"),
        _read(folder, "tasks_efficient_dlm_seed*.json"),
    )
    if not hybrid or not plain:
        return None
    speculating = _named(hybrid, "hybrid, self-speculation")
    rows = _named(plain, "D=8 separate threshold 0.9")
    return Line(
        f"{TASKS}, {_seeds(len(hybrid))}",
        f"hybrid, which keeps AR's outputs: {100 * _mean(speculating, 'accuracy'):.1f} % right at "
        f"{_mean(speculating, 'tokens_per_forward'):.2f} tokens a pass",
        f"without the AR loss: {100 * _mean(rows, 'accuracy'):.1f} % at {_mean(rows, 'tokens_per_forward'):.2f}",
    )


def _jacobi_forcing(folder: Path) -> Line | None:
    found = read_seeds(folder)
    if not found:
        return None
    after, before = (_named(found, f"Jacobi, K=1, n=16, {model}") for model in ("trained", "base"))
    return Line(
        f"{TASKS}, {_seeds(len(found))}",
        f"{_mean(after, 'tokens_per_forward'):.2f} tokens a pass, {_mean(after, 'speed'):.1f} times AR's speed, "
        f"{100 * _mean(after, 'accuracy'):.1f} % right",
        f"before training: {_mean(before, 'tokens_per_forward'):.2f} tokens a pass, {100 * _mean(before, 'accuracy'):.1f} %",
    )


CIFAR10 = "of CIFAR-10"


def _sar(folder: Path) -> Line | None:
    found = sar.read(folder)
    drawn = {
        arm: [
            row["values"][FRECHET]
            for one in found
            for row in one["rows"]
            if (row["what"], row.get("arm"), row.get("guidance")) == ("samples", arm, 1)
        ]
        for arm in ("full", "control")
    }
    if not all(drawn.values()):
        return None
    return Line(
        f"a 1.3 M FlexVAR {CIFAR10}, {_seeds(len(drawn['full']))}",
        f"Fréchet distance* {_spread(drawn['full'], 2)}",
        f"as many steps of plain training: {_spread(drawn['control'], 2)}",
    )


def _cca(folder: Path) -> Line | None:
    ways = {}
    for name in ("llamagen", "var"):
        found = [(one, row) for one in cca.read(folder, name) for row in cca.arms(one)]
        settings = [(row["beta"], row["negative_weight"]) for _, row in found]
        if settings:
            # The setting that was chosen is the one that all seeds have.
            chosen = max(settings, key=settings.count)
            ways[name] = [
                cca.way(one, row)["frechet"] for one, row in found if (row["beta"], row["negative_weight"]) == chosen
            ]
    if len(ways) < 2:
        return None
    return Line(
        f"a 1.3 M LlamaGen and a 1.2 M VAR {CIFAR10}, {_seeds(len(ways['llamagen']))}",
        f"without guidance {100 * fmean(ways['llamagen']):.0f} % and {100 * fmean(ways['var']):.0f} % of what guidance gains in Fréchet "
        "distance*",
        "at half the operations of guidance",
    )


def _distilled_decoding(folder: Path) -> Line | None:
    found = distilled_decoding.read(folder).get("llamagen")
    if not found:
        return None
    pairs = [compared(one) for one in found]
    times = [ratio for one in found if (ratio := slower(one, STUDENT, 1)) is not None]
    return Line(
        f"a 1.3 M LlamaGen {CIFAR10}, {_seeds(len(found))}",
        f"Fréchet distance* {fmean(one.student for one in pairs):.2f} in one pass, {fmean(times):.1f} times as fast",
        f"the teacher: {fmean(one.teacher for one in pairs):.2f} in 64 passes",
    )


def _ecm(folder: Path) -> Line | None:
    found = ecm.read(folder)

    def edges(arm: str) -> list[float]:
        return [
            row["values"]["f1"]
            for one in found
            for row in one["rows"]
            if (row["what"], row.get("arm"), row.get("late_temperature")) == ("samples", arm, 0.8)
        ]

    if not edges("ecm"):
        return None
    trained = next(row["trained_parameters"] for row in found[0]["rows"] if row.get("arm") == "ecm")
    return Line(
        f"a 1.2 M VAR {CIFAR10}, canny edges, {_seeds(len(edges('ecm')))}",
        f"F1 {_spread(edges('ecm'), 3)} with {100 * trained / found[0]['base_parameters']:.0f} % of the base's weights",
        f"without control {_spread(edges('base'), 3)}, full fine-tuning {_spread(edges('full'), 3)}",
    )


def _glotok(folder: Path) -> Line | None:
    found = glotok.read(folder)
    ours, plain = (
        [row["values"][RECONSTRUCTION] for row in glotok.rows_of(found, "tokenizer", arm)] for arm in ("both", "none")
    )
    if not ours or not plain:
        return None
    return Line(
        f"a 0.7 M tokenizer {CIFAR10}, {_seeds(len(ours))}",
        f"Fréchet distance* of reconstructions {_spread(ours, 2)}",
        f"neither loss nor modules: {_spread(plain, 2)}",
    )


def _nsarm(folder: Path) -> Line | None:
    found = nsarm.read(folder)

    def distances(method: str) -> list[float]:
        every = [[row["values"][method] for row in one["rows"] if row["what"] == "sweep"] for one in found]
        return [fmean(fmean(values[nsarm.LPIPS]) for values in by) for by in every if by]

    if not distances("joint"):
        return None
    return Line(
        f"a 0.6 M Infinity, 24 photographs, nine degradations, {_seeds(len(distances('joint')))}",
        f"LPIPS {_spread(distances('joint'), 3)}",
        f"stage 1 alone: {_spread(distances('map'), 3)}; bicubic: {distances('bicubic')[0]:.3f}, "
        f"through the tokenizer: {distances('tokenizer')[0]:.3f}",
    )


def _diffusionvl(folder: Path) -> Line | None:
    def shown(arm: str, way: str) -> str:
        shapes = [row["values"]["shape"] for row in _named(found, f"answers, {arm}, {way}")]
        texts = [row["values"]["description"] for row in _named(found, f"texts, {arm}, {way}")]
        right = 100 * fmean(one["right"] / one["questions"] for one in shapes)
        return f"{right:.1f} %, {_mean(texts, 'tokens_per_pass'):.2f} tokens a pass"

    if not (found := diffusionvl.read(folder)):
        return None
    guessed = fmean(row["values"]["shape"]["majority"] for row in _named(found, "guessing"))
    return Line(
        f"SmolLM2-135M with a vision tower, {found[0]['steps'] * found[0]['batch_size']} conversations, {_seeds(len(found))}",
        "held-out shapes named rightly, and tokens of descriptions: from a language model "
        f"{shown('from_language', 'tau=0.9')}; from a vision-language model {shown('from_vlm', 'tau=0.9')}",
        f"AR: {shown('autoregressive', 'AR')}; most frequent answer: {100 * guessed:.1f} %",
    )


def _page(name: str) -> str:
    return f"docs/methods/{name}.md"


METHODS = (
    Method("n-gram lookup", "dlm-text", "docs/evaluation.md", "nothing", "identical to AR greedy", _lossless("lookup")),
    Method(
        "DiffuSpec",
        "dlm-text",
        _page("diffuspec"),
        "a diffusion model to draft with",
        "identical to AR greedy",
        _lossless("DiffuSpec, all layers"),
    ),
    Method(
        "Fast-dLLM v2",
        "dlm-text",
        _page("fast_dllm_v2"),
        "a conversion by fine-tuning",
        "another model's",
        _fast_dllm_v2,
    ),
    Method(
        "Efficient-DLM",
        "dlm-text",
        _page("efficient_dlm"),
        "a conversion by continued training",
        "another model's; hybrids: identical to their own AR",
        _efficient_dlm,
    ),
    Method(
        "Jacobi Forcing",
        "dlm-text",
        _page("jacobi_forcing"),
        "a fine-tuning on its own trajectories",
        "identical to its own AR greedy",
        _jacobi_forcing,
    ),
    Method(
        "DiffusionVL",
        "dvlm",
        _page("diffusionvl"),
        "a fine-tuning of a vision-language model, or of a language model with a tower",
        "another model's",
        _diffusionvl,
    ),
    Method(
        "Distilled Decoding",
        "ar-vision",
        _page("distilled_decoding"),
        "a student trained on pairs of noise and codes of its teacher",
        "another model's, all codes in one pass",
        _distilled_decoding,
    ),
    Method(
        "CCA",
        "ar-vision",
        _page("cca"),
        "a short fine-tuning on the data of pretraining",
        "another model's, without guidance",
        _cca,
    ),
    Method(
        "SAR", "ar-vision", _page("sar"), "more training of a FlexVAR, on its own rollouts", "another model's", _sar
    ),
    Method(
        "ECM",
        "ar-vision",
        _page("ecm"),
        "adapters beside a frozen VAR, trained on control maps",
        "images that follow edges, depth, normals or segments",
        _ecm,
    ),
    Method(
        "GloTok",
        "ar-vision",
        _page("glotok"),
        "a tokenizer trained with a teacher's forty numbers, and a generator on its codes",
        "a tokenizer: a pair of codes a place",
        _glotok,
    ),
    Method(
        "NSARM",
        "ar-vision",
        _page("nsarm"),
        "an Infinity, and photographs to train both stages on",
        "photographs four times as large",
        _nsarm,
    ),
)

LOSSLESS = tuple(
    Method(f"`{name}`", "ar-core", "docs/evaluation.md", "nothing", "identical to AR", _lossless(row))
    for name, row in (
        ("lookup", "lookup"),
        ("jacobi", "jacobi fallback=false"),
        ("recycling", "recycling fallback=false"),
        ("multiblock", "multiblock fallback=false"),
    )
)
"""Decoders of `ar-core`; but for lookup, every draft is verified in full."""
