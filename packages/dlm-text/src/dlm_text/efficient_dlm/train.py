"""From a run's config to a training job, and what is measured on the way."""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from ar_core.corruption import MaskSampler
from ar_core.data import IGNORED, Sample, TextDataConfig, build_source
from ar_core.hf import ModelConfig, untie_embeddings
from ar_core.training import Job, TrainConfig
from torch import nn

from dlm_text.autoregressive.config import AutoregressiveConfig
from dlm_text.autoregressive.train import causal_loss
from dlm_text.held_out import EvaluationConfig, beside_base, held_out_samples, masked_losses
from dlm_text.mask_token import mask_token_id
from dlm_text.sequence_length import check_sequence_length
from dlm_text.text_model import build_text_model

from .checkpoint import Conversion, save_checkpoint
from .config import EfficientDLMConfig
from .objective import MASKED, EfficientDLMObjective

__all__ = ["EfficientDLMRun", "EvaluationConfig", "build", "held_out_losses"]


@dataclass(frozen=True)
class EfficientDLMRun:
    """A whole run, section by section, as a YAML file holds it.

    Raises:
        ConfigError: the sections contradict each other.
    """

    model: ModelConfig
    """What is converted."""
    data: TextDataConfig
    """What it is trained on; `seq_len` is L."""
    method: EfficientDLMConfig = field(default_factory=EfficientDLMConfig)
    """How it is converted."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Optimiser, batch and schedule."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """Held-out measurements."""

    def __post_init__(self) -> None:
        check_sequence_length(self.data.seq_len, self.method.diffusion_block_size)


def build(run: EfficientDLMRun) -> Job:
    """Load the model, give it a mask token and a head of its own, open the data.

    The last block of every document is filled up with unsupervised mask tokens: what stands behind an end of text when a
    block is decoded.

    Raises:
        ConfigError: there is no tokenizer, it lacks the mask token and may not be given one, or rows are longer than the
            model's context.
        ArError: as loading the model and the data does.
    """
    model, tokenizer = build_text_model(run.model, run.data, seed=run.train.seed)
    mask_id = mask_token_id(model, tokenizer, run.method.mask_token, add=run.method.add_mask_token)
    if run.method.untie_embeddings:
        untie_embeddings(model)
    source_of = partial(
        build_source,
        run.data,
        tokenizer,
        seed=run.train.seed,
        pad_id=mask_id,
        block_size=run.method.diffusion_block_size,
        never_supervised=mask_id,
    )

    def save(directory: Path) -> None:
        save_checkpoint(model, directory, Conversion.of_config(run.method, mask_id), tokenizer=tokenizer)

    evaluate = None
    if run.train.eval_every is not None:
        samples = held_out_samples(source_of(split="held_out"), run.evaluation.rows)
        evaluate = beside_base(
            model,
            run.train.device,
            lambda: _causal_loss(model, _with_predecessor(samples, run.method), run.method, run.evaluation.batch_size),
            lambda: held_out_losses(model, samples, run.method, mask_id, run.evaluation),
        )
    return Job(
        objective=EfficientDLMObjective(run.method, mask_id),
        models={"model": model},
        source=source_of(),
        save=save,
        evaluate=evaluate,
    )


def held_out_losses(
    model: nn.Module,
    samples: list[Sample],
    config: EfficientDLMConfig,
    mask_id: int,
    evaluation: EvaluationConfig,
) -> dict[str, float]:
    """Cross-entropy per token in nats: masked at fixed rates under the run's attention pattern, and causal.

    Both are taken over the supervised tokens that have a predecessor. Masked tokens are not divided by a level, and are
    hidden uniformly over positions, so that runs with different masking can be compared.

    Args:
        model: the causal LM, in eval mode.
        samples: held-out rows.
        config: the method's settings; layout and documents are as in training.
        mask_id: id of M.
        evaluation: rates and batch size.

    Returns:
        `masked_ce_15` for rate 0.15 and so on (not for the pattern `autoregressive`), and `causal_ce`: the same weights
        read one token at a time.
    """
    samples = _with_predecessor(samples, config)
    losses: dict[str, float] = {}
    if config.attention_pattern != "autoregressive":
        plain = replace(config, normalisation="masked", diffusion_weight=1.0, ar_weight=0.0)

        def objective(sampler: MaskSampler) -> EfficientDLMObjective:
            return EfficientDLMObjective(plain, mask_id, sampler=sampler)

        losses = masked_losses(objective, MASKED, model, samples, evaluation)
    return {**losses, "causal_ce": _causal_loss(model, samples, config, evaluation.batch_size)}


def _causal_loss(model: nn.Module, samples: list[Sample], config: EfficientDLMConfig, batch_size: int) -> float:
    """Next-token loss over rows as they are trained on."""
    settings = AutoregressiveConfig(config.document_mask, config.document_mask, config.max_logits)
    return causal_loss(model, samples, settings, batch_size=batch_size)


def _with_predecessor(samples: list[Sample], config: EfficientDLMConfig) -> list[Sample]:
    """The samples, not supervised on the first token of a row or, where they are kept apart, of a document."""
    kept: list[Sample] = []
    for sample in samples:
        documents = sample["document"] if config.document_mask else torch.zeros_like(sample["document"])
        first = documents.diff(prepend=documents[:1] - 1) != 0
        kept.append({**sample, "labels": sample["labels"].masked_fill(first, IGNORED)})
    return kept
