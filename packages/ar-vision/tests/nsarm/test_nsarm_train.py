"""The recipe: both stages, resumed and split, from every shipped config."""

import math
from dataclasses import replace

import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError
from ar_core.registry import configs, converter, recipe
from ar_core.training import build_job, read_run_config, run_recipe
from ar_core.training.lightning_task import fit
from ar_vision.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from ar_vision.convert import convert
from ar_vision.nsarm import RECIPE
from ar_vision.nsarm.config import NsarmModelConfig
from ar_vision.nsarm.loading import to_published
from ar_vision.nsarm.train import NsarmRunModel
from ar_vision.tokenizers.bsq.config import PRESETS

SMALL = (
    "train.steps=3",
    "train.batch_size=4",
    "train.log_every=1",
    "train.eval_every=null",
    "data.count=24",
    "train.warmup_steps=0",
)


@pytest.fixture
def start(tmp_path, monkeypatch, nsarm, tokenizer):
    """Folders of a tokenizer, an Infinity and an NSARM for results of 16 pixels."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folders = {name: tmp_path / name for name in ("tokenizer", "infinity", "nsarm")}
    save_checkpoint(folders["tokenizer"], tokenizer)
    for name, model in (("infinity", nsarm.transformer), ("nsarm", nsarm)):
        save_checkpoint(folders[name], model, tokenizer=fingerprint(tokenizer))
    return folders


MAP = "{channels: 8, grid: 2, sizes: [1, 2], widths: [8, 8], layers: [1, 1], heads: [2, 2], stem: [6, 6], dropout: 0.0}"


@pytest.fixture
def prepared(start):
    def prepare(stage, *overrides, config="tiny"):
        own = [
            f"companions={{tokenizer: {start['tokenizer']}}}",
            "data={kind: shapes, count: 24, size: 16, held_out: 0.2}",
        ]
        model = f"{{base: {start['infinity']}, map: {MAP}}}" if stage == "map" else f"{{start: {start['nsarm']}}}"
        entries = [*own, f"model={model}", f"method.stage={stage}", *SMALL, "train.checkpoint_dir=null", *overrides]
        return read_run_config(RECIPE, config, entries)

    return prepare


def test_it_is_registered():
    assert recipe("nsarm") is RECIPE
    assert configs(RECIPE).keys() == {
        f"{name}{stage}" for name in ("tiny", "photographs128", "8b") for stage in ("", "_joint")
    }
    assert converter("nsarm").name == "nsarm"


@pytest.mark.parametrize("name", configs(RECIPE))
def test_every_shipped_config_trains(prepared, name):
    """Method, optimiser and precision as shipped; small models and drawn pictures, three steps."""
    stage = "joint" if name.endswith("joint") else "map"
    entries = ["train.num_workers=0", "method.prompt=a photograph"]
    entries += ["~train.best_by"] if name == "photographs128" else []
    result = run_recipe(RECIPE, prepared(stage, *entries, config=name))
    assert len(result.losses) == 3
    assert all(math.isfinite(loss) for loss in result.losses)


def test_published_sizes_are_the_defaults_of_the_published_configs():
    for name in ("8b", "8b_joint"):
        run = read_run_config(RECIPE, name, [])
        assert run.data.shape == (1024, 1024)
        assert run.method.degrading.factor == 4
    shape = NsarmModelConfig(replace(read_run_config(RECIPE, "8b", []).model.map))
    assert shape == NsarmModelConfig()
    assert PRESETS["d14_patchify"].bits == shape.bits
    joint = read_run_config(RECIPE, "8b_joint", []).method
    assert (joint.transformer.flip_strength, joint.loss_scales, joint.map_weight) == (0.0, "written", 0.0)


def test_both_stages_learn_and_leave_what_upscales(prepared, tmp_path):
    first = tmp_path / "first"
    settings = [f"train.checkpoint_dir={first}", "train.steps=12", "train.eval_every=6", "evaluation.images=4"]
    result = run_recipe(RECIPE, prepared("map", *settings))
    assert sum(result.losses[-4:]) < sum(result.losses[:4])
    assert {"held_out_residuals", "held_out_prefix_accuracy"} <= set(result.evaluation)
    left = load_checkpoint(first / "final", "upscaler")
    before = prepared("map").model
    base = load_checkpoint(before.base).model
    for name, value in base.state_dict().items():
        assert torch.equal(left.model.state_dict()[f"transformer.{name}"], value)
    assert left.provenance["start"] == fingerprint(base)
    assert left.provenance["stage"] == "map"

    second = tmp_path / "second"
    settings = [f"model={{start: {first / 'final'}}}", f"train.checkpoint_dir={second}", *settings[1:]]
    result = run_recipe(RECIPE, prepared("joint", *settings, "method.map_lr=1e-3"))
    assert {"held_out_bits", "held_out_bit_accuracy", "held_out_residuals"} <= set(result.evaluation)
    found, state = load_checkpoint(second / "final", "upscaler"), left.model.state_dict()
    moved = {
        name.partition(".")[0]
        for name, value in found.model.state_dict().items()
        if not torch.equal(value, state[name])
    }
    assert moved == {"map", "transformer"}
    assert found.provenance["start"] == fingerprint(left.model)


@pytest.mark.parametrize("stage", ["map", "joint"])
def test_micro_batches_and_resuming_change_nothing(prepared, tmp_path, stage):
    whole = run_recipe(RECIPE, prepared(stage, "train.steps=4"))
    parts = run_recipe(RECIPE, prepared(stage, "train.steps=4", "train.micro_batch_size=2"))
    assert parts.losses == pytest.approx(whole.losses, rel=1e-3)
    lightning = fit(build_job(RECIPE, prepared(stage, "train.steps=4")), prepared(stage, "train.steps=4").train)
    assert lightning.losses == pytest.approx(whole.losses, rel=1e-4)
    where = [f"train.checkpoint_dir={tmp_path / 'run'}", "train.checkpoint_every_steps=1"]
    run_recipe(RECIPE, prepared(stage, *where, "train.steps=2"))
    resumed = run_recipe(RECIPE, prepared(stage, *where, "train.steps=4"))
    assert resumed.resumed_from == 2
    assert resumed.losses == pytest.approx(whole.losses[2:], rel=1e-5)


def test_a_part_of_the_transformer_can_be_trained(prepared, tmp_path):
    run = prepared("joint", "method.trained_blocks=1", f"train.checkpoint_dir={tmp_path / 'run'}")
    before = load_checkpoint(run.model.start).model.state_dict()
    run_recipe(RECIPE, run)
    after = load_checkpoint(tmp_path / "run" / "final").model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name]) and name.startswith("transformer.")}
    assert moved
    assert all(name.startswith(("transformer.blocks.1.", "transformer.output.")) for name in moved)


def test_converted_weights_are_a_start(prepared, nsarm, tokenizer, start, tmp_path):
    torch.save({"trainer": {"gpt_fsdp": to_published(nsarm, 2)}}, tmp_path / "NSARM.pth")
    settings = {
        "map_sizes": [1, 2], "map_heads": [2, 2], "patchify": False, "text_encoder": "hashed",
        "schedules": [[[1, 1], [2, 2], [4, 4], [8, 8]]],
    }  # fmt: skip
    line = convert(
        "nsarm", tmp_path / "NSARM.pth", tmp_path / "converted", tokenizer=start["tokenizer"], settings=settings
    )
    assert "nsarm with" in line
    found = load_checkpoint(tmp_path / "converted", "upscaler")
    assert found.model.config.map.layout == "memory"
    assert all(torch.equal(value, nsarm.state_dict()[name]) for name, value in found.model.state_dict().items())
    assert found.model.config.input_resize == "area"
    where = f"train.checkpoint_dir={tmp_path / 'run'}"
    result = run_recipe(RECIPE, prepared("joint", f"model={{start: {tmp_path / 'converted'}}}", where))
    assert len(result.losses) == 3
    # It was trained on inputs of its own from there on.
    assert load_checkpoint(tmp_path / "run" / "final").model.config.input_resize == "bilinear"


@pytest.mark.parametrize(
    ("stage", "override", "sentence"),
    [
        ("map", "data.size=32", r"data.size is \[32, 32\] and the model's results have 16 pixels a side"),
        ("map", "method.degradation={factor: 2}", "reduces 2 times and the model enlarges 4 times"),
        ("map", "model.map.sizes=[1, 3]", "map.sizes is"),
        ("joint", "companions={fresh_tokenizer: {autoencoder: {channels: 4, channel_multipliers: [1, 1], blocks_per_level: 1, "
                  "attention: false, latent_channels: 8, norm_groups: 2}}}", "was trained with the tokenizer"),
    ],
)  # fmt: skip
def test_sections_that_do_not_fit_are_refused(prepared, stage, override, sentence):
    with pytest.raises((ConfigError, CheckpointError), match=sentence):
        build_job(RECIPE, prepared(stage, override))


def test_a_run_has_one_beginning(start):
    with pytest.raises(ConfigError, match="model has no beginning: give one of start, base and fresh_base"):
        NsarmRunModel()
    with pytest.raises(ConfigError, match="model has start and base"):
        NsarmRunModel(start="a", base="b")
    with pytest.raises(ConfigError, match=r"model\.map is the shape of a fresh M"):
        NsarmRunModel(base="a")
    run = read_run_config(RECIPE, "tiny_joint", [f"model.start={start['infinity']}"])
    with pytest.raises(CheckpointError, match=r"holds a generator .infinity., and an upscaler is needed"):
        build_job(RECIPE, run)
