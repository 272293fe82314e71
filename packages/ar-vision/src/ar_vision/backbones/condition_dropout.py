"""Which training samples lose their class or text, which classifier-free guidance needs."""

import torch
from ar_core.corruption import SampleRng

__all__ = ["drops_condition"]


def drops_condition(rate: float, rng: SampleRng, index: int) -> bool:
    """Return whether a sample is trained without its condition: with probability ``rate``, by its own randomness.

    Args:
        rate: in [0, 1].
        rng: stream "condition".
        index: number of the sample in the run.
    """
    return float(torch.rand((), generator=rng.row(index, "condition"))) < rate
