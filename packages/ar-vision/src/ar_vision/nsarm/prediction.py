"""What stands in the place of the first scales' residuals: the one path from an LQ image to them, in training and decoding."""

from torch import Tensor

from ..scales import ScaleSchedule
from ..tokenizers.bsq.model import BsqTokenizer
from .low_quality import encoded_low
from .map_network import MapNetwork
from .targets import residual_targets

__all__ = ["predicted_residuals"]


def predicted_residuals(
    network: MapNetwork, tokenizer: BsqTokenizer, low: Tensor, schedule: ScaleSchedule
) -> list[Tensor]:
    """Return r~_k of the first m scales: M's outputs and, where its configuration has ``skip`` (ours), the LQ image's own residuals added.

    These are in the unit of stage 1's targets, before signs are taken, and follow the LQ image's own codes, as targets follow those of the
    HQ image. So M writes how targets differ from them, and the sum of a fresh M, whose outputs are 0, is the copy of the LQ image.

    Args:
        network: M.
        tokenizer: frozen.
        low: LQ images, [B, 3, h, w] in [-1, 1].
        schedule: K scales of the result.

    Returns:
        float32 [B, d, S_k, S_k] each, whose signs are the bits. A gradient leads to M alone.

    Raises:
        DataError: the images are not of the size that M takes.
    """
    config = network.config
    features = encoded_low(tokenizer, low, config.enlarged)
    written = network.residuals(features.to(next(network.parameters()).dtype))
    if not config.skip:
        return written
    own = residual_targets(features, tokenizer.history(len(features), schedule), config.count)
    return [one + other for one, other in zip(own, written, strict=True)]
