"""Conversion on tasks with exact answers: train, evaluate, plot. See ``python -m benchmarks.tasks --help``."""
