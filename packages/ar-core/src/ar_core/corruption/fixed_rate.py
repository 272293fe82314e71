"""One masking rate for every token.

Source: ours.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ar_core.errors import ConfigError

__all__ = ["FixedRate"]


@dataclass(frozen=True)
class FixedRate:
    """Hides each token with the same probability: the measuring stick of evaluation (masked loss at 15/50/85
    %).

    Raises:
        ConfigError: `rate` lies outside [0, 1].
    """

    rate: float
    """Probability of hiding a token, in [0, 1]."""

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ConfigError(f"rate is {self.rate}, but a masking rate lies in [0, 1]: give one, such as 0.5.")

    def __call__(self, maskable: Tensor, blocks: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the hidden positions of one sample; see `MaskSampler`."""
        return (torch.rand(len(blocks), generator=generator) < self.rate) & maskable
