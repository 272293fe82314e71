"""Vision encoders of transformers as towers: halves of pairs, class tokens, convolutions."""

from pathlib import Path

import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError
from dvlm.assembled import AssembledVL
from dvlm.towers import ConnectorConfig, ScratchTower, TowerConfig, build_tower
from transformers import (
    CLIPConfig,
    CLIPModel,
    ConvNextConfig,
    ConvNextModel,
    LlamaConfig,
    LlamaForCausalLM,
    ResNetConfig,
    ResNetModel,
    SiglipConfig,
    SiglipModel,
    SwinConfig,
    SwinModel,
)

VISION = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
WORDS = {
    "vocab_size": 20, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 1,
}  # fmt: skip


@pytest.fixture
def crops() -> torch.Tensor:
    """Two crops [2, 3, 32, 32]."""
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("family", ["siglip", "clip"])
def test_the_vision_half_of_a_pair(family, crops, tmp_path: Path):
    """As the model itself: features of the second-to-last layer, without the class token."""
    kind, config = (SiglipModel, SiglipConfig) if family == "siglip" else (CLIPModel, CLIPConfig)
    pair = kind(config(text_config=WORDS, vision_config=VISION)).eval()
    pair.save_pretrained(tmp_path / "pair")
    (tmp_path / "pair" / "preprocessor_config.json").write_text(
        '{"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 1]}'
    )
    tower = build_tower(TowerConfig(path=str(tmp_path / "pair"), drop_layers=1, final_norm=False)).eval()
    assert (tower.side, tower.features, tower.width, tower.mean) == (32, 4, 16, (0.1, 0.2, 0.3))
    caught = []
    pair.vision_model.encoder.layers[1].register_forward_hook(
        lambda m, i, output: caught.append(output[0] if isinstance(output, tuple) else output)
    )
    pair.vision_model(pixel_values=crops)
    found = tower(crops)
    assert found.shape == (2, 16, 16)
    assert torch.equal(found, caught[0][:, -16:])


def test_a_network_of_convolutions(crops, tmp_path):
    model = ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic")).eval()
    model.save_pretrained(tmp_path / "resnet")
    tower = build_tower(TowerConfig(path=str(tmp_path / "resnet"), side=32)).eval()
    maps = model(pixel_values=crops).last_hidden_state
    assert (tower.features, tower.width) == (maps.shape[-1], 12)
    found = tower(crops)
    assert torch.equal(found, maps.flatten(2).transpose(1, 2))
    with pytest.raises(ConfigError, match=r"tower.side is not given"):
        build_tower(TowerConfig(path=str(tmp_path / "resnet")))


def test_fresh_towers_come_from_the_seed(crops):
    config = TowerConfig(scratch=ScratchTower(side=32, patch=8, hidden=16, layers=1, heads=2))
    first, again, other = (build_tower(config, seed=seed).eval()(crops) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_what_is_no_vision_model_is_refused(tmp_path):
    language_of().save_pretrained(tmp_path / "words")
    with pytest.raises(CheckpointError, match="is no vision model"):
        build_tower(TowerConfig(path=str(tmp_path / "words")))
    with pytest.raises(CheckpointError, match="There is no checkpoint at"):
        build_tower(TowerConfig(path="./gone"))


@pytest.mark.parametrize("family", ["swin", "convnext"])
def test_networks_of_stages_have_fewer_features_than_patches(crops, tmp_path, family):
    """Patches of 4 at a side of 32, merged on the way to 1 / 8 and 1 / 16 of the side."""
    if family == "swin":
        config = SwinConfig(image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4)
        model, side, width = SwinModel(config), 4, 16
    else:
        config = ConvNextConfig(image_size=32, patch_size=4, num_stages=3, depths=[1, 1, 1], hidden_sizes=[4, 8, 12])
        model, side, width = ConvNextModel(config), 2, 12
    model.eval().save_pretrained(tmp_path / family)
    tower = build_tower(TowerConfig(path=str(tmp_path / family))).eval()
    assert (tower.side, tower.features, tower.width) == (32, side, width)
    expected = model(pixel_values=crops).last_hidden_state
    expected = expected.flatten(2).transpose(1, 2) if expected.ndim == 4 else expected
    assert torch.equal(tower(crops), expected)


def test_sides_that_a_tower_cannot_read_are_refused():
    scratch = ScratchTower(side=32, patch=8, hidden=16, layers=1, heads=2)
    with pytest.raises(ConfigError, match=r"tower.side is 48 and the vision model of type .* has positions for 32"):
        build_tower(TowerConfig(scratch=scratch, side=48))
    with pytest.raises(ConfigError, match=r"connector.pool is 3 and does not divide the tower's 4 features a side"):
        AssembledVL(language_of(), build_tower(TowerConfig(scratch=scratch)), ConnectorConfig(pool=3))


def language_of() -> LlamaForCausalLM:
    """A tiny language model."""
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=20, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    )
