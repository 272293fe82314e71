"""Recipe and configs of Fast-dLLM v2."""
