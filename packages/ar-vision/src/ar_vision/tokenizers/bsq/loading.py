"""Infinity's tokenizer in the layouts of its published weights."""

import re
from collections.abc import Mapping

from ar_core.io import KeyMap
from torch import Tensor

from ...checkpoint import filled
from ..published_autoencoder import LDM_RULES, autoencoder_shape
from .config import BsqTokenizerConfig
from .model import BsqTokenizer

__all__ = ["from_published", "to_published"]

BUFFERS = ("quantizer.lfq.mask", "quantize.lfq.mask")
"""Powers of two under two names, which follow from d."""

KEYS = KeyMap(LDM_RULES)
"""The older layout; the present one has one more level of names, which says what a module is."""

_NAMED = re.compile(r"(.+)\.(?:conv|norm)\.(weight|bias)")
_FIRST = "encoder.conv_in.conv.weight"


def from_published(
    tensors: Mapping[str, Tensor], *, patchify: bool | None = None, norm_groups: int = 32
) -> BsqTokenizer:
    """Build the tokenizer whose weights these are; its shape is read off them.

    Args:
        tensors: flat state dict, the entry ``vae`` of a published file, with or without the level ``conv`` or ``norm`` inside
            every module.
        patchify: whether a token is 2x2 latent cells, which weights do not show. None: as published, it is where a cell has 8
            pixels.
        norm_groups: of every GroupNorm, which weights do not show either.

    Returns:
        The tokenizer in the dtype of the weights, on the CPU, in eval mode.

    Raises:
        CheckpointError: a key is missing, unexpected or misshapen; names it.
    """
    weights = {name: tensor for name, tensor in tensors.items() if name not in BUFFERS}
    named = _FIRST in weights
    shape = autoencoder_shape(_without_kinds(weights) if named else weights, norm_groups=norm_groups)
    config = BsqTokenizerConfig(shape, patchify=shape.downsampling == 8 if patchify is None else patchify)
    layout = _with_kinds if named else KEYS.to_published
    return filled(lambda: BsqTokenizer(config), weights, layout=layout)


def to_published(model: BsqTokenizer) -> dict[str, Tensor]:
    """Return the weights by their present published names, without the buffers that follow from d."""
    return _with_kinds(model.state_dict())


def _with_kinds(ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    named = {}
    for name, tensor in KEYS.to_published(ours).items():
        module, _, parameter = name.rpartition(".")
        kind = "norm" if module.rpartition(".")[2].startswith("norm") else "conv"
        named[f"{module}.{kind}.{parameter}"] = tensor
    return named


def _without_kinds(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {_NAMED.sub(r"\1.\2", name): tensor for name, tensor in weights.items()}
