"""Pairs of noise and codes that a teacher's flow connects, made once and trained on many times. Imports no torch."""
