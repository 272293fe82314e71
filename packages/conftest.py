"""What tests of lossless sampling share: a model whose output is many draws of three tokens, and a test of their joint."""

from collections.abc import Callable, Sequence
from itertools import product

import pytest
import torch
from ar_core.cache import WindowedKVCache
from ar_core.masks import Mask
from ar_core.sampling import Sampler
from torch import Tensor


class RenewalModel:
    """Every three tokens, counted from position 0, depend on nothing before them: 3 n tokens are n draws of one joint.

    Logits are a row of a random table, chosen by a hash of the visible tokens that share a group with the predicted one, and of
    how many tokens are visible in all: a stale, missing or surplus key changes the distribution.

    Args:
        vocab_size: V.
        seed: of the table.
        scale: standard deviation of its logits.
        mask_id: of a token that asks for its own place's distribution, given the other tokens of its group, instead of the next
            one's: as a model does that was trained to fill masks.
    """

    device = torch.device("cpu")
    dtype = torch.float64
    context_length = 1024
    prompt = (0, 1, 2)
    """One group, so that outputs begin with a new one."""

    def __init__(self, vocab_size: int = 6, seed: int = 9, scale: float = 2.5, mask_id: int | None = None) -> None:
        self.vocab_size, self.mask_id = vocab_size, mask_id
        generator = torch.Generator().manual_seed(seed)
        self.table = scale * torch.randn(997, vocab_size, dtype=self.dtype, generator=generator)

    def new_cache(self, batch: int, capacity: int) -> WindowedKVCache:
        """Keys are marks of tokens, values their positions."""
        return WindowedKVCache(1, batch, 1, 1, capacity, self.dtype, self.device)

    def embed(self, ids: Tensor) -> Tensor:
        """Not used by decoders of text."""
        raise NotImplementedError

    def hidden(
        self,
        ids: Tensor | None,
        *,
        embeds: Tensor | None = None,
        positions: Tensor,
        mask: Mask | None,
        cache: WindowedKVCache | None = None,
    ) -> Tensor:
        """The hash `[B, n, 1]` behind each token."""
        assert ids is not None
        assert cache is not None
        # What no pass has written must never matter.
        for stored in (cache._keys[0], cache._values[0]):
            stored[:, :, cache.span :] = torch.nan
        masked = torch.zeros_like(ids, dtype=torch.bool) if self.mask_id is None else ids == self.mask_id
        marks = ((ids + 1) * (positions % 3 * 37 + 11)).masked_fill(masked, 0).to(self.dtype)
        places = positions.to(self.dtype)
        keys, values = (
            stored[:, 0, None, :, 0] for stored in cache.update(0, marks[:, None, :, None], places[:, None, :, None])
        )
        seen = torch.ones(1, 1, cache.visibles[0], dtype=torch.bool) if mask is None else mask.dense()[:, 0]
        together = seen & (torch.div(values, 3, rounding_mode="floor") == ((positions + ~masked) // 3)[..., None])
        surplus = (seen.sum(-1) - positions - 1).masked_fill(masked, 0)
        return (torch.where(together, keys, 0.0).sum(-1) + 101 * surplus)[..., None]

    def head(self, hidden: Tensor) -> Tensor:
        """Logits `[..., V]`."""
        return self.table[hidden[..., 0].long() % len(self.table)]

    def conditional(self, group: Sequence[int], sampler: Sampler) -> Tensor:
        """The distribution `[V]` that is drawn from behind the first 0 to 2 tokens of a group, without a pass."""
        mark = sum((token + 1) * (place * 37 + 11) for place, token in enumerate(group))
        return sampler.filtered(self.table[mark % len(self.table)][None]).softmax(-1)[0]

    def joint(self, sampler: Sampler) -> Tensor:
        """Exact probabilities `[V³]` of the three tokens of a group, the last one running fastest."""
        first = self.conditional((), sampler)
        second = torch.stack([self.conditional((a,), sampler) for a in range(self.vocab_size)])
        pairs = product(range(self.vocab_size), repeat=2)
        third = torch.stack([self.conditional(pair, sampler) for pair in pairs])
        return ((first[:, None] * second).flatten()[:, None] * third).flatten()


def compare(outputs: Sequence[Sequence[int]], joint: Tensor) -> tuple[int, float, float]:
    """Hold outputs of a RenewalModel, whole groups each, against its joint distribution `[V³]`.

    Returns:
        The number of draws, the p-value of Pearson's chi-square (outcomes expected fewer than 5 times are pooled), and the
        total variation between what was seen and what is expected.
    """
    size = round(joint.numel() ** (1 / 3))
    groups = torch.tensor(outputs).view(-1, 3)
    counts = torch.bincount(groups @ torch.tensor([size * size, size, 1]), minlength=joint.numel()).double()
    assert not counts[joint == 0].any(), "a token was drawn that the filters exclude"
    draws = len(groups)
    expected = draws * joint
    common = expected >= 5
    seen, wanted = (torch.cat([one[common], one[~common].sum()[None]]) for one in (counts, expected))
    real = wanted > 0
    statistic = ((seen - wanted)[real] ** 2 / wanted[real]).sum()
    freedom = torch.tensor((int(real.sum()) - 1) / 2, dtype=torch.float64)
    variation = float((counts / draws - joint).abs().sum()) / 2
    return draws, float(torch.special.gammaincc(freedom, statistic / 2)), variation


@pytest.fixture
def renewal_model() -> Callable[..., RenewalModel]:
    """Makes a :class:`RenewalModel`."""
    return RenewalModel


@pytest.fixture
def compare_with_joint() -> Callable[..., tuple[int, float, float]]:
    """The function :func:`compare`."""
    return compare
