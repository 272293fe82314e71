"""Samples of the base at every guidance and of every arm without, and how far of the way arms come."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ar_core.errors import DataError
from ar_vision.checkpoint import fingerprint, load_checkpoint

from ..images.measuring import head, judges, sample_folder, sampled, tell
from ..images.parts import Folders
from ..recipes import FINAL
from ..resumable import Row, measure_missing
from .arms import Arm, base, most_steps
from .flops import sampling_flops

__all__ = ["BASE", "measure"]

BASE = "base"
"""What rows call the model that arms start from."""


def measure(
    name: str, folders: Folders, results: Path, arms: Sequence[Arm], *, count: int, guidance: Sequence[float]
) -> list[Row]:
    """Measure a base and its arms; drawn images stay beside the runs, rows in the results, and a stopped measurement goes on.

    Args:
        name: of the base.
        folders: where the runs are.
        results: folder of ``cca_NAME_seedN.json``.
        arms: those to measure; each must have been trained.
        count: images of each row, all classes evenly.
        guidance: scales of the base's sweep, 1 among them.

    Raises:
        DataError: an arm was not trained, or there is no row without guidance.
    """
    if 1 not in guidance:
        raise DataError(f"--guidance is {list(guidance)}: give 1, which is no guidance, among them")
    missing = [arm.name for arm in arms if not (arm.folder(folders, name) / FINAL).is_dir()]
    if missing:
        raise DataError(f"{missing[0]!r} of {name!r} is not trained: run `train {name}` with the same settings first")
    tokenizer, beside = base(name).tokenizer, judges(folders)
    assert tokenizer is not None
    codes = folders.model(tokenizer)

    def of_base(scale: float) -> Row:
        folder = sample_folder(folders, name, count, scale)
        return {
            "name": f"{BASE}, g = {scale:g}",
            "error": None,
            "arm": BASE,
            "guidance": scale,
            "images": count,
            "flops": sampling_flops(name, folders, scale),
            "values": sampled(folders.model(name), codes, folder, scale, count, beside),
        }

    def of_arm(arm: Arm) -> Row:
        run = arm.folder(folders, name)
        model = run / FINAL
        return {
            "name": arm.name,
            "error": None,
            "arm": arm.loss,
            "beta": arm.beta,
            "negative_weight": arm.weight,
            "guidance": 1.0,
            "images": count,
            # The architecture is the base's, and so are the operations; counted all the same where they are spent.
            "flops": sampling_flops(name, folders, 1.0),
            "values": sampled(model, codes, run / "samples" / f"{count}_guidance_1", 1.0, count, beside),
            "checkpoint": fingerprint(load_checkpoint(model).model),
            "training": _training(run),
        }

    cases: list[tuple[str, Callable[[], Row]]] = [
        *((f"{BASE}, g = {scale:g}", partial(of_base, scale)) for scale in guidance),
        *((arm.name, partial(of_arm, arm)) for arm in arms),
    ]
    facts = {
        **head(name, folders),
        "kind": "cca",
        "base_checkpoint": fingerprint(load_checkpoint(folders.model(name)).model),
        "most_steps": most_steps(name),
    }
    return measure_missing(results / f"cca_{name}_seed{folders.seed}.json", facts, cases, tell=tell)


def _training(run: Path) -> Mapping[str, Any]:
    """Steps, and the metrics of the last one and of the last evaluation."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    evaluations = [record["evaluation"] for record in records if "evaluation" in record]
    return {"steps": records[-1]["step"], "held_out": evaluations[-1] if evaluations else {}}
