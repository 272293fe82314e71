"""Fine-tuning: log-probabilities of the base once, then every arm on them."""

from collections.abc import Sequence

from ar_core.errors import DataError

from ..images.study import Study
from ..recipes import run_to_end
from .arms import STORED, Arm, most_steps, overrides

__all__ = ["train"]


def train(study: Study, arms: Sequence[Arm], *, steps: int | None = None) -> bool:
    """Bring the base's log-probabilities and all arms to their end; what is done stays, what was stopped goes on.

    Args:
        study: from which base, with which seed.
        arms: what to train.
        steps: of each; None: 5 % of the base's.

    Returns:
        False if a signal stopped a run.

    Raises:
        DataError: there are more steps than 5 % of the base's.
    """
    most = most_steps(study.base)
    if steps is not None and steps > most:
        raise DataError(f"--steps is {steps} and 5 % of the pretraining of {study.base!r} are {most}: give no more")
    config, plan = f"cifar10_{study.base}", [*overrides(study), f"train.steps={steps or most}"]
    # Faster than pair by pair, whose values are bit by bit those of a run without a store.
    stored = run_to_end("cca_log_probs", config, study.of(STORED), [*plan, "method.reference_batch_size=16"])
    if stored is None:
        return False
    for arm in arms:
        settings = [
            f"method.loss={arm.loss}",
            f"method.beta={arm.beta:g}",
            f"method.negative_weight={arm.weight:g}",
            f"log_probs={stored}",
            *(["train.warmup_steps=0", "train.eval_every=1"] if steps is not None and steps <= 10 else []),
        ]
        if run_to_end("cca", config, study.of(arm.name), [*plan, *settings]) is None:
            return False
    return True
