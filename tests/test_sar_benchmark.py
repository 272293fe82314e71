"""The SAR benchmark: arms that differ in nothing but the method, and tiny models through training, measuring and tables."""

import dataclasses
import json

import pytest
from ar_core.errors import DataError
from ar_core.registry import recipe
from ar_core.training import read_run_config
from ar_vision.checkpoint import fingerprint, load_checkpoint

GRIDS = [f"{side}x{side}" for side in (1, 2, 3, 4, 5, 6, 8)]
FRECHET, ACCURACY = "frechet[resnet20-cifar10]", "class_accuracy[resnet20-cifar10]"


@pytest.fixture
def module(benchmark_module):
    return lambda name: benchmark_module(f"sar.{name}")


@pytest.fixture
def study(module, benchmark_module, tmp_path):
    folders = benchmark_module("images.parts").Folders(tmp_path / "runs", tmp_path / "cifar10", tmp_path / "staged")
    return module("arms").study_of(folders, 3)


@pytest.fixture
def based(study, data_dir, noise_pictures, tiny_base, encoded, tmp_path, monkeypatch):
    """A study of a tiny FlexVAR with random weights, and pictures of noise."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    study = dataclasses.replace(study, folders=dataclasses.replace(study.folders, staged=data_dir))
    noise_pictures(study.folders.cifar10)
    tiny_base(study.folders, "flexvar", best=True)
    encoded(study.folders, "side_codes")
    return study


TINY = ("train.steps=2", "train.batch_size=4", "train.eval_every=2", "evaluation.images=2", "train.precision=fp32")


def test_arms_differ_in_the_method_alone(module, study):
    arms = module("arms")
    study.folders.model("flexvar").mkdir(parents=True)
    configs = {arm: read_run_config(recipe("sar"), "cifar10", arms.entries(study, arm)) for arm in arms.ARMS}
    assert set(arms.USUAL) <= set(configs)
    assert configs["control"].method.sigma == 0
    assert (configs["full"].method.sigma, configs["full"].method.rollout) == (0.01, "full")
    assert configs["released"].method.rollout == "released"
    for config in configs.values():
        assert dataclasses.replace(config, method=configs["control"].method) == configs["control"]
        same = vars(config.method)
        assert {name for name, value in same.items() if value != getattr(configs["control"].method, name)} <= {
            "sigma", "rollout", "target", "share_label_dropout",
        }  # fmt: skip
        assert config.train.seed == 3
    with pytest.raises(DataError, match="there is no arm 'ful': give some of control, full"):
        arms.entries(study, "ful")


def test_the_trial_of_the_help_trains_the_arms_that_it_names(module, monkeypatch, tmp_path):
    """Entries behind ``--arms`` are none of its names."""
    monkeypatch.setenv("AR_DATA_DIR", str(tmp_path))
    seen = []
    monkeypatch.setattr(module("arms"), "train", lambda study, arms, more: seen.append((arms, more)) or True)
    main = module("__main__").main
    (trial,) = [line for line in module("__main__").__doc__.splitlines() if "a trial" in line]
    assert main(trial.partition("   ")[0].split()[3:]) == 0
    assert seen == [(("full",), ["train.steps=20"])]


def test_what_is_not_there_is_named_with_its_command(study):
    with pytest.raises(DataError, match=r"benchmarks\.images train flexvar"):
        study.model("base")
    with pytest.raises(DataError, match=r"benchmarks\.sar train --seed 3"):
        study.model("full")


def test_tiny_arms_are_trained_measured_and_resumed(module, based, tmp_path, capsys):
    arms, measuring = module("arms"), module("measuring")
    assert arms.train(based, ("control", "full_sigma_0.5"), TINY)
    for arm in ("control", "full_sigma_0.5"):
        assert load_checkpoint(based.model(arm)).provenance["recipe"] == "sar"
    results = tmp_path / "results"
    results.mkdir()
    settings = {"count": 70, "held_out": 3, "repeats": 1, "batch": 2}
    rows = measuring.measure_all(based, ("control",), results, guidance=(1.0,), **settings)
    assert [row["what"] for row in rows] == ["likelihood", "likelihood", "steps", "samples", "samples"]
    assert not any(row["error"] for row in rows)
    capsys.readouterr()
    # One more arm: what is there stays.
    every = measuring.measure_all(based, ("control", "full_sigma_0.5"), results, guidance=(1.0,), **settings)
    assert every[:5] == rows
    assert [row["arm"] for row in every[5:]] == ["full_sigma_0.5"] * 2
    assert capsys.readouterr().out.count("\n") == 2

    base, control = (row["values"] for row in rows[:2])
    assert base != control
    for values in (base, control):
        assert {f"nll_{grid}" for grid in GRIDS} <= values.keys()
        assert {
            f"{kind}_{grid}" for kind in ("self_nll", "free_nll", "exposure_bias") for grid in GRIDS[1:]
        } <= values.keys()
    steps = next(row for row in rows if row["what"] == "steps")
    assert set(steps["seconds"]) == set(steps["peak_bytes"]) == {module("steps").PLAIN, *module("steps").WAYS}
    assert (steps["batch"], steps["tokens"]) == (2, 155)
    memory = steps["peak_bytes"]
    assert memory["sigma = 0"] == memory[module("steps").PLAIN]
    assert memory["full"] > 1.3 * memory["sigma = 0"]
    assert memory["sigma = 0"] < memory["released"] < memory["full"]
    one = json.loads((results / "sar_cifar10_seed3.json").read_text())
    assert (one["seed"], one["base_seed"], one["base"]) == (
        3,
        0,
        fingerprint(load_checkpoint(based.model("base")).model),
    )
    found = module("plotting").tables(results)
    assert set(found) == {"sar_cifar10", "sar_cifar10_scales", "sar_cifar10_guidance", "sar_cifar10_steps"}
    module("plotting").plot(results)
    assert {file.name for file in results.glob("*.svg")} == {"sar_guidance.svg", "sar_exposure.svg"}


@pytest.fixture
def written(tmp_path):
    """Results of two seeds, as measuring writes them."""
    for seed, shift in ((0, 0.0), (1, 1.0)):
        rows = []
        for arm, better in (("base", 0.0), ("control", 1.0), ("full", 3.0)):
            values = {
                "next_scale": 2.0 - better / 10,
                "exposure_bias": 0.25 * (1 + shift),
                "nll_1x1": 3.0,
                "nll_2x2": 2.0,
            }
            values |= {"self_nll_2x2": 2.25, "free_nll_2x2": 2.5, "exposure_bias_2x2": 0.25 * (1 + shift)}
            rows.append({"what": "likelihood", "arm": arm, "values": values, **({"steps": 400} if better else {})})
            for scale, distance in ((1.0, 20.0), (2.0, 12.0), (4.0, 16.0)):
                # Of the second seed the control gains less.
                less = better if arm != "control" else better - shift / 2
                quality = {FRECHET: distance + shift - less, ACCURACY: 0.5}
                rows.append({"what": "samples", "arm": arm, "guidance": scale, "images": 9, "values": quality})
        seconds = {"plain FlexVAR": [1.0, 0.5], "full": [1.25 + shift, 2.0]}
        peaks = {"plain FlexVAR": 100, "full": 220}
        rows.append(
            {"what": "steps", "device": "cpu", "batch": 4, "tokens": 5, "seconds": seconds, "peak_bytes": peaks}
        )
        (tmp_path / f"sar_cifar10_seed{seed}.json").write_text(json.dumps({"seed": seed, "rows": rows}))
    return tmp_path


def cells(table):
    return [line.strip("| ").split(" | ") for line in table.splitlines()]


def test_tables_have_mean_and_spread_over_the_seeds(module, written):
    tables = {name: cells(table) for name, table in module("plotting").tables(written).items()}
    start, control, refined = tables["sar_cifar10"][2:]
    assert start[:2] == ["start", "2"]
    assert control[:5] == ["plain training (sigma = 0)", "2", "400", "1.9000 ± 0.0000", "0.3750 ± 0.1768"]
    assert refined[5:7] == ["17.50 ± 0.71", "9.50 ± 0.71"]
    # 17 - 19 and 18 - 20.5.
    assert refined[7:10] == ["-2.25 ± 0.35", "-2.25 ± 0.35", "2, 2"]
    assert start[7] == "+0.75 ± 0.35"
    assert control[7:9] == ["", ""]
    assert refined[10:] == ["50.0 ± 0.0", "50.0 ± 0.0"]
    assert [row[0] for row in tables["sar_cifar10_guidance"][2:]] == ["1", "2", "4"]
    assert tables["sar_cifar10_guidance"][3][1:] == ["12.50 ± 0.71", "11.75 ± 1.06", "9.50 ± 0.71"]
    assert tables["sar_cifar10_scales"][2][:5] == ["1x1", "3.0000", "", "", ""]
    assert tables["sar_cifar10_scales"][3][:5] == ["2x2", "2.0000", "2.2500", "2.5000", "0.3750 ± 0.1768"]
    assert tables["sar_cifar10_steps"][3] == ["cpu", "full", "4 x 5", "1.625", "3.25 ± 1.06", "2.20 ± 0.00"]


def test_nothing_measured_is_no_table(module, tmp_path):
    assert module("plotting").tables(tmp_path) == {}
