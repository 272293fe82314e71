"""Discovery by entry points, names of configs, and the allow-list of components."""

import importlib.metadata
import sys
from pathlib import Path

import pytest
from ar_core import registry
from ar_core.errors import ConfigError, MissingPackageError
from ar_core.registry import (
    Decoder,
    Recipe,
    config_path,
    configs,
    decoders,
    evaluation,
    evaluations,
    recipe_file,
    resolve,
)

PACKAGE = {
    "toy_method/__init__.py": (
        "from ar_core.registry import Command, Decoder, Recipe\n"
        "RECIPE = Recipe('toy', 'A toy', 'toy_method.recipes', 'toy_method.run:Run', 'toy_method.run:build')\n"
        "DECODER = Decoder('toy', 'A toy', 'toy_method.run:decode', 'toy_method.run:Run')\n"
        "COMMAND = Command('toy-fit', 'Fits', 'toy_method.run:build', 'toy_method.run:Run')\n"
        "NAMELESS = 3\n"
    ),
    "toy_method/run.py": "from fractions import Fraction\nclass Run: pass\ndef build(config): return None\nVALUE = 3\n",
    "toy_method/broken.py": "import a_package_that_does_not_exist\n",
    "toy_method/recipes/__init__.py": "",
    "toy_method/recipes/toy.py": "",
    "toy_method/recipes/tiny.yaml": "a: 1\n",
    "toy_method/recipes/large.yaml": "a: 2\n",
}


def _install(root: Path, monkeypatch, entry_points: str) -> None:
    for name, text in PACKAGE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    info = root / "toy_method-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-method\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    monkeypatch.syspath_prepend(str(root))
    importlib.invalidate_caches()
    for name in [name for name in sys.modules if name.split(".")[0] == "toy_method"]:
        monkeypatch.delitem(sys.modules, name)
    registry._allowed.cache_clear()


@pytest.fixture
def toy(tmp_path, monkeypatch):
    points = "[ar_core.recipes]\ntoy = toy_method:RECIPE\n[ar_core.decoders]\ntoy = toy_method:DECODER\n"
    points += "[ar_core.commands]\ntoy-fit = toy_method:COMMAND\n"
    _install(tmp_path, monkeypatch, points)
    yield tmp_path
    registry._allowed.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "toy_method"]:
        del sys.modules[name]


def test_an_installed_package_is_found(toy) -> None:
    assert isinstance(registry.recipes()["toy"], Recipe)
    assert isinstance(registry.decoders()["toy"], Decoder)
    assert registry.recipe("toy").summary == "A toy"
    assert registry.commands()["toy-fit"].summary == "Fits"
    assert registry.decoder("toy").kind == "text"
    assert list(registry.recipes()) == sorted(registry.recipes())


def test_configs_and_recipe_file(toy) -> None:
    recipe = registry.recipe("toy")
    folder = toy / "toy_method" / "recipes"
    assert configs(recipe) == {"large": folder / "large.yaml", "tiny": folder / "tiny.yaml"}
    assert recipe_file(recipe) == folder / "toy.py"


def test_config_path_accepts_names_and_all_kinds_of_paths(toy, tmp_path, monkeypatch) -> None:
    recipe = registry.recipe("toy")
    shipped = toy / "toy_method" / "recipes" / "tiny.yaml"
    mine = tmp_path / "elsewhere" / "mine.yaml"
    mine.parent.mkdir()
    mine.write_text("a: 3\n")
    monkeypatch.chdir(mine.parent)
    monkeypatch.setenv("MY_CONFIGS", str(mine.parent))
    assert config_path(recipe, "tiny") == shipped
    assert config_path(recipe, "tiny.yaml") == shipped
    assert config_path(recipe, "toy_method/recipes/tiny.yaml") == shipped
    assert config_path(recipe, "toy_method/recipes/tiny") == shipped
    assert config_path(recipe, str(mine)) == mine
    assert config_path(recipe, "mine.yaml").resolve() == mine
    assert config_path(recipe, "./mine.yaml").resolve() == mine
    assert config_path(recipe, "../elsewhere/mine.yaml").resolve() == mine
    assert config_path(recipe, "$MY_CONFIGS/mine.yaml") == mine


def test_a_file_that_looks_like_a_path_wins_over_a_shipped_name(toy, tmp_path, monkeypatch) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "tiny.yaml").write_text("a: 9\n")
    monkeypatch.chdir(tmp_path / "work")
    assert config_path(registry.recipe("toy"), "tiny.yaml").read_text() == "a: 9\n"
    assert config_path(registry.recipe("toy"), "tiny").read_text() == "a: 1\n"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("tinny", "toy ships no config 'tinny'; did you mean 'tiny'?"),
        ("./tinny.yaml", "is no file here and no shipped config of toy; did you mean 'tiny'?"),
        ("toy_method/recipes/tinny.yaml", "did you mean 'tiny'?"),
    ],
)
def test_unknown_configs(toy, reference, message) -> None:
    with pytest.raises(ConfigError) as caught:
        config_path(registry.recipe("toy"), reference)
    assert message in str(caught.value)


def test_unknown_method_names_the_nearest(toy) -> None:
    with pytest.raises(ConfigError, match=r"no installed package has a recipe 'toyy'; did you mean 'toy'\?"):
        registry.recipe("toyy")


def test_a_method_whose_package_is_absent_names_it(toy, monkeypatch) -> None:
    monkeypatch.setattr(registry, "HOMES", {"far": "package-that-is-not-here"})
    with pytest.raises(MissingPackageError, match="pip install package-that-is-not-here"):
        registry.decoder("far")


def test_a_wrong_entry_point_is_named(tmp_path, monkeypatch) -> None:
    _install(tmp_path, monkeypatch, "[ar_core.recipes]\nother = toy_method:NAMELESS\n")
    with pytest.raises(ConfigError, match=r"'other' of ar_core\.recipes names 'toy_method:NAMELESS'"):
        registry.recipes()


def test_resolve_inside_announcing_packages(toy) -> None:
    assert resolve("toy_method.run:Run").__name__ == "Run"
    assert resolve("toy_method.run:build")(None) is None
    assert resolve("ar_core.registry:Recipe") is Recipe


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("os:system", "outside the allowed packages"),
        ("toy_method.run:Fraction", "is defined in 'fractions', outside the allowed packages"),
        ("toy_method.run:VALUE", "is defined in None, outside"),
        ("ar_core.registry:Path", "outside the allowed packages"),
        ("ar_core.registry:metadata", "outside the allowed packages"),
        ("toy_method.run:Runn", "has no 'Runn'; did you mean 'Run'?"),
        ("toy_method.rum:Run", "names the module 'toy_method.rum', which does not exist"),
        ("toy_method.run", "not of the form package.module:name"),
        ("toy_method_evil:x", "outside the allowed packages"),
        (":x", "not of the form"),
    ],
)
def test_resolve_refuses(toy, reference, message) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(reference)
    assert message in str(caught.value)


def test_resolve_does_not_hide_an_import_error_inside_the_module(toy) -> None:
    with pytest.raises(ModuleNotFoundError, match="a_package_that_does_not_exist"):
        resolve("toy_method.broken:x")


def test_evaluations_are_found_and_a_wrong_name_gets_the_nearest():
    assert {"gsm8k", "humaneval", "mbpp", "spec_bench"} <= set(evaluations())
    for name, record in evaluations().items():
        assert record.name == name
        assert set(record.needs_examples) <= set(record.protocols)
        assert callable(resolve(record.build))
    with pytest.raises(ConfigError, match="an evaluation 'humanevl'; did you mean 'humaneval'"):
        evaluation("humanevl")


def test_decoders_that_call_themselves_lossless_say_so_to_programs():
    told = {name for name, record in decoders().items() if record.summary.startswith("Lossless")}
    assert told
    assert told == {name for name, record in decoders().items() if record.lossless}
