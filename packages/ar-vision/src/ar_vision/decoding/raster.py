"""Raster generation: the condition in one pass, then one code a pass, on one windowed KV cache.

Source: ours, for LlamaGen (arXiv 2406.06525) and its like.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from ar_core.cache import WindowedKVCache
from ar_core.decoding import DecodeStats
from ar_core.errors import ConfigError
from ar_core.masks import Mask
from ar_core.sampling import row_generators
from torch import Generator, Tensor

from .flops import counted_flops
from .guidance import doubled, guided_logits, guided_passes, require_sound, sound
from .raster_mask import raster_mask

__all__ = [
    "Codes",
    "OnRow",
    "PickCode",
    "RasterBackbone",
    "RasterCondition",
    "draw_code",
    "generate_raster",
    "interval_guidance",
]

PickCode: TypeAlias = Callable[[int, Tensor, Sequence[Generator]], Tensor]
"""From a place i in raster order, its logits [B, 1, V] and one generator a row to its codes [B, 1]."""

OnRow: TypeAlias = Callable[[int, Tensor], None]
"""Called after each row r of the grid with all codes so far, int64 [B, (r + 1) · width]."""


class RasterBackbone(Protocol):
    """A causal transformer over a condition and codes; R rows, n tokens of a pass, C width."""

    @property
    def device(self) -> torch.device:
        """Where conditions and codes must lie."""
        ...

    def new_cache(self, rows: int, capacity: int) -> WindowedKVCache:
        """Return an empty cache for all layers."""
        ...

    def embed(self, codes: Tensor) -> Tensor:
        """Return inputs [R, n, C] of codes int64 [R, n]."""
        ...

    def hidden(
        self, x: Tensor, *, start: int = 0, mask: Mask | None = None, cache: WindowedKVCache | None = None
    ) -> Tensor:
        """Run the layers over n tokens from place `start` of the sequence on; [R, n, C]."""
        ...

    def draw(
        self, place: int, hidden: Tensor, batch: int, scale: float, pick: PickCode, generators: Sequence[Generator]
    ) -> tuple[Tensor, Tensor]:
        """Choose the codes of a place.

        Args:
            place: i in raster order.
            hidden: of the token before it, [R, 1, C], R = B rows, or 2B with the null half behind.
            batch: B.
            scale: g of the place.
            pick: chooses codes from logits.
            generators: one a row of B.

        Returns:
            int64 [B, 1], and whether all logits were numbers, bool [].
        """
        ...


@dataclass(frozen=True)
class RasterCondition:
    """What stands before the codes of B images.

    Attributes:
        given: [B, P, C].
        null: the same without a condition, [B, P, C]; may be None where nothing is guided.
        valid: bool [B, P], positions that hold something, for both halves; None: all.
    """

    given: Tensor
    null: Tensor | None = None
    valid: Tensor | None = None

    def doubled(self) -> RasterCondition:
        """The null half behind the given one, as rows of one batch.

        Raises:
            ConfigError: there is no null half.
        """
        if self.null is None:
            raise ConfigError("guidance needs the null condition: give it, or a guidance of 1 at every code")
        valid = None if self.valid is None else self.valid.repeat(2, 1)
        return RasterCondition(torch.cat([self.given, self.null]), valid=valid)


@dataclass(frozen=True)
class Codes:
    """Codes of a batch, and what they cost."""

    codes: Tensor
    """int64 [B, L]."""
    stats: DecodeStats
    """Phases "prefill" (its pass also gives the first code) and "step", rows counted with the null half."""
    flops: Counter[str] | None = None
    """Operations by phase, where they were counted."""


def interval_guidance(scale: float, length: int, interval: int | None = None) -> tuple[float, ...]:
    """Guidance of each of L codes: `scale`, and 1 behind step `interval` (published as ``cfg_interval``).

    The first code comes from the prefill and step n makes code n + 1, so that the last guided code is number
    `interval` + 1, counted from 0.

    Raises:
        ConfigError: the interval is negative (published: -1 for none, here None).
    """
    if interval is not None and interval < 0:
        raise ConfigError(f"the guidance interval is {interval}: give the last guided step, from 0, or none for all")
    guided = length if interval is None else min(length, interval + 2)
    return (scale,) * guided + (1.0,) * (length - guided)


def draw_code(
    head: Callable[[Tensor], Tensor],
    place: int,
    hidden: Tensor,
    batch: int,
    scale: float,
    pick: PickCode,
    generators: Sequence[Generator],
) -> tuple[Tensor, Tensor]:
    """Choose codes by one head, from hidden states to logits.

    Args:
        head: from hidden states [R, 1, C] to logits [R, 1, V].
        place: i in raster order.
        hidden: [B or 2 B, 1, C], with the null half where it is needed.
        batch: B.
        scale: of guidance; 1: none.
        pick: chooses codes from logits.
        generators: one a row.

    Returns:
        Codes int64 [B, 1], and a scalar bool: whether the logits were numbers.
    """
    logits = guided_logits(lambda rows: head(hidden[:rows]), batch, scale)
    return pick(place, logits, generators), sound(logits)


@torch.inference_mode()
def generate_raster(
    backbone: RasterBackbone,
    condition: RasterCondition,
    pick: PickCode,
    *,
    guidance: Sequence[float],
    width: int,
    seed: int | Sequence[int] = 0,
    on_row: OnRow | None = None,
    count_flops: bool = False,
    given: Tensor | None = None,
) -> Codes:
    """Draw L codes for each of B images.

    The null half runs as rows of the same passes up to the last guided code, and leaves the cache behind it; where nothing is
    guided it never runs. What a row draws depends on its own seed and logits alone, not on its batch mates.

    Args:
        backbone: the model, in eval mode.
        condition: on its device.
        pick: chooses codes from logits.
        guidance: scale g_i of each of the L codes; 1 means none.
        width: codes in a row of the grid, for `on_row` only.
        seed: as `ar_core.sampling.row_generators` takes it.
        on_row: called after each row of the grid.
        count_flops: count operations; slow, see `counted_flops`.
        given: the first m of the L codes, int64 [B, m], which are not drawn; they go through the prefill.

    Raises:
        ConfigError: there is no code to draw, or guidance without a null condition.
        NumericsError: the model's logits are not numbers; found out at the end of each row of the grid.
    """
    if not guidance:
        raise ConfigError("no guidance was given: give one scale for each code, 1 for none")
    batch, prefix = condition.given.shape[:2]
    length, known = len(guidance), 0 if given is None else given.shape[1]
    if known >= length:
        raise ConfigError(f"{known} of {length} codes were given: nothing is left to draw, give fewer")
    guided = guided_passes((1.0,) * known + tuple(guidance[known:]))
    generators = row_generators(seed, batch)
    fed = condition.doubled() if guided else condition
    rows, valid, x = len(fed.given), fed.valid, fed.given
    # The last code is never fed.
    cache = backbone.new_cache(rows, prefix + length - 1)
    stats, flops = DecodeStats(), Counter[str]() if count_flops else None
    codes = torch.empty(batch, length, dtype=torch.int64, device=x.device)
    if given is not None:
        codes[:, :known] = given
        x = torch.cat([x, backbone.embed(doubled(given, rows))], dim=1)
    numbers = torch.ones((), dtype=torch.bool, device=x.device)
    start = 0
    for place in range(known, length):
        scale = guidance[place]
        if place == guided and rows > batch:
            rows, x = batch, x[:batch]
            valid = None if valid is None else valid[:batch]
            cache.rows(range(batch))
        phase, count = "step" if place > known else "prefill", x.shape[1]
        with stats.forward(phase, rows, count), counted_flops(flops, phase):
            cache.window(count)
            mask = raster_mask(start, count, valid, x.device)
            last = backbone.hidden(x, start=start, mask=mask, cache=cache)[:, -1:]
            cache.keep(count)
            picked, fine = backbone.draw(place, last, batch, scale, pick, generators)
            codes[:, place : place + 1] = picked
            numbers &= fine
            row_ends = (place + 1) % width == 0 or place + 1 == length
            if row_ends:
                # The host waits once a row: waiting for every code would keep it from preparing the next pass.
                require_sound(numbers)
            if place + 1 < length:
                x = backbone.embed(doubled(picked, rows))
        start += count
        if row_ends and on_row is not None:
            on_row(place // width, codes[:, : place + 1].clone())
    for _ in range(batch * (length - known)):
        stats.accept(1)
    stats.generated = [length - known] * batch
    return Codes(codes, stats, flops)
