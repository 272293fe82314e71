"""Stored codes as the endless sample stream of a run."""

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from typing import Any, TypeAlias

import numpy as np
import torch
from ar_core.config import expand_path
from ar_core.corruption import SampleRng
from ar_core.errors import DataError

from ar_vision.scales import ScaleSchedule

from ..source import Split, choose, ordered, require_labels
from .config import CodeDataConfig
from .store import StoredCodes, open_codes

__all__ = ["Beside", "CodeSource", "build_code_source", "split_of"]

Beside: TypeAlias = Callable[[int, int, int, SampleRng | None], Mapping[str, Any]]
"""From the number of a sample, of its picture and of its augmentation, and the randomness of the run, or None where an evaluation asks, to
entries beside the codes."""


class CodeSource:
    """Codes in an order drawn anew for each epoch, each time of one of a picture's augmentations.

    Samples have ``index``; ``codes``, int64 [L] of all scales end to end, or bits, bool [L, d]; ``label``, int64 [], and
    ``caption``, a text, where the data have them. Which augmentation and caption a sample gets depends on seed and index alone
    (streams ``view`` and ``caption``).

    Args:
        stored: all codes.
        chosen: int64 [N], numbers of the pictures in this split.
        seed: of the orders and draws.
        length: L that the model expects.
        vocab_size: V that codes must be below; None does not look at them.
        facts: what :meth:`describe` adds to count and seed.
    """

    def __init__(
        self,
        stored: StoredCodes,
        chosen: np.ndarray,
        seed: int,
        length: int,
        vocab_size: int | None,
        facts: Mapping[str, Any],
    ) -> None:
        self.stored, self.chosen, self.seed = stored, chosen, seed
        self._length, self._vocab_size, self._facts = length, vocab_size, dict(facts)
        self.labels = None if stored.labels is None else stored.labels[torch.from_numpy(chosen)]
        self._beside: Beside | None = None

    def __len__(self) -> int:
        """N, pictures in an epoch."""
        return len(self.chosen)

    def open(self, start: int) -> Iterator[dict[str, Any]]:
        """Yield samples ``start``, ``start + 1``, ... without end: sample n is picture ``order[epoch][n mod N]``."""
        rng = SampleRng(self.seed)
        for index, place in ordered(self.seed, len(self), start):
            yield self._sample(index, place, rng)

    def once(self) -> Iterator[dict[str, Any]]:
        """Yield every picture once, in the order of the data, for evaluation: first augmentations, first captions."""
        return (self._sample(index, index, None) for index in range(len(self)))

    def _sample(self, index: int, place: int, rng: SampleRng | None) -> dict[str, Any]:
        number = int(self.chosen[place])
        view = 0 if rng is None else rng.key(index, "view") % self.stored.views(number)
        codes = self.stored.codes(number, view)
        if len(codes) != self._length:
            raise DataError(
                f"picture {number} has {len(codes)} codes and the model expects {self._length}: encode the pictures for its scales"
            )
        if self._vocab_size is not None and not 0 <= int(codes.min()) <= int(codes.max()) < self._vocab_size:
            raise DataError(
                f"picture {number} has codes from {int(codes.min())} to {int(codes.max())} and the model knows 0 to "
                f"{self._vocab_size - 1}: they are another tokenizer's, encode the pictures with this one"
            )
        sample: dict[str, Any] = {"index": index, "codes": codes}
        if self.labels is not None:
            sample["label"] = self.labels[place]
        if self.stored.captioned:
            captions = self.stored.captions(number)
            if not captions:
                raise DataError(
                    f"picture {number} has no caption, which others have: write one, and encode the pictures again"
                )
            sample["caption"] = captions[0 if rng is None else rng.key(index, "caption") % len(captions)]
        if self._beside is not None:
            sample.update(self._beside(index, number, view, rng))
        return sample

    def with_beside(self, beside: Beside, facts: Mapping[str, Any]) -> "CodeSource":
        """Return the same source with further entries in its samples.

        Args:
            beside: makes them.
            facts: what :meth:`describe` says of them.
        """
        made = copy(self)
        made._beside, made._facts = beside, {**self._facts, **facts}
        return made

    def describe(self) -> dict[str, Any]:
        """What identifies the data."""
        return {**self._facts, "pictures": len(self), "seed": self.seed}


def build_code_source(
    config: CodeDataConfig,
    *,
    seed: int,
    tokenizer: str,
    schedule: ScaleSchedule,
    split: Split = "train",
    num_classes: int | None = None,
    vocab_size: int | None = None,
) -> CodeSource:
    """Build the sample source of a run on stored codes.

    Args:
        config: where they lie.
        seed: of the order and of the choice of augmentations and captions.
        tokenizer: fingerprint of the tokenizer that the model works with.
        schedule: the model's scales.
        split: the pictures to train on, those held out from training, or both.
        num_classes: classes of the model; None takes codes without labels, too.
        vocab_size: V of the model, against which codes of unknown origin (the published layout) are checked.

    Raises:
        ConfigError: nothing is held out.
        DataError: there are no finished codes, they are another tokenizer's or of other scales, or labels do not fit.
    """
    stored = open_codes(expand_path(config.path))
    made_by = stored.identity.get("tokenizer")
    if made_by is not None and made_by != tokenizer:
        raise DataError(
            f"the codes in {config.path!r} were made by the tokenizer {made_by} and this run works with the tokenizer {tokenizer}: "
            "encode the pictures with it (recipe image_codes), or give the one that made them"
        )
    scales = stored.identity.get("schedule")
    if scales is not None and ScaleSchedule.of(scales) != schedule:
        raise DataError(
            f"the codes in {config.path!r} have the scales {ScaleSchedule.of(scales)} and the model has {schedule}: encode the "
            "pictures for it (recipe image_codes, method.scales)"
        )
    count = min(config.count or len(stored), len(stored))
    require_labels(None if stored.labels is None else stored.labels[:count].numpy(), num_classes, config.path)
    chosen = split_of(stored, config, split)
    facts = {"codes": dict(stored.identity), "held_out": config.held_out, "count": config.count, "split": split}
    return CodeSource(stored, chosen, seed, schedule.total, None if made_by else vocab_size, facts)


def split_of(stored: StoredCodes, config: CodeDataConfig, split: Split) -> np.ndarray:
    """Return the numbers of the pictures of a split, int64 [N]; raises as `choose` does."""
    count = min(config.count or len(stored), len(stored))
    keys = stored.keys[:count].numpy() if config.held_out else None
    return choose(keys, count, config.held_out, split, config.path)
