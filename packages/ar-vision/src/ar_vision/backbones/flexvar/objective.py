"""The objective of FlexVAR: scales of a schedule that is drawn for each step.

Source: FlexVAR (arXiv 2502.20313) and its published code.
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import torch
from ar_core.corruption import SampleRng
from ar_core.errors import DataError
from torch import Tensor

from ...scales import ScaleSchedule
from ..scale_transformer.objective import ScaleObjective
from .model import FlexVar
from .objective_config import FlexVarObjectiveConfig
from .schedule_sampler import draw_schedule

__all__ = ["FlexVarObjective"]


class FlexVarObjective(ScaleObjective):
    """Next-scale cross-entropy over a schedule that all samples of a step share (FlexVAR, arXiv 2502.20313).

    Every scale is a quantisation of the whole image on its own, so a schedule is a choice among codes of all sides: samples
    carry the codes of the sides 1 to S, and no image is encoded twice.

    The schedule is a function of the seed and the step: ranks and micro-batches agree, and a resumed run goes on with the
    schedules it would have had.

    Args:
        config: hyperparameters.
        model: what is trained.
        stored: the sides 1 to S whose codes samples carry.
        step_samples: samples of an optimiser step, by which a sample's number tells its step; None trains on the default
            schedule at every step, as held-out samples are measured.
    """

    def __init__(
        self, config: FlexVarObjectiveConfig, model: FlexVar, stored: ScaleSchedule, step_samples: int | None
    ) -> None:
        super().__init__(config, model)
        self.sampler, self.stored, self.step_samples = config.schedules, stored, step_samples

    def schedule(self, batch: Sequence[Mapping[str, Any]], rng: SampleRng) -> ScaleSchedule:
        """Return the schedule of the step that the first sample belongs to."""
        if self.step_samples is None:
            return ScaleSchedule.square(*self.sampler.default)
        step = batch[0]["index"] // self.step_samples
        return ScaleSchedule.square(*draw_schedule(self.sampler, Random(rng.key(step, "schedule"))))

    def codes(self, sample: Mapping[str, Any], schedule: ScaleSchedule) -> Tensor:
        """Return the codes of the schedule out of those of all sides, int64 [L].

        Raises:
            DataError: the sample has not the codes of all sides.
        """
        codes: Tensor = sample["codes"]
        if codes.shape != (self.stored.total,):
            raise DataError(
                f"sample {sample['index']} has codes of shape {list(codes.shape)}, and the sides 1 to {self.stored.height} have "
                f"{self.stored.total}: encode the images with the schedule 1, 2, 3, ... {self.stored.height}"
            )
        return torch.cat([codes[self.stored.slices[side - 1]] for side, _ in schedule.sizes]).long()
