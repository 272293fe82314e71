"""The files that come with the package: two tiny models and a dozen prompts."""

from pathlib import Path

from ar_core.errors import CheckpointError

__all__ = ["PROMPTS", "shipped_weights"]

_HERE = Path(__file__).parent

PROMPTS = _HERE / "prompts.jsonl"
"""Prompts for the real model, two of each category, written for this package."""


def shipped_weights(name: str) -> Path:
    """Folder of a shipped model: ``ar`` (the autoregressive one) or ``fast_dllm_v2`` (its conversion).

    Raises:
        CheckpointError: the installation lacks it.
    """
    folder = _HERE / "weights" / name
    if not (folder / "model.safetensors").is_file():
        raise CheckpointError(
            f"the shipped model {name!r} is not in this installation of ar-quickstart; install the package again"
        )
    return folder
