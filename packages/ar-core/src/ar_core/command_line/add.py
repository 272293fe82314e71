"""Commands that give a result: shown as tables on a terminal, as text elsewhere, or as one JSON document."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Annotated, Any

import typer

from ..json_document import only_the_document, print_document, undocumented
from ..quiet import quieted
from .help import CommandWithExamples
from .show import show, show_notes

__all__ = ["JsonOption", "QuietOption", "add_command"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document and nothing else.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes, only the result.")]


def add_command(
    app: typer.Typer,
    function: Callable[..., Any],
    *,
    examples: Sequence[str],
    fields: Mapping[str, str],
    name: str | None = None,
    summary: str | None = None,
    settings: str | None = None,
    tells: bool = False,
) -> None:
    """Add a command to a program, with ``--json`` and ``--quiet`` and a help that ends with examples.

    Args:
        app: the program.
        function: does the work and returns a :class:`~ar_core.command_result.CommandResult`, or text alone.
        examples: command lines.
        fields: of the JSON document, one or several with commas between, with what they mean.
        name: as users type it; default: the function's.
        summary: default: the function's docstring.
        settings: ``"module:Class"`` whose fields the help lists.
        tells: the function takes ``as_json`` and ``quiet`` and prints its result itself.
    """
    kind = CommandWithExamples.of(examples, fields, settings)
    app.command(name, cls=kind, help=summary)(function if tells else _shown(function, fields))


def _shown(function: Callable[..., Any], fields: Mapping[str, str]) -> Callable[..., None]:
    signature = inspect.signature(function)
    takes_json = "as_json" in signature.parameters

    @wraps(function)
    def command(*, as_json: bool, quiet: bool, **given: Any) -> None:
        more = {"as_json": as_json} if takes_json else {}
        with quieted(quiet):
            with only_the_document(as_json):
                result = function(**given, **more)
            if as_json:
                data = result.data if hasattr(result, "data") else {"said": str(result)}
                unknown = undocumented(data, fields)
                assert not unknown, f"fields without documentation: {unknown}"
                print_document(data)
                show_notes(result)
            else:
                show(result)
        if code := getattr(result, "exit_code", 0):
            raise typer.Exit(code)

    added = {"as_json": JsonOption, "quiet": QuietOption}
    parameters = [
        *(one for one in signature.parameters.values() if one.name not in added),
        *(
            inspect.Parameter(one, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
            for one, annotation in added.items()
        ),
    ]
    command.__signature__ = signature.replace(parameters=parameters, return_annotation=None)  # type: ignore[attr-defined]  # what inspect reads, and typer
    command.__annotations__ = {**function.__annotations__, **added, "return": None}
    return command
