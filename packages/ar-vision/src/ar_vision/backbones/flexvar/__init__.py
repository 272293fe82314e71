"""FlexVAR (arXiv 2502.20313): next-scale prediction without residuals, over any schedule."""
