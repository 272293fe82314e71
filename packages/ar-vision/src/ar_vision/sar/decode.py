"""Generation with a refined model: FlexVAR's own, since architecture and decoding stay."""

from ..backbones.flexvar.decode import FlexVarDecoding, generate

__all__ = ["FlexVarDecoding", "generate", "published_decoding"]

_GUIDANCE = ((16, 3.2), (20, 3.6), (24, 4.3))
"""Depth, and g of the published evaluation, whose cfg is g - 1; FlexVAR's own is 3.5 at all depths."""


def published_decoding(depth: int) -> FlexVarDecoding:
    """Return the settings that published models were evaluated with: ten scales, top-k 900, top-p 0.95, and a guidance by depth.

    Args:
        depth: d of the model; of one between two published ones, the larger's guidance is taken.
    """
    guidance = next((scale for published, scale in _GUIDANCE if depth <= published), _GUIDANCE[-1][1])
    return FlexVarDecoding(guidance=guidance, top_k=900, top_p=0.95)
