"""The stage that makes pairs as a function of a directory, for the kill harness, which loads this file in a process of its own."""

from pathlib import Path

import torch
from ar_core.training import StageConfig, run_stage
from ar_core.training.recipe import build_job
from ar_vision.distilled_decoding import PAIRS
from ar_vision.distilled_decoding.flow.config import FlowSolver
from ar_vision.distilled_decoding.pairs.config import NoiseCodePairsConfig
from ar_vision.distilled_decoding.pairs.stage import NoiseCodePairsRun

TEACHER, TOKENIZER = "teacher", "tokenizer"


def run(directory: Path, home: str, shard: str = "1/1") -> None:
    """Make 8 pairs of the teacher in ``home``."""
    torch.set_num_threads(1)
    stage = StageConfig(directory=str(directory), shard=shard, chunk_size=2, device="cpu")
    method = NoiseCodePairsConfig(
        count=8, batch_size=2, checked=0, decoding={"guidance": 2.0, "top_k": 12}, solver=FlowSolver("heun", 3)
    )
    config = NoiseCodePairsRun(teacher=f"{home}/{TEACHER}", tokenizer=f"{home}/{TOKENIZER}", stage=stage, method=method)
    run_stage(build_job(PAIRS, config), stage)
