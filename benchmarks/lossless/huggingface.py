"""Hugging Face's greedy, prompt-lookup and assisted generation on the same weights, in its own attention and cache."""

import copy
import time
from typing import Any

import torch
from ar_core.decoding import DecodeStats
from ar_core.environment import portable
from ar_core.errors import ConfigError
from ar_core.hf import HFBackbone, load_causal_lm
from ar_decode.session import Session
from transformers import GenerationConfig

from .arms import Answer

__all__ = ["ASSISTED", "HUGGING_FACE", "HuggingFaceArm", "huggingface_arms"]

GREEDY, LOOKUP, ASSISTED = "Hugging Face greedy", "Hugging Face prompt lookup", "Hugging Face assisted"
HUGGING_FACE = (GREEDY, LOOKUP, ASSISTED)
"""The labels of its three decoders."""
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


def huggingface_arms(session: Session, assistant: str | None) -> list[HuggingFaceArm]:
    """Greedy, prompt lookup and, with an assistant, assisted generation.

    Args:
        session: the model; its weights are copied once, for Hugging Face's own attention.
        assistant: folder or hub id of a small autoregressive model with the same vocabulary.

    Raises:
        ConfigError: the assistant has another vocabulary.
        ArError: as loading it does.
    """
    backbone = session.backbone
    assert isinstance(backbone, HFBackbone)
    model = _own_attention(copy.deepcopy(backbone.model))
    arms = [
        HuggingFaceArm(GREEDY, model, session, {}),
        HuggingFaceArm(
            LOOKUP,
            model,
            session,
            {"prompt_lookup_num_tokens": LOOKUP_TOKENS},
            config={"prompt_lookup_num_tokens": LOOKUP_TOKENS},
        ),
    ]
    if assistant is None:
        return arms
    small = load_causal_lm(assistant, dtype=backbone.dtype, device=session.device).model
    held, wanted = (one.config.get_text_config().vocab_size for one in (small, model))
    if held != wanted:
        raise ConfigError(
            f"the assistant {assistant!r} has a vocabulary of {held} and the model {wanted}; give one of the same family"
        )
    arms.append(HuggingFaceArm(ASSISTED, model, session, {"assistant": portable(assistant)}, _own_attention(small)))
    return arms


def _own_attention(model: Any) -> Any:
    model.set_attn_implementation("sdpa")
    # The defaults of a checkpoint would be merged into every call.
    model.generation_config = GenerationConfig()
    return model


def _counted(model: Any, calls: dict[str, int], phase: str) -> Any:
    def count(*_: Any) -> None:
        calls[phase] += 1

    return model.register_forward_pre_hook(count)
