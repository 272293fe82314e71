"""From a run's config to a training job, and what is measured on the way."""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from ar_core.block_diffusion import block_grid
from ar_core.corruption import MaskSampler
from ar_core.data import IGNORED, Sample, TextDataConfig, build_source
from ar_core.errors import ConfigError
from ar_core.hf import ModelConfig
from ar_core.training import Job, TrainConfig
from torch import nn

from dlm_text.autoregressive.config import AutoregressiveConfig
from dlm_text.autoregressive.train import causal_loss
from dlm_text.held_out import EvaluationConfig, beside_base, held_out_samples, masked_losses
from dlm_text.mask_token import mask_token_id
from dlm_text.sequence_length import check_sequence_length
from dlm_text.text_model import build_text_model

from .checkpoint import save_checkpoint
from .config import FastDLLMv2Config
from .objective import TERM, FastDLLMv2Objective

__all__ = ["EvaluationConfig", "FastDLLMv2Run", "build", "held_out_losses"]


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
    """How it is converted."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimiser, batch and schedule."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Held-out measurements."""

    def __post_init__(self) -> None:
        check_sequence_length(self.data.seq_len, self.method.diffusion_block_size)


def build(run: FastDLLMv2Run) -> Job:
    """Load the model, give it a mask token, open the data.

    Raises:
        ConfigError: there is no tokenizer, it lacks the mask token and may not be given one, rows are longer than the
            model's context, or the checkpoint was converted with another block size.
        ArError: as loading the model and the data does.
    """
    model, tokenizer = build_text_model(run.model, run.data, seed=run.train.seed)
    size = run.method.diffusion_block_size
    trained = getattr(model.config, "bd_size", size)
    if trained != size:
        raise ConfigError(
            f"the checkpoint was converted with blocks of {trained} (bd_size in its config.json) and "
            f"method.diffusion_block_size is {size}: set it to {trained}, or start from the base model"
        )
    mask_id = mask_token_id(model, tokenizer, run.method.mask_token, add=run.method.add_mask_token)
    source_of = partial(
        build_source,
        run.data,
        tokenizer,
        seed=run.train.seed,
        pad_id=mask_id,
        block_size=size,
        reference_padding=run.method.reference_padding,
        never_supervised=mask_id,
    )

    def save(directory: Path) -> None:
        save_checkpoint(
            model,
            directory,
            diffusion_block_size=size,
            sub_block_size=run.method.sub_block_size,
            mask_id=mask_id,
            tokenizer=tokenizer,
        )

    evaluate = None
    if run.train.eval_every is not None:
        samples = held_out_samples(source_of(split="held_out"), run.evaluation.rows)
        evaluate = beside_base(
            model,
            run.train.device,
            lambda: _causal_loss(model, _maskable(samples, run.method), run.method, run.evaluation.batch_size),
            lambda: held_out_losses(model, samples, run.method, mask_id, run.evaluation),
        )
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

    The tokens are the supervised ones that can be masked: not the first of a row or, where documents are kept apart or
    restart positions, of a document, nor, with `block_first="clean"`, the first of a block. A rate's draw is the same at every call.

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

    def objective(sampler: MaskSampler) -> FastDLLMv2Objective:
        return FastDLLMv2Objective(single, mask_id, sampler=sampler)

    losses = masked_losses(objective, TERM, model, samples, evaluation)
    return {**losses, "causal_ce": _causal_loss(model, samples, config, evaluation.batch_size)}


def _causal_loss(model: nn.Module, samples: list[Sample], config: FastDLLMv2Config, batch_size: int) -> float:
    """Next-token loss over rows as they are trained on."""
    settings = AutoregressiveConfig(config.document_mask, config.document_positions, config.max_logits)
    return causal_loss(model, samples, settings, batch_size=batch_size)


def _maskable(samples: list[Sample], config: FastDLLMv2Config) -> list[Sample]:
    """The samples, supervised only where training may hide a token."""
    by_document = config.document_mask or config.document_positions
    kept: list[Sample] = []
    for sample in samples:
        documents = sample["document"] if by_document else torch.zeros_like(sample["document"])
        grid = block_grid(len(sample["ids"]), config.diffusion_block_size, documents)
        never = documents.diff(prepend=documents[:1] - 1) != 0
        if config.block_first == "clean":
            never = never | grid.firsts
        kept.append({**sample, "labels": sample["labels"].masked_fill(never, IGNORED)})
    return kept
