"""The objective of next-scale training: predict every code of every scale from the scales before it.

Source: VAR (arXiv 2404.02905), section 3.2.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from ar_core.block_diffusion import Targets, summed_cross_entropy
from ar_core.corruption import SampleRng
from ar_core.training import Player, Prepared
from ar_kernels import confidence_from_hidden
from torch import Tensor, nn

from ...scales import ScaleSchedule
from ...tokenizers.scale_history import teacher_inputs
from ...tokenizers.tokenizer import Tokenizer
from ..class_labels import checked_labels
from ..condition_dropout import drops_condition
from .model import NO_DECAY, ScaleTransformer
from .objective_config import ScaleObjectiveConfig

__all__ = ["TERM", "ScaleObjective", "TeacherPass"]

TERM = "next_scale"
"""Name of the one loss term, in nats per code."""


@dataclass(frozen=True)
class TeacherPass:
    """What a pass under teacher forcing was made of, and what it gave.

    Attributes:
        model: that ran.
        tokenizer: whose codes they are.
        codes: ground truth, int64 [B, L].
        schedule: K scales.
        inputs: of the scales 1 to K-1, [B, Cv, h_k, w_k].
        condition: [B, C].
        hidden: [B, L, C]; of every scale, what its codes are predicted from.
    """

    model: ScaleTransformer
    tokenizer: Tokenizer
    codes: Tensor
    schedule: ScaleSchedule
    inputs: Sequence[Tensor]
    condition: Tensor
    hidden: Tensor


class ScaleObjective(ABC):
    """Cross-entropy over all L codes of all scales, each of the same weight (VAR section 3.2).

    The tokenizer is a frozen companion: its history turns codes into inputs, as it does in decoding.

    Args:
        config: hyperparameters.
        model: what is trained; only its names and sizes are read.
    """

    coefficients: Mapping[str, float] = {TERM: 1.0}

    def __init__(self, config: ScaleObjectiveConfig, model: ScaleTransformer) -> None:
        self.config = config
        self.num_classes = model.config.num_classes
        self._spared = tuple(
            end for end in NO_DECAY if any(f".{name}".endswith(f".{end}") for name, _ in model.named_parameters())
        )

    @abstractmethod
    def schedule(self, batch: Sequence[Mapping[str, Any]], rng: SampleRng) -> ScaleSchedule:
        """Return the scales on which the samples of a micro-batch are trained."""

    @abstractmethod
    def codes(self, sample: Mapping[str, Any], schedule: ScaleSchedule) -> Tensor:
        """Return a sample's codes of the schedule, int64 [L].

        Raises:
            DataError: the sample has codes of other scales.
        """

    def players(self) -> Sequence[Player]:
        """One optimiser turn over the one model."""
        return (Player(no_decay=self._spared),)

    def prepare(self, batch: list[Mapping[str, Any]], rng: SampleRng) -> Prepared:
        """Stack codes, and decide whose class is left out.

        Args:
            batch: B samples with ``index``, ``codes`` (int64, one after another) and ``label``.
            rng: decides about each sample by its index, stream "condition".

        Returns:
            tensors: ``codes`` [B, L], ``labels`` [B], int64; weights: B L, and with ``accuracy`` B L_k for each grid; meta: the
            sizes of the scales.

        Raises:
            DataError: a label is no class of the model, or codes are of other scales.
        """
        schedule = self.schedule(batch, rng)
        given = checked_labels([int(sample["label"]) for sample in batch], self.num_classes, null=False)
        dropped = [drops_condition(self.config.label_dropout, rng, sample["index"]) for sample in batch]
        labels = given.masked_fill(torch.tensor(dropped), self.num_classes)
        codes = torch.stack([self.codes(sample, schedule) for sample in batch])
        return Prepared(
            tensors={"codes": codes, "labels": labels},
            weights=self.counted(len(batch), schedule),
            meta={"sizes": schedule.sizes, "tokens": codes.numel()},
        )

    def counted(self, rows: int, schedule: ScaleSchedule) -> dict[str, float]:
        """Return the weights of so many samples on a schedule: codes in all, and with ``accuracy`` codes of each grid."""
        weights = {TERM: float(rows * schedule.total)}
        if self.config.accuracy:
            for size, length in zip(schedule.sizes, schedule.lengths):
                # Two scales of one grid share a name.
                weights[_accuracy(size)] = weights.get(_accuracy(size), 0.0) + rows * length
        return weights

    def sums(self, models: Mapping[str, nn.Module], prepared: Prepared) -> dict[str, Tensor]:
        """Run the model under teacher forcing and sum the cross-entropy.

        Args:
            models: ``model``, and ``tokenizer``, which is frozen.
            prepared: of :meth:`prepare`.

        Returns:
            ``next_scale``: scalar, float32 or better; with ``accuracy`` the number of right codes of each grid.
        """
        return self.scored(self.teacher_pass(models, prepared))

    def teacher_pass(self, models: Mapping[str, nn.Module], prepared: Prepared) -> TeacherPass:
        """Run the model over the codes of all scales, each fed with the ground truth before it.

        Args:
            models: as :meth:`sums` takes them.
            prepared: of :meth:`prepare`.
        """
        model, tokenizer = models["model"], cast(Tokenizer, models["tokenizer"])
        assert isinstance(model, ScaleTransformer)
        codes, schedule = prepared.tensors["codes"], ScaleSchedule(prepared.meta["sizes"])
        with torch.no_grad():
            inputs = teacher_inputs(tokenizer.history(len(codes), schedule), schedule.split(codes))
        condition = model.condition(prepared.tensors["labels"])
        return TeacherPass(
            model, tokenizer, codes, schedule, inputs, condition, model.teacher_forced(condition, inputs, schedule)
        )

    def scored(self, forced: TeacherPass) -> dict[str, Tensor]:
        """Return the sums of a pass, as :meth:`sums` does."""
        model, codes, schedule, hidden = forced.model, forced.codes, forced.schedule, forced.hidden
        targets = Targets(rows=torch.arange(codes.numel(), device=codes.device), labels=codes.flatten())
        with model.head.autocast(hidden):
            states, head = model.head.as_matrix(hidden, forced.condition)
            loss = summed_cross_entropy(
                states, targets, head, vocab_size=model.config.vocab_size, max_logits=self.config.max_logits
            )
            if not self.config.accuracy:
                return {TERM: loss}
            with torch.no_grad():
                chosen = confidence_from_hidden(*head.operands(states.flatten(0, 1))).token.view_as(codes)
        right = schedule.split((chosen == codes).float())
        counts = {_accuracy(size): torch.zeros_like(loss) for size in schedule.sizes}
        for size, scale in zip(schedule.sizes, right):
            counts[_accuracy(size)] += scale.sum()
        return {TERM: loss, **counts}


def _accuracy(size: tuple[int, int]) -> str:
    return f"accuracy_{size[0]}x{size[1]}"
