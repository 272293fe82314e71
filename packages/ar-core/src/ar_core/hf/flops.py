"""Floating-point operations of forward passes, from the model's shapes."""

from dataclasses import dataclass
from types import TracebackType
from typing import Any

from torch import nn

from ar_core.hf.backbone import HFBackbone

__all__ = ["FlopMeter", "PassFlops"]


@dataclass(frozen=True)
class PassFlops:
    """What a forward pass costs; a multiplication and an addition are two operations.

    Matrix products are counted: layers, attention, head. Norms, activations, rotations and softmax are not, as usual.
    """

    token: int
    """A token through the layers: 2 × the weights of their linear maps."""
    pair: int
    """A query and a key in all layers: scores and weighted values, 4 × layers × query heads × head width. Pairs behind a mask
    count: this is what a dense kernel computes."""
    logits: int
    """A row of logits: 2 × C × V."""

    @staticmethod
    def of(backbone: HFBackbone) -> "PassFlops":
        """Those of a dense decoder; all experts of a mixture would count."""
        config, decoder = backbone.config, backbone.decoder
        heads = config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        weights = sum(module.weight.numel() for module in decoder.modules() if isinstance(module, nn.Linear))
        return PassFlops(
            token=2 * weights,
            pair=4 * config.num_hidden_layers * heads * width,
            logits=2 * config.hidden_size * config.vocab_size,
        )

    def total(self, *, tokens: int, pairs: int, rows: int) -> int:
        """Operations of passes over so many tokens, pairs of query and key, and rows of logits."""
        return self.token * tokens + self.pair * pairs + self.logits * rows


class FlopMeter:
    """Counts what the passes of a model cost while it is entered; a few additions on the host for each pass.

    Args:
        backbone: the model; its passes count whoever makes them, if they come with our masks.
    """

    def __init__(self, backbone: HFBackbone) -> None:
        self.costs = PassFlops.of(backbone)
        self.tokens = self.pairs = self.rows = 0
        self._modules = backbone.decoder, backbone.projection
        self._hooks: list[Any] = []

    @property
    def flops(self) -> int:
        """Operations since the meter was made."""
        return self.costs.total(tokens=self.tokens, pairs=self.pairs, rows=self.rows)

    def __enter__(self) -> "FlopMeter":
        decoder, head = self._modules
        self._hooks = [
            decoder.register_forward_pre_hook(self._pass, with_kwargs=True),
            head.register_forward_pre_hook(self._head),
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()

    def _pass(self, module: nn.Module, positional: Any, given: dict[str, Any]) -> None:
        del module, positional
        ids, embeds = given.get("input_ids"), given.get("inputs_embeds")
        batch, width = (embeds if ids is None else ids).shape[:2]  # type: ignore[union-attr]  # one of the two is given
        self.tokens += batch * width
        self.pairs += batch * width * given["attention_mask"].shape[-1]

    def _head(self, module: nn.Module, given: tuple[Any, ...]) -> None:
        del module
        self.rows += given[0].shape[:-1].numel()
