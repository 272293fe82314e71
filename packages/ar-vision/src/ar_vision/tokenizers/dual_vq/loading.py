"""FQGAN's tokenizers with two codebooks in the layout of their published weights."""

from collections.abc import Mapping

from ar_core.errors import CheckpointError
from ar_core.io import KeyMap
from torch import Tensor

from ...checkpoint import filled
from ...published_layout import highest, shape_of
from ..published_autoencoder import autoencoder_shape, unpacked, vq_rules
from .config import AdapterConfig, DualVqTokenizerConfig
from .model import DualVqTokenizer

__all__ = ["from_published", "to_published"]

SHORT = {"visual": "vis", "semantic": "sem"}
UNUSED = ("codebook_used", "feat_pred_head")
"""Parts of names of what training alone needed: buffers of codes, and the head that predicted CLIP features."""


def from_published(
    tensors: Mapping[str, Tensor], *, adapter_heads: int = 8, normalized: bool = True, norm_groups: int = 32
) -> DualVqTokenizer:
    """Build the tokenizer whose weights these are; its shape is read off them, and it has no residual modules.

    Args:
        tensors: flat state dict, such as ``fqgan_dual_ds16.pt`` holds under ``model``. Buffers of used codes and the head of feature
            prediction are ignored.
        adapter_heads: of the adapters, which weights do not show.
        normalized: codes are used at unit length, which weights do not show.
        norm_groups: of every GroupNorm, which weights do not show.

    Returns:
        The tokenizer in the dtype of the weights, on the CPU, in eval mode.

    Raises:
        CheckpointError: A key is missing, unexpected or misshapen; names it.
    """
    weights = {name: tensor for name, tensor in tensors.items() if not any(part in name for part in UNUSED)}
    shape = autoencoder_shape(
        weights,
        level="encoder.conv_blocks",
        block="res",
        attention="encoder.mid.1",
        latents="encoder.conv_out_vis.weight",
        norm_groups=norm_groups,
    )
    cells, _ = shape_of(weights, "encoder.visual_head.0.positional_embedding", 2)
    grid = round(cells**0.5)
    if grid**2 != cells:
        raise CheckpointError(
            f"'encoder.visual_head.0.positional_embedding' has {cells} places, which are no square: these are weights of another "
            "architecture"
        )
    visual, dim = shape_of(weights, "quantize_vis.embedding.weight", 2)
    config = DualVqTokenizerConfig(
        autoencoder=shape,
        grid=grid,
        visual_codes=visual,
        semantic_codes=shape_of(weights, "quantize_sem.embedding.weight", 2)[0],
        code_dim=dim,
        normalized=normalized,
        adapter=AdapterConfig(layers=highest(weights, "encoder.visual_head.0.transformer") + 1, heads=adapter_heads),
        residual=None,
    )
    return filled(lambda: DualVqTokenizer(config), weights, layout=lambda ours: _published(ours, config))


def to_published(model: DualVqTokenizer) -> dict[str, Tensor]:
    """Return the weights by published name; residual modules, which no published tokenizer has, keep theirs."""
    return _published(model.state_dict(), model.config)


def _published(tensors: Mapping[str, Tensor], config: DualVqTokenizerConfig) -> dict[str, Tensor]:
    branches = {name: tensor for name, tensor in tensors.items() if name.startswith("branches.")}
    rest = {name: tensor for name, tensor in tensors.items() if name not in branches}
    rules = [*vq_rules(len(config.autoencoder.channel_multipliers)), ("post_quant_conv.{p}", "post_quant_conv.{p}")]
    rules += [(f"quantize_{short}.embedding.weight", f"codebooks.{name}.weight") for name, short in SHORT.items()]
    rules += [("residuals.{rest*}", "residuals.{rest*}")]
    return KeyMap(tuple(rules)).to_published(unpacked(rest)) | KeyMap(_branch_rules()).to_published(branches)


def _branch_rules() -> tuple[tuple[str, str], ...]:
    rules: list[tuple[str, str]] = []
    for name, short in SHORT.items():
        theirs, ours = f"encoder.{name}_head.0", f"branches.{name}.adapter"
        layer, block = f"{theirs}.transformer.{{l}}", f"{ours}.blocks.{{l}}"
        rules += [
            (f"{theirs}.positional_embedding", f"{ours}.positions"),
            (f"{theirs}.ln_pre.{{p}}", f"{ours}.norm_in.{{p}}"),
            (f"{theirs}.ln_post.{{p}}", f"{ours}.norm_out.{{p}}"),
            (f"{layer}.ln_1.{{p}}", f"{block}.norm1.{{p}}"),
            (f"{layer}.attn.in_proj_weight", f"{block}.qkv.weight"),
            (f"{layer}.attn.in_proj_bias", f"{block}.qkv.bias"),
            (f"{layer}.attn.out_proj.{{p}}", f"{block}.out.{{p}}"),
            (f"{layer}.ln_2.{{p}}", f"{block}.norm2.{{p}}"),
            (f"{layer}.mlp.c_fc.{{p}}", f"{block}.up.{{p}}"),
            (f"{layer}.mlp.c_proj.{{p}}", f"{block}.down.{{p}}"),
            (f"encoder.norm_out_{short}.{{p}}", f"branches.{name}.norm_out.{{p}}"),
            (f"encoder.conv_out_{short}.{{p}}", f"branches.{name}.conv_out.{{p}}"),
            (f"quant_conv_{short}.{{p}}", f"branches.{name}.quant_conv.{{p}}"),
        ]
    return tuple(rules)
