"""What is trained, shared among the processes of a run by FSDP2."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from ..errors import ConfigError
from .layer_stack import LayerStack, longest_stack
from .objective import Prepared, Settling
from .optimizers import Turn
from .parts import Rows
from .ranks import Ranks
from .reached import with_all_reached
from .step import TrainStep

__all__ = ["Shards"]


class Shards:
    """The trained parameters of a step's models as shards along their first dimension, whole only while they are needed.

    ``fully_shard`` of torch gathers weights before a forward pass, and sums and scatters gradients behind a backward pass: sums, as the
    step's loss is divided by the weights of all processes before. Optimiser, average and checkpoints see the plain local parts
    (``local``). What is frozen, and parameters without a dimension, stay whole in every process.

    Args:
        module: The step's models on their device, equal in every process; changed in place.
        ranks: The processes, at least two.
        layers: Gather the longest stack of layers one after the other, instead of everything at once.

    Raises:
        ConfigError: One process; an objective that changes its models without a gradient.
    """

    def __init__(self, module: TrainStep, ranks: Ranks, *, layers: bool) -> None:
        if ranks.size == 1:
            raise ConfigError(
                "sharding is fsdp2 and the run has one process, which has nothing to share: start several with --nproc, or set "
                "train.sharding to none"
            )
        if isinstance(module.objective, Settling):
            raise ConfigError(
                "sharding is fsdp2, and this objective changes its models between steps by other means than a gradient, for which they "
                "must be whole: set train.sharding to none"
            )
        self.ranks, self.module = ranks, module
        trained = {one for name in module.trained for one in module.models[name].parameters() if one.requires_grad}
        kept = {one for one in module.parameters() if one not in trained or one.ndim == 0}
        stack = longest_stack(module) if layers else ()
        self._plain = {layer: _Form.of(layer) for layer in stack}
        self._stack = LayerStack(stack)
        module.register_forward_pre_hook(self._begin)
        module.register_forward_hook(self._end)
        device = next(module.parameters()).device
        if device.type == "cuda":
            torch.cuda.set_device(device)
        mesh = init_device_mesh(device.type, (ranks.size,))
        for layer in self._plain:
            fully_shard(layer, mesh=mesh, ignored_params=kept)
        fully_shard(module, mesh=mesh, ignored_params=kept)
        self._sharding = {layer: _Form.of(layer) for layer in self._plain}
        for part in module.modules():
            if isinstance(part, FSDPModule):
                part.set_gradient_divide_factor(1.0)
                # Not every backend multiplies while it sums.
                part.set_force_sum_reduction_for_comms(True)
                if hasattr(part, "set_reduce_scatter_unused_params"):
                    # Experts of a layer that only the samples of other processes chose.
                    part.set_reduce_scatter_unused_params(True)
        self._places: list[tuple[nn.Module, str, Any]] = [
            (part, name, parameter)
            for part in module.modules()
            for name, parameter in part._parameters.items()
            if isinstance(parameter, DTensor)
        ]
        in_layers = {part for layer in self._plain for part in layer.modules()}
        self._root_places = [(part, name) for part, name, _ in self._places if part not in in_layers]
        self.local: dict[nn.Parameter, nn.Parameter] = {}
        for _, _, parameter in self._places:
            if parameter not in self.local:
                self.local[parameter] = nn.Parameter(_local(parameter), requires_grad=parameter.requires_grad)
        self._of_local = {local: parameter for parameter, local in self.local.items()}

    def rows(self, turns: Sequence[Turn]) -> dict[str, Rows]:
        """Which rows this process holds of each parameter that is sharded, by name."""
        named = [pair for turn in turns for pair in zip(turn.names, turn.parameters, strict=True)]
        return {name: self._rows(self._of_local[one].shape[0]) for name, one in named if one in self._of_local}

    def _rows(self, of: int) -> Rows:
        # As torch.chunk shares out: parts of one size, the last ones smaller or empty.
        size = -(-of // self.ranks.size)
        start = min(of, size * self.ranks.rank)
        return Rows(start, min(of, start + size), of)

    def set_trainable(self, parameters: Sequence[nn.Parameter], trainable: bool) -> None:
        """Set which of the optimised parameters the next passes differentiate."""
        for parameter in parameters:
            self._of_local.get(parameter, parameter).requires_grad_(trainable)

    def take_gradients(self, parameters: Sequence[nn.Parameter]) -> Tensor:
        """Leave each process's part of the global gradient in its optimised parameters.

        Returns:
            The norm of the whole gradient, a scalar, the same in every process.
        """
        parts, whole = [], []
        for parameter in parameters:
            source = self._of_local.get(parameter)
            if source is None:
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                whole.append(parameter.grad)
            else:
                parameter.grad = torch.zeros_like(parameter) if source.grad is None else _local(source.grad)
                source.grad = None
                parts.append(parameter.grad)
        self.ranks.sum_all(whole)
        device = parameters[0].device
        squares = self.ranks.sum(_norm(parts, device).double().square())
        return (squares + _norm(whole, device).double().square()).sqrt()

    def sums(self, step: nn.Module, prepared: Prepared) -> dict[str, Tensor]:
        """The sums of a micro-batch.

        Raises:
            ConfigError: Layers are not passed as sharding by layers needs it.
        """
        try:
            out: dict[str, Tensor] = step(prepared)
            return out
        except RuntimeError as error:
            if not self._plain or "DTensor" not in str(error):
                raise
            raise ConfigError(
                "sharding is fsdp2 by layers, and the models use weights of a layer outside of its pass: set train.sharding_unit to model"
            ) from error

    def require_returned(self) -> None:
        """Hold a backward pass to the order of layers, before its gradients are used.

        Raises:
            ConfigError: It left layers out.
        """
        self._stack.require_returned()

    @contextmanager
    def whole(self) -> Iterator[bool]:
        """Let the models hold whole, plain parameters in the first process; every process must come here.

        Yields:
            True in the first process. The others hold what they held: their models cannot run.
        """
        first = self.ranks.rank == 0
        gathered: dict[nn.Parameter, nn.Parameter] = {}
        for part, name, parameter in self._places:
            if parameter not in gathered:
                full = parameter.detach().full_tensor()
                gathered[parameter] = nn.Parameter(full, requires_grad=parameter.requires_grad) if first else parameter
            part.register_parameter(name, gathered[parameter])
        # A process that evaluates or saves whole models meets no other one in their layers.
        for layer, plain in self._plain.items():
            plain.give(layer, instead_of=self._sharding[layer])
        try:
            yield first
        finally:
            for layer, sharding in self._sharding.items():
                sharding.give(layer, instead_of=self._plain[layer])
            for part, name, parameter in self._places:
                part.register_parameter(name, parameter)

    def _begin(self, module: nn.Module, inputs: Any) -> None:
        self._stack.begin()

    def _end(self, module: nn.Module, inputs: Any, sums: dict[str, Tensor]) -> dict[str, Tensor]:
        self._stack.end()
        present = [part.get_parameter(name) for part, name in self._root_places]
        parameters = [parameter for parameter in dict.fromkeys(present) if parameter.requires_grad]
        # Metrics are never differentiated; of the terms, any will do.
        term = next((name for name in self._terms(inputs[0].player) if name in sums), None)
        return sums if term is None else sums | {term: with_all_reached(sums[term], parameters)}

    def _terms(self, player: str) -> Sequence[str]:
        objective = self.module.objective
        own = next((one.terms for one in objective.players() if one.name == player), None)
        return tuple(objective.coefficients) if own is None else own


def _local(tensor: Any) -> Tensor:
    """The local part of a sharded tensor, in the same memory."""
    out: Tensor = tensor.detach().to_local()
    return out


def _norm(gradients: Sequence[Tensor], device: torch.device) -> Tensor:
    return nn.utils.get_total_norm(gradients) if gradients else torch.zeros((), device=device)


HOOKS = (
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
)


@dataclass(frozen=True)
class _Form:
    """What ``fully_shard`` changes of a module beside its parameters: its class, its hooks, its further attributes."""

    kind: type
    hooks: Mapping[str, Any]
    attributes: Mapping[str, Any]

    @staticmethod
    def of(module: nn.Module) -> "_Form":
        """The present form of a module."""
        hooks = {name: getattr(module, name).copy() for name in HOOKS}
        return _Form(type(module), hooks, {name: value for name, value in vars(module).items() if name not in hooks})

    def give(self, module: nn.Module, *, instead_of: "_Form") -> None:
        """Change a module from another form to this one; attributes that both have stay as they are."""
        module.__class__ = self.kind
        vars(module).update(self.hooks)
        for name in instead_of.attributes.keys() - self.attributes.keys():
            del vars(module)[name]
        vars(module).update(
            {name: self.attributes[name] for name in self.attributes.keys() - instead_of.attributes.keys()}
        )
