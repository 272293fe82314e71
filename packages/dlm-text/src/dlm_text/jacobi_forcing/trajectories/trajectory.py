"""One continuation of a prompt as Jacobi iteration found it, block by block.

Source: Jacobi Forcing (arXiv 2512.14681), whose trajectories are those of CLLM (arXiv 2403.00835).
"""

from collections.abc import Set
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Trajectory", "first_errors"]


@dataclass(frozen=True)
class Trajectory:
    """P prompt tokens and T blocks of n; block j has K_j states, from the initial draft to the fixed point."""

    prompt: Tensor
    """int64 [P], x; P >= 1."""
    clean: Tensor
    """int64 [T, n]: y_j*, the fixed points, which are the autoregressive continuation."""
    states: tuple[Tensor, ...]
    """T times int64 [K_j, n], K_j >= 1: y_j^(0), y_j^(1), ..."""

    @property
    def block_size(self) -> int:
        """The block size n."""
        return self.clean.shape[1]

    def first(self, blocks: int) -> "Trajectory":
        """The trajectory without what follows its first ``blocks`` blocks."""
        return Trajectory(self.prompt, self.clean[:blocks], self.states[:blocks])

    def end(self, stop_ids: Set[int]) -> int | None:
        """Place of the first stop id in the concatenated clean blocks; None if there is none."""
        found = torch.isin(self.clean.flatten(), torch.tensor(sorted(stop_ids), dtype=torch.int64)).nonzero()
        return int(found[0]) if len(found) else None

    def text(self, stop_ids: Set[int]) -> list[int]:
        """The continuation before its first stop id: what stands behind is whatever the model went on with."""
        return self.clean.flatten()[: self.end(stop_ids)].tolist()

    def ended(self, end: int, pad_id: int) -> "Trajectory":
        """The trajectory up to place ``end``: later blocks dropped, what follows it in its block ``pad_id`` everywhere."""
        last, offset = divmod(end, self.block_size)
        clean = self.clean[: last + 1].clone()
        clean[last, offset + 1 :] = pad_id
        final = self.states[last].clone()
        final[:, offset + 1 :] = pad_id
        return Trajectory(self.prompt, clean, (*self.states[:last], final))


def first_errors(states: Tensor, clean: Tensor) -> Tensor:
    """Place of the first token of each state that differs from the fixed point, n where none does.

    Args:
        states: int64 [..., n].
        clean: int64 [..., n], broadcast against ``states``.

    Returns:
        int64 [...].
    """
    return (states == clean).long().cumprod(-1).sum(-1)
