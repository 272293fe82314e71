"""What a user names: a recipe, or a recipe and one of its configs."""

from pathlib import Path

from ar_core.config import expand_path
from ar_core.errors import ConfigError
from ar_core.registry import Recipe, config_path, packaged_file, recipe, recipe_file, recipes

__all__ = ["named_file", "named_recipe", "recipe_of_run"]


def named_recipe(reference: str) -> Recipe:
    """The recipe called ``reference``, by its name or by the module path of its file.

    Raises:
        ConfigError: nothing of that name; the nearest name is given.
        MissingPackageError: it belongs to a package that is not installed.
    """
    if "/" not in reference:
        return recipe(reference)
    file = packaged_file(reference, ".py")
    for known in recipes().values():
        if recipe_file(known) == file:
            return known
    raise ConfigError(f"{reference!r} is no recipe of an installed package; `ar-train ls` lists them")


def named_file(reference: str) -> Path:
    """The shipped file that ``RECIPE`` (its Python file) or ``RECIPE/CONFIG`` (a YAML file) names."""
    name, slash, config = reference.partition("/")
    found = recipe(name)
    return config_path(found, config) if slash else recipe_file(found)


def recipe_of_run(reference: str) -> Recipe | Path:
    """What ``ar-train run`` is given: a recipe, or the user's own recipe file, by relative or absolute path.

    Raises:
        ConfigError: neither.
    """
    if reference.endswith(".py"):
        path = expand_path(reference)
        if path.is_file():
            return path
        if packaged_file(reference, ".py") is None:
            raise ConfigError(f"the recipe file {reference!r} does not exist; `ar-train cp RECIPE FILE` makes one")
    return named_recipe(reference)
