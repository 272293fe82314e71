"""Both recipes from their configs: collection, training on what was collected, decoding, and what is refused."""

import json
from itertools import islice
from pathlib import Path

import pytest
import torch
from ar_core.config import from_dict
from ar_core.decoding import StopRule, autoregressive
from ar_core.errors import ConfigError
from ar_core.hf import HFBackbone, load_causal_lm
from ar_core.registry import decoder, recipe, resolve
from ar_core.sampling import Sampler
from ar_core.training import read_run_config, recipe_main, run_recipe
from dlm_text.jacobi_forcing.decode import JacobiForcingDecodeConfig, generate
from dlm_text.jacobi_forcing.monitor import Monitor
from dlm_text.jacobi_forcing.trajectories.stage import _repetitive
from dlm_text.jacobi_forcing.trajectories.store import TrajectoryStore
from dlm_text.jacobi_forcing.trajectories.trajectory import Trajectory

COLLECT = ["data.count=12", "stage.chunk_size=4", "method.max_new_tokens=12", "model.scratch.layers=1"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def collect(directory: Path, *overrides: str):
    config = read_run_config(
        recipe("jacobi_trajectories"), "tiny", [*COLLECT, f"stage.directory={directory}", *overrides]
    )
    return run_recipe(recipe("jacobi_trajectories"), config)


def texts(directory: Path) -> list[list[list[int]]]:
    store = TrajectoryStore(str(directory))
    return [
        [store[i].prompt.tolist(), store[i].clean.flatten().tolist(), *(s.flatten().tolist() for s in store[i].states)]
        for i in range(len(store))
    ]


@pytest.fixture(scope="module")
def collected(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("collected")
    result = collect(directory)
    assert (result.made, result.counts["trajectories"]) == (3, 12)
    return directory


def test_shards_in_any_order_and_a_restart_collect_the_same(collected, tmp_path) -> None:
    for shard in ("2/2", "1/2"):
        collect(tmp_path / "shards", f"stage.shard={shard}")
    assert texts(tmp_path / "shards") == texts(collected)
    (tmp_path / "shards" / "chunk-000001.safetensors").unlink()
    result = collect(tmp_path / "shards")
    assert (result.made, result.present) == (1, 2)
    for file in sorted(collected.iterdir()):
        assert (tmp_path / "shards" / file.name).read_bytes() == file.read_bytes(), file.name


def test_rows_decoded_together_change_nothing(collected, tmp_path) -> None:
    collect(tmp_path, "method.batch_size=1")
    assert texts(tmp_path) == texts(collected)


def test_what_loops_or_does_not_fit_is_left_out_and_counted(collected, tmp_path) -> None:
    strict = collect(tmp_path / "strict", "method.min_distinct_3=1").counts
    assert strict["repetitive"] > 0
    assert strict["repetitive"] + strict["trajectories"] == 12
    short = collect(tmp_path / "short", "data.seq_len=40").counts
    assert 0 < short["too long"] < 12
    assert short["too long"] + short["trajectories"] == 12
    for prompt, text, *_ in texts(tmp_path / "short"):
        assert len(prompt) + len(text) <= 40


def test_what_stands_behind_the_end_is_no_loop_of_the_text() -> None:
    """The block that holds an end token goes on behind it, often with that token again and again."""
    ended = Trajectory(torch.tensor([1]), torch.tensor([[5, 6, 7, 8], [9, 3, 3, 3], [3, 3, 3, 3]]), ())
    assert ended.text({3}) == [5, 6, 7, 8, 9]
    assert ended.text({4}) == ended.clean.flatten().tolist()
    assert not _repetitive(ended, {3}, 0.9)
    assert _repetitive(ended, {4}, 0.9)
    assert not _repetitive(ended, {4}, None)


def test_prompts_of_a_file(tmp_path) -> None:
    lines = [{"question": f"Q{i}: 1 + {i} = "} for i in range(6)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    # A task's tokenizer is that of a saved model.
    base = read_run_config(
        recipe("autoregressive"),
        "tiny",
        ["train.steps=1", "train.warmup_steps=0", f"train.checkpoint_dir={tmp_path}/base"],
    )
    run_recipe(recipe("autoregressive"), base)
    file = f"path: {tmp_path}/prompts.jsonl, seq_len: 64"
    model = [f"model={{path: {tmp_path}/base/final}}", "stage.chunk_size=4"]
    overrides = [*model, "method.max_new_tokens=8", f"data={{kind: prompt, {file}, fields: {{prompt: question}}}}"]
    config = read_run_config(
        recipe("jacobi_trajectories"), "tiny", [*overrides, f"stage.directory={tmp_path}/a", "data.held_out=0.3"]
    )
    counts = run_recipe(recipe("jacobi_trajectories"), config).counts
    assert counts["trajectories"] + counts["held out"] == 6
    assert counts["held out"] > 0
    text = ["method.prompt_length=5", f"data={{kind: text, {file}, fields: {{text: question}}}}"]
    config = read_run_config(
        recipe("jacobi_trajectories"),
        "tiny",
        [*model, "method.max_new_tokens=8", *text, f"stage.directory={tmp_path}/b"],
    )
    run_recipe(recipe("jacobi_trajectories"), config)
    assert {len(prompt) for prompt, *_ in texts(tmp_path / "b")} == {5}


def test_training_on_what_was_collected(collected, tmp_path) -> None:
    run_recipe(
        recipe("autoregressive"),
        read_run_config(
            recipe("autoregressive"),
            "tiny",
            ["train.steps=1", "train.warmup_steps=0", f"train.checkpoint_dir={tmp_path}/base"],
        ),
    )
    overrides = [
        f"model={{path: {tmp_path}/base/final}}",
        "~data",
        f"trajectories={{path: {collected}, held_out: 0.3}}",
        "train={steps: 12, batch_size: 4, lr: 3e-3, eval_every: 12}",
        f"train.checkpoint_dir={tmp_path}/run",
    ]
    config = read_run_config(recipe("jacobi_forcing"), "tiny", overrides)
    result = run_recipe(recipe("jacobi_forcing"), config)
    assert result.losses[-1] < result.losses[0]
    assert {
        "consistency",
        "autoregressive",
        "tokens_per_forward",
        "distinct_3",
        "collapsed",
    } <= result.evaluation.keys()
    model = load_causal_lm(tmp_path / "run" / "final").model
    assert sum(p.numel() for p in model.parameters()) > 0


def test_micro_batches_and_workers_leave_the_run_as_it_is(tmp_path) -> None:
    def losses(*overrides: str) -> list[float]:
        config = read_run_config(
            recipe("jacobi_forcing"),
            "tiny",
            ["train.steps=4", "train.eval_every=null", "train.warmup_steps=1", *overrides],
        )
        return run_recipe(recipe("jacobi_forcing"), config).losses

    whole = losses()
    assert losses("train.micro_batch_size=3") == pytest.approx(whole, abs=1e-4)
    assert losses("train.num_workers=1") == whole


def test_greedy_decoding_is_autoregressive_decoding(model) -> None:
    prompts = [[5, 6, 7], [9, 8, 7, 6, 5, 4]]
    stop = StopRule(frozenset(), 20)
    backbone = HFBackbone(model)
    wanted = autoregressive(backbone, prompts, stop=stop, sampler=Sampler()).tokens
    for size, blocks, pool in ((2, 1, 0), (5, 2, 4), (16, 1, 4), (64, 2, 0)):
        config = JacobiForcingDecodeConfig(block_length=size, blocks=blocks, pool=pool)
        found = generate(backbone, prompts, config, stop=stop)
        assert found.tokens == wanted
        assert found.stats.widths.total() < 20
    with pytest.raises(ConfigError, match="block_length=0"):
        JacobiForcingDecodeConfig(block_length=0)
    record = decoder("jacobi_forcing")
    options = from_dict(resolve(record.options), {"block_length": 4})
    assert resolve(record.decode)(backbone, prompts, options, stop=stop, sampler=Sampler()).tokens == wanted


def test_the_monitor_sees_a_collapse(model, make_trajectory) -> None:
    trajectories = [make_trajectory(seed, prompt=4, blocks=4) for seed in range(3)]
    settings = {"block_size": 4, "stop_ids": frozenset({3}), "max_new_tokens": 16, "batch_size": 2}
    varied = Monitor(trajectories, **settings)
    assert varied.distinct_3_of_data > 0.9
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    found = varied(model)
    assert found["distinct_3"] == pytest.approx(1 / (3 * 14))
    assert found["collapsed"] == 1
    assert found["tokens_per_forward"] > 2, "a loop is easy to guess"
    looping = [Trajectory(t.prompt, t.clean * 0 + 9, t.states) for t in trajectories]
    assert Monitor(looping, **settings)(model)["collapsed"] == 0
    ended = Trajectory(trajectories[0].prompt, torch.tensor([[5, 6, 7, 3], [9, 9, 9, 9]]), ())
    assert Monitor([ended], **settings).distinct_3_of_data == 1, "nothing behind the end counts"


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("jacobi_forcing", ["trajectories.path=x"], "and both are given"),
        ("jacobi_forcing", ["~data"], "and neither of them is given"),
        ("jacobi_forcing", ["prompt_length=3"], "prompt_length is 3: plain text needs one"),
        ("jacobi_forcing", ["method.block_size=0"], "block_size is 0"),
        ("jacobi_forcing", ["method.max_length=8"], "max_length is 8 and a sample of one block has at least 9"),
        ("jacobi_forcing", ["method.temperature=0"], "temperature is 0"),
        ("jacobi_trajectories", ["method.prompt_length=3"], "plain text needs a prompt_length"),
        ("jacobi_trajectories", ["method.max_new_tokens=2"], "max_new_tokens is 2 and one block has 4"),
        ("jacobi_trajectories", ["method.min_distinct_3=2"], "min_distinct_3 is 2"),
        ("jacobi_trajectories", ["stage.shard=3/2"], "shard is '3/2'"),
    ],
)
def test_refusals_are_one_sentence(name: str, overrides: list[str], message: str, capsys) -> None:
    assert recipe_main(recipe(name), ["--config", "tiny", *overrides]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_ending_of_a_stage_says_what_was_made(tmp_path, capsys) -> None:
    arguments = ["--config", "tiny", *COLLECT, f"stage.directory={tmp_path}", "stage.shard=1/3"]
    assert recipe_main(recipe("jacobi_trajectories"), arguments) == 0
    assert "finished: 1 chunks made, trajectories 4" in capsys.readouterr().out
    assert list(islice(tmp_path.glob("chunk-*"), 3))
