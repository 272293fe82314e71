"""ECM: adapters over the depth of a frozen VAR (arXiv 2510.05610).

Letters: R rows, C width, n tokens of a pass, N adapters, d blocks of the base.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from ar_core.cache import WindowedKVCache
from ar_core.errors import ConfigError
from ar_core.masks import Mask
from torch import Generator, Tensor, nn

from ..backbones.adaln import AdaFeedForward, ConditionLinear, ConditionOffset, initialize_linear
from ..backbones.scale_transformer.block import ScaleBlock
from ..backbones.var.config import VarConfig
from ..backbones.var.model import Var
from .adapter import EcmAdapter
from .base_pass import BasePass
from .config import EcmConfig
from .controller import EncodedController, Strength

__all__ = ["Ecm", "Injections", "injected"]

Injections = Callable[[int, Tensor, Tensor], Tensor | None]
"""From a block's number, its input h and the base's modulation to what is added to h there; None where no adapter stands."""


class Ecm(EncodedController):
    """Adapters in front of some blocks of the base; c_0 = r, and adapter j in front of block l_j does

        u = h + c;  c <- c + a(u) + f(u);  h <- h + g_j c

    (the published structure; the wiring is ours). With every g_j = 0, as before training, the base is what it was, bit for bit.

    Args:
        config: the adapters.
        base: shape of the base.
        image_size: H = W.
        num_kinds: kinds of control.

    Raises:
        ConfigError: adapters do not fit the base.
    """

    kind: ClassVar[str] = "ecm"
    no_decay = (*EncodedController.no_decay, "log_scale", "offset")

    def __init__(self, config: EcmConfig, base: VarConfig, image_size: int, num_kinds: int = 1) -> None:
        super().__init__(config.encoder, base, image_size, num_kinds)
        if config.adaln == "base" and not base.shared_adaln:
            raise ConfigError("adaln is 'base' and this base has no shared modulation: choose shared, own or none")
        self.positions = config.placed(base.depth)
        # Files name the blocks, so that no later rule of placing moves trained adapters.
        self.config = replace(config, n_adapters=None, positions=self.positions)
        self.shared = ConditionLinear(base.width, 6) if config.adaln == "shared" else None
        self.adapters = nn.ModuleList(EcmAdapter(config, base) for _ in self.positions)
        layers = 1 if config.share_ffn else len(self.positions)
        self.ffns = nn.ModuleList(AdaFeedForward(base.width, config.ffn_ratio * base.width) for _ in range(layers))

    @property
    def extra_layers(self) -> int:
        """N: adapters keep keys and values, too."""
        return len(self.positions)

    def ffn_of(self, number: int) -> AdaFeedForward:
        """Return the feed-forward layer that an adapter uses."""
        found = self.ffns[0 if self.config.share_ffn else number]
        assert isinstance(found, AdaFeedForward)
        return found

    def injections(
        self,
        condition: Tensor,
        features: Tensor,
        *,
        strength: Strength = 1.0,
        cache: WindowedKVCache | None = None,
        mask: Mask | None = None,
        first_layer: int | None = None,
    ) -> Injections:
        """Return what adds the control to the coming pass, block after block.

        Args:
            condition: [R, C].
            features: r of the pass, [R, n, C].
            strength: of every injection.
            cache: of base and adapters.
            mask: where there is no cache.
            first_layer: of the adapters in the cache; None: d.
        """
        shared = None if self.shared is None else self.shared(condition)
        first = self.base_config.depth if first_layer is None else first_layer
        state = features

        def inject(layer: int, h: Tensor, modulation: Tensor) -> Tensor | None:
            nonlocal state
            if layer not in self.positions:
                return None
            number = self.positions.index(layer)
            adapter = self.adapters[number]
            assert isinstance(adapter, EcmAdapter)
            driver = shared if shared is not None else modulation if self.config.adaln == "base" else condition
            change = adapter(
                h + state if self.config.context else state,
                driver,
                self.ffn_of(number),
                layer=first + number,
                cache=cache,
                mask=mask,
            )
            state = state + change
            out: Tensor | None = strength * (adapter.injection * (state if self.config.inject == "carry" else change))
            return out

        return inject

    def hidden(self, given: BasePass, features: Tensor, strength: Strength = 1.0) -> Tensor:
        """Run the base's blocks, with the adapters in front of some; [R, n, C]."""
        inject = self.injections(given.condition, features, strength=strength, cache=given.cache, mask=given.mask)
        return injected(given, [inject])

    @torch.no_grad()
    def initialize(self, generator: Generator, base: Var) -> None:
        """Draw fresh weights as VAR's training does, or take those of the base's blocks; g_j stay 0.

        Args:
            generator: of the device of the module.
            base: whose blocks are taken with ``init_from_base``.
        """
        width, depth = self.base_config.width, len(self.positions)
        std = (1 / width / 3) ** 0.5
        for part in (self.adapters, self.ffns, self.shared):
            if part is not None:
                initialize_linear(part, std, generator)
        for number, adapter in enumerate(self.adapters):
            assert isinstance(adapter, EcmAdapter)
            adapter.attention.proj.weight.div_((2 * depth) ** 0.5)
            if self.config.init_from_base:
                block = base.blocks[self.positions[number]]
                assert isinstance(block, ScaleBlock)
                adapter.attention.load_state_dict(block.attention.state_dict())
                if isinstance(adapter.modulation, type(block.modulation)):
                    adapter.modulation.load_state_dict(block.modulation.state_dict())
        for number, ffn in enumerate(self.ffns):
            assert isinstance(ffn, AdaFeedForward)
            ffn.fc2.weight.div_((2 * depth) ** 0.5)
            block = base.blocks[self.positions[number]]
            assert isinstance(block, ScaleBlock)
            if self.config.init_from_base and ffn.fc1.weight.shape == block.ffn.fc1.weight.shape:
                ffn.load_state_dict(block.ffn.state_dict())
        if self.config.init_from_base and self.shared is not None and base.shared is not None:
            self.shared.load_state_dict(base.shared.state_dict())
        self._initialize_modulations(base, generator)
        self.encoder.initialize(generator)

    def _initialize_modulations(self, base: Var, generator: Generator) -> None:
        """Gates of fresh modulations are nearly shut, as VAR's are; a copied one stays what it is."""
        for adapter in self.adapters:
            assert isinstance(adapter, EcmAdapter)
            copied = self.config.init_from_base and isinstance(adapter.modulation, type(base.blocks[0].modulation))
            if copied:
                continue
            if isinstance(adapter.modulation, ConditionLinear):
                _shut(adapter.modulation.linear.weight.unflatten(0, (6, -1)))
            elif isinstance(adapter.modulation, ConditionOffset) and self.config.adaln == "shared":
                drawn = adapter.modulation.offset.normal_(std=self.base_config.width**-0.5, generator=generator)
                _shut(drawn[0, 0])


def _shut(parts: Tensor) -> None:
    parts[:2].mul_(1e-3)
    parts[2:].mul_(0.5)


def injected(given: BasePass, injections: Sequence[Injections]) -> Tensor:
    """Run the base's blocks; what is injected in front of one is a sum, so that no order of the controls matters.

    Args:
        given: the base and what it is run with.
        injections: of each control.

    Returns:
        [R, n, C].
    """

    def before(layer: int, h: Tensor, modulation: Tensor) -> Tensor:
        added = [one for inject in injections if (one := inject(layer, h, modulation)) is not None]
        return h + sum(added[1:], added[0]) if added else h

    return given.run(before_block=before)
