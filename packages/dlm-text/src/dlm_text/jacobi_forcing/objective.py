"""The training objective of Jacobi Forcing (arXiv 2512.14681): progressive consistency beside the next token."""

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import torch
from ar_core.block_diffusion import Targets, summed_cross_entropy
from ar_core.corruption import SampleRng
from ar_core.errors import ConfigError
from ar_core.hf import HFBackbone
from ar_core.masks import Mask, Tokens, document, noise_aware_causal
from ar_core.training import Player, Prepared, summed_soft_cross_entropy
from torch import Tensor, nn

from .config import JacobiForcingConfig
from .noise import noised
from .packing import Packed, join, pack
from .trajectories.corrupt import answers, corrupt
from .trajectories.trajectory import Trajectory

__all__ = ["AUTOREGRESSIVE", "CONSISTENCY", "DIVERGENCE", "JacobiForcingObjective"]

CONSISTENCY, AUTOREGRESSIVE = "consistency", "autoregressive"
"""Names of the two loss terms."""
DIVERGENCE = "divergence"
"""Name of a metric: the consistency loss less the teachers' entropy, which training cannot change."""


class JacobiForcingObjective:
    """L = L_pc + lambda L_AR over packed trajectories (paper section 3).

    L_pc: every position of a noisy block from its first wrong token on learns to predict what the clean copy of the block
    predicts at the same place, a constant: tau^2 H(softmax(z_t / tau), softmax(z_s / tau)), normalised as
    `JacobiForcingConfig.pc_reduction` says; H differs from the paper's KL by the teacher's entropy. L_AR: cross-entropy of
    the next token over prompt and clean copies, per token of the whole optimiser step (published: the mean of each device's mean).

    Args:
        config: hyperparameters.
        stop_ids: end-of-sequence ids.
        pad_id: id that fills the places behind the end.
        prompt_length: tokens that are the prompt of text that is supervised throughout.

    Raises:
        ConfigError: `eos_policy: reference` cannot tell padding from an end-of-sequence token.
    """

    def __init__(self, config: JacobiForcingConfig, *, stop_ids: Set[int], pad_id: int, prompt_length: int = 1) -> None:
        if config.eos_policy == "reference" and pad_id in stop_ids:
            raise ConfigError(
                f"eos_policy is 'reference', which knows padding by its id, and the pad id {pad_id} also ends a text: give "
                "the tokenizer a pad token of its own, or set eos_policy to strict"
            )
        self.config = config
        self.stop_ids = frozenset(stop_ids)
        self.pad_id = pad_id
        self.prompt_length = prompt_length
        self.coefficients: Mapping[str, float] = {CONSISTENCY: 1.0, AUTOREGRESSIVE: config.ar_weight}

    def players(self) -> Sequence[Player]:
        """One optimiser turn over the one model."""
        return (Player(),)

    def prepare(self, batch: list[dict[str, Any]], rng: SampleRng) -> Prepared:
        """Choose the noise and pack the batch into one row.

        Args:
            batch: samples with `index` and either a collected `trajectory` or training text (`ids`, `labels`, `document`),
                whose documents become one trajectory each.
            rng: sample i draws from `rng.row(index_i, ...)`, whatever its batch.

        Returns:
            tensors: those of `join`, and `factors` float32 [M], what each pair of the consistency loss counts. weights:
            denominators of the two losses.
        """
        packed = [one for sample in batch for one in self._packed(sample, rng)]
        factors = [self._factor(one) for one in packed]
        pairs = [len(one.student) for one in packed]
        per_token = self.config.pc_reduction == "token_mean"
        consistency = float(sum(pairs) if per_token else len(packed))
        return Prepared(
            tensors={
                **join(packed, self.pad_id),
                "factors": torch.repeat_interleave(torch.tensor(factors), torch.tensor(pairs, dtype=torch.int64)),
            },
            weights={
                CONSISTENCY: consistency,
                AUTOREGRESSIVE: float(sum(len(one.rows) for one in packed)),
                DIVERGENCE: consistency,
            },
            meta={"tokens": sum(len(one.ids) for one in packed)},
        )

    def _packed(self, sample: dict[str, Any], rng: SampleRng) -> Iterator[Packed]:
        generator = rng.row(sample["index"], "noise")
        for trajectory in self.trajectories(sample, rng):
            fitting = self._fitting(trajectory)
            if fitting is None:
                continue
            end = fitting.end(self.stop_ids) if self.config.eos_policy == "strict" else None
            if end is not None:
                fitting = fitting.ended(end, self.pad_id)
            states = noised(fitting, self.config.schedule, generator).states
            yield pack(fitting, states, self.config, stop_ids=self.stop_ids, pad_id=self.pad_id)

    def trajectories(self, sample: dict[str, Any], rng: SampleRng) -> Iterator[Trajectory]:
        """The trajectories of a sample: the collected one, or one made from each document of a row of text."""
        if "trajectory" in sample:
            yield sample["trajectory"]
            return
        generator = rng.row(sample["index"], "corrupt")
        size = self.config.block_size
        found = answers(sample, block_size=size, stop_ids=self.stop_ids, prompt_length=self.prompt_length)  # type: ignore[arg-type]  # None only where rows have prompts of their own
        for prompt, text in found:
            yield corrupt(prompt, text, block_size=size, context=self.config.corrupt_context, generator=generator)

    def _fitting(self, trajectory: Trajectory) -> Trajectory | None:
        if self.config.max_length is None:
            return trajectory
        blocks = (self.config.max_length - len(trajectory.prompt)) // (2 * self.config.block_size)
        return trajectory.first(blocks) if blocks > 0 else None

    def _factor(self, packed: Packed) -> float:
        """What a pair of the consistency loss counts, so that sum / weight is the reduction asked for."""
        scale = self.config.temperature**2
        reduction = self.config.pc_reduction
        if reduction == "token_mean":
            return scale
        return scale / packed.blocks / (len(packed.student) or 1 if reduction == "token_mean_over_blocks" else 1)

    def sums(self, models: Mapping[str, nn.Module], prepared: Prepared) -> dict[str, Tensor]:
        """Run the model once and sum both losses; no [L, V] tensor is held.

        Args:
            models: `model`, a Hugging Face causal LM driven through our attention.
            prepared: of `prepare`.

        Returns:
            `consistency`, `autoregressive`, and the metric `divergence`: scalars, float32 or better.
        """
        backbone = HFBackbone(models["model"])
        tensors = prepared.tensors
        tokens = Tokens(**{name: tensors[name] for name in ("stream", "block", "position", "document")})
        mask = Mask.self_attention(noise_aware_causal(self.config.mask_window) & document(), tokens)
        hidden = backbone.hidden(tensors["ids"][None], positions=tensors["position"][None], mask=mask)
        vocab_size, max_logits = backbone.vocab_size, self.config.max_logits
        consistency, divergence = summed_soft_cross_entropy(
            hidden,
            tensors["student"],
            tensors["teacher"],
            tensors["factors"],
            backbone.loss_head,
            vocab_size=vocab_size,
            temperature=self.config.temperature,
            max_logits=max_logits,
        )
        targets = Targets(rows=tensors["rows"], labels=tensors["labels"])
        autoregressive = summed_cross_entropy(
            hidden, targets, backbone.loss_head, vocab_size=vocab_size, max_logits=max_logits
        )
        return {CONSISTENCY: consistency, AUTOREGRESSIVE: autoregressive, DIVERGENCE: divergence}
