"""Fine-tuning: log-probabilities of the base once, then every arm on them."""

from collections.abc import Sequence

from ar_core.errors import DataError

from ..images.parts import Folders
from ..images.training import train as train_part
from ..recipes import run_to_end
from .arms import Arm, base, log_probs_folder, most_steps, overrides

__all__ = ["train"]


def train(name: str, folders: Folders, arms: Sequence[Arm], *, steps: int | None = None) -> bool:
    """Bring the base, its log-probabilities and all arms to their end; what is done stays, what was stopped goes on.

    Args:
        name: of the base.
        folders: where.
        arms: what to train.
        steps: of each; None: 5 % of the base's.

    Returns:
        False if a signal stopped a run.

    Raises:
        DataError: there are more steps than 5 % of the base's.
    """
    most = most_steps(name)
    if steps is not None and steps > most:
        raise DataError(f"--steps is {steps} and 5 % of the pretraining of {name!r} are {most}: give no more")
    # One that is there may have been trained elsewhere, and its codes with it.
    if not folders.model(name).is_dir() and not train_part(base(name).name, folders):
        return False
    config, plan = f"cifar10_{name}", [*overrides(folders, name), f"train.steps={steps or most}"]
    stored = run_to_end("cca_log_probs", config, log_probs_folder(folders, name), plan)
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
        if run_to_end("cca", config, arm.folder(folders, name), [*plan, *settings]) is None:
            return False
    return True
