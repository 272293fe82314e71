"""The tokenizers of LlamaGen and FlexVAR in the layout of their published weights."""

from collections.abc import Mapping

from ar_core.io import KeyMap
from torch import Tensor

from ...checkpoint import filled
from ...published_layout import shape_of
from ..published_autoencoder import autoencoder_shape, unpacked, vq_rules
from .config import VqTokenizerConfig
from .model import VqTokenizer

__all__ = ["from_published", "to_published"]

USED = "quantize.codebook_used"
"""A buffer of training, the codes of the last batches."""


def from_published(tensors: Mapping[str, Tensor], *, normalized: bool = True, norm_groups: int = 32) -> VqTokenizer:
    """Build the tokenizer whose weights these are; its shape is read off them.

    Args:
        tensors: flat state dict, such as ``vq_ds16_c2i.pt`` and ``FlexVAE.pth`` hold under ``model``. The buffer of used
            codes is ignored.
        normalized: codes are used at unit length, which weights do not show; it is so in all published ones.
        norm_groups: of every GroupNorm, which weights do not show.

    Returns:
        The tokenizer in the dtype of the weights, on the CPU, in eval mode.

    Raises:
        CheckpointError: A key is missing, unexpected or misshapen; names it.
    """
    weights = {name: tensor for name, tensor in tensors.items() if name != USED}
    vocab_size, code_dim = shape_of(weights, "quantize.embedding.weight", 2)
    config = VqTokenizerConfig(
        autoencoder=autoencoder_shape(
            weights, level="encoder.conv_blocks", block="res", attention="encoder.mid.1", norm_groups=norm_groups
        ),
        vocab_size=vocab_size,
        code_dim=code_dim,
        normalized=normalized,
    )
    return filled(lambda: VqTokenizer(config), weights, layout=lambda ours: _published(ours, config))


def to_published(model: VqTokenizer) -> dict[str, Tensor]:
    """Return the weights by published name, without the buffer of used codes; queries, keys and values are views."""
    return _published(model.state_dict(), model.config)


def _published(tensors: Mapping[str, Tensor], config: VqTokenizerConfig) -> dict[str, Tensor]:
    key_map = KeyMap(
        (
            *vq_rules(len(config.autoencoder.channel_multipliers)),
            ("quantize.embedding.weight", "codebook.weight"),
            ("quant_conv.{p}", "quant_conv.{p}"),
            ("post_quant_conv.{p}", "post_quant_conv.{p}"),
        )
    )
    return key_map.to_published(unpacked(tensors))
