"""Generation: scale after scale, or token after token."""
