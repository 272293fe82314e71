"""One process, several through torchrun, or workers of a Ray cluster."""

import runpy
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ar_core.errors import ConfigError
from ar_core.registry import Recipe, recipe_file

__all__ = ["run_here", "run_on_ray", "run_processes"]


def run_here(target: Recipe | Path, arguments: Sequence[str]) -> int:
    """Run a recipe, or a recipe file of the user's, in this process; returns the exit code."""
    if isinstance(target, Recipe):
        from ar_core.training import recipe_main

        return recipe_main(target, arguments)
    sys.argv = [str(target), *arguments]
    try:
        runpy.run_path(str(target), run_name="__main__")
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    return 0


def run_processes(target: Recipe | Path, arguments: Sequence[str], count: int) -> int:
    """Run a recipe in ``count`` processes of this machine.

    Returns:
        0, or the exit code of the process that failed first.

    Raises:
        ConfigError: ``count`` is not positive.
    """
    if count < 1:
        raise ConfigError(f"--nproc is {count}, but a run has at least 1 process")
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import get_args_parser, run

    file = recipe_file(target) if isinstance(target, Recipe) else target
    parsed = get_args_parser().parse_args(["--standalone", "--nproc-per-node", str(count), str(file), *arguments])
    try:
        run(parsed)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
    except SignalException as error:
        return 128 + int(error.sigval)
    return 0


def run_on_ray(target: Recipe | Path, arguments: Sequence[str], address: str, workers: int) -> int:
    """Run a recipe that makes data by workers of a Ray cluster; returns the exit code.

    Raises:
        ConfigError: a file of the user's own, which workers could not import.
    """
    if not isinstance(target, Recipe):
        raise ConfigError(
            f"{str(target)!r} is a file of your own, and workers of a Ray cluster import recipes from installed packages: give one "
            "that `ar-train ls` lists"
        )
    from ar_core.training import recipe_main, run_stage_on_ray

    return recipe_main(target, arguments, maker=partial(run_stage_on_ray, address=address, workers=workers))
