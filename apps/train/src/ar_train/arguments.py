"""The command-line arguments that several commands share. Imports no torch."""

from typing import Annotated

import typer
from ar_core.command_line import completed

from .completion import complete_configs, complete_engines, complete_names, complete_overrides, complete_recipes

__all__ = ["ConfigOption", "EngineArgument", "NameArgument", "Overrides", "RecipeArgument", "ResumeOption"]

RecipeArgument = Annotated[
    str,
    typer.Argument(metavar="RECIPE", help="A recipe that `ar-train ls` lists.", autocompletion=complete_recipes),
]
NameArgument = Annotated[
    str,
    typer.Argument(metavar="RECIPE[/CONFIG]", help="A recipe, or one of its configs.", autocompletion=complete_names),
]
ConfigOption = Annotated[
    str,
    typer.Option(
        "--config",
        metavar="NAME_OR_PATH",
        help="A shipped config, or a YAML file by path or module path.",
        autocompletion=complete_configs,
    ),
]
ResumeOption = Annotated[
    str,
    typer.Option(
        "--resume",
        metavar="auto|never|must",
        help="Continue from train.checkpoint_dir.",
        autocompletion=completed(("auto", "never", "must")),
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE | ~KEY]...",
        help="Entries of the config to set, such as train.lr=1e-4, or to take out.",
        autocompletion=complete_overrides,
    ),
]
EngineArgument = Annotated[
    str, typer.Argument(metavar="vllm|sglang", help="The serving engine.", autocompletion=complete_engines)
]
