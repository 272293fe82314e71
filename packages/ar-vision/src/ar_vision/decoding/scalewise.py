"""Next-scale generation: one forward pass a scale, on one windowed KV cache.

Source: VAR (arXiv 2404.02905), section 3.2; on a windowed cache: ours.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from ar_core.cache import WindowedKVCache
from ar_core.decoding import DecodeStats
from ar_core.errors import ConfigError
from ar_core.masks import Mask
from ar_core.sampling import row_generators
from torch import Generator, Tensor

from ..backbones.scale_mask import scale_mask
from ..scales import ScaleSchedule
from ..tokenizers.scale_history import ScaleHistory
from .flops import counted_flops
from .generated import OnScale
from .guidance import doubled, guided_logits, guided_passes, require_sound, sound

__all__ = ["PickScale", "ScaleBackbone", "ScalePasses", "generate_scales"]

PickScale = Callable[[int, Tensor, Sequence[Generator]], Tensor]
"""From a scale k, its logits [B, L_k, V] and one generator a row to its codes [B, L_k]."""


class ScaleBackbone(Protocol):
    """A transformer over scales; R rows, C width, L_k tokens of scale k."""

    def new_cache(self, rows: int, capacity: int) -> WindowedKVCache:
        """Return an empty cache for all layers."""
        ...

    def embed(self, scale: int, features: Tensor | None, condition: Tensor, schedule: ScaleSchedule) -> Tensor:
        """Return the input [R, L_k, C] of a scale.

        Args:
            scale: k.
            features: on its grid, [R, Cv, h_k, w_k]; None at scale 0, which has the condition alone.
            condition: [R, C].
            schedule: K scales.
        """
        ...

    def hidden(
        self,
        x: Tensor,
        condition: Tensor,
        *,
        scale: int | None,
        schedule: ScaleSchedule,
        cache: WindowedKVCache | None = None,
        mask: Mask | None = None,
    ) -> Tensor:
        """Run the layers over one scale on the cache, or over all scales under a mask.

        Args:
            x: [R, n, C].
            condition: [R, C].
            scale: k; None: all scales.
            schedule: K scales.
            cache: of the scales before, with a window of n tokens.
            mask: over the tokens.

        Returns:
            [R, n, C].
        """
        ...

    def head(self, hidden: Tensor, condition: Tensor) -> Tensor:
        """Return logits [R, n, V] of hidden states [R, n, C] and a condition [R, C]."""
        ...


class ScalePasses:
    """The passes of one generation: rows are doubled while guidance needs the null half, and never otherwise.

    Args:
        backbone: the transformer.
        condition: [B, C].
        null: condition of the null half, [B, C]; may be None where every guidance is 1.
        schedule: K scales.
        guidance: scale g_k for every k; 1 means none. The null half runs up to the last k with g_k != 1, from the first one
            on, because its keys and values are needed then; behind that it leaves the cache.
        cache: a cache of all rows (conditional first) that holds a memory already; None makes an empty one.

    Raises:
        ConfigError: not one guidance a scale, or guidance without a null condition.
    """

    def __init__(
        self,
        backbone: ScaleBackbone,
        condition: Tensor,
        null: Tensor | None,
        schedule: ScaleSchedule,
        guidance: Sequence[float],
        cache: WindowedKVCache | None = None,
    ) -> None:
        if len(guidance) != schedule.count:
            raise ConfigError(
                f"{len(guidance)} guidance scales were given for {schedule.count} scales: give one for each"
            )
        self.backbone, self.schedule, self.guidance = backbone, schedule, tuple(guidance)
        self.batch = condition.shape[0]
        self.guided_scales = guided_passes(guidance)
        if self.guided_scales and null is None:
            raise ConfigError("guidance needs the null condition: give it, or a guidance of 1 at every scale")
        self.condition = torch.cat([condition, null]) if self.guided_scales and null is not None else condition
        self.cache = backbone.new_cache(self.condition.shape[0], schedule.total) if cache is None else cache

    @property
    def rows(self) -> int:
        """Rows of the coming pass: B, or 2B."""
        return self.condition.shape[0]

    def open(self, scale: int) -> None:
        """Make the cache ready for a scale: the null half leaves it once no later scale is guided."""
        if scale == self.guided_scales and self.rows > self.batch:
            self.cache.rows(range(self.batch))
            self.condition = self.condition[: self.batch]
        self.cache.window(self.schedule.lengths[scale])

    def logits_behind(self, given: Sequence[Tensor], history: ScaleHistory) -> Tensor:
        """Run the pass of a scale and of all that come before it, whose codes are known, as one pass under the scale-causal mask.

        The keys and values of the known scales are then those that their own passes would have left.

        Args:
            given: codes [B, L_k] of the known scales, coarsest first, at least one and not all.
            history: an empty one; holds the known scales afterwards.

        Returns:
            Guided logits [B, L_k, V] of the scale behind them.
        """
        scale = len(given)
        known = ScaleSchedule(self.schedule.sizes[: scale + 1])
        inputs: list[Tensor | None] = [None]
        for codes in given:
            history.add(codes)
            inputs.append(doubled(history.next_input(), self.rows))
        x = torch.cat(
            [self.backbone.embed(k, fed, self.condition, self.schedule) for k, fed in enumerate(inputs)], dim=1
        )
        self.cache.window(known.total)
        hidden = self.hidden(x, scale, scale_mask(known, x.device))
        self.cache.keep(known.total)
        return self.guided(hidden[:, -known.lengths[-1] :], scale)

    def logits(self, scale: int, features: Tensor | None) -> Tensor:
        """Run the pass of a scale; guided logits [B, L_k, V].

        Args:
            scale: k, opened before.
            features: what the scale is fed with, [B, Cv, h_k, w_k]; None at scale 0.
        """
        fed = None if features is None else doubled(features, self.rows)
        x = self.backbone.embed(scale, fed, self.condition, self.schedule)
        hidden = self.hidden(x, scale)
        self.cache.keep(self.schedule.lengths[scale])
        return self.guided(hidden, scale)

    def hidden(self, x: Tensor, scale: int, mask: Mask | None = None) -> Tensor:
        """Run the layers on the cache, [R, n, C].

        Args:
            x: of one scale, [R, L_k, C]; with a mask, of that scale and all before it.
            scale: k.
            mask: over these scales.
        """
        of = scale if mask is None else None
        return self.backbone.hidden(x, self.condition, scale=of, schedule=self.schedule, cache=self.cache, mask=mask)

    def guided(self, hidden: Tensor, scale: int) -> Tensor:
        """Return guided logits [B, L_k, V] of the hidden states [R, L_k, C] of a scale."""
        return guided_logits(
            lambda rows: self.backbone.head(hidden[:rows], self.condition[:rows]), self.batch, self.guidance[scale]
        )


@torch.no_grad()
def generate_scales(
    passes: ScalePasses,
    history: ScaleHistory,
    pick: PickScale,
    *,
    seed: int | Sequence[int] = 0,
    on_scale: OnScale | None = None,
    flops: Counter[str] | None = None,
    given: Sequence[Tensor] = (),
    stop: int | None = None,
) -> tuple[list[Tensor], DecodeStats]:
    """Fill scale after scale: one forward pass each.

    What a row draws depends on its own seed and logits alone, not on its batch mates.

    Args:
        passes: backbone, conditions and guidance.
        history: an empty one of the tokenizer that the backbone was trained with; holds all scales afterwards.
        pick: chooses codes from logits.
        seed: as `ar_core.sampling.row_generators` takes it.
        on_scale: called after each scale.
        flops: gets the operations of the transformer added, under "scale"; slow, see `counted_flops`.
        given: codes [B, L_k] of the first scales, which are not drawn; they go through the pass of the scale behind them. Guidance
            begins with that scale.
        stop: scale before which to end; None: all.

    Returns:
        Codes of each scale, int64 [B, L_k] (bits: bool [B, L_k, d]), the given ones first, and stats: phase "scale", one forward a scale, rows counted with the null half;
        "history", the time of the tokenizer between scales; all codes that were drawn are an image's generated tokens.

    Raises:
        NumericsError: the model's logits are not numbers.
    """
    schedule, stats = passes.schedule, DecodeStats()
    generators = row_generators(seed, passes.batch)
    codes: list[Tensor] = list(given)
    end = schedule.count if stop is None else stop
    for scale in range(len(given), end):
        length = schedule.lengths[scale]
        behind = bool(given) and scale == len(given)
        if not behind:
            passes.open(scale)
        with stats.timed("history"):
            features = history.next_input() if scale and not behind else None
        with stats.forward("scale", passes.rows, sum(schedule.lengths[: scale + 1]) if behind else length):
            with counted_flops(flops, "scale"):
                logits = passes.logits_behind(given, history) if behind else passes.logits(scale, features)
            picked = pick(scale, logits, generators)
            require_sound(sound(logits))
        for _ in range(passes.batch):
            stats.accept(length)
        with stats.timed("history"):
            history.add(picked)
        codes.append(picked)
        if on_scale is not None:
            on_scale(scale, history.features)
    stats.generated = [sum(schedule.lengths[len(given) : end])] * passes.batch
    return codes, stats
