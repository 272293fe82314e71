"""From a run's config to a training job, and what is measured on the way."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from ar_core.block_diffusion import block_grid
from ar_core.corruption import FixedRate, SampleRng
from ar_core.data import IGNORED, Sample, StoredSource, TextDataConfig, build_source, find_task
from ar_core.errors import ConfigError
from ar_core.hf import ModelConfig, add_mask_token, build_model, find_mask_token
from ar_core.training import Job, Objective, TrainConfig
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dlm_text.autoregressive.config import AutoregressiveConfig
from dlm_text.autoregressive.objective import AutoregressiveObjective

from .checkpoint import save_checkpoint
from .config import FastDLLMv2Config
from .objective import FastDLLMv2Objective

__all__ = ["EvaluationConfig", "FastDLLMv2Run", "build", "held_out_losses"]


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured on held-out rows, every `train.eval_every` steps.

    Raises:
        ConfigError: a value is out of range.
    """

    rows: int = 64
    """Held-out rows, the first of the split; fewer if there are fewer."""

    rates: tuple[float, ...] = (0.15, 0.5, 0.85)
    """Share of the supervised tokens that is hidden; one masked cross-entropy each."""

    batch_size: int = 8
    """Rows of a forward pass; memory only."""

    def __post_init__(self) -> None:
        for name in ("rows", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be at least 1: give a positive integer")
        if not self.rates or not all(0 < rate <= 1 for rate in self.rates):
            raise ConfigError(
                f"rates is {list(self.rates)}, but each lies in (0, 1]: give some, such as 0.15, 0.5, 0.85"
            )


@dataclass(frozen=True)
class FastDLLMv2Run:
    """A whole run, section by section, as a YAML file holds it.

    Raises:
        ConfigError: the sections contradict each other.
    """

    model: ModelConfig
    """What is converted."""
    data: TextDataConfig
    """What it is trained on; `seq_len` is L."""
    method: FastDLLMv2Config = field(default_factory=FastDLLMv2Config)
    """The method."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimiser, batch and schedule."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Held-out measurements."""

    def __post_init__(self) -> None:
        self.method.check_sequence_length(self.data.seq_len)


def build(run: FastDLLMv2Run) -> Job:
    """Load the model, give it a mask token, open the data.

    Raises:
        ConfigError: there is no tokenizer, it lacks the mask token and may not be given one, or rows are longer than the
            model's context.
        ArError: as loading the model and the data does.
    """
    loaded = build_model(run.model, seed=run.train.seed, tokenizer=_task_tokenizer(run.data))
    model, tokenizer = loaded.model, loaded.tokenizer
    if tokenizer is None:
        raise ConfigError(
            f"the model {loaded.source!r} comes without a tokenizer, which data of kind {run.data.kind!r} need: add "
            "tokenizer.json to its folder"
        )
    _check_context(model, run.data.seq_len)
    mask_id = _mask_id(model, tokenizer, run.method, loaded.source)
    source_of = partial(
        build_source,
        run.data,
        tokenizer,
        seed=run.train.seed,
        pad_id=mask_id,
        block_size=run.method.diffusion_block_size,
        reference_padding=run.method.reference_padding,
    )

    def save(directory: Path) -> None:
        save_checkpoint(
            model,
            directory,
            diffusion_block_size=run.method.diffusion_block_size,
            sub_block_size=run.method.sub_block_size,
            mask_id=mask_id,
            tokenizer=tokenizer,
        )

    evaluate = None
    if run.train.eval_every is not None:
        held_out = source_of(split="held_out")
        rows = held_out.once() if isinstance(held_out, StoredSource) else held_out.open(0)
        samples = list(islice(rows, run.evaluation.rows))
        evaluate = _evaluation(run, model, samples, mask_id)
    return Job(
        objective=FastDLLMv2Objective(run.method, mask_id),
        models={"model": model},
        source=source_of(),
        save=save,
        evaluate=evaluate,
    )


def held_out_losses(
    model: nn.Module,
    samples: list[Sample],
    config: FastDLLMv2Config,
    mask_id: int,
    evaluation: EvaluationConfig,
) -> dict[str, float]:
    """Cross-entropy per token in nats: masked at fixed rates, and causal, over the same tokens.

    The tokens are the supervised ones that can be masked: not the first of a row or document, nor, with
    `block_first="clean"`, the first of a block. A rate's draw is the same at every call.

    Args:
        model: the causal LM, in eval mode.
        samples: held-out rows.
        config: the method's settings; layout and documents are as in training.
        mask_id: id of M.
        evaluation: rates and batch size.

    Returns:
        `masked_ce_15` for rate 0.15 and so on, and `causal_ce`: the same weights read one token at a time.
    """
    samples = _maskable(samples, config)
    single = replace(config, complementary=False)
    losses = {
        f"masked_ce_{100 * rate:.0f}": _mean_loss(
            FastDLLMv2Objective(single, mask_id, sampler=FixedRate(rate)), model, samples, evaluation.batch_size
        )
        for rate in evaluation.rates
    }
    return {**losses, "causal_ce": _causal_loss(model, samples, config, evaluation.batch_size)}


def _causal_loss(model: nn.Module, samples: list[Sample], config: FastDLLMv2Config, batch_size: int) -> float:
    settings = AutoregressiveConfig(config.document_mask, config.document_positions, config.max_logits)
    return _mean_loss(AutoregressiveObjective(settings), model, samples, batch_size)


@torch.no_grad()
def _mean_loss(objective: Objective, model: nn.Module, samples: list[Sample], batch_size: int) -> float:
    (term,) = objective.coefficients
    device = next(model.parameters()).device
    total, weight = 0.0, 0.0
    for start in range(0, len(samples), batch_size):
        prepared = objective.prepare(samples[start : start + batch_size], SampleRng(seed=0)).to(device)
        total += objective.sums({"model": model}, prepared)[term].item()
        weight += prepared.weights[term]
    return total / weight


def _evaluation(
    run: FastDLLMv2Run, model: PreTrainedModel, samples: list[Sample], mask_id: int
) -> Callable[[], Mapping[str, float]]:
    """The job's evaluation; the base's causal loss is taken now, before a step or a resume changes the weights."""
    model.eval()
    base = _causal_loss(model, _maskable(samples, run.method), run.method, run.evaluation.batch_size)
    model.train()

    def evaluate() -> Mapping[str, float]:
        losses = held_out_losses(model, samples, run.method, mask_id, run.evaluation)
        return {**losses, "causal_ce_base": base}

    return evaluate


def _maskable(samples: list[Sample], config: FastDLLMv2Config) -> list[Sample]:
    """The samples, supervised only where training may hide a token."""
    if config.block_first == "noised":
        return samples
    by_document = config.document_mask or config.document_positions
    kept: list[Sample] = []
    for sample in samples:
        documents = sample["document"] if by_document else None
        firsts = block_grid(len(sample["ids"]), config.diffusion_block_size, documents).firsts
        kept.append({**sample, "labels": sample["labels"].masked_fill(firsts, IGNORED)})
    return kept


def _task_tokenizer(data: TextDataConfig) -> PreTrainedTokenizerBase | None:
    return find_task(data.task).tokenizer() if data.task is not None else None


def _check_context(model: PreTrainedModel, seq_len: int) -> None:
    context = model.config.get_text_config().max_position_embeddings
    if seq_len > context:
        raise ConfigError(
            f"data.seq_len is {seq_len} and the model's context only {context}: set seq_len to {context} or less"
        )


def _mask_id(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: FastDLLMv2Config, source: str) -> int:
    mask_id = find_mask_token(tokenizer, config.mask_token)
    if mask_id is not None:
        return mask_id
    if not config.add_mask_token:
        raise ConfigError(
            f"the tokenizer of {source!r} has no mask token {config.mask_token!r}: name the one it has in "
            "method.mask_token, or set method.add_mask_token to true"
        )
    return add_mask_token(model, tokenizer, config.mask_token)
