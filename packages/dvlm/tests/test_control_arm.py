"""The settings that the page gives for the AR control arm are those by which a base of the hub is decoded."""

import re
import shlex
from pathlib import Path

import pytest
from ar_core.registry import recipe
from ar_core.training import read_run_config
from dvlm.decoding.session import base_settings
from dvlm.layouts.load import LoadedVL
from dvlm.qwen_vl import QwenVL
from dvlm.settings import Settings
from tiny_vision_language import qwen2_5_vl, qwen3_vl

PAGE = Path(__file__).parents[3] / "docs" / "methods" / "diffusionvl.md"


@pytest.mark.parametrize(("name", "base"), [("Qwen2.5-VL", qwen2_5_vl), ("Qwen3-VL", qwen3_vl)])
def test_the_control_arm_reads_as_its_base(name, base):
    told = PAGE.read_text().split("For the AR control arm")[1].split("\n- ")[0]
    of_both, *of_one = re.findall(r"`([^`]+=[^`]+)`", told)
    (system,) = (one for one in of_one if f"`{one}` ({name})" in told)
    config = read_run_config(recipe("vl_autoregressive"), "tiny", shlex.split(f"{of_both} {system}"))
    settings = Settings(config.data.chat, config.data.images, config.method.mrope)
    assert settings == base_settings(LoadedVL(QwenVL(base()), None, None, "tiny"))
