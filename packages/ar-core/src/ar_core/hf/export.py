"""Writing a language model of transformers as a serving engine loads it."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedTokenizerBase

from ar_core.errors import CheckpointError
from ar_core.hf.published import base_fields
from ar_core.hf.save import save_pretrained
from ar_core.hf.stop_ids import stop_ids
from ar_core.serving import Engine, architecture

__all__ = ["export_pretrained"]


def export_pretrained(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase | None,
    directory: str | Path,
    engine: Engine,
    *,
    name: str | None = None,
    without: Collection[str] = (),
    files: Mapping[str, str] | None = None,
) -> None:
    """Save a model for an engine: its architecture by the engine's name, and every token that ends a text where engines look.

    Adapters are merged into a copy, so that no engine has to know of them. The chat template goes with the tokenizer.

    Args:
        model: a transformers model; its generation config is changed in place.
        tokenizer: goes with it.
        directory: folder to write; a checkpoint there is replaced.
        engine: whom for.
        name: of the architecture; None: the model's own.
        without: fields of `config.json` that are ours.
        files: texts beside the weights, by file name.

    Raises:
        CheckpointError: there is no tokenizer, the generation config cannot be used, or the folder cannot be written.
        UnsupportedModelError: the engine has no such loader, or none that is known here.
    """
    base: Any = getattr(model, "get_base_model", lambda: model)()
    name = name or base_fields(base).get("architectures", [type(base).__name__])[0]
    architecture(engine, [name])
    if tokenizer is None:
        raise CheckpointError(
            f"the checkpoint has no tokenizer, which {engine.name} reads: put its files into the folder"
        )
    try:
        given = base.generation_config.eos_token_id
        if not all(type(end) is int for end in (given if isinstance(given, list) else [given]) if end is not None):
            raise TypeError(f"eos_token_id is {given!r:.200}")
        ends = sorted(stop_ids(base, tokenizer))
        if ends:
            # Engines stop at these, whatever else the tokenizer calls an end of text.
            base.generation_config.eos_token_id = ends if len(ends) > 1 else ends[0]
        # Reading warns of settings that contradict each other; writing them is refused.
        base.generation_config.validate(strict=True)
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"generation_config.json cannot be used ({reason}): mend it in the source") from error
    save_pretrained(
        model, directory, tokenizer=tokenizer, extra_config={"architectures": [name]}, without=without, files=files
    )
