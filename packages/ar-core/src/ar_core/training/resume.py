"""Continuing a run from what lies in its directory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ..errors import ResumeError
from . import checkpoint
from .identity import require_same_run, with_defaults
from .metrics import FILE
from .state import RunState

__all__ = ["Resume", "resume_run"]

Resume = Literal["auto", "never", "must"]
"""Whether a run continues from its last checkpoint: if there is one, never, or in any case."""


def resume_run(
    state: RunState, identity: Mapping[str, Any], steps: int, directory: Path | None, resume: Resume
) -> int | None:
    """Restore the newest complete checkpoint of a directory into the live run.

    Args:
        state: The live run.
        identity: What the checkpoint must have been made by; see ``run_identity``.
        steps: Optimiser steps of the run.
        directory: The run's directory, or None.
        resume: As in ``train``.

    Returns:
        The step of the checkpoint, or None for a fresh start.

    Raises:
        ResumeError: Every checkpoint is broken; the newest is of another run or model, or beyond the end of this
            one; there is none and ``must`` was asked, or there is a run and ``never`` was.
    """
    if (
        resume == "never"
        and directory is not None
        and (checkpoint.steps_present(directory) or (directory / FILE).exists())
    ):
        raise ResumeError(
            f"{directory} holds a run and resume is 'never': choose another checkpoint_dir, "
            "or continue with resume 'auto'"
        )
    path = checkpoint.latest(directory) if directory is not None else None
    if path is None:
        if resume == "must":
            where = f"{directory} holds no checkpoint" if directory is not None else "checkpoint_dir is not set"
            raise ResumeError(f"{where} and resume is 'must': name the directory of the run to continue")
        return None
    snapshot = checkpoint.load(path, state.rows)
    require_same_run(with_defaults(snapshot.run), identity, f"the checkpoint {path}")
    if snapshot.step > steps:
        raise ResumeError(
            f"the checkpoint {path} has done {snapshot.step} steps and the run has only {steps}: raise steps, "
            "or choose another checkpoint_dir"
        )
    state.restore(snapshot.tensors, path)
    return snapshot.step
