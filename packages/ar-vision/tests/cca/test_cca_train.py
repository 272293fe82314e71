"""Runs of CCA: shipped configs, drivers, checkpoints that generate, guidance that is refused, published weights."""

import json
from argparse import Namespace
from dataclasses import replace

import pytest
import torch
from ar_core.config import load_yaml
from ar_core.decoding import DecodeStats
from ar_core.errors import CheckpointError, ConfigError, DataError, ResumeError
from ar_core.registry import config_path, configs, recipe
from ar_core.sampling import guide
from ar_core.training import build_job, read_run_config, recipe_main, run_recipe, train
from ar_core.training.lightning_task import fit
from ar_vision.backbones.llamagen.loading import to_published as llamagen_to_published
from ar_vision.backbones.var.loading import to_published as var_to_published
from ar_vision.cca import LOG_PROBS, RECIPE
from ar_vision.checkpoint import fingerprint, load_checkpoint, require_pair, save_checkpoint
from ar_vision.convert import convert
from ar_vision.distilled_decoding.teacher import open_teacher
from ar_vision.evaluation.generation import open_generator
from torch import nn

TRAINING, MAKING = sorted(configs(RECIPE)), sorted(configs(LOG_PROBS))
VAR_SIZES, LLAMAGEN_SIZES = ("d16", "d20", "d24", "d30"), ("b", "l", "xl", "xxl", "3b")


def small(start, *overrides, config="tiny", steps=2):
    entries = [
        *start.overrides,
        f"train.steps={steps}",
        "train.checkpoint_dir=null",
        "train.batch_size=6",
        "train.micro_batch_size=2",
        "train.warmup_steps=0",
        "train.log_every=1",
        "train.eval_every=null",
        "data.held_out=0.2",
        "evaluation.images=6",
        *overrides,
    ]
    return read_run_config(RECIPE, config, entries)


def test_is_registered_and_ships_every_published_size():
    assert recipe("cca") is RECIPE
    sizes = {f"var_{size}" for size in VAR_SIZES} | {f"llamagen_{size}_384" for size in LLAMAGEN_SIZES}
    assert set(TRAINING) == {"tiny", "cifar10_var", "cifar10_llamagen", *sizes}
    assert set(MAKING) == {"tiny", "cifar10_var", "cifar10_llamagen", "imagenet_var", "imagenet_llamagen"}


@pytest.mark.parametrize(
    ("name", "weight", "lr", "clip"),
    [
        ("var_d16", 50, 2e-5, 2.0),
        ("var_d20", 50, 2e-5, 2.0),
        ("var_d24", 100, 2e-5, 2.0),
        ("var_d30", 1000, 2e-5, 2.0),
        ("llamagen_b_384", 1000, 1e-5, 1.0),
        ("llamagen_l_384", 300, 1e-5, 1.0),
        ("llamagen_xl_384", 1000, 1e-5, 1.0),
        ("llamagen_xxl_384", 1000, 1e-5, 1.0),
        ("llamagen_3b_384", 500, 1e-5, 1.0),
    ],
)
def test_published_settings_are_those_of_the_papers_table(name, weight, lr, clip):
    run = read_run_config(RECIPE, name)
    assert (run.method.beta, run.method.negative_weight, run.method.uncond_ratio) == (0.02, weight, 0.1)
    assert (run.train.lr, run.train.clip_norm, run.train.betas) == (lr, clip, (0.9, 0.95))
    assert (run.train.batch_size, run.train.steps) == (256, -(-1281167 // 256) - 1)
    depth = {"var_d16": 0.0, "var_d20": 20 / 240, "var_d24": 0.1, "var_d30": 0.125}.get(name, 0.1)
    assert run.method.dropout == pytest.approx(depth, abs=1e-4)
    guided = "llamagen" in name and read_run_config(RECIPE, name, ["method.beta=0.1", "method.negative_weight=1"])
    assert not guided or guided.method.coefficient == 1


@pytest.mark.parametrize("name", TRAINING)
def test_every_shipped_config_trains(starts, name):
    """Method, optimiser and precision as shipped; a tiny model and two steps."""
    start = starts("llamagen" if "llamagen" in name else "var")
    published = "cifar" not in name and name != "tiny"
    out = ["~train.hold_steps"] if published and "var" in name else []
    assert load_yaml(config_path(RECIPE, name))["method"]["negative_weight"] > 0
    run = small(start, *out, config=name)
    result = run_recipe(RECIPE, run)
    assert len(result.losses) == 2
    # Both models are one at first, and dropout and 16 bits move their log-ratios a little: between all negatives and none.
    weight = run.method.negative_weight
    assert 0.3 < result.losses[0] / (0.6931 * (1 + weight) / max(weight, 1)) < 1.7


@pytest.mark.parametrize("name", MAKING)
def test_every_shipped_stage_runs(starts, tmp_path, name):
    start = starts("llamagen" if "llamagen" in name else "var")
    plan = ["train.steps=2", "train.batch_size=4", f"stage.directory={tmp_path}", "data.held_out=0.0"]
    result = run_recipe(LOG_PROBS, read_run_config(LOG_PROBS, name, [*start.overrides, *plan]))
    assert result.counts == {"pairs": 8}


def test_the_result_is_a_checkpoint_of_the_same_kind(start, tmp_path):
    run = small(start, f"train.checkpoint_dir={tmp_path / 'run'}", "train.eval_every=2", "method.dropout=0.2")
    result = run_recipe(RECIPE, run)
    before, after = load_checkpoint(start.model), load_checkpoint(tmp_path / "run" / "final", "generator")
    assert after.family.kind == start.kind
    require_pair(after, load_checkpoint(start.tokenizer))
    assert after.tokenizer == before.tokenizer
    assert fingerprint(after.model) != fingerprint(before.model)
    assert after.provenance["start"]["model"] == fingerprint(before.model)
    assert after.provenance["null_condition"] == "trained"
    metrics = {"cca", "accuracy", "margin", "gap_real", "gap_mismatched", "nll"}
    assert {f"held_out_{name}" for name in metrics} <= set(result.evaluation)
    generator = open_generator(str(tmp_path / "run" / "final"), str(start.tokenizer), {"guidance": 2.0})
    assert generator.sample([0, 1], [0, 1]).images.shape == (2, 3, 12, 12)


def test_without_null_samples_guidance_is_refused(start, tmp_path):
    run_recipe(RECIPE, small(start, f"train.checkpoint_dir={tmp_path / 'run'}", "method.uncond_ratio=0.0"))
    folder = str(tmp_path / "run" / "final")
    assert json.loads((tmp_path / "run" / "final" / "config.json").read_text())["provenance"]["uncond_ratio"] == 0
    for guidance in (1.5, 0.0):
        with pytest.raises(
            ConfigError, match=r"was trained without its null condition \(uncond_ratio 0, or loss dpo\)"
        ) as caught:
            open_generator(folder, str(start.tokenizer), {"guidance": guidance})
        assert str(caught.value).startswith(f"guidance is {guidance} and {folder}")
        assert "\n" not in str(caught.value)
        if start.kind != "flexvar":
            with pytest.raises(ConfigError, match="was trained without its null condition"):
                open_teacher(load_checkpoint(folder), load_checkpoint(start.tokenizer).model, {"guidance": guidance})
    assert open_generator(folder, str(start.tokenizer), {}).sample([2], [0]).images.shape[0] == 1
    # Training it again with null samples makes it fit for guidance.
    again = small(start, f"model={folder}", f"train.checkpoint_dir={tmp_path / 'again'}")
    run_recipe(RECIPE, again)
    open_generator(str(tmp_path / "again" / "final"), str(start.tokenizer), {"guidance": 1.5})


@pytest.mark.parametrize(
    ("loss", "uncond_ratio", "state"),
    [
        ("cca", 0.1, "trained"),
        ("unlearning", 0.1, "trained"),
        ("cca", 0.0, "untrained"),
        ("unlearning", 0.0, "untrained"),
        # A null sample is compared with itself.
        ("dpo", 0.1, "untrained"),
    ],
)
def test_the_record_says_whether_the_null_class_was_trained(starts, tmp_path, loss, uncond_ratio, state):
    job = build_job(RECIPE, small(starts("llamagen"), f"method.loss={loss}", f"method.uncond_ratio={uncond_ratio}"))
    assert job.save is not None
    job.save(tmp_path / "saved")
    assert load_checkpoint(tmp_path / "saved").provenance["null_condition"] == state


@pytest.mark.parametrize("how", ["off", "shared", "independent"])
def test_the_starting_model_has_the_dropout_of_the_trained_one(start, how):
    """Published training drops in both; a converted VAR has no stochastic depth of its own."""
    job = build_job(RECIPE, small(start, "method.dropout=0.3", f"method.reference_dropout={how}"))
    assert job.models["reference"].config == job.models["model"].config
    assert 0.3 in vars(job.models["reference"].config).values()
    assert not job.models["reference"].training
    assert not any(parameter.requires_grad for parameter in job.models["reference"].parameters())


def test_held_out_pairs_are_measured_on_the_default_schedule(starts):
    """Whatever is drawn in training, here never the default one; and whatever shares a pass."""
    drawn = (
        "method.schedules={default: [1, 2, 3], default_share: 0.0, coarse: [1], middle: [2], middle_count: 0, fine: [], "
        "fine_count: 0, last: 3}"
    )
    found = []
    for more in ([], [drawn], [drawn, "evaluation.batch_size=3"]):
        job = build_job(RECIPE, small(starts("flexvar"), "train.eval_every=1", "evaluation.images=8", *more))
        job.models["model"].eval()
        found.append(job.evaluate())
    assert found[1] == found[0]
    assert found[2] == pytest.approx(found[0], rel=1e-5, abs=1e-4)
    # Nothing was trained yet: the model is its own start.
    for name in ("gap_real", "gap_mismatched", "margin"):
        assert found[0][f"held_out_{name}"] == pytest.approx(0, abs=1e-3)
    assert found[0]["held_out_nll"] > 1


def test_oracle_10_without_guidance_b_rows_run_and_draw_what_both_halves_would(start, monkeypatch):
    """The published sampler runs the null half at strength 0 too: its logits are the conditional ones, and so are its codes."""
    rows: list[int] = []
    forward = DecodeStats.forward
    monkeypatch.setattr(
        DecodeStats,
        "forward",
        lambda self, phase, count, tokens: rows.append(count) or forward(self, phase, count, tokens),
    )
    labels, seeds = [0, 1, 3], [5, 6, 7]
    generator = open_generator(str(start.model), str(start.tokenizer), {"guidance": 1.0})
    free = generator.sample(labels, seeds)
    passes = len(rows)
    assert rows == [3] * passes
    rows.clear()
    # Both halves run, and are put together as strength 0 would.
    for module in ("ar_vision.decoding.raster", "ar_vision.decoding.scalewise"):
        monkeypatch.setattr(f"{module}.guided_logits", lambda head, batch, scale: guide(*head(2 * batch).chunk(2), 1.0))
    doubled = open_generator(str(start.model), str(start.tokenizer), {"guidance": 3.0}).sample(labels, seeds)
    assert rows == [6] * passes
    for one, other in zip(free.codes, doubled.codes, strict=True):
        assert torch.equal(one, other)


def test_micro_batches_of_one_and_resuming_change_nothing(start, tmp_path):
    whole = run_recipe(RECIPE, small(start, "method.dropout=0.0", "train.micro_batch_size=6", steps=4))
    split = run_recipe(RECIPE, small(start, "method.dropout=0.0", "train.micro_batch_size=1", steps=4))
    assert split.losses == pytest.approx(whole.losses, rel=1e-4)
    where = [f"train.checkpoint_dir={tmp_path}", "train.checkpoint_every_steps=1", "method.dropout=0.1"]
    expected = run_recipe(RECIPE, small(start, "method.dropout=0.1", steps=4))
    run_recipe(RECIPE, small(start, *where, steps=2))
    resumed = run_recipe(RECIPE, small(start, *where, steps=4))
    assert resumed.resumed_from == 2
    assert resumed.losses == expected.losses[2:]


def test_a_run_is_not_continued_from_another_start(start, encoded, tmp_path):
    """Other weights, another tokenizer with its codes, and other pairs; the folder's name is nothing to it."""
    run = [f"train.checkpoint_dir={tmp_path / 'run'}"]
    run_recipe(RECIPE, small(start, *run, steps=1))
    loaded, coder = load_checkpoint(start.model), load_checkpoint(start.tokenizer).model
    save_checkpoint(tmp_path / "moved", loaded.model, tokenizer=loaded.tokenizer)
    assert run_recipe(RECIPE, small(start, *run, f"model={tmp_path / 'moved'}")).resumed_from == 1
    with torch.no_grad():
        next(loaded.model.parameters()).add_(0.1)
        coder.codebook.weight.add_(0.5)
    save_checkpoint(tmp_path / "other", loaded.model, tokenizer=loaded.tokenizer)
    with pytest.raises(ResumeError, match=r"job\.start\.model was .* in the checkpoint .* and is .* now"):
        run_recipe(RECIPE, small(start, *run, f"model={tmp_path / 'other'}"))
    with pytest.raises(ResumeError, match=r"data\.negative_group was 6 in the checkpoint .* and is 3 now"):
        run_recipe(RECIPE, small(start, *run, "method.negative_group=3"))
    save_checkpoint(tmp_path / "coder", coder)
    save_checkpoint(tmp_path / "its", loaded.model, tokenizer=fingerprint(coder))
    changed = replace(start, model=tmp_path / "its", tokenizer=tmp_path / "coder", codes=tmp_path / "codes")
    encoded(changed)
    with pytest.raises(ResumeError, match=r"tokenizer was .* in the checkpoint .* and is .* now"):
        run_recipe(RECIPE, small(changed, *run))


def test_lightning_has_the_losses_of_the_loop(starts):
    start = starts("llamagen")
    results = [run_recipe(RECIPE, small(start, steps=3), driver=driver) for driver in (train, fit)]
    assert results[0].losses == pytest.approx(results[1].losses, rel=1e-6)


def test_workers_prepare_the_same_pairs(starts, tmp_path):
    start = starts("var")
    run_recipe(LOG_PROBS, _plan(start, tmp_path))
    losses = [
        run_recipe(RECIPE, small(start, f"train.num_workers={workers}", f"log_probs={tmp_path}")).losses
        for workers in (0, 1)
    ]
    assert losses[0] == losses[1]


def _plan(start, directory):
    plan = ["train.steps=2", "train.batch_size=6", "data.held_out=0.2", f"stage.directory={directory}"]
    return read_run_config(LOG_PROBS, "tiny", [*start.overrides, *plan])


def _published(kind, model):
    return var_to_published(model) if kind == "var" else llamagen_to_published(model)


@pytest.mark.parametrize(
    ("kind", "container"),
    [("var", "flat"), ("var", "trainer"), ("llamagen", "flat"), ("llamagen", "model"), ("llamagen", "freqs_cis")],
)
def test_published_results_load_in_every_container(starts, tmp_path, kind, container):
    """CCA-VAR: flat, or flat under 'trainer' beside its settings; CCA-LlamaGen: under 'model' (DDP) or flat (FSDP), told by structure."""
    start = starts(kind)
    model = load_checkpoint(start.model).model
    weights = _published(kind, model)
    if container == "freqs_cis":
        weights = {**weights, "freqs_cis": torch.zeros(1 + 9, 8, 2)}
    content = {
        "flat": weights,
        "freqs_cis": {"model": weights},
        "model": {"model": weights, "steps": 5000, "args": Namespace(beta=0.02)},
        "trainer": {"epoch": 0, "iter": 5004, "trainer": weights, "args": Namespace(lambda_=50.0, beta=0.02)},
    }[container]
    # The file name of a size that was published under FSDP says nothing about what is in it.
    source = tmp_path / "3B_XXL.pt"
    torch.save(content, source)
    settings = {} if kind == "var" else {"heads": 2} | ({} if container == "freqs_cis" else {"grid": 3})
    convert(kind, source, tmp_path / "converted", tokenizer=start.tokenizer, settings=settings)
    converted = load_checkpoint(tmp_path / "converted")
    for name, tensor in model.state_dict().items():
        assert torch.equal(converted.model.state_dict()[name], tensor)
    # Nobody says that its null condition is untrained: published training had null samples.
    open_generator(str(tmp_path / "converted"), str(start.tokenizer), {"guidance": 1.2})


@pytest.mark.parametrize(
    ("overrides", "error", "says"),
    [
        (["train.batch_size=1", "train.micro_batch_size=1"], ConfigError, "batch_size is 1, and every sample"),
        (["method.negative_group=4"], ConfigError, "negative_group is 4 and batch_size 6"),
        (["tokenizer=MODEL"], CheckpointError, "holds a generator .* and a tokenizer is needed"),
        (["data.path=nowhere"], DataError, "is no folder that a data-making recipe wrote"),
    ],
)
def test_runs_that_cannot_be_are_refused(starts, overrides, error, says):
    start = starts("llamagen")
    overrides = [entry.replace("MODEL", str(start.model)) for entry in overrides]
    with pytest.raises(error, match=says):
        build_job(RECIPE, small(start, *overrides))


def test_a_tokenizer_that_is_not_the_models_is_refused(starts, tmp_path):
    start = starts("llamagen")
    save_checkpoint(tmp_path, load_checkpoint(start.model).model, tokenizer="another")
    with pytest.raises(CheckpointError, match="another"):
        build_job(RECIPE, small(start, f"model={tmp_path}"))


def test_the_weight_of_negatives_has_no_default(capsys):
    assert recipe_main(RECIPE, ["--config", "tiny", "~method.negative_weight"]) == 2
    error = capsys.readouterr().err
    assert "the key 'method.negative_weight' is missing" in error
    assert error.count("\n") == 1


def test_a_model_that_is_a_folder_is_told_by_its_weights(starts):
    job = build_job(RECIPE, small(starts("var")))
    assert "model" not in job.identity
    assert set(job.identity["start"]) == {"model", "tokenizer"}
    assert isinstance(job.models["model"], nn.Module)
