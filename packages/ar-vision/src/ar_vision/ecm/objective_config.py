"""Hyperparameters of ECM's training. Imports no torch."""

from dataclasses import dataclass, field
from typing import Literal

from ar_core.errors import ConfigError

from ..backbones.scale_transformer.objective_config import ScaleObjectiveConfig
from .config import require_choice
from .prefix_law import PrefixLaw

__all__ = ["EcmObjectiveConfig"]

Normalisation = Literal["present", "fixed"]


@dataclass(frozen=True, kw_only=True)
class EcmObjectiveConfig(ScaleObjectiveConfig):
    """ECM on top of VAR's training, whose settings stay.

    Raises:
        ConfigError: a value is out of range.
    """

    prefixes: PrefixLaw = field(default_factory=PrefixLaw)
    """Early-centric sampling: the law of the number of scales K' of a step, one for the whole step."""
    normalisation: Normalisation = "present"
    """``present``: the mean over the codes of the first K' scales, so that early scales have more weight. ``fixed``: their sum over
    the L codes of all scales, so that scale k has the weight P(K' >= k) / L on average."""
    control_dropout: float = 0.1
    """Probability that a sample is trained without its control (ours), independent of its class; needed for guidance by the control."""
    joint_dropout: float = 0.0
    """Probability that a sample is trained without class and control, beside the two (ours)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("normalisation", self.normalisation, Normalisation)
        for name in ("control_dropout", "joint_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must lie in [0, 1]")
