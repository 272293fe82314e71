import hashlib
import shutil
from dataclasses import replace

import pytest
from ar_quickstart import lossless, methods_act, shipped
from ar_quickstart.methods_act import METHODS, PROBLEMS, run_methods_act
from ar_quickstart.methods_page import methods_section
from ar_quickstart.recorded import Recorded, RecordedRow, read_recorded, write_recorded

TITLES = ["Fast-dLLM v2", "Efficient-DLM", "Jacobi Forcing", "DiffuSpec"]


def recorded(method="DiffuSpec", name="k=12", *, live=True, identical=1.0):
    return RecordedRow(
        method,
        name,
        live,
        0.996,
        6.25,
        1.75,
        identical,
        500,
        "benchmarks/results/x.json",
        "2030-01-02",
        "Z80 <x>, 1 thread",
    )


def test_four_methods_solve_the_same_two_problems(weights):
    act = run_methods_act()
    assert list(act.answers) == ["AR", *TITLES]
    assert act.missing == {}
    asked = [answer.problem for answer in act.answers["AR"]]
    assert len(asked) == PROBLEMS == 2
    for title, answers in act.answers.items():
        assert [answer.problem for answer in answers] == asked
        assert all(answer.lossless == (title in ("Jacobi Forcing", "DiffuSpec")) for answer in answers)
    assert all(answer.right for title in ("AR", "DiffuSpec", "Jacobi Forcing") for answer in act.answers[title])
    assert act.total("AR").tokens_per_forward < 1
    assert act.total("DiffuSpec").tokens_per_forward > 3
    assert all(answer.drafter_forwards for answer in act.answers["DiffuSpec"])
    for scene in act.scenes:
        assert [replay.name for replay in scene.replays] == ["AR", *TITLES]
        autoregressive, *_, verified = scene.replays
        assert verified.tokens == autoregressive.tokens


def test_methods_whose_models_are_absent_are_named_and_the_others_shown(weights):
    shutil.rmtree(weights / "efficient_dlm")
    shutil.rmtree(weights / "fast_dllm_v2")
    act = run_methods_act()
    assert list(act.answers) == ["AR", "Jacobi Forcing"]
    assert act.missing == {
        "Fast-dLLM v2": ("fast_dllm_v2",),
        "Efficient-DLM": ("efficient_dlm",),
        "DiffuSpec": ("fast_dllm_v2",),
    }


def test_a_lossless_method_that_changes_tokens_is_a_defect(weights, monkeypatch):
    honest = methods_act._arm

    def dishonest(method, model, tokenizer):
        decode = honest(method, model, tokenizer)

        def changed(prompts):
            decoded = decode(prompts)
            return replace(decoded, tokens=[[decoded.tokens[0][0] + 1, *decoded.tokens[0][1:]]])

        return changed if method.title == "Jacobi Forcing" else decode

    monkeypatch.setattr(methods_act, "_arm", dishonest)
    with pytest.raises(
        lossless.NotLosslessError, match=r"^Jacobi Forcing is not lossless on the prompt 'age:89.*: step 0"
    ):
        run_methods_act()


def test_live_and_recorded_stand_apart(methods):
    rows = [recorded("AR", "AR base", live=False, identical=None), recorded(), recorded(name="k=30", live=False)]
    page = methods_section(methods, rows)
    live, _, told = page.partition("Recorded, not measured just now")
    assert "<td>40</td><td>20 + 7 of the drafter</td><td>2.00</td><td>40</td><td>yes</td>" in live
    assert '<tr class="warn"><th scope="row">Efficient-DLM</th>' in live
    assert "DiffuSpec could not be shown: this installation lacks fast_dllm_v2." in live
    assert "99.6 %" not in live
    assert "a&lt;b?" in live
    assert (
        '<th scope="row">DiffuSpec</th><td>k=12</td><td>99.6 %</td><td>6.25</td><td>1.75 ×</td><td>100 %</td><td>500</td>'
        in told
    )
    assert "k=30" not in told.partition("All recorded rows")[0]
    assert "k=30" in told
    assert "<code>benchmarks/results/x.json</code>: 2030-01-02, Z80 &lt;x&gt;, 1 thread" in told


def test_page_without_recorded_figures_says_so(methods):
    page = methods_section(methods, [])
    assert "No recorded figures come with this installation." in page
    assert "not measured just now" not in page


def test_recorded_figures_come_back_as_written(tmp_path):
    written = Recorded((recorded(), recorded("AR", "AR base", identical=None)), {"ar": "00"})
    write_recorded(written, tmp_path / "recorded.json")
    assert read_recorded(tmp_path / "recorded.json") == written
    assert read_recorded(tmp_path / "none.json") == Recorded()


def test_shipped_models_are_small_carry_their_cards_and_were_exported_together():
    told = read_recorded().weights
    # Without recorded figures, an installation has at least the two models of the first act.
    names = [name for name in shipped.MODELS if shipped.is_shipped(name)]
    assert set(names) >= (set(shipped.MODELS) if told else {"ar", "fast_dllm_v2"})
    total = 0
    for name in names:
        folder = shipped.shipped_weights(name)
        total += sum(file.stat().st_size for file in folder.iterdir())
        assert "python -m benchmarks.tasks" in (folder / "README.md").read_text(encoding="utf-8")
    assert total <= 3_000_000 * len(names)
    assert told is None or told == {
        name: hashlib.sha256((shipped.WEIGHTS / name / "model.safetensors").read_bytes()).hexdigest() for name in names
    }


def test_recorded_figures_that_ship_are_those_of_the_methods_shown():
    rows = read_recorded().rows
    assert {row.method for row in rows} <= {"AR", *(method.title for method in METHODS)}
    for method in {row.method for row in rows} - {"AR"}:
        assert sum(row.live for row in rows if row.method == method) == 1
    fewest = {"AR": 500, "Fast-dLLM v2": 500, "Efficient-DLM": 200, "Jacobi Forcing": 200, "DiffuSpec": 60}
    assert all(row.problems >= fewest[row.method] for row in rows)
