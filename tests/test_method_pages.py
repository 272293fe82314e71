"""One page a method: the same sections, settings that are those of the code, commands that exist.

Dataclasses are read from their source (`ar_core.config.described`), so that no page needs torch to be checked. The drawings are held
in `test_method_pictures.py`, or by the packages that draw them.
"""

import ast
import html
import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from ar_core.config import described
from ar_core.registry import commands, configs, converters, decoders, packaged_file, recipes
from ar_core.serving import ENGINES
from ar_decode.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = {path.stem: path for path in sorted((ROOT / "docs" / "methods").glob("*.md"))}
SECTIONS = [
    "What it does",
    "When to use it, and when not",
    "Picture",
    "Equations",
    "Training",
    "Decoding",
    "Settings",
    "Commands",
    "Cost",
    "Measured",
    "Differences from the paper and from the published code",
    "What users ask",
    "Pitfalls",
]
HEADER = ["setting", "paper's symbol", "default", "published", "what it is, and what else there is"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

SETTINGS = {
    "cca": ["ar_vision.cca.config:CcaConfig"],
    "diffusionvl": [
        "dvlm.diffusionvl.config:DiffusionVLConfig",
        "dvlm.autoregressive.config:AutoregressiveVLConfig",
        "dvlm.diffusionvl.decode:DiffusionVLDecodeConfig",
    ],
    "diffuspec": ["dlm_text.diffuspec.config:DiffuSpecConfig", "dlm_text.diffuspec.fit_proxy:FitProxyConfig"],
    "distilled_decoding": [
        "ar_vision.distilled_decoding.pairs.config:NoiseCodePairsConfig",
        "ar_vision.distilled_decoding.flow.config:FlowSolver",
        "ar_vision.distilled_decoding.pairs.texts:PairTexts",
        "ar_vision.distilled_decoding.pairs.config:PairDataConfig",
        "ar_vision.distilled_decoding.train:StudentModelConfig",
        "ar_vision.distilled_decoding.student_config:NoiseDataEmbedding",
        "ar_vision.distilled_decoding.config:DistilledDecodingConfig",
        "ar_vision.distilled_decoding.options:DistilledOptions",
    ],
    "ecm": [
        "ar_vision.ecm.config:EcmConfig",
        "ar_vision.ecm.config:EncoderConfig",
        "ar_vision.ecm.objective_config:EcmObjectiveConfig",
        "ar_vision.ecm.prefix_law:PrefixLaw",
        "ar_vision.ecm.train:ControlDataConfig",
        "ar_vision.ecm.controls.config:ControlConfig",
        "ar_vision.ecm.decode:ControlDecoding",
        "ar_vision.ecm.baselines.config:LoraConfig",
        "ar_vision.ecm.baselines.config:FullConfig",
        "ar_vision.ecm.baselines.config:CarConfig",
    ],
    "efficient_dlm": [
        "dlm_text.efficient_dlm.config:EfficientDLMConfig",
        "dlm_text.efficient_dlm.decode:EfficientDLMDecodeConfig",
    ],
    "fast_dllm_v2": [
        "dlm_text.fast_dllm_v2.config:FastDLLMv2Config",
        "dlm_text.fast_dllm_v2.decode:FastDLLMv2DecodeConfig",
    ],
    "glotok": [
        "ar_vision.glotok.config:GlotokConfig",
        "ar_vision.glotok.histogram_config:HistogramConfig",
        "ar_vision.tokenizers.dual_vq.config:DualVqTokenizerConfig",
        "ar_vision.tokenizers.dual_vq.config:AdapterConfig",
        "ar_vision.tokenizers.dual_vq.config:ResidualConfig",
        "ar_vision.tokenizers.training.usage:UsageConfig",
        "ar_vision.tokenizers.training.discriminator:DiscriminatorConfig",
        "ar_vision.glotok.teacher.config:GlotokTeacherConfig",
        "ar_vision.glotok.teacher.config:PatchFeaturesConfig",
    ],
    "jacobi_forcing": [
        "dlm_text.jacobi_forcing.trajectories.config:JacobiTrajectoriesConfig",
        "dlm_text.jacobi_forcing.source:TrajectoryConfig",
        "dlm_text.jacobi_forcing.config:JacobiForcingConfig",
        "dlm_text.jacobi_forcing.config:NoiseSchedule",
        "dlm_text.jacobi_forcing.decode:JacobiForcingDecodeConfig",
    ],
    "nsarm": [
        "ar_vision.nsarm.objective_config:NsarmTraining",
        "ar_vision.backbones.infinity.objective_config:InfinityTraining",
        "ar_vision.nsarm.train:NsarmRunModel",
        "ar_vision.nsarm.config:MapConfig",
        "ar_vision.nsarm.config:NsarmModelConfig",
        "ar_vision.nsarm.degradation.config:DegradationConfig",
        "ar_vision.nsarm.degradation.config:StageConfig",
        "ar_vision.nsarm.degradation.config:BlurConfig",
        "ar_vision.nsarm.degradation.config:ResizeConfig",
        "ar_vision.nsarm.degradation.config:NoiseConfig",
        "ar_vision.nsarm.decode:NsarmOptions",
        "ar_vision.nsarm.upscaler:Tiling",
    ],
    "sar": [
        "ar_vision.sar.config:SarConfig",
        "ar_vision.backbones.flexvar.schedule_sampler:ScheduleSampler",
        "ar_vision.sar.train:SarModelConfig",
    ],
}
"""Dataclasses whose fields a page tabulates, in the order of its tables."""

NO_TABLE = {
    "CcaPairs",
    "VarStudentConfig",
    "LlamaGenStudentConfig",
    "VarGuessStudentConfig",
    "LlamaGenGuessStudentConfig",
}
"""A base, whose fields stand in the table of `CcaConfig`; and shapes that a checkpoint records and no run gives."""

OTHER_PROGRAMS = {"export", "pip", "python3", "lmms-eval"}


def section(page: str, title: str) -> str:
    """The text of a level-2 section of a page."""
    text = PAGES[page].read_text(encoding="utf-8")
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)[1]


def code_lines(page: str) -> Iterator[str]:
    """The shell commands of a page's blocks, one a line, without comments."""
    for language, block in FENCE.findall(PAGES[page].read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines() if language == "bash" else ():
            yield from (part.strip() for part in re.sub(r"\s#.*", "", line).split("&&") if part.strip())


def test_every_method_has_a_page():
    assert list(PAGES) == sorted(SETTINGS)


@pytest.mark.parametrize("page", PAGES)
def test_pages_have_the_same_sections_in_one_order(page):
    prose = FENCE.sub("", PAGES[page].read_text(encoding="utf-8"))
    assert re.findall(r"^## (.*)$", prose, re.MULTILINE) == SECTIONS
    assert len(re.findall(r"^# ", prose, re.MULTILINE)) == 1
    assert all(section(page, title).strip() for title in SECTIONS)


@pytest.mark.parametrize("page", PAGES)
def test_settings_are_those_of_the_code(page):
    tables = re.findall(r"^### .*\(`(\w+)`\)\n\n((?:\|.*\n)+)", section(page, "Settings"), re.MULTILINE)
    assert [name for name, _ in tables] == [reference.partition(":")[2] for reference in SETTINGS[page]]
    for reference, (name, table) in zip(SETTINGS[page], tables, strict=True):
        header, _, *rows = [[cell.strip() for cell in line.strip("|\n").split(" | ")] for line in table.splitlines()]
        assert header == HEADER, name
        assert {len(row) for row in rows} == {len(HEADER)}, name
        fields = {field.name: field for field in described(reference)[0].fields}
        assert [row[0] for row in rows] == [f"`{field}`" for field in fields], name
        for row in rows:
            field = fields[row[0].strip("`")]
            assert stated(row[2], field.default, field.type), (name, field.name, row[2], field.default)
            assert all(row), (name, field.name)


def stated(cell: str, default: str | None, kind: str) -> bool:
    """Whether a cell gives a default as the command line takes it."""
    code = re.match(r"`([^`]+)`|<code>(.*?)</code>", cell)
    if default is None or code is None:
        return default is None and cell == "required"
    value = code[1] or html.unescape(code[2])
    if default == "its defaults":
        return value in re.findall(r"\w+", kind)
    try:
        return float(value) == float(default)
    except ValueError:
        return value == default


@pytest.mark.parametrize("page", PAGES)
def test_no_config_of_a_method_is_left_out(page):
    """Dataclasses of its config modules, the section `method` of its recipes, and the options of its decoder."""
    tabulated = {reference.partition(":")[2] for reference in SETTINGS[page]}
    (folder,) = ROOT.glob(f"packages/*/src/*/{page}")
    modules = [file for file in folder.rglob("*.py") if file.name == "options.py" or file.stem.endswith("config")]
    found = {
        statement.name
        for file in modules
        for statement in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(statement, ast.ClassDef) and "dataclass" in "".join(map(ast.unparse, statement.decorator_list))
    }
    package = ".".join(folder.relative_to(folder.parents[1]).parts)
    for recipe in recipes().values():
        if f"{recipe.package}.".startswith(f"{package}."):
            found |= {field.type for field in described(recipe.run_config)[0].fields if field.name == "method"}
    if page in decoders():
        found.add(decoders()[page].options.partition(":")[2])
    assert found - NO_TABLE <= tabulated


@pytest.mark.parametrize("page", PAGES)
def test_commands_name_what_exists(page):
    lines = list(code_lines(page))
    assert any(line.startswith(("ar-train", "ar-decode")) for line in lines)
    for line in lines:
        words = shlex.split(line)
        while words and re.match(r"[A-Z][A-Z0-9_]*=", words[0]):
            del words[0]
        assert known(words), line


def known(words: list[str]) -> bool:
    """Whether a command's names, configs and settings exist."""
    match words:
        case ["ar-train", "ls"]:
            return True
        case ["ar-train", "run" | "fit" | "plan", name, *rest]:
            return runs(name, rest)
        case ["ar-train", "convert", kind, *_]:
            return kind in converters()
        case ["ar-train", "export" | "verify-export", engine, *_]:
            return engine in ENGINES
        case ["tune", "run", path, *rest]:
            return packaged_file(path, ".py") is not None and runs(Path(path).stem, rest)
        case ["ar-decode", name, *rest] if name in commands():
            return all(settable(commands()[name].options, word) for word in rest if "=" in word)
        case ["ar-decode", name, *rest]:
            return name in own_commands() and all(
                method in decoders()
                and all(settable(decoders()[method].options, word) for word in given(rest, "--set"))
                for method in given(rest, "--method")
            )
        case ["python", "-m", module, *_] if module.startswith("benchmarks."):
            path = ROOT.joinpath(*module.split("."))
            return path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()
        case [program, *_]:
            return program in OTHER_PROGRAMS
    return False


def own_commands() -> set[str]:
    """Commands of `ar-decode` that no package announces."""
    return {one.name or one.callback.__name__ for one in app.registered_commands}


def given(words: list[str], option: str) -> list[str]:
    """What stands behind an option of a command."""
    return [value for before, value in pairwise(words) if before == option]


def runs(name: str, rest: list[str]) -> bool:
    """Whether there is such a recipe, with such a config, that takes such overrides."""
    if name not in recipes():
        return False
    chosen, overrides = given(rest, "--config"), [word for word in rest if "=" in word]
    return all(one in configs(recipes()[name]) for one in chosen) and all(
        settable(recipes()[name].run_config, one) for one in overrides
    )


def settable(reference: str, override: str) -> bool:
    """Whether a config has the key of an override; in a mapping any key will do."""
    key = override.partition("=")[0].lstrip("~")
    return key in kinds(reference) or "dict" in kinds(reference).get(key.rpartition(".")[0], "")


@cache
def kinds(reference: str) -> dict[str, str]:
    """The types of all settings of a config, by dotted key."""
    return {
        f"{above}.{field.name}".lstrip("."): field.type
        for part in described(reference)
        for above in part.keys or ("",)
        for field in part.fields
    }


@pytest.mark.parametrize("page", PAGES)
def test_recipes_and_configs_in_the_text_exist(page):
    """Also where a command is named in a sentence, without the settings that it needs."""
    text = " ".join(PAGES[page].read_text(encoding="utf-8").split())
    for name, config in re.findall(r"ar-train (?:run|fit|plan) (\w+)(?: --config ([\w]+))?", text):
        assert name in recipes(), name
        assert config in ("", "NAME", *configs(recipes()[name])), (name, config)
    for name, config in re.findall(r"ar-train cat (\w+)/(\w+)", text):
        assert config in configs(recipes()[name]), (name, config)
    for path in re.findall(r"tune run ([\w/.]+\.py)", text):
        assert packaged_file(path, ".py") is not None, path
    assert set(re.findall(r"ar-train convert (\w+)", text)) <= set(converters())
    assert set(re.findall(r"ar-decode ([a-z][\w-]*)", text)) <= set(commands()) | own_commands()


@pytest.mark.parametrize("page", PAGES)
def test_pictures_are_there(page):
    for target in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", PAGES[page].read_text(encoding="utf-8")):
        assert (PAGES[page].parent / target).is_file(), target
    picture = section(page, "Picture")
    assert "text" in [language for language, _ in FENCE.findall(picture)] or "![" in picture
    assert "test" in picture or "`python -m benchmarks." in picture, "the page does not say what makes its picture"
