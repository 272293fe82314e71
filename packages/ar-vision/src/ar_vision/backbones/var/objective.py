"""The objective of VAR: all scales of its one schedule."""

from collections.abc import Mapping, Sequence
from typing import Any

from ar_core.corruption import SampleRng
from ar_core.errors import DataError
from torch import Tensor

from ...scales import ScaleSchedule
from ..scale_transformer.objective import ScaleObjective
from ..scale_transformer.objective_config import ScaleObjectiveConfig
from .model import Var

__all__ = ["VarObjective"]


class VarObjective(ScaleObjective):
    """Next-scale cross-entropy over the schedule of the model (VAR, arXiv 2404.02905, section 3.2).

    Args:
        config: hyperparameters.
        model: what is trained.
    """

    def __init__(self, config: ScaleObjectiveConfig, model: Var) -> None:
        super().__init__(config, model)
        self._schedule = model.schedule

    def schedule(self, batch: Sequence[Mapping[str, Any]], rng: SampleRng) -> ScaleSchedule:
        """Return the schedule of the model."""
        return self._schedule

    def codes(self, sample: Mapping[str, Any], schedule: ScaleSchedule) -> Tensor:
        """Return the codes as they are, int64 [L].

        Raises:
            DataError: there are more or fewer than the schedule has.
        """
        codes: Tensor = sample["codes"]
        if codes.shape != (schedule.total,):
            raise DataError(
                f"sample {sample['index']} has codes of shape {list(codes.shape)}, and the scales {schedule} have "
                f"{schedule.total} codes: encode the images with this schedule"
            )
        return codes.long()
