"""Jacobi trajectories: collected from a model, made from text, read from published files. Imports no torch."""
