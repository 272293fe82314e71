"""Tiny models of both routes."""

from typing import Any

import torch
from ar_core.hf import ModelConfig
from ar_core.hf.model_config import LlamaScratch
from dvlm.assembled import AssembledVL
from dvlm.build import build_vision_language
from dvlm.model_config import VisionLanguageConfig
from dvlm.towers import ConnectorConfig, ScratchTower, TowerConfig, build_tower
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

VOCAB = 300
MASK = 299
EOS = 258
TEXT = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
    "bos_token_id": None,
    "eos_token_id": EOS,
    "pad_token_id": None,
}


def _noisy_biases(model: torch.nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            # Fresh biases are zero, which hides errors in how they are used.
            torch.nn.init.normal_(parameter, std=0.3)


def qwen2_5_vl(*, tied: bool = False) -> Any:
    """A tiny Qwen2.5-VL of transformers."""
    config = Qwen2_5_VLConfig(
        text_config={**TEXT, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 1, 2]}},
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 40, "num_heads": 2, "patch_size": 14, "out_hidden_size": 32,
            "fullatt_block_indexes": [1], "initializer_range": 0.3,
        },
        tie_word_embeddings=tied,
    )  # fmt: skip
    config.text_config.tie_word_embeddings = tied
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen2_5_VLForConditionalGeneration(config).double().eval()
        _noisy_biases(model)
    return model


def qwen3_vl() -> Any:
    """A tiny Qwen3-VL of transformers, with deepstack features."""
    config = Qwen3VLConfig(
        text_config={
            **TEXT, "head_dim": 8,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 1, 1], "mrope_interleaved": True},
        },
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 40, "num_heads": 2, "patch_size": 16, "out_hidden_size": 32,
            "deepstack_visual_indexes": [0], "num_position_embeddings": 16, "initializer_range": 0.3,
        },
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen3VLForConditionalGeneration(config).double().eval()
        _noisy_biases(model)
    return model


def assembled(*, newline: bool = False) -> AssembledVL:
    """A tiny Llama and a tiny SigLIP."""
    language = ModelConfig(
        scratch=LlamaScratch(
            hidden=32, layers=2, heads=4, kv_heads=2, intermediate=48, vocab=VOCAB, context=512, init_std=0.3
        )
    )
    tower = TowerConfig(
        scratch=ScratchTower(side=32, patch=8, hidden=16, layers=2, heads=2), drop_layers=1, final_norm=False
    )
    model, _ = build_vision_language(
        VisionLanguageConfig(language=language, tower=tower, connector=ConnectorConfig(newline=newline))
    )
    assert isinstance(model, AssembledVL)
    return model.double().eval()


def route2(*, newline: bool = True, tied: bool = False) -> AssembledVL:
    """A tiny Qwen2 and a tiny SigLIP, as the published layout of route 2 has them."""
    rope = {"rope_type": "default", "rope_theta": 5e5}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        language = Qwen2ForCausalLM(Qwen2Config(**TEXT, tie_word_embeddings=tied, rope_parameters=rope))
    tower = build_tower(
        TowerConfig(
            scratch=ScratchTower(side=32, patch=8, hidden=16, layers=3, heads=2), drop_layers=1, final_norm=False
        )
    )
    return AssembledVL(language, tower, ConnectorConfig(newline=newline)).eval()
