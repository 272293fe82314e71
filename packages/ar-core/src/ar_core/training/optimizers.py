"""The optimiser of each player."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import ConfigError
from .config import TrainConfig
from .objective import Objective, Player

__all__ = ["Turn", "build_turns"]


@dataclass
class Turn:
    """A player with what it moves.

    Args:
        player: Whose turn.
        names: Name of each parameter, ``<model>.<parameter>``; a tied parameter has its first name.
        parameters: The trainable parameters of the player's models, each once; of sharded ones the local parts.
        optimizer: AdamW over them.
        peak_lr: Of the player.
        group_lrs: Peak of each parameter group: the player's, or that of its model.
    """

    player: Player
    names: list[str]
    parameters: list[nn.Parameter]
    optimizer: Any
    peak_lr: float
    group_lrs: Sequence[float]

    def terms(self, objective: Objective) -> Sequence[str]:
        """Return the names of the loss terms this player minimises."""
        return tuple(objective.coefficients) if self.player.terms is None else self.player.terms

    def set_lr(self, fraction: float) -> None:
        """Set the learning rate of the coming update as a fraction of the peak."""
        for group, peak in zip(self.optimizer.param_groups, self.group_lrs, strict=True):
            group["lr"] = peak * fraction


def build_turns(
    objective: Objective,
    models: Any,
    config: TrainConfig,
    local: Mapping[nn.Parameter, nn.Parameter] | None = None,
) -> list[Turn]:
    """Build the players' optimisers over the trainable parameters of their models.

    Args:
        objective: Whose players.
        models: By name.
        config: The run.
        local: What is optimised in the place of a parameter that is sharded.

    Raises:
        ConfigError: A player has no trainable parameter or term, a learning rate of a model that is not its own, or two
            players would move the same parameter.
    """
    turns: list[Turn] = []
    owner: dict[nn.Parameter, str] = {}
    for player in objective.players():
        named = {}
        for model in player.models:
            for name, parameter in models[model].named_parameters():
                if parameter.requires_grad and parameter not in named:
                    named[parameter] = f"{model}.{name}"
        if not named:
            raise ConfigError(f"the models {', '.join(player.models)} of player {player.name!r} have nothing to train")
        for parameter, name in named.items():
            if parameter in owner:
                raise ConfigError(
                    f"the parameter {name!r} belongs to the players {owner[parameter]!r} and {player.name!r}; "
                    "give it to one of them"
                )
            owner[parameter] = player.name
        unknown = set(player.terms or ()) - set(objective.coefficients)
        if unknown or not (objective.coefficients if player.terms is None else player.terms):
            raise ConfigError(
                f"player {player.name!r} minimises {sorted(unknown) or 'nothing'}; "
                f"the loss terms are {sorted(objective.coefficients)}"
            )
        if foreign := sorted(player.model_lrs.keys() - set(player.models)):
            raise ConfigError(
                f"player {player.name!r} has a learning rate of {foreign[0]!r} and moves {', '.join(player.models)}: give it of these"
            )
        named = {(local or {}).get(parameter, parameter): name for parameter, name in named.items()}
        parameters, names = list(named), list(named.values())
        lr = config.lr if player.lr is None else player.lr
        optimizer, group_lrs = _adamw(named, player, lr, config)
        turns.append(Turn(player, names, parameters, optimizer, lr, group_lrs))
    return turns


def _adamw(
    named: dict[nn.Parameter, str], player: Player, lr: float, config: TrainConfig
) -> tuple[torch.optim.AdamW, list[float]]:
    """AdamW over a player's parameters, and the peak learning rate of each of its groups."""
    peaks = list(dict.fromkeys([lr, *player.model_lrs.values()]))
    # Of each learning rate those that decay, then those that do not: checkpoints number parameters in this order.
    members: dict[tuple[float, bool], list[nn.Parameter]] = {
        (peak, kept): [] for peak in peaks for kept in (False, True)
    }
    matched = set()
    for parameter, name in named.items():
        ends = [end for end in player.no_decay if name.endswith(f".{end}")]
        matched.update(ends)
        peak = player.model_lrs.get(name.partition(".")[0], lr)
        members[peak, bool(ends) or parameter.ndim < 2].append(parameter)
    if unmatched := set(player.no_decay) - matched:
        raise ConfigError(
            f"player {player.name!r} spares {min(unmatched)!r} from weight decay, and none of its parameters is called so"
        )
    filled = {key: parameters for key, parameters in members.items() if parameters}
    groups = [
        {"params": parameters, "weight_decay": 0.0 if kept else config.weight_decay}
        for (_, kept), parameters in filled.items()
    ]
    betas = config.betas if player.betas is None else player.betas
    # Fused: one pass over each tensor; four times faster than the other forms for small models on a CPU.
    return torch.optim.AdamW(groups, lr=lr, betas=betas, fused=True), [peak for peak, _ in filled]
