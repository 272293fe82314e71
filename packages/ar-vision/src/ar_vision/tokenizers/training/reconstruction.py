"""How well a tokenizer gives images back, and how many of its codes it needs for it.

Source: ours; PSNR by its definition.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ...scales import ScaleSchedule
from ..tokenizer import Tokenizer
from .lpips import Lpips
from .usage import of_codebook, perplexity, share_used

__all__ = ["CodeUses", "measure", "psnr", "reconstruct"]


@torch.no_grad()
def reconstruct(tokenizer: Tokenizer, images: Tensor, schedule: ScaleSchedule) -> tuple[Tensor, list[Tensor]]:
    """Encode images to codes, and decode nothing but the codes.

    Args:
        tokenizer: in eval mode.
        images: float `[B, 3, H, W]` in [-1, 1].
        schedule: K scales.

    Returns:
        The images `[B, 3, H, W]`, float32, clamped to [-1, 1], and the codes of every scale, `[B, L_k]`.
    """
    codes = tokenizer.quantize(tokenizer.encode(images), schedule)
    history = tokenizer.history(len(images), schedule)
    for scale in codes:
        history.add(scale)
    return tokenizer.decode(history.features).float().clamp(-1, 1), codes


class CodeUses:
    """Counts how often each code of each codebook occurs; of a tokenizer without a codebook, nothing.

    Args:
        tokenizer: whose codes they are.

    Attributes:
        counts: int64 `[V]` of each codebook, by its name; the only one of a tokenizer has none.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        books = getattr(tokenizer, "named_codebooks", {})
        self.counts = {name: torch.zeros(len(book.weight), dtype=torch.int64) for name, book in books.items()}

    def add(self, codes: list[Tensor]) -> None:
        """Take the codes of every scale, int64 `[B, L_k]`."""
        if self.counts:
            for name, ids in self._tokenizer.split(torch.cat(codes, dim=1).cpu()).items():
                self.counts[name] += torch.bincount(ids.flatten(), minlength=len(self.counts[name]))

    def measured(self) -> dict[str, float]:
        """Return `codes_used`, the share of the codes that occur, and their `perplexity`; with the codebook's name where there are two."""
        found: dict[str, float] = {}
        for name, uses in self.counts.items():
            found[of_codebook("codes_used", name)] = share_used(uses).item()
            found[of_codebook("perplexity", name)] = perplexity(uses).item()
        return found


def psnr(images: Tensor, references: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of each image in dB, float32 `[B]`; inf if equal.

    Args:
        images: `[B, 3, H, W]` in [-1, 1].
        references: `[B, 3, H, W]` in [-1, 1].
    """
    error = (images.float() - references.float()).square().flatten(1).mean(1)
    # The peak is the whole range, 2.
    return 10 * torch.log10(4 / error)


@torch.no_grad()
def measure(
    tokenizer: Tokenizer, schedule: ScaleSchedule, batches: Iterable[Tensor], *, lpips: Lpips | None = None
) -> dict[str, float]:
    """Measure reconstructions from codes alone.

    Args:
        tokenizer: in eval mode.
        schedule: K scales.
        batches: images, float `[B, 3, H, W]` in [-1, 1], any B.
        lpips: the perceptual distance; None leaves it out.

    Returns:
        `psnr` (mean over images, in dB), `lpips` (mean), and what :class:`CodeUses` tells of the codes of all scales.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in ("psnr", *(["lpips"] if lpips is not None else []))}
    model: Any = tokenizer
    device = next(model.parameters()).device
    uses = CodeUses(model)
    for batch in batches:
        images = batch.to(device)
        again, codes = reconstruct(tokenizer, images, schedule)
        found["psnr"].append(psnr(again, images).cpu())
        if lpips is not None:
            found["lpips"].append(lpips(again, images).cpu())
        uses.add(codes)
    return {name: torch.cat(values).mean().item() for name, values in found.items()} | uses.measured()
