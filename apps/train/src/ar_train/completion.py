"""Words that a shell completes. Imports no torch."""

import typer
from ar_core.command_line import Words, completed, settings_of, typed
from ar_core.errors import ArError
from ar_core.registry import Recipe, configs, converters, recipes
from ar_core.serving import ENGINES

from .listing import summary
from .reference import named_recipe

__all__ = [
    "complete_configs",
    "complete_converters",
    "complete_engines",
    "complete_names",
    "complete_overrides",
    "complete_recipes",
]

complete_engines = completed(ENGINES.keys())
"""Engines that checkpoints are exported for."""


def complete_recipes(incomplete: str) -> Words:
    """Names of the recipes that are installed, with what each says of itself."""
    return completed({recipe.name: recipe.summary for recipe in recipes().values()})(incomplete)


def complete_names(incomplete: str) -> Words:
    """Recipes, and once one is written out its configs as ``RECIPE/CONFIG``."""
    name, slash, _ = incomplete.partition("/")
    recipe = recipes().get(name)
    if not slash or recipe is None:
        return complete_recipes(incomplete)
    return completed({f"{name}/{config}": summary(path) for config, path in configs(recipe).items()})(incomplete)


def complete_configs(ctx: typer.Context, incomplete: str) -> Words:
    """Configs of the recipe that was named."""
    recipe = _recipe(ctx)
    shipped = {} if recipe is None else configs(recipe)
    return completed({name: summary(path) for name, path in shipped.items()})(incomplete)


def complete_overrides(ctx: typer.Context, incomplete: str) -> Words:
    """Entries of a config of the recipe that was named, by their dotted names."""
    recipe = _recipe(ctx)
    return [] if recipe is None else settings_of(recipe.run_config)(incomplete)


def complete_converters(incomplete: str) -> Words:
    """Kinds of published weights."""
    return completed({one.name: one.summary for one in converters().values()})(incomplete)


def _recipe(ctx: typer.Context) -> Recipe | None:
    try:
        return named_recipe(typed(ctx, "recipe", 0) or "")
    except ArError:
        return None
