"""Settings that Python code gives, which no reader of YAML has looked at."""

import math

import pytest
from ar_core.errors import ConfigError
from dlm_text.diffuspec.config import DiffuSpecConfig
from dlm_text.efficient_dlm.config import EfficientDLMConfig
from dlm_text.efficient_dlm.decode import EfficientDLMDecodeConfig
from dlm_text.fast_dllm_v2.config import FastDLLMv2Config
from dlm_text.fast_dllm_v2.decode import FastDLLMv2DecodeConfig
from dlm_text.jacobi_forcing.config import JacobiForcingConfig, NoiseSchedule
from dlm_text.jacobi_forcing.decode import JacobiForcingDecodeConfig

NEEDED = {
    DiffuSpecConfig: {"drafter": "x"},
    EfficientDLMDecodeConfig: {"mask_id": 1},
    FastDLLMv2DecodeConfig: {"mask_id": 1},
}


@pytest.mark.parametrize(
    ("config", "name"),
    [
        *(
            (DiffuSpecConfig, name)
            for name in (
                "acceptance", "drafter_cache", "drafter_dtype", "drafter_layout", "eos_rule", "length_policy", "rounding"
            )
        ),
        *((NoiseSchedule, name) for name in ("kind", "order", "endpoint", "metric")),
        *((JacobiForcingConfig, name) for name in ("mask", "pc_reduction", "eos_policy")),
        *((EfficientDLMConfig, name) for name in ("attention_pattern", "clean", "normalisation")),
        *((FastDLLMv2Config, name) for name in ("views", "block_first")),
        *((EfficientDLMDecodeConfig, name) for name in ("mode", "grid", "context", "first_token", "commit")),
        (FastDLLMv2DecodeConfig, "commit"),
    ],
)  # fmt: skip
def test_a_name_that_no_setting_knows_is_refused(config, name):
    with pytest.raises(ConfigError, match=f"{name} is 'zzz', which is none of"):
        config(**NEEDED.get(config, {}), **{name: "zzz"})


@pytest.mark.parametrize(
    ("config", "given"),
    [
        (EfficientDLMDecodeConfig, {"threshold": None}),
        (EfficientDLMDecodeConfig, {"diffusion_block_size": 8.0}),
        (FastDLLMv2DecodeConfig, {"threshold": None}),
        (FastDLLMv2DecodeConfig, {"threshold": "0.9"}),
        (FastDLLMv2DecodeConfig, {"diffusion_block_size": 8.0}),
        (JacobiForcingDecodeConfig, {"block_length": "4"}),
        (EfficientDLMConfig, {"diffusion_block_size": 8.5}),
        (DiffuSpecConfig, {"draft_length": "30"}),
    ],
)
def test_a_value_of_another_type_is_refused(config, given):
    (name,) = given
    with pytest.raises(ConfigError, match=f"{name} is .*; give it (a number|an integer)"):
        config(**NEEDED.get(config, {}), **given)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["ar_weight", "temperature"])
def test_weights_of_jacobi_forcing_are_finite(name, value):
    with pytest.raises(ConfigError, match=f"{name} is {value}"):
        JacobiForcingConfig(**{name: value})


@pytest.mark.parametrize("config", [EfficientDLMDecodeConfig, FastDLLMv2DecodeConfig])
def test_rows_decoded_at_a_time_are_one_or_more(config):
    with pytest.raises(ConfigError, match="batch_size is 0, but must be at least 1"):
        config(mask_id=1, batch_size=0)
