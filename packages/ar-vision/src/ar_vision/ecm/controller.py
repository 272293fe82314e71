"""What makes a frozen VAR follow a control: the seam between ECM, its baselines, training and decoding.

Letters: R rows, B images, C width, n tokens of a pass, L' tokens of the first scales, K scales, T kinds of control.

Source: ours.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from ar_core.errors import ConfigError, DataError
from torch import Generator, Tensor, nn

from ..backbones.var.config import VarConfig
from ..backbones.var.model import Var
from ..scales import ScaleSchedule
from ..tokenizers.tokenizer import Tokenizer
from .base_pass import BasePass
from .config import EncoderConfig
from .encoder import ControlEncoder

__all__ = ["Controller", "EncodedController", "Strength"]

Strength = float | Tensor
"""How strong what is injected is: a number, or one for each row and token, [R or 1, n or 1, 1]."""


class Controller(nn.Module, ABC):
    """A module of its own beside a base that it leaves as it is.

    Args:
        base: shape of the base.
        image_size: H = W of its images, which control maps have, too.
    """

    kind: ClassVar[str]
    """Name that its checkpoints carry."""
    no_decay: ClassVar[tuple[str, ...]] = ()
    """Ends of the names of parameters that weight decay leaves alone."""
    leaves_base: ClassVar[bool] = True
    """Whether strength 0 is the base itself, so that nothing of the controller need be run."""

    def __init__(self, base: VarConfig, image_size: int) -> None:
        super().__init__()
        self.base_config, self.image_size = base, image_size
        self.schedule = ScaleSchedule.square(*base.scales)
        if image_size % self.schedule.height:
            raise ConfigError(
                f"images of {image_size} pixels were asked for and the last of the scales {self.schedule} does not divide them: give the "
                "size that the base was trained on"
            )

    @property
    def extra_layers(self) -> int:
        """Layers that need keys and values in the cache, behind those of the base."""
        return 0

    @abstractmethod
    def features(
        self,
        maps: Tensor,
        tokenizer: Tokenizer | None = None,
        *,
        kinds: Tensor | None = None,
        dropped: Tensor | None = None,
        scales: int | None = None,
    ) -> Tensor:
        """Return r: what the control says to every token of the first scales, [B, L', C].

        Args:
            maps: [B, 3, H, W] in [-1, 1].
            tokenizer: of the base, where maps are seen through it.
            kinds: int64 [B], of which kind each map is; None: all of the first.
            dropped: bool [B], whose control is left out; None: nobody's.
            scales: how many; None: all K.

        Raises:
            DataError: maps are of another size, or hold values that are no numbers.
        """

    @abstractmethod
    def hidden(self, given: BasePass, features: Tensor, strength: Strength = 1.0) -> Tensor:
        """Run the base's blocks under control.

        Args:
            given: the base and what it is run with.
            features: r of the same tokens, [R, n, C].
            strength: 0 is the base, 1 the control as trained.

        Returns:
            [R, n, C].
        """

    @abstractmethod
    def initialize(self, generator: Generator, base: Var) -> None:
        """Draw fresh weights, with which the base is what it was."""

    def transformer(self, base: Var) -> Var:
        """Return the transformer whose embeddings and head are used: the base."""
        return base

    def require_maps(self, maps: Tensor) -> None:
        """Refuse maps, which are to be float [B, 3, H, W], that are none.

        Raises:
            DataError: they are of another size, or hold values that are no numbers.
        """
        side = self.image_size
        if maps.ndim != 4 or maps.shape[1:] != (3, side, side):
            raise DataError(
                f"control maps of shape {list(maps.shape)} were given and [B, 3, {side}, {side}] is needed: resize them to the images of "
                "the base"
            )
        if not bool(maps.isfinite().all()):
            raise DataError("a control map has values that are not numbers: make it anew, or leave it out of the batch")


class EncodedController(Controller):
    """A controller with ECM's encoder, a learned null control and, for several kinds, an embedding of each.

    Args:
        encoder: which.
        base: shape of the base.
        image_size: H = W.
        num_kinds: T.
    """

    no_decay: ClassVar[tuple[str, ...]] = ("scale_embed", "null_control", "type_embed", "positions")

    def __init__(self, encoder: EncoderConfig, base: VarConfig, image_size: int, num_kinds: int = 1) -> None:
        super().__init__(base, image_size)
        self.encoder = ControlEncoder(encoder, base.width, self.schedule, image_size, base.code_dim)
        self.null_control = nn.Parameter(torch.zeros(base.width))
        self.type_embed = nn.Parameter(torch.zeros(num_kinds, base.width)) if num_kinds > 1 else None

    def features(
        self,
        maps: Tensor,
        tokenizer: Tokenizer | None = None,
        *,
        kinds: Tensor | None = None,
        dropped: Tensor | None = None,
        scales: int | None = None,
    ) -> Tensor:
        """Return r [B, L', C]; a dropped control is the null control at every token.

        Raises:
            DataError: as `Controller.features` does.
            ConfigError: the encoder needs the tokenizer, and there is none.
        """
        self.require_maps(maps)
        if self.encoder.config.kind == "latent":
            if tokenizer is None:
                raise ConfigError("encoder.kind is 'latent', which sees maps through the tokenizer: give it")
            with torch.no_grad():
                maps = tokenizer.encode(maps)
        features: Tensor = self.encoder(maps, scales)
        if self.type_embed is not None:
            chosen = torch.zeros(len(maps), dtype=torch.int64, device=maps.device) if kinds is None else kinds
            features = features + self.type_embed[chosen][:, None]
        if dropped is not None:
            features = torch.where(dropped[:, None, None], self.null_control.to(features.dtype), features)
        return features
