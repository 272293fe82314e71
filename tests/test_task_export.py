import hashlib
import json
import shutil

import pytest
from ar_core.errors import DataError
from ar_core.hf import load_causal_lm
from ar_quickstart.methods_act import METHODS
from ar_quickstart.recorded import read_recorded
from ar_quickstart.shipped import MODELS, WEIGHTS
from dlm_text.efficient_dlm.checkpoint import Conversion, save_checkpoint
from dlm_text.efficient_dlm.checkpoint import load_checkpoint as load_efficient
from dlm_text.fast_dllm_v2.checkpoint import load_checkpoint as load_fast

ENVIRONMENT = {
    "command": "python -m benchmarks.some measure --seed 0 --problems 2",
    "date": "2030-01-02T03:04:05+00:00",
    "device": {"name": "Z80", "threads": 1},
}
DATA = {"task": "mixed", "split": "held_out", "seed": 20_000, "problems": 2}
TITLE = {method.decoder: method for method in METHODS}


@pytest.fixture
def module(benchmark_module):
    return lambda name: benchmark_module(f"tasks.{name}")


def figures(name, tokens=4.0, **more):
    return {
        "name": name, "problems": 2, "accuracy": 0.5, "standard_error": 0.3,
        "tokens_per_forward": tokens, "speed": tokens / 2, **more,
    }  # fmt: skip


def conversion(change, **settings):
    def row(size, commit, threshold):
        name = f"D={size} {commit} threshold {threshold}"
        return figures(name, block_size=size, commit=commit, threshold=threshold)

    rows = [row(size, commit, t) for size in (4, 8) for commit in ("separate", "fused") for t in (0.9, 0.7)]
    return {
        "rows": [figures("AR base", 1.0), figures("AR control", 1.0), *rows], "trained_block_size": 8, "data": DATA,
        "parameters": 7, "environment": ENVIRONMENT, "weight_change": change, "settings": settings,
    }  # fmt: skip


def jacobi(passes):
    def row(model, length):
        return figures(
            f"recycling, K=2, n={length}, {model}", model=model, decoder="recycling, K=2", block_length=length, blocks=2, pool=4,
            equal_outputs=1, forwards_by_problem=passes,
        )  # fmt: skip

    rows = [figures("AR base", 1.0, model="base", decoder="AR"), row("base", 16), row("trained", 8), row("trained", 16)]
    return {"rows": rows, "data": DATA, "parameters": 7, "environment": ENVIRONMENT}


def diffuspec():
    def row(drafter, nodes):
        settings = {
            "name": "diffuspec", "drafter": f"runs/tasks/seed0/{drafter}/final", "proxy": "uniform", "length_policy": "paper",
            "tree_nodes": nodes,
        }  # fmt: skip
        found = figures(f"{drafter} {nodes}", 6.0, settings=settings, identical=1.0)
        del found["accuracy"]
        return found

    rows = [figures("ar", 1.0), row("fast_dllm_v2-2_layers", None), row("fast_dllm_v2", 32), row("fast_dllm_v2", None)]
    return {"rows": rows, "data": {"set": "x"}, "environment": ENVIRONMENT}


@pytest.fixture
def folders(tmp_path):
    """Trained models, made of those that ship."""
    found = {name: tmp_path / "runs" / name for name in MODELS}
    for name, source in {"ar": "ar", "fast_dllm_v2": "fast_dllm_v2", "jacobi_forcing": "ar"}.items():
        shutil.copytree(WEIGHTS / source, found[name])
    fast = load_fast(WEIGHTS / "fast_dllm_v2")
    told = Conversion(fast.mask_id, fast.diffusion_block_size, half_life_ratio=0.1)
    save_checkpoint(fast.model, found["efficient_dlm"], told, tokenizer=fast.tokenizer)
    return found


@pytest.fixture
def results(folders, module):
    """What was measured with them."""
    base, converted = (load_causal_lm(folders[name]) for name in ("ar", "fast_dllm_v2"))
    change = [round(value, 5) for value in module("conversion").weight_change(base.model, converted.model)]
    passes = module("exporting")._forwards(TITLE["jacobi_forcing"], DATA, base)
    return {
        "fast_dllm_v2": conversion(change),
        "efficient_dlm": conversion(change, grid="absolute"),
        "jacobi_forcing": jacobi(passes),
        "diffuspec": diffuspec(),
    }


def test_export_writes_all_models_their_cards_and_the_recorded_figures(module, folders, results, tmp_path):
    target = tmp_path / "weights"
    (target / "ar").mkdir(parents=True)
    (target / "ar" / "old").touch()
    module("exporting").export(0, folders, results, target)
    assert sorted(path.name for path in target.iterdir()) == sorted([*MODELS, "recorded.json"])
    assert not (target / "ar" / "old").exists()
    recorded = read_recorded(target / "recorded.json")
    assert recorded.weights == {
        name: hashlib.sha256((target / name / "model.safetensors").read_bytes()).hexdigest() for name in MODELS
    }
    shown = {(row.method, row.name): row for row in recorded.rows}
    assert [key for key, row in shown.items() if row.live] == [
        ("Fast-dLLM v2", "D=8 fused threshold 0.9"),
        ("Efficient-DLM", "D=8 fused threshold 0.9"),
        ("Jacobi Forcing", "recycling, K=2, n=16, trained"),
        ("DiffuSpec", "fast_dllm_v2 None"),
    ]
    assert [key for key, row in shown.items() if not row.live] == [
        ("AR", "AR base"),
        ("Fast-dLLM v2", "D=8 fused threshold 0.7"),
        ("Efficient-DLM", "D=8 fused threshold 0.7"),
        ("Jacobi Forcing", "recycling, K=2, n=8, trained"),
        ("DiffuSpec", "fast_dllm_v2 32"),
    ]
    drafted, guessed = shown["DiffuSpec", "fast_dllm_v2 None"], shown["Jacobi Forcing", "recycling, K=2, n=16, trained"]
    assert (drafted.accuracy, drafted.identical, guessed.accuracy, guessed.identical) == (None, 1.0, 0.5, 0.5)
    assert (guessed.source, guessed.date, guessed.device) == (
        "benchmarks/results/jacobi_forcing_tasks_seed0.json", "2030-01-02", "Z80, 1 thread",
    )  # fmt: skip
    card = (target / "efficient_dlm" / "README.md").read_text(encoding="utf-8")
    assert "50.0 % exact answers at 4.00 tokens per forward, 2.00 times the tokens per second" in card
    assert "`benchmarks/results/tasks_efficient_dlm_seed0.json`, 2030-01-02" in card
    # What trained each, what its results say has measured it, and what wrote all of it.
    assert card.count("  `python -m benchmarks.some measure --seed 0 --problems 2`\n") == 4
    assert "  `python -m benchmarks.tasks train --method efficient_dlm --seed 0`\n" in card
    assert "  `python -m benchmarks.tasks export --seed 0`\n" in card
    assert load_efficient(target / "efficient_dlm").conversion == load_efficient(folders["efficient_dlm"]).conversion
    assert json.loads((target / "fast_dllm_v2" / "config.json").read_text())["dtype"] == "float16"


def test_results_of_other_models_are_refused_and_nothing_is_written(module, folders, results, tmp_path):
    other = results["efficient_dlm"] | {"weight_change": [0.5] * 4}
    with pytest.raises(DataError, match="results of efficient_dlm were measured with other models"):
        module("exporting").export(0, folders, results | {"efficient_dlm": other}, tmp_path / "weights")
    with pytest.raises(DataError, match="results of jacobi_forcing were measured with other models"):
        module("exporting").export(0, folders, results | {"jacobi_forcing": jacobi([1, 1])}, tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_missing_results_are_named_unless_nothing_ships_with_them(module, folders, results, tmp_path):
    target = tmp_path / "weights"
    del results["diffuspec"]
    module("exporting").export(0, folders, results, target)
    assert {row.method for row in read_recorded(target / "recorded.json").rows} == {
        "AR", "Fast-dLLM v2", "Efficient-DLM", "Jacobi Forcing",
    }  # fmt: skip
    del results["jacobi_forcing"]
    with pytest.raises(
        DataError, match=r"jacobi_forcing_tasks_seed0.json is not there, .* measure jacobi_forcing first"
    ):
        module("exporting").export(0, folders, results, target)


def test_results_without_the_live_settings_are_refused(module):
    result = conversion([0.1] * 4, grid="prompt")
    with pytest.raises(DataError, match=r"threshold=0\.9, commit=fused, grid=absolute: measure them too"):
        module("recording").live_row(TITLE["efficient_dlm"], result)


def test_results_are_read_by_seed(module, tmp_path):
    (tmp_path / "tasks_efficient_dlm_seed1.json").write_text("{}")
    assert module("recording").read_results(tmp_path, 1) == {"efficient_dlm": {}}
    assert module("recording").read_results(tmp_path, 0) == {}
