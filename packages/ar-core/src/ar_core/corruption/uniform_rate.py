"""One uniformly drawn masking rate per block."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ar_core.errors import ConfigError

__all__ = ["UniformRatePerBlock"]


@dataclass(frozen=True)
class UniformRatePerBlock:
    """Block-wise masking of Fast-dLLM v2 (arXiv 2509.26328; published modelling code).

    Each block draws t ~ U(0, 1) and hides each of its tokens with probability p = (1 - eps) t + eps,
    independently: m_j = (u_j < p), u_j ~ U(0, 1). The mean rate is therefore (1 + eps) / 2. Levels are drawn
    first (one vector), then the uniforms of all positions: the order of the published code, here per sample
    instead of per batch.

    Raises:
        ConfigError: `min_rate` lies outside [0, 1].
    """

    min_rate: float = 1e-3
    """eps: the lowest masking rate of a block, in [0, 1]."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_rate <= 1:
            raise ConfigError(
                f"min_rate is {self.min_rate}, but a masking rate lies in [0, 1]: give one, such as 1e-3."
            )

    def __call__(self, maskable: Tensor, blocks: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the hidden positions of one sample; see `MaskSampler`."""
        levels = torch.rand(int(blocks[-1]) + 1, generator=generator)
        rates = (1 - self.min_rate) * levels + self.min_rate
        uniforms = torch.rand(len(blocks), generator=generator)
        return (uniforms < rates[blocks]) & maskable
