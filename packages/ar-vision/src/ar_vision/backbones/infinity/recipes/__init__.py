"""Recipe and configs of Infinity."""
