"""Recipe and configs of encoding."""
