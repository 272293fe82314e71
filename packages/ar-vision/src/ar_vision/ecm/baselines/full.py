"""Full fine-tuning: a trained copy of the base.

Source: full fine-tuning, the baseline of ECM (arXiv 2510.05610).
"""

from typing import ClassVar

import torch
from torch import Generator, Tensor

from ...backbones.scale_transformer.model import NO_DECAY
from ...backbones.var.config import VarConfig
from ...backbones.var.model import Var
from ..base_pass import BasePass
from ..controller import Strength
from .config import FullConfig
from .input_control import InputControl

__all__ = ["FullControl"]


class FullControl(InputControl):
    """All weights of the base trained, and the control added to the input: one model for each control, as large as the base.

    As of all other controllers, no branch is left out by chance, whatever the base's ``drop_path`` was.

    Args:
        config: the encoder.
        base: shape of the base.
        image_size: H = W.
        num_kinds: kinds of control.
    """

    kind: ClassVar[str] = "full"
    no_decay = tuple(dict.fromkeys((*InputControl.no_decay, *NO_DECAY)))

    def __init__(self, config: FullConfig, base: VarConfig, image_size: int, num_kinds: int = 1) -> None:
        super().__init__(config.encoder, base, image_size, num_kinds)
        self.config = config
        self.tuned = Var(base)
        self.tuned.set_drop_path(0.0)

    def transformer(self, base: Var) -> Var:
        """Return the copy."""
        return self.tuned

    def hidden(self, given: BasePass, features: Tensor, strength: Strength = 1.0) -> Tensor:
        """Run the copy's blocks; [R, n, C]. It stays the tuned one whatever the strength of the control."""
        return given.run(self.controlled(given.x, features, strength), base=self.tuned)

    @torch.no_grad()
    def initialize(self, generator: Generator, base: Var) -> None:
        """Copy the base."""
        self.encoder.initialize(generator)
        self.tuned.load_state_dict(base.state_dict())
