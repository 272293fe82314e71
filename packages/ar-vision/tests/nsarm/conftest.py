"""A tiny NSARM: 4 to 16 pixels, bits of 8, two scales of four from the transformation network."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from ar_vision.backbones.infinity.config import InfinityConfig
from ar_vision.nsarm.config import MapConfig, NsarmModelConfig
from ar_vision.nsarm.model import Nsarm
from ar_vision.scales import ScaleSchedule
from ar_vision.text.encoder import build_text_encoder
from ar_vision.text.text import Text
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.bsq.config import BsqTokenizerConfig
from ar_vision.tokenizers.bsq.model import BsqTokenizer
from torch import Tensor

SCHEDULE = ScaleSchedule.square(1, 2, 4, 8)
MAP: dict[str, Any] = {
    "channels": 8,
    "grid": 2,
    "sizes": (1, 2),
    "widths": (8, 8),
    "layers": (1, 2),
    "heads": (2, 2),
    "stem": (6, 6),
    "dropout": 0.0,
}
TRANSFORMER = InfinityConfig(
    depth=2, width=32, heads=4, hidden=64, bits=8, text_width=24, text_length=8, pool_heads=2, text_encoder="hashed",
    schedules=(SCHEDULE.sizes,),
)  # fmt: skip


@pytest.fixture
def make_nsarm() -> Callable[..., Nsarm]:
    """A model whose weights all matter; settings of the map may be overridden."""

    def make(**settings: Any) -> Nsarm:
        model = Nsarm(NsarmModelConfig(MapConfig(**MAP | settings), TRANSFORMER))
        generator = torch.Generator().manual_seed(0)
        model.initialize(generator)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        return model.eval()

    return make


@pytest.fixture
def nsarm(make_nsarm: Callable[..., Nsarm]) -> Nsarm:
    return make_nsarm()


@pytest.fixture
def tokenizer() -> BsqTokenizer:
    """Two pixels a cell, a bit a channel."""
    layout = AutoencoderConfig(4, (1, 1), 1, attention=False, latent_channels=8, norm_groups=2)
    model = BsqTokenizer(BsqTokenizerConfig(layout))
    model.initialize(torch.Generator().manual_seed(5))
    return model.eval().requires_grad_(False)


@pytest.fixture
def low() -> Tensor:
    """Three small images in [-1, 1]."""
    return torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture
def high() -> Tensor:
    """Three large images, uint8."""
    return torch.randint(256, (3, 3, 16, 16), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)


@pytest.fixture
def text() -> Text:
    """Three texts of different lengths."""
    return build_text_encoder(TRANSFORMER.texts).encode(["a red bus", "grass", "a cat on a mat"])
