"""Training: the objective seam, the one loop behind every launcher, checkpoints and exact resume."""

from .chunks import finished_chunks
from .config import TrainConfig
from .evaluation_config import EvaluationConfig
from .job import Job, Source, TrainResult
from .loop import train
from .mean_loss import mean_loss
from .objective import Objective, Player, Prepared, Settling
from .ranks import Ranks
from .read_chunks import Column, read_chunks
from .recipe import build_job, read_run_config, recipe_main, run_recipe
from .run_stage import run_stage
from .run_stage_on_ray import run_stage_on_ray
from .soft_cross_entropy import summed_soft_cross_entropy
from .stage import Chunk, StageConfig, StageJob, StageResult
from .step import TrainStep

__all__ = [
    "Chunk",
    "Column",
    "EvaluationConfig",
    "Job",
    "Objective",
    "Player",
    "Prepared",
    "Ranks",
    "Settling",
    "Source",
    "StageConfig",
    "StageJob",
    "StageResult",
    "TrainConfig",
    "TrainResult",
    "TrainStep",
    "build_job",
    "finished_chunks",
    "mean_loss",
    "read_chunks",
    "read_run_config",
    "recipe_main",
    "run_recipe",
    "run_stage",
    "run_stage_on_ray",
    "summed_soft_cross_entropy",
    "train",
]
