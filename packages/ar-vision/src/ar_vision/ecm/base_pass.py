"""A pass of a frozen VAR that a controller takes part in.

Source: ours.
"""

from dataclasses import dataclass

from ar_core.cache import WindowedKVCache
from ar_core.masks import Mask
from torch import Tensor

from ..backbones.scale_transformer.model import BeforeBlock
from ..backbones.var.model import Var

__all__ = ["BasePass"]


@dataclass(frozen=True, eq=False)
class BasePass:
    """What the base would be run with, had nothing to control it. R rows, n tokens of one scale or of the first scales, C width."""

    base: Var
    """The frozen transformer."""
    x: Tensor
    """Input tokens, [R, n, C]."""
    condition: Tensor
    """Of the base, [R, C]."""
    scale: int | None
    """k, or None for the first scales at once."""
    cache: WindowedKVCache | None = None
    """With a window of n tokens and a controller's `extra_layers` more layers than the base; holds the earlier scales."""
    mask: Mask | None = None
    """Who may see whom, in a pass without a cache."""

    @property
    def modulation(self) -> Tensor:
        """What the base's blocks are handed as their condition: [R, C], or [R, 1, 6, C] where all share one."""
        return self.condition if self.base.shared is None else self.base.shared(self.condition)

    def run(
        self,
        x: Tensor | None = None,
        *,
        base: Var | None = None,
        before_block: BeforeBlock | None = None,
    ) -> Tensor:
        """Run the blocks.

        Args:
            x: other input tokens, [R, n, C]; None: those of the pass.
            base: another transformer; None: that of the pass.
            before_block: changes what a block is given; None: nothing is changed.

        Returns:
            Hidden states [R, n, C].
        """
        base = self.base if base is None else base
        return base.hidden(
            self.x if x is None else x,
            self.condition,
            scale=self.scale,
            schedule=base.schedule,
            cache=self.cache,
            mask=self.mask,
            before_block=before_block,
        )
