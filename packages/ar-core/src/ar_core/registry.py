"""What the installed packages offer: training recipes with their configs, decoders, evaluations, commands. Imports no torch.

A package announces its methods by entry points, so that the command lines find them without knowing their names:

    [project.entry-points."ar_core.recipes"]
    my_method = "my_package.my_method:RECIPE"

    [project.entry-points."ar_core.decoders"]
    my_method = "my_package.my_method:DECODER"

    [project.entry-points."ar_core.evaluations"]
    my_benchmark = "my_package.evaluation:MY_BENCHMARK"

    [project.entry-points."ar_core.commands"]
    fit-my-method = "my_package.my_method:FIT"

    [project.entry-points."ar_core.converters"]
    my_model = "my_package.my_model:CONVERTER"

    [project.entry-points."ar_core.exporters"]
    my_method = "my_package.my_method:EXPORTER"

The records (:mod:`ar_core.announcements`) hold names ("module:attribute") of what needs torch; :func:`resolve` imports it when it is wanted.
"""

import importlib
import importlib.util
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from .announcements import Command, Converter, Decoder, Evaluation, Exporter, HubSet, Recipe
from .config import did_you_mean, expand_path
from .errors import ConfigError, MissingPackageError

__all__ = [
    "Command",
    "Converter",
    "Decoder",
    "Evaluation",
    "Exporter",
    "HubSet",
    "Recipe",
    "commands",
    "config_path",
    "configs",
    "converter",
    "converters",
    "decoder",
    "decoders",
    "evaluation",
    "evaluations",
    "exporters",
    "packaged_file",
    "recipe",
    "recipe_file",
    "recipes",
    "require_home",
    "resolve",
]

# The package that holds a method, named when a method is asked for and its package is absent.
Announced = TypeVar("Announced", bound="Command | Converter | Decoder | Evaluation | Exporter | Recipe")
HOMES = {
    "autoregressive": "dlm-text",
    "diffuspec": "dlm-text",
    "efficient_dlm": "dlm-text",
    **dict.fromkeys(("fast_dllm_v2", "jacobi_forcing", "jacobi_trajectories", "fit-proxy"), "dlm-text"),
    **dict.fromkeys(
        ("image", "eval-image", "eval-tokenizer", "teacher-profile", "verify-pairs", "control", "control-maps", "car"),
        "ar-vision",
    ),
    **dict.fromkeys(
        ("sr", "eval-sr", "degrade", "ecm", "glotok", "glotok_teacher", "image_codes", "image_tokenizer"), "ar-vision"
    ),
    **dict.fromkeys(("cca", "cca_log_probs", "distilled_decoding", "noise_code_pairs"), "ar-vision"),
    **dict.fromkeys(
        ("var_vqvae", "vq", "bsq", "dual_vq", "var", "flexvar", "llamagen", "far", "xar", "infinity", "sar", "nsarm"),
        "ar-vision",
    ),
    **dict.fromkeys(("var_dd", "llamagen_dd", "var_dd_guess", "llamagen_dd_guess"), "ar-vision"),
    **dict.fromkeys(
        ("exact_answers", "gsm8k", "humaneval", "mbpp", "multiple_choice", "perplexity", "spec_bench"), "dlm-text"
    ),
    **dict.fromkeys(("diffusionvl", "vl_autoregressive", "vlm", "eval-vlm"), "dvlm"),
}

ALLOWED = ("ar_core", "ar_kernels", "dlm_text", "ar_vision", "dvlm")


def recipes() -> dict[str, Recipe]:
    """All recipes of all installed packages, by name, sorted."""
    return _announced("ar_core.recipes", Recipe)


def decoders() -> dict[str, Decoder]:
    """All decoders of all installed packages, by name, sorted."""
    return _announced("ar_core.decoders", Decoder)


def commands() -> dict[str, Command]:
    """All commands of all installed packages, by name, sorted."""
    return _announced("ar_core.commands", Command)


def converters() -> dict[str, Converter]:
    """All converters of all installed packages, by name, sorted."""
    return _announced("ar_core.converters", Converter)


def exporters() -> dict[str, Exporter]:
    """All exporters of all installed packages, by name, sorted."""
    return _announced("ar_core.exporters", Exporter)


def evaluations() -> dict[str, Evaluation]:
    """All evaluations of all installed packages, by name, sorted."""
    return _announced("ar_core.evaluations", Evaluation)


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ConfigError: no installed package has it; the nearest name is given.
        MissingPackageError: a package known to hold it is not installed.
    """
    return _named("recipe", name, recipes())


def decoder(name: str) -> Decoder:
    """The decoder of that name; raises as :func:`recipe` does."""
    return _named("decoder", name, decoders())


def evaluation(name: str) -> Evaluation:
    """The evaluation of that name; raises as :func:`recipe` does."""
    return _named("evaluation", name, evaluations())


def converter(name: str) -> Converter:
    """The converter of that name; raises as :func:`recipe` does."""
    return _named("converter", name, converters())


def configs(recipe: Recipe) -> dict[str, Path]:
    """The shipped configs of a recipe: file stem to path, sorted."""
    return {path.stem: path for path in sorted(_folder(recipe.package).glob("*.yaml"))}


def recipe_file(recipe: Recipe) -> Path:
    """The Python file of a recipe, that ``tune run`` and ``torchrun`` execute."""
    return _folder(recipe.package) / f"{recipe.name}.py"


def config_path(recipe: Recipe, reference: str) -> Path:
    """Find the config a user means.

    Args:
        recipe: whose shipped names are meant.
        reference: a shipped name (``tiny``), a relative or absolute path (``~`` and ``$NAME`` are expanded), or a
            module path (``my_package/my_method/recipes/tiny.yaml``).

    Raises:
        ConfigError: nothing of that name; the nearest shipped name is given.
    """
    shipped = configs(recipe)
    if reference in shipped:
        return shipped[reference]
    looks_like_path = "/" in reference or reference.endswith((".yaml", ".yml"))
    if looks_like_path:
        path = expand_path(reference)
        if path.is_file():
            return path
        inside = packaged_file(reference, ".yaml")
        if inside is not None:
            return inside
        if reference.removesuffix(".yaml") in shipped:
            return shipped[reference.removesuffix(".yaml")]
        raise ConfigError(
            f"the config {reference!r} is no file here and no shipped config of {recipe.name}; "
            f"{did_you_mean(Path(reference).stem, shipped)}"
        )
    raise ConfigError(f"{recipe.name} ships no config {reference!r}; {did_you_mean(reference, shipped)}")


def packaged_file(reference: str, suffix: str) -> Path | None:
    """The file inside an allowed package that a module path names, as ``tune run`` takes them.

    Args:
        reference: ``my_package/my_method/recipes/tiny.yaml``; the suffix may be left out.
        suffix: of the file, with its dot.

    Returns:
        None where the path does not begin with an allowed, installed package or there is no such file.
    """
    top, *rest = Path(reference).parts or ("",)
    if not rest or top not in _allowed() or importlib.util.find_spec(top) is None:
        return None
    path = _folder(top).joinpath(*rest)
    return next((file for file in (path, path.with_suffix(suffix)) if file.suffix == suffix and file.is_file()), None)


def resolve(reference: str) -> Any:
    """Import what ``"module:attribute"`` names, inside the allowed packages only.

    The allowed packages are this workspace's and those that announce anything here. Both the named module
    and the module in which the object was defined must lie inside them, so a name that a module merely imported
    (``ar_core.training:Tensor``) is refused.

    Raises:
        ConfigError: not of that form, outside the allowed packages, or absent.
    """
    module_name, colon, attribute = reference.partition(":")
    if not colon or not module_name or not attribute:
        raise ConfigError(f"the component {reference!r} is not of the form package.module:name")
    allowed = _allowed()
    if module_name.split(".")[0] not in allowed:
        raise ConfigError(
            f"the component {reference!r} lies outside the allowed packages; use one from {', '.join(allowed)}"
        )
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise
        raise ConfigError(
            f"the component {reference!r} names the module {error.name!r}, which does not exist"
        ) from error
    if not hasattr(module, attribute):
        public = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
        raise ConfigError(f"the module {module_name!r} has no {attribute!r}; {did_you_mean(attribute, public)}")
    found = getattr(module, attribute)
    home = getattr(found, "__module__", None)
    if not isinstance(home, str) or home.split(".")[0] not in allowed:
        raise ConfigError(
            f"the component {reference!r} is defined in {home!r}, outside the allowed packages; "
            f"use one from {', '.join(allowed)}"
        )
    return found


def _announced(group: str, kind: type[Announced]) -> dict[str, Announced]:
    found = {}
    for point in metadata.entry_points(group=group):
        record = point.load()
        if not isinstance(record, kind) or record.name != point.name:
            raise ConfigError(
                f"the entry point {point.name!r} of {group} names {point.value!r}, which is no {kind.__name__} called "
                f"{point.name!r}; correct it in the package's pyproject.toml"
            )
        found[point.name] = record
    return dict(sorted(found.items()))


def require_home(what: str, name: str) -> None:
    """Do nothing but where a name belongs to a known package that is not installed.

    Args:
        what: kind of thing, for the message.
        name: as users type it.

    Raises:
        MissingPackageError: names the package.
    """
    home = HOMES.get(name)
    if home is not None and importlib.util.find_spec(home.replace("-", "_")) is None:
        raise MissingPackageError(f"the {what} {name!r} is in the package {home}; install it with `pip install {home}`")


def _named(what: str, name: str, found: dict[str, Announced]) -> Announced:
    if name in found:
        return found[name]
    require_home(what, name)
    article = "an" if what[0] in "aeiou" else "a"
    raise ConfigError(f"no installed package has {article} {what} {name!r}; {did_you_mean(name, found)}")


@cache
def _allowed() -> tuple[str, ...]:
    kinds = ("recipes", "decoders", "evaluations", "commands", "converters", "exporters", "tasks")
    groups = [f"ar_core.{kind}" for kind in kinds]
    announced = [point.module.split(".")[0] for group in groups for point in metadata.entry_points(group=group)]
    return tuple(dict.fromkeys([*ALLOWED, *sorted(announced)]))


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"the recipe folder {package!r} is not an importable package; give it an __init__.py")
    return Path(next(iter(spec.submodule_search_locations)))
