"""Wall clock of decoding: passes against Hugging Face's own, methods at a scripted acceptance against AR."""
