"""VAR with the windowed cache, with one that concatenates, and without one."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import cast

import torch
from ar_vision.backbones.scale_mask import scale_mask
from ar_vision.backbones.var.config import VarConfig
from ar_vision.backbones.var.decode import VarDecoding, guidance_of
from ar_vision.backbones.var.model import Var
from ar_vision.decoding.scalewise import ScaleBackbone, ScalePasses, generate_scales
from ar_vision.scales import ScaleSchedule
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.var_vqvae.config import VarTokenizerConfig
from ar_vision.tokenizers.var_vqvae.model import VarTokenizer
from torch import Generator, Tensor

from .caches import Concatenating, History, Recomputing
from .case import FREE, WINDOWED, Case, Drawn

__all__ = ["var_case"]


class _Recomputing(Recomputing):
    """A model that runs over all scales so far at every pass."""

    def hidden(
        self,
        x: Tensor,
        condition: Tensor,
        *,
        scale: int,
        schedule: ScaleSchedule,
        cache: History,
        mask: None = None,
    ) -> Tensor:
        assert mask is None, "scales come one by one"
        whole = cache.extended(x)
        so_far = ScaleSchedule(schedule.sizes[: scale + 1])
        hidden = self._model.hidden(whole, condition, scale=None, schedule=so_far, mask=scale_mask(so_far, x.device))
        return hidden[:, -x.shape[1] :]


def var_case(config: VarConfig, size: str, batch: int, *, guidance: float = 3.0, recompute: bool = True) -> Case:
    """Classes 0, 1, ... drawn with fixed seeds; the ramp of guidance is VAR's.

    Args:
        config: sizes.
        size: the same in words.
        batch: images.
        guidance: g at the last scale.
        recompute: whether to measure without a cache too.
    """
    model = Var(config)
    model.initialize(torch.Generator().manual_seed(0))
    with torch.no_grad():
        # Fresh gates are nearly closed, and draws would agree whatever the layers do.
        for name, parameter in model.named_parameters():
            if "modulation" in name or "shared" in name or name.startswith("head.linear"):
                parameter.normal_(0.0, config.width**-0.5, generator=torch.Generator().manual_seed(1))
    model.eval()
    autoencoder = AutoencoderConfig(
        channels=8, channel_multipliers=(1,), blocks_per_level=1, attention=False,
        latent_channels=config.code_dim, norm_groups=4,
    )  # fmt: skip
    tokenizer = VarTokenizer(VarTokenizerConfig(autoencoder=autoencoder, vocab_size=config.vocab_size))
    tokenizer.initialize(torch.Generator().manual_seed(0))
    tokenizer.eval()
    labels = torch.tensor([row % config.num_classes for row in range(batch)])
    options = VarDecoding(guidance=guidance)

    def arm(backbone: object, chosen: VarDecoding = options) -> Callable[[bool], Drawn]:
        def run(count_flops: bool) -> Drawn:
            flops = Counter[str]() if count_flops else None
            with torch.no_grad():
                passes = ScalePasses(
                    cast(ScaleBackbone, backbone),
                    model.condition(labels),
                    model.null_condition(batch),
                    model.schedule,
                    guidance_of(chosen, model.schedule.count),
                )
                codes, stats = generate_scales(passes, tokenizer.history(batch, model.schedule), pick, flops=flops)
            return Drawn(torch.cat(codes, dim=1), stats, None if flops is None else flops.total())

        def pick(scale: int, logits: Tensor, generators: Sequence[Generator]) -> Tensor:
            return chosen.sampler.pick(logits, generators)

        return run

    layers = config.depth
    arms: Mapping[str, Callable[[bool], Drawn]] = {
        WINDOWED: arm(model),
        "concatenating cache": arm(Concatenating(model, layers)),
        **({"no cache": arm(_Recomputing(model, layers))} if recompute else {}),
        FREE: arm(model, replace(options, guidance=1.0)),
    }
    return Case("VAR", size, batch, guidance, arms)
