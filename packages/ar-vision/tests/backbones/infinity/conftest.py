"""The tiny published transformer, and a tiny one of our own."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from ar_core.io import read_header, read_tensors
from ar_vision.backbones.infinity.config import InfinityConfig
from ar_vision.backbones.infinity.loading import from_published
from ar_vision.backbones.infinity.model import Infinity
from ar_vision.scales import ScaleSchedule
from ar_vision.text.text import Text
from torch import Tensor


class Case(NamedTuple):
    """Tensors of a recorded case with its settings."""

    tensors: dict[str, Tensor]
    settings: dict[str, str]

    @property
    def schedule(self) -> ScaleSchedule:
        return ScaleSchedule(tuple((h, w) for _, h, w in json.loads(self.settings["scale_schedule"])))

    @property
    def text(self) -> Text:
        return Text.of(self.tensors["text_kv_compact"].split(json.loads(self.settings["lens"])))


@pytest.fixture
def case(golden_dir: Path):
    """Reads a recorded case by its name."""

    def read(name: str) -> Case:
        path = golden_dir / "vision_b" / f"infinity_{name}.safetensors"
        return Case(read_tensors(path), read_header(path)["__metadata__"])

    return read


@pytest.fixture(scope="session")
def published_weights(golden_dir: Path) -> dict[str, Tensor]:
    """The tiny published transformer, chunked layout."""
    folder = golden_dir / "vision_b"
    return {
        **read_tensors(folder / "infinity_tiny_weights_part1.safetensors"),
        **read_tensors(folder / "infinity_tiny_weights_part2.safetensors"),
    }


@pytest.fixture
def published(published_weights: dict[str, Tensor]) -> Infinity:
    """The tiny published transformer, loaded."""
    return from_published(published_weights)


SCHEDULE = ScaleSchedule.square(1, 2, 3, 4)


@pytest.fixture
def schedule() -> ScaleSchedule:
    return SCHEDULE


@pytest.fixture
def tiny() -> Infinity:
    """A transformer of random weights that all matter, so that nothing hides behind a small gate."""
    config = InfinityConfig(
        depth=3, width=32, heads=4, hidden=64, bits=8, text_width=24, text_length=6, pool_heads=2,
        text_encoder="hashed", schedules=(SCHEDULE.sizes,),
    )  # fmt: skip
    model = Infinity(config)
    generator = torch.Generator().manual_seed(0)
    model.initialize(generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.fixture
def text() -> Text:
    """Two texts of 5 and 3 tokens for the tiny transformer."""
    generator = torch.Generator().manual_seed(1)
    return Text.of([torch.randn(length, 24, generator=generator) for length in (5, 3)])
