"""What our command lines share: results as tables or one JSON document, errors as one sentence, help with examples (extra ``cli``)."""

try:
    import typer as _typer  # noqa: F401
except ImportError as error:
    from ar_core.errors import MissingPackageError

    raise MissingPackageError(
        "ar_core.command_line needs typer, which is not installed: pip install 'ar-core[cli]'."
    ) from error

from .add import JsonOption, QuietOption, add_command
from .complete import Words, completed, settings_of, typed
from .console import terminal
from .group import Commands
from .program import run_program

__all__ = [
    "Commands",
    "JsonOption",
    "QuietOption",
    "Words",
    "add_command",
    "completed",
    "run_program",
    "settings_of",
    "terminal",
    "typed",
]
