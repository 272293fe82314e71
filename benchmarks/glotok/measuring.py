"""Reconstructions, codebooks and samples of every arm."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from ar_core.environment import environment
from ar_core.errors import DataError
from ar_vision.checkpoint import fingerprint, load_checkpoint
from ar_vision.evaluation.generation import open_generator
from ar_vision.evaluation.reconstruction import measure_tokenizer
from ar_vision.glotok.histogram import log_histogram, log_profile
from ar_vision.glotok.histogram_config import HistogramConfig
from ar_vision.glotok.relation_loss import divergence
from ar_vision.glotok.teacher.profile import Profile, open_profile
from ar_vision.glotok.uniformity import gini, uniformity
from ar_vision.scales import ScaleSchedule
from ar_vision.tokenizers.dual_vq.model import DualVqTokenizer
from ar_vision.tokenizers.training.lpips import load_lpips
from ar_vision.tokenizers.training.usage import of_codebook

from ..images.measuring import tell
from ..images.samples import Against, measure_samples
from ..recipes import training_record
from ..resumable import Row, measure_missing
from .arms import CONFIG, GlotokStudy, require_arm

__all__ = ["equal_steps", "measure"]


def measure(
    study: GlotokStudy,
    results: Path,
    arms: Sequence[str],
    *,
    count: int,
    guidance: Sequence[float],
    test_images: int | None = None,
    device: str = "cpu",
) -> list[Row]:
    """Measure arms; drawn images stay beside the runs, rows in the results, and a stopped measurement goes on.

    Args:
        study: which seed.
        results: folder of ``glotok_cifar10_seedN.json``.
        arms: those to measure; each must have been trained.
        count: samples of each row, all classes evenly.
        guidance: scales that samples are drawn with.
        test_images: reconstruct only the first so many, and hold samples against them; None: all.
        device: that tokenizers and FARs run on.

    Raises:
        DataError: an arm was not trained, there is none of that name, or arms were trained for unequal steps.
    """
    for arm in arms:
        require_arm(arm)
    trained = equal_steps(study, arms)
    against = Against.cifar10(study.folders, test_images, device)
    profile = open_profile(str(study.teacher), HistogramConfig())
    cases: list[tuple[str, Callable[[], Row]]] = []
    for arm in arms:
        cases.append((f"{arm}, tokenizer", partial(_tokenizer, study, arm, against, profile, device)))
        for scale in guidance:
            name = f"{arm}, g = {scale:g}"
            cases.append(
                (name, partial(_samples, study, arm, against, name=name, scale=scale, count=count, device=device))
            )
    facts = {
        "kind": "glotok",
        "config": CONFIG,
        "seed": study.folders.seed,
        # Distances depend on how many images there are: rows of another number do not stand beside these.
        "images": count,
        "test_images": against.test.count,
        # Nor do rows of shorter runs.
        "steps": trained,
        "teacher": profile.facts(),
        "environment": environment(device),
    }
    return measure_missing(results / f"glotok_cifar10_seed{study.folders.seed}.json", facts, cases, tell=tell)


def equal_steps(study: GlotokStudy, arms: Sequence[str]) -> dict[str, int]:
    """Return the steps of tokenizers and FARs, which all arms must share.

    Raises:
        DataError: an arm was not trained, or not as long as another.
    """
    found: dict[str, int] = {}
    for part in ("tokenizer", "far"):
        steps = {}
        for arm in arms:
            study.model(arm, part)
            steps[arm] = int(training_record(study.of(arm, part))["steps"])
        if len(set(steps.values())) > 1:
            told = ", ".join(f"{arm} {count}" for arm, count in steps.items())
            raise DataError(
                f"the arms' runs of the {part} have unequal steps ({told}), so that they cannot be compared: train all of them alike, "
                "in a new --runs folder"
            )
        found[part] = max(steps.values(), default=0)
    return found


def _tokenizer(study: GlotokStudy, arm: str, against: Against, profile: Profile, device: str) -> Row:
    loaded = load_checkpoint(study.model(arm, "tokenizer"), "tokenizer", dtype=torch.float32)
    model = cast(DualVqTokenizer, loaded.model)
    lpips = load_lpips(study.folders.staged / "models" / "lpips_alex" / "model.safetensors").to(device)
    values: dict[str, Any] = measure_tokenizer(
        model.to(device),
        ScaleSchedule.square(model.config.grid),
        against.test,
        extractor=against.extractor,
        lpips=lpips,
        batch_size=100,
    )
    # Codebooks are small, and what stays with them is kept on the CPU.
    model.cpu()
    profiles = {}
    for name, codebook in model.named_codebooks.items():
        weight = codebook.weight.detach()
        values |= {of_codebook(metric, name): value for metric, value in uniformity(weight).items()}
        found = log_profile(log_histogram(weight.double(), profile.histogram))
        values[of_codebook("histogram_divergence", name)] = float(divergence(found, profile.logarithms))
        profiles[name] = found.exp().tolist()
    uses = _uses(study, arm, model)
    values |= {of_codebook("uses_gini", name): gini(counts) for name, counts in uses.items()}
    return {
        "name": f"{arm}, tokenizer",
        "error": None,
        "what": "tokenizer",
        "arm": arm,
        "values": values,
        "profiles": profiles,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "checkpoint": fingerprint(model),
        "training": training_record(study.of(arm, "tokenizer")),
    }


def _uses(study: GlotokStudy, arm: str, model: DualVqTokenizer) -> dict[str, torch.Tensor]:
    """How often each code occurs among the stored codes of the training pictures, by codebook: int64 [n]."""
    from ar_vision.data.codes.store import CodeStore

    store = CodeStore(study.of(arm, "codes"))
    pairs = torch.stack([store.codes(number, 0) for number in range(len(store))])
    return {
        name: torch.bincount(ids.flatten(), minlength=len(model.codebooks[name].weight))
        for name, ids in model.split(pairs).items()
    }


def _samples(
    study: GlotokStudy, arm: str, against: Against, *, name: str, scale: float, count: int, device: str
) -> Row:
    generator = open_generator(
        str(study.model(arm, "far")), str(study.model(arm, "tokenizer")), {"guidance": scale}, device=device
    )
    folder = study.of(arm, "far") / "samples" / f"{count}_guidance_{scale:g}"
    values = measure_samples(generator, folder, against, count=count, seed=study.folders.seed, device=device)
    return {
        "name": name,
        "error": None,
        "what": "samples",
        "arm": arm,
        "guidance": scale,
        "images": count,
        "values": values,
        "training": training_record(study.of(arm, "far")),
    }
