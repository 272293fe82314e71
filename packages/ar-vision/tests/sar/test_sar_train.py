"""The recipe: from a trained FlexVAR and stored codes to a checkpoint of the same kind."""

import math
from dataclasses import replace
from itertools import islice

import pytest
import torch
from ar_core.config import apply_overrides, load_yaml
from ar_core.corruption import SampleRng
from ar_core.errors import CheckpointError, ConfigError, ResumeError
from ar_core.registry import configs, recipe
from ar_core.training import Ranks, TrainConfig, build_job, read_run_config, run_recipe, train
from ar_core.training.batches import StepDataset
from ar_core.training.lightning_task import fit
from ar_core.training.schedule import lr_fraction
from ar_vision.backbones.flexvar import RECIPE as FLEXVAR
from ar_vision.checkpoint import fingerprint, load_checkpoint, require_pair, save_checkpoint
from ar_vision.data.codes import RECIPE as IMAGE_CODES
from ar_vision.sar import RECIPE
from ar_vision.sar.config import SarConfig
from ar_vision.sar.decode import generate, published_decoding
from ar_vision.sar.objective import STUDENT

SCHEDULES = "{default: [1, 2, 4], default_share: 0.3, middle: [3], middle_count: 1, fine: [], fine_count: 0, last: 4, drops: []}"


@pytest.fixture
def start(tmp_path, monkeypatch, make_flexvar, vq_tokenizer):
    """Folders of a tokenizer, a FlexVAR whose name tells nothing, and the codes of 48 pictures."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folders = {name: tmp_path / name for name in ("tokenizer", "whatever", "codes")}
    save_checkpoint(folders["tokenizer"], vq_tokenizer)
    making = [f"tokenizer={folders['tokenizer']}", "data.count=48", "data.size=16", "method.scales=[1, 2, 3, 4]"]
    run_recipe(IMAGE_CODES, read_run_config(IMAGE_CODES, "tiny", [*making, f"stage.directory={folders['codes']}"]))
    model = make_flexvar(scales=(1, 2, 4), num_classes=4, shared_adaln=True, drop_path=0.1)
    provenance = {"recipe": "flexvar", "steps": 12}
    save_checkpoint(folders["whatever"], model, tokenizer=fingerprint(vq_tokenizer), provenance=provenance)
    return folders


@pytest.fixture
def prepared(start):
    def prepare(*overrides, config="tiny", which=RECIPE):
        small = ["train.steps=4", "train.batch_size=8", "train.log_every=1", "train.eval_every=2", "data.held_out=0.2"]
        small += [
            "train.checkpoint_dir=null",
            "evaluation.images=6",
            "evaluation.batch_size=4",
            "method.final_resolution=16",
        ]
        entries = [f"tokenizer={start['tokenizer']}", f"model.path={start['whatever']}", f"data.path={start['codes']}"]
        return read_run_config(which, config, [*entries, *small, f"method.schedules={SCHEDULES}", *overrides])

    return prepare


@pytest.mark.parametrize("name", configs(RECIPE))
def test_every_shipped_config_trains(prepared, name):
    """Method, optimiser and precision as shipped; a small model, few pictures and two steps."""
    schedule = ["train.past_steps=12", "train.warmup_steps=2", "train.hold_steps=2"] if "imagenet" in name else []
    result = run_recipe(RECIPE, prepared("train.steps=2", *schedule, config=name))
    assert len(result.losses) == 2
    assert all(math.isfinite(loss) for loss in result.losses)
    assert {"held_out_nll", "exposure_bias", "self_nll_4x4", "nll_1x1", "accuracy_4x4"} <= set(result.evaluation)


def test_it_is_registered_with_the_published_sizes():
    assert recipe("sar") is RECIPE
    assert configs(RECIPE).keys() == {"tiny", "cifar10", *(f"imagenet_256_d{depth}" for depth in (16, 20, 24))}


@pytest.mark.parametrize(("depth", "begin", "end"), [(16, 4.7e-5, 3e-5), (20, 4.2e-5, 3e-5), (24, 1.0e-5, 2.4e-6)])
def test_published_runs_go_on_with_the_schedule_of_their_start(depth, begin, end):
    """Ten epochs behind those of the generator's own config; the published scripts run its last epoch a second time."""
    run = read_run_config(RECIPE, f"imagenet_256_d{depth}", [])
    train = run.train
    base = read_run_config(FLEXVAR, f"imagenet_256_d{depth}", [])
    assert train.past_steps == base.train.steps
    assert train.steps == 10 * 1669
    assert run.data == base.data
    assert run.tokenizer == base.tokenizer
    shared = ("schedule", "batch_size", "lr", "final_lr_fraction", "weight_decay", "betas", "clip_norm")
    assert [getattr(train, name) for name in shared] == [getattr(base.train, name) for name in shared]
    scripts = replace(train, past_steps=train.past_steps - 1669, steps=train.steps + 1669)
    assert scripts.lr * lr_fraction(scripts, 0) == pytest.approx(begin, rel=0.02)
    for one in (train, scripts):
        assert one.lr * lr_fraction(one, one.steps - 1) == pytest.approx(end, rel=0.02)
    assert run.model.drop_path == pytest.approx(depth / 240, abs=1e-4)
    assert published_decoding(depth).guidance == {16: 3.2, 20: 3.6, 24: 4.3}[depth]
    method = run.method
    assert (method.sigma, method.rollout_guidance, method.rollout_top_k, method.rollout_top_p) == (0.01, 2.2, 900, 0.96)


def test_oracle_12_the_rate_of_a_resumed_run_is_that_of_one_uninterrupted_schedule(prepared, tmp_path):
    """From a checkpoint whose folder is called anything, killed and continued on the way."""
    whole = TrainConfig(steps=18, lr=1e-3, warmup_steps=2, hold_steps=3, schedule="linear", final_lr_fraction=0.1)
    expected = [whole.lr * lr_fraction(whole, step) for step in range(12, 18)]
    settings = ["train.lr=1e-3", "train.warmup_steps=2", "train.hold_steps=3", "train.schedule=linear"]
    settings += ["train.final_lr_fraction=0.1", "train.past_steps=12", "train.steps=6", "train.eval_every=null"]
    settings += [f"train.checkpoint_dir={tmp_path / 'run'}", "train.checkpoint_every_steps=2"]
    seen = []

    run = prepared(*settings)
    job = build_job(RECIPE, run)
    kept = job.objective.prepare

    def dying(batch, rng):
        if batch[0]["index"] >= 8 * 4:
            raise RuntimeError("killed")
        return kept(batch, rng)

    job.objective.prepare = dying
    with pytest.raises(RuntimeError, match="killed"):
        train(job, run.train, report=seen.append)
    again = build_job(RECIPE, run)
    result = train(again, run.train, report=seen.append)
    assert result.resumed_from == 4
    rates = {record["step"]: record["lr"] for record in seen if "lr" in record}
    assert [rates[step] for step in range(1, 7)] == pytest.approx(expected)
    with pytest.raises(ConfigError, match="those of a run of 12 steps: give 12"):
        build_job(RECIPE, prepared("train.schedule=linear", "train.past_steps=11"))


def test_what_is_saved_is_a_flexvar_that_generates_and_names_its_start(prepared, start, tmp_path):
    run = prepared(f"train.checkpoint_dir={tmp_path / 'run'}", "method.sigma=0.5")
    result = run_recipe(RECIPE, run)
    assert len(result.losses) == 4
    refined, tokenizer = load_checkpoint(tmp_path / "run" / "final"), load_checkpoint(start["tokenizer"])
    require_pair(refined, tokenizer)
    base = load_checkpoint(start["whatever"])
    assert refined.family.kind == "flexvar"
    assert refined.model.config == base.model.config
    assert refined.provenance["recipe"] == "sar"
    assert refined.provenance["start"] == fingerprint(base.model) != fingerprint(refined.model)
    found = generate(refined.model, tokenizer.model, [0, 3], seed=1)
    assert found.images.shape == (2, 3, 16, 16)


def test_the_control_is_plain_training_to_the_bit(prepared, start):
    control = run_recipe(RECIPE, prepared("method.sigma=0", "train.eval_every=null"))
    plain = [f"tokenizer={start['tokenizer']}", f"data.path={start['codes']}", "data.held_out=0.2"]
    plain += ["model.scratch=null", f"model.path={start['whatever']}", f"method.schedules={SCHEDULES}"]
    shipped = load_yaml(configs(RECIPE)["tiny"])["train"]
    plain += [
        f"train={apply_overrides(shipped, ['steps=4', 'batch_size=8', 'log_every=1', '~eval_every', '~checkpoint_dir'])}"
    ]
    plain += ["method.final_resolution=16"]
    expected = run_recipe(FLEXVAR, read_run_config(FLEXVAR, "tiny", plain))
    assert control.losses == expected.losses
    refined = run_recipe(RECIPE, prepared("train.eval_every=null"))
    assert refined.losses != expected.losses


@pytest.mark.parametrize(
    "settings",
    [
        ["method.rollout=full", "method.target=soft"],
        ["method.rollout=released", "method.share_label_dropout=false"],
    ],
)
def test_micro_batches_and_resuming_change_nothing(prepared, tmp_path, settings):
    settings = [*settings, "method.sigma=0.5", "model.drop_path=0", "train.eval_every=null", "train.steps=6"]
    whole = run_recipe(RECIPE, prepared(*settings))
    parts = run_recipe(RECIPE, prepared(*settings, "train.micro_batch_size=3"))
    assert parts.losses == pytest.approx(whole.losses, abs=1e-3)
    assert parts.losses[0] == pytest.approx(whole.losses[0], abs=1e-5)
    folder = [f"train.checkpoint_dir={tmp_path / 'run'}", "train.checkpoint_every_steps=3"]
    run_recipe(RECIPE, prepared(*settings, *folder, "train.steps=3"))
    resumed = run_recipe(RECIPE, prepared(*settings, *folder))
    assert resumed.resumed_from == 3
    assert resumed.losses == whole.losses[3:]
    with pytest.raises(ResumeError, match=r"sigma was 0\.5"):
        run_recipe(RECIPE, prepared(*settings, *folder, "method.sigma=0.25"))


def test_a_run_is_not_continued_from_another_start(prepared, start, tmp_path, vq_tokenizer):
    """Other weights, and another tokenizer with codes and a model of its own; the folder's name is nothing to it."""
    run = [f"train.checkpoint_dir={tmp_path / 'run'}", "train.eval_every=null"]
    run_recipe(RECIPE, prepared(*run, "train.steps=2"))
    base = load_checkpoint(start["whatever"], dtype=torch.float32)
    save_checkpoint(tmp_path / "moved", base.model, tokenizer=base.tokenizer, provenance=base.provenance)
    assert run_recipe(RECIPE, prepared(*run, f"model.path={tmp_path / 'moved'}")).resumed_from == 2
    with torch.no_grad():
        base.model.start.add_(0.1)
    save_checkpoint(tmp_path / "other", base.model, tokenizer=base.tokenizer, provenance=base.provenance)
    with pytest.raises(ResumeError, match=r"job\.start was .* in the checkpoint .* and is .* now"):
        run_recipe(RECIPE, prepared(*run, f"model.path={tmp_path / 'other'}"))
    with torch.no_grad():
        vq_tokenizer.codebook.weight.add_(0.5)
    save_checkpoint(tmp_path / "coder", vq_tokenizer)
    codes = f"stage.directory={tmp_path / 'codes_of_coder'}"
    making = [f"tokenizer={tmp_path / 'coder'}", "data.count=48", "data.size=16", "method.scales=[1, 2, 3, 4]", codes]
    run_recipe(IMAGE_CODES, read_run_config(IMAGE_CODES, "tiny", making))
    save_checkpoint(tmp_path / "its", base.model, tokenizer=fingerprint(vq_tokenizer))
    changed = [f"tokenizer={tmp_path / 'coder'}", f"model.path={tmp_path / 'its'}"]
    with pytest.raises(ResumeError, match=r"tokenizer was .* in the checkpoint .* and is .* now"):
        run_recipe(RECIPE, prepared(*run, *changed, f"data.path={tmp_path / 'codes_of_coder'}"))


def test_lightning_gives_the_losses_of_the_loop(prepared):
    run = prepared("method.sigma=0.5", "train.eval_every=null")
    expected = run_recipe(RECIPE, run)
    found = run_recipe(RECIPE, run, driver=fit)
    assert found.losses == expected.losses


@pytest.mark.parametrize(("precision", "rollout"), [("fp32", "full"), ("bf16", "released")])
def test_both_precisions_learn(prepared, precision, rollout):
    run = prepared(
        f"train.precision={precision}",
        f"method.rollout={rollout}",
        "method.sigma=0.5",
        "data.count=8",
        "data.held_out=0",
        "train.eval_every=null",
        "train.steps=30",
        "train.lr=1e-2",
    )
    losses = run_recipe(RECIPE, run).losses
    assert sum(losses[-3:]) / 3 < losses[0] - 0.5


@pytest.mark.parametrize("cut", ["cut: reference", "cut: keep_last", "fixed: true"])
def test_all_ranks_draw_the_same_schedule_and_transition(prepared, cut):
    schedules = f"{{{cut}, {SCHEDULES[1:]}"
    run = prepared(f"method.schedules={schedules}", "method.rollout=single", "train.steps=12")
    job = build_job(RECIPE, run)
    drawn = []
    for rank in range(4):
        dataset = StepDataset(job, run.train, _OneOf(rank, 4))
        drawn.append([(part.meta["sizes"], part.meta["fed"]) for (part,) in dataset])
    assert drawn[0] == drawn[1] == drawn[2] == drawn[3]
    assert len(drawn[0]) == 12
    assert (len({sizes for sizes, _ in drawn[0]}) == 1) == (cut == "fixed: true")
    assert len({fed for _, fed in drawn[0]}) > 1


class _OneOf(Ranks):
    """A rank that talks to nobody."""

    def __init__(self, rank, size):
        super().__init__()
        object.__setattr__(self, "rank", rank)
        object.__setattr__(self, "size", size)


def test_labels_of_the_second_pass(make_flexvar, make_samples, make_objective):
    model, samples, rng = make_flexvar(), make_samples(600), SampleRng(4)
    shared = make_objective(model, 600, label_dropout=0.3).prepare(samples, rng).tensors
    assert torch.equal(shared["labels"], shared["student_labels"])
    own = make_objective(model, 600, label_dropout=0.3, share_label_dropout=False).prepare(samples, rng).tensors
    assert torch.equal(own["labels"], shared["labels"])
    first, second = own["labels"] == 5, own["student_labels"] == 5
    assert 0.24 < second.float().mean() < 0.36
    # Independent: both in 9 % of the samples.
    assert 0.05 < (first & second).float().mean() < 0.135
    given = torch.tensor([int(sample["label"]) for sample in samples])
    assert torch.equal(own["student_labels"][~second], given[~second])


def test_numbers_to_draw_by_belong_to_the_sample(make_flexvar, make_samples, make_objective):
    objective, samples, rng = make_objective(make_flexvar(), 6), make_samples(6), SampleRng(1)
    together = objective.prepare(samples, rng).tensors["uniforms"]
    apart = torch.cat([objective.prepare([sample], rng).tensors["uniforms"] for sample in samples])
    assert torch.equal(together, apart)
    assert len(together.unique()) == together.numel()


def test_a_schedule_of_one_scale_has_no_second_pass(step):
    for rollout in ("full", "released", "single"):
        _, objective, prepared, sums = step(schedules={"fixed": True, "default": (4,)}, rollout=rollout)
        assert prepared.weights[STUDENT] == 0
        assert sums[STUDENT] == 0
        assert objective.coefficients[STUDENT] == 0.01


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"sigma": -0.1}, "sigma is -0.1"),
        ({"sigma": math.nan}, "sigma is nan"),
        ({"sigma": math.inf}, "sigma is inf"),
        ({"rollout": "all"}, "rollout is 'all'; choose full, released, single"),
        ({"target": "truth"}, "target is 'truth'; choose teacher, gt, soft"),
        ({"rollout_sampling": "greedy"}, "choose sample, argmax"),
        ({"rollout_guidance": -1.0}, "rollout_guidance is -1.0"),
        ({"rollout_top_k": 0}, "top_k is 0"),
        ({"rollout_top_p": 1.5}, "top_p is 1.5"),
    ],
)
def test_what_is_no_method(settings, part):
    with pytest.raises(ConfigError, match=part):
        SarConfig(final_resolution=16, **settings)


def test_what_is_no_start(prepared, start, tmp_path, vq_tokenizer):
    with pytest.raises(ConfigError, match="SAR refines a trained FlexVAR"):
        prepared("model.path=null", "model.scratch={depth: 2, width: 32, heads: 2}")
    with pytest.raises(ConfigError, match="neither scratch nor gate"):
        prepared("model.gate=0.1")
    with pytest.raises(ConfigError, match=r"drop_path is 1\.0"):
        prepared("model.drop_path=1.0")
    with pytest.raises(ConfigError, match=r"'method\.final_resolution' is missing"):
        prepared("~method.final_resolution")
    with pytest.raises(CheckpointError, match="holds a tokenizer"):
        build_job(RECIPE, prepared(f"model.path={start['tokenizer']}"))
    with torch.no_grad():
        vq_tokenizer.codebook.weight.add_(1)
    save_checkpoint(tmp_path / "stranger", vq_tokenizer)
    with pytest.raises(CheckpointError, match="was trained with the tokenizer"):
        build_job(RECIPE, prepared(f"tokenizer={tmp_path / 'stranger'}"))


def test_drop_path_can_be_given_to_weights_that_do_not_tell_it(prepared):
    job = build_job(RECIPE, prepared("model.drop_path=0.4"))
    assert [block.drop_path.rate for block in job.models["model"].blocks] == [0, 0.4]
    assert [block.drop_path.rate for block in build_job(RECIPE, prepared()).models["model"].blocks] == [0, 0.1]


def test_samples_are_read_as_flexvar_reads_them(prepared):
    job = build_job(RECIPE, prepared())
    assert {sample["codes"].numel() for sample in islice(job.source.open(0), 5)} == {30}
