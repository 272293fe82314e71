"""Stored pairs read back, and as the endless sample stream of a run."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ar_core.config import expand_path
from ar_core.errors import DataError
from ar_core.io import read_tensors
from ar_core.training import Column, finished_chunks, read_chunks
from torch import Tensor

from ar_vision.data.source import Split, choose, ordered

from ..noise import RNG
from .config import PairDataConfig
from .texts import texts_in

__all__ = ["PairSource", "PairStore", "build_pair_source"]


class PairStore:
    """The chunks that the recipe `noise_code_pairs` left, in the order of the pairs, whatever shards made them.

    Codes stay in memory-mapped files; labels and seeds are in memory.

    Args:
        directory: folder of the chunks.

    Attributes:
        header: what made them.
        texts: that labels number; None where they are classes.
        labels: int64 [N].
        seeds: int64 [N].

    Raises:
        DataError: there are no pairs, they are not finished, their noise is made by another version of the generator, or the list of
            texts was changed.
        CheckpointError: a chunk is damaged.
    """

    def __init__(self, directory: Path) -> None:
        self.header: Mapping[str, Any]
        self.header, self._paths = finished_chunks(directory)
        if self.header.get("recipe") != "noise_code_pairs":
            raise DataError(
                f"{str(directory)!r} holds the data of the recipe {self.header.get('recipe')!r} and pairs of noise and codes are "
                "needed: give a folder that noise_code_pairs filled"
            )
        if self.header.get("rng") != RNG:
            raise DataError(
                f"the noise of {str(directory)!r} was made by {self.header.get('rng')!r} and this version has {RNG!r}: its seeds give "
                "other noise here, make the pairs anew"
            )
        self.texts = texts_in(self.header, str(directory))
        columns = {"codes": Column(("rows", "codes")), "label": Column(("rows",)), "seed": Column(("rows",))}
        chunks = read_chunks(self._paths, columns)
        self._codes: list[Tensor] | None = [chunk["codes"] for chunk in chunks]
        self.labels = torch.cat([chunk["label"] for chunk in chunks]).long()
        self.seeds = torch.cat([chunk["seed"] for chunk in chunks])
        self._ends = np.cumsum([len(chunk["seed"]) for chunk in chunks])

    def __len__(self) -> int:
        return len(self.seeds)

    def codes(self, number: int) -> Tensor:
        """Read the codes of a pair, int64 [n]."""
        chunk = int(self._ends.searchsorted(number, side="right"))
        row = number - (int(self._ends[chunk - 1]) if chunk else 0)
        if self._codes is None:
            self._codes = [read_tensors(path)["codes"] for path in self._paths]
        return self._codes[chunk][row].long()

    def __getstate__(self) -> dict[str, Any]:
        # A pickled map is the whole tensor: worker processes open their own.
        return {**self.__dict__, "_codes": None}


class PairSource:
    """Pairs in an order drawn anew for each epoch: `index`, `label` and `seed`, and `codes` int64 [n].

    Args:
        store: all pairs.
        chosen: int64 [N], numbers of the pairs in this split.
        seed: of the orders.
        facts: what :meth:`describe` adds.
    """

    def __init__(self, store: PairStore, chosen: np.ndarray, seed: int, facts: Mapping[str, Any]) -> None:
        self.store, self.chosen, self.seed, self._facts = store, chosen, seed, dict(facts)

    def __len__(self) -> int:
        """N, pairs in an epoch."""
        return len(self.chosen)

    def open(self, start: int) -> Iterator[dict[str, Any]]:
        """Yield samples ``start``, ``start + 1``, ... without end."""
        return (self._sample(index, place) for index, place in ordered(self.seed, len(self), start))

    def once(self) -> Iterator[dict[str, Any]]:
        """Yield every pair once, for evaluation."""
        return (self._sample(index, index) for index in range(len(self)))

    def _sample(self, index: int, place: int) -> dict[str, Any]:
        number = int(self.chosen[place])
        store = self.store
        return {
            "index": index,
            "label": int(store.labels[number]),
            "seed": int(store.seeds[number]),
            "codes": store.codes(number),
        }

    def describe(self) -> dict[str, Any]:
        """What identifies the data."""
        return {**self._facts, "pairs": len(self), "seed": self.seed}


def build_pair_source(
    config: PairDataConfig, *, seed: int, teacher: str, tokenizer: str, split: Split = "train"
) -> PairSource:
    """Build the sample source of a run on stored pairs.

    Args:
        config: where they lie.
        seed: of the order.
        teacher: fingerprint of the model that the student starts from.
        tokenizer: fingerprint of its tokenizer.
        split: the pairs to train on, those held out, or both.

    Raises:
        ConfigError: nothing is held out.
        DataError: there are no finished pairs, or they are another teacher's.
    """
    store = PairStore(expand_path(config.path))
    for name, ours in (("teacher", teacher), ("tokenizer", tokenizer)):
        if store.header.get(name) != ours:
            raise DataError(
                f"the pairs in {config.path!r} were made with the {name} {store.header.get(name)} and this run has the {name} {ours}: "
                "make pairs with it (recipe noise_code_pairs), or give the one that made them"
            )
    count = min(config.count or len(store), len(store))
    keys = store.seeds[:count].numpy() if config.held_out else None
    chosen = choose(keys, count, config.held_out, split, config.path)
    # The list of texts may be long, and its fingerprint tells it.
    header = {name: value for name, value in store.header.items() if name != "texts"}
    facts = {"header": header, "held_out": config.held_out, "count": config.count, "split": split}
    return PairSource(store, chosen, seed, facts)
