"""The training job: shipped configs, the recipe, drivers, held-out measurements, refusals."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from ar_core.block_diffusion import loss
from ar_core.config import from_dict, load_yaml, to_dict
from ar_core.data import TextDataConfig, build_source, find_task
from ar_core.decoding import StopRule, uncached_pass
from ar_core.errors import ConfigError
from ar_core.hf import HFBackbone, LlamaScratch, LoraConfig, ModelConfig, build_model
from ar_core.registry import configs, decoder, recipe
from ar_core.training import TrainConfig, read_run_config, recipe_main, train
from ar_core.training.lightning_task import fit
from dlm_text.efficient_dlm import DECODER, RECIPE
from dlm_text.efficient_dlm.checkpoint import Conversion, load_checkpoint
from dlm_text.efficient_dlm.config import EfficientDLMConfig
from dlm_text.efficient_dlm.decode import EfficientDLMDecodeConfig, generate
from dlm_text.efficient_dlm.train import EfficientDLMRun, EvaluationConfig, build, held_out_losses
from transformers import AutoModelForCausalLM

SCRATCH = LlamaScratch(hidden=32, layers=2, heads=2, kv_heads=1, intermediate=48, context=128, init_std=0.18)
HYBRID = {"clean": "token", "ar_weight": 1.0, "diffusion_weight": 0.3}


def small_run(tmp_path: Path, method: dict | None = None, **train_settings) -> EfficientDLMRun:
    settings = {"steps": 3, "batch_size": 4, "lr": 3e-3, "log_every": 1, **train_settings}
    return EfficientDLMRun(
        model=ModelConfig(scratch=SCRATCH),
        data=TextDataConfig(kind="task", task="mixed", count=60, seq_len=64, cache_dir=str(tmp_path / "rows")),
        method=EfficientDLMConfig(**{"diffusion_block_size": 8, "mask_token": "<mask>", **(method or {})}),
        train=TrainConfig(**settings),
        evaluation=EvaluationConfig(rows=6, batch_size=4),
    )


def test_it_is_registered() -> None:
    assert recipe("efficient_dlm") == RECIPE
    assert decoder("efficient_dlm") == DECODER


@pytest.mark.parametrize("name", configs(RECIPE))
def test_shipped_configs_are_valid_and_train(tmp_path: Path, name: str) -> None:
    """Each config parses strictly, survives a round trip, and its method and optimiser do two steps on a tiny model."""
    run = read_run_config(RECIPE, name)
    assert from_dict(EfficientDLMRun, to_dict(run)) == run
    size = run.method.diffusion_block_size
    small = small_run(tmp_path)
    run = dataclasses.replace(
        run,
        model=small.model,
        data=dataclasses.replace(small.data, seq_len=max(64, size), packing=run.data.packing),
        method=dataclasses.replace(run.method, add_mask_token=True),
        train=dataclasses.replace(
            run.train, steps=2, batch_size=2, micro_batch_size=1, warmup_steps=1, checkpoint_dir=None, num_workers=0,
            eval_every=None, device="cpu",
        ),
    )  # fmt: skip
    assert all(map(math.isfinite, train(build(run), run.train).losses))


@pytest.mark.parametrize(
    ("name", "base", "block", "tokens"),
    [
        ("qwen2_5_1_5b", "Qwen/Qwen2.5-1.5B", 16, 300e9),
        ("qwen3_4b", "Qwen/Qwen3-4B-Base", 64, 300e9),
        ("qwen3_8b", "Qwen/Qwen3-8B-Base", 64, 500e9),
    ],
)
def test_published_settings(name: str, base: str, block: int, tokens: float) -> None:
    run = read_run_config(RECIPE, name)
    method, settings = run.method, run.train
    assert run.model.path == base
    assert (method.diffusion_block_size, method.half_life_ratio, method.token_shift) == (block, 0.1, False)
    assert (method.attention_pattern, method.clean, method.normalisation) == ("block_clean", "block", "masked")
    assert (settings.lr, settings.schedule) == (1e-5, "cosine")
    assert settings.lr * settings.final_lr_fraction == pytest.approx(3e-6)
    assert settings.steps * settings.batch_size * run.data.seq_len == pytest.approx(tokens, rel=1e-4)


def test_every_number_says_where_it_stands() -> None:
    for name in ("qwen2_5_1_5b", "qwen3_4b", "qwen3_8b"):
        text = configs(RECIPE)[name].read_text()
        for key in ("steps", "lr", "diffusion_block_size", "half_life_ratio", "min_noise", "schedule", "normalisation"):
            (line,) = [line for line in text.splitlines() if line.strip().startswith(f"{key}:")]
            assert "# published" in line.replace("# L', ", "# ").replace("# lambda, ", "# ").replace("# eps, ", "# "), (
                line
            )
        for key in ("seq_len", "batch_size", "warmup_steps", "weight_decay", "betas", "clip_norm", "seed"):
            (line,) = [line for line in text.splitlines() if line.strip().startswith(f"{key}:")]
            assert "NOT published" in line, line
        assert load_yaml(configs(RECIPE)[name])["data"]["kind"] == "text"


def test_the_recipe_trains_saves_and_its_model_decodes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A hybrid from the command line: saved plain, so that transformers loads it, and decoded in all three modes."""
    code = recipe_main(
        RECIPE,
        [
            "--config", "tiny", "train.steps=4", "train.warmup_steps=1", "train.eval_every=2", "train.batch_size=2", "evaluation.rows=2",
            "data.count=40", f"data.cache_dir={tmp_path}/rows", f"train.checkpoint_dir={tmp_path}/run",
            "method.clean=token", "method.ar_weight=1",
        ],
    )  # fmt: skip
    assert code == 0, capsys.readouterr().err
    loaded = load_checkpoint(tmp_path / "run" / "final")
    assert loaded.conversion == Conversion(loaded.conversion.mask_id, 8, "block_clean", "token", False, 0.1)
    assert loaded.tokenizer.convert_ids_to_tokens(loaded.conversion.mask_id) == "<mask>"
    backbone = HFBackbone(loaded.model)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "final").eval()
    ids = list(range(12))
    with torch.no_grad():
        ours = backbone.head(uncached_pass(backbone, ids))
        torch.testing.assert_close(plain(torch.tensor([ids])).logits[0], ours, rtol=0, atol=1e-5)
    options = EfficientDLMDecodeConfig.of_checkpoint(loaded.model.config, loaded.tokenizer)
    prompt = loaded.tokenizer.encode("1+2?\n", add_special_tokens=False)
    outputs = {}
    for mode in ("diffusion", "autoregressive", "self_speculation"):
        config = EfficientDLMDecodeConfig(**options, mode=mode, **({"threshold": 0.5} if mode == "diffusion" else {}))
        outputs[mode] = generate(backbone, [prompt], config, stop=StopRule(frozenset({2}), 20)).tokens[0]
        assert 0 < len(outputs[mode]) <= 20
        assert options["mask_id"] not in outputs[mode]
    assert outputs["self_speculation"] == outputs["autoregressive"]


@pytest.mark.parametrize("method", [{}, HYBRID], ids=["diffusion", "hybrid"])
def test_lightning_and_the_loop_give_the_same_losses(tmp_path: Path, method: dict) -> None:
    """6 steps of the same config under both drivers, micro-batches included, to 1e-6."""
    run = small_run(tmp_path, method, steps=6, micro_batch_size=2, device="cpu")
    loop = train(build(run), run.train).losses
    lightning = fit(build(run), run.train).losses
    torch.testing.assert_close(torch.tensor(lightning), torch.tensor(loop), rtol=0, atol=1e-6)


def test_training_lowers_the_masked_loss(tmp_path: Path) -> None:
    """The weighted loss itself is too noisy to fall in a few steps; the held-out one at fixed rates falls."""
    run = small_run(tmp_path, steps=15, batch_size=4, lr=1e-2, device="cpu", eval_every=15)
    job = build(run)
    before = job.evaluate()
    train(job, run.train)
    after = job.evaluate()
    assert before.keys() == {"masked_ce_15", "masked_ce_50", "masked_ce_85", "causal_ce", "causal_ce_base"}
    for name in ("masked_ce_15", "masked_ce_50", "masked_ce_85"):
        assert after[name] < before[name] - 0.2
    assert after["causal_ce_base"] == before["causal_ce"]


@pytest.mark.parametrize("method", [{}, HYBRID], ids=["diffusion", "hybrid"])
def test_micro_batches_change_nothing(tmp_path: Path, method: dict) -> None:
    losses = [
        train(build(run), run.train).losses
        for run in (small_run(tmp_path, method, micro_batch_size=size) for size in (None, 2, 1))
    ]
    torch.testing.assert_close(torch.tensor(losses[1:]), torch.tensor(losses[:1] * 2), rtol=0, atol=1e-5)


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    """Oracle 17: noise of step k is identical after a restart; with a head of its own and an added mask token."""
    run = small_run(
        tmp_path, {"mask_token": "<|fim_pad|>"}, steps=4, checkpoint_dir=str(tmp_path / "a"), checkpoint_every_steps=2
    )
    whole = train(build(run), run.train)
    half = dataclasses.replace(run.train, checkpoint_dir=str(tmp_path / "b"))
    train(build(run), dataclasses.replace(half, steps=2))
    rest = train(build(run), half, resume="must")
    assert rest.resumed_from == 2
    assert rest.losses == whole.losses[2:]
    first, second = (load_checkpoint(tmp_path / name / "final").model for name in "ab")
    assert first.lm_head.weight is not first.model.embed_tokens.weight
    assert not torch.equal(first.lm_head.weight, first.model.embed_tokens.weight)
    assert all(torch.equal(second.state_dict()[key], value) for key, value in first.state_dict().items())


def test_adapters_are_trained(tmp_path: Path) -> None:
    run = small_run(tmp_path, {"untie_embeddings": False}, checkpoint_dir=str(tmp_path / "a"))
    run = dataclasses.replace(run, model=ModelConfig(scratch=SCRATCH, lora=LoraConfig(rank=2, alpha=4)))
    assert all(map(math.isfinite, train(build(run), run.train).losses))
    assert load_checkpoint(tmp_path / "a" / "final").conversion.diffusion_block_size == 8


@pytest.mark.parametrize(
    "method",
    [{"attention_pattern": "block_noisy"}, {"attention_pattern": "bidirectional"}, HYBRID, {"token_shift": True}],
    ids=str,
)
def test_held_out_losses_cover_the_same_tokens_in_every_pattern(tmp_path: Path, method: dict) -> None:
    """At rate 1 every supervised token with a predecessor counts once, whatever the pattern."""
    loaded = build_model(ModelConfig(scratch=dataclasses.replace(SCRATCH, vocab=100)), seed=0)
    run = small_run(tmp_path)
    tokenizer = find_task("mixed").tokenizer()
    source = build_source(run.data, tokenizer, seed=0, pad_id=99, block_size=8)
    samples = [next(source.open(0))]
    seen = []
    original = loss.selected_cross_entropy
    config = EfficientDLMConfig(**{"diffusion_block_size": 8, "mask_token": "<mask>", **method})

    def spy(hidden, weight, rows, labels, *rest, **options):
        seen.append(len(labels))
        return original(hidden, weight, rows, labels, *rest, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loss, "selected_cross_entropy", spy)
        losses = held_out_losses(loaded.model.eval(), samples, config, 99, EvaluationConfig(rates=(1.0,)))
    assert set(losses) == {"masked_ce_100", "causal_ce"}
    assert seen[0] == seen[1] > 0


def test_autoregressive_runs_have_no_masked_loss(tmp_path: Path) -> None:
    method = {"attention_pattern": "autoregressive", "ar_weight": 1.0, "diffusion_weight": 0.0}
    run = small_run(tmp_path, method, eval_every=3, steps=3)
    job = build(run)
    train(job, run.train)
    assert job.evaluate().keys() == {"causal_ce", "causal_ce_base"}


def test_tokenizers_without_the_mask_token_are_refused_if_asked(tmp_path: Path) -> None:
    run = small_run(tmp_path, {"mask_token": "<|fim_pad|>", "add_mask_token": False})
    with pytest.raises(ConfigError, match=r"tokenizer has no mask token '<\|fim_pad\|>': name the one it has"):
        build(run)


def test_rows_that_blocks_do_not_divide_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="diffusion_block_size 48 does not divide seq_len 64: set seq_len to 48 or 96"
    ):
        small_run(tmp_path, {"diffusion_block_size": 48})
