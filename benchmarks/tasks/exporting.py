"""The models that ar-quickstart ships: one seed's base and what the methods made of it, in half precision, each with its card."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from ar_core.errors import DataError
from ar_core.hf import HFBackbone, LoadedModel, load_causal_lm, save_pretrained
from ar_core.io import atomic_directory
from ar_quickstart.methods_act import METHODS, Method
from ar_quickstart.recorded import Recorded, write_recorded
from ar_quickstart.shipped import MODELS, RECORDED
from dlm_text.tasks import encode_prompt, held_out
from dlm_text.tasks.evaluate import arm

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
- Made, together with the other models that lie beside it and are of no use without each other, by
{commands}
- Measured before rounding, batch 1, {problems} held-out problems: {figures}. Source: `benchmarks/results/{source}`, {date}.
- Use: demonstrations and tests of decoders. It knows nothing but these three kinds of problems, and tiny models on regular
  tasks are a best case for parallel decoding.
"""


TITLES = {
    "ar": (
        "A tiny autoregressive model for problems with exact answers",
        "Trained from scratch, next token by next token.",
    ),
    "fast_dllm_v2": (
        "The same model, converted with Fast-dLLM v2",
        "Full fine-tuning of the autoregressive model to denoise blocks of {block_size} tokens (arXiv 2509.26328).",
    ),
    "efficient_dlm": (
        "The same model, converted with Efficient-DLM",
        "Full fine-tuning of the autoregressive model to denoise blocks of {block_size} tokens from clean context, without token\n"
        "shift (arXiv 2512.14067).",
    ),
    "jacobi_forcing": (
        "The same model after Jacobi Forcing",
        "Full fine-tuning of the autoregressive model on its own Jacobi iterations, so that it predicts well from a context that is\n"
        "still partly wrong (arXiv 2512.14681). It stays autoregressive.",
    ),
}

TRAINED_BY = {
    "fast_dllm_v2": "python -m benchmarks.tasks train --seed {seed}",
    "efficient_dlm": "python -m benchmarks.tasks train --method efficient_dlm --seed {seed}",
    "jacobi_forcing": "python -m benchmarks.jacobi_forcing train tasks --seed {seed}",
    "diffuspec": "python -m benchmarks.diffuspec train tasks --seed {seed}",
}
"""What makes the models of each method, in this order; their results say what measured them."""

CHECKED = 20
"""Problems that are decoded again to see that results are those of the models at hand."""


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
                f"benchmarks/results/{RESULTS[name].format(seed=seed)} is not there, and the card of {name} quotes it: measure "
                f"{name} first"
            )
    models = {name: load_causal_lm(folders[name]) for name in MODELS}
    for name in MODELS[1:]:
        (method,) = (method for method in METHODS if method.model == name)
        _check_measured(method, results[name], models["ar"], models[name])
    with atomic_directory(target, replace=True) as folder:
        for name, loaded in models.items():
            save_pretrained(loaded.model.to(torch.float16), folder / name, tokenizer=loaded.tokenizer)
            (folder / name / "README.md").write_text(_card(name, seed, results), encoding="utf-8")
        weights = {name: _digest(folder / name / "model.safetensors") for name in MODELS}
        write_recorded(Recorded(recorded_rows(results, seed), weights), folder / RECORDED.name)


def _check_measured(method: Method, result: Mapping[str, Any], base: LoadedModel, converted: LoadedModel) -> None:
    """Hold what the results say about their models against the models at hand: figures of others are refused."""
    if "forwards_by_problem" in (row := live_row(method, result)):
        told, found = row["forwards_by_problem"][:CHECKED], _forwards(method, result["data"], converted)
    else:
        told = result.get("weight_change")
        found = [round(change, 5) for change in weight_change(base.model, converted.model)]
    if told != found:
        raise DataError(
            f"the results of {method.decoder} were measured with other models than those to export, whose weights or passes are "
            f"other ones ({told} there, {found} here): measure these"
        )


def _forwards(method: Method, data: Mapping[str, Any], loaded: LoadedModel) -> list[int]:
    """Passes that the first problems of a measurement take."""
    tokenizer: Any = loaded.tokenizer
    decode = arm(HFBackbone(loaded.model), tokenizer, method.decoder, **method.options)
    problems = held_out(data["task"], min(CHECKED, data["problems"]), data["seed"])
    return [decode([encode_prompt(tokenizer, problem.prompt)]).stats.nfe for problem in problems]


def _card(name: str, seed: int, results: Mapping[str, dict[str, Any]]) -> str:
    method = next(method for method in METHODS if method.model == name or name == "ar")
    result = results[method.decoder]
    base = result_row(result, "AR base")
    figures = _figures(base)
    if name != "ar":
        row = live_row(method, result)
        figures = (
            f"{_figures(row)}, {row['speed']:.2f} times the tokens per second of the autoregressive model ({row['name']}; "
            f"autoregressive: {figures})"
        )
    title, description = TITLES[name]
    return CARD.format(
        title=title,
        description=description.format(block_size=result.get("trained_block_size")),
        parameters=result["parameters"],
        commands="\n".join(f"  `{command}`" for command in _commands(seed, results)),
        problems=result["data"]["problems"],
        figures=figures,
        source=RESULTS[method.decoder].format(seed=seed),
        date=result["environment"]["date"][:10],
    )


def _commands(seed: int, results: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    """What makes all shipped models and figures, in order."""
    for method, command in TRAINED_BY.items():
        if method in results:
            yield command.format(seed=seed)
            yield results[method]["environment"]["command"]
    yield f"python -m benchmarks.tasks export --seed {seed}"


def _figures(row: Mapping[str, Any]) -> str:
    found = f"{100 * row['accuracy']:.1f} % exact answers at {row['tokens_per_forward']:.2f} tokens per forward"
    kinds = row.get("accuracy_by_task", {})
    return f"{found} ({', '.join(f'{name} {100 * share:.1f} %' for name, share in kinds.items())})" if kinds else found


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
