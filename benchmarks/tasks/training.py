"""The three models of one seed: the autoregressive base, its conversion, and the base trained on as a control."""

from dataclasses import dataclass
from pathlib import Path

from ar_core.errors import CheckpointError

from benchmarks.recipes import DEFAULT_METHOD, FINAL, conversion_name, run_to_end, without_method

from .gate import require_good_base

__all__ = ["SeedModels", "train_base", "train_conversion", "train_seed", "trained_models"]


@dataclass(frozen=True)
class SeedModels:
    """Folders of the trained models of one seed.

    Attributes:
        base: the autoregressive model.
        converted: the base, converted.
        control: the base, trained autoregressively for as many further steps on the same rows as the conversion saw.
    """

    base: Path
    converted: Path
    control: Path


def train_base(seed: int, runs: Path, *, steps: int | None = None) -> Path | None:
    """Train the base of one seed, if it is not there, and see that it is good enough to measure anything on.

    Args:
        seed: of weights, order and problems.
        runs: folder of all runs.
        steps: of training; those of the config if not given.

    Returns:
        Its folder, or ``None`` if a signal stopped the run.

    Raises:
        CheckpointError: it solves too few held-out problems.
    """
    overrides = [f"train.seed={seed}", f"data.task_seed={seed}"]
    if steps is not None:
        overrides.append(f"train.steps={steps}")
    base = run_to_end("autoregressive", "task_base", runs / f"seed{seed}" / "base", overrides)
    if base is not None:
        require_good_base(base, seed)
    return base


def train_seed(
    seed: int,
    runs: Path,
    *,
    method: str = DEFAULT_METHOD,
    variant: str = "",
    overrides: tuple[str, ...] = (),
    base_steps: int | None = None,
) -> SeedModels | None:
    """Train the models of one seed; continues what was interrupted and skips what is done.

    Args:
        seed: of weights, order, corruption and problems.
        runs: folder of all runs.
        method: recipe of the conversion; its config ``task`` is used.
        variant: name of a conversion with other overrides, kept beside the plain one; base and control are shared.
        overrides: ``key=value`` for the conversion; those outside ``method`` hold for the control too, for smaller budgets.
        base_steps: of the base's training; those of the config if not given.

    Returns:
        The folders, or ``None`` if a signal stopped one of the runs.

    Raises:
        CheckpointError: the base solves too few held-out problems.
    """
    found = train_conversion(seed, runs, method=method, variant=variant, overrides=overrides, base_steps=base_steps)
    if found is None:
        return None
    base, converted = found
    shared = without_method(_further(seed, base, overrides))
    control = run_to_end("autoregressive", "task_control", runs / f"seed{seed}" / "control", shared)
    return SeedModels(base, converted, control) if control is not None else None


def train_conversion(
    seed: int,
    runs: Path,
    *,
    method: str,
    variant: str = "",
    overrides: tuple[str, ...] = (),
    base_steps: int | None = None,
) -> tuple[Path, Path] | None:
    """Train the base of a seed and one conversion of it, without the control.

    Args:
        seed: see :func:`train_seed`, as all others.
        runs: folder.
        method: recipe.
        variant: name.
        overrides: of the conversion.
        base_steps: of the base.

    Returns:
        The folders of base and conversion, or ``None`` if a signal stopped one of the runs.
    """
    home = runs / f"seed{seed}"
    base = train_base(seed, runs, steps=base_steps)
    if base is None:
        return None
    name = conversion_name(method, variant)
    converted = run_to_end(method, "task", home / name, _further(seed, base, overrides))
    return None if converted is None else (base, converted)


def _further(seed: int, base: Path, overrides: tuple[str, ...]) -> list[str]:
    """Entries of what is trained from the base: other problems than its own, the same for conversion and control."""
    return [f"train.seed={seed}", f"data.task_seed={1000 + seed}", f"model.path={base}", *overrides]


def trained_models(seed: int, runs: Path, *, method: str = DEFAULT_METHOD, variant: str = "") -> SeedModels:
    """The folders of a seed that has been trained.

    Raises:
        CheckpointError: one of them is not there.
    """
    home = runs / f"seed{seed}"
    models = SeedModels(*(home / name / FINAL for name in ("base", conversion_name(method, variant), "control")))
    for folder in (models.base, models.converted, models.control):
        if not folder.is_dir():
            raise CheckpointError(f"{str(folder)!r} is not there: train seed {seed} first")
    return models
