"""Names of the transformation network's layer norms. Imports no torch."""

from typing import Literal, TypeAlias

__all__ = ["MapNorm"]

MapNorm: TypeAlias = Literal["map", "channels"]
