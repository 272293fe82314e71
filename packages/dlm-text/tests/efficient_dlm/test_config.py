"""Hyperparameters: defaults of the paper, and one sentence for each bad value."""

import subprocess
import sys

import pytest
from ar_core.config import from_dict, to_dict
from ar_core.errors import ConfigError
from dlm_text.efficient_dlm.config import EfficientDLMConfig
from dlm_text.efficient_dlm.decode import EfficientDLMDecodeConfig

HYBRID = EfficientDLMConfig(clean="token", ar_weight=1.0, diffusion_weight=0.3)


def test_defaults_are_the_papers() -> None:
    config = EfficientDLMConfig()
    assert (config.diffusion_block_size, config.half_life_ratio, config.min_noise) == (64, 0.1, 1e-3)
    assert (config.attention_pattern, config.clean, config.token_shift) == ("block_clean", "block", False)
    assert (config.normalisation, config.diffusion_weight, config.ar_weight) == ("masked", 1.0, 0.0)
    assert (config.mask_token, config.untie_embeddings, config.is_hybrid) == ("<|fim_pad|>", True, False)
    decoding = EfficientDLMDecodeConfig(mask_id=151662)
    assert (decoding.diffusion_block_size, decoding.threshold, decoding.grid) == (32, 0.9, "prompt")
    assert (decoding.context, decoding.first_token, decoding.mode) == ("block_causal", "denoise", "diffusion")


@pytest.mark.parametrize(
    "config",
    [HYBRID, EfficientDLMConfig(half_life_ratio=None, attention_pattern="bidirectional", normalisation="tokens")],
)
def test_round_trip_through_plain_data(config: EfficientDLMConfig) -> None:
    assert from_dict(EfficientDLMConfig, to_dict(config)) == config


def test_hybrids_can_be_read_one_token_at_a_time() -> None:
    assert HYBRID.is_hybrid
    assert EfficientDLMConfig(attention_pattern="autoregressive", diffusion_weight=0.0, ar_weight=1.0).is_hybrid


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"diffusion_block_size": 0}, "diffusion_block_size is 0, but must be at least 1"),
        ({"max_logits": 0}, "max_logits is 0, but must be at least 1"),
        ({"min_noise": 1.0}, r"min_noise is 1.0, but a noise level lies in \[0, 1\)"),
        ({"half_life_ratio": 0.0}, "half_life_ratio is 0.0, but is a positive share of a block"),
        (
            {"attention_pattern": "block"},
            "attention_pattern is 'block', which is none of 'block_clean', 'block_noisy', 'bi",
        ),
        ({"clean": "causal"}, "clean is 'causal', which is none of 'block', 'token'"),
        ({"normalisation": "mean"}, "normalisation is 'mean', which is none of 'masked', 'supervised', 'tokens'"),
        ({"diffusion_weight": -1.0}, "diffusion_weight is -1.0, but a weight is 0 or more"),
        ({"ar_weight": 1.0}, "ar_weight is 1.0 and clean tokens see what follows them in their block"),
        ({"ar_weight": 1.0, "attention_pattern": "block_noisy"}, "set clean to token, or ar_weight to 0"),
        ({"clean": "token", "attention_pattern": "bidirectional"}, "has no clean half to choose for"),
        (
            {"attention_pattern": "autoregressive"},
            "this pattern has the next-token loss alone: set diffusion_weight to 0",
        ),
        ({"diffusion_weight": 0.0}, "diffusion_weight and ar_weight are both 0, which trains nothing"),
        ({"mask_token": ""}, "mask_token is empty: give the text of the mask token"),
    ],
)
def test_bad_values_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EfficientDLMConfig(**values)


def test_config_needs_no_torch() -> None:
    code = "import sys, dlm_text.efficient_dlm, dlm_text.efficient_dlm.config; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("mode", ["autoregressive", "self_speculation"])
@pytest.mark.parametrize(
    "given",
    [{"threshold": 0.5}, {"steps": 2}, {"grid": "absolute"}, {"first_token": "commit"}, {"batch_size": 2}],
    ids=str,
)
def test_what_only_blocks_read_is_refused_where_there_are_none(mode: str, given: dict) -> None:
    ((name, value),) = given.items()
    sentence = f"{name} is {value!r}, which mode {mode!r} never uses: drop it, or set mode to diffusion"
    with pytest.raises(ConfigError, match=sentence):
        EfficientDLMDecodeConfig(mask_id=1, context="causal", mode=mode, **given)


def test_what_a_checkpoint_decides_is_no_mistake_of_the_user() -> None:
    given = {"mask_id": 1, "diffusion_block_size": 8, "context": "causal", "token_shift": True, "first_token": "commit"}
    assert EfficientDLMDecodeConfig(**given, mode="autoregressive").policy() is None
