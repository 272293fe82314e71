"""Every config that ships is one: it reads, and its models have the sizes that it says."""

import pytest
import torch
from ar_core.config import from_dict
from ar_core.registry import configs, recipe
from ar_core.training import read_run_config
from ar_vision.backbones.far.config import FarConfig
from ar_vision.backbones.far.model import Far
from ar_vision.backbones.xar.config import XarConfig
from ar_vision.backbones.xar.model import Xar
from ar_vision.tokenizers.dual_vq.config import PRESETS, DualVqTokenizerConfig
from ar_vision.tokenizers.dual_vq.model import DualVqTokenizer

EVERY = [(name, config) for name in ("glotok", "glotok_teacher", "far", "xar") for config in configs(recipe(name))]
LARGEST = {"far": 2_000_000, "xar": 2_000_000, "glotok": 1_000_000}


def parameters(name, run):
    with torch.device("meta"):
        if name == "glotok":
            model = DualVqTokenizer(from_dict(DualVqTokenizerConfig, run.model.settings))
        else:
            model = {"far": Far, "xar": Xar}[name](run.model)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("name", "config"), EVERY)
def test_shipped_configs_read_and_small_ones_are_small(name, config, monkeypatch):
    for variable in ("AR_CIFAR10_DIR", "AR_DATA_DIR"):
        monkeypatch.setenv(variable, "somewhere")
    run = read_run_config(recipe(name), config)
    if name != "glotok_teacher" and not config.startswith("imagenet"):
        assert parameters(name, run) <= LARGEST[name]


def test_published_configs_have_the_published_shapes():
    glotok = read_run_config(recipe("glotok"), "imagenet_256")
    assert from_dict(DualVqTokenizerConfig, glotok.model.settings) == PRESETS["glotok"]
    assert (glotok.method.histogram_weight, glotok.method.residual_weight) == (0.01, 0.5)
    assert (glotok.train.lr, glotok.train.batch_size, glotok.train.betas) == (2e-4, 240, (0.9, 0.95))
    assert read_run_config(recipe("far"), "imagenet_256_b").model == FarConfig.of_size("B")
    xar = read_run_config(recipe("xar"), "imagenet_256_b")
    assert xar.model == XarConfig.of_size("B")
    # 800 epochs: up in 100, held to 600, down to 1e-5.
    epoch = xar.train.steps / 800
    assert (xar.train.warmup_steps + xar.train.hold_steps) / epoch == pytest.approx(600)
    assert xar.train.lr * xar.train.final_lr_fraction == pytest.approx(1e-5)
