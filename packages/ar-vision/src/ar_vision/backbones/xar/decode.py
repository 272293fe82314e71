"""Images from an xAR: cell after cell, each from noise, on the cache of the clean cells before it.

Source: xAR (arXiv 2502.20388) and its published code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from ar_core.config import require_positive
from ar_core.decoding import DecodeStats
from ar_core.errors import ConfigError, NumericsError
from ar_core.sampling import guide, row_generators
from torch import Tensor, nn

from ...checkpoint import require_codes
from ...decoding.generated import GeneratedImages, OnScale
from ...decoding.guidance import doubled, require_guidance
from ...scales import ScaleSchedule
from ...tokenizers.tokenizer import Tokenizer
from ..class_labels import checked_labels
from .cells import from_cells
from .flow import integrate
from .model import Xar
from .objective import quantised

__all__ = ["XarOptions", "cell_guidance", "draw_features", "generate"]


@dataclass(frozen=True)
class XarOptions:
    """How features are drawn.

    Raises:
        ConfigError: a value is out of range.
    """

    guidance: float = 1.0
    """g of the last cell, to which it rises linearly from 1 in the first. Published: 2.7 for B, 2.2 for H."""
    steps: int = 50
    """Of each cell. Published: 40 to 50."""
    diffusion: float = 1.0
    """w of the noise along the path (Euler and Maruyama); 0 is Euler on the ordinary differential equation."""
    snap: bool = False
    """Decode the nearest codes in the place of the features that were drawn."""

    def __post_init__(self) -> None:
        require_guidance(self.guidance)
        require_positive(self, "steps")
        if not (math.isfinite(self.diffusion) and self.diffusion >= 0):
            raise ConfigError(f"diffusion is {self.diffusion} and must be at least 0: give 0 for none")


def cell_guidance(guidance: float, cells: int) -> tuple[float, ...]:
    """Return the scale of each cell: 1 in the first, g in the last, in equal steps; of a single cell g."""
    return tuple(1 + (guidance - 1) * (cell / (cells - 1) if cells > 1 else 1) for cell in range(cells))


@torch.inference_mode()
def draw_features(
    model: Xar, labels: Sequence[int] | Tensor, options: XarOptions, *, seed: int | Sequence[int] = 0
) -> tuple[Tensor, DecodeStats]:
    """Draw the quantised features of B images.

    What an image draws depends on its own seed alone.

    Args:
        model: in eval mode.
        labels: B classes, int64 [B].
        options: guidance and steps.
        seed: as `ar_core.sampling.row_generators` takes it.

    Returns:
        float32 `[B, Cv, g, g]`, and stats: phase "cell", a forward each step; phase "commit", one a cell but the last.

    Raises:
        NumericsError: the model gives no numbers.
    """
    config = model.config
    classes = checked_labels(labels, config.num_classes).to(model.device)
    batch, guided = len(classes), options.guidance != 1
    every = torch.cat([classes, torch.full_like(classes, config.num_classes)]) if guided else classes
    generators, stats = row_generators(seed, batch), DecodeStats()
    cache = model.new_cache(len(every))

    def draw() -> Tensor:
        rows = [
            torch.randn(config.places, config.code_dim, generator=generator, device=generator.device)
            for generator in generators
        ]
        return torch.stack(rows).to(model.device)

    def run(x: Tensor, time: float, cell: int, phase: str) -> Tensor:
        at = torch.full((len(every), 1), time, device=model.device)
        with stats.forward(phase, len(every), config.places):
            cache.window(config.places)
            return model.velocity(doubled(x, len(every)), at, every, first=cell, cache=cache)

    drawn = []
    for cell, scale in enumerate(cell_guidance(options.guidance, config.cells)):

        def velocity(x: Tensor, time: float, cell: int = cell, scale: float = scale) -> Tensor:
            found = run(x, time, cell, "cell")
            if not guided:
                return found
            given, null = found.chunk(2)
            return guide(given, null, scale)

        x = integrate(velocity, draw(), options.steps, diffusion=options.diffusion, draw=draw)
        if not bool(x.isfinite().all()):
            raise NumericsError("The model's velocities are not numbers; check its weights and the dtype it runs in.")
        drawn.append(x)
        if cell + 1 < config.cells:
            # The cells behind see this one without noise.
            run(x, 0.0, cell, "commit")
            cache.keep(config.places)
        for _ in range(batch):
            stats.accept(config.places)
    stats.generated = [config.cells * config.places] * batch
    assert config.latent_std is not None
    return from_cells(torch.cat(drawn, dim=1), config.cell) * config.latent_std, stats


@torch.inference_mode()
def generate(
    model: Xar,
    tokenizer: Tokenizer,
    labels: Sequence[int],
    options: XarOptions,
    *,
    seed: int | Sequence[int] = 0,
    on_scale: OnScale | None = None,
) -> GeneratedImages:
    """Draw features and decode them; residual modules of the tokenizer are applied behind, as it decodes codes.

    Args:
        model: in eval mode.
        tokenizer: the one that it was trained with, on its device and in eval mode.
        labels: B classes, int64 [B].
        options: guidance and steps.
        seed: one number, or one for each image.
        on_scale: must be None.

    Returns:
        Images, with the codes that are nearest to the features.

    Raises:
        ConfigError: scales were asked for, of which there are none.
        CheckpointError: the tokenizer's features have other channels.
    """
    if on_scale is not None:
        raise ConfigError("an xar draws cell after cell and has no scales to show: leave out scales")
    require_codes(model, cast(nn.Module, tokenizer))
    features, stats = draw_features(model, labels, options, seed=seed)
    with stats.timed("pixels"):
        codes = tokenizer.quantize(features, ScaleSchedule.square(model.config.grid))
        shown = quantised(tokenizer, codes[0], model.config.grid) if options.snap else features
        images = tokenizer.decode(shown).float().clamp(-1, 1)
    return GeneratedImages(images, codes, stats)
