"""Shape of FlexVAR. Imports no torch."""

from dataclasses import dataclass
from typing import Literal

from ar_core.config import require_positive

from ..scale_transformer.config import ScaleTransformerConfig, require_sides

__all__ = ["FlexVarConfig"]


@dataclass(frozen=True, kw_only=True)
class FlexVarConfig(ScaleTransformerConfig):
    """A FlexVAR transformer; it takes any schedule.

    Raises:
        ConfigError: A value is out of range.
    """

    head_precision: Literal["fp32", "autocast"] = "autocast"
    """Dtype of the head under autocast; published: autocast's."""
    scales: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)
    """Sides of the scales that are generated unless others are asked for."""
    position_side: int = 32
    """Side of the learned map of positions, which is resized by area to every scale."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "scales", require_sides(self.scales))
        require_positive(self, "position_side")
