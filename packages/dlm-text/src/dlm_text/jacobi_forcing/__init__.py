"""Jacobi Forcing (arXiv 2512.14681): a causal model whose Jacobi iteration converges in few passes. Imports no torch."""

from ar_core.registry import Decoder, Recipe

__all__ = ["DECODER", "RECIPE", "TRAJECTORIES"]

RECIPE = Recipe(
    name="jacobi_forcing",
    summary="Jacobi Forcing: train a causal model so that Jacobi decoding accepts many tokens a pass",
    package="dlm_text.jacobi_forcing.recipes",
    run_config="dlm_text.jacobi_forcing.train:JacobiForcingRun",
    build="dlm_text.jacobi_forcing.train:build",
)

TRAJECTORIES = Recipe(
    name="jacobi_trajectories",
    summary="Collect a model's Jacobi trajectories, the data that Jacobi Forcing trains on",
    package="dlm_text.jacobi_forcing.trajectories.recipes",
    run_config="dlm_text.jacobi_forcing.trajectories.stage:JacobiTrajectoriesRun",
    build="dlm_text.jacobi_forcing.trajectories.stage:build",
    makes="data",
)

DECODER = Decoder(
    name="jacobi_forcing",
    summary="Lossless: Jacobi iteration over blocks of n guesses, several in flight, for models trained for it",
    decode="dlm_text.jacobi_forcing.decode:generate",
    options="dlm_text.jacobi_forcing.decode:JacobiForcingDecodeConfig",
    lossless=True,
)
