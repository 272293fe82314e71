"""Stored log-probabilities: those of a run, bit by bit; made in shards, killed, continued; and refused where they are others."""

import importlib.util
import sys
from hashlib import sha256
from itertools import islice
from pathlib import Path
from random import Random

import pytest
import torch
from ar_core.errors import ConfigError, DataError, ResumeError
from ar_core.io import read_tensors
from ar_core.registry import configs, recipe
from ar_core.training import build_job, finished_chunks, read_run_config, run_recipe
from ar_vision.cca import LOG_PROBS, RECIPE
from ar_vision.cca.stored import StoredLogProbs
from ar_vision.checkpoint import load_checkpoint, save_checkpoint

ROOT = Path(__file__).parents[4]
STEPS, BATCH = 6, 8
PLAN = [f"train.steps={STEPS}", f"train.batch_size={BATCH}"]
DRAWN = (
    "method.schedules={default: [1, 2, 3], default_share: 0.3, coarse: [1], middle: [2], middle_count: 0, fine: [], fine_count: 0, "
    "last: 3}"
)


def stage_of(start, directory, *overrides):
    entries = [*start.overrides, *PLAN, f"stage.directory={directory}", "stage.chunk_size=5", *overrides]
    return read_run_config(LOG_PROBS, "tiny", entries)


def run_of(start, *overrides):
    small = [
        "train.checkpoint_dir=null",
        "train.micro_batch_size=3",
        "train.log_every=1",
        "train.eval_every=3",
        "evaluation.images=6",
    ]
    entries = [*start.overrides, *PLAN, *small, "evaluation.batch_size=4", "data.held_out=0.2", *overrides]
    return read_run_config(RECIPE, "tiny", entries)


def make(start, directory, *overrides):
    return run_recipe(LOG_PROBS, stage_of(start, directory, "data.held_out=0.2", *overrides))


def files(directory: Path) -> dict[str, str]:
    return {
        path.name: sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.iterdir())
        if not path.name.startswith(".tmp")
    }


def test_is_registered():
    assert recipe("cca_log_probs") is LOG_PROBS
    assert "tiny" in configs(LOG_PROBS)


@pytest.mark.parametrize(
    ("precision", "method"),
    [("bf16", []), ("fp32", ["method.negative_group=2", "method.uncond_ratio=0.5"])],
    ids=["step", "groups"],
)
def test_oracle_8_a_run_with_stored_values_is_the_run_without(start, tmp_path, precision, method):
    if start.kind == "flexvar":
        method = [*method, DRAWN]
    shared = [*method, f"train.precision={precision}"]
    result = make(start, tmp_path / "stored", *shared)
    assert (result.made, result.counts) == (10, {"pairs": STEPS * BATCH})
    online, cached = (
        run_recipe(RECIPE, run_of(start, "method.dropout=0.1", *shared, *more))
        for more in ([], [f"log_probs={tmp_path / 'stored'}"])
    )
    assert len(online.losses) == STEPS
    assert cached.losses == online.losses
    assert cached.evaluation == online.evaluation
    assert {"held_out_cca", "held_out_accuracy", "held_out_nll"} <= online.evaluation.keys()


def test_the_starting_model_is_not_needed_beside_stored_values(starts, tmp_path):
    start = starts("llamagen")
    make(start, tmp_path)
    assert set(build_job(RECIPE, run_of(start)).models) == {"model", "tokenizer", "reference"}
    assert set(build_job(RECIPE, run_of(start, f"log_probs={tmp_path}")).models) == {"model", "tokenizer"}


def test_one_store_serves_all_settings_of_the_loss_and_shorter_runs(starts, tmp_path):
    start = starts("llamagen")
    make(start, tmp_path)
    for more in (
        ["method.negative_weight=500"],
        ["method.loss=dpo", "method.beta=1"],
        ["train.steps=2", "train.eval_every=2"],
        ["train.lr=1e-5", "method.same_class=negative"],
    ):
        losses = [run_recipe(RECIPE, run_of(start, *more, *where)).losses for where in ([], [f"log_probs={tmp_path}"])]
        assert losses[0] == losses[1]


def test_shards_and_passes_of_any_size_make_the_same(start, tmp_path):
    more = [DRAWN] if start.kind == "flexvar" else []
    make(start, tmp_path / "whole", *more)
    for shard in ("2/3", "3/3", "1/3"):
        make(start, tmp_path / "shards", f"stage.shard={shard}", *more)
    assert files(tmp_path / "shards") == files(tmp_path / "whole")
    (tmp_path / "shards" / "chunk-000003.safetensors").unlink()
    result = make(start, tmp_path / "shards", *more)
    assert (result.made, result.present) == (1, 9)
    assert files(tmp_path / "shards") == files(tmp_path / "whole")
    make(start, tmp_path / "faster", "method.reference_batch_size=7", *more)
    exact, faster = (StoredLogProbs(tmp_path / name) for name in ("whole", "faster"))
    assert len(exact) == STEPS * BATCH
    for index in range(len(exact)):
        assert torch.equal(exact[index][0], faster[index][0])
        assert torch.allclose(exact[index][1], faster[index][1], rtol=1e-5)


def test_a_store_lists_every_pair_of_the_run_once(starts, tmp_path):
    start = starts("var")
    make(start, tmp_path)
    identity, paths = finished_chunks(tmp_path)
    assert identity["count"] == STEPS * BATCH == sum(len(read_tensors(path)["labels"]) for path in paths)
    job = build_job(RECIPE, run_of(start, f"log_probs={tmp_path}"))
    samples = list(islice(job.source.open(0), STEPS * BATCH))
    null = 0
    for sample in samples:
        labels = sample["reference"].labels.tolist()
        null += labels == [4, 4]
        assert labels in ([4, 4], [int(sample["label"]), sample["negative"]])
        assert sample["reference"].log_probs.dtype == torch.float32
        assert (sample["reference"].log_probs < 0).all()
    assert 0 < null < len(samples) / 2


def run(directory: Path, overrides: list[str]) -> None:
    """What killed processes do."""
    entries = [*overrides, f"stage.directory={directory}"]
    run_recipe(LOG_PROBS, read_run_config(LOG_PROBS, "tiny", entries))


@pytest.fixture(scope="module")
def kills():
    """The harness of ar-core."""
    spec = importlib.util.spec_from_file_location("kills_of_ar_core", ROOT / "packages/ar-core/tests/training/kills.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["kills_of_ar_core"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def killed(kills, starts, tmp_path_factory):
    """Runs of the stage in processes of their own, and what an uninterrupted one leaves, and takes."""
    overrides = [*starts("llamagen").overrides, *PLAN, "stage.chunk_size=3", "stage.device=cpu"]
    directory = tmp_path_factory.mktemp("killed") / "whole"
    with kills.Runs(Path(__file__), "run", overrides=overrides) as runs:
        seconds = runs.uninterrupted(directory)
        yield runs, files(directory), seconds


def test_killed_at_random_moments_and_continued(killed, tmp_path):
    runs, whole, seconds = killed
    random, hit = Random(0), 0
    for case in range(5):
        directory = tmp_path / str(case)
        for _ in range(2):
            hit += runs.killed_after(directory, random.uniform(0.05, 0.9) * seconds)
        runs.uninterrupted(directory)
        assert files(directory) == whole
        assert len(StoredLogProbs(directory)) == STEPS * BATCH
    assert hit >= 4, "few runs were still at work when they were killed"


def test_killed_at_write_boundaries_and_continued(killed, tmp_path):
    runs, whole, _ = killed
    boundary = 0
    while runs.killed_at(tmp_path / str(boundary), boundary):
        runs.uninterrupted(tmp_path / str(boundary))
        assert files(tmp_path / str(boundary)) == whole, f"boundary {boundary}"
        boundary += 47
    assert boundary > 60


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["train.seed=1"], r"were made with data.seed 0 and the run has 1"),
        (["train.batch_size=4"], "were made with negative_group 8 and the run has 4"),
        (["method.uncond_ratio=0.2"], "were made with uncond_ratio 0.1 and the run has 0.2"),
        (["train.precision=bf16"], "were made with precision fp32 and the run has bf16"),
        (["data.held_out=0.3"], "were made with data.held_out 0.2 and the run has 0.3"),
        (["train.steps=7"], "holds the log-probabilities of 48 pairs and the run has 56"),
    ],
)
def test_values_of_other_pairs_are_refused(starts, tmp_path, overrides, says):
    start = starts("llamagen")
    make(start, tmp_path)
    with pytest.raises(DataError, match=says):
        build_job(RECIPE, run_of(start, f"log_probs={tmp_path}", *overrides))


def test_values_of_another_model_are_refused(starts, tmp_path):
    make(starts("llamagen"), tmp_path)
    run = run_of(starts("flexvar"), f"log_probs={tmp_path}")
    with pytest.raises(DataError, match="were made with"):
        build_job(RECIPE, run)
    with pytest.raises(DataError, match="holds the data of the recipe 'image_codes' and log-probabilities are needed"):
        build_job(RECIPE, run_of(starts("var"), f"log_probs={starts('var').codes}"))


def test_values_of_the_same_pairs_under_other_weights_are_refused(starts, tmp_path):
    start = starts("llamagen")
    make(start, tmp_path / "stored")
    loaded = load_checkpoint(start.model)
    with torch.no_grad():
        loaded.model.output.weight.add_(1e-3)
    save_checkpoint(tmp_path / "model", loaded.model, tokenizer=loaded.tokenizer)
    with pytest.raises(DataError, match=r"were made with model .* and the run has"):
        build_job(RECIPE, run_of(start, f"log_probs={tmp_path / 'stored'}", f"model={tmp_path / 'model'}"))


def test_values_of_other_schedules_are_refused(starts, tmp_path):
    start = starts("flexvar")
    make(start, tmp_path, DRAWN, "method.negative_group=2")
    stored = [f"log_probs={tmp_path}", "method.negative_group=2"]
    build_job(RECIPE, run_of(start, *stored, DRAWN))
    with pytest.raises(DataError, match="were made with schedules"):
        build_job(RECIPE, run_of(start, *stored))
    with pytest.raises(DataError, match=r"were made with schedules.default_share 0.3 and the run has 0.4"):
        build_job(RECIPE, run_of(start, *stored, DRAWN.replace("0.3", "0.4")))
    # The samples of a step share a schedule: under another number of them, they meet others.
    with pytest.raises(DataError, match=r"were made with schedules.batch_size 8 and the run has 4"):
        build_job(RECIPE, run_of(start, *stored, DRAWN, "train.batch_size=4"))


def test_classes_that_are_others_are_found_when_they_are_used(starts, tmp_path):
    start = starts("llamagen")
    make(start, tmp_path)
    job = build_job(RECIPE, run_of(start, f"log_probs={tmp_path}"))
    sample = next(iter(job.source.open(0)))
    from ar_core.corruption import SampleRng

    changed = {**sample, "negative": (sample["negative"] + 1) % 4}
    with pytest.raises(DataError, match="stored log-probabilities of sample 0 are of the classes"):
        job.objective.prepare([changed], SampleRng(0))


def test_noisy_values_are_not_stored(starts, tmp_path):
    with pytest.raises(ConfigError, match="log_probs are those of the starting model without dropout"):
        run_of(starts("llamagen"), f"log_probs={tmp_path}", "method.reference_dropout=shared")


def test_a_stage_of_other_settings_is_not_continued(starts, tmp_path):
    start = starts("llamagen")
    make(start, tmp_path, "stage.shard=1/2")
    with pytest.raises(ResumeError, match=r"uncond_ratio was 0.1 .* and is 0.3 now"):
        make(start, tmp_path, "method.uncond_ratio=0.3")
    with pytest.raises(ConfigError, match="steps is 0"):
        stage_of(start, tmp_path, "train.steps=0")
