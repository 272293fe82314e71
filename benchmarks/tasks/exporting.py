"""The models that ar-quickstart ships: one seed's base and what the methods made of it, in half precision, each with its card."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ar_core.errors import DataError
from ar_core.hf import load_causal_lm, save_pretrained
from ar_core.io import atomic_directory
from ar_quickstart.methods_act import METHODS
from ar_quickstart.recorded import Recorded, write_recorded
from ar_quickstart.shipped import MODELS, RECORDED

from .conversion import weight_change
from .recording import RESULTS, live_row, recorded_rows, result_row

__all__ = ["export"]

CARD = """---
license: apache-2.0
library_name: transformers
---

# {title}

{description}

- Architecture: Llama, {parameters:,} parameters, 4 layers of width 160, one token per word, digit or sign (85 ids). Weights in
  float16, rounded from float32.
- Data: problems generated from a seed (`dlm_text.tasks`, task `mixed`): arithmetic with a written scratchpad, word problems,
  records to JSON. A tenth of all possible problems, chosen by a hash of the prompt, is never trained on.
- Made by `{command}`.
- Measured before rounding, batch 1, {problems} held-out problems: {figures}. Source: `benchmarks/results/{source}`, {date}.
- Use: demonstrations and tests of decoders. It knows nothing but these three kinds of problems, and tiny models on regular
  tasks are a best case for parallel decoding.
"""


@dataclass(frozen=True)
class Words:
    """What the card of one model says about it.

    Attributes:
        title: of the card.
        description: how it was made.
        training: the commands that train and measure it, before the export.
    """

    title: str
    description: str
    training: str


TRAINED = (
    "python -m benchmarks.tasks train{method} --seed {seed} && python -m benchmarks.tasks measure{method} --seed {seed}"
)

WORDS = {
    "ar": Words(
        "A tiny autoregressive model for problems with exact answers",
        "Trained from scratch, next token by next token.",
        TRAINED.replace("{method}", ""),
    ),
    "fast_dllm_v2": Words(
        "The same model, converted with Fast-dLLM v2",
        "Full fine-tuning of the autoregressive model to denoise blocks of 8 tokens (arXiv 2509.26328).",
        TRAINED.replace("{method}", ""),
    ),
    "efficient_dlm": Words(
        "The same model, converted with Efficient-DLM",
        "Full fine-tuning of the autoregressive model to denoise blocks of 8 tokens from clean context, without token shift "
        "(arXiv 2512.14067).",
        TRAINED.replace("{method}", " --method efficient_dlm"),
    ),
    "jacobi_forcing": Words(
        "The same model after Jacobi Forcing",
        "Full fine-tuning of the autoregressive model on its own Jacobi iterations, so that it predicts well from a context that is "
        "still partly wrong (arXiv 2512.14681). It stays autoregressive.",
        "python -m benchmarks.jacobi_forcing train tasks --seed {seed} && "
        "python -m benchmarks.jacobi_forcing measure tasks --seed {seed}",
    ),
}


def export(seed: int, folders: Mapping[str, Path], results: Mapping[str, dict[str, Any]], target: Path) -> None:
    """Write all shipped models and the recorded figures into ``target``, which is replaced as a whole.

    A conversion is worth nothing beside another base than its own, so nothing is exported alone.

    Args:
        seed: of the models.
        folders: the trained models, by their names in ``MODELS``.
        results: what was measured with them, by method; the cards quote those of the shipped models, and methods that ship none
            (DiffuSpec) may lack theirs.
        target: folder of the shipped weights.

    Raises:
        DataError: results are missing, or are those of other models.
    """
    for name in MODELS[1:]:
        if name not in results:
            raise DataError(
                f"benchmarks/results/{RESULTS[name].format(seed=seed)} is not there, and the card of {name} quotes it: run "
                f"{WORDS[name].training.format(seed=seed)}"
            )
    models = {name: load_causal_lm(folders[name]) for name in MODELS}
    for name in MODELS[1:]:
        _check_measured(name, results[name], models["ar"].model, models[name].model)
    with atomic_directory(target, replace=True) as folder:
        for name, loaded in models.items():
            save_pretrained(loaded.model.to(torch.float16), folder / name, tokenizer=loaded.tokenizer)
            (folder / name / "README.md").write_text(_card(name, seed, results), encoding="utf-8")
        weights = {name: _digest(folder / name / "model.safetensors") for name in MODELS}
        write_recorded(Recorded(recorded_rows(results, seed), weights), folder / RECORDED.name)


def _check_measured(name: str, result: Mapping[str, Any], base: Any, converted: Any) -> None:
    """Hold the recorded change of the weights against that of the models at hand: figures of other models are refused."""
    change = [round(value, 5) for value in weight_change(base, converted)]
    if result.get("weight_change") != change:
        raise DataError(
            f"benchmarks/results holds figures of {name} that were measured with other models than those to export (weight_change "
            f"is {result.get('weight_change')} there and {change} here): measure these"
        )


def _card(name: str, seed: int, results: Mapping[str, dict[str, Any]]) -> str:
    method = next(method for method in METHODS if method.model == name or name == "ar")
    result = results[method.decoder]
    base = result_row(result, "AR base")
    figures = _figures(base)
    if name != "ar":
        row = live_row(method, result)
        figures = (
            f"{_figures(row)}, {row['speed']:.2f} times the tokens per second of the autoregressive model (`{row['name']}`; "
            f"autoregressive: {figures})"
        )
    words = WORDS[name]
    commands = [words.training.format(seed=seed), f"python -m benchmarks.tasks export --seed {seed}"]
    if name == "jacobi_forcing":
        commands.insert(0, TRAINED.format(method="", seed=seed))
    return CARD.format(
        title=words.title,
        description=words.description,
        parameters=results["fast_dllm_v2"]["parameters"],
        command=" && ".join(commands),
        problems=result["data"]["problems"],
        figures=figures,
        source=RESULTS[method.decoder].format(seed=seed),
        date=result["environment"]["date"][:10],
    )


def _figures(row: Mapping[str, Any]) -> str:
    return f"{100 * row['accuracy']:.1f} % exact answers at {row['tokens_per_forward']:.2f} tokens per forward"


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
