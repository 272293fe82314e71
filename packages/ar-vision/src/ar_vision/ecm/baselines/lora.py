"""LoRA: updates of low rank to the matrices of a frozen base.

Source: LoRA (arXiv 2106.09685), equation 3.
"""

from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call

from ...backbones.var.config import VarConfig
from ...backbones.var.model import Var
from ..base_pass import BasePass
from ..controller import Strength
from .config import LoraConfig
from .input_control import InputControl

__all__ = ["LoraControl"]

_MATRICES = ("attention.qkv", "attention.proj", "ffn.fc1", "ffn.fc2")
"""Of a block."""


class LoraControl(InputControl):
    """W + (alpha / r) B A for the matrices of attention and feed-forward layer of every block, and the control added to the input. Modulations
    stay the base's.

    The updates are added to the weights, so that a pass costs what the base's does, and a step as much as one that trains the matrices.

    Args:
        config: rank and scale.
        base: shape of the base.
        image_size: H = W.
        num_kinds: kinds of control.
    """

    kind: ClassVar[str] = "lora"

    def __init__(self, config: LoraConfig, base: VarConfig, image_size: int, num_kinds: int = 1) -> None:
        super().__init__(config.encoder, base, image_size, num_kinds)
        self.config = config
        width, hidden = base.width, base.ffn_ratio * base.width
        shapes = {"qkv": (3 * width, width), "proj": (width, width), "fc1": (hidden, width), "fc2": (width, hidden)}
        self.down, self.up = nn.ParameterDict(), nn.ParameterDict()
        for layer in range(base.depth):
            for name in _MATRICES:
                rows, columns = shapes[name.partition(".")[2]]
                self.down[_key(layer, name)] = nn.Parameter(torch.zeros(config.rank, columns))
                self.up[_key(layer, name)] = nn.Parameter(torch.zeros(rows, config.rank))

    def hidden(self, given: BasePass, features: Tensor, strength: Strength = 1.0) -> Tensor:
        """Run the base's blocks with updated matrices; [R, n, C]. The updates stay whatever the strength of the control."""
        x, modulation = self.controlled(given.x, features, strength), given.modulation
        for layer, block in enumerate(given.base.blocks):
            updated = {
                f"{name}.weight": block.get_parameter(f"{name}.weight") + self.update(layer, name) for name in _MATRICES
            }
            x = functional_call(block, updated, (x, modulation), {"cache": given.cache, "mask": given.mask})
        return x

    def update(self, layer: int, name: str) -> Tensor:
        """Return what is added to a matrix [C_out, C_in], such as ``attention.qkv``, of a block: B A alpha / rank."""
        key = _key(layer, name)
        out: Tensor = self.up[key] @ self.down[key] * (self.config.alpha / self.config.rank)
        return out

    @torch.no_grad()
    def initialize(self, generator: Generator, base: Var) -> None:
        """Draw A as LoRA does, uniformly within 1 / sqrt(columns); B begins at 0."""
        self.encoder.initialize(generator)
        for down in self.down.values():
            down.uniform_(-(down.shape[1] ** -0.5), down.shape[1] ** -0.5, generator=generator)


def _key(layer: int, name: str) -> str:
    # Dots have no place in the name of a parameter.
    return f"{layer}_{name.replace('.', '_')}"
