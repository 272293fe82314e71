"""Which tokens training hides or noises, and the randomness that decides it."""

from .fixed_rate import FixedRate
from .masking import MaskSampler, complementary_pair, hide
from .position_dependent import MaskDraw, PositionDependent
from .rng import SampleRng
from .uniform_rate import UniformRatePerBlock

__all__ = [
    "FixedRate",
    "MaskDraw",
    "MaskSampler",
    "PositionDependent",
    "SampleRng",
    "UniformRatePerBlock",
    "complementary_pair",
    "hide",
]
