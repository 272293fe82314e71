import json
from pathlib import Path

import pytest
import torch
from ar_core.errors import CheckpointError
from ar_core.registry import recipe
from ar_core.training import read_run_config

ROOT = Path(__file__).parents[1]


@pytest.fixture
def module(benchmark_module):
    return lambda name: benchmark_module(f"language.{name}")


@pytest.mark.parametrize("method", ["fast_dllm_v2", "efficient_dlm"])
def test_conversion_and_control_have_one_budget_and_one_data_set(module, monkeypatch, method):
    monkeypatch.setenv("AR_DATA_DIR", "/data")
    setups = module("setups").SETUPS
    assert setups
    for setup in setups.values():
        conversion = read_run_config(recipe(method), setup.conversion, list(setup.overrides))
        control = read_run_config(recipe("autoregressive"), setup.control, list(setup.overrides))
        assert conversion.model == control.model
        assert conversion.data == control.data
        for name in ("steps", "batch_size", "lr", "schedule", "warmup_steps", "seed", "clip_norm"):
            assert getattr(conversion.train, name) == getattr(control.train, name), name
        # The last step is evaluated, which is what the table shows.
        assert conversion.train.steps % conversion.train.eval_every == 0


def test_likelihood_of_outputs_is_that_of_transformers(module):
    from ar_core.hf import HFBackbone
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=60, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config).double().eval()
    pairs = [([5, 6, 7], [8, 9, 10, 11]), ([1], [2, 3]), ([4, 4], [])]
    expected = []
    with torch.no_grad():
        for prompt, output in pairs[:2]:
            scores = model(torch.tensor([prompt + output])).logits[0].log_softmax(-1)
            expected += [-scores[len(prompt) - 1 + i, token].item() for i, token in enumerate(output)]
    found = module("measuring").mean_nll(HFBackbone(model), pairs)
    assert found == pytest.approx(sum(expected) / len(expected), abs=1e-10)


def row(name, **changed):
    collapse = {"distinct_3": 0.8, "longest_repeated_span": 4.0, "eos_rate": 0.5, "mean_length": 60.0}
    return {
        "name": name,
        "tokens_per_forward": 1.25,
        "speed": 0.9,
        "base_nll": 1.5,
        "collapse": collapse,
        "collapsed": False,
        **changed,
    }


def test_a_collapsed_row_says_so_beside_its_tokens_per_forward(module):
    lines = module("plotting").rows_table([{"rows": [row("AR base"), row("D=8 threshold 0.5", collapsed=True)]}])
    assert "| AR base | 1.25 | 0.90 | 1.50 | 0.800 | 4.0 | 0.50 | 60.0 |" in lines
    assert "| D=8 threshold 0.5 | 1.25 (collapsed) |" in lines


def test_lossless_rows_tell_how_many_outputs_are_their_models_own(module):
    rows = [row("AR base", equal_outputs=2), row("Jacobi", equal_outputs=1)]
    lines = module("plotting").rows_table([{"rows": rows, "data": {"prompts": ["0", "1"]}}]).splitlines()
    assert lines[0].endswith("| mean length | equal to its model's AR |")
    assert [line.split("|")[-2].strip() for line in lines[2:]] == ["2/2", "1/2"]
    assert "equal to" not in module("plotting").rows_table([{"rows": [row("AR base")]}])


def test_losses_stand_beside_those_of_base_and_control(module):
    first = {"step": 1, "masked_ce_15": 9.0, "masked_ce_50": 9.0, "causal_ce": 9.0, "causal_ce_base": 2.0}
    last = {"step": 2, "masked_ce_15": 3.0, "masked_ce_50": 4.0, "causal_ce": 2.5, "causal_ce_base": 2.0}
    results = {"evaluations": {"converted": [first, last], "control": [{"step": 2, "causal_ce": 1.75}]}}
    table = module("plotting").losses_table([results])
    assert "| masked 15 % | masked 50 % | causal, same weights | causal, base | causal, control |" in table
    assert "| 3.00 | 4.00 | 2.50 | 2.00 | 1.75 |" in table


def test_a_model_that_was_not_trained_is_named(module, tmp_path):
    with pytest.raises(CheckpointError, match=r"benchmarks\.language train stories260k"):
        module("setups").trained_models("stories260k", tmp_path)


def conversion(variant, loss, tokens):
    last = {"masked_ce_15": loss, "causal_ce": 2.5, "causal_ce_base": 2.0}
    return {
        "variant": variant,
        "evaluations": {"converted": [last], "control": [{"causal_ce": 1.75}]},
        "weight_change": [0.1, loss / 10],
        "rows": [row("AR base"), row("AR control"), row("D=4 threshold 0.9", tokens_per_forward=tokens)],
    }


def test_variants_have_a_row_each_and_share_base_and_control(module):
    results = [conversion("", 3.0, 1.5), conversion("uniform", 4.0, 1.75)]
    losses = module("plotting").losses_table(results)
    assert "| conversion | masked 15 % |" in losses
    assert "| plain | 3.00 | 2.50 | 2.00 | 1.75 | 0.100, 0.300 |" in losses
    assert "| uniform | 4.00 | 2.50 | 2.00 | 1.75 | 0.100, 0.400 |" in losses
    rows = module("plotting").rows_table(results)
    assert rows.count("| AR base |") == rows.count("| AR control |") == 1
    assert "| plain, D=4 threshold 0.9 | 1.50 |" in rows
    assert "| uniform, D=4 threshold 0.9 | 1.75 |" in rows


def test_variants_are_read_together_and_the_default_method_is_not_named(module, tmp_path):
    stems = module("results").results_stem
    assert stems("stories260k", "fast_dllm_v2") == "language_stories260k"
    assert stems("stories260k", "efficient_dlm") == "language_stories260k_efficient_dlm"
    for method, variant in (("efficient_dlm", "uniform"), ("efficient_dlm", ""), ("fast_dllm_v2", "")):
        results = {"model": "stories260k", "method": method, "variant": variant}
        (tmp_path / f"{stems('stories260k', method, variant)}.json").write_text(json.dumps(results))
    found = module("results").read_results(tmp_path)
    assert {stem: [one["variant"] for one in same] for stem, same in found.items()} == {
        "language_stories260k": [""],
        "language_stories260k_efficient_dlm": ["", "uniform"],
    }


def test_a_variant_of_a_language_model_shares_the_control(module, tmp_path, monkeypatch):
    asked = []

    def run(name, config, folder, overrides):
        asked.append((name, config, folder.name, list(overrides)))
        return folder / "final"

    monkeypatch.setattr(module("setups"), "run_to_end", run)
    changed = ("method.half_life_ratio=null", "train.steps=5")
    models = module("setups").train("stories260k", tmp_path, changed, method="efficient_dlm", variant="uniform")
    assert models.converted == tmp_path / "stories260k" / "efficient_dlm-uniform" / "final"
    assert asked == [
        ("efficient_dlm", "stories260k", "efficient_dlm-uniform", list(changed)),
        ("autoregressive", "stories260k_finetune", "control", ["train.steps=5"]),
    ]
