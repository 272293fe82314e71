"""What a conversion did to the weights, and where masks stand when it decodes."""

from collections.abc import Iterable, Sequence
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

    Only whole blocks count: not one that begins inside the prompt, nor one that the end of the output cut short.

    Args:
        block_size: D.
    """

    def __init__(self, block_size: int) -> None:
        self.block_size = block_size
        self.passes = 0
        self._masked = [0] * block_size

    def add(self, trace: Trace, *, begin: int = 0) -> None:
        """Count the passes of one output, batch 1.

        Args:
            trace: of the decoder.
            begin: where the output begins on the grid of blocks: 0 if blocks begin with it, the prompt's length if they are
                counted from position 0.
        """
        seen: dict[int, list[frozenset[int]]] = {}
        left: dict[int, frozenset[int]] = {}
        for entry in trace.to_list():
            for block, positions in self._by_block(begin + position for position in entry["positions"]).items():
                masked = left.get(block, frozenset(range(self.block_size)))
                if entry["phase"] in ("denoise", "fused"):
                    seen.setdefault(block, []).append(masked)
                left[block] = masked - positions
        for block, passes in seen.items():
            if not left[block]:
                self.passes += len(passes)
                for position in (position for masked in passes for position in masked):
                    self._masked[position] += 1

    @property
    def shares(self) -> list[float]:
        """Share of the passes that saw each position masked, [D]; zeros before the first whole block."""
        return [count / max(self.passes, 1) for count in self._masked]

    def _by_block(self, positions: Iterable[int]) -> dict[int, set[int]]:
        found: dict[int, set[int]] = {}
        for position in positions:
            block, offset = divmod(position, self.block_size)
            found.setdefault(block, set()).add(offset)
        return found


def masked_in_training(
    block_size: int, half_life_ratio: float | None, documents: Sequence[tuple[int, int]] = ()
) -> list[float]:
    """How often position-dependent masking hides each position of a block, [D], from many draws of one seed.

    Args:
        block_size: D.
        half_life_ratio: lambda; None: uniform.
        documents: for bidirectional training, which draws over whole documents: lengths of prompts and answers. Counted are
            the blocks of D, from the start of each document, that are all answer.
    """
    draw = PositionDependent(None if documents else block_size, half_life_ratio)
    given = list(documents) or [(0, block_size)]
    answers = [range(-(-prompt // block_size), (prompt + answer) // block_size) for prompt, answer in given]
    copies = -(-DRAWN_BLOCKS // sum(map(len, answers)))
    # The last block of a document is filled up with masks.
    blocks = [-(-(prompt + answer) // block_size) for prompt, answer in given]
    owners = torch.arange(len(given) * copies).repeat_interleave(block_size * torch.tensor(blocks * copies))
    counted = torch.tensor([number in own for own, count in zip(answers, blocks) for number in range(count)])
    hidden = draw(torch.ones(len(owners), dtype=torch.bool), owners, torch.Generator().manual_seed(0))
    return hidden.view(-1, block_size)[counted.repeat(copies)].double().mean(0).tolist()
