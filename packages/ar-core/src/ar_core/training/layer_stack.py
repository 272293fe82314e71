"""The layers that sharding makes whole one at a time, and the order in which a step must pass them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..errors import ConfigError

__all__ = ["LayerStack", "longest_stack"]


def longest_stack(models: nn.Module) -> Sequence[nn.Module]:
    """Return the layers of the list that holds most trained parameters: of one class, sharing none with the rest; may be empty."""
    best: Sequence[nn.Module] = ()
    most = 0
    everywhere = _uses(models)
    for module in models.modules():
        if not isinstance(module, nn.ModuleList) or len(module) < 2 or len({type(layer) for layer in module}) > 1:
            continue
        inside = _uses(module)
        apart = len(inside) == sum(len(_uses(layer)) for layer in module)
        size = sum(one.numel() for one in inside if one.requires_grad)
        if size > most and apart and all(everywhere[one] == count for one, count in inside.items()):
            best, most = tuple(module), size
    return best


def _uses(module: nn.Module) -> Counter[nn.Parameter]:
    """How often each parameter stands in a module."""
    return Counter(one for _, one in module.named_parameters(remove_duplicate=False))


class LayerStack:
    """Layers that processes gather together: each must pass all of them once, in order, in every forward pass and back.

    What a collective meets is what the other processes sent in the same turn. A process that passed other layers than they did would
    take their weights for its own, so the order is held here, in each process, before anything is made of the gradients.

    Args:
        layers: in the order of passes; may be empty.
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self.layers = layers
        self._forward: list[int] = []
        self._backward: list[int] = []
        self._counting = False
        for number, layer in enumerate(layers):
            layer.register_forward_pre_hook(self._entering(number))
            layer.register_forward_hook(self._leaving(number))

    def begin(self) -> None:
        """A forward pass begins."""
        self._forward.clear()
        self._backward.clear()
        self._counting = True

    def end(self) -> None:
        """The forward pass is over; what is computed again for the backward pass does not count.

        Raises:
            ConfigError: it did not pass all layers.
        """
        self._counting = False
        if len(self._forward) < len(self.layers):
            raise self._refused(f"{len(self._forward)} of its {len(self.layers)} layers")

    def require_returned(self) -> None:
        """The backward pass is over.

        Raises:
            ConfigError: it did not come back through all layers.
        """
        if self._backward != list(reversed(range(len(self.layers)))):
            raise self._refused(f"{len(self._backward)} of its {len(self.layers)} layers on its way back")

    def _entering(self, number: int) -> Any:
        def hook(layer: nn.Module, inputs: Any) -> None:
            if not self._counting:
                return
            if number != len(self._forward):
                raise self._refused(f"layer {number + 1} as number {len(self._forward) + 1}")
            self._forward.append(number)

        return hook

    def _leaving(self, number: int) -> Any:
        def returned(gradient: Tensor) -> None:
            self._backward.append(number)

        def hook(layer: nn.Module, inputs: Any, output: Any) -> None:
            hidden = output[0] if isinstance(output, tuple) else output
            if hidden.requires_grad:
                hidden.register_hook(returned)

        return hook

    def _refused(self, passed: str) -> ConfigError:
        return ConfigError(
            f"sharding is fsdp2 by layers, and a step passed {passed} where every process must pass each once and in order: set "
            "train.sharding_unit to model"
        )
