"""Recipe and configs of FAR."""
