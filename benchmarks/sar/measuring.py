"""Samples at every guidance scale, likelihoods, steps: rows of one file a seed."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from ar_core.environment import environment
from ar_vision.checkpoint import fingerprint, load_checkpoint

from ..images.samples import Against, measure_samples
from ..images.study import BASE, Study
from ..recipes import training_record
from ..resumable import Row, measure_missing
from .likelihood import measure_likelihood
from .steps import measure_steps

__all__ = ["measure_all"]


def measure_all(
    study: Study,
    arms: Sequence[str],
    results: Path,
    *,
    count: int,
    guidance: Sequence[float],
    held_out: int | None = None,
    repeats: int = 10,
    batch: int | None = None,
    device: str = "cpu",
) -> list[Row]:
    """Measure the base and the arms; what a file of results has already is kept, and begun samples go on.

    Args:
        study: which seed.
        arms: which have been trained.
        results: folder of the results.
        count: images at each guidance scale.
        guidance: the scales.
        held_out: pictures of the likelihood; None: all.
        repeats: rounds of the timing of steps.
        batch: samples of a timed step; None: the config's.
        device: of the timing.

    Raises:
        DataError: an arm has not been trained.
    """
    models = [BASE, *arms]
    start = load_checkpoint(study.model(BASE), "generator").model
    for arm in models:
        study.model(arm)
    head = {
        "kind": "sar",
        "seed": study.seed,
        "base_seed": study.folders.seed,
        "base": fingerprint(start),
        "parameters": sum(parameter.numel() for parameter in start.parameters()),
        "recipe": "sar",
        "config": "cifar10",
        "environment": environment(device),
    }

    def cases() -> Iterator[tuple[str, Callable[[], Row]]]:
        for arm in models:
            yield f"likelihood, {arm}", partial(_likelihood, study, arm, held_out)
        yield f"steps, {device}", partial(_steps, study, repeats, device, batch)
        against = Against.cifar10(study.folders)
        for scale in guidance:
            for arm in models:
                name = f"samples, {arm}, guidance {scale:g}, {count} images"
                yield name, partial(_samples, name, study, arm, against, scale, count)

    file = results / f"sar_cifar10_seed{study.seed}.json"
    return measure_missing(file, head, cases(), tell=_tell)


def _likelihood(study: Study, arm: str, images: int | None) -> Row:
    found = measure_likelihood(study, arm, images)
    return {
        "name": f"likelihood, {arm}",
        "error": None,
        "what": "likelihood",
        "arm": arm,
        **({} if arm == BASE else training_record(study.of(arm))),
        **found,
    }


def _steps(study: Study, repeats: int, device: str, batch: int | None) -> Row:
    found = measure_steps(study, repeats=repeats, device=device, batch=batch)
    return {"name": f"steps, {device}", "error": None, "what": "steps", "device": device, **found}


def _samples(name: str, study: Study, arm: str, against: Against, scale: float, count: int) -> Row:
    values = measure_samples(
        study.generator(arm, scale),
        study.samples(arm, count, scale),
        against,
        count=count,
        seed=study.seed,
    )
    found = {"arm": arm, "guidance": scale, "images": count, "values": values}
    return {"name": name, "error": None, "what": "samples", **found}


def _tell(row: Row) -> None:
    if row["what"] == "steps":
        shown = {name: round(min(values), 4) for name, values in row["seconds"].items()}
    else:
        shown = {key: round(value, 4) for key, value in row["values"].items() if isinstance(value, float)}
    print(f"{row['name']}: {json.dumps(shown)}", flush=True)
