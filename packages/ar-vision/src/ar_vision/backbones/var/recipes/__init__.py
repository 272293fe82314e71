"""Recipe and configs of VAR."""
