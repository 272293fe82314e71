"""Runs of the recipe: under every launcher, from a checkpoint, and what they measure."""

import json
import math
import os
import subprocess
import sys

import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError
from ar_core.registry import configs, recipe
from ar_core.training import build_job, read_run_config, run_recipe
from ar_vision.checkpoint import load_checkpoint
from ar_vision.scales import ScaleSchedule
from ar_vision.tokenizers.training import RECIPE
from ar_vision.tokenizers.training.reconstruction import measure, psnr, reconstruct


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


SMALL = [
    "data.size=16", "data.count=48", "method.scales=[1,2,4]", "model.settings.autoencoder.channels=4",
    "model.settings.autoencoder.norm_groups=2", "method.discriminator.layers=1", "method.adversarial_start_step=1",
    "train.batch_size=6", "train.steps=2", "train.log_every=1", "evaluation.images=5", "evaluation.batch_size=2",
]  # fmt: skip


def _tiny(*overrides: str):
    return read_run_config(RECIPE, "tiny", [*SMALL, "train.eval_every=null", *overrides])


def test_is_registered() -> None:
    assert recipe("image_tokenizer") is RECIPE
    assert {"tiny", "cifar10", "cifar10_flexvar", "llamagen_vq16"} <= set(configs(RECIPE))


@pytest.mark.parametrize("name", sorted(configs(RECIPE)))
def test_shipped_configs_are_read(name, monkeypatch) -> None:
    monkeypatch.setenv("AR_DATA_DIR", "/data")
    run = read_run_config(RECIPE, name)
    size = run.data.shape[0]
    levels = len(run.model.settings["autoencoder"]["channel_multipliers"])
    assert run.method.schedule.height == size // 2 ** (levels - 1)
    assert run.method.adversarial_weight == 0 or run.method.adversarial_start_step < run.train.steps


def test_the_published_settings() -> None:
    run = read_run_config(RECIPE, "llamagen_vq16")
    assert (run.train.lr, run.train.batch_size, run.train.schedule) == (1e-4, 128, "constant")
    assert run.train.steps == 40 * (1_281_167 // 128)
    assert run.method.coefficients == {
        "pixel": 1.0, "perceptual": 1.0, "code": 1.0, "commit": 0.25, "adversarial": 0.5, "discriminator": 1.0,
    }  # fmt: skip
    assert run.method.adversarial_start_step == 20_000


def test_a_short_run_brings_images_back() -> None:
    """As shipped but without its second half, the game: the error of held-out images falls to less than half."""
    run = read_run_config(RECIPE, "tiny", ["method.adversarial_weight=0", "train.eval_every=60"])
    job = build_job(RECIPE, run)
    job.models["tokenizer"].eval()
    with torch.no_grad():
        before = job.evaluate()
    result = run_recipe(RECIPE, run)
    assert set(result.evaluation) == {"psnr", "codes_used", "perplexity"}
    assert result.evaluation["psnr"] > before["psnr"] + 3
    assert result.evaluation["codes_used"] > 0.5
    assert result.evaluation["perplexity"] > 8


def test_the_saved_tokenizer_is_the_one_that_was_measured(tmp_path) -> None:
    run = _tiny("train.eval_every=2", f"train.checkpoint_dir={tmp_path / 'run'}", "train.ema=0.5")
    result = run_recipe(RECIPE, run)
    loaded = load_checkpoint(tmp_path / "run" / "final", role="tokenizer")
    assert loaded.provenance == {"recipe": "image_tokenizer", "scales": "1,2,4"}
    again = run_recipe(
        RECIPE,
        _tiny(
            "train.eval_every=1", "train.steps=1", "train.lr=1e-12", "method.adversarial_weight=0", "~model.kind", "~model.settings",
            f"model.checkpoint={tmp_path / 'run' / 'final'}", "method.usage.first_batch=false",
        ),
    )  # fmt: skip
    assert again.evaluation == pytest.approx(result.evaluation, rel=1e-4)


def test_lightning_takes_the_same_steps() -> None:
    pytest.importorskip("lightning")
    from ar_core.training.lightning_task import fit

    plain = run_recipe(RECIPE, _tiny())
    assert run_recipe(RECIPE, _tiny(), driver=fit).losses == plain.losses


def test_tune_run(tmp_path) -> None:
    pytest.importorskip("torchtune")
    # Ray, too, installs a command `tune`.
    command = [
        sys.executable, "-m", "torchtune._cli.tune", "run", "ar_vision/tokenizers/training/recipes/image_tokenizer.py", "--config", "tiny", *SMALL,
        "train.eval_every=null",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "finished at step 2" in done.stdout + done.stderr


def test_two_processes_agree_with_one(tmp_path) -> None:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m",
        "ar_vision.tokenizers.training.recipes.image_tokenizer", "--config", "tiny", *SMALL, "train.eval_every=null",
        "train.steps=4", "method.usage.window=2", "method.usage.fewest=20", "train.lr=1e-5",
    ]  # fmt: skip
    shared, alone = tmp_path / "two", tmp_path / "one"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, f"train.checkpoint_dir={shared}"], capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr
    run_recipe(
        RECIPE,
        _tiny(
            "train.steps=4", "method.usage.window=2", "method.usage.fewest=20", "train.lr=1e-5",
            f"train.checkpoint_dir={alone}",
        ),
    )  # fmt: skip
    one, two = (
        [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
        for directory in (alone, shared)
    )
    assert len(one) == len(two) == 4
    assert one[-1]["values"]["revived"] > 0
    for a, b in zip(one, two):
        assert a["values"] == pytest.approx(b["values"], rel=1e-3, abs=1e-5)


def test_measures_by_hand() -> None:
    run = _tiny()
    tokenizer = build_job(RECIPE, run).models["tokenizer"].eval()
    schedule = ScaleSchedule.square(1, 2, 4)
    images = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    again, codes = reconstruct(tokenizer, images, schedule)
    with torch.no_grad():
        trained = tokenizer.train_forward(images, schedule)
    torch.testing.assert_close(again, trained.reconstruction.clamp(-1, 1), atol=1e-5, rtol=1e-5)
    ratios = [10 * math.log10(4 / float((a - b).square().mean())) for a, b in zip(again, images)]
    assert psnr(again, images).tolist() == pytest.approx(ratios, rel=1e-5)
    found = measure(tokenizer, schedule, images.split(2))
    assert found["psnr"] == pytest.approx(sum(ratios) / 5, rel=1e-5)
    assert found["codes_used"] == pytest.approx(len(torch.cat(codes, 1).unique()) / 64)


def test_contradictions(tmp_path) -> None:
    with pytest.raises(ConfigError, match="adversarial_start_step is 5 and the run ends after 2 steps"):
        build_job(RECIPE, _tiny("method.adversarial_start_step=5"))
    with pytest.raises(
        ConfigError, match="images are decoded to 16 x 16 and a discriminator of 3 layers needs 24 pixels"
    ):
        build_job(RECIPE, _tiny("method.discriminator.layers=3"))
    with pytest.raises(ConfigError, match="give a kind for fresh weights, or the folder of a checkpoint"):
        _tiny("model.checkpoint=x")
    with pytest.raises(ConfigError, match="settings are given beside a checkpoint"):
        _tiny("~model.kind", "model.checkpoint=x")
    with pytest.raises(ConfigError, match=r"model\.kind is 'var', a generator"):
        build_job(RECIPE, _tiny("model.kind=var"))
    with pytest.raises(CheckpointError, match=r"model\.kind is of the kind 'va_vqvae'.*did you mean 'var_vqvae'"):
        build_job(RECIPE, _tiny("model.kind=va_vqvae"))
    with pytest.raises(ConfigError, match=r"unknown key 'model\.settings\.vocabsize'"):
        build_job(RECIPE, _tiny("model.settings.vocabsize=3"))
    with pytest.raises(ConfigError, match=r"data\.size is 18 x 18 and .* 4 x 4 pixels: give multiples of 4"):
        build_job(RECIPE, _tiny("data.size=18"))
    for overrides in ([], ["~model.settings.num_phis", "model.kind=vq"]):
        with pytest.raises(ConfigError, match=r"method\.scales ends with 2 x 2 and the tokenizer makes 4 x 4 codes"):
            build_job(RECIPE, _tiny("method.scales=[1,2]", *overrides))
    with pytest.raises(ConfigError, match=r"evaluation\.data\.size is 32 x 32 and data\.size 16 x 16"):
        build_job(RECIPE, _tiny("evaluation.data={kind: shapes, count: 8, size: 32}"))
    with pytest.raises(ConfigError, match="the scales of a var_vqvae add up to the image"):
        build_job(RECIPE, _tiny("method.schedules=one_scale"))
    vq = ["~model.settings.num_phis", "model.kind=vq", "method.schedules=one_scale"]
    with pytest.raises(ConfigError, match=r"images are decoded to 4 x 4 and .* 6 pixels: .* leave out coarse scales"):
        build_job(RECIPE, _tiny(*vq))
    build_job(RECIPE, _tiny(*vq, "method.scales=[2,4]"))
    with pytest.raises(ConfigError, match="nothing is held out"):
        build_job(RECIPE, _tiny("data.held_out=0.0", "train.eval_every=1"))
