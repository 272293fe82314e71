"""The decoders of one conversion that are measured, by the names of their rows."""

from collections.abc import Mapping, Sequence
from typing import Any

from ar_core.registry import decoder, resolve

__all__ = [
    "AS_TRAINED",
    "AUTOREGRESSIVE",
    "LENGTH",
    "SELF_SPECULATION",
    "conversion_decoders",
    "conversion_settings",
    "is_hybrid",
]

AS_TRAINED: Mapping[str, Mapping[str, Any]] = {"efficient_dlm": {"grid": "absolute"}}
"""What lays blocks out as in training, where a method's defaults are those of its released decoder."""
RELEASED: Mapping[str, Mapping[str, Any]] = {"efficient_dlm": {"grid": "prompt", "context": "bidirectional"}}
"""The released decoder, where it lays blocks out in another way than training; hybrids keep their context."""
PUBLISHED_THRESHOLD = 0.9
LENGTH = "length"
"""Key of what is no setting of a decoder: with "given", N is the length of the right answer."""
AUTOREGRESSIVE = "hybrid, one token at a time"
SELF_SPECULATION = "hybrid, self-speculation"


def conversion_settings(method: str, config: Any, tokenizer: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that all decoders of a conversion start from.

    Args:
        method: of the conversion.
        config: of the checkpoint; says which attention pattern it was trained with.
        tokenizer: of the checkpoint.
        given: what the caller sets; wins.
    """
    found = resolve(decoder(method).options).of_checkpoint(config, tokenizer)
    return {**found, **AS_TRAINED.get(method, {}), **given}


def is_hybrid(settings: Mapping[str, Any]) -> bool:
    """Whether the conversion also decodes one token at a time."""
    return settings.get("context") == "causal"


def conversion_decoders(
    method: str,
    settings: Mapping[str, Any],
    *,
    block_sizes: Sequence[int],
    thresholds: Sequence[float],
    commits: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """What each decoder changes about the settings, by name; ``LENGTH`` is for the caller.

    Where a pass sees all masks up to N, their number tells how long the answer is, in training as well. Such a conversion is
    therefore measured in two ways, with N as for all and with the N that it was trained to expect.

    Args:
        method: of the conversion.
        settings: of ``conversion_settings``.
        block_sizes: D.
        thresholds: of acceptance.
        commits: ``fused`` is left out where finished tokens do not make a block-causal context.
    """
    found: dict[str, dict[str, Any]] = {}
    for size in block_sizes:
        blocks = {"diffusion_block_size": size}
        if "sub_block_size" in settings:
            blocks["sub_block_size"] = size
        for commit in commits:
            if commit == "fused" and settings.get("context") in ("causal", "whole"):
                continue
            for threshold in thresholds:
                found[f"D={size} {commit} threshold {threshold:g}"] = {
                    **blocks,
                    "commit": commit,
                    "threshold": threshold,
                }
        if settings.get("context") == "whole":
            for threshold in thresholds:
                name = f"D={size} length given threshold {threshold:g}"
                found[name] = {**blocks, "threshold": threshold, LENGTH: "given"}
    if method in RELEASED:
        context = {"context": "causal"} if is_hybrid(settings) else {}
        name = f"D={settings['diffusion_block_size']} released threshold {PUBLISHED_THRESHOLD:g}"
        found[name] = {**RELEASED[method], **context, "threshold": PUBLISHED_THRESHOLD}
    if is_hybrid(settings):
        # Without blocks there is no grid of them.
        whole = {"grid": "prompt"}
        found |= {
            AUTOREGRESSIVE: {**whole, "mode": "autoregressive"},
            SELF_SPECULATION: {**whole, "mode": "self_speculation"},
        }
    return found
