"""The optimiser of each player."""

from collections.abc import Sequence
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
        parameters: The trainable parameters of the player's models, each once.
        optimizer: AdamW over them.
    """

    player: Player
    names: list[str]
    parameters: list[nn.Parameter]
    optimizer: Any
    peak_lr: float

    def terms(self, objective: Objective) -> Sequence[str]:
        """Return the names of the loss terms this player minimises."""
        return tuple(objective.coefficients) if self.player.terms is None else self.player.terms

    def set_lr(self, fraction: float) -> None:
        """Set the learning rate of the coming update as a fraction of the peak."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.peak_lr * fraction


def build_turns(objective: Objective, models: Any, config: TrainConfig) -> list[Turn]:
    """Build the players' optimisers over the trainable parameters of their models.

    Raises:
        ConfigError: A player has no trainable parameter or term, or two players would move the same parameter.
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
        parameters, names = list(named), list(named.values())
        lr = config.lr if player.lr is None else player.lr
        turns.append(Turn(player, names, parameters, _adamw(named, player, lr, config), lr))
    return turns


def _adamw(named: dict[nn.Parameter, str], player: Player, lr: float, config: TrainConfig) -> torch.optim.AdamW:
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    matched = set()
    for parameter, name in named.items():
        ends = [end for end in player.no_decay if name.endswith(f".{end}")]
        matched.update(ends)
        (spared if ends or parameter.ndim < 2 else decayed).append(parameter)
    if unmatched := set(player.no_decay) - matched:
        raise ConfigError(
            f"player {player.name!r} spares {min(unmatched)!r} from weight decay, and none of its parameters is called so"
        )
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    betas = config.betas if player.betas is None else player.betas
    # Fused: one pass over each tensor; four times faster than the other forms for small models on a CPU.
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=lr, betas=betas, fused=True)
