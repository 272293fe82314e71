"""Recipe and configs of stored log-probabilities."""
