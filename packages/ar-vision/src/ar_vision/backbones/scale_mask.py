"""The training mask of next-scale generators, one per schedule."""

from functools import lru_cache

import torch
from ar_core.masks import Mask, Tokens, scale_causal

from ..scales import ScaleSchedule

__all__ = ["scale_mask"]


@lru_cache(maxsize=256)
def scale_mask(schedule: ScaleSchedule, device: torch.device, known: int = 0) -> Mask:
    """Return the mask of all L tokens over themselves: a token sees its own scale and the coarser ones.

    Kept, so that passes share its renderings: published code builds an L x L bias anew where schedules change.

    Args:
        schedule: K scales.
        device: of the pass.
        known: first tokens that are keys alone, since a cache holds them.
    """
    tokens = Tokens(scale=schedule.scale_ids(device))
    if not known:
        return Mask.self_attention(scale_causal(), tokens)
    return Mask(scale_causal(), tokens.slice(known, schedule.total), tokens)
