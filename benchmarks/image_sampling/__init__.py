"""Sampling of images: the windowed cache beside other ways to keep what was computed, and guidance beside none."""
