"""Vision-language models of our own layout and of a published one, and the connector alone."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from ar_core.hf import ModelConfig
from ar_core.hf.model_config import LlamaScratch
from dvlm.assembled import AssembledVL
from dvlm.build import build_vision_language
from dvlm.layouts.load import load_vision_language
from dvlm.layouts.save import save_vision_language
from dvlm.layouts.stage1 import load_connector, save_connector
from dvlm.model_config import VisionLanguageConfig
from dvlm.qwen_vl import QwenVL
from dvlm.settings import Diffusion, Settings
from dvlm.towers import ConnectorConfig, ScratchTower, TowerConfig
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from ..loader import Loader
from .language_models import SIZES

__all__ = ["LOADERS"]


@cache
def _assembled() -> AssembledVL:
    language = ModelConfig(
        scratch=LlamaScratch(hidden=16, layers=1, heads=2, kv_heads=1, intermediate=16, vocab=264, context=64)
    )
    tower = TowerConfig(scratch=ScratchTower(side=16, patch=8, hidden=8, layers=1, heads=2), drop_layers=0)
    config = VisionLanguageConfig(language=language, tower=tower, connector=ConnectorConfig(newline=True))
    model, _ = build_vision_language(config)
    assert isinstance(model, AssembledVL)
    return model


def _vision_language() -> Iterator[Any]:
    settings = Settings(diffusion=Diffusion(mask_id=259, block_size=4))
    yield lambda folder: save_vision_language(_assembled(), folder / "model", settings)


def _qwen_vl() -> Iterator[Any]:
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "patch_size": 14,
        "out_hidden_size": 16,
    }
    config = Qwen2_5_VLConfig(
        text_config={**SIZES, "rope_parameters": rope},
        vision_config={**vision, "fullatt_block_indexes": [0]},
        tie_word_embeddings=False,
    )
    config.text_config.tie_word_embeddings = False
    model = QwenVL(Qwen2_5_VLForConditionalGeneration(config))
    settings = Settings(diffusion=Diffusion(mask_id=259, block_size=4))
    yield lambda folder: save_vision_language(model, folder / "model", settings, layout="published")


def _connector() -> Iterator[Any]:
    yield lambda folder: save_connector(_assembled(), folder / "mm_projector.bin")


LOADERS = (
    Loader("dvlm/assembled", _vision_language, lambda folder: load_vision_language(folder / "model"), share=0.2),
    Loader("dvlm/published", _qwen_vl, lambda folder: load_vision_language(folder / "model"), share=0.2),
    Loader("dvlm/connector", _connector, lambda folder: load_connector(_assembled(), folder / "mm_projector.bin")),
)
