"""Which training samples lose their class or text, which classifier-free guidance needs.

Source: classifier-free guidance (arXiv 2207.12598, algorithm 1); draws that belong to the sample are ours.
"""

import torch
from ar_core.corruption import SampleRng

__all__ = ["drops_condition"]


def drops_condition(rate: float, rng: SampleRng, index: int, stream: str = "condition") -> bool:
    """Return whether a sample is trained without its condition: with probability ``rate``, by its own randomness.

    Args:
        rate: in [0, 1].
        rng: of the run.
        index: number of the sample in the run.
        stream: of the sample's randomness; another one drops other samples.
    """
    return float(torch.rand((), generator=rng.row(index, stream))) < rate
