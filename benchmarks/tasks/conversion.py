"""What a conversion did to the weights, and where masks stand when it decodes."""

from collections.abc import Iterable
from typing import Any

import torch
from ar_core.corruption import PositionDependent
from ar_core.decoding import Trace
from torch import nn

__all__ = ["MaskedPositions", "masked_in_training", "weight_change"]

DRAWN_BLOCKS = 40_000


def weight_change(base: Any, converted: Any) -> list[float]:
    """Relative change of the matrices of each decoder layer: norm of the difference over norm of the base.

    Args:
        base: a transformers causal LM.
        converted: the same architecture; embeddings, which may have grown, are left out.
    """

    def matrices(layer: nn.Module) -> list[torch.Tensor]:
        return [weight.detach().double() for weight in layer.parameters() if weight.ndim > 1]

    changes = []
    for before, after in zip(base.model.layers, converted.model.layers, strict=True):
        pairs = list(zip(matrices(before), matrices(after), strict=True))
        moved = sum(float((b - a).square().sum()) for b, a in pairs)
        changes.append((moved / sum(float(b.square().sum()) for b, _ in pairs)) ** 0.5)
    return changes


class MaskedPositions:
    """How often each position of a block is still masked when a pass denoises the block, over many outputs.

    Blocks begin where the output does, so that only decoders with a prompt-relative grid are counted right.

    Args:
        block_size: D.
    """

    def __init__(self, block_size: int) -> None:
        self.block_size = block_size
        self.passes = 0
        self._masked = [0] * block_size

    def add(self, trace: Trace) -> None:
        """Count the passes of one output, batch 1."""
        masked: dict[int, set[int]] = {}
        for entry in trace.to_list():
            for block, positions in self._by_block(entry["positions"]).items():
                left = masked.setdefault(block, set(range(self.block_size)))
                if entry["phase"] in ("denoise", "fused"):
                    self.passes += 1
                    for position in left:
                        self._masked[position] += 1
                left -= positions

    @property
    def shares(self) -> list[float]:
        """Share of the passes that saw each position masked, [D]; zeros before the first pass."""
        return [count / max(self.passes, 1) for count in self._masked]

    def _by_block(self, positions: Iterable[int]) -> dict[int, set[int]]:
        found: dict[int, set[int]] = {}
        for position in positions:
            block, offset = divmod(position, self.block_size)
            found.setdefault(block, set()).add(offset)
        return found


def masked_in_training(block_size: int, half_life_ratio: float | None) -> list[float]:
    """How often position-dependent masking hides each position of a block, [D], from many draws of one seed."""
    blocks = torch.arange(DRAWN_BLOCKS * block_size) // block_size
    everything = torch.ones(len(blocks), dtype=torch.bool)
    hidden = PositionDependent(block_size, half_life_ratio)(everything, blocks, torch.Generator().manual_seed(0))
    return hidden.view(DRAWN_BLOCKS, block_size).double().mean(0).tolist()
