"""The recipes var and flexvar, from stored codes to a checkpoint that generates."""

import math

import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError, DataError
from ar_core.registry import configs, recipe, resolve
from ar_core.training import build_job, read_run_config, run_recipe
from ar_vision.backbones.flexvar import RECIPE as FLEXVAR
from ar_vision.backbones.flexvar import decode as flexvar_decode
from ar_vision.backbones.var import RECIPE as VAR
from ar_vision.backbones.var import decode as var_decode
from ar_vision.checkpoint import fingerprint, load_checkpoint, require_pair, save_checkpoint
from ar_vision.data.codes import RECIPE as IMAGE_CODES
from ar_vision.families import FAMILIES

SETTINGS = {
    VAR: ("var_tokenizer", "[1, 2, 3, 4]", ["model.scratch.scales=[1, 2, 3, 4]"]),
    FLEXVAR: (
        "vq_tokenizer",
        "[1, 2, 3, 4]",
        [
            "model.scratch.scales=[1, 2, 4]",
            "method.final_resolution=16",
            "method.schedules={default: [1, 2, 4], middle: [3], middle_count: 1, fine: [], fine_count: 0, last: 4}",
        ],
    ),
}
RECIPES = pytest.mark.parametrize("which", [VAR, FLEXVAR], ids=lambda which: which.name)


@pytest.fixture
def prepared(tmp_path, monkeypatch, request):
    """Given a recipe: folders of its tokenizer and of 48 pictures' codes, and a config shrunk to four steps."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def prepare(which, *overrides, config="tiny"):
        fixture, scales, own = SETTINGS[which]
        tokenizer, codes = tmp_path / f"{which.name}_tokenizer", tmp_path / f"{which.name}_codes"
        if not tokenizer.exists():
            save_checkpoint(tokenizer, request.getfixturevalue(fixture))
            making = [f"tokenizer={tokenizer}", "data.count=48", "data.size=16", f"method.scales={scales}"]
            run_recipe(IMAGE_CODES, read_run_config(IMAGE_CODES, "tiny", [*making, f"stage.directory={codes}"]))
        small = [
            "model.scratch.width=32",
            "train.steps=4",
            "train.batch_size=8",
            "train.log_every=1",
            "train.eval_every=2",
        ]
        small += ["train.warmup_steps=0", "data.held_out=0.2", "evaluation.images=8", "evaluation.batch_size=3"]
        return read_run_config(
            which, config, [f"tokenizer={tokenizer}", f"data.path={codes}", *small, *own, *overrides]
        )

    return prepare


SHIPPED = [(which, name) for which in SETTINGS for name in configs(which)]


@pytest.mark.parametrize(("which", "name"), SHIPPED, ids=lambda value: getattr(value, "name", value))
def test_every_shipped_config_trains(prepared, which, name):
    """Optimiser, method and precision as shipped; a small model, few pictures and two steps."""
    shape = "{depth: 2, width: 32, heads: 2, num_classes: 4, shared_adaln: %s}" % ("d36" in name or "cifar" in name)
    small = ["train.checkpoint_dir=null", "~train.best_by"] if name != "tiny" else []
    small += ["~train.hold_steps"] if name.startswith("imagenet") else []
    own = SETTINGS[which][2]
    run = prepared(which, f"model.scratch={shape.lower()}", *own, *small, "train.steps=2", config=name)
    result = run_recipe(which, run)
    assert len(result.losses) == 2
    assert result.losses[0] == pytest.approx(math.log(24), abs=0.1)
    assert result.evaluation["held_out_nll"] < 4


@pytest.mark.parametrize(("which", "name"), SHIPPED, ids=lambda value: getattr(value, "name", value))
def test_every_shipped_model_builds_and_has_its_size(which, name):
    vocabulary = {VAR: {"code_dim": 32, "vocab_size": 4096}, FLEXVAR: {"code_dim": 32, "vocab_size": 8912}}[which]
    config = read_run_config(which, name, []).model.shape(**vocabulary)
    with torch.device("meta"):
        model = resolve(FAMILIES[which.name].model)(config)
    count = sum(parameter.numel() for parameter in model.parameters())
    published = {"d16": 310e6, "d20": 600e6, "d24": 1.0e9, "d30": 2.0e9, "d36": 2.35e9}
    if name.startswith("imagenet"):
        assert count == pytest.approx(published[name.rpartition("_")[2]], rel=0.05)
    else:
        assert count < 3e6 + (vocabulary["vocab_size"] - 512) * config.width


def generate(which, model, tokenizer, labels):
    module = var_decode if which is VAR else flexvar_decode
    return module.generate(model, tokenizer, labels, seed=1)


@RECIPES
def test_is_registered(which):
    assert recipe(which.name) is which
    published = {"imagenet_256_d16", "imagenet_256_d20", "imagenet_256_d24"}
    assert configs(which).keys() >= {"tiny", "cifar10"} | published


@RECIPES
def test_what_is_saved_generates_with_its_tokenizer(prepared, tmp_path, which):
    run = prepared(which, f"train.checkpoint_dir={tmp_path / 'run'}", "train.best_by=held_out_nll")
    result = run_recipe(which, run)
    assert len(result.losses) == 4
    assert result.losses[0] == pytest.approx(math.log(24), abs=0.1)
    grids = ("1x1", "2x2", "3x3", "4x4") if which is VAR else ("1x1", "2x2", "4x4")
    assert set(result.evaluation) == {"held_out_nll", *(f"accuracy_{grid}" for grid in grids)}
    generator, tokenizer = load_checkpoint(tmp_path / "run" / "final"), load_checkpoint(run.tokenizer)
    require_pair(generator, tokenizer)
    assert generator.tokenizer == fingerprint(tokenizer.model)
    assert generator.provenance["recipe"] == which.name
    found = generate(which, generator.model, tokenizer.model, [0, 3, 4])
    assert found.images.shape == (3, 3, 16, 16)
    assert load_checkpoint(tmp_path / "run" / "best").family.kind == which.name


@RECIPES
def test_micro_batches_and_resuming_change_nothing(prepared, tmp_path, which):
    whole = run_recipe(which, prepared(which, "train.steps=6"))
    parts = run_recipe(which, prepared(which, "train.steps=6", "train.micro_batch_size=3"))
    assert parts.losses == pytest.approx(whole.losses, abs=1e-4)
    folder = [f"train.checkpoint_dir={tmp_path / 'run'}", "train.checkpoint_every_steps=3"]
    # A run that is longer later: with a constant learning rate its first steps are the same.
    run_recipe(which, prepared(which, *folder, "train.steps=3"))
    resumed = run_recipe(which, prepared(which, *folder, "train.steps=6"))
    assert resumed.resumed_from == 3
    assert resumed.losses == whole.losses[3:]


@RECIPES
def test_it_learns_what_it_sees(prepared, which):
    run = prepared(which, "data.count=8", "data.held_out=0", "train.eval_every=null", "train.steps=60", "train.lr=1e-2")
    losses = run_recipe(which, run).losses
    assert sum(losses[-5:]) / 5 < losses[0] - 0.5


@RECIPES
def test_held_out_samples_keep_their_class(prepared, which):
    job = build_job(which, prepared(which, "method.label_dropout=1.0"))
    kept = build_job(which, prepared(which, "method.label_dropout=0.0"))
    with torch.no_grad():
        for name in ("model",):
            for parameter in (*job.models[name].parameters(), *kept.models[name].parameters()):
                parameter.add_(0.1)
    assert job.evaluate() == kept.evaluate() == job.evaluate()


@RECIPES
def test_training_goes_on_from_a_checkpoint(prepared, tmp_path, which):
    run_recipe(which, prepared(which, f"train.checkpoint_dir={tmp_path / 'run'}"))
    run = prepared(which, "model.scratch=null", f"model.path={tmp_path / 'run' / 'final'}")
    first = build_job(which, run).models["model"].state_dict()
    saved = load_checkpoint(tmp_path / "run" / "final").model.state_dict()
    assert all(torch.equal(first[name], saved[name]) for name in saved)


@RECIPES
def test_training_goes_on_with_the_schedule_of_the_checkpoint(prepared, tmp_path, which):
    run_recipe(which, prepared(which, f"train.checkpoint_dir={tmp_path / 'run'}"))
    final = tmp_path / "run" / "final"
    path = ["model.scratch=null", f"model.path={final}", "train.schedule=linear"]
    second = prepared(which, *path, "train.past_steps=4", f"train.checkpoint_dir={tmp_path / 'second'}")
    run_recipe(which, second)
    found = load_checkpoint(tmp_path / "second" / "final")
    assert found.provenance["steps"] == 8
    assert found.provenance["start"] == fingerprint(load_checkpoint(final).model)
    with pytest.raises(
        ConfigError, match=r"past_steps is 3, and the weights in .* are those of a run of 4 steps: give 4"
    ):
        build_job(which, prepared(which, *path, "train.past_steps=3"))
    with pytest.raises(ConfigError, match="fresh weights have seen no step"):
        build_job(which, prepared(which, "train.schedule=linear", "train.past_steps=3"))


@RECIPES
def test_training_from_weights_of_16_bits_is_in_float32(prepared, tmp_path, which):
    run_recipe(which, prepared(which, f"train.checkpoint_dir={tmp_path / 'run'}"))
    final = load_checkpoint(tmp_path / "run" / "final")
    save_checkpoint(tmp_path / "half", final.model.half(), tokenizer=final.tokenizer)
    models = build_job(which, prepared(which, "model.scratch=null", f"model.path={tmp_path / 'half'}")).models
    assert {parameter.dtype for parameter in models["model"].parameters()} == {torch.float32}
    expected = final.model.state_dict()
    assert all(torch.equal(one, expected[name].float()) for name, one in models["model"].state_dict().items())


@RECIPES
def test_what_contradicts_itself_is_refused(prepared, tmp_path, which, var_tokenizer, vq_tokenizer):
    with pytest.raises(ConfigError, match=r"unknown key 'scratch\.depht'; did you mean 'depth'"):
        prepared(which, "model.scratch.depht=3")
    with pytest.raises(ConfigError, match=r"scratch\.vocab_size is given, which the tokenizer decides"):
        prepared(which, "model.scratch.vocab_size=3")
    with pytest.raises(ConfigError, match="and not both"):
        prepared(which, "model.path=somewhere")
    with pytest.raises(DataError, match="the model knows 0 to 0"):
        build_job(which, prepared(which, "model.scratch.num_classes=1"))
    run = prepared(which, f"train.checkpoint_dir={tmp_path / 'run'}")
    run_recipe(which, run)
    final = tmp_path / "run" / "final"
    other = FLEXVAR if which is VAR else VAR
    with pytest.raises(CheckpointError, match=f"holds a {which.name}, and a {other.name} is needed"):
        build_job(other, prepared(other, "model.scratch=null", f"model.path={final}"))
    stranger = var_tokenizer if which is VAR else vq_tokenizer
    with torch.no_grad():
        stranger.codebook.weight.add_(1)
    save_checkpoint(tmp_path / "stranger", stranger)
    with pytest.raises(CheckpointError, match="was trained with the tokenizer"):
        build_job(
            which, prepared(which, "model.scratch=null", f"model.path={final}", f"tokenizer={tmp_path / 'stranger'}")
        )
    with pytest.raises(DataError, match="were made by the tokenizer"):
        build_job(which, prepared(which, f"tokenizer={tmp_path / 'stranger'}"))


def test_codes_of_other_scales_are_refused(prepared):
    with pytest.raises(DataError, match="have the scales 1,2,3,4 and the model has 1,2,4"):
        build_job(VAR, prepared(VAR, "model.scratch.scales=[1, 2, 4]"))


def test_the_resolution_of_flexvar_has_to_be_given(prepared):
    with pytest.raises(ConfigError, match=r"the key 'method\.final_resolution' is missing"):
        prepared(FLEXVAR, "~method.final_resolution")
    for resolution in (12, 18):
        with pytest.raises(ConfigError, match="schedules go up to a side of 4: give a multiple of 4, at least 16"):
            build_job(FLEXVAR, prepared(FLEXVAR, f"method.final_resolution={resolution}"))
