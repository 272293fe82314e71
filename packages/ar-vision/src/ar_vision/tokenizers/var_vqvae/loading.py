"""VAR's tokenizer in the layout of its published weights."""

from collections.abc import Mapping

from ar_core.errors import CheckpointError
from ar_core.io import KeyMap
from torch import Tensor

from ...checkpoint import filled
from ...published_layout import highest, shape_of
from ..published_autoencoder import LDM_RULES, autoencoder_shape
from .config import VarTokenizerConfig
from .model import VarTokenizer

__all__ = ["from_published", "to_published"]

PHIS = "quantize.quant_resi"
SHARED, ONE, PER_SCALE = f"{PHIS}.qresi_ls", f"{PHIS}.qresi", PHIS
HITS = "quantize.ema_vocab_hit_SV"
"""A buffer of training, code usage of each scale."""


def from_published(
    tensors: Mapping[str, Tensor], *, cosine: bool = False, phi_ratio: float = 0.5, norm_groups: int = 32
) -> VarTokenizer:
    """Build the tokenizer whose weights these are; its shape is read off them.

    Args:
        tensors: flat state dict, such as ``vae_ch160v4096z32.pth`` holds. Usage counts of training are ignored.
        cosine: the codes are compared by cosine (``znorm``), which weights do not show.
        phi_ratio: ``quant_resi``, which weights do not show.
        norm_groups: of every GroupNorm, which weights do not show.

    Returns:
        The tokenizer in the dtype of the weights, on the CPU, in eval mode.

    Raises:
        CheckpointError: A key is missing, unexpected or misshapen; names it.
    """
    weights = {name: tensor for name, tensor in tensors.items() if name != HITS}
    config = VarTokenizerConfig(
        autoencoder=autoencoder_shape(weights, norm_groups=norm_groups),
        vocab_size=shape_of(weights, "quantize.embedding.weight", 2)[0],
        num_phis=_num_phis(weights),
        phi_per_scale=highest(weights, PER_SCALE) >= 0,
        phi_ratio=phi_ratio,
        cosine=cosine,
        quant_kernel=shape_of(weights, "quant_conv.weight")[2],
    )
    return filled(lambda: VarTokenizer(config), weights, layout=_key_map(config).to_published)


def to_published(model: VarTokenizer) -> dict[str, Tensor]:
    """Return the weights by published name, without the usage counts of training."""
    return _key_map(model.config).to_published(model.state_dict())


def _num_phis(tensors: Mapping[str, Tensor]) -> int:
    several = max(highest(tensors, SHARED), highest(tensors, PER_SCALE)) + 1
    if several:
        return several
    if f"{ONE}.weight" not in tensors:
        raise CheckpointError(
            f"the checkpoint lacks every key under {PHIS!r}, the convolutions between the scales: it is incomplete or of "
            "another architecture"
        )
    return 1


def _key_map(config: VarTokenizerConfig) -> KeyMap:
    if config.phi_per_scale:
        phis = f"{PER_SCALE}.{{k}}.{{p}}", "phis.{k}.{p}"
    elif config.num_phis == 1:
        phis = f"{ONE}.{{p}}", "phis.0.{p}"
    else:
        phis = f"{SHARED}.{{k}}.{{p}}", "phis.{k}.{p}"
    return KeyMap(
        (
            *LDM_RULES,
            phis,
            ("quantize.embedding.weight", "codebook.weight"),
            ("quant_conv.{p}", "quant_conv.{p}"),
            ("post_quant_conv.{p}", "post_quant_conv.{p}"),
        )
    )
