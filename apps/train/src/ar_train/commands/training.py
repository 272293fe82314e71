"""``ar-train run`` and ``fit``."""

import logging
import warnings
from typing import Annotated

import typer
from ar_core.command_line import JsonOption, QuietOption
from ar_core.config import did_you_mean
from ar_core.errors import ConfigError
from ar_core.registry import Recipe

from ..arguments import ConfigOption, Overrides, RecipeArgument, ResumeOption
from ..completion import complete_recipes

__all__ = ["FIELDS", "FIT_EXAMPLES", "RUN_EXAMPLES", "fit", "run"]

RUN_EXAMPLES = (
    "ar-train run fast_dllm_v2 --config tiny train.checkpoint_dir=out",
    "ar-train run mine.py --config mine.yaml --nproc 2 train.lr=1e-4",
    "ar-train run jacobi_trajectories --config tiny --ray local --workers 4 --quiet --json",
)
"""Calls that the help shows."""
FIT_EXAMPLES = (
    "ar-train fit fast_dllm_v2 --config tiny train.checkpoint_dir=out",
    "ar-train fit autoregressive --config mine.yaml --resume must",
)
"""Calls that the help shows."""
RESUME = ("auto", "never", "must")

FIELDS = {
    "recipe": "its name",
    "interrupted": "whether a signal stopped it; the exit code is then 130, and the same command continues",
    "step, resumed_from, loss, evaluation, checkpoint_dir": "of a recipe that trains: where it ended and began, its last numbers",
    "made, present, counts, shard, directory": "of a recipe that makes data: chunks made now and before, what they hold, and where",
}
"""Of the JSON document, with what they mean."""


def run(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help="A recipe, or your own recipe file by its path.", autocompletion=complete_recipes
        ),
    ],
    config: ConfigOption,
    overrides: Overrides = None,
    nproc: Annotated[int, typer.Option("--nproc", metavar="N", help="Processes on this machine (torchrun).")] = 1,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="local|auto|HOST:PORT",
            help="Make data on a Ray cluster: one of this machine, or a running one.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", help="Processes on the Ray cluster, a GPU each where it has any."),
    ] = None,
    resume: ResumeOption = "auto",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train. Ctrl-C writes a checkpoint; the same command continues from it."""
    from ..launch import run_here, run_on_ray, run_processes
    from ..reference import recipe_of_run

    target = recipe_of_run(recipe)
    arguments = _arguments(config, resume, overrides, as_json=as_json, quiet=quiet)
    if (ray is None) != (workers is None) or (ray is not None and nproc != 1):
        raise ConfigError(
            "work on a Ray cluster takes --ray ADDRESS and --workers N, and no --nproc: give both or neither"
        )
    if ray is not None and workers is not None:
        raise typer.Exit(run_on_ray(target, arguments, ray, workers))
    if nproc == 1:
        raise typer.Exit(run_here(target, arguments))
    if isinstance(target, Recipe):
        # Before any process starts: one sentence instead of one from each of them.
        from ar_core.training import read_run_config

        read_run_config(target, config, overrides or [])
    raise typer.Exit(run_processes(target, arguments, nproc))


def fit(
    recipe: RecipeArgument,
    config: ConfigOption,
    overrides: Overrides = None,
    resume: ResumeOption = "auto",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train under Lightning: the same objective, config, losses and checkpoints."""
    from ..reference import named_recipe

    target = named_recipe(recipe)
    try:
        from ar_core.training import recipe_main
        from ar_core.training.lightning_task import fit as driver
    except ImportError as error:
        raise ConfigError(
            "`ar-train fit` needs the package lightning; install it with `pip install 'ar-core[train]'`"
        ) from error
    # Lightning announces devices and a product of its makers; our own progress line is what counts.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"lightning\.pytorch\.utilities")
    arguments = _arguments(config, resume, overrides, as_json=as_json, quiet=quiet)
    raise typer.Exit(recipe_main(target, arguments, driver=driver))


def _arguments(config: str, resume: str, overrides: list[str] | None, *, as_json: bool, quiet: bool) -> list[str]:
    if resume not in RESUME:
        raise ConfigError(f"--resume is {resume!r}; {did_you_mean(resume, RESUME)}")
    flags = [*(["--json"] if as_json else []), *(["--quiet"] if quiet else [])]
    return ["--config", config, "--resume", resume, *flags, *(overrides or [])]
