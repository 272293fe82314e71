"""The objective of SAR: FlexVAR's own, and a second pass that learns under the model's own inputs."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import torch
from ar_core.block_diffusion import Targets, summed_cross_entropy
from ar_core.corruption import SampleRng
from ar_core.training import Prepared, summed_soft_cross_entropy
from torch import Tensor, nn

from ..backbones.condition_dropout import drops_condition
from ..backbones.flexvar.model import FlexVar
from ..backbones.flexvar.objective import FlexVarObjective
from ..backbones.scale_transformer.objective import TERM, TeacherPass
from ..scales import ScaleSchedule
from .config import SarConfig
from .rollout import null_hidden, roll_out, rollout_guidance
from .stagger import predicted, student_hidden, student_inputs, transitions
from .uniforms import rollout_uniforms

__all__ = ["DIVERGENCE", "STUDENT", "SarObjective"]

STUDENT = "student_forcing"
"""Name of the second loss term, in nats per code of the second pass."""
DIVERGENCE = "divergence"
"""Name of the metric of soft targets, in the same unit."""


class SarObjective(FlexVarObjective):
    """L = L_TF + sigma L_SF (SAR, arXiv 2512.06421, as its code has it).

    L_TF is FlexVAR's loss. From its pass the codes of all scales are rolled out in parallel, without a gradient; a second pass is
    fed with them and learns to predict the first one's choice. No gradient leads through the rollout: there are two forwards with a
    graph, and with guidance one without, of the null class.

    With ``sigma`` 0 there is one term, one pass and nothing else: plain FlexVAR training.

    Rolled-out codes are drawn from numbers that belong to the sample (stream "rollout"); schedule and transition belong to the step.

    Args:
        config: hyperparameters.
        model: what is trained.
        stored: the sides 1 to S whose codes samples carry.
        step_samples: samples of an optimiser step, by which a sample's number tells its step.
    """

    def __init__(self, config: SarConfig, model: FlexVar, stored: ScaleSchedule, step_samples: int) -> None:
        super().__init__(config, model, stored, step_samples)
        self.refinement, self._per_step = config, step_samples
        if config.sigma:
            self.coefficients = {TERM: 1.0, STUDENT: config.sigma}

    def prepare(self, batch: list[Mapping[str, Any]], rng: SampleRng) -> Prepared:
        """Prepare as FlexVAR does, and decide what the second pass is fed with and who loses its class there.

        Returns:
            FlexVAR's; with ``sigma`` also tensors ``uniforms``, float64 [B, L], and ``student_labels``, int64 [B]; the weight
            ``student_forcing``, places of the second pass, 0 for a schedule of one scale; meta ``fed``, the scales whose codes
            are fed to the next.
        """
        prepared = super().prepare(batch, rng)
        if not self.refinement.sigma:
            return prepared
        schedule = ScaleSchedule(prepared.meta["sizes"])
        step = batch[0]["index"] // self._per_step
        drawn = Random(rng.key(step, "transition")).randrange(max(schedule.count - 1, 1))
        fed = transitions(self.refinement.rollout, schedule.count, drawn)
        prepared.meta["fed"] = fed
        places = float(len(batch) * sum(schedule.lengths[j + 1] for j in fed))
        prepared.weights |= {STUDENT: places, **({DIVERGENCE: places} if self.refinement.target == "soft" else {})}
        prepared.tensors["uniforms"] = rollout_uniforms(batch, rng, schedule)
        prepared.tensors["student_labels"] = self._student_labels(batch, rng, prepared.tensors["labels"])
        return prepared

    def sums(self, models: Mapping[str, nn.Module], prepared: Prepared) -> dict[str, Tensor]:
        """Run both passes.

        Args:
            models: ``model``, and ``tokenizer``, which is frozen.
            prepared: of :meth:`prepare`.

        Returns:
            ``next_scale`` as FlexVAR's training gives it, and with ``sigma`` ``student_forcing``: scalars, float32 or better;
            with soft targets also ``divergence``, the latter less the entropy of its targets, without a gradient.
        """
        forced = self.teacher_pass(models, prepared)
        found = self.scored(forced)
        if not self.refinement.sigma:
            return found
        fed = prepared.meta["fed"]
        if not fed:
            return {**found, STUDENT: torch.zeros_like(found[TERM])}
        rolled = self._rolled(forced, fed, prepared.tensors["uniforms"])
        inputs = student_inputs(forced.tokenizer, rolled, fed, forced.schedule)
        condition = forced.model.condition(prepared.tensors["student_labels"])
        hidden = student_hidden(forced.model, condition, inputs, fed, forced.schedule, self.refinement.rollout)
        return {**found, **self._student_sums(forced, hidden, condition, rolled, fed)}

    def _student_labels(self, batch: Sequence[Mapping[str, Any]], rng: SampleRng, shared: Tensor) -> Tensor:
        if self.refinement.share_label_dropout:
            return shared
        given = torch.stack([torch.as_tensor(sample["label"]).long() for sample in batch])
        rate = self.config.label_dropout
        dropped = [drops_condition(rate, rng, sample["index"], "student_condition") for sample in batch]
        return given.masked_fill(torch.tensor(dropped), self.num_classes)

    def _rolled(self, forced: TeacherPass, fed: range, uniforms: Tensor) -> list[Tensor]:
        """Codes of the scales that are fed and, where they are targets, of the one behind."""
        config = self.refinement
        last = fed.stop + 1 if config.target == "teacher" else fed.stop
        return roll_out(
            forced,
            range(fed.start, last),
            config.sampler,
            uniforms,
            null=None if config.rollout_guidance == 1 else null_hidden(forced),
            guidance=rollout_guidance(config.rollout_guidance, forced.schedule),
            max_logits=config.max_logits,
        )

    def _student_sums(
        self, forced: TeacherPass, hidden: Tensor, condition: Tensor, rolled: Sequence[Tensor], fed: range
    ) -> dict[str, Tensor]:
        config, places = self.refinement, predicted(fed, forced.schedule)
        head_of, vocab_size = forced.model.head, forced.model.config.vocab_size
        count = hidden.shape[0] * hidden.shape[1]
        rows = torch.arange(count, device=hidden.device)
        with head_of.autocast(hidden):
            states, head = head_of.as_matrix(hidden, condition)
            if config.target != "soft":
                codes = torch.cat([*rolled[1:]], dim=1) if config.target == "teacher" else forced.codes[:, places]
                targets = Targets(rows, codes.flatten())
                loss = summed_cross_entropy(states, targets, head, vocab_size=vocab_size, max_logits=config.max_logits)
                return {STUDENT: loss}
            with torch.no_grad():
                known = head_of.as_matrix(forced.hidden[:, places], forced.condition)[0]
            loss, divergence = summed_soft_cross_entropy(
                torch.cat([states, known]),
                student=rows,
                teacher=count + rows,
                weights=states.new_ones(count),
                head=head,
                vocab_size=vocab_size,
                max_logits=config.max_logits,
            )
        return {STUDENT: loss, DIVERGENCE: divergence}
