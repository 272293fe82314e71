"""Whose similarities a codebook learns: features of a frozen network, cluster centres of them, and their histogram."""
