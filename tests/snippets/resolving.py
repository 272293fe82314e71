"""Commands that are not executed: they exist, their options parse, what they name is there, and their configs compose."""

import argparse
import contextlib
import importlib
import re
import sys
import tomllib
from collections.abc import Callable, Sequence
from functools import cache
from importlib import metadata
from typing import Any
from unittest import mock

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .pages import ROOT

__all__ = ["RESOLVERS", "SnippetError", "resolve"]


class SnippetError(AssertionError):
    """A block that does not do what the page says."""


NOT_OF_THE_WORKSPACE = {
    "uv": "makes the environment",
    "easy-vqa": "questions about pictures that a benchmark trains on",
    "vllm": "a serving engine, in an environment of its own",
    "sglang": "a serving engine, in an environment of its own",
}
"""What pages tell to install besides; none of it is in the lock file."""

UV_OPTIONS = {
    "--locked": 0,
    "--all-extras": 0,
    "--all-packages": 0,
    "--group": 1,
    "--extra": 1,
    "--package": 1,
    "--python": 1,
    "--no-sync": 0,
    "--resolution": 1,
    "--with": 1,
}
PIP_OPTIONS = {"-e": 0, "-U": 0, "--upgrade": 0, "--no-deps": 0, "--pre": 0}


class _Parsed(BaseException):
    """Ends a program behind its parser."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments


def resolve(words: Sequence[str]) -> None:
    """Check a command without running it.

    Raises:
        SnippetError: it cannot work as written.
    """
    resolver = RESOLVERS.get(words[0])
    if resolver is None:
        raise SnippetError(f"nothing here knows the program {words[0]!r}; add it to tests/snippets/resolving.py")
    resolver(words)


def _options_then_rest(words: Sequence[str], known: dict[str, int]) -> list[str]:
    rest = list(words)
    while rest and rest[0].startswith("-"):
        name = rest.pop(0)
        if name not in known:
            raise SnippetError(f"the option {name} of {' '.join(words)!r} is not known here")
        del rest[: known[name]]
    return rest


@cache
def members() -> dict[str, dict[str, Any]]:
    """The table ``project`` of every member of the workspace, by its name."""
    files = [
        ROOT / "kernels" / "pyproject.toml",
        *ROOT.glob("packages/*/pyproject.toml"),
        *ROOT.glob("apps/*/pyproject.toml"),
    ]
    projects = (tomllib.loads(file.read_text(encoding="utf-8"))["project"] for file in files)
    return {project["name"]: project for project in projects}


@cache
def _locked() -> frozenset[str]:
    return frozenset(one["name"] for one in tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"])


def _requirement(text: str) -> None:
    if text.startswith((".", "/")):
        if not (ROOT / text / "pyproject.toml").is_file():
            raise SnippetError(f"{text!r} holds no pyproject.toml")
        return
    asked = Requirement(text)
    name = canonicalize_name(asked.name)
    if name in members():
        extras = members()[name].get("optional-dependencies", {})
        for extra in asked.extras:
            if extra not in extras:
                raise SnippetError(f"{name} has no extra {extra!r}: it has {', '.join(extras)}")
    elif name not in _locked() and name not in NOT_OF_THE_WORKSPACE:
        raise SnippetError(f"{name} is no member of the workspace, and nothing that it depends on")


def _pip(words: Sequence[str]) -> None:
    action, *rest = words[1:]
    if action not in ("install", "download"):
        raise SnippetError(f"pip {action} is not known here")
    asked = [word for word in rest if not word.startswith("-")]
    _options_then_rest([word for word in rest if word.startswith("-")], PIP_OPTIONS)
    if not asked:
        raise SnippetError(f"{' '.join(words)!r} installs nothing")
    for one in asked:
        _requirement(one)


def _uv(words: Sequence[str]) -> None:
    action, *rest = words[1:]
    if action == "run":
        resolve(_options_then_rest(rest, UV_OPTIONS))
    elif action == "pip":
        _pip(["pip", *rest])
    elif action == "sync":
        if _options_then_rest(rest, UV_OPTIONS):
            raise SnippetError(f"{' '.join(words)!r} has more words than options")
    elif action == "venv":
        _options_then_rest(rest, {"--python": 1})
    else:
        raise SnippetError(f"uv {action} is not known here")


def _python(words: Sequence[str]) -> None:
    if len(words) < 3 or words[1] != "-m":
        raise SnippetError(f"{' '.join(words)!r} is no `python -m MODULE`")
    module, arguments = words[2], words[3:]
    if module in ("pip", "uv"):
        (_pip if module == "pip" else _uv)([module, *arguments])
    elif module.partition(".")[0] == "benchmarks":
        _benchmark(module, arguments)
    elif module == "ar_decode.harness":
        _lm_eval(arguments)
    elif module == "torchtune._cli.tune":
        _tune(["tune", *arguments])
    elif module == "venv":
        pass
    elif module == "sglang.launch_server":
        _served(["sglang", *arguments])
    elif ".recipes." in module:
        _recipe_file(f"{module.replace('.', '/')}.py", arguments)
    else:
        raise SnippetError(f"the module {module!r} is not known here")


def parsed(main: Callable[[], Any], program: str, arguments: Sequence[str]) -> argparse.Namespace | None:
    """What a program's own parser makes of arguments; None where it has none. The program does nothing else."""
    names = ("parse_args", "parse_intermixed_args")
    originals = {name: getattr(argparse.ArgumentParser, name) for name in names}

    def ending(name: str) -> Callable[..., Any]:
        def parse(self: argparse.ArgumentParser, *given: Any, **named: Any) -> Any:
            raise _Parsed(originals[name](self, *given, **named))

        return parse

    with contextlib.ExitStack() as patches:
        for name in names:
            patches.enter_context(mock.patch.object(argparse.ArgumentParser, name, ending(name)))
        patches.enter_context(mock.patch.object(sys, "argv", [program, *arguments]))
        try:
            main()
        except _Parsed as done:
            return done.arguments
        except SystemExit as ended:
            raise SnippetError(f"{program} does not take {' '.join(arguments)!r}") from ended
    raise SnippetError(f"{program} has run without parsing its arguments")


def _benchmark(module: str, arguments: Sequence[str]) -> None:
    if module == "benchmarks.tables":
        if arguments:
            raise SnippetError("benchmarks.tables takes no arguments")
        return
    try:
        found = importlib.import_module(f"{module}.__main__")
    except ModuleNotFoundError:
        found = importlib.import_module(module)
    given = parsed(found.main, module, arguments)
    part = getattr(given, "part", None)
    if part is not None and hasattr(found, "_suite") and part not in found._suite().parts:
        raise SnippetError(f"{module} has no part {part!r}")


def _lm_eval(arguments: Sequence[str]) -> None:
    from ar_core.registry import decoder
    from lm_eval._cli import HarnessCLI

    given = parsed(lambda: HarnessCLI().parse_args(), "ar_decode.harness", arguments)
    if given is None or given.model != "ar_decode":
        raise SnippetError("the harness is there for the model ar_decode")
    method = re.search(r"method=(\w+)", str(given.model_args))
    decoder(method[1] if method else "ar")


def _typed(app: Any, words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The subcommand and its parameters, as the command line's own parser reads them; the command itself does nothing."""
    import typer

    group: Any = typer.main.get_command(app)
    seen: dict[str, Any] = {}
    for command in getattr(group, "commands", {"": group}).values():
        command.callback = seen.update
    try:
        group(list(words[1:]), prog_name=words[0], standalone_mode=False)
    except Exception as error:
        said = error.format_message() if hasattr(error, "format_message") else str(error)
        raise SnippetError(f"{' '.join(words)!r}: {said}") from error
    return words[1] if len(words) > 1 else "", seen


def _ar_train(words: Sequence[str]) -> None:
    from ar_core.registry import Recipe
    from ar_core.training import read_run_config
    from ar_train.cli import app
    from ar_train.reference import recipe_of_run

    name, given = _typed(app, words)
    if not given:
        return
    if name in ("run", "fit", "plan", "validate"):
        target = recipe_of_run(given["recipe"])
        if isinstance(target, Recipe):
            read_run_config(target, given["config"], given["overrides"] or [])
    elif name == "convert":
        from ar_core.registry import converter

        converter(given["kind"])
    elif name in ("export", "verify-export"):
        from ar_core.serving import engine

        engine(given["engine"])


def _ar_decode(words: Sequence[str]) -> None:
    from ar_core.config import apply_overrides, from_dict, text_fields
    from ar_core.registry import commands, decoder, evaluation
    from ar_core.registry import resolve as imported
    from ar_decode.cli import app

    name, given = _typed(app, words)
    if name in commands():
        kind = imported(commands()[name].options)
        from_dict(kind, apply_overrides({}, given["settings"] or [], texts=text_fields(kind)))
        return
    if given.get("method"):
        decoder(given["method"])
    if name == "eval":
        evaluation(given["task"])


def _ar_quickstart(words: Sequence[str]) -> None:
    from ar_quickstart.cli import app

    _typed(app, words)


def _release(words: Sequence[str]) -> None:
    from ar_release.cli import app
    from ar_release.workspace import find_workspace

    _, given = _typed(app, words)
    for name in [*(given.get("names") or []), *([given["name"]] if given.get("name") else [])]:
        find_workspace(ROOT).package(name)


def _recipe_file(path: str, arguments: Sequence[str]) -> None:
    from ar_core.training import read_run_config
    from ar_train.reference import named_recipe

    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    parser.add_argument("--resume")
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_intermixed_args(arguments)
    read_run_config(named_recipe(path), given.config, given.overrides)


def _tune(words: Sequence[str]) -> None:
    if words[1] != "run":
        raise SnippetError(f"tune {words[1]} is not ours")
    file = next((place for place, word in enumerate(words) if word.endswith(".py")), None)
    if file is None:
        raise SnippetError(f"{' '.join(words)!r} names no recipe file")
    _torchrun_options(words[2:file])
    _recipe_file(words[file], words[file + 1 :])


def _torchrun(words: Sequence[str]) -> None:
    place = list(words).index("-m") if "-m" in words else -1
    if place < 0:
        raise SnippetError(f"{' '.join(words)!r} names no module")
    _torchrun_options(words[1:place])
    _python(["python", *words[place:]])


def _torchrun_options(options: Sequence[str]) -> None:
    from torch.distributed.run import get_args_parser

    try:
        get_args_parser().parse_args([*options, "script.py"])
    except SystemExit as ended:
        raise SnippetError(f"torchrun does not take {' '.join(options)!r}") from ended


def _srun(words: Sequence[str]) -> None:
    resolve(list(words[1:]))


def _served(words: Sequence[str]) -> None:
    """The launch line that an export prints; engines are not installed here."""
    from ar_core.serving import ENGINES

    launch = ENGINES[words[0]].launch
    named = set(re.findall(r"--[\w-]+", launch)) | {
        "--dllm-algorithm",
        "--dllm-algorithm-config",
        "--json-model-override-args",
    }
    for word in words[1:]:
        if word.startswith("--") and word not in named:
            raise SnippetError(f"no export prints the option {word} of {words[0]}")


def _pytest(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    for option in ("-n", "-k", "-m"):
        parser.add_argument(option)
    parser.add_argument("-q", action="store_true")
    parser.add_argument("paths", nargs="*")
    try:
        given = parser.parse_args(words[1:])
    except SystemExit as ended:
        raise SnippetError(f"an option of {' '.join(words)!r} is not known here") from ended
    for path in given.paths:
        if not (ROOT / path.partition("::")[0]).exists():
            raise SnippetError(f"there is no {path}")


def _installed(words: Sequence[str]) -> None:
    if not any(one.name == words[0] for one in metadata.entry_points(group="console_scripts")):
        raise SnippetError(f"no installed package has the command {words[0]!r}")


def _source(words: Sequence[str]) -> None:
    if words[1:] != [".venv/bin/activate"]:
        raise SnippetError(f"{' '.join(words)!r} is no environment that uv makes")


def _nothing(words: Sequence[str]) -> None:
    """A program of the system, whose arguments nobody checks; a rule says why."""


RESOLVERS: dict[str, Callable[[Sequence[str]], None]] = {
    "ar-train": _ar_train,
    "ar-decode": _ar_decode,
    "ar-quickstart": _ar_quickstart,
    "release": _release,
    "pip": _pip,
    "python": _python,
    "python3": _python,
    "uv": _uv,
    "tune": _tune,
    "torchrun": _torchrun,
    "srun": _srun,
    "vllm": lambda words: _served(["vllm", *words[2:]]),
    "pytest": _pytest,
    "ruff": _installed,
    "lint-imports": _installed,
    "mypy": _installed,
    "source": _source,
    "npm": _nothing,
    "git": _nothing,
}
