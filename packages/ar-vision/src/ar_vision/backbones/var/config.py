"""Shape of VAR. Imports no torch."""

from dataclasses import dataclass

from ..scale_transformer.config import ScaleTransformerConfig, require_sides

__all__ = ["PUBLISHED_SCALES", "VarConfig"]

PUBLISHED_SCALES = {
    256: (1, 2, 3, 4, 5, 6, 8, 10, 13, 16),
    512: (1, 2, 3, 4, 6, 9, 13, 18, 24, 32),
    1024: (1, 2, 3, 4, 5, 7, 9, 12, 16, 21, 27, 36, 48, 64),
}
"""Sides of the scales by pixels of an image's side."""


@dataclass(frozen=True, kw_only=True)
class VarConfig(ScaleTransformerConfig):
    """A VAR transformer, which is tied to its schedule by one learned vector for each of the L positions.

    Raises:
        ConfigError: A value is out of range, or the scales are none.
    """

    scales: tuple[int, ...] = PUBLISHED_SCALES[256]
    """Sides pn_k of the K square scales, coarse to fine."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "scales", require_sides(self.scales))
