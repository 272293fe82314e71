"""The same pass by Hugging Face's forward, with its own attention, cache and choice of a token."""

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from .passes import Pass, Stage

__all__ = ["HuggingFacePass"]


class HuggingFacePass:
    """Forward with a dynamic cache and argmax; ids, masks and positions lie on the device beforehand.

    Args:
        model: a causal LM under an attention of its own; see :func:`benchmarks.decode.models.twin`.
        wanted: what is computed.
    """

    def __init__(self, model: Any, wanted: Pass) -> None:
        self._model, self._wanted = model, wanted
        self._cache = DynamicCache(config=model.config)
        for stage in wanted.stages:
            self._store(stage)
        self._given = self._arguments(wanted.ids, wanted.allowed)
        self._given["logits_to_keep"] = torch.tensor(list(wanted.reads), device=model.device)
        if wanted.depths is not None:
            before = wanted.stages[-1].keep
            self._given["position_ids"] = (before + torch.tensor(wanted.depths, device=model.device))[None]

    @torch.no_grad()
    def logits(self) -> Tensor:
        """`[B · reads, V]`; the cache holds the pass afterwards."""
        return self._model(cache=self._cache, use_cache=True, **self._given).logits.flatten(0, 1)

    def run(self) -> None:
        """The pass and its tokens on the host."""
        self.logits().argmax(-1).tolist()

    def restore(self) -> None:
        """Take the pass out of the cache."""
        self._cache.crop(-self._wanted.length)

    @torch.no_grad()
    def _store(self, stage: Stage) -> None:
        self._model(cache=self._cache, use_cache=True, logits_to_keep=1, **self._arguments(stage.ids, stage.allowed))
        self._cache.crop(stage.keep - len(stage.ids[0]))

    def _arguments(self, ids: list[list[int]], allowed: Tensor | None) -> dict[str, Any]:
        device = self._model.device
        given: dict[str, Any] = {"input_ids": torch.tensor(ids, device=device)}
        if allowed is not None:
            given["attention_mask"] = allowed.to(device)[None, None].expand(len(ids), 1, -1, -1)
        return given
