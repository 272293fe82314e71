"""VAR (arXiv 2404.02905): next-scale prediction over residual scales."""
