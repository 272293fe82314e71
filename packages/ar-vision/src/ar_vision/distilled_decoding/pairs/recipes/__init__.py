"""Recipe and configs of pairs."""
