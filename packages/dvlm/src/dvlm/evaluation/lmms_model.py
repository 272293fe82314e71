"""Our decoders as a model of lmms-eval, written to the interface of its version 0.7.3."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
from ar_core.decoding import DecodeStats, text_before
from ar_core.errors import ConfigError, DataError, MissingPackageError, UnsupportedModelError
from ar_core.pictures import rgb_pixels
from PIL import Image

from ..chat.conversation import MARKER, Turn
from ..decoding.options import DecodingOptions
from ..decoding.session import open_session
from .vqa_accuracy import published_cut

try:
    from lmms_eval.api.model import lmms
except ImportError as error:
    raise MissingPackageError(
        "dvlm.evaluation.lmms_model needs lmms-eval, which is not installed: pip install lmms-eval."
    ) from error

__all__ = ["DvlmModel"]


class DvlmModel(lmms):
    """A checkpoint decoded by one of our methods; statistics of all answers are in :attr:`stats`.

    Images stand where a task's text says `<image>`, and a single one in front, as in training. Some tasks name one picture twice; where
    numbers do not agree, the marks are left out and all images go in front, as lmms-eval's own models do it everywhere.

    Args:
        pretrained: as ``model`` of ``ar-decode vlm``.
        method: likewise.
        batch_size: questions decoded together.
        cut: ``first_line`` as in the published evaluation, or ``none``.
        device: ``auto``, ``cpu``, ``cuda`` ...
        dtype: of the weights.
        fit: of pictures; the published evaluation of route 1 takes ``native``.
        max_images: most of a question; None: as ``ar-decode vlm`` has it.
        max_new_tokens: longest answer where a task gives none.
        task_limits: a task's `max_new_tokens` and `until` hold. The published evaluation passes over them: false, with `max_new_tokens`
            128, 512 or 1024.
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
        max_images: int | None = None,
        max_new_tokens: int = 128,
        task_limits: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__()
        if not str(batch_size).isdigit():
            raise ConfigError(f"batch_size is {batch_size!r}, but must be a number: no size is found by trying")
        options: Any = {"dtype": dtype, "fit": fit, "max_images": max_images}
        if cut not in ("none", "first_line"):
            raise ConfigError(f"cut is {cut!r}, but must be none or first_line")
        self._cut, self._task_limits = cut, task_limits
        self._session = open_session(
            DecodingOptions(
                model=pretrained, method=method, decoding=settings, batch_size=int(batch_size), device=device or "auto",
                max_new_tokens=max_new_tokens, **options,
            )
        )  # fmt: skip
        self.stats = DecodeStats()

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Answers in the order of the requests. Of a task's settings `until`, `max_new_tokens`, and with `do_sample` the `temperature`
        and `top_p`, are taken."""
        answers: list[str] = []
        size = self._session.options.batch_size
        for kwargs, group in groupby(requests, lambda request: request.args[1]):
            same = list(group)
            for start in range(0, len(same), size):
                answers += self._answer([request.args for request in same[start : start + size]], kwargs, len(answers))
        return answers

    def _answer(self, batch: list[tuple[Any, ...]], kwargs: dict[str, Any], first: int) -> list[str]:
        options = self._session.options
        stops: tuple[str, ...] = ()
        if self._task_limits:
            until = kwargs.get("until") or ()
            stops = (until,) if isinstance(until, str) else tuple(until)
            options = replace(
                options, stop=stops, max_new_tokens=kwargs.get("max_new_tokens") or options.max_new_tokens
            )
        if kwargs.get("do_sample"):
            # Tasks give a nucleus at temperature 0 too.
            temperature = float(kwargs.get("temperature") or 0)
            options = replace(options, temperature=temperature, top_p=kwargs.get("top_p") if temperature else None)
        session = replace(self._session, options=options, keep_string=True)
        prompts = []
        for context, _, doc_to_visual, number, task, split in batch:
            visuals = doc_to_visual(self.task_dict[task][split][number])
            pictures = [_pixels(visual, f"{task}, document {number}") for visual in visuals or ()]
            if context.count(MARKER) != len(pictures):
                context = context.replace(MARKER, "")
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
    return rgb_pixels(visual, place)
