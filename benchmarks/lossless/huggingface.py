"""Hugging Face's greedy, prompt-lookup and assisted generation on the same weights, in its own attention and cache."""

import copy
import time
from typing import Any

import torch
from ar_core.decoding import DecodeStats
from ar_core.hf import HFBackbone, first_layers
from ar_decode.session import Session
from transformers import GenerationConfig

from .arms import Answer

__all__ = ["HuggingFaceArm", "huggingface_arms"]

GREEDY, LOOKUP, ASSISTED = "Hugging Face greedy", "Hugging Face prompt lookup", "Hugging Face assisted"
LOOKUP_TOKENS = 10
"""``prompt_lookup_num_tokens``: the value of its documentation."""


class HuggingFaceArm:
    """``generate`` with some of its options.

    A forward is a call of the verifying model; those of the assistant are counted beside them, as phase "draft".

    Args:
        label: as tables show it.
        model: a transformers model with an attention of its own.
        session: for the stop ids.
        settings: for :meth:`describe`.
        assistant: drafts, if there is one.
        options: of ``generate``.
    """

    def __init__(
        self,
        label: str,
        model: Any,
        session: Session,
        settings: dict[str, Any],
        assistant: Any = None,
        **options: Any,
    ) -> None:
        self.label, self._model, self._assistant, self._options = label, model, assistant, options
        self._stops = sorted(session.stop_ids)
        self._settings = settings

    def describe(self) -> dict[str, Any]:
        """Options of ``generate``."""
        return {"name": self.label, **self._settings}

    @torch.no_grad()
    def answer(self, ids: list[int], max_new_tokens: int) -> Answer:
        """Decode one prompt greedily."""
        calls = {"verify": 0, "draft": 0}
        hooks = [_counted(self._model, calls, "verify")]
        options = dict(self._options)
        if self._assistant is not None:
            hooks.append(_counted(self._assistant, calls, "draft"))
            options["assistant_model"] = self._assistant
        config = GenerationConfig(
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=self._stops,
            pad_token_id=self._stops[0],
            **options.pop("config", {}),
        )
        prompt = torch.tensor([ids], device=self._model.device)
        try:
            begun = time.perf_counter()
            output = self._model.generate(
                prompt, attention_mask=torch.ones_like(prompt), generation_config=config, **options
            )
            tokens = output[0, len(ids) :].tolist()
            seconds = time.perf_counter() - begun
        finally:
            for hook in hooks:
                hook.remove()
        ended = bool(tokens) and tokens[-1] in self._stops
        kept = tokens[:-1] if ended else tokens
        stats = DecodeStats(generated=[len(kept)])
        stats.forwards.update({phase: n for phase, n in calls.items() if n})
        # Rates are per pass of the verifier, as they are for our decoders.
        stats.row_forwards["verify"] = calls["verify"]
        stats.seconds["verify"] = seconds  # type: ignore[assignment]
        return Answer(kept, "stop_id" if ended else "length", seconds, stats)


def huggingface_arms(session: Session, *, assistant_layers: int) -> list[HuggingFaceArm]:
    """Greedy, prompt lookup, and assisted by the model's own first layers.

    Args:
        session: the model; its weights are copied once, for Hugging Face's own attention.
        assistant_layers: layers of the assistant: the model cut behind them, its norm and head kept. No smaller model with
            this tokenizer need be at hand; an untrained cut is a weak drafter.
    """
    backbone = session.backbone
    assert isinstance(backbone, HFBackbone)
    model: Any = copy.deepcopy(backbone.model)
    model.set_attn_implementation("sdpa")
    # The defaults of a checkpoint would be merged into every call.
    model.generation_config = GenerationConfig()
    assistant = first_layers(model, assistant_layers)
    return [
        HuggingFaceArm(GREEDY, model, session, {}),
        HuggingFaceArm(
            LOOKUP,
            model,
            session,
            {"prompt_lookup_num_tokens": LOOKUP_TOKENS},
            config={"prompt_lookup_num_tokens": LOOKUP_TOKENS},
        ),
        HuggingFaceArm(ASSISTED, model, session, {"assistant_layers": assistant_layers}, assistant),
    ]


def _counted(model: Any, calls: dict[str, int], phase: str) -> Any:
    def count(*_: Any) -> None:
        calls[phase] += 1

    return model.register_forward_pre_hook(count)
