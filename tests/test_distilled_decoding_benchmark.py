"""The benchmark of Distilled Decoding: tiny teachers through training, measuring, tables and figures, and its sums."""

import dataclasses
import json
import xml.etree.ElementTree as ElementTree

import pytest
import torch
from ar_core.config import from_dict
from ar_core.errors import DataError
from ar_core.registry import recipe
from ar_core.training import read_run_config
from ar_vision.checkpoint import load_checkpoint
from ar_vision.distilled_decoding.flow.config import FlowSolver
from ar_vision.distilled_decoding.pairs.store import PairStore

SVG = "{http://www.w3.org/2000/svg}"
FRECHET, ACCURACY, RECALL = (f"{name}[resnet20-cifar10]" for name in ("frechet", "class_accuracy", "recall"))


@pytest.fixture
def module(benchmark_module):
    return lambda name: benchmark_module(f"distilled_decoding.{name}")


@pytest.fixture
def teachers(benchmark_module, tiny_base, tmp_path, data_dir):
    """Folders of a tiny VAR and LlamaGen of 10 classes with their tokenizers, where the images' benchmark leaves its own."""
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "cifar10").mkdir()
    pictures = parquet.read_table(data_dir / "images" / "cifar10_test.parquet")
    parquet.write_table(pictures.slice(0, 70), tmp_path / "cifar10" / "test.parquet")
    parquet.write_table(pictures.slice(70, 70), tmp_path / "cifar10" / "train.parquet")
    folders = benchmark_module("images.parts").Folders(tmp_path / "images", tmp_path / "cifar10", data_dir)
    tiny_base(folders, "var", spread=0.3)
    tiny_base(folders, "llamagen", spread=0.3)
    return folders


PAIRS = [
    "method.count=12",
    "method.batch_size=6",
    "method.checked=1",
    "method.solver={kind: heun, steps: 3}",
    "stage.chunk_size=6",
]
TRAINING = ["train.steps=2", "train.batch_size=4", "train.eval_every=2", "train.log_every=1", "train.warmup_steps=0"]
TRAINING += ["train.precision=fp32", "data.held_out=0.3", "evaluation.images=4"]


@pytest.mark.parametrize("name", ["var", "llamagen"])
def test_a_tiny_teacher_from_pairs_to_tables(module, teachers, tmp_path, name, capsys):
    setup, results = module("setups").SETUPS[name], tmp_path / "results"
    setup = dataclasses.replace(
        setup, starts=(setup.two[1] - 1, 0)[: 1 if name == "llamagen" else 2], first=setup.first[:2]
    )
    results.mkdir()
    study = module("training").study_of(setup, teachers, 3)
    assert module("training").train(setup, study, PAIRS, TRAINING)
    student, control = (load_checkpoint(study.model(name)) for name in ("student", "control"))
    assert student.provenance["noise"] == "paired"
    assert control.provenance["noise"] == "fresh"
    assert student.model.config.timesteps[1] == setup.two[1]
    assert control.model.config.timesteps == (0,)
    assert control.provenance["data"]["header"] == student.provenance["data"]["header"]

    def measure(*only):
        return module("measuring").measure_seed(setup, study, results, count=70, repeats=1, batch_sizes=[2], only=only)

    assert [row["name"] for row in measure("student, 1 pass", "teacher")] == ["teacher", "student, 1 pass", "time of 2"]
    with pytest.raises(DataError, match=r"there is no way 'student'.*: give some of 'teacher', "):
        measure("student")
    rows = {row["name"]: row for row in measure()}
    ways = [*setup.students, "teacher", "teacher, by its flow from noise"]
    assert set(ways) < rows.keys()
    units = 6 if name == "var" else 64
    calls = {way: row["calls"] for way, row in rows.items() if "calls" in row}
    assert calls["teacher"] == calls["teacher, by its flow from noise"] == units
    assert (
        calls["teacher, all codes at once"]
        == calls["student, 1 pass"]
        == calls["control (c): no noise map, 1 pass"]
        == 1
    )
    assert (calls["student, 2 passes"], calls["student, 3 passes"]) == (2, 3)
    for start in setup.starts:
        assert calls[f"student and teacher from unit {start}"] == setup.two[1] - start + (1 if start == 0 else 2)
    # Guidance runs twice the rows; a student never.
    assert rows["teacher"]["rows_per_image"] == 2 * units
    assert rows["student, 1 pass"]["rows_per_image"] == 1
    for row in rows.values():
        if "values" in row:
            assert row["values"].keys() >= {FRECHET, ACCURACY, RECALL}
            assert row["distinct"]["images"] == 70
    times = rows["time of 2"]["seconds"]
    assert times.keys() == calls.keys() - {"teacher, by its flow from noise"}
    file = results / f"distilled_decoding_{name}_seed3.json"
    before = file.read_bytes()
    capsys.readouterr()
    measure()
    assert file.read_bytes() == before, "nothing was measured again"
    # By its flow the teacher draws what the pairs hold: the same solver, which is a coarse one here.
    store = PairStore(study.of("pairs"))
    method = store.header["method"]
    solver = from_dict(FlowSolver, method["solver"], "solver")
    by_flow = module("ways").generators(setup, study, method["decoding"], solver)["teacher, by its flow from noise"]()
    again = by_flow.sample(store.labels.tolist(), store.seeds.tolist()).codes
    assert torch.equal(torch.cat(again, dim=1), torch.stack([store.codes(number) for number in range(12)]))
    stored = json.loads(before)
    assert stored["pairs"]["pairs"] == 12
    assert stored["tokens"] == (130 if name == "var" else 64)
    assert stored["base_seed"] == 0
    text = module("plotting").plot(results)
    assert "| student, 2 passes | 2 | 2 |" in text
    root = ElementTree.parse(results / f"distilled_decoding_{name}.svg").getroot()
    assert root.tag == f"{SVG}svg"


def test_a_tiny_teacher_of_texts_from_pairs_to_tables(module, emoji_models, tmp_path):
    setup, results = module("setups").SETUPS["emoji"], tmp_path / "results"
    results.mkdir()
    study = module("training").study_of(setup, emoji_models, 3)
    assert module("training").train(setup, study, PAIRS, TRAINING)
    student = load_checkpoint(study.model("student"))
    assert student.model.config.condition == "text"
    assert student.model.config.timesteps == (0, 20)

    def measure():
        return module("measuring").measure_seed(setup, study, results, count=70, repeats=1, batch_sizes=[2])

    rows = {row["name"]: row for row in measure()}
    names = module("setups")
    helped = "student and teacher from unit 0"
    calls = {way: row["calls"] for way, row in rows.items() if "calls" in row}
    assert calls == {
        names.TEACHER: 64, names.FLOW: 64, names.OTHER_NOISE: 64, names.CONTROL_NAME: 1, names.STUDENT: 1,
        "student, 2 passes": 2, "student, 1 pass, codes sampled": 1, helped: 21,
    }  # fmt: skip
    values = {way: rows[way]["values"] for way in calls}
    near, far = "lpips_to_same_noise[alexnet]", "frechet_to_teacher[resnet20-cifar10]"
    # The flow of the same noise is the same image; of other noise it is another of the same law.
    assert (values[names.FLOW][near], values[names.FLOW]["equal_to_same_noise"]) == (0, 70)
    assert values[names.FLOW]["psnr_to_same_noise"] is None
    assert values[names.OTHER_NOISE]["equal_to_same_noise"] < 5
    # The teacher that makes all first codes again from the same noise is nearer to its image than with other noise.
    assert 0 < values[helped][near] < values[names.OTHER_NOISE][near]
    assert all(one[far] >= 0 for one in values.values())
    stored = json.loads((results / "distilled_decoding_emoji_seed3.json").read_text())
    assert 30 < stored["texts"] <= 40
    assert {"held_out_nll_0", "held_out_nll_20"} <= stored["training"]["student"]["evaluations"][-1][
        "evaluation"
    ].keys()
    before = (results / "distilled_decoding_emoji_seed3.json").read_bytes()
    measure()
    assert (results / "distilled_decoding_emoji_seed3.json").read_bytes() == before
    text = module("plotting").plot(results)
    assert "| student, 2 passes | 1 | 2 |" in text
    assert "70 of 70" in text
    assert "distilled_decoding_gap" not in text
    assert not list(results.glob("*.svg"))


def test_training_without_a_teacher_says_what_makes_one(module, benchmark_module, tmp_path):
    folders = benchmark_module("images.parts").Folders(tmp_path, tmp_path, tmp_path, seed=2)
    setup = module("setups").SETUPS["var"]
    with pytest.raises(DataError, match=r"python -m benchmarks\.images train var --seed 2"):
        module("training").train(setup, module("training").study_of(setup, folders, 0))


@pytest.mark.parametrize("name", ["var", "llamagen", "emoji"])
def test_ways_of_sampling_are_those_of_the_recipes(module, name):
    setup = module("setups").SETUPS[name]
    method = read_run_config(recipe("distilled_decoding"), setup.config, []).method
    assert method.timesteps == (setup.three or setup.two)
    assert set(setup.two) <= set(method.timesteps)
    control = read_run_config(recipe("distilled_decoding"), setup.config, list(module("setups").CONTROL)).method
    assert control.noise == "fresh"
    assert control.timesteps == (0,)
    assert control.coefficients.keys() == {"code", "guess"}


def result(
    model="var", seed=0, *, teacher=10.0, at_once=40.0, control=30.0, student=15.0, accuracy=(0.5, 0.1, 0.2, 0.4)
):
    """Results of a seed with the four ways that are compared, and times of one batch."""
    names = ("teacher", "teacher, all codes at once", "control (c): no noise map, 1 pass", "student, 1 pass")
    rows = []
    for name, frechet, share, calls in zip(
        names, (teacher, at_once, control, student), accuracy, (6, 1, 1, 1), strict=True
    ):
        values = {FRECHET: frechet, ACCURACY: share, RECALL: 0.25}
        distinct = {"images": 20, "distinct": 19, "fewest": 9, "a_label": 10}
        rows.append({"name": name, "values": values, "calls": calls, "rows_per_image": 2.0, "distinct": distinct})
    rows.append({"name": "time of 16", "batch": 16, "seconds": {names[0]: [4.0, 3.0], names[3]: [0.75, 1.0]}})
    evaluation = {"held_out_accuracy_0": 0.25, "held_out_nll_0": 3.5}
    training = {"steps": 100, "minutes": 1.0, "evaluations": [{"step": 100, "evaluation": evaluation}]}
    return {
        "model": model,
        "seed": seed,
        "tokens": 130,
        "pairs": {"pairs": 10, "evaluations": 52000, "checked": 40, "agreeing": 39},
        "parameters": {"student": 1000, "control": 1000},
        "training": {"student": training, "control": training},
        "rows": rows,
    }


def test_share_of_the_gap(module):
    found = module("comparison").compared(result())
    assert (found.closed, found.closed_at_once) == (0.75, pytest.approx(25 / 30))
    assert module("comparison").compared(result(), ACCURACY).closed == pytest.approx(2 / 3)
    assert module("comparison").compared(result(student=31.0)).closed == pytest.approx(-0.05)
    assert module("comparison").slower(result(), "student, 1 pass", 16) == 4.0
    assert module("comparison").slower(result(), "student, 1 pass", 1) is None


def test_tables(module):
    lines = module("plotting").gap_table([result(), result(seed=1, student=20.0)]).splitlines()
    assert lines[2] == "| VAR | 0 | 10.00 | 40.00 | 30.00 | 15.00 | 75 % | 83 % | 50.0 % | 20.0 % | 40.0 % | 67 % |"
    assert lines[4].startswith("| VAR | mean | 10.00 | 40.00 | 30.00 | 17.50 | 62 % |")
    lines = module("plotting").ways_table([result(), result(seed=1, student=20.0)]).splitlines()
    assert "| student, 1 pass | 1 | 2 | 17.50 | 15.00 | 20.00 | 40.0 % | 0.250 | 9 of 10 | 4.00 |" in lines
    lines = module("plotting").training_table([result()]).splitlines()
    assert lines[2] == "| VAR | 0 | 10 | 39 of 40 | 40.0 | 1,000 | 100 | 25.0 % | 25.0 % | 3.500 | 3.500 |"


def test_results_are_found_by_model_and_seed(module, tmp_path):
    assert module("plotting").tables(tmp_path) == {}
    with pytest.raises(DataError, match="measure a seed first"):
        module("plotting").plot(tmp_path)
    for one in (result(seed=1), result(seed=0), result("llamagen")):
        (tmp_path / f"distilled_decoding_{one['model']}_seed{one['seed']}.json").write_text(json.dumps(one))
    unfinished = {**result(seed=2), "rows": result()["rows"][:1]}
    (tmp_path / "distilled_decoding_var_seed2.json").write_text(json.dumps(unfinished))
    assert [one["seed"] for one in module("plotting").read(tmp_path)["var"]] == [0, 1]
    names = {
        "distilled_decoding_var",
        "distilled_decoding_llamagen",
        "distilled_decoding_gap",
        "distilled_decoding_training",
    }
    assert module("plotting").tables(tmp_path).keys() == names


def test_distinct_images_are_counted_label_by_label(module):
    class Images:
        def stream(self, start):
            # Equal images of different labels are different samples.
            return iter(torch.tensor([1, 1, 1, 2, 3], dtype=torch.uint8)[:, None])

    assert module("measuring").distinct(Images(), [0, 1, 0, 1, 0]) == {
        "images": 5,
        "distinct": 4,
        "fewest": 2,
        "a_label": 3,
    }
