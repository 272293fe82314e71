"""What settings of decoding do, on logits that are known; and which of them a checkpoint decides."""

import math
from dataclasses import replace

import pytest
import torch
from ar_core.decoding import StopRule
from ar_core.errors import ConfigError
from ar_core.sampling import Sampler
from dvlm.decoding.backbone import VisionBackbone
from dvlm.decoding.method import choose_method
from dvlm.diffusionvl.decode import DiffusionVLDecodeConfig, generate
from dvlm.inputs import expand
from dvlm.prompt import VisionPrompt
from dvlm.settings import Diffusion, Settings
from tiny_vision_language import MASK, assembled

DYNAMIC = DiffusionVLDecodeConfig(mask_id=MASK, diffusion_block_size=4, strategy="dynamic")


@pytest.fixture
def passes():
    """Counts the passes over one block of a model that sees only ids 1 and 2, whose logits are 0 and `second`."""
    seen = VisionBackbone(assembled(), [VisionPrompt(expand([5, 6, 7, 8], None, []), ())])

    def count(config, second, **more):
        def head(hidden):
            logits = hidden.new_full((*hidden.shape[:-1], seen.vocab_size), -torch.inf)
            logits[..., 1], logits[..., 2] = 0.0, second
            return logits

        seen.head = head
        return generate(seen, seen.ids, config, stop=StopRule(frozenset(), 4), **more).stats.forwards["denoise"]

    return count


def test_confidence_must_be_above_the_threshold(passes):
    """Published: > and not >=."""
    assert passes(replace(DYNAMIC, threshold=0.5), 0.0) == 4
    assert passes(replace(DYNAMIC, threshold=0.499), 0.0) == 1


def test_which_confidence_is_compared(passes):
    """`drawn`: 1 where one token is left to draw; `raw`: its 2 / 3 before the filters."""
    config, sampler = replace(DYNAMIC, threshold=0.9), Sampler(temperature=1.0, top_k=1)
    assert passes(config, -math.log(2), sampler=sampler) == 4
    assert passes(replace(config, confidence="drawn"), -math.log(2), sampler=sampler) == 1


def test_a_block_of_any_size_takes_a_token_a_pass_unless_told():
    assert DiffusionVLDecodeConfig(mask_id=1, diffusion_block_size=32).policy().floor(0) == 1
    settings = Settings(diffusion=Diffusion(mask_id=5, block_size=4))
    assert choose_method(None, settings, {"diffusion_block_size": 16}).options.policy().floor(0) == 1
    assert choose_method(None, settings, {"steps": 2}).options.policy().floor(0) == 2


def test_the_checkpoint_decides_masks_blocks_and_what_finished_tokens_see():
    block, token = (
        choose_method(None, Settings(diffusion=Diffusion(5, 4, clean=clean)), {}).options
        for clean in ("block", "token")
    )
    assert (block.mask_id, block.diffusion_block_size) == (5, 4)
    assert (block.policy().context, block.commit) == ("block_causal", "fused")
    assert (token.policy().context, token.commit) == ("causal", "separate")
    assert choose_method(None, Settings(), {}).name == "ar"
    with pytest.raises(ConfigError, match="names no mask id"):
        choose_method("diffusionvl", Settings(), {})


@pytest.mark.parametrize("name", ["ar", "lookup", "jacobi"])
def test_decoders_of_autoregressive_models_take_no_other_checkpoint(name):
    """Whose labels are not shifted: a position's logits are those of its own token."""
    assert choose_method(name, Settings(), {}).name == name
    with pytest.raises(ConfigError, match=f"the method is '{name}', .*: leave method out, or give an autoregressive"):
        choose_method(name, Settings(diffusion=Diffusion(5, 4)), {})


def test_a_threshold_without_effect_is_refused():
    settings = Settings(diffusion=Diffusion(5, 4))
    with pytest.raises(ConfigError, match="static knows no threshold"):
        choose_method(None, settings, {"threshold": 0.5})
    assert choose_method(None, settings, {"threshold": 0.5, "strategy": "dynamic"}).options.threshold == 0.5
