"""Recipe and configs of Efficient-DLM."""
