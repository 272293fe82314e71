"""CAR, controllable autoregressive modelling (arXiv 2410.04671): a control branch as deep as half of the base.

Letters: R rows, B images, C width, n tokens of a pass, K scales, d blocks of the base.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ...backbones.scale_transformer.block import ScaleBlock
from ...backbones.var.config import VarConfig
from ...backbones.var.model import Var
from ...tokenizers.tokenizer import Tokenizer
from ..base_pass import BasePass
from ..controller import Controller, Strength
from ..encoder import ControlConvs, require_stages
from .config import CarConfig

__all__ = ["CarControl"]


class CarControl(Controller):
    """u_k = conv3x3(tokens of scale k without positions) + convs(control at the pixels of scale k), positions added, through d/2 blocks;
    block i >= d/2 of the base is then given Linear(LN([x, s])) in the place of x, s being the last output of the branch not yet used.

    Outputs are used last to first. Unlike ECM it does not begin as the base: the linear layers are random. Two points of the published
    code could not be read and are ours: tokens of scale 0 are class and start tokens, and the layer norms' eps is 1e-6.

    Args:
        config: channels of the convolutions.
        base: shape of the base.
        image_size: H = W.
    """

    kind: ClassVar[str] = "car"
    no_decay = ("log_scale",)

    def __init__(self, config: CarConfig, base: VarConfig, image_size: int, num_kinds: int = 1) -> None:
        super().__init__(base, image_size)
        self.config = config
        self.downsampling = image_size // self.schedule.height
        require_stages(config.channels, self.downsampling)
        self.control_convs = ControlConvs(config.channels, base.width)
        self.var_conv = nn.Conv2d(base.width, base.width, 3, padding=1)
        half = base.depth // 2
        # Their number is their place in the cache, behind the base's.
        self.blocks = nn.ModuleList(ScaleBlock(base, base.depth + layer) for layer in range(half))
        for block in self.blocks:
            assert isinstance(block, ScaleBlock)
            block.drop_path.rate = 0.0
        self.skip_norm = nn.ModuleList(nn.LayerNorm(2 * base.width, eps=1e-6) for _ in range(half))
        self.skip_linear = nn.ModuleList(nn.Linear(2 * base.width, base.width) for _ in range(half))

    @property
    def extra_layers(self) -> int:
        """Blocks of the branch."""
        return len(self.blocks)

    def features(
        self,
        maps: Tensor,
        tokenizer: Tokenizer | None = None,
        *,
        kinds: Tensor | None = None,
        dropped: Tensor | None = None,
        scales: int | None = None,
    ) -> Tensor:
        """Return the convolutions' outputs [B, L', C]; a dropped control is an empty map, as black as canny's."""
        self.require_maps(maps)
        if dropped is not None:
            maps = torch.where(dropped[:, None, None, None], -1.0, maps)
        sizes = self.schedule.sizes[:scales]
        grids = self.control_convs.of_scales(maps, sizes, self.downsampling, "bicubic")
        return torch.cat([grid.flatten(2).transpose(1, 2) for grid in grids], dim=1)

    def hidden(self, given: BasePass, features: Tensor, strength: Strength = 1.0) -> Tensor:
        """Run the branch, then the base's blocks, the second half of which is given both; [R, n, C].

        At strength s, a block is given x + s (Linear(...) - x).
        """
        base, x = given.base, given.x
        scales = range(self._scales(x.shape[1])) if given.scale is None else (given.scale,)
        positions = torch.cat([base.positions_of(k, base.schedule) for k in scales], dim=1)
        u = self._convolved(x - positions, scales) + features + positions
        modulation = given.modulation
        outputs: list[Tensor] = []
        for block in self.blocks:
            u = block(u, modulation, cache=given.cache, mask=given.mask)
            outputs.append(u)
        first = base.config.depth - len(self.skip_linear)

        def before(layer: int, h: Tensor, modulation: Tensor) -> Tensor:
            if layer < first or not outputs:
                return h
            both = self._normed(layer - first, torch.cat([h, outputs.pop()], dim=-1))
            joined = self.skip_linear[layer - first](both)
            out: Tensor = joined if isinstance(strength, float | int) and strength == 1 else h + strength * (joined - h)
            return out

        return given.run(before_block=before)

    @torch.no_grad()
    def initialize(self, generator: Generator, base: Var) -> None:
        """Take the branch's blocks from the base's first ones; draw the rest."""
        self.control_convs.initialize(generator)
        nn.init.kaiming_normal_(self.var_conv.weight, generator=generator)
        assert self.var_conv.bias is not None
        nn.init.zeros_(self.var_conv.bias)
        for own, block in zip(self.blocks, base.blocks):
            own.load_state_dict(block.state_dict())
        for linear in self.skip_linear:
            assert isinstance(linear, nn.Linear)
            nn.init.trunc_normal_(linear.weight, std=linear.in_features**-0.5, generator=generator)
            nn.init.zeros_(linear.bias)

    def _normed(self, number: int, joined: Tensor) -> Tensor:
        """The layer norm in float32 or better."""
        norm, wide = self.skip_norm[number], joined.to(torch.promote_types(joined.dtype, torch.float32))
        assert isinstance(norm, nn.LayerNorm)
        weight, bias = norm.weight.to(wide.dtype), norm.bias.to(wide.dtype)
        return F.layer_norm(wide, norm.normalized_shape, weight, bias, norm.eps).to(joined.dtype)

    def _convolved(self, tokens: Tensor, scales: Sequence[int]) -> Tensor:
        sizes = [self.schedule.sizes[k] for k in scales]
        parts = tokens.split([height * width for height, width in sizes], dim=1)
        maps = [part.transpose(1, 2).unflatten(2, size) for part, size in zip(parts, sizes)]
        return torch.cat([self.var_conv(one).flatten(2).transpose(1, 2) for one in maps], dim=1)

    def _scales(self, tokens: int) -> int:
        ends = [part.stop for part in self.schedule.slices]
        return ends.index(tokens) + 1
