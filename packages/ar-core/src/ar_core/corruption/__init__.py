"""Which tokens training hides or noises, and the randomness that decides it."""

from .rng import SampleRng

__all__ = ["SampleRng"]
