"""Fixtures of tiny models of both routes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from dvlm.chat.byte_tokenizer import byte_tokenizer
from dvlm.data.sample import VisionTextSample
from dvlm.data.shapes import shape_picture
from dvlm.images.config import ImageConfig
from dvlm.model import VisionLanguageModel
from dvlm.qwen_vl import QwenVL
from tiny_vision_language import assembled, qwen2_5_vl, qwen3_vl
from torch import Tensor


@pytest.fixture(params=["qwen2_5_vl", "qwen3_vl", "assembled"])
def model(request: pytest.FixtureRequest) -> VisionLanguageModel:
    """A tiny vision-language model in float64; the last id of its vocabulary serves as M."""
    if request.param == "assembled":
        return assembled()
    return QwenVL(qwen2_5_vl() if request.param == "qwen2_5_vl" else qwen3_vl())


@pytest.fixture
def images() -> ImageConfig:
    """Few pixels for every kind of tower."""
    return ImageConfig(fit="square", min_pixels=3136, max_pixels=6272)


@pytest.fixture
def sample(images: ImageConfig) -> Callable[..., VisionTextSample]:
    """Makes a sample of some text, an image (or more), a question and an answer of given lengths."""

    def make(
        model: VisionLanguageModel, index: int = 0, *, answer: int = 9, pictures: int = 1, before: int = 3
    ) -> VisionTextSample:
        generator = torch.Generator().manual_seed(index)

        def words(count: int) -> list[int]:
            return torch.randint(250, (count,), generator=generator).tolist()

        processor = model.processor(images)
        inputs = [processor(shape_picture(index + number)) for number in range(pictures)]
        pixels_as = next(model.parameters()).dtype
        inputs = [type(one)(one.pixels.to(pixels_as), one.layout) for one in inputs]
        prompt = words(before) + [-200, *words(2)] * pictures
        said = words(answer)
        return {"index": index, "tokens": prompt + said, "labels": [-100] * len(prompt) + said, "images": inputs}

    return make


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """The tokenizer of bytes."""
    return byte_tokenizer()


@pytest.fixture(scope="session")
def recorded(golden_dir: Path) -> Callable[[str], dict[str, Tensor]]:
    """Reads a safetensors file of the recorded cases."""
    from safetensors.torch import load_file

    return lambda name: load_file(golden_dir / "dvlm" / f"{name}.safetensors")
