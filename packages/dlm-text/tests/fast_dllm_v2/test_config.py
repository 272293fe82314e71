"""Hyperparameters: defaults of the paper, and one sentence for each bad value."""

import subprocess
import sys

import pytest
from ar_core.config import from_dict, to_dict
from ar_core.errors import ConfigError
from dlm_text.fast_dllm_v2.config import FastDLLMv2Config
from dlm_text.sequence_length import check_sequence_length


def test_defaults_are_the_papers() -> None:
    config = FastDLLMv2Config()
    assert (config.diffusion_block_size, config.sub_block_size, config.min_noise) == (32, 8, 1e-3)
    assert config.complementary
    assert config.block_first == "noised"


def test_round_trip_through_plain_data() -> None:
    config = FastDLLMv2Config(diffusion_block_size=8, sub_block_size=4, views="stacked", block_first="clean")
    assert from_dict(FastDLLMv2Config, to_dict(config)) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"sub_block_size": 6},
            "sub_block_size is 6 and does not divide diffusion_block_size 32: choose one of 1, 2, 4, 8, 16, 32",
        ),
        ({"diffusion_block_size": 0}, "diffusion_block_size is 0, but must be at least 1"),
        ({"max_logits": 0}, "max_logits is 0, but must be at least 1"),
        ({"min_noise": 1.0}, r"min_noise is 1.0, but a masking rate lies in \[0, 1\)"),
        ({"views": "both"}, "views is 'both', which is none of 'shared', 'stacked'"),
        ({"block_first": "ar"}, "block_first is 'ar', which is none of 'noised', 'clean'"),
        ({"hide_block_first": True}, "hide_block_first is true and block_first is 'noised'"),
        ({"mask_token": ""}, "mask_token is empty: give the text of the mask token"),
    ],
)
def test_bad_values_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FastDLLMv2Config(**values)


@pytest.mark.parametrize(
    ("seq_len", "advice"),
    [(100, "set seq_len to 96 or 128"), (20, "set seq_len to 32"), (33, "set seq_len to 32 or 64")],
)
def test_rows_that_blocks_do_not_divide_are_refused(seq_len: int, advice: str) -> None:
    with pytest.raises(ConfigError, match=f"diffusion_block_size 32 does not divide seq_len {seq_len}: {advice}, or"):
        check_sequence_length(seq_len, FastDLLMv2Config().diffusion_block_size)


def test_config_needs_no_torch() -> None:
    code = "import sys, dlm_text.fast_dllm_v2, dlm_text.fast_dllm_v2.config; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
