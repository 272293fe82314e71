"""Likelihood, fidelity and quality of every arm, and the time of its steps: rows of one file a seed."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ar_core.config import to_dict
from ar_core.environment import environment
from ar_core.errors import DataError
from ar_core.registry import recipe
from ar_core.training import StageConfig, build_job, read_run_config
from ar_vision.checkpoint import fingerprint, load_checkpoint
from ar_vision.ecm.checkpoint import load_controller
from ar_vision.ecm.controls.config import ControlConfig
from ar_vision.ecm.controls.extract import extractor_of
from ar_vision.ecm.fidelity import PROTOCOL, fidelity
from ar_vision.ecm.generation import open_controlled
from ar_vision.evaluation.image_set import ImageSet, open_images
from ar_vision.evaluation.measure import measure
from ar_vision.evaluation.protocol import ProtocolConfig, draw
from ar_vision.pixels import to_bytes, to_signed
from ar_vision.scales import ScaleSchedule
from ar_vision.tokenizers.training.reconstruction import reconstruct
from torch import Tensor

from ..images.samples import resnet20, test_images
from ..images.study import BASE, Study
from ..recipes import training_record
from ..resumable import Row, measure_missing
from .arms import controller_of, entries
from .steps import measure_steps

__all__ = ["LATE", "RECONSTRUCTED", "measure_all"]

LATE = (0.8, 1.0)
"""Late temperatures: the published one, and none."""
RECONSTRUCTED = "reconstructed"
"""The test pictures themselves, through the tokenizer: no generator on its codes can follow edges better."""
LEAST = 65
"""Images: more than ResNet-20 has features."""
ALL = 10**9
"""More held-out pictures than there are."""


def measure_all(
    study: Study,
    arms: Sequence[str],
    results: Path,
    *,
    count: int,
    late: Sequence[float] = LATE,
    held_out: int | None = None,
    repeats: int = 5,
    device: str = "cpu",
) -> list[Row]:
    """Measure the base and the arms; what a file of results has already is kept, and begun samples go on.

    Args:
        study: which seed.
        arms: which have been trained.
        results: folder of the results.
        count: test pictures, the first ones, whose edges are followed under their classes; an image each.
        late: temperatures of the last scale.
        held_out: pictures of the likelihood; None: all.
        repeats: rounds of the timing of steps; 0: none.
        device: that likelihoods, steps and samples are computed on.

    Raises:
        DataError: an arm has not been trained, or there are too few test pictures for a Fréchet distance.
    """
    if count < LEAST:
        raise DataError(f"the count is {count} and the Fréchet distance needs {LEAST} images at least: give more")
    models = [BASE, *arms]
    folders = {arm: controller_of(study, arm) for arm in models}
    control = load_controller(folders[BASE]).controls[0]
    test = test_images("vq_tokenizer", study.folders)
    pictures = torch.cat(list(test.batches(500, stop=count)))
    extract = extractor_of(control)
    maps = torch.cat([extract(part) for part in pictures.split(500)]).contiguous()
    assert test.labels is not None
    labels = test.labels[:count].tolist()
    base = load_checkpoint(study.model(BASE), "generator").model
    head = {
        "kind": "ecm",
        "seed": study.seed,
        "base_seed": study.folders.seed,
        "base": fingerprint(base),
        "base_parameters": _size(base),
        "recipe": "ecm",
        "config": "cifar10",
        "control": to_dict(control.made_by),
        "protocol": dict(PROTOCOL),
        "images": len(pictures),
        "environment": environment(device),
    }

    def cases() -> Iterator[tuple[str, Callable[[], Row]]]:
        for arm in models:
            yield f"likelihood, {arm}", partial(_likelihood, study, arm, folders[arm], held_out, device)
        if repeats:
            yield "steps", partial(_steps, study, arms, repeats, device)
        yield RECONSTRUCTED, partial(_reconstructed, study, control, pictures, maps)
        for temperature in late:
            for arm in models:
                name = f"samples, {arm}, late temperature {temperature:g}"
                yield (
                    name,
                    partial(_samples, name, study, arm, folders[arm], control, maps, labels, temperature, test, device),
                )

    file = results / f"ecm_cifar10_seed{study.seed}.json"
    return measure_missing(file, head, cases(), tell=_tell)


def _likelihood(study: Study, arm: str, folder: Path, images: int | None, device: str) -> Row:
    """Nats a code of held-out pictures under their class and edges, over all scales; of the base, without edges."""
    own = entries(study, "ecm" if arm == BASE else arm)
    count = ALL if images is None else images
    run = read_run_config(recipe("ecm"), "cifar10", [*own, "train.eval_every=1", f"evaluation.images={count}"])
    job = build_job(recipe("ecm"), run)
    model = job.models["model"].eval()
    model.load_state_dict(load_controller(folder, dtype=torch.float32).model.state_dict())
    for one in job.models.values():
        one.to(device)
    assert job.evaluate is not None
    return {
        "name": f"likelihood, {arm}",
        "error": None,
        "what": "likelihood",
        "arm": arm,
        "trained_parameters": 0 if arm == BASE else _size(model),
        **({} if arm == BASE else training_record(study.of(arm))),
        "held_out": images,
        "values": dict(job.evaluate()),
    }


def _steps(study: Study, arms: Sequence[str], repeats: int, device: str) -> Row:
    return {
        "name": "steps",
        "error": None,
        "what": "steps",
        **measure_steps(study, arms, repeats=repeats, device=device),
    }


@torch.no_grad()
def _reconstructed(study: Study, control: ControlConfig, pictures: Tensor, maps: Tensor) -> Row:
    tokenizer: Any = load_checkpoint(study.tokenizer, "tokenizer", dtype=torch.float32).model
    base: Any = load_checkpoint(study.model(BASE), "generator").model
    schedule = ScaleSchedule.square(*base.config.scales)
    again = torch.cat([to_bytes(reconstruct(tokenizer, to_signed(part), schedule)[0]) for part in pictures.split(100)])
    values = _followed(control, again, maps)
    return {"name": RECONSTRUCTED, "error": None, "what": "samples", "arm": RECONSTRUCTED, "values": values}


def _samples(
    name: str,
    study: Study,
    arm: str,
    folder: Path,
    control: ControlConfig,
    maps: Tensor,
    labels: Sequence[int],
    late: float,
    test: ImageSet,
    device: str,
) -> Row:
    generator = open_controlled(
        str(folder),
        str(study.model(BASE)),
        str(study.tokenizer),
        maps,
        labels,
        {"late_temperature": late},
        device=device,
    )
    where = study.home / "samples" / f"{arm}_{len(maps)}_late_{late:g}"
    protocol = ProtocolConfig(tuple(range(len(maps))), len(maps), study.seed)
    draw(generator, protocol, StageConfig(str(where), chunk_size=100, device=device), batch_size=100)
    drawn = open_images(str(where))
    images = torch.cat(list(drawn.batches(500)))
    values: dict[str, Any] = _followed(control, images, maps)
    labelled = ImageSet(
        drawn.place, drawn.count, drawn.size, drawn.stream, torch.tensor(list(labels)), None, drawn.facts
    )
    values |= measure(
        labelled, ("frechet", "class_accuracy"), extractor=resnet20(study.folders, device), reference=test
    )
    return {
        "name": name,
        "error": None,
        "what": "samples",
        "arm": arm,
        "late_temperature": late,
        "decoding": dict(generator.facts["decoding"]),
        "values": values,
    }


def _followed(control: ControlConfig, images: Tensor, maps: Tensor) -> dict[str, Any]:
    found = fidelity(control, extractor_of(control), images, maps, structural=True)
    return {metric: float(value.double().mean()) for metric, value in found.items()}


def _size(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _tell(row: Row) -> None:
    if row["what"] == "steps":
        shown: dict[str, Any] = {name: round(min(values), 4) for name, values in row["seconds"].items()}
    else:
        shown = {key: round(value, 4) for key, value in row["values"].items() if isinstance(value, float)}
    print(f"{row['name']}: {json.dumps(shown)}", flush=True)
