"""The files that come with the package: tiny models, what was measured with them, and a dozen prompts."""

from pathlib import Path

from ar_core.errors import CheckpointError

__all__ = ["MODELS", "PROMPTS", "RECORDED", "WEIGHTS", "is_shipped", "shipped_weights"]

_HERE = Path(__file__).parent

MODELS = ("ar", "fast_dllm_v2", "efficient_dlm", "jacobi_forcing")
"""The autoregressive model and what the methods made of it."""

WEIGHTS = _HERE / "weights"
"""Folders of the models, written as a whole by ``python -m benchmarks.tasks export``."""

PROMPTS = _HERE / "prompts.jsonl"
"""Prompts for the real model, two of each category, written for this package."""

RECORDED = WEIGHTS / "recorded.json"
"""Figures of the benchmarks with the shipped models, taken from their results files when the models were exported."""


def is_shipped(name: str) -> bool:
    """Whether this installation has one of ``MODELS``."""
    return (WEIGHTS / name / "model.safetensors").is_file()


def shipped_weights(name: str) -> Path:
    """Folder of a shipped model, one of ``MODELS``.

    Raises:
        CheckpointError: the installation lacks it.
    """
    if not is_shipped(name):
        raise CheckpointError(
            f"the shipped model {name!r} is not in this installation of ar-quickstart; install the package again"
        )
    return WEIGHTS / name
