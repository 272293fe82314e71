"""Names and shapes of convolutional autoencoders in published weights."""

from collections.abc import Mapping

from ar_core.errors import CheckpointError, ConfigError
from torch import Tensor

from ..published_layout import highest, shape_of
from .autoencoder_config import AutoencoderConfig

__all__ = ["LDM_RULES", "autoencoder_shape", "unpacked", "vq_rules"]

LDM_RULES: tuple[tuple[str, str], ...] = tuple(
    rule
    for side, level, resampled in (("encoder", "down", "downsample"), ("decoder", "up", "upsample"))
    for rule in (
        (f"{side}.{level}.{{l}}.block.{{j}}.nin_shortcut.{{p}}", f"{side}.levels.{{l}}.blocks.{{j}}.shortcut.{{p}}"),
        (f"{side}.{level}.{{l}}.block.{{j}}.{{rest*}}", f"{side}.levels.{{l}}.blocks.{{j}}.{{rest*}}"),
        (f"{side}.{level}.{{l}}.attn.{{j}}.proj_out.{{p}}", f"{side}.levels.{{l}}.attentions.{{j}}.out.{{p}}"),
        (f"{side}.{level}.{{l}}.attn.{{j}}.{{rest*}}", f"{side}.levels.{{l}}.attentions.{{j}}.{{rest*}}"),
        (f"{side}.{level}.{{l}}.{resampled}.conv.{{p}}", f"{side}.levels.{{l}}.{resampled}.{{p}}"),
        (f"{side}.mid.block_{{n}}.{{rest*}}", f"{side}.middle.block{{n}}.{{rest*}}"),
        (f"{side}.mid.attn_1.proj_out.{{p}}", f"{side}.middle.attention.out.{{p}}"),
        (f"{side}.mid.attn_1.{{rest*}}", f"{side}.middle.attention.{{rest*}}"),
        (f"{side}.{{ends}}.{{p}}", f"{side}.{{ends}}.{{p}}"),
    )
)
"""Key-map rules of latent diffusion's layout, which VAR has, and Infinity under one more level of names."""


def autoencoder_shape(
    tensors: Mapping[str, Tensor],
    *,
    level: str = "encoder.down",
    block: str = "block",
    attention: str = "encoder.mid.attn_1",
    latents: str = "encoder.conv_out.weight",
    norm_groups: int = 32,
) -> AutoencoderConfig:
    """Read the shape of an autoencoder off its published weights.

    Args:
        tensors: by published name.
        level: what comes before the number of an encoder level.
        block: what comes before the number of a residual block in it.
        attention: the middle attention of the encoder, present or not.
        latents: the convolution that makes the latent channels.
        norm_groups: cannot be seen in weights; all published ones have 32.

    Raises:
        CheckpointError: A key that it is read from is missing, or the shapes fit no autoencoder; names the key.
    """
    channels = shape_of(tensors, "encoder.conv_in.weight")[0]
    widths = [
        shape_of(tensors, f"{level}.{index}.{block}.0.conv1.weight")[0]
        for index in range(max(highest(tensors, level), 0) + 1)
    ]
    uneven = [width for width in widths if width % channels]
    if uneven:
        raise CheckpointError(
            f"the levels under {level!r} are {widths} wide and 'encoder.conv_in.weight' {channels}; every width must be a "
            "multiple of that: these are weights of another architecture"
        )
    try:
        return AutoencoderConfig(
            channels=channels,
            channel_multipliers=tuple(width // channels for width in widths),
            blocks_per_level=highest(tensors, f"{level}.0.{block}") + 1,
            attention=any(name.startswith(f"{attention}.") for name in tensors),
            latent_channels=shape_of(tensors, latents)[0],
            norm_groups=norm_groups,
        )
    except ConfigError as error:
        raise CheckpointError(f"the weights are of no autoencoder of a known shape: {error}") from error


def vq_rules(levels: int) -> tuple[tuple[str, str], ...]:
    """Return the key-map rules of LlamaGen's layout, which FlexVAR and FQGAN have, for an autoencoder of so many levels."""
    rules: list[tuple[str, str]] = []
    for side, resampled in (("encoder", "downsample"), ("decoder", "upsample")):
        for place in range(levels):
            # The published decoder counts its levels as they run, from the coarsest.
            level = place if side == "encoder" else levels - 1 - place
            theirs, ours = f"{side}.conv_blocks.{place}", f"{side}.levels.{level}"
            rules += [
                (f"{theirs}.res.{{j}}.nin_shortcut.{{p}}", f"{ours}.blocks.{{j}}.shortcut.{{p}}"),
                (f"{theirs}.res.{{j}}.{{rest*}}", f"{ours}.blocks.{{j}}.{{rest*}}"),
                (f"{theirs}.attn.{{j}}.proj_out.{{p}}", f"{ours}.attentions.{{j}}.out.{{p}}"),
                (f"{theirs}.attn.{{j}}.{{rest*}}", f"{ours}.attentions.{{j}}.{{rest*}}"),
                (f"{theirs}.{resampled}.conv.{{p}}", f"{ours}.{resampled}.{{p}}"),
            ]
        rules += [
            (f"{side}.mid.0.{{rest*}}", f"{side}.middle.block1.{{rest*}}"),
            (f"{side}.mid.1.proj_out.{{p}}", f"{side}.middle.attention.out.{{p}}"),
            (f"{side}.mid.1.{{rest*}}", f"{side}.middle.attention.{{rest*}}"),
            (f"{side}.mid.2.{{rest*}}", f"{side}.middle.block2.{{rest*}}"),
            (f"{side}.{{ends}}.{{p}}", f"{side}.{{ends}}.{{p}}"),
        ]
    return tuple(rules)


def unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with queries, keys and values under names of their own, as views."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        before, packed, after = name.partition(".qkv.")
        parts = {f"{before}.{part}.{after}": piece for part, piece in zip("qkv", tensor.chunk(3))} if packed else None
        found |= parts or {name: tensor}
    return found
