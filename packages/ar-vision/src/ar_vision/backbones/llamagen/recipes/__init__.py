"""Recipe and configs of LlamaGen."""
