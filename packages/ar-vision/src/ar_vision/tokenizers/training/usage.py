"""Which codes of a codebook are used, and new places for those that are not.

Letters: B images, L codes of an image, V codes of the codebook, Cv their dimension, N = images of a step times L.

Source: ours; codes that die are moved as in Jukebox (arXiv 2005.00341) and SoundStream (arXiv 2107.03312).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from ar_core.config import require_positive
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError
from ar_core.training import Ranks
from torch import Tensor, nn

from ..codebook import Codebook
from ..tokenizer_output import Lookup

__all__ = ["CodebookUsage", "UsageConfig", "of_codebook", "perplexity", "share_used", "vectors_by_image"]


@dataclass(frozen=True)
class UsageConfig:
    """When the counts of codes are read, and what becomes of codes that are not used.

    Raises:
        ConfigError: A value is out of range.
    """

    window: int = 100
    """Optimiser steps whose uses are counted together; usage and perplexity in the metrics are those of the last whole window."""
    revive: bool = True
    """At the end of a window, move every code that was used fewer than ``fewest`` times onto a feature vector of that step's
    images, drawn at random."""
    fewest: int = 1
    """Uses in a window that keep a code where it is."""
    until_step: int | None = None
    """Steps after which no code is moved any more, so that averaged weights and generators see a settled codebook; null never
    stops."""
    first_batch: bool = False
    """After the first step, move all codes onto distinct feature vectors of its images (again and again where there are fewer
    vectors than codes)."""

    def __post_init__(self) -> None:
        require_positive(self, "window", "fewest")
        if self.until_step is not None and self.until_step < 0:
            raise ConfigError(f"until_step is {self.until_step}, but must be at least 0, or null")

    def moves(self, step: int) -> bool:
        """Whether codes may move when step number ``step``, from 0, is done."""
        if step == 0 and self.first_batch:
            return True
        in_time = self.until_step is None or step < self.until_step
        return self.revive and in_time and (step + 1) % self.window == 0


class CodebookUsage(nn.Module):
    """Counts uses over windows of optimiser steps, and moves unused codes.

    All that outlives a step lies in persistent buffers, so that checkpoints hold it. Which vector a code would be moved onto is
    a function of (seed, step, code): image and place are drawn for the step as a whole, so that any split of it into
    micro-batches and ranks, and a resumed run, choose the same.

    Args:
        vocab_size: V.
        dim: Cv.
        config: windows and revival.
        batch_size: images of an optimiser step, over all ranks.
        seed: of the draws.
    """

    uses: Tensor
    """int64 [V], uses in the present window."""
    share: Tensor
    """float32 scalar, share of the codes used in the last whole window; 0 before there is one."""
    perplexity: Tensor
    """float32 scalar, perplexity of the codes of the last whole window."""
    revived: Tensor
    """float32 scalar, codes moved at its end."""
    noted: Tensor
    """int64 [V], uses in the present step, on this rank alone; not saved, as it is empty between steps."""
    drawn: Tensor
    """float32 [V, Cv], the vectors of this rank that codes would be moved onto; not saved either."""

    def __init__(self, vocab_size: int, dim: int, config: UsageConfig, *, batch_size: int, seed: int) -> None:
        super().__init__()
        self.config, self.batch_size, self.seed = config, batch_size, seed
        self.register_buffer("uses", torch.zeros(vocab_size, dtype=torch.int64))
        for name in ("share", "perplexity", "revived"):
            self.register_buffer(name, torch.zeros(()))
        self.register_buffer("noted", torch.zeros(vocab_size, dtype=torch.int64), persistent=False)
        self.register_buffer("drawn", torch.zeros(vocab_size, dim), persistent=False)

    @torch.no_grad()
    def note(self, lookup: Lookup, places: Tensor, step: int) -> None:
        """Take note of a micro-batch.

        Args:
            lookup: what its training pass looked up in the codebook.
            places: int64 `[B]`, number of each image within the step.
            step: number of the step.
        """
        self.noted += lookup.used
        if not self.config.moves(step):
            return
        vectors = vectors_by_image(lookup)
        image, place = self._draws(step, vectors.shape[1], vectors.device)
        row = torch.full((self.batch_size,), -1, dtype=torch.int64, device=vectors.device)
        row[places] = torch.arange(len(places), device=vectors.device)
        here = (row[image] >= 0).nonzero().squeeze(1)
        self.drawn[here] = vectors[row[image[here]], place[here]].to(self.drawn.dtype)

    @torch.no_grad()
    def settle(self, codebook: Codebook, step: int, ranks: Ranks) -> None:
        """Add up the step over ranks; at the end of a window, measure it, move unused codes and begin the next.

        A moved code keeps the optimiser's moments, which have faded while it got no gradient.

        Args:
            codebook: changed in place.
            step: number of the step just done.
            ranks: the processes of the run.
        """
        self.uses += ranks.sum(self.noted)
        self.noted.zero_()
        closes = (step + 1) % self.config.window == 0
        if self.config.moves(step):
            ranks.sum(self.drawn)
            everything = step == 0 and self.config.first_batch
            dead = torch.ones_like(self.uses, dtype=torch.bool) if everything else self.uses < self.config.fewest
            rows = F.normalize(self.drawn, dim=-1) if codebook.metric == "cosine" else self.drawn
            codebook.weight.copy_(torch.where(dead[:, None], rows.to(codebook.weight.dtype), codebook.weight))
            self.revived.copy_(dead.sum())
            self.drawn.zero_()
        elif closes:
            self.revived.zero_()
        if closes:
            self.share.copy_(share_used(self.uses))
            self.perplexity.copy_(perplexity(self.uses))
            self.uses.zero_()

    def _draws(self, step: int, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Image within the step and place within the image, int64 `[V]` each, that each code would be moved onto."""
        total, vocab_size = self.batch_size * length, len(self.uses)
        order = torch.randperm(total, generator=SampleRng(self.seed).row(step, "places of revived codes"))
        chosen = order[torch.arange(vocab_size) % total].to(device)
        return chosen // length, chosen % length


def of_codebook(name: str, codebook: str) -> str:
    """Return what a model or metric of a codebook is called: by itself of the only one, else with its name behind it."""
    return f"{name}_{codebook}" if codebook else name


def vectors_by_image(lookup: Lookup) -> Tensor:
    """Return the vectors that were looked up, scale after scale, as rows of images: `[B, L, Cv]`."""
    sizes = [tuple(codes.shape[:2]) for codes in lookup.codes]
    parts = lookup.vectors.split([rows * length for rows, length in sizes])
    return torch.cat([part.unflatten(0, size) for part, size in zip(parts, sizes)], dim=1)


def share_used(uses: Tensor) -> Tensor:
    """Return the share of the codes that were used at all, float32 in [0, 1], from int64 `[V]`."""
    return (uses > 0).float().mean()


def perplexity(uses: Tensor) -> Tensor:
    """Return exp of the entropy of the codes used, float32 in [1, V], from int64 `[V]`; 0 if there were no uses."""
    shares = uses.double() / uses.sum().clamp(min=1)
    return torch.where(uses.sum() > 0, torch.special.entr(shares).sum().exp(), 0.0).float()
