"""Several controls at once: the sum of what trained ECMs inject (ours; the paper has one control a model)."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from ar_core.errors import ConfigError, DataError
from torch import Generator, Tensor, nn

from ..backbones.var.model import Var
from ..tokenizers.tokenizer import Tokenizer
from .base_pass import BasePass
from .controller import Controller, Strength
from .model import Ecm, injected

__all__ = ["EcmSum"]


class EcmSum(Controller):
    """M trained ECMs on one base, each with a strength of its own. It is not trained: maps of all of them are given side by side.

    Args:
        parts: M ECMs of one base.
        strengths: one of each in [0, 1], beside the strength of the whole.

    Raises:
        ConfigError: there are none, not as many strengths, one is out of range, or they are of several bases.
    """

    kind: ClassVar[str] = "ecm_sum"

    def __init__(self, parts: Sequence[Ecm], strengths: Sequence[float] | None = None) -> None:
        if not parts or (strengths is not None and len(strengths) != len(parts)):
            raise ConfigError(
                f"{len(parts)} ECMs and {len(strengths or ())} strengths were given: give at least one, and a strength of each"
            )
        wrong = next((one for one in strengths or () if not 0 <= one <= 1), None)
        if wrong is not None:
            raise ConfigError(f"strengths are {list(strengths or ())}; {wrong} does not lie in [0, 1]")
        if any((one.base_config, one.image_size) != (parts[0].base_config, parts[0].image_size) for one in parts):
            raise ConfigError(
                "the ECMs are of bases of different shapes or images of different sizes: give those of one base"
            )
        super().__init__(parts[0].base_config, parts[0].image_size)
        self.parts = nn.ModuleList(parts)
        self.strengths = tuple(strengths or (1.0,) * len(parts))

    @property
    def extra_layers(self) -> int:
        """Adapters of all parts."""
        return sum(part.extra_layers for part in self._ecms())

    def features(
        self,
        maps: Tensor,
        tokenizer: Tokenizer | None = None,
        *,
        kinds: Tensor | None = None,
        dropped: Tensor | None = None,
        scales: int | None = None,
    ) -> Tensor:
        """Return r of all parts side by side, [B, L', M C].

        Args:
            maps: one for each part, [B, 3 M, H, W].
            tokenizer: as `Controller.features` takes it.
            kinds: of the first kind each; must be None.
            dropped: as there, for all parts.
            scales: as there.

        Raises:
            DataError: as there; or not as many maps as parts.
        """
        if maps.ndim != 4 or maps.shape[1] != 3 * len(self.parts):
            raise DataError(
                f"control maps of shape {list(maps.shape)} were given for {len(self.parts)} ECMs: give one map of three channels for each, "
                "side by side"
            )
        each = maps.split(3, dim=1)
        found = [
            part.features(one, tokenizer, kinds=kinds, dropped=dropped, scales=scales)
            for part, one in zip(self._ecms(), each)
        ]
        return torch.cat(found, dim=-1)

    def hidden(self, given: BasePass, features: Tensor, strength: Strength = 1.0) -> Tensor:
        """Run the base's blocks with the adapters of all parts; [R, n, C]."""
        injections, layer = [], given.base.config.depth
        for part, own, r in zip(self._ecms(), self.strengths, features.chunk(len(self.parts), dim=-1)):
            injections.append(
                part.injections(
                    given.condition,
                    r,
                    strength=own * strength,
                    cache=given.cache,
                    mask=given.mask,
                    first_layer=layer,
                )
            )
            layer += part.extra_layers
        return injected(given, injections)

    def initialize(self, generator: Generator, base: Var) -> None:
        """Refuse: its parts are trained.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("a sum of ECMs has no weights of its own: train its parts")

    def _ecms(self) -> list[Ecm]:
        found = [part for part in self.parts if isinstance(part, Ecm)]
        assert len(found) == len(self.parts)
        return found
