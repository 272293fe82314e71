"""Training: the objective seam, the one loop behind every launcher, checkpoints and exact resume."""

from .config import TrainConfig
from .job import Job, Source, TrainResult
from .loop import train
from .mean_loss import mean_loss
from .objective import Objective, Player, Prepared
from .recipe import build_job, read_run_config, recipe_main, run_recipe
from .step import TrainStep

__all__ = [
    "Job",
    "Objective",
    "Player",
    "Prepared",
    "Source",
    "TrainConfig",
    "TrainResult",
    "TrainStep",
    "build_job",
    "mean_loss",
    "read_run_config",
    "recipe_main",
    "run_recipe",
    "train",
]
