"""Linear self-speculation: a hybrid drafts in its diffusion mode what it verifies in its autoregressive one."""

from collections.abc import Sequence

import torch
from ar_core.cache import WindowedKVCache
from ar_core.decoding import Backbone, DecodeStats, check_sound, pick
from ar_core.errors import ConfigError
from ar_core.masks import Mask, Tokens, causal
from ar_core.sampling import Sampler
from torch import Tensor

__all__ = ["SelfSpeculation"]


class SelfSpeculation:
    """Draft [last token, M, ..., M] in one bidirectional pass that reads the verifier's cache and leaves it as it was.

    Nemotron-Labs-Diffusion (arXiv 2607.05722), the linear variant: one pass proposes D - 1 tokens, one causal pass
    verifies them and adds one of its own. The cached tokens are token-causal, as the clean half was in the hybrid's
    training; drafted positions see them and each other. With any other model the output is still the autoregressive one,
    but drafts are poor.

    Args:
        backbone: the model that is verified; its own cache comes through `share`.
        mask_id: id of M; never drafted.
        block_size: D, tokens of a draft pass, at least 2.
        shift: for models whose logits at position i-1 predict token i (`token_shift` in training).

    Raises:
        ConfigError: a value is out of range.
    """

    wants_hidden = False

    def __init__(self, backbone: Backbone, *, mask_id: int, block_size: int = 32, shift: bool = False) -> None:
        if block_size < 2:
            raise ConfigError(
                f"block_size is {block_size}, which leaves no place for a draft behind the last token: give 2 or more"
            )
        if not 0 <= mask_id < backbone.vocab_size:
            raise ConfigError(
                f"mask_id is {mask_id}, and the model has ids 0 to {backbone.vocab_size - 1}: give the id of the mask token "
                "that it was trained with"
            )
        self.backbone = backbone
        self.mask_id = mask_id
        self.block_size = block_size
        self.shift = shift
        self.stats = DecodeStats()
        """Passes spent on drafts since `begin`, phase "draft"; the verifier counts its own."""
        self._cache: WindowedKVCache | None = None

    def begin(self, prompts: Sequence[Sequence[int]]) -> None:
        """Start counting anew; nothing else is kept."""
        self.stats = DecodeStats()

    def share(self, cache: WindowedKVCache) -> None:
        """Take the verifier's cache; see :class:`ar_core.verification.CacheSharing`."""
        self._cache = cache

    @torch.no_grad()
    def propose(self, rows: Sequence[int], contexts: Sequence[Sequence[int]], limits: Sequence[int]) -> list[list[int]]:
        """See :class:`ar_core.verification.Proposer`; D - 1 tokens a row, or its limit.

        Raises:
            NumericsError: the logits are not numbers.
        """
        cache = self._cache
        assert cache is not None, "share was not called"
        drafted = min(self.block_size - 1, max(limits))
        if drafted < 1:
            return [[] for _ in rows]
        ids = [[context[-1], *[self.mask_id] * drafted] for context in contexts]
        with self.stats.forward("draft", len(rows), drafted + 1):
            cache.window(drafted + 1)
            positions = cache.query_positions()
            hidden = self.backbone.hidden(
                torch.tensor(ids, device=self.backbone.device),
                positions=positions,
                mask=_everything_written(cache, positions),
                cache=cache,
            )
            cache.keep(0)
            told = (hidden[:, :-1] if self.shift else hidden[:, 1:]).flatten(0, 1)
            sampler = Sampler(banned_ids=(self.mask_id,))
            tokens, _ = pick(self.backbone, told, sampler, with_confidences=False)
            drafts = tokens.view(-1, drafted).tolist()
        for draft in drafts:
            check_sound(draft)
        return [draft[:limit] for draft, limit in zip(drafts, limits, strict=True)]

    def observe(self, row: int, accepted: Sequence[int], rest: Sequence[int], hidden: Tensor | None = None) -> None:
        """Nothing to learn, since the cache holds what is accepted; see
        :meth:`ar_core.verification.proposer.Proposer.observe`.
        """


def _everything_written(cache: WindowedKVCache, positions: Tensor) -> Mask | None:
    """Each row sees its past and its whole window; None where all rows have the same length.

    As if every token stood at the end of the window and saw what lies before it.
    """
    if cache.uniform:
        return None
    ends = positions[:, -1:].expand_as(positions)
    return Mask(causal(), Tokens(position=ends), Tokens(position=torch.arange(cache.span, device=positions.device)))
