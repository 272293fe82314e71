"""From the tower section of a config to a tower."""

from ar_core.errors import ConfigError
from ar_core.hf.build import seeded
from transformers import SiglipVisionConfig, SiglipVisionModel

from .config import ScratchTower, TowerConfig
from .efficientnet_lite import NAME, EfficientNetLiteTower
from .hugging_face import HALF, HuggingFaceTower, load_encoder
from .tower import Tower

__all__ = ["build_tower"]


def build_tower(config: TowerConfig, *, seed: int = 0) -> Tower:
    """Load or make a tower, in float32 or as its checkpoint has it.

    Args:
        config: the section.
        seed: of fresh weights; the global generator is left as it was.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        ConfigError: no layer would be left, the side of its input is not known, or EfficientNet-Lite0 is given a setting of encoders.
        UnsupportedModelError: it has no list of layers to drop from.
        MissingPackageError: EfficientNet-Lite0 is asked for and not installed.
    """
    if config.path == NAME:
        for name in ("drop_layers", "final_norm"):
            if getattr(config, name) != getattr(TowerConfig, name):
                raise ConfigError(
                    f"tower.{name} is {getattr(config, name)}, which {NAME}, a network of convolutions, does not have: drop it"
                )
        return EfficientNetLiteTower(config.side)
    if config.scratch is not None:
        return HuggingFaceTower(
            _from_scratch(config.scratch, seed),
            side=config.side,
            drop_layers=config.drop_layers,
            final_norm=config.final_norm,
        )
    assert config.path is not None
    encoder, processing = load_encoder(config.path)
    return HuggingFaceTower(
        encoder,
        side=config.side,
        drop_layers=config.drop_layers,
        final_norm=config.final_norm,
        mean=processing.get("image_mean") or HALF,
        std=processing.get("image_std") or HALF,
    )


def _from_scratch(scratch: ScratchTower, seed: int) -> SiglipVisionModel:
    config = SiglipVisionConfig(
        hidden_size=scratch.hidden,
        intermediate_size=2 * scratch.hidden,
        num_hidden_layers=scratch.layers,
        num_attention_heads=scratch.heads,
        image_size=scratch.side,
        patch_size=scratch.patch,
        vision_use_head=False,
    )
    with seeded(seed):
        return SiglipVisionModel(config)
