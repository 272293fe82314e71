"""Generation with VAR.

Source: VAR (arXiv 2404.02905) and its published code.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ar_core.errors import ConfigError
from torch import Generator, Tensor

from ...decoding.generated import GeneratedImages, OnScale
from ...tokenizers.tokenizer import Tokenizer
from ...tokenizers.var_vqvae.model import VarTokenizer
from ..scale_transformer.decode import ScaleDecoding, generate_classes
from .model import Var
from .more_smooth import SmoothScales

__all__ = ["VarDecoding", "generate", "guidance_of"]


@dataclass(frozen=True, kw_only=True)
class VarDecoding(ScaleDecoding):
    """How VAR's codes are chosen.

    Raises:
        ConfigError: a value is out of range, or ``more_smooth`` was asked for at temperature 0.
    """

    more_smooth: bool = False
    """Feed back mixtures of code vectors instead of single ones; for looks, never where FID is measured."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.more_smooth and self.temperature == 0:
            raise ConfigError("more_smooth mixes by chance and temperature 0 is greedy: choose one of them")


def guidance_of(options: VarDecoding, count: int) -> tuple[float, ...]:
    """Return g_k of each of K scales: 1 + (g - 1) k / (K - 1), or g."""
    if options.guidance_schedule == "constant":
        return (options.guidance,) * count
    return tuple(1 + (options.guidance - 1) * k / max(count - 1, 1) for k in range(count))


def generate(
    model: Var,
    tokenizer: Tokenizer,
    labels: Tensor | Sequence[int],
    options: VarDecoding | None = None,
    *,
    seed: int | Sequence[int] = 0,
    on_scale: OnScale | None = None,
) -> GeneratedImages:
    """Generate one image for each label, in K forward passes.

    Args:
        model: in eval mode.
        tokenizer: the one that it was trained with, on the same device.
        labels: B classes, int64 [B]; ``num_classes`` stands for none.
        options: how codes are chosen.
        seed: one number, or one for each image; an image depends on its own alone.
        on_scale: called after each scale with the features so far.

    Raises:
        DataError: a label is no class.
        CheckpointError: the tokenizer has other codes than the model.
        ConfigError: ``more_smooth`` with another kind of tokenizer.
    """
    options = VarDecoding() if options is None else options
    sampler, guidance = options.sampler, guidance_of(options, model.schedule.count)
    if options.more_smooth:
        if not isinstance(tokenizer, VarTokenizer):
            raise ConfigError(
                f"more_smooth mixes code vectors of VAR's tokenizer and a {type(tokenizer).__name__} was given: leave it out"
            )
        smooth = SmoothScales(tokenizer, len(labels), model.schedule, sampler)
        return generate_classes(
            model, tokenizer, labels, model.schedule, guidance, smooth.pick, smooth, seed=seed, on_scale=on_scale
        )

    def pick(scale: int, logits: Tensor, generators: Sequence[Generator]) -> Tensor:
        return sampler.pick(logits, generators)

    return generate_classes(model, tokenizer, labels, model.schedule, guidance, pick, seed=seed, on_scale=on_scale)
