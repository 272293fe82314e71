"""Histograms of similarities as a picture of letters.

Source: ours.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from .histogram import centres
from .histogram_config import HistogramConfig

__all__ = ["bars"]


def bars(profiles: Mapping[str, Tensor], config: HistogramConfig, *, rows: int = 20, width: int = 20) -> str:
    """Draw profiles side by side: a line for neighbouring bins, as long as the share of the pairs in them.

    Args:
        profiles: log P of each, `[N]`, by name; N a multiple of the rows.
        config: their bins.
        rows: lines.
        width: letters of the longest bar of all.
    """
    middles = centres(config).unflatten(0, (rows, -1)).mean(1)
    shares = {name: log_profile.exp().unflatten(0, (rows, -1)).sum(1) for name, log_profile in profiles.items()}
    most = torch.stack(list(shares.values())).max()
    lines = ["cosine  " + "  ".join(name.ljust(width) for name in shares)]
    for row, middle in enumerate(middles.tolist()):
        drawn = ("#" * round(float(one[row] / most) * width) for one in shares.values())
        lines.append(f"{middle:+.2f}   " + "  ".join(bar.ljust(width) for bar in drawn))
    return "\n".join(line.rstrip() for line in lines)
