"""The LQ image as the transformation network gets it.

Source: NSARM (arXiv 2510.00820) and its published code.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..tokenizers.bsq.model import BsqTokenizer

__all__ = ["encoded_low", "enlarged_low"]


def enlarged_low(low: Tensor, factor: int) -> Tensor:
    """Return images [B, 3, h, w] in [-1, 1] enlarged bicubically, [B, 3, h factor, w factor], clamped to [-1, 1]."""
    if factor == 1:
        return low
    return F.interpolate(low.float(), scale_factor=factor, mode="bicubic", align_corners=False).clamp(-1, 1)


@torch.no_grad()
def encoded_low(tokenizer: BsqTokenizer, low: Tensor, enlarged: int) -> Tensor:
    """Return G_lq, the tokenizer's unquantised features of LQ images, float32 [B, d, G, G].

    Args:
        tokenizer: frozen.
        low: the images, [B, 3, h, w] in [-1, 1].
        enlarged: how many times they are enlarged before.

    Raises:
        DataError: a side is no multiple of the pixels of a latent cell, or the images are no images.
    """
    with torch.autocast(low.device.type, enabled=False):
        dtype = next(tokenizer.parameters()).dtype
        return tokenizer.encode(enlarged_low(low, enlarged).to(dtype)).float()
