"""Jacobi Forcing on models' own trajectories: train, measure, plot. See ``python -m benchmarks.jacobi_forcing --help``."""
