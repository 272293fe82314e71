"""The teacher once, then of every arm its tokenizer, the codes of all pictures, and a FAR on them."""

from collections.abc import Sequence

from ..recipes import run_to_end
from .arms import ARMS, CONFIG, GlotokStudy, require_arm

__all__ = ["train"]


def train(
    study: GlotokStudy,
    arms: Sequence[str],
    *,
    steps: int | None = None,
    far_steps: int | None = None,
    pictures: int | None = None,
    more: Sequence[str] = (),
    more_far: Sequence[str] = (),
    more_teacher: Sequence[str] = (),
) -> bool:
    """Bring all arms to their end; what is done stays, what was stopped goes on.

    Args:
        study: which seed.
        arms: which of them.
        steps: of every tokenizer; None: those of the config.
        far_steps: of every FAR; None: those of the config.
        pictures: encode only so many; None: all.
        more: further overrides of every tokenizer.
        more_far: of every FAR.
        more_teacher: of the teacher.

    Returns:
        False if a signal stopped a run.

    Raises:
        DataError: there is no such arm.
    """
    for arm in arms:
        require_arm(arm)
    folders, seed = study.folders, study.folders.seed
    train_pictures, staged = folders.cifar10 / "train.parquet", folders.staged / "models"
    resnet = staged / "cifar10_resnet" / "resnet20.safetensors"
    teacher = [f"data.path={train_pictures}", f"method.features.source={resnet}", *more_teacher]
    if run_to_end("glotok_teacher", CONFIG, study.teacher, teacher) is None:
        return False
    for arm in arms:
        tokenizer = [
            f"data.path={train_pictures}",
            f"evaluation.data.path={folders.cifar10 / 'test.parquet'}",
            f"method.lpips={staged / 'lpips_alex' / 'model.safetensors'}",
            f"method.teacher={study.teacher}",
            f"train.seed={seed}",
            *_shortened(steps),
            *more,
            *ARMS[arm],
        ]
        found = run_to_end("glotok", CONFIG, study.of(arm, "tokenizer"), tokenizer)
        if found is None:
            return False
        codes = [f"tokenizer={found}", f"data.path={train_pictures}"]
        codes += [] if pictures is None else [f"data.count={pictures}"]
        if run_to_end("image_codes", CONFIG, study.of(arm, "codes"), codes) is None:
            return False
        far = [
            f"tokenizer={found}",
            f"data.codes.path={study.of(arm, 'codes')}",
            f"train.seed={seed}",
            *_shortened(far_steps),
            *more_far,
        ]
        if run_to_end("far", CONFIG, study.of(arm, "far"), far) is None:
            return False
    return True


def _shortened(steps: int | None) -> list[str]:
    """Fewer steps, of which the warm-up takes no more than a tenth, and an evaluation at the end."""
    if steps is None:
        return []
    return [f"train.steps={steps}", f"train.warmup_steps={steps // 10}", f"train.eval_every={steps}"]
