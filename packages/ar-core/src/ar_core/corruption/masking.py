"""Hiding tokens behind the mask token: what every masking sampler offers, and how a view is made from its
draw.

A *view* of a sample is its ids with some tokens replaced by the mask token. Samplers decide which; they get
the sample's block ids rather than a block size, so that packed, ragged and prompt-relative block grids need
no other code. Rates that depend on the position inside a block follow from the same ids. Noise that replaces
tokens by other tokens (Jacobi) is no masking and lives beside this file.

Source: ours; absorbing masks as of masked diffusion language models (arXiv 2406.07524).
"""

from typing import Protocol

import torch
from torch import Tensor

__all__ = ["MaskSampler", "complementary_pair", "hide"]


class MaskSampler(Protocol):
    """Draws which tokens of ONE sample are hidden.

    Samples are drawn one at a time, each with its own generator, so that a draw does not depend on batch
    mates.
    """

    def __call__(self, maskable: Tensor, blocks: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the hidden positions.

        Args:
            maskable: bool [L], True where a token may be hidden (supervised positions).
            blocks: int64 [L], block ids 0, 1, ... in ascending order.
            generator: the sample's own source of randomness, on the CPU.

        Returns:
            bool [L], a subset of `maskable`.
        """
        ...


def complementary_pair(hidden: Tensor, maskable: Tensor) -> tuple[Tensor, Tensor]:
    """The two complementary views of Fast-dLLM v2 (arXiv 2509.26328, section 3.1): m and not m.

    Args:
        hidden: bool [L], positions hidden in view 1.
        maskable: bool [L], positions that may be hidden at all.

    Returns:
        Two bool [L] tensors: disjoint, and together exactly `maskable`.
    """
    return hidden & maskable, maskable & ~hidden


def hide(ids: Tensor, hidden: Tensor, *, mask_id: int) -> Tensor:
    """A view: `ids` with the mask token at the hidden positions; the caller's tensor is not touched.

    Args:
        ids: int64 [..., L].
        hidden: bool, same shape.
        mask_id: id of the mask token (M in the paper).

    Returns:
        int64 [..., L].
    """
    return torch.where(hidden, ids.new_tensor(mask_id), ids)
