"""What changes during a run: trained weights, optimiser moments, averaged weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ResumeError
from .ema import Ema
from .optimizers import Turn
from .parts import Rows

__all__ = ["RunState"]


class RunState:
    """The tensors that a checkpoint holds, read from and written to the live run.

    Args:
        models: All models of the job, by name.
        turns: The players; their parameters are what is trained.
        ema: The averaged weights, if the run keeps them.
        rows: Which rows this process holds of each weight that is sharded, by name.
    """

    def __init__(
        self,
        models: Mapping[str, nn.Module],
        turns: Sequence[Turn],
        ema: Ema | None,
        rows: Mapping[str, Rows] | None = None,
    ) -> None:
        self.turns = turns
        self.ema = ema
        self.rows = rows or {}
        self.weights: dict[str, Tensor] = {}
        for turn in turns:
            self.weights |= dict(zip(turn.names, turn.parameters))
            for name in turn.player.models:
                self.weights |= _persistent_buffers(name, models[name])

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Return the groups of a checkpoint: ``weights``, ``optimizer`` and, if kept, ``ema``; views, not copies."""
        moments = {}
        for turn in self.turns:
            for name, parameter in zip(turn.names, turn.parameters):
                for key, value in turn.optimizer.state[parameter].items():
                    moments[f"{name}/{key}"] = value
        groups = {"weights": self.weights, "optimizer": moments}
        if self.ema is not None:
            groups["ema"] = self.ema.average
        return groups

    def sharded(self) -> dict[str, dict[str, Tensor]]:
        """Return the same groups without what every process holds whole."""
        return {
            group: {
                name: tensor
                for name, tensor in tensors.items()
                if tensor.ndim and (name.rpartition("/")[0] if group == "optimizer" else name) in self.rows
            }
            for group, tensors in self.tensors().items()
        }

    def restore(self, groups: Mapping[str, Mapping[str, Tensor]], source: Any) -> None:
        """Put the tensors of a checkpoint back.

        Raises:
            ResumeError: They are not those of this run; names the first that differs.
        """
        _require_same_form(self.weights, groups["weights"], source)
        with torch.no_grad():
            for name, tensor in self.weights.items():
                tensor.copy_(groups["weights"][name])
        moments: dict[str, dict[str, Tensor]] = {}
        for key, value in groups["optimizer"].items():
            name, _, kind = key.rpartition("/")
            moments.setdefault(name, {})[kind] = value
        for turn in self.turns:
            for name, parameter in zip(turn.names, turn.parameters):
                _require_moments(name, parameter, moments.get(name), source)
        for turn in self.turns:
            for name, parameter in zip(turn.names, turn.parameters):
                turn.optimizer.state[parameter] = {
                    kind: value.to(parameter.device if value.ndim or parameter.is_cuda else "cpu")
                    for kind, value in moments[name].items()
                }
        if self.ema is not None:
            _require_same_form(self.ema.average, groups.get("ema", {}), source)
            for name, tensor in self.ema.average.items():
                tensor.copy_(groups["ema"][name])


def _persistent_buffers(name: str, model: nn.Module) -> dict[str, Tensor]:
    parameters = {key for key, _ in model.named_parameters(remove_duplicate=False)}
    state = model.state_dict(keep_vars=True)
    return {f"{name}.{key}": value for key, value in state.items() if key not in parameters}


def _form(tensors: Mapping[str, Tensor], name: str) -> str:
    if name not in tensors:
        return "absent"
    return f"{list(tensors[name].shape)} {str(tensors[name].dtype).removeprefix('torch.')}"


def _require_moments(name: str, parameter: Tensor, moments: Mapping[str, Tensor] | None, source: Any) -> None:
    """Refuse moments that AdamW could not go on with: absent, of another shape, or no numbers with a fraction."""
    if moments is None:
        raise ResumeError(
            f"the checkpoint {source} has no moments of {name}: restore it, or remove it to continue from an older one"
        )
    for kind, value in moments.items():
        if value.shape not in (parameter.shape, ()) or not value.is_floating_point():
            raise ResumeError(
                f"the checkpoint {source} is damaged (the moment {kind} of {name} is {list(value.shape)} {value.dtype}): restore it, or "
                "remove it to continue from an older one"
            )


def _require_same_form(mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor], source: Any) -> None:
    for name in sorted(mine.keys() | theirs.keys()):
        here, there = _form(mine, name), _form(theirs, name)
        if here != there:
            raise ResumeError(
                f"the checkpoint {source} is of another model ({name} is {there} there and {here} in this run): "
                "resume with the model it was made with, or choose another checkpoint_dir"
            )
