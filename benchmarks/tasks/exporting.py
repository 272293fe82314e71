"""The models that ar-quickstart ships: one seed's base and conversion in half precision, each with its card."""

from pathlib import Path
from typing import Any

import torch
from ar_core.hf import load_causal_lm, save_pretrained
from dlm_text.fast_dllm_v2.checkpoint import load_checkpoint, save_checkpoint

from .training import SeedModels

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
- Measured before rounding, batch 1, {problems} held-out problems: {figures}.
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
}


def export(seed: int, models: SeedModels, results: dict[str, Any], target: Path) -> None:
    """Write ``ar`` and ``fast_dllm_v2`` into ``target``.

    Args:
        seed: of the models.
        models: the trained folders.
        results: what ``measure`` wrote for this seed; the cards quote it.
        target: folder of the shipped weights.
    """
    base = load_causal_lm(models.base, dtype=torch.float16)
    converted = load_checkpoint(models.converted, dtype=torch.float16)
    rows = {row["name"]: row for row in results["rows"]}
    save_pretrained(base.model, target / "ar", tokenizer=base.tokenizer)
    save_checkpoint(
        converted.model,
        target / "fast_dllm_v2",
        diffusion_block_size=converted.diffusion_block_size,
        sub_block_size=converted.sub_block_size,
        mask_id=converted.mask_id,
        tokenizer=converted.tokenizer,
    )
    chosen = rows[f"D={converted.diffusion_block_size} fused threshold 0.9"]
    figures = {
        "ar": _figures(rows["AR base"]),
        "fast_dllm_v2": f"{_figures(chosen)}, {chosen['speed']:.2f} times the tokens per second of the autoregressive model "
        f"(threshold 0.9, fused commit; autoregressive: {_figures(rows['AR base'])})",
    }
    for name, (title, description) in TITLES.items():
        card = CARD.format(
            title=title,
            description=description.format(block_size=converted.diffusion_block_size),
            parameters=results["parameters"],
            command=f"python -m benchmarks.tasks train --seed {seed} && python -m benchmarks.tasks measure --seed {seed} && "
            f"python -m benchmarks.tasks export --seed {seed}",
            problems=results["data"]["problems"],
            figures=figures[name],
        )
        (target / name / "README.md").write_text(card, encoding="utf-8")


def _figures(row: dict[str, Any]) -> str:
    return f"{100 * row['accuracy']:.1f} % exact answers at {row['tokens_per_forward']:.2f} tokens per forward"
