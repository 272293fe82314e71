"""Whether the modes of a hybrid keep their word: one token at a time is its causal forward, self-speculation changes nothing."""

from collections.abc import Sequence
from operator import eq
from typing import TYPE_CHECKING, Any

import torch
from ar_core.decoding import Backbone, Decoded, uncached_pass
from dlm_text.tasks import Problem
from dlm_text.tasks.tokenizer import encode_prompt

from .decoders import AUTOREGRESSIVE, SELF_SPECULATION

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Exactness", "is_causal_greedy"]

CAUSAL_FORWARD = "causal forward, no cache"


class Exactness:
    """Counts outputs of the two modes that are what they must be.

    Args:
        backbone: the hybrid.
        tokenizer: of the tasks.
        mask_id: never generated.
    """

    def __init__(self, backbone: Backbone, tokenizer: "PreTrainedTokenizerBase", *, mask_id: int) -> None:
        self.backbone, self.tokenizer, self.mask_id = backbone, tokenizer, mask_id
        self._prompts: list[list[int]] = []
        self._outputs: dict[str, list[list[int]]] = {AUTOREGRESSIVE: [], SELF_SPECULATION: []}

    def add(self, name: str, problem: Problem, decoded: Decoded) -> None:
        """Note the output of one decoder; others than the two modes are passed over."""
        if name not in self._outputs:
            return
        if name == AUTOREGRESSIVE:
            self._prompts.append(encode_prompt(self.tokenizer, problem.prompt))
        end = [self.tokenizer.eos_token_id] if decoded.finish[0] == "stop_id" else []
        self._outputs[name].append([*decoded.tokens[0], *end])

    def rows(self) -> dict[str, dict[str, Any]]:
        """For each mode how many of its outputs, their ends included, are ``equal`` and what they are ``equal_to``."""
        alone, drafted = self._outputs[AUTOREGRESSIVE], self._outputs[SELF_SPECULATION]
        causal = sum(
            is_causal_greedy(self.backbone, prompt, output, banned_id=self.mask_id)
            for prompt, output in zip(self._prompts, alone, strict=True)
        )
        return {
            AUTOREGRESSIVE: {"equal_to": CAUSAL_FORWARD, "equal": causal},
            SELF_SPECULATION: {"equal_to": AUTOREGRESSIVE, "equal": sum(map(eq, alone, drafted))},
        }


@torch.no_grad()
def is_causal_greedy(backbone: Backbone, prompt: Sequence[int], output: Sequence[int], *, banned_id: int) -> bool:
    """Whether every token of an output is the most probable one in one causal pass over prompt and output.

    Args:
        backbone: the model.
        prompt: P >= 1 ids.
        output: the ids behind it, a stop id included.
        banned_id: id that is not chosen.
    """
    logits = backbone.head(uncached_pass(backbone, [*prompt, *output])[len(prompt) - 1 : -1])
    logits[:, banned_id] = -torch.inf
    return bool(logits.argmax(-1).tolist() == list(output))
