"""What the trained models can do: reconstruction, likelihood, and samples at several guidance scales."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ar_core.environment import environment
from ar_core.errors import DataError
from ar_core.training import StageConfig
from ar_vision.checkpoint import load_checkpoint
from ar_vision.data.source import Split
from ar_vision.evaluation.generation import open_generator
from ar_vision.evaluation.image_set import open_images
from ar_vision.evaluation.measure import measure
from ar_vision.evaluation.prompts import Prompts
from ar_vision.evaluation.protocol import ProtocolConfig, draw
from ar_vision.evaluation.reconstruction import measure_tokenizer
from ar_vision.scales import ScaleSchedule
from ar_vision.tokenizers.training.lpips import load_lpips

from ..recipes import training_record
from ..resumable import Row, measure_missing
from .captioned import captioned_images, captions, config_of
from .parts import Folders, part
from .samples import Against, measure_samples, resnet20, test_images
from .study import BASE, Study

__all__ = [
    "GUIDANCE",
    "TEXT_GUIDANCE",
    "measure_generator",
    "measure_prompts",
    "measure_reconstruction",
    "of_model",
    "schedule_of",
    "tell",
]

GUIDANCE = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)
"""Scales g of the sweep; 1 is the pass without the null half."""

TEXT_GUIDANCE = (1.0, 2.0, 4.0)
"""Those that samples of captions are drawn with."""

SPLITS: tuple[Split, Split] = ("held_out", "train")

DECODING: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0}
"""Of samples of captions: the model's own distribution."""


def measure_reconstruction(name: str, folders: Folders, results: Path) -> list[Row]:
    """Measure a tokenizer on images that it was not trained on: the 10,000 of CIFAR-10, the Kodak photographs, or
    the held-out emoji.

    The Fréchet distance needs more images than there are of the last two.
    """
    few = part(name).captioned
    loaded = load_checkpoint(folders.model(name), "tokenizer")
    facts = _head(name, folders)

    def row() -> Row:
        found = measure_tokenizer(
            loaded.model,
            schedule_of(name),
            test_images(name, folders),
            extractor=None if few else resnet20(folders),
            lpips=load_lpips(folders.staged / "models" / "lpips_alex" / "model.safetensors"),
            batch_size=24 if few else 100,
        )
        return {"name": "reconstruction", "error": None, "values": found}

    return measure_missing(_file(results, name, folders), facts, [("reconstruction", row)], tell=tell)


def measure_generator(
    name: str, folders: Folders, results: Path, *, count: int, guidance: Sequence[float]
) -> list[Row]:
    """Draw ``count`` images, all classes evenly, at every guidance scale, and measure them against the test images.

    Images are kept beside the run, so that a stopped sweep goes on.
    """
    chosen = part(name)
    if chosen.tokenizer is None:
        raise DataError(f"{name!r} is no generator: give one that is")
    facts = _head(name, folders)
    study, against = Study("images", name, folders), Against.cifar10(folders)

    def row(scale: float) -> Row:
        values = measure_samples(
            study.generator(BASE, scale), study.samples(BASE, count, scale), against, count=count, nearest=True
        )
        return {"name": f"{scale:g}", "error": None, "guidance": scale, "images": count, "values": values}

    cases: list[tuple[str, Callable[[], Row]]] = [(f"{scale:g}", partial(row, scale)) for scale in guidance]
    return measure_missing(_file(results, name, folders), facts, cases, tell=tell)


def measure_prompts(name: str, folders: Folders, results: Path, *, guidance: Sequence[float]) -> list[Row]:
    """Draw an image for every caption of the held-out pictures, and see how near they are to pictures of the training.

    There are too few pictures for a Fréchet distance. What the likelihood of the held-out ones is, the run has recorded.
    """
    chosen = part(name)
    held_out, train = (captioned_images(name, folders, split) for split in SPLITS)
    texts = captions(name, folders)

    def row(scale: float) -> Row:
        assert chosen.tokenizer is not None
        generator = open_generator(
            str(folders.model(name)),
            str(folders.model(chosen.tokenizer)),
            {"guidance": scale, **DECODING},
            prompts=Prompts(texts),
        )
        folder = folders.of(name) / "samples" / f"{len(texts)}_guidance_{scale:g}"
        config = ProtocolConfig(labels=tuple(range(len(texts))), count=len(texts))
        draw(generator, config, StageConfig(directory=str(folder), chunk_size=10), batch_size=10)
        values = measure(open_images(str(folder)), ("nearest_training",), reference=held_out, train=train)
        return {"name": f"{scale:g}", "error": None, "guidance": scale, "images": len(texts), "values": values}

    cases: list[tuple[str, Callable[[], Row]]] = [(f"{scale:g}", partial(row, scale)) for scale in guidance]
    facts = _head(name, folders) | {"decoding": DECODING, "held_out": held_out.count, "train": train.count}
    return measure_missing(_file(results, name, folders), facts, cases, tell=tell)


def schedule_of(name: str) -> ScaleSchedule:
    """Scales at which a tokenizer gives images back: those it is trained on; the finest alone where each is the whole image."""
    config = config_of(name)
    schedule = config.method.schedule
    return ScaleSchedule(schedule.sizes[-1:]) if config.model.kind == "vq" else schedule


def of_model(name: str, folders: Folders) -> dict[str, Any]:
    """What results say of a part that was trained or taken: its config, its size, and the machine."""
    loaded = load_checkpoint(folders.model(name))
    return {
        "part": name,
        "seed": folders.seed,
        "recipe": part(name).recipe,
        "config": part(name).config,
        "parameters": sum(parameter.numel() for parameter in loaded.model.parameters()),
        "environment": environment("cpu"),
    }


def _head(name: str, folders: Folders) -> dict[str, Any]:
    run = folders.of(name)
    if not (run / "metrics.jsonl").is_file():
        raise DataError(
            f"{str(run)!r} holds no run of {name!r}, which was taken and not trained here: train it to measure it"
        )
    record = training_record(run)
    best = run / "best" / "best.json"
    return {
        "kind": "images",
        **of_model(name, folders),
        "steps": record["steps"],
        "training_minutes": record["minutes"],
        "chosen": json.loads(best.read_text(encoding="utf-8")) if best.is_file() else record["evaluations"][-1],
        "evaluations": record["evaluations"],
    }


def _file(results: Path, name: str, folders: Folders) -> Path:
    return results / f"images_{name}_seed{folders.seed}.json"


def tell(row: Row) -> None:
    """Print the numbers of a row."""
    shown = {key: round(value, 3) for key, value in row["values"].items() if isinstance(value, float)}
    print(f"{row['name']}: {json.dumps(shown)}", flush=True)
