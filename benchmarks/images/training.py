"""Training and encoding: each part behind those that it needs."""

from collections.abc import Sequence

from ..recipes import run_to_end
from .parts import Folders, part

__all__ = ["train"]


def train(name: str, folders: Folders, overrides: Sequence[str] = ()) -> bool:
    """Bring a part and all it needs to their end; what is done stays, what was stopped goes on.

    Args:
        name: of the part.
        folders: where.
        overrides: ``key=value`` entries for this part alone.

    Returns:
        False if a signal stopped a run.
    """
    chosen = part(name)
    for needed in chosen.needs:
        if not train(needed, folders):
            return False
    seed = [] if chosen.recipe == "image_codes" else [f"train.seed={folders.seed}"]
    entries = [*seed, *chosen.overrides(folders), *overrides]
    return run_to_end(chosen.recipe, chosen.config, folders.of(name), entries) is not None
