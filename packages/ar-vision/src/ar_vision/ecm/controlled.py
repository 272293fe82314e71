"""A base under the control of one batch of maps, as the scale-wise loop runs it.

Letters: R rows, B images, C width, n tokens of a pass, L tokens of all scales, K scales.

Source: ECM (arXiv 2510.05610); guidance by class and control after ControlVAR.
"""

from collections.abc import Sequence
from types import SimpleNamespace

import torch
from ar_core.cache import WindowedKVCache
from ar_core.errors import ConfigError
from ar_core.masks import Mask
from ar_core.sampling import guide
from torch import Tensor

from ..backbones.scale_cache import scale_cache
from ..backbones.var.model import Var
from ..decoding.guidance import doubled
from ..decoding.scalewise import ScalePasses
from ..scales import ScaleSchedule
from .base_pass import BasePass
from .controller import Controller, Strength

__all__ = ["ControlPasses", "ControlledVar", "active_span"]


class ControlledVar:
    """A `ar_vision.decoding.scalewise.ScaleBackbone`: a VAR and what controls it.

    Args:
        base: the frozen transformer.
        controller: adapters or a baseline.
        features: r of B images, [B, L, C].
        strength: s of the control: 0 is the base and 1 what was trained.
        active: first and last scale that are controlled, from 0; None: all.
        null: r of no control, [1, L, C], which the rows without control have; None: nothing is injected in these.

    Raises:
        ConfigError: the scales are none.
    """

    def __init__(
        self,
        base: Var,
        controller: Controller,
        features: Tensor,
        *,
        strength: float = 1.0,
        active: tuple[int, int] | None = None,
        null: Tensor | None = None,
    ) -> None:
        count = base.schedule.count
        first, last = active_span(active, count)
        self.base, self.controller, self._features, self._null = base, controller, features, null
        self._transformer = controller.transformer(base)
        self._strengths = tuple(strength if first <= k <= last else 0.0 for k in range(count))
        # What a guided pass adds behind the rows with control.
        self.free_rows = 0

    def new_cache(self, rows: int, capacity: int) -> WindowedKVCache:
        """Return an empty cache of the base's layers and, behind them, of the controller's."""
        config = self.base.config
        shape = SimpleNamespace(
            depth=config.depth + self.controller.extra_layers, heads=config.heads, width=config.width
        )
        return scale_cache(shape, self._transformer.word_embed.weight, rows, capacity)

    def embed(self, scale: int, features: Tensor | None, condition: Tensor, schedule: ScaleSchedule) -> Tensor:
        """Return the base's input of a scale; see :meth:`ar_vision.decoding.scalewise.ScaleBackbone.embed`."""
        return self._transformer.embed(scale, features, condition, schedule)

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
        """Run the base under control over one scale, or (scale None) over the first ones.

        See :meth:`ar_vision.decoding.scalewise.ScaleBackbone.hidden`. Both halves of guidance see the control, so that guidance is
        about the class.
        """
        rows, n = x.shape[:2]
        parts = schedule.slices
        tokens = slice(0, n) if scale is None else parts[scale]
        scales = [k for k in range(schedule.count) if tokens.start <= parts[k].start < tokens.stop]
        strengths = [self._strengths[k] for k in scales]
        if self.controller.leaves_base and not self.free_rows and not any(self._strengths):
            return self.base.hidden(x, condition, scale=scale, schedule=schedule, cache=cache, mask=mask)
        r = doubled(self._features[:, tokens], rows)
        given: Strength = strengths[0]
        if len(set(strengths)) > 1:
            lengths = torch.tensor([schedule.lengths[k] for k in scales], device=x.device)
            given = torch.repeat_interleave(x.new_tensor(strengths), lengths).view(1, -1, 1)
        if self.free_rows and self._null is None:
            kept = x.new_ones(rows, 1, 1)
            kept[rows - self.free_rows :] = 0
            given = given * kept
        elif self.free_rows and self._null is not None:
            null = self._null[:, tokens].expand(self.free_rows, -1, -1)
            r = torch.cat([r[: rows - self.free_rows], null])
        return self.controller.hidden(BasePass(self.base, x, condition, scale, cache, mask), r, given)

    def head(self, hidden: Tensor, condition: Tensor) -> Tensor:
        """Return logits [R, n, V] of hidden states [R, n, C] and a condition [R, C]."""
        out: Tensor = self._transformer.head(hidden, condition)
        return out


def active_span(active: tuple[int, int] | None, count: int) -> tuple[int, int]:
    """Return the first and the last controlled one of K scales.

    Args:
        active: both, from 0; None: all.
        count: K.

    Raises:
        ConfigError: they are none.
    """
    first, last = (0, count - 1) if active is None else active
    if not 0 <= first <= last < count:
        raise ConfigError(f"active_scales are {first} to {last} and there are {count}: give two of 0 to {count - 1}")
    return first, last


class ControlPasses(ScalePasses):
    """Passes that are guided by class and control: g_k and w of u + w (uc - u) + g_k (cc - uc), u being neither, uc the control alone.

    What u has in the place of the control is `ControlledVar`'s matter.

    With w = 1 it is guidance by the class alone, the control being in both halves, as CAR has it: two rows an image, or one.

    Args:
        backbone: base and control.
        condition: [B, C].
        null: condition of the null class, [B, C].
        guidance: g_k of every scale; 1 means none.
        control_guidance: w; 1 means none.
    """

    def __init__(
        self,
        backbone: ControlledVar,
        condition: Tensor,
        null: Tensor,
        guidance: Sequence[float],
        control_guidance: float = 1.0,
    ) -> None:
        super().__init__(backbone, condition, null, backbone.base.schedule, guidance)
        self.control_guidance = control_guidance
        if control_guidance != 1:
            backbone.free_rows = self.batch
            # No pass may leave out rows whose keys later ones see.
            self.guided_scales = self.schedule.count
            self.condition = torch.cat([condition, null, null])
            self.cache = backbone.new_cache(3 * self.batch, self.schedule.total)

    def guided(self, hidden: Tensor, scale: int) -> Tensor:
        """Return guided logits [B, L_k, V] of the hidden states [R, L_k, C] of a scale."""
        if self.control_guidance == 1:
            return super().guided(hidden, scale)
        both, control, free = self.backbone.head(hidden, self.condition).chunk(3)
        return guide(control, free, self.control_guidance) + self.guidance[scale] * (both - control)
