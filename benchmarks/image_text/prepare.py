"""All sets, written as one folder."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ar_core.io import atomic_directory, require_replaceable

from .easy_vqa import easy_vqa
from .parquets import emoji, nlvr
from .photographs import coco
from .records import Item, write_side
from .stories import stories

__all__ = ["BLIND", "PRIORS", "SETS", "TRAIN", "write_all"]

SETS = ("easy_vqa", "nlvr", "coco", "emoji")
"""Sets of pictures, each with two sides."""
TRAIN = "train.yaml"
"""All training sets as one."""
BLIND = "blind_train.jsonl"
"""The conversations of all training sets without their pictures."""
PRIORS = "priors.json"
"""Answers of the training sides by kind of question, with their numbers: what guessing without the picture has to go by."""


def write_all(staged: Path, wheel: Path, output: Path) -> Iterator[str]:
    """Write the folder, which appears when it is complete.

    Args:
        staged: folder of the staged data, with image_text/ and text/.
        wheel: of easy-VQA.
        output: the folder; one that was written before is replaced.

    Yields:
        A line on each set.

    Raises:
        DataError: something is missing or malformed.
        CheckpointError: the folder cannot be written, or holds something else.
    """
    require_replaceable(output, (TRAIN,), "sets of pictures and text")
    texts = staged / "image_text"
    found = {
        "easy_vqa": easy_vqa(wheel),
        "nlvr": nlvr(texts / "nlvr_train.parquet", texts / "nlvr_test.parquet"),
        "coco": coco(texts / "coco_cc"),
        "emoji": emoji(texts / "emoji64.parquet"),
    }
    told = stories(staged / "text" / "tinystories_train.jsonl.gz")
    with atomic_directory(output, replace=True) as folder:
        for name, sides in found.items():
            learnt = write_side(folder, name, sides.train, train=True)
            asked = write_side(folder, name, sides.held_out, train=False)
            yield (
                f"{name}: {learnt} conversations on {len(sides.train)} pictures, {asked} questions on {len(sides.held_out)} others"
            )
        (folder / PRIORS).write_text(json.dumps(_priors([sides.train for sides in found.values()]), indent=1) + "\n")
        every = [item for sides in found.values() for item in sides.train] + told
        write_side(
            folder, BLIND.removesuffix("_train.jsonl"), [replace(item, picture=None) for item in every], train=True
        )
        mix = "".join(f"  - {{json_path: {name}_train.jsonl}}\n" for name in (*SETS, "stories"))
        (folder / TRAIN).write_text(f"datasets:\n{mix}", encoding="utf-8")
        yield f"stories: {write_side(folder, 'stories', told, train=True)} conversations without a picture"


def _priors(sides: Sequence[Sequence[Item]]) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for asked in (asked for side in sides for item in side for asked in item.questions):
        found.setdefault(asked.kind, Counter()).update(asked.references)
    return {kind: dict(sorted(answers.items())) for kind, answers in found.items()}
