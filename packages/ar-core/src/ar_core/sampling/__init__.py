"""From logits to tokens: filters, draws, guidance. Statistics are float32 or better."""

from ar_core.sampling.filters import keep_min_p, keep_top_k, keep_top_p
from ar_core.sampling.guidance import guide
from ar_core.sampling.gumbel import gumbel_noise
from ar_core.sampling.image_top_p import llamagen_filter, var_filter
from ar_core.sampling.sampler import Sampler, invert
from ar_core.sampling.streams import row_generators, row_seed

__all__ = [
    "Sampler",
    "guide",
    "gumbel_noise",
    "invert",
    "keep_min_p",
    "keep_top_k",
    "keep_top_p",
    "llamagen_filter",
    "row_generators",
    "row_seed",
    "var_filter",
]
