"""Our decoders as a model of lmms-eval, written to the interface of its version 0.7.3."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
from ar_core.decoding import DecodeStats, text_before
from ar_core.errors import DataError, UnsupportedModelError
from lmms_eval.api.model import lmms
from PIL import Image

from ..chat.conversation import Turn
from ..decoding.options import DecodingOptions
from ..decoding.session import open_session
from .vqa_accuracy import published_cut

__all__ = ["DvlmModel"]


class DvlmModel(lmms):
    """A checkpoint decoded by one of our methods; statistics of all answers are in :attr:`stats`.

    Args:
        pretrained: as ``model`` of ``ar-decode vlm``.
        method: likewise.
        batch_size: questions decoded together.
        cut: ``first_line`` as in the published evaluation, or ``none``.
        device: ``auto``, ``cpu``, ``cuda`` ...
        dtype: of the weights.
        fit: of pictures; the published evaluation of route 1 takes ``native``.
        max_new_tokens: longest answer where a task gives none.
        settings: of the method.

    Raises:
        ArError: as :func:`dvlm.decoding.session.open_session`.
    """

    is_simple = True

    def __init__(
        self,
        pretrained: str,
        method: str | None = None,
        *,
        batch_size: int | str = 1,
        cut: str = "first_line",
        device: str | None = None,
        dtype: str = "stored",
        fit: str | None = None,
        max_new_tokens: int = 128,
        **settings: Any,
    ) -> None:
        super().__init__()
        options: Any = {"dtype": dtype, "fit": fit}
        self._cut = cut
        self._session = open_session(
            DecodingOptions(
                model=pretrained, method=method, decoding=settings, batch_size=int(batch_size), device=device or "auto",
                max_new_tokens=max_new_tokens, **options,
            )
        )  # fmt: skip
        self.stats = DecodeStats()

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Answers in the order of the requests; a task's ``until`` and ``max_new_tokens`` hold."""
        answers: list[str] = []
        size = self._session.options.batch_size
        for kwargs, group in groupby(requests, lambda request: request.args[1]):
            same = list(group)
            for start in range(0, len(same), size):
                answers += self._answer([request.args for request in same[start : start + size]], kwargs, len(answers))
        return answers

    def _answer(self, batch: list[tuple[Any, ...]], kwargs: dict[str, Any], first: int) -> list[str]:
        until = kwargs.get("until") or []
        stops = (until,) if isinstance(until, str) else tuple(until)
        base = self._session.options
        length = kwargs.get("max_new_tokens") or base.max_new_tokens
        session = replace(self._session, options=replace(base, stop=stops, max_new_tokens=length), keep_string=True)
        prompts = []
        for context, _, doc_to_visual, number, task, split in batch:
            visuals = doc_to_visual(self.task_dict[task][split][number])
            pictures = [_pixels(visual, f"{task}, document {number}") for visual in visuals or ()]
            prompts.append(session.prompt([Turn("user", context)], pictures, f"{task}, document {number}"))
        decoded = session.decode(prompts, first_index=first)
        self.stats = self.stats + decoded.stats
        texts = [text_before(session.text(tokens), stops) for tokens in decoded.tokens]
        return [published_cut(text) if self._cut == "first_line" else text for text in texts]

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Not offered: masked diffusion has bounds, not likelihoods.

        Raises:
            UnsupportedModelError: always.
        """
        raise UnsupportedModelError(
            "dvlm gives no likelihoods of continuations after images; choose a task that generates its answers"
        )

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Not offered.

        Raises:
            UnsupportedModelError: always.
        """
        raise UnsupportedModelError("dvlm answers one question at a time; choose a task of a single round")


def _pixels(visual: Any, place: str) -> np.ndarray:
    if not isinstance(visual, Image.Image):
        raise DataError(f"{place} has a {type(visual).__name__} to look at; only still images are taken")
    return np.asarray(visual.convert("RGB"))
