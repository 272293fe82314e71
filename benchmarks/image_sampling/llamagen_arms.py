"""LlamaGen with the windowed cache, with one that concatenates, and without one."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

import torch
from ar_vision.backbones.llamagen.config import LlamaGenConfig
from ar_vision.backbones.llamagen.decode import LlamaGenOptions, class_condition, generate
from ar_vision.backbones.llamagen.model import LlamaGen
from ar_vision.decoding.raster_mask import raster_mask
from torch import Tensor

from .caches import Concatenating, History, Recomputing
from .case import FREE, WINDOWED, Case, Drawn

__all__ = ["llamagen_case"]


class _Recomputing(Recomputing):
    """A model that runs over the whole sequence at every pass."""

    def hidden(self, x: Tensor, *, start: int, mask: object, cache: History) -> Tensor:
        whole = cache.extended(x)
        return self._model.hidden(whole, mask=raster_mask(0, whole.shape[1], None, x.device))[:, start:]


def llamagen_case(
    config: LlamaGenConfig, size: str, batch: int, *, guidance: float = 2.0, recompute: bool = True
) -> Case:
    """Classes 0, 1, ... drawn with fixed seeds.

    Args:
        config: sizes.
        size: the same in words.
        batch: images.
        guidance: g.
        recompute: whether to measure without a cache too.
    """
    model = LlamaGen(config)
    model.initialize(torch.Generator().manual_seed(0))
    with torch.no_grad():
        # A fresh head is zero, and draws from it would agree whatever the layers do.
        model.output.weight.normal_(0.0, config.dim**-0.5, generator=torch.Generator().manual_seed(1))
    model.eval()
    condition = class_condition(model, [row % config.num_classes for row in range(batch)])
    options = LlamaGenOptions(guidance=guidance)

    def arm(backbone: object, chosen: LlamaGenOptions = options) -> Callable[[bool], Drawn]:
        def run(count_flops: bool) -> Drawn:
            drawn = generate(cast(LlamaGen, backbone), condition, chosen, count_flops=count_flops)
            return Drawn(drawn.codes, drawn.stats, None if drawn.flops is None else drawn.flops.total())

        return run

    layers = config.layers
    arms: Mapping[str, Callable[[bool], Drawn]] = {
        WINDOWED: arm(model),
        "concatenating cache": arm(Concatenating(model, layers)),
        **({"no cache": arm(_Recomputing(model, layers))} if recompute else {}),
        FREE: arm(model, replace(options, guidance=1.0)),
    }
    return Case("LlamaGen", size, batch, guidance, arms)
