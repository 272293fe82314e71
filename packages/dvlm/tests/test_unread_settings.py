"""A setting that could have no effect is refused by name; what an evaluation finds in a checkpoint is not."""

from dataclasses import replace

import pytest
from ar_core.errors import ConfigError
from ar_core.hf import ModelConfig
from ar_core.hf.model_config import LlamaScratch, LoraConfig
from ar_core.registry import recipe
from ar_core.training import build_job, read_run_config
from dvlm.chat.config import QWEN_SYSTEM, ChatConfig
from dvlm.data.config import VisionTextDataConfig
from dvlm.images.config import ImageConfig
from dvlm.images.processor import CropProcessor, PatchProcessor, require_read
from dvlm.model_config import VisionLanguageConfig
from dvlm.towers import ScratchTower, TowerConfig, build_tower

RECIPES = ("diffusionvl", "vl_autoregressive")
SMALL = ["train.steps=1", "train.warmup_steps=0", "data.count=8", "data.held_out=0", "~train.eval_every"]
PARTS = {"language": ModelConfig(scratch=LlamaScratch()), "tower": TowerConfig(scratch=ScratchTower())}


@pytest.mark.parametrize(
    "given",
    [{"dtype": "bfloat16"}, {"lora": LoraConfig()}, {"gradient_checkpointing": True}, {"attn_backend": "sdpa"}],
    ids=lambda given: next(iter(given)),
)
def test_settings_of_a_whole_model_beside_parts(given):
    (name,) = given
    said = rf"model\.{name} is given for a model put together: give it as model\.language\.{name}$"
    with pytest.raises(ConfigError, match=said):
        VisionLanguageConfig(**PARTS, **given)
    VisionLanguageConfig(path="a", **given)
    VisionLanguageConfig(**{**PARTS, "language": replace(PARTS["language"], **given)})


def job(name, *overrides):
    return build_job(recipe(name), read_run_config(recipe(name), "tiny", [*SMALL, *overrides]))


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["data.images.max_pixels=300000"],
            r"data\.images\.max_pixels is 300000, and with the fit 'stretch' this tower reads pictures of one size: drop it$",
        ),
        (["data.images.min_pixels=1"], r"data\.images\.min_pixels is 1, .*drop it$"),
        (["data.images.max_tiles=2"], r"data\.images\.max_tiles is 2, and with the fit 'stretch' .*drop it$"),
        (["data.images.max_grid=2", "data.images.fit=square"], r"max_grid is 2, and with the fit 'square' .*drop it$"),
        (
            ["data.images.max_pixels=300000", "data.images.fit=anyres"],
            r"max_pixels is 300000, and with the fit 'anyres' this tower reads max_grid and max_tiles alone: drop it$",
        ),
        (
            ["model.connector.newline=true"],
            r"model\.connector\.newline is true and data\.images\.fit is 'stretch', .*: set newline to false, or fit to anyres$",
        ),
        (
            ["data.chat.form=plain", "data.chat.system='Be brief.'"],
            r"data\.chat\.system is 'Be brief\.', and conversations of the form plain have no system turn: set .*, or drop it$",
        ),
    ],
)
def test_settings_of_pictures_and_turns(name, overrides, said):
    with pytest.raises(ConfigError, match=said):
        job(name, *overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["data.images.fit=anyres", "data.images.max_grid=2", "data.images.max_tiles=2", "model.connector.newline=true"],
        ["data.chat.form=plain", "data.chat.system=null"],
        ["data.chat.form=plain", f"data.chat.system='{QWEN_SYSTEM}'"],
        ["data.chat.system='Be brief.'"],
    ],
)
def test_settings_that_are_read(overrides):
    assert job("diffusionvl", *overrides)


def test_each_tower_reads_its_own():
    bounds = ImageConfig(min_pixels=3136, max_pixels=6272)
    for fit in ("native", "square"):
        require_read(PatchProcessor(replace(bounds, fit=fit)))
        with pytest.raises(
            ConfigError, match=r"max_tiles is 2, .* this tower reads max_pixels and min_pixels alone: drop"
        ):
            require_read(PatchProcessor(replace(bounds, fit=fit, max_tiles=2)))
    # A checkpoint may say what was of use in another fit than that of an evaluation.
    CropProcessor(replace(bounds, fit="square", max_tiles=2), side=32, features=4)
    VisionTextDataConfig(path="a", chat=ChatConfig(form="plain"))


def test_a_network_of_convolutions_has_no_layers_to_drop():
    for given, said in (({"drop_layers": 1}, "drop_layers is 1"), ({"final_norm": False}, "final_norm is False")):
        with pytest.raises(ConfigError, match=rf"tower\.{said}, which efficientnet-lite0, .* does not have: drop it$"):
            build_tower(TowerConfig(path="efficientnet-lite0", **given))
