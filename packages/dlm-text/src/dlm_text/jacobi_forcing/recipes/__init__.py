"""Recipes and configs of Jacobi Forcing."""
