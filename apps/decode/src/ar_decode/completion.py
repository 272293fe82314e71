"""Words that a shell completes. Imports no torch."""

import typer
from ar_core.command_line import Words, completed, typed
from ar_core.registry import decoders, evaluations

__all__ = ["complete_methods", "complete_protocols", "complete_tasks"]


def complete_methods(incomplete: str) -> Words:
    """Decoding methods of text."""
    return completed({name: one.summary for name, one in decoders().items() if one.kind == "text"})(incomplete)


def complete_tasks(incomplete: str) -> Words:
    """Evaluations."""
    return completed({name: one.summary for name, one in evaluations().items()})(incomplete)


def complete_protocols(ctx: typer.Context, incomplete: str) -> Words:
    """Protocols of the evaluation that was named."""
    record = evaluations().get(typed(ctx, "task", 1) or "")
    return completed(record.protocols if record is not None else ())(incomplete)
