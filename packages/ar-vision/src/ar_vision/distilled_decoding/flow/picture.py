"""The map from noise to codes as a picture of letters.

Source: ours.
"""

import torch
from torch import Tensor

from .config import FlowSolver
from .flow_map import flow_map

__all__ = ["basins"]

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def basins(codebook: Tensor, probs: Tensor, *, side: float = 2.25, columns: int = 46, rows: int = 19) -> str:
    """Draw which code every point of the plane of noise flows to, each code by a letter.

    Under the standard normal law of the noise, the area of a letter has the probability of its code. Codes of probability 0 have
    no area, and boundaries are no straight lines but where there are two codes.

    Args:
        codebook: [V, 2], V of at most 26.
        probs: [V].
        side: of the square that is drawn, from -side to side.
        columns: letters of a line.
        rows: lines.
    """
    xs, ys = torch.linspace(-side, side, columns), torch.linspace(side, -side, rows)
    noise = torch.stack([xs.expand(rows, -1), ys[:, None].expand(-1, columns)], dim=-1)
    log_probs = probs.log().expand(rows, columns, -1)
    codes = flow_map(noise.double(), log_probs.double(), codebook.double(), FlowSolver(tolerance=1e-6)).codes
    return "\n".join("".join(LETTERS[code] for code in line) for line in codes.tolist())
