"""Recipe and configs of image tokenizers."""
