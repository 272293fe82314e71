"""The causal proxy of the path search: how likely a token is behind the path so far, without a pass of a model.

Source: DiffuSpec (arXiv 2510.02358), l^ng of equation 8.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from ar_core.config import expand_path
from ar_core.errors import ConfigError
from torch import Tensor

from .arpa import read_arpa
from .backoff_model import BackoffModel
from .kenlm_proxy import KenLMProxy
from .prompt_proxy import PromptProxy

__all__ = ["Proxy", "UniformProxy", "load_proxy"]


class Proxy(Protocol):
    """ln p(v | h), the term ℓ^ng of the path score.

    The paper writes "log-score of the prefix joined with π_{1:i}"; taken literally that would count early tokens again at
    every position, so it is read as the conditional of π_i.
    """

    history: int
    """Tokens of context that matter, ≥ 0."""

    def begin(self, contexts: Sequence[Sequence[int]]) -> Tensor:
        """Look at the committed ids of R rows; int64 `[R, history]`, their last ids, -1 where there are none."""

    def score(self, history: Tensor, candidates: Tensor) -> Tensor:
        """Conditional log-probabilities of tokens behind paths.

        Args:
            history: ids at the end of B paths, int64 `[R, B, history]`.
            candidates: ids int64 `[R, M]`.

        Returns:
            float64 `[R, B, M]`.
        """


class UniformProxy:
    """Every token is as likely as any other: the path is then that of the drafter alone."""

    history = 0

    def __init__(self, vocab_size: int, device: torch.device | str = "cpu") -> None:
        self._log_p = -torch.tensor(float(vocab_size), device=device).log()

    def begin(self, contexts: Sequence[Sequence[int]]) -> Tensor:
        """See :class:`Proxy`."""
        return torch.empty(len(contexts), 0, dtype=torch.int64, device=self._log_p.device)

    def score(self, history: Tensor, candidates: Tensor) -> Tensor:
        """See :class:`Proxy`."""
        return self._log_p.expand(candidates.shape[0], history.shape[1], candidates.shape[1])


def load_proxy(
    name: str, vocab_size: int, *, end_id: int | None = None, device: torch.device | str = "cpu"
) -> BackoffModel | KenLMProxy | PromptProxy | UniformProxy:
    """The proxy that a user names.

    Args:
        name: `uniform`, `prompt`, or a file: what `ar-decode fit-proxy` wrote (`.safetensors`), an ARPA file (`.arpa`,
            `.arpa.gz`) or a KenLM binary (any other suffix), the last two over ids written as words.
        vocab_size: V of the verifier.
        end_id: what `</s>` of ARPA and KenLM files stands for.
        device: where scores are computed.

    Raises:
        ConfigError: neither a known name nor a file; or a model of another vocabulary.
        CheckpointError, DataError: the file is damaged.
        MissingPackageError: a KenLM binary, and the module kenlm is not installed.
    """
    if name == "uniform":
        return UniformProxy(vocab_size, device)
    if name == "prompt":
        return PromptProxy(vocab_size, device)
    path = expand_path(name)
    if not os.path.isfile(path):
        raise ConfigError(
            f"the proxy {name!r} is no file here; give uniform, prompt, or the path of an n-gram model (.safetensors, .arpa, or a "
            "KenLM binary)."
        )
    if path.suffix == ".safetensors":
        model = BackoffModel.load(path)
        if model.vocab_size != vocab_size:
            raise ConfigError(
                f"the proxy {name!r} was fitted for a vocabulary of {model.vocab_size} ids and the verifier has {vocab_size}; fit one "
                "with the verifier's tokenizer and vocab_size."
            )
        return model.to(device)
    if path.name.endswith((".arpa", ".arpa.gz")):
        return read_arpa(path, vocab_size, end_id=end_id).to(device)
    return KenLMProxy(Path(path), end_id=end_id, device=device)
