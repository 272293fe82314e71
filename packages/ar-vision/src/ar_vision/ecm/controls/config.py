"""Which control a map is, and where it comes from. Imports no torch."""

import math
from dataclasses import dataclass, replace
from typing import Literal

from ar_core.errors import ConfigError

from ..config import require_choice

__all__ = ["HARD", "ControlConfig", "ControlKind"]

ControlKind = Literal["canny", "edges", "depth", "normal", "segmentation"]
"""What a map shows."""
HARD: tuple[ControlKind, ...] = ("canny", "segmentation")
"""Kinds whose values mean nothing between each other: they are resized by nearest pixels."""
_FROM_MODELS: tuple[ControlKind, ...] = ("depth", "normal", "segmentation")


@dataclass(frozen=True, kw_only=True)
class ControlConfig:
    """One kind of control.

    Raises:
        ConfigError: a value is out of range, or belongs to another kind.
    """

    kind: ControlKind = "canny"
    """``canny``: edges, 0 or 255. ``edges``: how steep the picture is. ``depth``, ``normal`` (x in red, y in green), ``segmentation``
    (coloured)."""
    maps: str | None = None
    """Folder of maps by the relative paths of their pictures, or a file that holds as many as there are pictures, in their order; null:
    they are extracted from the pictures, as canny and edges can be without a model."""
    low: float = 100.0
    """``canny``: least gradient of a pixel that continues an edge (CAR, ControlAR: 100)."""
    high: float = 200.0
    """``canny``: least gradient of a pixel that begins one (CAR, ControlAR: 200)."""
    detector: str | None = None
    """``depth``, ``normal``, ``segmentation``: folder of a depth or segmentation model in Hugging Face layout (extra ``text``), with which
    `control-maps` makes maps and fidelity is measured; normals are those of the depth."""

    def __post_init__(self) -> None:
        require_choice("kind", self.kind, ControlKind)
        if not (0 <= self.low <= self.high and math.isfinite(self.high)):
            raise ConfigError(
                f"low is {self.low} and high {self.high}; gradients are at least 0, and low is at most high"
            )
        if self.kind != "canny" and (self.low, self.high) != (100.0, 200.0):
            raise ConfigError(f"low and high are thresholds of canny and the kind is {self.kind!r}: leave them out")
        if self.detector is not None and self.kind not in _FROM_MODELS:
            raise ConfigError(f"detector is given and the kind {self.kind!r} needs none: leave it out")

    @property
    def extracted(self) -> bool:
        """Whether maps are made on the fly."""
        return self.maps is None

    @property
    def made_by(self) -> "ControlConfig":
        """The settings that decide what a map looks like, without places on this machine."""
        return replace(self, maps=None, detector=None)
