"""The sweep of degradations, and large pictures: rows of one file a seed."""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ar_core.environment import environment
from ar_vision.evaluation.image_set import open_images
from ar_vision.nsarm.degradation.config import SWEEP, degradation_of
from ar_vision.nsarm.measure import bicubic, image_metrics, measure_sweep
from ar_vision.nsarm.seams import blend_ratio, seam_ratio
from ar_vision.nsarm.tiling import default_overlap, tile_plan
from ar_vision.pixels import to_signed
from ar_vision.tokenizers.training.lpips import load_lpips
from PIL import Image
from torch import Tensor

from ..child_memory import run_alone
from ..recipes import training_record
from ..resumable import Row, measure_missing
from .arms import ARMS, Study
from .methods import CEILING, FACTOR, ceiling, methods

__all__ = ["measure_all", "photographs"]

SEED = 0
"""Of the degradations, the same for all seeds of training."""
LARGE = (0, 2)
"""The photographs that large pictures are made of: a wall, whose texture hides seams, and caps under a smooth sky, which shows them."""
TILE = 32
"""Pixels of a tile of the small image."""


def photographs(study: Study, count: int) -> list[Tensor]:
    """The first Kodak photographs, uint8 [3, 256, 256] each."""
    return list(islice(open_images(str(study.kodak)).stream(0), count))


def measure_all(
    study: Study,
    results: Path,
    *,
    count: int,
    degradations: Sequence[str] | None = None,
    large: tuple[int, int] = (1000, 700),
    overlaps: Sequence[int | None] = (None, 0),
) -> list[Row]:
    """Measure everything; what a file of results has already is kept.

    Args:
        study: which seed.
        results: folder of the results.
        count: photographs under each degradation.
        degradations: by name; None: the sweep.
        large: width and height of the large inputs.
        overlaps: of their tiles; None: the usual one. 0: inputs are as much larger as makes them whole tiles, or some would overlap.

    Raises:
        DataError: an arm has not been trained.
    """
    for arm in ("map", "joint"):
        study.model(arm)
    head = {
        "kind": "nsarm",
        "seed": study.seed,
        "recipe": "nsarm",
        "config": "photographs128",
        "photographs": "the Kodak photographs, 256 pixels",
        "environment": environment("cpu"),
    }
    lpips = cache(lambda: load_lpips(study.staged / "models" / "lpips_alex" / "model.safetensors"))
    ways = cache(lambda: methods(study))
    images = cache(lambda: photographs(study, count))

    def cases() -> Iterator[tuple[str, Callable[[], Row]]]:
        for arm in ARMS:
            if study.of(arm).is_dir():
                yield f"training, {arm}", partial(_training, study, arm)
        name = f"{CEILING}, {count} photographs"
        yield name, lambda: _ceiling(name, study, images(), lpips())
        for one in degradations or tuple(SWEEP):
            label = f"{one}, {count} photographs"
            yield label, lambda label=label, one=one: _swept(label, one, images(), ways(), lpips())
        for number, overlap in product(LARGE[:count], overlaps):
            width, height = (side if overlap != 0 else -(-side // TILE) * TILE for side in large)
            label = (
                f"large, photograph {number}, {width} x {height}, overlap {'default' if overlap is None else overlap}"
            )
            yield label, partial(_large, label, study, number, (width, height), overlap)

    return measure_missing(results / f"nsarm_photographs_seed{study.seed}.json", head, cases(), tell=_tell)


def _training(study: Study, arm: str) -> Row:
    return {"name": f"training, {arm}", "error": None, "what": "training", "arm": arm, **training_record(study.of(arm))}


def _ceiling(name: str, study: Study, images: Sequence[Tensor], lpips: Any) -> Row:
    values: dict[str, list[float]] = {}
    for image in images:
        again = to_signed(ceiling(study.tokenizer, image))[None]
        for metric, value in image_metrics(again, to_signed(image)[None], lpips, {}).items():
            values.setdefault(metric, []).append(float(value[0]))
    return {"name": name, "error": None, "what": "ceiling", "values": {CEILING: values}}


def _swept(name: str, degradation: str, images: Sequence[Tensor], ways: Any, lpips: Any) -> Row:
    chosen = {degradation: degradation_of(degradation)}
    begun = time.perf_counter()
    values = measure_sweep(images, chosen, ways, lpips=lpips, seed=SEED)[degradation]
    seconds = time.perf_counter() - begun
    return {
        "name": name, "error": None, "what": "sweep", "degradation": degradation, "values": values, "seconds": round(seconds, 2)
    }  # fmt: skip


def _large(name: str, study: Study, number: int, size: tuple[int, int], overlap: int | None) -> Row:
    """Upscale a large picture by the command, in a process of its own; the result is kept."""
    output = study.large(number, overlap)
    record = output.with_name(f"{output.name}.json")
    for left in (output, record):
        left.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.png"
        # Mirrored, so that it has the detail of a photograph throughout; enlarged, it would be smooth and upscaling would have little to draw.
        low = photographs(study, number + 1)[number].numpy()
        behind = [max(0, wanted - side) for wanted, side in zip(reversed(size), low.shape[1:])]
        low = np.pad(low, [(0, 0), *((0, more) for more in behind)], mode="symmetric")[:, : size[1], : size[0]]
        Image.fromarray(np.ascontiguousarray(low.transpose(1, 2, 0))).save(small)
        command = [str(Path(sys.executable).with_name("ar-decode")), "sr", f"checkpoint={study.model('joint')}"]
        command += [
            f"tokenizer={study.tokenizer}",
            f"input={small}",
            f"output={output}",
            "device=cpu",
            f"seed={study.seed}",
        ]
        command += [] if overlap is None else [f"overlap={overlap}"]
        done = run_alone(command)
    used = json.loads(record.read_text(encoding="utf-8"))["pictures"][0]
    enlarged = bicubic(FACTOR)(torch.from_numpy(low), 0)
    plan = tile_plan(size[1], size[0], TILE, default_overlap(TILE) if overlap is None else overlap)
    return {
        "name": name,
        "error": None,
        "what": "large",
        "photograph": number,
        "size": list(size),
        "overlap": used["overlap"],
        "tiles": used["tiles"],
        "seconds": round(done.seconds, 2),
        "phases": {phase: round(value, 3) for phase, value in used["phases"].items()},
        "peak_mebibytes": round(done.peak_mebibytes, 1),
        "seam_ratio": used["seam_ratio"],
        "seam_ratio_bicubic": seam_ratio(enlarged, plan, FACTOR),
        "blend_ratio": used["blend_ratio"],
        "blend_ratio_bicubic": blend_ratio(enlarged, plan, FACTOR),
    }


def _tell(row: Row) -> None:
    if "values" in row:
        means = {
            method: {metric: round(sum(values) / len(values), 4) for metric, values in of.items()}
            for method, of in row["values"].items()
        }
        print(f"{row['name']}: {json.dumps(means)}", flush=True)
    else:
        shown = {
            key: value for key, value in row.items() if isinstance(value, int | float) and not isinstance(value, bool)
        }
        print(f"{row['name']}: {json.dumps(shown)}", flush=True)
