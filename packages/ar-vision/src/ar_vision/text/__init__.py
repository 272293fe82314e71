"""Texts as features, made by frozen encoders, for the generators that are conditioned on them. Imports no torch."""
