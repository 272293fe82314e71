"""The NSARM benchmark: what arms differ in, and a tiny run through training, measuring and tables."""

import json

import pytest
import torch
from ar_core.errors import DataError
from ar_core.registry import recipe
from ar_core.training import read_run_config
from ar_vision.checkpoint import load_checkpoint
from ar_vision.evaluation.image_set import SplitConfig, open_images
from ar_vision.nsarm.degradation.config import SWEEP


@pytest.fixture
def module(benchmark_module):
    return lambda name: benchmark_module(f"nsarm.{name}")


@pytest.fixture
def study(module, data_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return module("arms").Study(tmp_path / "runs", data_dir, 3)


TINY = ("train.steps=2", "train.batch_size=2", "train.warmup_steps=0", "train.eval_every=2", "evaluation.images=2")
MAP = (
    "model.map={channels: 24, grid: 16, enlarged: 4, sizes: [1, 2, 3], widths: [8, 8, 8], layers: [1, 1, 1], heads: [2, 2, 2], "
    "stem: [8, 8], norm: channels, layout: spatial}"
)


def test_arms_go_on_from_one_stage_one_and_differ_in_what_they_say(module, study):
    arms = module("arms")
    with pytest.raises(
        DataError, match="there is no arm 'jiont': give some of map, joint, map_longer, map_seven, joint_seven"
    ):
        arms.entries(study, "jiont")
    with pytest.raises(DataError, match=r"benchmarks\.nsarm train --seed 3"):
        arms.entries(study, "joint")
    for arm in ("map", "map_seven"):
        (study.of(arm) / "final").mkdir(parents=True)
    runs = {arm: read_run_config(recipe("nsarm"), arms.ARMS[arm].config, arms.entries(study, arm)) for arm in arms.ARMS}
    assert runs["map"].method.stage == runs["map_longer"].method.stage == "map"
    assert runs["joint"].method.stage == "joint"
    assert runs["joint"].train.steps == runs["map_longer"].train.steps
    assert runs["joint"].data == runs["map_longer"].data == runs["map"].data
    assert {run.train.seed for run in runs.values()} == {3}
    assert (runs["map"].model.map.count, runs["map_seven"].model.map.count) == (5, 7)
    assert "map_seven" in arms.entries(study, "joint_seven")[0]
    # Photographs that are held out of the training of the Infinity stay held out.
    generator = read_run_config(recipe("infinity"), "photographs128", [f"data.path={runs['map'].data.path}"])
    ours, theirs = (list(open_images(SplitConfig(one.data, "held_out")).stream(0)) for one in (runs["map"], generator))
    assert ours
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_a_tiny_run_is_trained_measured_and_shown(module, study, tmp_path, capsys):
    arms, measuring, plotting = module("arms"), module("measuring"), module("plotting")
    assert arms.train(study, ("map",), (*TINY, MAP))
    assert arms.train(study, ("joint",), TINY)
    assert load_checkpoint(study.model("joint")).provenance["stage"] == "joint"
    results = tmp_path / "results"
    results.mkdir()
    settings = {"count": 1, "degradations": ("bicubic", "light"), "large": (40, 36), "overlaps": (None,)}
    rows = measuring.measure_all(study, results, **settings)
    assert [row["what"] for row in rows] == ["training", "training", "ceiling", "sweep", "sweep", "large"]
    capsys.readouterr()
    assert measuring.measure_all(study, results, **settings) == rows
    assert capsys.readouterr().out == ""

    sweep = rows[3]["values"]
    assert sweep.keys() == {"bicubic", "tokenizer", "map", "map_greedy", "joint", "joint_greedy", "joint_raw"}
    ceiling = rows[2]["values"]["ceiling"]
    # Models of two steps are far behind what bounds them.
    for name in ("map", "joint"):
        assert sweep[name]["lpips[alexnet]"][0] > ceiling["lpips[alexnet]"][0]
    large = rows[5]
    assert (large["photograph"], large["size"], large["tiles"]) == (0, [40, 36], 4)
    assert large["overlap"] == 24
    assert 100 < large["peak_mebibytes"] < 8192

    found = plotting.tables(results)
    by_degradation = {"nsarm_degradations_lpips", "nsarm_degradations_psnr"}
    assert found.keys() == {"nsarm_training", "nsarm_photographs", "nsarm_large"} | by_degradation
    assert "tokenizer, from the original" in found["nsarm_photographs"]
    assert all(found[name].startswith("| method | bicubic | light |") for name in by_degradation)
    plotting.plot(results)
    assert (results / "nsarm_degradations.svg").read_text().startswith("<svg")
    assert plotting.tables(tmp_path) == {}


def test_tables_are_means_and_spreads_over_the_seeds(module, tmp_path):
    plotting = module("plotting")
    for seed, best in enumerate((0.2, 0.4)):
        rows = []
        for name, more in (("blur", 0.0), ("noise", 0.2)):
            values = {
                "bicubic": {"psnr": [20.0, 22.0], "ssim": [0.5, 0.5], "lpips[alexnet]": [0.5, 0.7]},
                "joint": {"psnr": [19.0, 19.0], "ssim": [0.4, 0.4], "lpips[alexnet]": [best + more, best + more]},
            }
            if seed == 0:
                values["joint_seven"] = values["bicubic"]
            # An arm that was trained when a part was measured already.
            if name == "noise":
                values["map_seven"] = values["bicubic"]
            rows.append({"name": name, "what": "sweep", "degradation": name, "values": values})
        ceiling = {"ceiling": {"psnr": [24.0, 26.0], "ssim": [0.8, 0.8], "lpips[alexnet]": [0.1, 0.3]}}
        rows.append({"name": "ceiling", "what": "ceiling", "values": ceiling})
        (tmp_path / f"nsarm_photographs_seed{seed}.json").write_text(json.dumps({"seed": seed, "rows": rows}))
    seeds = plotting.read(tmp_path)
    table = plotting.methods_table(seeds)
    assert "| bicubic | 21.00 | 0.5000 | 0.6000 | 0.02000 | 0.00000 |" in table
    assert "| seven scales of M: both stages | 21.00 | 0.5000 | 0.6000 |" in table
    assert "seven scales of M: stage 1" not in table
    # Degradations have 0.2 and 0.4 in one seed, 0.4 and 0.6 in the other: a variance of 0.02 in both.
    joint = next(line for line in table.splitlines() if line.startswith("| both stages |"))
    assert joint.startswith("| both stages | 19.00 | 0.4000 | 0.4000 ± 0.1414 | 0.00000 | 0.02000")
    assert "| tokenizer, from the original | 25.00 | 0.8000 | 0.2000 | 0.02000 |  |" in table
    by_degradation = plotting.degradations_table(seeds, plotting.LPIPS, 3).splitlines()
    assert by_degradation[0] == "| method | blur | noise |"
    assert "| both stages | 0.300 ± 0.141 | 0.500 ± 0.141 |" in by_degradation
    assert "| tokenizer, from the original | 0.200 | 0.200 |" in by_degradation


def test_longer_training_is_told_as_a_sum(module):
    plotting = module("plotting")
    rows = [
        {"what": "training", "arm": arm, "steps": steps, "minutes": 1.0, "evaluations": []}
        for arm, steps in (("map", 400), ("joint", 600))
    ]
    table = plotting.training_table([{"rows": rows}])
    assert "| stage 1 alone | 1 | 400 | 1.0 |" in table
    assert "| both stages | 1 | 400 + 600 | 1.0 |" in table


def test_the_sweep_has_at_least_six_settings():
    assert len(SWEEP) >= 6


def test_the_ceiling_of_one_tile_is_the_tokenizers_reconstruction(module, study):
    methods = module("methods")
    image = torch.randint(256, (3, 128, 128), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    whole = methods.ceiling(study.tokenizer, image)
    wide = methods.ceiling(study.tokenizer, torch.cat([image, image], dim=2))
    assert whole.shape == image.shape
    # The first columns are in the first tile alone.
    assert torch.equal(wide[:, :, :64], whole[:, :, :64])
