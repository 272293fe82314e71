"""Every method is one folder with the same rooms, and nothing in it that nobody uses.

A folder with `recipes/` is a method, or a stage that makes data: `config.py`, `objective.py`, `decode.py` and `train.py` of the one,
`config.py` and `stage.py` of the other. What is left out has its reason here.
"""

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(ROOT.glob("packages/*/src"))
FOLDERS = {
    path.parent.relative_to(source).as_posix(): path.parent for source in SOURCES for path in source.rglob("recipes")
}
STAGES = {name for name, folder in FOLDERS.items() if (folder / "stage.py").is_file()}
METHODS = FOLDERS.keys() - STAGES
TRAINING_FREE = {"dlm_text/diffuspec": ROOT / "packages/dlm-text/src/dlm_text/diffuspec"}
ABSENT = {
    ("ar_vision/backbones/far", "decode.py"): "LlamaGen's, with a head of its own",
    ("ar_vision/cca", "decode.py"): "its result is a checkpoint of the start's kind",
    ("ar_vision/glotok", "decode.py"): "a tokenizer",
    ("ar_vision/tokenizers/training", "decode.py"): "tokenizers",
    ("dlm_text/autoregressive", "decode.py"): "ar-core's, which every table measures against",
    ("dvlm/autoregressive", "decode.py"): "ar-core's",
    ("ar_vision/cca/log_probs", "config.py"): "it is run with the config of the run that it prepares",
}
BY_NAME = {
    "ar_vision/distilled_decoding": [("llamagen_loading", "`families.py` puts its name together from a kind's")],
}
"""Modules that no text names."""
DECODERS = {
    "ar_vision/sar": ("published_decoding", "FlexVAR's decoder, with the settings that were published"),
    "ar_vision/nsarm": ("upscale", "from pictures to pictures"),
}
"""Names of decoders that are not `generate`."""


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def defined(path: Path) -> dict[str, ast.FunctionDef | ast.ClassDef]:
    return {node.name: node for node in tree(path).body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def imported(path: Path) -> set[str]:
    """Modules that a file imports, as written, with the names that are taken from them."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module or ''}.{alias.name}" for alias in node.names)}
    return found


def frozen_dataclasses(path: Path) -> list[str]:
    return [
        name
        for name, node in defined(path).items()
        if any("dataclass(frozen=True" in ast.unparse(part) for part in node.decorator_list)
    ]


def test_all_folders_are_found():
    assert len(METHODS) == 19
    assert len(STAGES) == 5
    assert all(folder.is_dir() for folder in TRAINING_FREE.values())
    assert {name for name, _ in ABSENT} <= FOLDERS.keys()


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_rooms_are_there_or_their_absence_has_a_reason(name):
    wanted = {"config.py", "stage.py"} if name in STAGES else {"config.py", "objective.py", "decode.py", "train.py"}
    absent = {room for room in wanted if not (FOLDERS[name] / room).is_file()}
    assert absent == {room for folder, room in ABSENT if folder == name}


@pytest.mark.parametrize("name", sorted(TRAINING_FREE))
def test_training_free_methods_have_settings_and_a_decoder(name):
    folder = TRAINING_FREE[name]
    assert frozen_dataclasses(folder / "config.py")
    assert "generate" in defined(folder / "decode.py")
    assert not any((folder / room).exists() for room in ("objective.py", "train.py", "recipes"))


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_a_recipe_is_a_few_lines_with_a_tiny_config(name):
    folder = FOLDERS[name]
    announced = re.findall(r'Recipe\(\s*name="(\w+)"', (folder / "__init__.py").read_text())
    if not announced:
        announced = re.findall(r'Recipe\(\s*name="(\w+)"', (folder.parent / "__init__.py").read_text())
    scripts = [path for path in (folder / "recipes").glob("*.py") if path.name != "__init__.py"]
    assert [path.stem for path in scripts] == [one for one in announced if (folder / f"recipes/{one}.py").is_file()]
    assert len(scripts) == 1
    assert len(scripts[0].read_text().splitlines()) <= 20
    assert (folder / "recipes/__init__.py").is_file()
    configs = {path.stem: yaml.safe_load(path.read_text()) for path in (folder / "recipes").glob("*.yaml")}
    assert "tiny" in configs
    assert all(isinstance(config, dict) and config for config in configs.values())


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_a_run_is_a_frozen_dataclass_that_build_turns_into_a_job(name):
    path = FOLDERS[name] / ("stage.py" if name in STAGES else "train.py")
    build = defined(path)["build"]
    assert isinstance(build, ast.FunctionDef)
    run, job = ast.unparse(build.args.args[0].annotation), ast.unparse(build.returns)
    assert run in frozen_dataclasses(path)
    assert run.endswith("Run")
    assert job == ("StageJob" if name in STAGES else "Job")


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_settings_are_frozen_dataclasses_and_need_no_torch(name):
    if (name, "config.py") in ABSENT:
        return
    path = FOLDERS[name] / "config.py"
    assert frozen_dataclasses(path)
    assert not {module for module in imported(path) if module.split(".")[0] == "torch"}


@pytest.mark.parametrize("name", sorted(METHODS))
def test_an_objective_knows_no_trainer(name):
    path = FOLDERS[name] / "objective.py"
    assert [one for one in defined(path) if one.endswith("Objective")]
    used = imported(path)
    assert not {module for module in used if re.match(r"(lightning|logging|torchtune|peft|transformers)\b", module)}
    taken = {module.rpartition(".")[2] for module in used if module.startswith("ar_core.training.")}
    assert not taken & {"Job", "TrainConfig", "TrainStep", "recipe_main", "run_recipe", "train"}


@pytest.mark.parametrize("name", sorted({*METHODS, *TRAINING_FREE} - {name for name, _ in ABSENT}))
def test_a_decoder_is_called_generate(name):
    folder = {**FOLDERS, **TRAINING_FREE}[name]
    decoder, reason = DECODERS.get(name, ("generate", "as all"))
    assert reason
    assert decoder in defined(folder / "decode.py")
    assert not {module for module in imported(folder / "decode.py") if re.match(r"(lightning|logging)\b", module)}


@pytest.fixture(scope="module")
def named() -> set[str]:
    """Names of modules, as imports, entry points, benchmarks and pages of the docs have them."""
    patterns = ("packages/*/src/**/*.py", "packages/*/pyproject.toml", "benchmarks/**/*.py", "docs/**/*.md")
    texts = [path.read_text() for pattern in patterns for path in sorted(ROOT.glob(pattern))]
    lines = re.findall(r"^ *(?:from|import) .+$", "\n".join(texts), re.MULTILINE)
    found = {word for line in lines for word in re.findall(r"\w+", line)}
    return found | {word for text in texts for word in re.findall(r"\w\.(\w+)[:`]", text)}


@pytest.mark.parametrize("name", sorted({*FOLDERS, *TRAINING_FREE}))
def test_every_file_of_a_folder_is_used(name, named):
    folder = {**FOLDERS, **TRAINING_FREE}[name]
    unused = [path.stem for path in folder.glob("*.py") if path.stem not in {"__init__", "__main__", *named}]
    assert unused == [module for module, _ in BY_NAME.get(name, ())]
