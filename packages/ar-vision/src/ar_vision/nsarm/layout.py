"""How the outputs of the transformation network stand for residuals: which numbers are which place and channel.

Source: NSARM (arXiv 2510.00820)'s published code for `memory`; `spatial` is ours.
"""

from typing import Literal, TypeAlias

from torch import Tensor

__all__ = ["Layout", "to_maps", "to_tokens"]

Layout: TypeAlias = Literal["memory", "spatial"]
"""``memory``: the published one, a plain reshape of [d, S, S] as it lies in memory, so that entry (t, c) of the tokens is the flat
entry f = d t + c of the map: channel f // S², place f mod S². A token then describes no place. ``spatial``: token t is place t."""


def to_tokens(maps: Tensor, layout: Layout) -> Tensor:
    """Return residuals [B, d, S, S] as the network writes them, [B, S², d]."""
    batch, channels = maps.shape[:2]
    if layout == "memory":
        return maps.reshape(batch, -1, channels)
    return maps.flatten(2).transpose(1, 2)


def to_maps(tokens: Tensor, size: tuple[int, int], layout: Layout) -> Tensor:
    """Return tokens, float outputs of the network [B, S², d], as residuals [B, d, S, S]; undoes :func:`to_tokens`."""
    batch, _, channels = tokens.shape
    if layout == "memory":
        return tokens.reshape(batch, channels, *size)
    out: Tensor = tokens.transpose(1, 2).unflatten(2, size)
    return out
