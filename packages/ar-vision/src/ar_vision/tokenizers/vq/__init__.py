"""LlamaGen's VQ-16 and VQ-8 (arXiv 2406.06525) and FlexVAR's tokenizer (arXiv 2502.20313)."""
