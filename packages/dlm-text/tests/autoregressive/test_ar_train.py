"""Jobs of the recipe: learning, evaluation, saved models that decode as they were trained."""

import math

import pytest
import torch
from ar_core.decoding import StopRule, autoregressive
from ar_core.errors import ConfigError
from ar_core.hf import HFBackbone, load_causal_lm
from ar_core.registry import configs, recipe
from ar_core.sampling import Sampler
from ar_core.training import build_job, read_run_config, run_recipe, train
from dlm_text.autoregressive import RECIPE


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _tiny(*overrides: str):
    return read_run_config(RECIPE, "tiny", ["train.warmup_steps=0", "train.eval_every=null", *overrides])


def test_is_registered() -> None:
    assert recipe("autoregressive") is RECIPE
    assert {"tiny", "task_base", "stories260k_finetune", "smollm2_135m_finetune"} <= set(configs(RECIPE))


def test_memorises_and_decodes_what_it_learned(tmp_path) -> None:
    """Four problems, seen again and again, are answered from their prompts by the saved model."""
    overrides = ["data.count=4", "data.packing=whole", "train.steps=80", "train.batch_size=4", "train.lr=1e-2"]
    run = _tiny(*overrides, "data.task=arithmetic", f"train.checkpoint_dir={tmp_path / 'run'}")
    result = run_recipe(RECIPE, run)
    assert result.losses[0] > 3
    assert result.losses[-1] < 0.05

    loaded = load_causal_lm(tmp_path / "run" / "final")
    source = build_job(RECIPE, run).source
    sample = next(source.open(0))
    ids, labels = sample["ids"].tolist(), sample["labels"].tolist()
    prompt_length = next(i for i, label in enumerate(labels) if label != -100)
    answer = []
    for label in labels[prompt_length:]:
        if label == -100:
            break
        answer.append(label)
    stop = StopRule(frozenset({loaded.tokenizer.eos_token_id}), 100, keep_stop=True)
    decoded = autoregressive(HFBackbone(loaded.model), [ids[:prompt_length]], stop=stop, sampler=Sampler())
    assert decoded.tokens == [answer]


def test_evaluation_is_the_held_out_loss() -> None:
    run = _tiny("train.steps=3", "train.eval_every=3", "evaluation.rows=5", "evaluation.batch_size=2")
    result = run_recipe(RECIPE, run)
    job = build_job(RECIPE, run)
    vocabulary = job.models["model"].config.vocab_size
    assert set(result.evaluation) == {"causal_ce"}
    assert 1 < result.evaluation["causal_ce"] < 2 * math.log(vocabulary)
    job.models["model"].eval()
    assert job.evaluate is not None
    assert job.evaluate() == job.evaluate(), "the same rows at every call"


def test_seeds_decide_weights_and_order() -> None:
    losses = [
        train(build_job(RECIPE, run), run.train).losses
        for run in (_tiny("train.steps=2", f"train.seed={seed}") for seed in (0, 0, 1))
    ]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_contradictions() -> None:
    with pytest.raises(ConfigError, match=r"data\.seq_len is 256 and the model's context only 128"):
        build_job(RECIPE, _tiny("data.seq_len=256"))
    with pytest.raises(ConfigError, match="rows is 0"):
        _tiny("evaluation.rows=0")


def test_a_fresh_model_on_files_has_no_tokenizer(tmp_path) -> None:
    run = _tiny(f"data={{kind: text, path: {tmp_path}/none.jsonl, seq_len: 64}}", "model.scratch.vocab=99")
    with pytest.raises(ConfigError, match="comes without a tokenizer, which data of kind 'text' need"):
        build_job(RECIPE, run)


@pytest.mark.data
def test_stories260k_starts_where_the_base_is(stories260k, monkeypatch) -> None:
    """Its loss on TinyStories is the published validation loss, 1.2968 per token (here: other stories, packed rows)."""
    monkeypatch.setenv("AR_DATA_DIR", str(stories260k.parent.parent))
    overrides = ["train.checkpoint_dir=null", "data.count=400", "data.held_out=0.1", "evaluation.rows=40"]
    run = read_run_config(RECIPE, "stories260k_finetune", [*overrides, "data.append_eos=false"])
    job = build_job(RECIPE, run)
    job.models["model"].eval()
    assert job.evaluate is not None
    with torch.no_grad():
        assert job.evaluate()["causal_ce"] == pytest.approx(1.30, abs=0.12)
