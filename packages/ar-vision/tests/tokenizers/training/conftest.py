"""A tokenizer small enough to be differentiated by hand, and runs of it on generated images."""

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ar_core.corruption import SampleRng
from ar_core.training import Job, TrainConfig
from ar_vision.tokenizers.autoencoder_config import AutoencoderConfig
from ar_vision.tokenizers.training.adaptive_weight import AdaptiveWeight
from ar_vision.tokenizers.training.config import TokenizerTrainingConfig
from ar_vision.tokenizers.training.discriminator import DiscriminatorConfig, PatchDiscriminator
from ar_vision.tokenizers.training.lpips import Lpips
from ar_vision.tokenizers.training.objective import TokenizerObjective
from ar_vision.tokenizers.training.usage import CodebookUsage, UsageConfig
from ar_vision.tokenizers.var_vqvae.config import VarTokenizerConfig
from ar_vision.tokenizers.var_vqvae.model import VarTokenizer
from torch import nn

BATCH = 6


class Blobs:
    """Smooth coloured images, uint8 [3, 16, 16]."""

    def open(self, start: int) -> Iterator[Mapping[str, Any]]:
        while True:
            coarse = torch.rand(1, 3, 3, 3, generator=SampleRng(3).row(start, "blob"))
            image = nn.functional.interpolate(coarse, size=16, mode="bilinear", align_corners=True)[0]
            yield {"index": start, "image": (image * 255).to(torch.uint8)}
            start += 1

    def describe(self) -> dict[str, Any]:
        return {"kind": "blobs"}


def settings(**changes: Any) -> TokenizerTrainingConfig:
    chosen: dict[str, Any] = {
        "scales": (1, 2, 4),
        "lpips": "given",
        "lpips_minimum_size": 31,
        "adversarial_start_step": 0,
        "discriminator": DiscriminatorConfig(channels=8, layers=1),
        "usage": UsageConfig(window=2, first_batch=True),
    }
    return TokenizerTrainingConfig(**chosen | changes)


def models(config: TokenizerTrainingConfig, seed: int = 0) -> dict[str, nn.Module]:
    shape = AutoencoderConfig(
        channels=4, channel_multipliers=(1, 1, 2), blocks_per_level=1, attention=False, latent_channels=4, norm_groups=2
    )
    tokenizer = VarTokenizer(VarTokenizerConfig(autoencoder=shape, vocab_size=12, num_phis=2))
    tokenizer.initialize(SampleRng(seed).row(0, "tokenizer"))
    made: dict[str, nn.Module] = {"tokenizer": tokenizer}
    if config.usage is not None:
        made["usage"] = CodebookUsage(12, 4, config.usage, batch_size=BATCH, seed=seed)
    if config.adaptive_weight:
        made["balance"] = AdaptiveWeight(tokenizer.decoder.last_layer)
    if config.adversarial_weight:
        discriminator = PatchDiscriminator(config.discriminator)
        discriminator.initialize(SampleRng(seed).row(0, "discriminator"))
        made["discriminator"] = discriminator
    if config.perceptual_weight:
        generator = SampleRng(seed).row(0, "lpips")
        made["lpips"] = Lpips(config.lpips_minimum_size)
        for parameter in made["lpips"].parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator) * 0.1 - 0.02)
    return made


def job(config: TokenizerTrainingConfig, seed: int = 0) -> Job:
    return Job(objective=TokenizerObjective(config, batch_size=BATCH), models=models(config, seed), source=Blobs())


def train_config(directory: Any = None, **changes: Any) -> TrainConfig:
    chosen = {"steps": 6, "batch_size": BATCH, "lr": 3e-3, "device": "cpu", "log_every": 1, "clip_norm": None}
    return TrainConfig(**chosen | {"checkpoint_dir": None if directory is None else str(directory)} | changes)


@pytest.fixture(scope="session")
def small() -> SimpleNamespace:
    """What builds runs of the small tokenizer."""
    return SimpleNamespace(
        batch=BATCH, source=Blobs, settings=settings, models=models, job=job, train_config=train_config
    )
