"""VAR's multi-scale residual VQ-VAE (arXiv 2404.02905)."""
