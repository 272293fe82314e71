"""The training job: shipped configs, the recipe, drivers, held-out measurements, refusals."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from ar_core.config import from_dict, load_yaml, to_dict
from ar_core.corruption import FixedRate, SampleRng
from ar_core.data import TextDataConfig, build_source
from ar_core.decoding import StopRule
from ar_core.errors import ConfigError, DataError
from ar_core.hf import HFBackbone, LlamaScratch, LoraConfig, ModelConfig, build_model
from ar_core.registry import configs
from ar_core.training import TrainConfig, mean_loss, read_run_config, recipe_main, train
from ar_core.training.lightning_task import fit
from dlm_text.fast_dllm_v2 import RECIPE
from dlm_text.fast_dllm_v2.checkpoint import load_checkpoint
from dlm_text.fast_dllm_v2.config import FastDLLMv2Config
from dlm_text.fast_dllm_v2.decode import FastDLLMv2DecodeConfig, generate
from dlm_text.fast_dllm_v2.objective import FastDLLMv2Objective
from dlm_text.fast_dllm_v2.train import EvaluationConfig, FastDLLMv2Run, build, held_out_losses

SCRATCH = LlamaScratch(hidden=32, layers=2, heads=2, kv_heads=1, intermediate=48, context=128, init_std=0.18)


def small_run(tmp_path: Path, **train_settings) -> FastDLLMv2Run:
    settings = {"steps": 3, "batch_size": 4, "lr": 3e-3, "log_every": 1, **train_settings}
    return FastDLLMv2Run(
        model=ModelConfig(scratch=SCRATCH),
        data=TextDataConfig(kind="task", task="mixed", count=60, seq_len=64, cache_dir=str(tmp_path / "rows")),
        method=FastDLLMv2Config(diffusion_block_size=8, sub_block_size=4, block_first="clean", mask_token="<mask>"),
        train=TrainConfig(**settings),
        evaluation=EvaluationConfig(rows=6, batch_size=4),
    )


@pytest.mark.parametrize("name", configs(RECIPE))
def test_shipped_configs_are_valid_and_train(tmp_path: Path, name: str) -> None:
    """Each config parses strictly, survives a round trip, and its method and optimiser do two steps on a tiny model."""
    run = read_run_config(RECIPE, name)
    assert from_dict(FastDLLMv2Run, to_dict(run)) == run
    size = run.method.diffusion_block_size
    small = small_run(tmp_path)
    run = dataclasses.replace(
        run,
        model=dataclasses.replace(small.model, gradient_checkpointing=run.model.gradient_checkpointing),
        data=dataclasses.replace(small.data, seq_len=max(64, size), packing=run.data.packing),
        method=dataclasses.replace(run.method, add_mask_token=True),
        train=dataclasses.replace(
            run.train, steps=2, batch_size=2, micro_batch_size=1, warmup_steps=1, checkpoint_dir=None, num_workers=0,
            eval_every=None, device="cpu",
        ),
    )  # fmt: skip
    assert all(map(math.isfinite, train(build(run), run.train).losses))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("qwen2_5_1_5b", (2e-5, 6000, 256, 2048, 500, 32, 8)),
        ("qwen2_5_7b", (1e-5, 2500, 256, 2048, 500, 32, 8)),
    ],
)
def test_published_settings(name: str, expected: tuple) -> None:
    run = read_run_config(RECIPE, name)
    train_, method = run.train, run.method
    assert expected == (
        train_.lr,
        train_.steps,
        train_.batch_size,
        run.data.seq_len,
        train_.warmup_steps,
        method.diffusion_block_size,
        method.sub_block_size,
    )
    assert (train_.schedule, train_.precision, method.complementary) == ("constant", "bf16", True)


def test_every_number_from_the_paper_says_where_it_stands() -> None:
    for name in ("qwen2_5_1_5b", "qwen2_5_7b"):
        text = configs(RECIPE)[name].read_text()
        for key in ("steps", "batch_size", "lr", "warmup_steps", "seq_len", "diffusion_block_size", "sub_block_size"):
            (line,) = [line for line in text.splitlines() if line.strip().startswith(f"{key}:")]
            assert "published (section 4" in line, line
        for key in ("weight_decay", "betas", "clip_norm", "seed"):
            (line,) = [line for line in text.splitlines() if line.strip().startswith(f"{key}:")]
            assert "NOT published" in line, line
        assert load_yaml(configs(RECIPE)[name])["model"]["path"].startswith("Qwen/Qwen2.5")


def test_the_recipe_trains_saves_and_its_model_decodes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    code = recipe_main(
        RECIPE,
        [
            "--config", "tiny", "train.steps=4", "train.warmup_steps=1", "train.eval_every=2", "train.batch_size=2", "evaluation.rows=2",
            "data.count=40", f"data.cache_dir={tmp_path}/rows", f"train.checkpoint_dir={tmp_path}/run",
        ],
    )  # fmt: skip
    assert code == 0, capsys.readouterr().err
    loaded = load_checkpoint(tmp_path / "run" / "final")
    assert (loaded.diffusion_block_size, loaded.sub_block_size) == (8, 4)
    assert loaded.tokenizer.convert_ids_to_tokens(loaded.mask_id) == "<mask>"
    options = FastDLLMv2DecodeConfig(
        mask_id=loaded.mask_id,
        diffusion_block_size=loaded.diffusion_block_size,
        sub_block_size=loaded.sub_block_size,
        threshold=0.5,
    )
    prompt = loaded.tokenizer.encode("1+2?\n", add_special_tokens=False)
    decoded = generate(HFBackbone(loaded.model), [prompt], options, stop=StopRule(frozenset({2}), 20))
    assert 0 < len(decoded.tokens[0]) <= 20
    assert loaded.mask_id not in decoded.tokens[0]


def test_lightning_and_the_loop_give_the_same_losses(tmp_path: Path) -> None:
    """20 steps of the same config under both drivers, micro-batches included, to 1e-6."""
    run = small_run(tmp_path, steps=20, micro_batch_size=2, device="cpu")
    loop = train(build(run), run.train).losses
    lightning = fit(build(run), run.train).losses
    assert len(loop) == 20
    assert loop[-1] < loop[0]
    torch.testing.assert_close(torch.tensor(lightning), torch.tensor(loop), rtol=0, atol=1e-6)


def test_micro_batches_change_nothing(tmp_path: Path) -> None:
    losses = [
        train(build(run), run.train).losses
        for run in (small_run(tmp_path, micro_batch_size=size) for size in (None, 2, 1))
    ]
    torch.testing.assert_close(torch.tensor(losses[1:]), torch.tensor(losses[:1] * 2), rtol=0, atol=1e-5)


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    """With adapters and an added mask token: what is not saved is built again the same."""
    run = small_run(tmp_path, steps=4, checkpoint_dir=str(tmp_path / "a"), checkpoint_every_steps=2)
    run = dataclasses.replace(
        run,
        model=ModelConfig(scratch=SCRATCH, lora=LoraConfig(rank=2, alpha=4)),
        method=dataclasses.replace(run.method, mask_token="|<MASK>|"),
    )
    whole = train(build(run), run.train)
    half = dataclasses.replace(run.train, checkpoint_dir=str(tmp_path / "b"))
    train(build(run), dataclasses.replace(half, steps=2))
    rest = train(build(run), half, resume="must")
    assert rest.resumed_from == 2
    assert rest.losses == whole.losses[2:]
    first, second = (load_checkpoint(tmp_path / name / "final").model.state_dict() for name in "ab")
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_held_out_losses(llama, make_sample, mask_id: int) -> None:
    """The causal loss is the model's own; masked losses are reproducible and over the tokens that can be masked."""
    samples = [make_sample(i, 21, prompt=3) for i in range(5)]
    config = FastDLLMv2Config(diffusion_block_size=4, sub_block_size=2)
    evaluation = EvaluationConfig(rates=(0.15, 1.0), batch_size=2)
    losses = held_out_losses(llama, samples, config, mask_id, evaluation)
    assert losses.keys() == {"masked_ce_15", "masked_ce_100", "causal_ce"}
    assert losses == held_out_losses(llama, samples, config, mask_id, dataclasses.replace(evaluation, batch_size=2))
    ids = torch.stack([sample["ids"] for sample in samples])
    logits = llama(ids).logits[:, 2:-1]
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 3:].flatten())
    assert losses["causal_ce"] == pytest.approx(expected.item(), abs=1e-6)


def test_held_out_losses_leave_out_what_is_never_masked(llama, make_sample, mask_id: int) -> None:
    """With block_first="clean", every token of D = 1 begins a block, so nothing is left to measure."""
    config = FastDLLMv2Config(diffusion_block_size=1, sub_block_size=1, block_first="clean")
    losses = held_out_losses(llama, [make_sample(0, 9)], config, mask_id, EvaluationConfig(rates=(0.5,)))
    assert all(map(math.isnan, losses.values()))


def test_evaluation_knows_the_base(tmp_path: Path) -> None:
    run = small_run(tmp_path, eval_every=3)
    records: list = []
    result = train(build(run), run.train, report=records.append)
    assert result.evaluation.keys() == {
        "masked_ce_15",
        "masked_ce_50",
        "masked_ce_85",
        "causal_ce",
        "causal_ce_base",
    }
    untrained = build(run).evaluate()
    assert result.evaluation["causal_ce_base"] == untrained["causal_ce_base"] == untrained["causal_ce"]
    assert result.evaluation["masked_ce_85"] < untrained["masked_ce_85"]


def test_sections_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    with pytest.raises(ConfigError, match="diffusion_block_size 8 does not divide seq_len 60: set seq_len to 56 or 64"):
        dataclasses.replace(run, data=dataclasses.replace(run.data, seq_len=60))
    with pytest.raises(ConfigError, match=r"data.seq_len is 256 and the model's context only 128: set seq_len to 128"):
        build(dataclasses.replace(run, data=dataclasses.replace(run.data, seq_len=256)))


def test_a_tokenizer_without_the_mask_token_is_refused(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    run = dataclasses.replace(run, method=FastDLLMv2Config(add_mask_token=False))
    with pytest.raises(
        ConfigError, match=r"tokenizer has no mask token '\|<MASK>\|': name the one it has in method.mask"
    ):
        build(run)


def test_a_model_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    data = TextDataConfig(kind="text", path="unread.jsonl", seq_len=64)
    scratch = dataclasses.replace(SCRATCH, vocab=50)
    with pytest.raises(ConfigError, match="'scratch' comes without a tokenizer, which data of kind 'text' need: add"):
        build(dataclasses.replace(run, model=ModelConfig(scratch=scratch), data=data))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rows": 0}, "rows is 0, but must be at least 1"),
        ({"rates": (0.5, 1.2)}, r"rates is \[0.5, 1.2\], but each lies in \(0, 1\]"),
    ],
)
def test_bad_evaluation_settings_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EvaluationConfig(**values)


@pytest.mark.parametrize("reference", [False, True])
def test_rows_are_made_as_the_run_says(tmp_path: Path, reference: bool) -> None:
    run = small_run(tmp_path, seed=3)
    run = dataclasses.replace(run, method=dataclasses.replace(run.method, reference_padding=reference))
    job = build(run)
    facts = job.source.describe()
    asked = {
        "pad_id": job.objective.mask_id,
        "block_size": 8,
        "reference_padding": reference,
        "seed": 3,
        "split": "train",
    }
    assert {key: facts[key] for key in asked} == asked


def test_evaluation_reads_the_held_out_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = []

    def spy(*arguments, split="train", **options):
        splits.append(split)
        return build_source(*arguments, split=split, **options)

    monkeypatch.setattr("dlm_text.fast_dllm_v2.train.build_source", spy)
    build(small_run(tmp_path, eval_every=1))
    assert splits == ["held_out", "train"]


def test_held_out_rates_are_of_one_view(llama, make_sample, mask_id: int) -> None:
    samples = [make_sample(i, 21, prompt=3) for i in range(4)]
    config = FastDLLMv2Config(diffusion_block_size=4, sub_block_size=2)
    losses = held_out_losses(llama, samples, config, mask_id, EvaluationConfig(rates=(0.15,)))
    single = FastDLLMv2Objective(dataclasses.replace(config, complementary=False), mask_id, sampler=FixedRate(0.15))
    assert losses["masked_ce_15"] == pytest.approx(mean_loss(single, {"model": llama}, samples)["masked"], abs=1e-9)


@pytest.mark.parametrize("block_first", ["noised", "clean"])
@pytest.mark.parametrize("apart", [(True, True), (True, False), (False, True), (False, False)])
def test_masked_and_causal_losses_are_over_the_same_tokens(
    make_sample, mask_id: int, monkeypatch: pytest.MonkeyPatch, apart: tuple[bool, bool], block_first
) -> None:
    counts = []

    def counted(objective, models, samples, **options):
        counts.append(sum(objective.prepare([sample], SampleRng(0)).weights.popitem()[1] for sample in samples))
        return dict.fromkeys(objective.coefficients, 0.0)

    monkeypatch.setattr("dlm_text.held_out.mean_loss", counted)
    monkeypatch.setattr("dlm_text.autoregressive.train.mean_loss", counted)
    config = FastDLLMv2Config(
        diffusion_block_size=4, sub_block_size=2, document_mask=apart[0], document_positions=apart[1],
        block_first=block_first,
    )  # fmt: skip
    evaluation = EvaluationConfig(rates=(1.0,))
    held_out_losses(torch.nn.Linear(1, 1), [make_sample(0, 6, 9, prompt=0)], config, mask_id, evaluation)
    masked, causal = counts
    assert masked == causal > 0


def test_gradient_checkpointing_is_switched_on() -> None:
    scratch = dataclasses.replace(SCRATCH, vocab=9)
    assert build_model(ModelConfig(scratch=scratch, gradient_checkpointing=True)).model.is_gradient_checkpointing
    assert not build_model(ModelConfig(scratch=scratch)).model.is_gradient_checkpointing


def test_the_seed_decides_fresh_weights(tmp_path: Path) -> None:
    first, again, other = (build(small_run(tmp_path, seed=seed)).models["model"].lm_head.weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_converted_checkpoint_keeps_its_block_size(tmp_path: Path) -> None:
    run = small_run(tmp_path, steps=1, checkpoint_dir=str(tmp_path / "run"))
    train(build(run), run.train)
    model = ModelConfig(path=str(tmp_path / "run" / "final"))
    build(dataclasses.replace(run, model=model))
    with pytest.raises(
        ConfigError, match=r"converted with blocks of 8 .* method\.diffusion_block_size is 4: set it to 8"
    ):
        build(dataclasses.replace(run, model=model, method=dataclasses.replace(run.method, diffusion_block_size=4)))


def test_a_vocabulary_smaller_than_the_tokenizer_is_refused(tmp_path: Path) -> None:
    scratch = dataclasses.replace(SCRATCH, vocab=10)
    with pytest.raises(ConfigError, match=r"ids up to \d+ and the model embeds only 10: give a model with at least"):
        build(dataclasses.replace(small_run(tmp_path), model=ModelConfig(scratch=scratch)))


def test_memory_settings_do_not_make_another_run(tmp_path: Path) -> None:
    options = ["--config", "tiny", "train.batch_size=2", "train.warmup_steps=0", "data.count=40", "train.steps=2"]
    options += [f"train.checkpoint_dir={tmp_path}", "train.eval_every=null", f"data.cache_dir={tmp_path / 'rows'}"]
    changed = ["method.max_logits=500", "model.gradient_checkpointing=true", "method.views=stacked"]
    assert recipe_main(RECIPE, options) == 0
    assert recipe_main(RECIPE, [*options, *changed, "--resume", "must"]) == 0
    assert recipe_main(RECIPE, [*options, "method.block_first=noised"]) == 2


def test_a_text_that_says_the_mask_token_is_named_by_its_line(tmp_path: Path, stories260k: Path) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text('{"text": "Once upon a time."}\n{"text": "She saw a <mask> in the park."}\n')
    run = dataclasses.replace(
        small_run(tmp_path),
        model=ModelConfig(path=str(stories260k)),
        data=TextDataConfig(kind="text", path=str(file), seq_len=64, cache_dir=str(tmp_path / "rows")),
    )
    with pytest.raises(
        DataError, match=r"texts.jsonl.*2: the text to learn has the token '<mask>', which must never be"
    ):
        build(run)
