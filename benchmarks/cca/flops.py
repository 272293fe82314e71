"""Operations of sampling one image, counted."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import torch
from ar_vision.backbones.llamagen.decode import LlamaGenOptions, class_condition, generate
from ar_vision.backbones.llamagen.model import LlamaGen
from ar_vision.backbones.var.decode import VarDecoding, guidance_of
from ar_vision.backbones.var.model import Var
from ar_vision.checkpoint import load_checkpoint
from ar_vision.decoding.scalewise import ScalePasses, generate_scales
from torch import Generator, Tensor

from ..images.study import Study

__all__ = ["sampling_flops"]

BATCH = 4


@torch.no_grad()
def sampling_flops(study: Study, arm: str, guidance: float) -> float:
    """Operations of the generator for one image: its tokenizer's, which are the same for all, do not count.

    Args:
        study: whose.
        arm: the base, or what was trained from it.
        guidance: g; every g but 1 costs the same.
    """
    model = load_checkpoint(study.model(arm), "generator", dtype=torch.float32).model
    labels = list(range(BATCH))
    if isinstance(model, LlamaGen):
        drawn = generate(model, class_condition(model, labels), LlamaGenOptions(guidance=guidance), count_flops=True)
        assert drawn.flops is not None
        return drawn.flops.total() / BATCH
    tokenizer: Any = load_checkpoint(study.tokenizer, "tokenizer", dtype=torch.float32).model
    var, options, flops = cast(Var, model), VarDecoding(guidance=guidance), Counter[str]()
    scales = guidance_of(options, var.schedule.count)
    passes = ScalePasses(var, var.condition(torch.tensor(labels)), var.null_condition(BATCH), var.schedule, scales)

    def pick(scale: int, logits: Tensor, generators: Sequence[Generator]) -> Tensor:
        return options.sampler.pick(logits, generators)

    generate_scales(passes, tokenizer.history(BATCH, var.schedule), pick, flops=flops)
    return flops.total() / BATCH
