"""``ar-train validate`` and ``plan``."""

from typing import Annotated

import typer
from ar_core.command_line import completed
from ar_core.command_result import CommandResult

from ..arguments import ConfigOption, Overrides, RecipeArgument

__all__ = ["PLAN_EXAMPLES", "PLAN_FIELDS", "VALIDATE_EXAMPLES", "VALIDATE_FIELDS", "plan", "validate"]

VALIDATE_EXAMPLES = (
    "ar-train validate fast_dllm_v2 --config tiny",
    "ar-train validate fast_dllm_v2 --config mine.yaml train.lr=1e-4 ~train.eval_every",
)
"""Calls that the help shows."""
VALIDATE_FIELDS = {"recipe": "its name", "config": "the whole config, every default included"}
"""Of the JSON document, with what they mean."""
PLAN_EXAMPLES = (
    "ar-train plan fast_dllm_v2 --config tiny",
    "ar-train plan fast_dllm_v2 --config qwen2_5_7b_qlora --hardware h100",
)
"""Calls that the help shows."""
PLAN_FIELDS = {
    "plan": "parameters, bytes by kind, samples, tokens and operations of a step, bytes of checkpoints, notes",
    "hardware": "the device that was assumed",
    "times": "seconds of a step and of the run, share of the memory, whether it fits",
}
"""Of the JSON document, with what they mean."""


def validate(recipe: RecipeArgument, config: ConfigOption, overrides: Overrides = None) -> CommandResult:
    """Check a config and print it in full, every default included."""
    import yaml
    from ar_core.config import to_dict
    from ar_core.training import read_run_config

    from ..reference import named_recipe

    target = named_recipe(recipe)
    checked = to_dict(read_run_config(target, config, overrides or []))
    text = yaml.safe_dump(checked, sort_keys=False)
    return CommandResult(text.removesuffix("\n"), {"recipe": target.name, "config": checked}, notes=["valid"])


def plan(
    recipe: RecipeArgument,
    config: ConfigOption,
    overrides: Overrides = None,
    nproc: Annotated[int, typer.Option("--nproc", metavar="N", help="Devices, each with all weights.")] = 1,
    hardware: Annotated[
        str | None,
        typer.Option(
            "--hardware",
            metavar="a100|h100|h200|cpu",
            help="Each device; this machine's if not given.",
            autocompletion=completed(("a100", "h100", "h200", "cpu")),
        ),
    ] = None,
    utilisation: Annotated[
        float, typer.Option("--utilisation", metavar="SHARE", help="Of the device's operations a second, in (0, 1].")
    ] = 0.4,
) -> CommandResult:
    """Say what `run` would take: memory of a device, operations, time, size of checkpoints. Nothing is trained."""
    from ar_core.planning import named_hardware, plan_run, present_hardware, timetable
    from ar_core.training import read_run_config

    from ..planning import as_data, table
    from ..reference import named_recipe

    target = named_recipe(recipe)
    device = present_hardware() if hardware is None else named_hardware(hardware)
    planned = plan_run(target, read_run_config(target, config, overrides or []), processes=nproc)
    times = timetable(planned, device, utilisation=utilisation)
    said = "\n".join(f"- {note}" for note in planned.notes)
    return CommandResult(said, as_data(planned, device, times), renderable=table(planned, device, times))
