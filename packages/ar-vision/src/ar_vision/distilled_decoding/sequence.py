"""Sequences of code vectors, turned into what a tokenizer decodes.

B images, n tokens, Cv code dimension, H x W cells of the last scale.

Source: ours.
"""

from torch import Tensor

from ..decoding.generated import OnScale
from ..scales import ScaleSchedule
from ..tokenizers.codebook_tokenizer import CodebookTokenizer
from ..tokenizers.var_vqvae.model import VarTokenizer

__all__ = ["features_of"]


def features_of(
    tokenizer: CodebookTokenizer, vectors: Tensor, schedule: ScaleSchedule, on_scale: OnScale | None = None
) -> Tensor:
    """Return what ``tokenizer.decode`` takes, [B, Cv, H, W], of code vectors, with a gradient: nothing is quantised.

    Args:
        tokenizer: VAR's, whose scales add up, or LlamaGen's, of one scale.
        vectors: [B, n, Cv], scale after scale, row by row.
        schedule: K scales.
        on_scale: called after each scale with the features so far.

    Raises:
        ConfigError: there are more or fewer tokens than the scales have.
    """
    maps = [
        part.transpose(1, 2).unflatten(2, size)
        for part, size in zip(schedule.split(vectors), schedule.sizes, strict=True)
    ]
    if not isinstance(tokenizer, VarTokenizer):
        # Every scale is the whole image.
        out: Tensor = maps[-1]
        return out
    history = tokenizer.history(len(vectors), schedule)
    for scale, one in enumerate(maps):
        history.add_vectors(one)
        if on_scale is not None:
            on_scale(scale, history.features)
    return history.features
