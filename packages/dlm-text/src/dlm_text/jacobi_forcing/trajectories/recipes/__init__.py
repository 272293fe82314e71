"""Recipe and configs of trajectory collection."""
