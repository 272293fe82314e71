"""Recipe and configs of ECM."""
