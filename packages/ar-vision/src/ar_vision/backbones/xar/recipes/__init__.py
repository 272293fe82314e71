"""Recipe and configs of xAR."""
