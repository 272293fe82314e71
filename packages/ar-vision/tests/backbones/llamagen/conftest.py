"""A tiny LlamaGen of each kind with random weights."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from ar_vision.backbones.llamagen.config import LlamaGenConfig
from ar_vision.backbones.llamagen.model import LlamaGen

CLASS = LlamaGenConfig(layers=2, heads=2, dim=32, vocab_size=24, grid=3, num_classes=5)
TEXT = replace(CLASS, num_classes=1000, condition="text", text_dim=12, text_tokens=6)


@pytest.fixture
def tiny() -> Callable[..., LlamaGen]:
    """Makes one, in eval mode, with weights that are far from uniform predictions."""

    def make(condition: str = "class", seed: int = 0, **more: object) -> LlamaGen:
        model = LlamaGen(replace(CLASS if condition == "class" else TEXT, **more))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(0.0, 0.3, generator=generator)
        return model.eval()

    return make
