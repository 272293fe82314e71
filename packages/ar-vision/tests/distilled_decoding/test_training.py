"""The recipe, from pairs to a checkpoint that draws images like any other generator."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ar_core import registry
from ar_core.config import from_dict
from ar_core.errors import CheckpointError, ConfigError, DataError, ResumeError
from ar_core.registry import configs, recipe
from ar_core.training import TrainConfig, build_job, read_run_config, run_recipe
from ar_core.training.lightning_task import fit
from ar_vision.checkpoint import fingerprint, load_checkpoint, require_pair, save_checkpoint
from ar_vision.distilled_decoding import PAIRS, RECIPE
from ar_vision.distilled_decoding.decode import generate
from ar_vision.evaluation import IMAGE

KINDS = pytest.mark.parametrize("kind", ["var", "llamagen"])


@pytest.fixture
def prepared(folders, pairs):
    """From a kind to a config of the recipe on its pairs, shrunk to four steps; further entries."""

    def prepare(kind, *overrides, config="tiny"):
        where, directory = folders(kind), pairs(kind)
        places = [f"model.teacher={where.teacher}", f"tokenizer={where.tokenizer}", f"data.path={directory}"]
        small = [
            "train.steps=4",
            "train.batch_size=8",
            "train.log_every=1",
            "train.eval_every=2",
            "train.warmup_steps=0",
        ]
        small += ["train.checkpoint_dir=null", "data.held_out=0.3", "evaluation.images=8", "evaluation.batch_size=3"]
        return read_run_config(RECIPE, config, [*places, *small, *overrides])

    return prepare


def kind_of(config):
    return "texts" if "emoji" in config else "llamagen" if "llamagen" in config else "var"


def test_recipes_are_announced():
    assert recipe("distilled_decoding") is RECIPE
    assert recipe("noise_code_pairs") is PAIRS
    published = {
        "imagenet_256_var_d16",
        "imagenet_256_var_d20",
        "imagenet_256_var_d24",
        "imagenet_256_llamagen_b",
        "imagenet_256_llamagen_l",
    }
    assert configs(RECIPE).keys() == {"tiny", "cifar10_var", "cifar10_llamagen", "emoji_llamagen", *published}
    assert configs(PAIRS).keys() == {
        "tiny",
        "cifar10_var",
        "cifar10_llamagen",
        "emoji_llamagen",
        "imagenet_256_var",
        "imagenet_256_llamagen",
    }


@pytest.mark.parametrize("name", sorted(configs(RECIPE)))
def test_every_shipped_config_trains(prepared, name):
    """Optimiser and method as shipped, but for LPIPS and what is larger than a tiny teacher; two steps."""
    kind = kind_of(name)
    small = ["method.timesteps=[0, 2]", "method.timestep_probs=null", "method.lpips_weight=0", "method.split=3"]
    small += ["train.steps=2", "train.micro_batch_size=4", "train.num_workers=0"]
    run = prepared(kind, *small, config=name)
    result = run_recipe(RECIPE, run)
    assert len(result.losses) == 2
    assert all(math.isfinite(loss) for loss in result.losses)
    assert result.evaluation["held_out_nll_0"] > 0


@pytest.mark.parametrize("name", sorted(configs(PAIRS)))
def test_every_shipped_stage_makes_pairs(folders, tmp_path, name):
    where = folders(kind_of(name))
    small = [f"teacher={where.teacher}", f"tokenizer={where.tokenizer}", f"stage.directory={tmp_path / 'pairs'}"]
    small += ["method.count=4", "method.batch_size=2", "method.checked=0", "stage.chunk_size=2", *where.more]
    shipped = read_run_config(PAIRS, name, small)
    assert run_recipe(PAIRS, shipped).counts["pairs"] == 4


PUBLISHED = {"d16": (5, 5), "d20": (4, 4), "d24": (4, 4), "b": (80, 80), "l": (80, 130)}


@pytest.mark.parametrize("size", list(PUBLISHED))
def test_published_settings(size):
    kind = "var" if size.startswith("d") else "llamagen"
    method = read_run_config(RECIPE, f"imagenet_256_{kind}_{size}", []).method
    assert method.timesteps == (0, PUBLISHED[size][0])
    assert method.split == PUBLISHED[size][1]
    decoding = read_run_config(PAIRS, f"imagenet_256_{kind}", []).method.decoding
    expected = {"guidance": 3.0, "top_k": 900, "top_p": 0.95} if kind == "var" else {"guidance": 2.0, "top_k": 8000}
    assert decoding == expected


@KINDS
def test_what_is_saved_draws_images_with_its_tokenizer(prepared, tmp_path, kind):
    run = prepared(kind, f"train.checkpoint_dir={tmp_path / 'run'}", "train.best_by=held_out_nll_0", "train.ema=0.9")
    result = run_recipe(RECIPE, run)
    assert len(result.losses) == 4
    names = {f"held_out_{name}_{step}" for name in ("nll", "accuracy", "vector") for step in (0, 2)}
    assert set(result.evaluation) == names
    student, tokenizer = load_checkpoint(tmp_path / "run" / "final"), load_checkpoint(run.tokenizer)
    require_pair(student, tokenizer)
    assert student.family.kind == f"{kind}_dd"
    assert student.tokenizer == fingerprint(tokenizer.model)
    teacher = load_checkpoint(run.model.teacher)
    assert student.provenance["start"] == fingerprint(teacher.model)
    assert student.provenance["data"]["header"]["decoding"]["guidance"] == 2.0
    assert student.provenance["noise"] == "paired"
    assert student.model.config.timesteps == (0, 2)
    found = generate(student.model, tokenizer.model, [0, 3, 4], seed=1)
    assert found.images.shape == (3, 3, 16, 16)
    assert load_checkpoint(tmp_path / "run" / "best").family.kind == f"{kind}_dd"


@KINDS
def test_the_first_step_starts_from_the_teacher(prepared, kind):
    job = build_job(RECIPE, prepared(kind))
    own = job.models["model"].state_dict()
    given = load_checkpoint(prepared(kind).model.teacher).model.state_dict()
    name = "head.linear.weight" if kind == "var" else "output.weight"
    assert torch.equal(own[name], given[name])
    fresh = build_job(RECIPE, prepared(kind, "model.init=scratch")).models["model"].state_dict()
    assert not torch.equal(fresh[name], given[name])


@KINDS
def test_micro_batches_and_resuming_change_nothing(prepared, tmp_path, kind):
    plain = ["train.steps=6", "train.eval_every=null"]
    whole = run_recipe(RECIPE, prepared(kind, *plain))
    parts = run_recipe(RECIPE, prepared(kind, *plain, "train.micro_batch_size=3"))
    assert parts.losses == pytest.approx(whole.losses, abs=1e-4)
    folder = [f"train.checkpoint_dir={tmp_path / 'run'}", "train.checkpoint_every_steps=3", "train.eval_every=null"]
    run_recipe(RECIPE, prepared(kind, *folder, "train.steps=3"))
    resumed = run_recipe(RECIPE, prepared(kind, *folder, "train.steps=6"))
    assert resumed.resumed_from == 3
    assert resumed.losses == whole.losses[3:]


@KINDS
def test_a_run_is_not_continued_on_other_pairs_or_from_another_start(
    prepared, folders, pairs, pairs_config, tmp_path, kind
):
    """Pairs of another seed, and another teacher and tokenizer with pairs of their own; folders' names are nothing to it."""
    run = [f"train.checkpoint_dir={tmp_path / 'run'}", "train.eval_every=null"]
    run_recipe(RECIPE, prepared(kind, *run, "train.steps=2"))
    same, others = pairs(kind, name="same"), pairs(kind, "method.seed=1", name="others")
    assert run_recipe(RECIPE, prepared(kind, *run, f"data.path={same}")).resumed_from == 2
    with pytest.raises(ResumeError, match=r"data\.header\.method\.seed was 0 in the checkpoint .* and is 1 now"):
        run_recipe(RECIPE, prepared(kind, *run, f"data.path={others}"))
    where = folders(kind)
    for name in ("teacher", "tokenizer"):
        teacher, coder = load_checkpoint(where.teacher).model, load_checkpoint(where.tokenizer).model
        with torch.no_grad():
            next((teacher if name == "teacher" else coder).parameters()).add_(0.01)
        other = SimpleNamespace(
            teacher=tmp_path / f"other_{name}" / "1", tokenizer=tmp_path / f"other_{name}" / "2", more=[]
        )
        save_checkpoint(other.tokenizer, coder)
        save_checkpoint(other.teacher, teacher, tokenizer=fingerprint(coder))
        directory = tmp_path / f"pairs_of_other_{name}"
        run_recipe(PAIRS, pairs_config(other, directory))
        places = [f"model.teacher={other.teacher}", f"tokenizer={other.tokenizer}", f"data.path={directory}"]
        with pytest.raises(ResumeError, match=rf"{name} was .* in the checkpoint .* and is .* now"):
            run_recipe(RECIPE, prepared(kind, *run, *places))


@KINDS
def test_lightning_has_the_losses_of_the_loop(prepared, kind):
    pytest.importorskip("lightning", reason="lightning is not installed")
    run = prepared(kind, "train.eval_every=null")
    loop = run_recipe(RECIPE, run)
    other = run_recipe(RECIPE, run, driver=fit)
    assert other.losses == pytest.approx(loop.losses, abs=1e-5)


@KINDS
def test_bf16_trains(prepared, kind):
    narrow = run_recipe(RECIPE, prepared(kind, "train.precision=bf16"))
    wide = run_recipe(RECIPE, prepared(kind))
    assert narrow.losses == pytest.approx(wide.losses, rel=0.05)
    assert narrow.losses != wide.losses


def test_the_control_differs_in_its_noise_alone(prepared):
    paired, fresh = (build_job(RECIPE, prepared("var", f"method.noise={noise}")) for noise in ("paired", "fresh"))
    assert all(
        torch.equal(one, fresh.models["model"].state_dict()[name])
        for name, one in paired.models["model"].state_dict().items()
    )
    assert paired.identity["method"]["noise"] != fresh.identity["method"]["noise"]


def test_lpips_is_a_frozen_companion(prepared, data_dir):
    weights = data_dir / "models" / "lpips_alex" / "model.safetensors"
    more = ["method.lpips_weight=1.0", f"method.lpips={weights}", "method.lpips_minimum_size=32", "train.steps=1"]
    more += ["train.batch_size=2", "train.eval_every=null"]
    run = prepared("var", *more)
    job = build_job(RECIPE, run)
    assert job.models.keys() == {"model", "tokenizer", "lpips"}
    assert {name for player in job.objective.players() for name in player.models} == {"model"}
    assert math.isfinite(run_recipe(RECIPE, run).losses[0])


@KINDS
def test_evaluation_is_the_same_at_every_call_and_knows_each_timestep(prepared, kind):
    job = build_job(RECIPE, prepared(kind))
    first, again = job.evaluate(), job.evaluate()
    assert first == again
    assert first["held_out_nll_0"] != first["held_out_nll_2"]
    assert 0 <= first["held_out_accuracy_0"] <= 1


@KINDS
def test_teachers_and_pairs_that_do_not_belong_are_refused(prepared, folders, tmp_path, make_tokenizer, kind):
    run = prepared(kind)
    loaded = load_checkpoint(run.model.teacher)
    with torch.no_grad():
        loaded.model.get_parameter("head.linear.bias" if kind == "var" else "norm.weight").add_(0.1)
    save_checkpoint(tmp_path / "other", loaded.model, tokenizer=loaded.tokenizer)
    with pytest.raises(DataError, match="were made with the teacher"):
        build_job(RECIPE, prepared(kind, f"model.teacher={tmp_path / 'other'}"))
    stranger = make_tokenizer(kind)
    with torch.no_grad():
        stranger.codebook.weight.add_(1)
    save_checkpoint(tmp_path / "stranger", stranger)
    with pytest.raises(CheckpointError, match="was trained with the tokenizer"):
        build_job(RECIPE, prepared(kind, f"tokenizer={tmp_path / 'stranger'}"))
    for change, message in (
        ("method.timesteps=[0, 40]", "timesteps are"),
        ("method.split=40", "split is 40"),
        ("model.init=random", "init"),
    ):
        with pytest.raises(ConfigError, match=message):
            build_job(RECIPE, prepared(kind, change))


# Drawing from a checkpoint.


@pytest.fixture
def trained(prepared, tmp_path):
    """From a kind to the folders of a student, its tokenizer and its teacher."""

    def train(kind):
        run = prepared(
            kind, f"train.checkpoint_dir={tmp_path / f'{kind}_run'}", "train.eval_every=null", "train.steps=1"
        )
        run_recipe(RECIPE, run)
        return {
            "checkpoint": str(tmp_path / f"{kind}_run" / "final"),
            "tokenizer": run.tokenizer,
            "device": "cpu",
        }, run.model.teacher

    return train


def drawn(output, **settings):
    """As ``ar-decode image`` draws."""
    registry.resolve(IMAGE.run)(from_dict(registry.resolve(IMAGE.options), {**settings, "output": str(output)}))
    return np.load(output)["arr_0"], json.loads(output.with_name(f"{output.name}.json").read_text())


@KINDS
def test_images_are_drawn_like_from_other_generators(trained, tmp_path, kind):
    models, teacher = trained(kind)
    first, record = drawn(tmp_path / "a.npz", **models, count=7, seed=3)
    again, _ = drawn(tmp_path / "b.npz", **models, count=7, seed=3, batch_size=2, chunk_size=3)
    assert first.shape == (7, 16, 16, 3)
    assert np.abs(first.astype(int) - again.astype(int)).max() <= 1
    assert record["sampling"]["generator"]["kind"] == f"{kind}_dd"
    two, _ = drawn(tmp_path / "c.npz", **models, count=7, seed=3, decoding={"timesteps": [0, 2]})
    assert (two != first).any()
    assisted = {"timesteps": [0, 2], "teacher_start": 0, "teacher": teacher}
    helped, record = drawn(tmp_path / "d.npz", **models, count=7, seed=3, decoding=assisted)
    assert (helped != two).any()
    facts = record["sampling"]["generator"]
    assert facts["teacher"] == fingerprint(load_checkpoint(teacher).model)
    assert facts["teacher_decoding"]["guidance"] == 2.0, "what the pairs were made with"
    own = {**assisted, "teacher_decoding": {"guidance": 5.0}}
    assert (drawn(tmp_path / "e.npz", **models, count=7, seed=3, decoding=own)[0] != helped).any()


def test_scales_of_a_var_student_are_shown(trained, tmp_path):
    models, _ = trained("var")
    options = from_dict(
        registry.resolve(IMAGE.options),
        {**models, "labels": [1, 2], "scales": True, "output": str(tmp_path / "steps.png")},
    )
    registry.resolve(IMAGE.run)(options)
    assert (tmp_path / "steps.png").is_file()


def test_what_cannot_be_asked_of_a_student(trained, tmp_path, folders):
    models, teacher = trained("var")

    def refused(message, error=ConfigError, **settings):
        with pytest.raises(error, match=message):
            drawn(tmp_path / "x.npz", **{**models, **settings}, count=2)

    refused("whose guidance was fixed when its pairs were made", guidance=2.0)
    refused(r"unknown key 'decoding\.temperature'", temperature=0.5)
    refused("go together", decoding={"teacher": teacher})
    refused("go together", decoding={"timesteps": [0, 2], "teacher_start": 1})
    refused("go together", decoding={"teacher_decoding": {}})
    loaded = load_checkpoint(teacher)
    with torch.no_grad():
        loaded.model.head.linear.bias.add_(0.1)
    save_checkpoint(tmp_path / "other", loaded.model, tokenizer=loaded.tokenizer)
    wrong = {"timesteps": [0, 2], "teacher_start": 1, "teacher": str(tmp_path / "other")}
    refused("was distilled from the teacher", decoding=wrong)
    refused("classes run from 0 to 4", DataError, labels=[5])
    assert TrainConfig().ema is None
