"""The ECM benchmark: arms that differ in what they name alone, and tiny models through training, measuring and tables."""

import dataclasses
import json

import pytest
from ar_core.errors import DataError
from ar_core.registry import recipe
from ar_core.training import read_run_config
from ar_vision.ecm.checkpoint import load_controller
from ar_vision.scales import ScaleSchedule

SCALES = (1, 2, 3, 4, 6, 8)
FRECHET, ACCURACY = "frechet[resnet20-cifar10]", "class_accuracy[resnet20-cifar10]"


@pytest.fixture
def module(benchmark_module):
    return lambda name: benchmark_module(f"ecm.{name}")


@pytest.fixture
def study(module, benchmark_module, tmp_path):
    folders = benchmark_module("images.parts").Folders(tmp_path / "runs", tmp_path / "cifar10", tmp_path / "staged")
    return module("arms").study_of(folders, 3)


@pytest.fixture
def based(study, data_dir, noise_pictures, tiny_base, encoded, tmp_path, monkeypatch):
    """A study of a tiny VAR with random weights, and pictures of noise."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    study = dataclasses.replace(study, folders=dataclasses.replace(study.folders, staged=data_dir))
    noise_pictures(study.folders.cifar10)
    tiny_base(study.folders, "var", spread=0.0, best=True, depth=3, shared_adaln=True)
    encoded(study.folders, "var_codes")
    return study


TINY = (
    "train.steps=2",
    "train.warmup_steps=1",
    "train.batch_size=4",
    "train.eval_every=2",
    "evaluation.images=2",
    "train.precision=fp32",
)


def test_arms_differ_in_what_they_name_alone(module, study):
    arms = module("arms")
    study.folders.model("var").mkdir(parents=True)
    configs = {arm: read_run_config(recipe("ecm"), "cifar10", arms.entries(study, arm)) for arm in arms.ARMS}
    assert set(arms.USUAL) <= set(configs)
    ecm = configs["ecm"]
    assert configs["no_context"].model.ecm.context is False
    assert configs["separate_ffn"].model.ecm.share_ffn is False
    assert configs["all_scales"].method.prefixes.law == "full"
    assert configs["lora"].model.lora.encoder == ecm.model.ecm.encoder == configs["full"].model.full.encoder
    for arm, config in configs.items():
        assert (config.data, config.base, config.tokenizer) == (ecm.data, ecm.base, ecm.tokenizer)
        lr = arms.LEARNING_RATES.get(arm, ecm.train.lr)
        assert dataclasses.replace(config.train, steps=ecm.train.steps) == dataclasses.replace(ecm.train, lr=lr), arm
        assert config.train.seed == 3
        assert (config.train.steps == ecm.train.steps) == (arm != "all_scales_equal_tokens")
        if arm in ("ecm", "lora", "full", "no_context", "separate_ffn"):
            assert config.method == ecm.method
    schedule = ScaleSchedule.square(*SCALES)
    tokens = {
        arm: configs[arm].train.steps
        * sum(s * n for s, n in zip(configs[arm].method.prefixes.seen(6), schedule.lengths))
        for arm in ("ecm", "all_scales_equal_tokens")
    }
    assert tokens["all_scales_equal_tokens"] == pytest.approx(tokens["ecm"], rel=1e-3)
    # Of another number of steps, too.
    shorter = arms.entries(study, "all_scales_equal_tokens", ["train.steps=400"])
    assert read_run_config(recipe("ecm"), "cifar10", shorter).train.steps == round(400 * 63.25 / 130)
    with pytest.raises(DataError, match="there is no arm 'emc': give some of ecm, lora"):
        arms.entries(study, "emc")


def test_the_trial_of_the_help_trains_the_arms_that_it_names(module, monkeypatch, tmp_path):
    """Entries behind ``--arms`` are none of its names."""
    monkeypatch.setenv("AR_DATA_DIR", str(tmp_path))
    seen = []
    monkeypatch.setattr(module("arms"), "train", lambda study, arms, more: seen.append((arms, more)) or True)
    main = module("__main__").main
    (trial,) = [line for line in module("__main__").__doc__.splitlines() if "a trial" in line]
    assert main(trial.partition("   ")[0].split()[3:]) == 0
    assert seen == [(("ecm",), ["train.steps=20", "train.warmup_steps=5"])]


def test_what_is_not_there_is_named_with_its_command(study):
    with pytest.raises(DataError, match=r"benchmarks\.images train var"):
        study.model("base")
    with pytest.raises(DataError, match=r"benchmarks\.ecm train --seed 3"):
        study.model("lora")


def test_tiny_arms_are_trained_measured_drawn_and_resumed(module, based, tmp_path, monkeypatch, capsys):
    arms, measuring = module("arms"), module("measuring")
    trained = ("ecm", "lora", "full")
    assert arms.train(based, trained, TINY)
    assert [load_controller(based.model(arm)).kind for arm in trained] == list(trained)
    results = tmp_path / "results"
    results.mkdir()
    settings = {"count": 70, "held_out": 1, "repeats": 1, "late": (1.0,)}
    rows = measuring.measure_all(based, ("ecm", "full"), results, **settings)
    assert [row["what"] for row in rows] == ["likelihood"] * 3 + ["steps"] + ["samples"] * 4
    assert not any(row["error"] for row in rows)
    with pytest.raises(DataError, match="the count is 64 and the Fréchet distance needs 65"):
        measuring.measure_all(based, ("ecm",), results, count=64)
    capsys.readouterr()
    every = measuring.measure_all(based, trained, results, **settings)
    assert every[: len(rows)] == rows
    assert [row["arm"] for row in every[len(rows) :]] == ["lora"] * 2
    assert capsys.readouterr().out.count("\n") == 2
    drawn = {row["arm"]: row["values"] for row in rows if row["what"] == "samples"}
    assert {"f1", "rmse", "ssim", FRECHET, ACCURACY} <= drawn["base"].keys() == drawn["ecm"].keys()
    assert {"f1", "rmse", "ssim"} == drawn["reconstructed"].keys()
    likelihoods = {row["arm"]: row for row in every if row["what"] == "likelihood"}
    assert likelihoods["base"]["trained_parameters"] == 0
    assert likelihoods["ecm"]["values"]["held_out_nll"] != likelihoods["base"]["values"]["held_out_nll"]
    steps = next(row for row in rows if row["what"] == "steps")
    assert steps["tokens"]["ecm"] == pytest.approx(63.25)
    found = module("plotting").tables(results)
    assert set(found) == {"ecm_cifar10", "ecm_cifar10_scales", "ecm_cifar10_steps"}
    module("plotting").plot(results)
    assert "svg" in (results / "ecm_fidelity.svg").read_text()
    monkeypatch.setattr(module("picture"), "DOCS", tmp_path / "pictures")
    assert module("picture").draw_picture(based, ("base", "ecm")).is_file()


@pytest.fixture
def written(tmp_path):
    """Results of two seeds, as measuring writes them."""
    for seed in (0, 1):
        rows = []
        for arm, better in (("base", 0.0), ("ecm", 0.2)):
            values = {"held_out_nll": 4.0 - better - seed / 10, "accuracy_1x1": 0.5, "accuracy_8x8": 0.25 + better}
            liked = {"what": "likelihood", "arm": arm, "trained_parameters": 200 if better else 0, "steps": 1500}
            rows.append({**liked, "values": values})
            for late in (1.0, 0.8):
                samples = {"f1": 0.1 + better + seed / 100, "rmse": 90.0, "ssim": 0.2, FRECHET: 20.0, ACCURACY: 0.5}
                rows.append({"what": "samples", "arm": arm, "late_temperature": late, "values": samples})
        one = {"seed": seed, "base_parameters": 1000, "rows": rows}
        (tmp_path / f"ecm_cifar10_seed{seed}.json").write_text(json.dumps(one))
    return tmp_path


def test_tables_have_means_and_deviations_of_the_seeds(module, written):
    found = module("plotting").tables(written)
    lines = found["ecm_cifar10"].splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| base, no control"] * 2 + ["| ECM"] * 2
    ecm = next(line for line in lines if line.startswith("| ECM") and "| 0.8 |" in line)
    assert "| 200 | 20.0 | 2 | 1500 | 3.7500 ± 0.0707 | 0.8 | 0.3050 ± 0.0071 | 90.0 ± 0.0 |" in ecm
    assert "45.00 ± 0.00" in found["ecm_cifar10_scales"]
    assert module("plotting").tables(written / "nothing") == {}
