"""Runs of the recipe."""

import math
from dataclasses import replace

import pytest
import torch
from ar_core.config import apply_overrides, from_dict, load_yaml, to_dict
from ar_core.errors import CheckpointError, ConfigError
from ar_core.registry import configs, recipes
from ar_core.training import run_recipe
from ar_vision.backbones.infinity import RECIPE
from ar_vision.backbones.infinity.config import PRESETS
from ar_vision.backbones.infinity.decode import InfinityOptions, generate
from ar_vision.backbones.infinity.model import Infinity
from ar_vision.backbones.infinity.train import InfinityRun, build
from ar_vision.checkpoint import fingerprint, load_checkpoint, require_pair, save_checkpoint
from ar_vision.scales import ScaleSchedule
from ar_vision.text.hashed import HashedText
from ar_vision.tokenizers.bsq.config import BsqTokenizerConfig
from ar_vision.tokenizers.bsq.model import BsqTokenizer


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _run(name="tiny", *overrides):
    return from_dict(InfinityRun, apply_overrides(load_yaml(configs(RECIPE)[name]), overrides))


def test_it_is_announced():
    assert recipes()["infinity"] == RECIPE


@pytest.mark.parametrize("name", sorted(configs(RECIPE)))
def test_configs_are_valid(name):
    run = _run(name)
    assert from_dict(InfinityRun, to_dict(run)) == run
    with torch.device("meta"):
        model = Infinity(run.model)
    count = sum(parameter.numel() for parameter in model.parameters())
    if name in ("tiny", "photographs128"):
        assert count <= 3_000_000
    else:
        assert run.model == PRESETS[{"125m": "layer12"}.get(name, name)]


@pytest.mark.parametrize("name", sorted(configs(RECIPE)))
def test_two_steps_of_each_config(name):
    """Model and data shrunk, method and optimiser as they are shipped."""
    shrunk = load_yaml(configs(RECIPE)["tiny"])
    data = load_yaml(configs(RECIPE)[name])
    data |= {section: shrunk[section] for section in ("model", "companions", "data", "evaluation")}
    sizes = {"steps": 2, "batch_size": 2, "micro_batch_size": 1, "num_workers": 0, "eval_every": 2, "warmup_steps": 1}
    data["train"] |= sizes | {"checkpoint_dir": None, "checkpoint_every_seconds": None, "best_by": None}
    result = run_recipe(RECIPE, from_dict(InfinityRun, apply_overrides(data, ["data.count=30"])))
    assert result.losses[0] == pytest.approx(math.log(2), abs=0.05)
    assert len(result.losses) == 2
    assert 0 < result.evaluation["held_out_nll"] < 1


def test_a_run_learns_measures_and_saves(tmp_path):
    tokenizer = BsqTokenizer(from_dict(BsqTokenizerConfig, _shape()))
    tokenizer.initialize(torch.Generator().manual_seed(0))
    save_checkpoint(tmp_path / "tokenizer", tokenizer)
    run = _run(
        "tiny", "companions.fresh_tokenizer=null", f"companions.tokenizer={tmp_path / 'tokenizer'}",
        "train.steps=12", "train.eval_every=6", "data.count=60", f"train.checkpoint_dir={tmp_path / 'run'}",
    )  # fmt: skip
    result = run_recipe(RECIPE, run)
    assert result.losses[0] == pytest.approx(math.log(2), abs=0.02)
    assert result.losses[-1] < result.losses[0] - 0.01
    assert 0 < result.evaluation["held_out_nll"] < math.log(2)
    assert 0.5 < result.evaluation["held_out_accuracy"] < 1
    loaded = load_checkpoint(tmp_path / "run" / "final", "generator")
    require_pair(loaded, load_checkpoint(tmp_path / "tokenizer"))
    text = HashedText(64, 12).encode(["a red circle on blue", "a ring"])
    made = generate(loaded.model, tokenizer, text, ScaleSchedule.square(1, 2, 3, 4), InfinityOptions())
    assert made.images.shape == (2, 3, 32, 32)
    other = BsqTokenizer(from_dict(BsqTokenizerConfig, _shape()))
    other.initialize(torch.Generator().manual_seed(1))
    save_checkpoint(tmp_path / "other", other)
    with pytest.raises(CheckpointError, match="was trained with the tokenizer"):
        require_pair(loaded, load_checkpoint(tmp_path / "other"))


def _shape():
    return load_yaml(configs(RECIPE)["tiny"])["companions"]["fresh_tokenizer"]


def test_a_run_that_starts_from_a_checkpoint(tmp_path):
    base = Infinity(_run().model)
    base.initialize(torch.Generator().manual_seed(7))
    save_checkpoint(tmp_path / "base", base)
    wider = build(_run("tiny", f"start={tmp_path / 'base'}", "model.text_width=32", "model.text_length=14"))
    model = wider.models["model"]
    assert torch.equal(model.word.weight, base.word.weight)
    assert torch.equal(model.blocks[1].cross.q.weight, base.blocks[1].cross.q.weight)
    assert model.text.kv.weight.shape == (128, 32)
    longer = build(_run("tiny", f"start={tmp_path / 'base'}", "model.text_length=14")).models["model"]
    assert torch.equal(longer.null_text[:12], base.null_text)
    with pytest.raises(CheckpointError, match="its shapes differ"):
        build(_run("tiny", f"start={tmp_path / 'base'}", "model.hidden=512"))


def test_a_start_of_another_tokenizer_or_text_encoder_is_refused(tmp_path):
    base = Infinity(_run().model)
    base.initialize(torch.Generator().manual_seed(7))
    save_checkpoint(tmp_path / "base", base, tokenizer="0123456789abcdef")
    start = f"start={tmp_path / 'base'}"
    with pytest.raises(CheckpointError, match="was trained with the tokenizer 0123456789abcdef"):
        build(_run("tiny", start))
    save_checkpoint(tmp_path / "base", base, tokenizer=fingerprint(build(_run()).models["tokenizer"]))
    assert torch.equal(build(_run("tiny", start)).models["model"].word.weight, base.word.weight)
    other = Infinity(replace(base.config, text_encoder="t5"))
    other.load_state_dict(base.state_dict())
    save_checkpoint(tmp_path / "base", other)
    with pytest.raises(CheckpointError, match=r"of the encoder t5 and model\.text_encoder is hashed"):
        build(_run("tiny", start))


def test_held_out_bits_do_not_depend_on_how_one_trains():
    small = ("data.count=40", "evaluation.images=4")
    found = build(_run("tiny", *small)).evaluate()
    others = ("method.flip_strength=0", "method.condition_dropout=1", "method.bit_loss=sum", "method.weighting=tokens")
    assert build(_run("tiny", *small, *others)).evaluate() == found == build(_run("tiny", *small)).evaluate()


def test_sections_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="images of 6x6 tokens were given and the model's scales end with 4x4"):
        build(_run("tiny", "data.size=48"))
    with pytest.raises(CheckpointError, match=r"codes with bits 16, patchify .* have bits 8"):
        build(_run("tiny", "model.bits=16"))
    with pytest.raises(ConfigError, match="and not both"):
        _run("tiny", "companions.tokenizer=x")
