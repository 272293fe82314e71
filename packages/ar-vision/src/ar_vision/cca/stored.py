"""Log-probabilities of pairs that were stored beforehand.

Source: ours.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from ar_core.errors import DataError
from ar_core.training import Column, finished_chunks, read_chunks
from torch import Tensor

__all__ = ["RECORD", "StoredLogProbs"]

RECORD = "pairs"
"""Name, in the record of a stage, of what the log-probabilities depend on."""


class StoredLogProbs:
    """What the recipe `cca_log_probs` left, pair after pair: a few bytes each, in memory.

    Args:
        directory: its folder.

    Raises:
        DataError: nothing is there, it is not finished, or it is of another recipe.
        CheckpointError: a chunk is damaged.
    """

    def __init__(self, directory: Path) -> None:
        identity, paths = finished_chunks(directory)
        if RECORD not in identity:
            raise DataError(
                f"{str(directory)!r} holds the data of the recipe {identity.get('recipe')!r} and log-probabilities are needed: give a "
                "folder that cca_log_probs filled"
            )
        self.directory, self.facts = directory, identity[RECORD]
        chunks = read_chunks(paths, {"labels": Column(("rows", 2)), "log_probs": Column(("rows", 2), "fractions")})
        self._labels = torch.cat([chunk["labels"] for chunk in chunks])
        self._log_probs = torch.cat([chunk["log_probs"] for chunk in chunks])

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Classes, int64 [2], and log-probabilities, float32 [2], of sample number ``index``."""
        return self._labels[index], self._log_probs[index]

    def require(self, facts: Mapping[str, Any], samples: int) -> None:
        """Refuse log-probabilities of other pairs than those of a run.

        Args:
            facts: what those of the run depend on.
            samples: how many pairs the run has.

        Raises:
            DataError: names the first difference, or how many are missing.
        """
        wanted = dict(_leaves(json.loads(json.dumps(facts, default=str))))
        found = dict(_leaves(self.facts))
        for name in sorted(wanted.keys() | found.keys()):
            if wanted.get(name) != found.get(name):
                raise DataError(
                    f"the log-probabilities in {str(self.directory)!r} were made with {name} {found.get(name, 'absent')} and the "
                    f"run has {wanted.get(name, 'absent')}: make them with the run's settings (recipe cca_log_probs), or leave "
                    "log_probs out"
                )
        if len(self) < samples:
            raise DataError(
                f"{str(self.directory)!r} holds the log-probabilities of {len(self)} pairs and the run has {samples}: make as many "
                "(recipe cca_log_probs, train.steps), or train for fewer steps"
            )


def _leaves(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        yield where, value
        return
    for key, item in value.items():
        yield from _leaves(item, f"{where}.{key}" if where else key)
