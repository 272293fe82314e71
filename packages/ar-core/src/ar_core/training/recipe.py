"""What the file of a recipe calls, under ``ar-train run``, ``tune run``, ``torchrun`` or plain ``python -m``.

from ar_core.training import recipe_main
from my_package.my_method import RECIPE

if __name__ == "__main__":
    raise SystemExit(recipe_main(RECIPE))
"""

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ..config import FREE, apply_overrides, from_dict, load_yaml, to_dict
from ..errors import ArError, ConfigError
from ..json_document import only_the_document, print_document
from ..quiet import quieted
from ..registry import Recipe, config_path, configs, resolve
from .job import Job, TrainResult
from .loop import train
from .resume import Resume
from .run_stage import run_stage
from .stage import StageConfig, StageJob, StageResult

__all__ = ["build_job", "read_run_config", "recipe_main", "run_recipe"]

INTERRUPTED = 130


def make_here(build: Callable[[], StageJob], config: StageConfig, *, resume: Resume) -> StageResult:
    """Make this run's share of a stage in this process."""
    return run_stage(build(), config, resume=resume)


def recipe_main(
    recipe: Recipe,
    argv: Sequence[str] | None = None,
    *,
    driver: Callable[..., TrainResult] = train,
    maker: Callable[..., StageResult] = make_here,
) -> int:
    """Run a recipe from its command line: ``--config NAME_OR_PATH [--resume auto|never|must] [--json] [--quiet] [key=value | ~key ...]``.

    With ``--json`` the first process prints one JSON document on standard output, and everything else goes to standard error; with
    ``--quiet`` no progress is shown.

    Args:
        recipe: The recipe.
        argv: The arguments; None takes those of the process.
        driver: What trains the model; takes (job, config, resume=...). A recipe that makes data has none.
        maker: What makes the data of a recipe that trains nothing; takes (build, config, resume=...).

    Returns:
        The exit code: 0, 2 for input that cannot be used (printed as one sentence), 130 if Ctrl-C or a termination
        request ended the run.
    """
    parser = argparse.ArgumentParser(
        prog=recipe.name,
        description=f"{recipe.summary} Shipped configs: {', '.join(configs(recipe)) or 'none'}.",
        epilog="key=value sets one entry of the config, for example train.lr=1e-4; ~key takes one out, so that its default holds.",
    )
    parser.add_argument("--config", required=True, metavar="NAME_OR_PATH", help="a shipped config, or a YAML file")
    parser.add_argument("--resume", choices=("auto", "never", "must"), default="auto", help="default: auto")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON document")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.add_argument("overrides", nargs="*", metavar="key=value | ~key")
    arguments = parser.parse_intermixed_args(argv)
    rank = int(os.environ.get("RANK", "0"))
    try:
        with quieted(arguments.quiet), only_the_document(arguments.json):
            config = read_run_config(recipe, arguments.config, arguments.overrides)
            result = run_recipe(recipe, config, resume=arguments.resume, driver=driver, maker=maker)
    except ArError as error:
        print(f"error: {error}" if rank == 0 else f"error on rank {rank}: {error}", file=sys.stderr)
        return 2
    if rank == 0 and arguments.json:
        print_document({"recipe": recipe.name, **_as_data(result, config)})
    elif rank == 0:
        stage = isinstance(result, StageResult)
        print(_stage_ending(result, config.stage) if stage else _ending(result, config.train.checkpoint_dir))
    return INTERRUPTED if result.interrupted else 0


def read_run_config(recipe: Recipe, reference: str, overrides: Sequence[str] = ()) -> Any:
    """Return the config of a run: a shipped name or a path, changed by ``key=value`` and ``~key`` overrides, checked throughout.

    Raises:
        ConfigError: Nothing of that name; an unknown key, a wrong type or value, with its dotted path.
    """
    data = load_yaml(config_path(recipe, reference))
    return from_dict(resolve(recipe.run_config), apply_overrides(data, overrides))


def build_job(recipe: Recipe, config: Any) -> Any:
    """Build the job of a run, a ``Job`` or a ``StageJob``; model and method settings become part of its identity."""
    job: Job | StageJob = resolve(recipe.build)(config)
    sections = {name: getattr(config, name, None) for name in ("model", "method")}
    # A model that is the folder of a checkpoint is told by its weights, which the job's own identity names.
    identity: dict[str, Any] = {
        name: _decisive(section) for name, section in sections.items() if dataclasses.is_dataclass(section)
    }
    return dataclasses.replace(job, identity={"recipe": recipe.name, **identity, **job.identity})


def _decisive(section: Any) -> dict[str, Any]:
    """A section of a config without the settings that leave the trained weights as they are."""
    free = {field.name for field in dataclasses.fields(section) if FREE.items() <= field.metadata.items()}
    return {name: value for name, value in to_dict(section).items() if name not in free}


def run_recipe(
    recipe: Recipe,
    config: Any,
    *,
    resume: Resume = "auto",
    driver: Callable[..., TrainResult] = train,
    maker: Callable[..., StageResult] = make_here,
) -> Any:
    """Build the job of a run and hand it to the loop, or make the data of a stage; see :func:`recipe_main`.

    Returns:
        A ``TrainResult``, or a ``StageResult`` from a recipe that makes data.

    Raises:
        ConfigError: another driver than the loop was given to a recipe that makes data, or another maker to one that trains.
    """
    if recipe.makes == "model":
        if maker is not make_here:
            raise ConfigError(
                f"the recipe {recipe.name!r} trains a model, and a Ray cluster makes data: start it without --ray, on several devices "
                "with --nproc or torchrun"
            )
        return driver(build_job(recipe, config), config.train, resume=resume)
    if driver is not train:
        raise ConfigError(f"the recipe {recipe.name!r} makes data and trains nothing: start it with `ar-train run`")
    return maker(partial(build_job, recipe, config), config.stage, resume=resume)


def _as_data(result: TrainResult | StageResult, config: Any) -> dict[str, Any]:
    """How a run ended, for programs."""
    if isinstance(result, StageResult):
        return {
            "interrupted": result.interrupted,
            "made": result.made,
            "present": result.present,
            "counts": dict(result.counts),
            "shard": config.stage.shard,
            "directory": config.stage.directory,
        }
    return {
        "interrupted": result.interrupted,
        "step": result.step,
        "resumed_from": result.resumed_from,
        "loss": result.losses[-1] if result.losses else None,
        "evaluation": dict(result.evaluation),
        "checkpoint_dir": config.train.checkpoint_dir,
    }


def _ending(result: TrainResult, directory: str | None) -> str:
    loss = f", loss {result.losses[-1]:.4f}" if result.losses else ""
    if result.interrupted:
        kept = (
            f"the checkpoint in {directory} is complete, and the same command continues from it"
            if directory is not None
            else "nothing was kept, since train.checkpoint_dir is not set"
        )
        return f"stopped at step {result.step}{loss}: {kept}"
    where = (
        f": {directory}" if directory is not None else " (nothing was written, since train.checkpoint_dir is not set)"
    )
    return f"finished at step {result.step}{loss}{where}"


def _stage_ending(result: StageResult, config: StageConfig) -> str:
    counts = "".join(f", {name} {count}" for name, count in result.counts.items())
    done = f"{result.made} chunks made{counts}, {result.present} were there, shard {config.shard}"
    if result.interrupted:
        return f"stopped: {done}; the same command continues in {config.directory}"
    return f"finished: {done}: {config.directory}"
